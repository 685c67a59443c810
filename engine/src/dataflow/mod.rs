//! The dataflow: what an operator is. What travels between operators stands in `flow`.
//!
//! Architecture invariant: nothing in here knows an operator by name. Operators (the crate
//! `millpond-operators`, or a user's own) implement [`Operator`], [`Source`] and use [`TableRef`](crate::graph::TableRef) for state.

mod context;
mod exchange;
mod source;

pub use crate::flow::{
    Batch, Change, Changes, Charges, Detail, Event, Failure, Output, Pass, Router, Stamp, Stamped, Update,
};
pub use context::{Context, Inputs};
pub use exchange::Gather;
pub use source::{Source, SourceBatch};

pub(crate) use context::Sunk;
pub(crate) use source::Skipped;

use crate::Result;

/// One node of the graph: a deterministic step over batches.
///
/// # Contract
/// 1. `run` is called once per shard and epoch, also when every input is empty, in the order of the graph.
///    Shards run in parallel and share `&self`.
/// 2. The output depends on the inputs and on the tables that the node declared, on nothing else: no clock, no
///    random numbers, no interior mutability, no hash-map iteration order. The engine re-runs an epoch after a
///    failure and relies on getting the same result.
/// 3. All state lives in tables (`context.table(..)`), so that the engine can undo an epoch and make rows and
///    position durable together.
/// 4. An operator declared as exchange returns [`Output::Routed`] with one batch per shard.
///
/// A panic is caught: the epoch is undone and the record that caused it is handled by the failure policy.
///
/// # Examples
/// ```
/// use millpond::dataflow::{Batch, Context, Event, Failure, Inputs, Operator, Output};
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Result, Stream, Topic};
///
/// /// Lets the records of even keys through.
/// struct Even;
///
/// impl Operator for Even {
///     fn run(&self, _: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output, Failure> {
///         let mut events: Vec<Event<u32, String>> = inputs.take(0)?;
///         events.retain(|event| event.key % 2 == 0);
///         Ok(Output::Local(Batch::new(events)))
///     }
/// }
///
/// let names = Topic::<u32, String>::new("names");
/// let graph = GraphBuilder::new();
/// let all = graph.stream(&names);
/// let node = graph.nodes().operator("even", &[all.node()], &[], &[], Even);
/// let even = Stream::<u32, String>::from_node(graph.nodes(), node, true).to_table("even");
/// let mut driver = Driver::new(&graph.build()?)?;
/// driver.put(&names, 1, "ash".to_owned(), 0)?;
/// driver.put(&names, 2, "birch".to_owned(), 0)?;
/// driver.run()?;
/// assert_eq!(driver.table(&even)?, [(2, "birch".to_owned())].into());
/// # Ok::<(), millpond::Error>(())
/// ```
pub trait Operator: Send + Sync + 'static {
    /// Carries one shard's part of one epoch through this node.
    ///
    /// # Errors
    /// Any failure undoes the epoch. One of kind `User` is attributed to the record that it names
    /// ([`Pass::failed`]), or that [`Context::at`](Pass::at) last named, and is handled by the failure policy; others poison
    /// the task. Where no record was named it is found by running ever smaller epochs, which takes longer.
    fn run(&self, context: &mut Context<'_>, inputs: Inputs<'_>) -> Result<Output, Failure>;
}
