//! The dataflow: what an operator is. What travels between operators stands in `flow`.
//!
//! Architecture invariant: nothing in here knows an operator by name. Operators (the crate
//! `millpond-operators`, or a user's own) implement [`Operator`], [`Exchange`] and [`Source`], and use
//! [`TableRef`](crate::graph::TableRef) for state. Their types say what flows between them; a graph keeps them `erased`.

mod context;
mod erased;
mod inputs;
mod source;

pub use crate::flow::{
    Change, Changes, Charges, Detail, Event, Failure, Origin, Pass, Router, Stamp, Stamped, Update,
};
pub use context::Context;
pub use inputs::{All, Behind, Inputs, Unread};
pub use source::{Source, SourceBatch};

pub(crate) use context::Sunk;
pub(crate) use erased::{AnyOperator, AnySource, Gather, Local, Scatter};
pub(crate) use inputs::Taking;
pub(crate) use source::{AllAwaited, LeftOut, Skipped};

use crate::Result;

/// One node of the graph: a deterministic step over what the nodes before it have put out.
///
/// # Contract
/// 1. `run` is called once per shard and epoch, also when every input is empty, in the order of the graph.
///    Shards run in parallel and share `&self`.
/// 2. The output depends on the inputs and on the tables that the node declared, on nothing else: no clock, no
///    random numbers, no interior mutability, no hash-map iteration order. The engine re-runs an epoch after a
///    failure and relies on getting the same result.
/// 3. All state lives in tables (`context.table(..)`), so that the engine can undo an epoch and make rows and
///    position durable together.
///
/// A panic is caught: the epoch is undone and the record that caused it is handled by the failure policy.
///
/// # Examples
/// ```
/// use millpond::dataflow::{Context, Event, Failure, Operator};
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Result, Stream, Topic};
///
/// /// Lets the records of even keys through.
/// struct Even;
///
/// impl Operator for Even {
///     type Input = (Vec<Event<u32, String>>,);
///     type Output = Vec<Event<u32, String>>;
///
///     fn run(&self, _: &mut Context<'_>, (mut events,): Self::Input) -> Result<Option<Self::Output>, Failure> {
///         events.retain(|event| event.key % 2 == 0);
///         Ok(Some(events))
///     }
/// }
///
/// let names = Topic::<u32, String>::new("names");
/// let graph = GraphBuilder::new();
/// let all = graph.stream(&names);
/// let node = graph.nodes().operator("even", all.node(), &[], &[], Even);
/// let even = Stream::from_node(graph.nodes(), node, true).to_table("even");
/// let mut driver = Driver::new(&graph.build()?)?;
/// driver.put(&names, 1, "ash".to_owned(), 0)?;
/// driver.put(&names, 2, "birch".to_owned(), 0)?;
/// driver.run()?;
/// assert_eq!(driver.table(&even)?, [(2, "birch".to_owned())].into());
/// # Ok::<(), millpond::Error>(())
/// ```
/// What a node is wired to must put out what its operator takes:
/// ```compile_fail,E0308
/// # use millpond::dataflow::{Context, Event, Failure, Operator};
/// # use millpond::{GraphBuilder, Result, Topic};
/// # struct Even;
/// # impl Operator for Even {
/// #     type Input = (Vec<Event<u32, String>>,);
/// #     type Output = Vec<Event<u32, String>>;
/// #     fn run(&self, _: &mut Context<'_>, (events,): Self::Input) -> Result<Option<Self::Output>, Failure> {
/// #         Ok(Some(events))
/// #     }
/// # }
/// let numbers = Topic::<u32, u64>::new("numbers");
/// let graph = GraphBuilder::new();
/// graph.nodes().operator("even", graph.stream(&numbers).node(), &[], &[], Even);
/// ```
pub trait Operator: Send + Sync + 'static {
    /// What it is handed: a tuple of what its inputs put out, such as `Vec<Event<K, V>>` of a stream and `Changes<K, V>` of a
    /// table.
    type Input: Inputs;

    /// What it puts out on each shard.
    type Output: Clone + Send + 'static;

    /// Carries one shard's part of one epoch through this node.
    ///
    /// # Errors
    /// Any failure undoes the epoch. One of kind `User` is attributed to the record that it names
    /// ([`Pass::failed`]), or that [`Context::at`](Pass::at) last named, and is handled by the failure policy; others poison
    /// the task. Where no record was named it is found by running ever smaller epochs, which takes longer.
    fn run(&self, context: &mut Context<'_>, input: Self::Input) -> Result<Option<Self::Output>, Failure>;

    /// Whether anything would close or fire between [`watermark_before`](Context::watermark_before) and
    /// [`watermark`](Context::watermark). It is asked on one shard and between epochs, of tables as they are
    /// [before](Context::table_before) the next, where partitions are [silent](crate::Idle): an operator by which nothing is ever due
    /// has no part in whether they are taken on in time.
    ///
    /// # Errors
    /// Those of the tables.
    fn is_due(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let _ = context;
        Ok(false)
    }
}

/// The sending side of an exchange: says on which shard each value belongs. The other side has what all shards have sent it, in
/// the order of the stamps.
///
/// # Contract
/// That of [`Operator`].
///
/// # Examples
/// ```
/// use millpond::dataflow::{Context, Event, Exchange, Failure};
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Result, Stream, Topic};
///
/// /// Brings everything under one key together.
/// struct Gathered;
///
/// impl Exchange for Gathered {
///     type Input = (Vec<Event<u32, u64>>,);
///     type Item = Event<(), u64>;
///
///     fn route(&self, context: &mut Context<'_>, (events,): Self::Input) -> Result<Vec<Vec<Self::Item>>, Failure> {
///         let events = events.into_iter().map(|Event { value, stamp, .. }| Event { key: (), value, stamp });
///         Ok(context.router().split(events, |event| &event.key))
///     }
/// }
///
/// let orders = Topic::<u32, u64>::new("orders");
/// let graph = GraphBuilder::new();
/// let node = graph.nodes().exchange("gathered", graph.stream(&orders).node(), &[], Gathered);
/// let dearest = Stream::from_node(graph.nodes(), node, true).group_by_key().reduce("dearest", u64::max);
/// let mut driver = Driver::new(&graph.build()?)?;
/// driver.put(&orders, 1, 450, 0)?;
/// driver.put(&orders, 2, 120, 0)?;
/// driver.run()?;
/// assert_eq!(driver.table(&dearest)?, [((), 450)].into());
/// # Ok::<(), millpond::Error>(())
/// ```
pub trait Exchange: Send + Sync + 'static {
    /// What it is handed, as for an [`Operator`].
    type Input: Inputs;

    /// What it sends.
    type Item: Stamped + Clone + Send + 'static;

    /// One vector for each shard, in their order; [`Router::split`] makes them.
    ///
    /// # Errors
    /// As for [`Operator::run`].
    fn route(&self, context: &mut Context<'_>, input: Self::Input) -> Result<Vec<Vec<Self::Item>>, Failure>;

    /// As [`Operator::is_due`].
    ///
    /// # Errors
    /// As there.
    fn is_due(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let _ = context;
        Ok(false)
    }
}
