//! Operators of one's own: any deterministic step over a stream, with a state per key.
//!
//! There are no tombstones in a stream; the state of a key that was never seen is `None`, and setting it to `None`
//! deletes it. Repeated keys are processed one after the other, each seeing the state that the one before has left.
//! Records come in the order of the log, late or not. Empty input does nothing.

use super::Stream;
use super::map::CHARGED_TOGETHER;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Batch, Context, Event, Inputs, Operator, Output, Stamp};
use millpond_engine::graph::{StoreOptions, TableRef};
use millpond_engine::state::Record;
use std::marker::PhantomData;

/// A step over a stream that keeps a state per key.
///
/// # Contract
/// 1. `process` is deterministic: what it emits and what it leaves as state depends on its arguments only. Epochs are
///    run again after a failure, and replayed after a crash.
/// 2. The state is all it remembers. It is durable together with the position of the record.
///
/// # Examples
/// ```
/// use millpond::stream::Emit;
/// use millpond::{Engine, GraphBuilder, Process, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// /// Lets a value through when it differs from the one before.
/// struct Distinct;
///
/// impl Process<String, u64> for Distinct {
///     type State = u64;
///     type OutKey = String;
///     type OutValue = u64;
///
///     fn process(&self, key: &String, value: u64, state: &mut Option<u64>, emit: &mut Emit<String, u64>) {
///         if *state != Some(value) {
///             *state = Some(value);
///             emit.push(key.clone(), value);
///         }
///     }
/// }
///
/// let readings = Topic::<String, u64>::new("readings");
/// let graph = GraphBuilder::new();
/// let changes = graph.stream(&readings).process("last_reading", Distinct).group_by_key().count("changes");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// engine.producer(&readings)?.send([1, 1, 2, 2, 1].iter().map(|value| ("door", Some(value), 0))).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&changes)?.get("door")?, Some(3));
/// # Ok::<(), millpond::Error>(())
/// ```
pub trait Process<K, V>: Send + Sync + 'static {
    /// What is kept per key.
    type State: Value;
    /// The key of what is emitted.
    type OutKey: Key;
    /// The value of what is emitted.
    type OutValue: Value;

    /// Works on one record.
    fn process(
        &self,
        key: &K,
        value: V,
        state: &mut Option<Self::State>,
        emit: &mut Emit<Self::OutKey, Self::OutValue>,
    );
}

/// Collects what a [`Process`] emits for one record.
pub struct Emit<K, V> {
    events: Vec<Event<K, V>>,
    stamp: Stamp,
    index: usize,
}

impl<K, V> Emit<K, V> {
    /// Emits a record.
    pub fn push(&mut self, key: K, value: V) {
        self.events.push(Event { key, value, stamp: self.stamp.branch(self.index) });
        self.index += 1;
    }
}

pub(super) fn process<K: Key, V: Value, P: Process<K, V>>(
    stream: &Stream<K, V>,
    store: StoreOptions<P::State>,
    process: P,
) -> Stream<P::OutKey, P::OutValue> {
    let table: TableRef<K, P::State> = stream.builder.table("process", store);
    let operator = Processor { table, process, types: PhantomData };
    let node = stream.builder.operator("process", &[stream.node], &[table.index()], &[], operator);
    stream.builder.follows_updates(node);
    Stream::new(stream.builder.clone(), node, false)
}

struct Processor<K, V, P: Process<K, V>> {
    table: TableRef<K, P::State>,
    process: P,
    types: PhantomData<fn() -> V>,
}

impl<K: Key, V: Value, P: Process<K, V>> Operator for Processor<K, V, P> {
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        let events: Vec<Event<K, V>> = inputs.take(0)?;
        let table = context.table(&self.table)?;
        let mut emit = Emit { events: Vec::with_capacity(events.len()), stamp: Stamp::default(), index: 0 };
        // The stamp travels beside the value, for what is emitted.
        let events: Vec<_> = events
            .into_iter()
            .map(|Event { key, value, stamp }| Event { key, value: (value, stamp), stamp })
            .collect();
        let charges = context.charges();
        let (mut expected, mut fits) = (events.len(), Ok(()));
        table.fold(context, events, Record::Changes, |key, state, (value, stamp)| {
            if fits.is_err() {
                // The epoch is undone and cut smaller.
                return;
            }
            emit.stamp = stamp;
            emit.index = 0;
            self.process.process(key, value, state, &mut emit);
            if emit.events.len() >= expected + CHARGED_TOGETHER {
                fits = charges.charge::<Event<P::OutKey, P::OutValue>>(emit.events.len() - expected);
                expected = emit.events.len();
            }
        })?;
        fits?;
        // Keys that had to be fetched were worked on after the others.
        emit.events.sort_by_key(|event| event.stamp);
        Ok(Output::Local(Batch::new(emit.events)))
    }
}
