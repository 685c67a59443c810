//! Operators of one's own: any deterministic step over a stream, with a state per key.
//!
//! There are no tombstones in a stream; the state of a key that was never seen is `None`, and setting it to `None`
//! deletes it. Repeated keys are processed one after the other, each seeing the state that the one before has left.
//! Records come in the order of the log, late or not. Empty input does nothing.
//!
//! The node has two outlets: what is emitted, and the changes of the state, which nobody pays for who does not read them.
//! The node itself writes the state and notes its updates if they are wanted; behind the outlet they are those of any other
//! table.

use super::Stream;
use super::emit::Emit;
use super::outlet::Portion;
use super::step::CHARGED_TOGETHER;
use crate::table::StoredTable;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Changes, Context, Detail, Event, Failure, Operator, Update};
use millpond_engine::graph::{TableOptions, TableRef};
use std::marker::PhantomData;

/// A step over a stream that keeps a state per key.
///
/// # Contract
/// 1. `process` is deterministic: what it emits and what it leaves as state depends on its arguments only. Epochs are
///    run again after a failure, and replayed after a crash.
/// 2. The state is all it remembers. It is durable together with the position of the record.
/// 3. `process` does not panic; where it cannot work on a record, [`Emit::fail`] says why. Either is the failure of the
///    record, for the failure policy to handle: what it has emitted and made of the state is undone.
///
/// Records of a key come one after the other in the order of the log, each seeing the state that the one before has left.
/// A state of `None` is that of a key which was never seen; setting it to `None` deletes the row. The state is a table like
/// any other: it can be asked, joined and grouped. With code that means something else the states that are there stay as
/// they were, unless the table's version is raised: see [when the meaning changes](TableOptions#when-the-meaning-changes).
/// What is to be done with a key at a time of its own is an alarm: see [`Alarmed`](super::Alarmed).
///
/// # Examples
/// ```
/// use millpond::stream::Emit;
/// use millpond::{Engine, GraphBuilder, Process, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// /// Lets a value through when it differs from the one before; 0 is none.
/// struct Distinct;
///
/// impl Process<String, u64> for Distinct {
///     type State = u64;
///     type OutKey = String;
///     type OutValue = u64;
///
///     fn process(&self, key: &String, value: u64, state: &mut Option<u64>, emit: &mut Emit<String, u64>) {
///         if value == 0 {
///             return emit.fail("a reading of 0");
///         }
///         if *state != Some(value) {
///             *state = Some(value);
///             emit.push(key.clone(), value);
///         }
///     }
/// }
///
/// let readings = Topic::<String, u64>::new("readings");
/// let graph = GraphBuilder::new();
/// let (changed, last) = graph.stream(&readings).process("last_reading", Distinct);
/// let changes = changed.group_by_key().count("changes");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// engine.producer(&readings)?.send([1, 1, 2, 2, 1].iter().map(|value| ("door", Some(value), 0))).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&changes)?.get("door")?, Some(3));
/// assert_eq!(engine.view(&last)?.get("door")?, Some(1));
/// # Ok::<(), millpond::Error>(())
/// ```
/// Whoever needs the headers of records reads them with [`records`](crate::GraphBuilder::records), and emits
/// [`ProducerRecord`](super::ProducerRecord)s to write some:
/// ```
/// use millpond::stream::{ConsumerRecord, Emit, ProducerRecord};
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Process, Topic, TopicPartition};
///
/// /// Passes orders on, each with the trace of the one before.
/// struct Chain;
///
/// impl Process<u32, ConsumerRecord<u64>> for Chain {
///     type State = Vec<u8>;
///     type OutKey = u32;
///     type OutValue = ProducerRecord<u64>;
///
///     fn process(
///         &self,
///         key: &u32,
///         order: ConsumerRecord<u64>,
///         last: &mut Option<Vec<u8>>,
///         emit: &mut Emit<u32, ProducerRecord<u64>>,
///     ) {
///         let now = order.header("trace").map(<[u8]>::to_vec);
///         if let (Some(cents), Some(last)) = (order.value, last.as_ref()) {
///             emit.push(*key, ProducerRecord::new(cents).with_header("after", last.clone()));
///         }
///         *last = now;
///     }
/// }
///
/// let (orders, chained) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("chained"));
/// let graph = GraphBuilder::new();
/// let (emitted, _) = graph.records(&orders).process("traces", Chain);
/// emitted.to_records(&chained, |_, record| record);
/// let after = graph.records(&chained).map_values(|_, order| order.header("after").map(<[u8]>::to_vec)).to_table("after");
/// let mut driver = Driver::new(&graph.build()?)?;
/// # let record = |cents: u64, trace: &'static str| {
/// #     let mut value = Vec::new();
/// #     orders.codec().encode(&cents, &mut value).unwrap();
/// #     millpond::changelog::Record::new(vec![0, 0, 0, 7], value).with_header("trace", trace)
/// # };
/// driver.append(TopicPartition::new("orders", 0), vec![record(450, "a"), record(120, "b")])?;
/// driver.run()?;
/// assert_eq!(driver.table(&after)?, [(7, Some(b"a".to_vec()))].into());
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "Processor")]
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

impl<K: Key, V: Value> Stream<K, V> {
    /// Runs an operator of one's own, with a state per key that is kept in the table `store`. Returns what it emits, and the
    /// table of the states. See [`Process`] for an example, and for what it does with absent keys, deletions and failures.
    /// With other code the states that are there stay as they were, unless the table's [version](TableOptions::version) is
    /// raised.
    #[must_use]
    #[doc(alias = "transform")]
    #[doc(alias = "transformValues")]
    #[doc(alias = "processValues")]
    #[expect(clippy::type_complexity, reason = "a stream and a table")]
    pub fn process<P: Process<K, V>>(
        &self,
        store: impl Into<TableOptions<P::State>>,
        process: P,
    ) -> (Stream<P::OutKey, P::OutValue>, StoredTable<K, P::State>) {
        let stream = self.exchanged();
        let builder = &stream.builder;
        let table: TableRef<K, P::State> = builder.table("process", store.into());
        let operator = Processor { table, process, value: PhantomData };
        let node = builder.operator("process", stream.node, &[table.index()], &[], operator);
        builder.follows_updates(node);
        let emitted = builder.outlet("emitted", node, &[], Emitted::<K, V, P>(PhantomData));
        let states = States::<K, V, P> { table, process: PhantomData };
        let state = builder.outlet("state", node, &[table.index()], states);
        (Stream::new(builder.clone(), emitted, false), StoredTable::from_node(builder, state, table))
    }
}

/// The number of the outlet with the changes of the state, behind that of what is emitted.
const STATE: usize = 1;

/// What the node puts out for its outlets: events, and updates of the state.
type Processed<L, W, K, S> = (Portion<Vec<Event<L, W>>>, Portion<Vec<Update<K, S>>>);

struct Processor<K, V, P: Process<K, V>> {
    table: TableRef<K, P::State>,
    process: P,
    value: PhantomData<fn() -> V>,
}

impl<K: Key, V: Value, P: Process<K, V>> Operator for Processor<K, V, P> {
    type Input = (Vec<Event<K, V>>,);
    type Output = Processed<P::OutKey, P::OutValue, K, P::State>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (events,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let table = context.table(&self.table)?;
        let record = context.outlet(STATE).unwrap_or(Detail::Changes);
        let charges = context.charges();
        let (mut expected, mut fits) = (events.len(), Ok(()));
        let mut emit = Emit::with_capacity(events.len());
        let updates = table.try_fold(context, events, record, |key, state, value, stamp| {
            if fits.is_err() {
                // The epoch is undone and cut smaller.
                return Ok(());
            }
            emit.begin(*stamp);
            self.process.process(key, value, state, &mut emit);
            if emit.events.len() >= expected + CHARGED_TOGETHER {
                fits = charges.charge::<Event<P::OutKey, P::OutValue>>(emit.events.len() - expected);
                expected = emit.events.len();
            }
            emit.failed.take().map_or(Ok(()), Err)
        })?;
        fits?;
        // Keys that had to be fetched were worked on after the others.
        emit.events.sort_by_key(|event| event.stamp);
        let processed: Processed<P::OutKey, P::OutValue, K, P::State> =
            (Portion::new(emit.events), Portion::new(updates));
        Ok(Some(processed))
    }
}

/// The outlet of what is emitted.
struct Emitted<K, V, P>(PhantomData<(K, V, P)>);

impl<K: Key, V: Value, P: Process<K, V>> Operator for Emitted<K, V, P> {
    type Input = (Processed<P::OutKey, P::OutValue, K, P::State>,);
    type Output = Vec<Event<P::OutKey, P::OutValue>>;

    fn run(
        &self,
        _context: &mut Context<'_>,
        (processed,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let (emitted, _) = processed;
        Ok(Some(emitted.take()?))
    }
}

/// The outlet of the states and their changes.
struct States<K, V, P: Process<K, V>> {
    table: TableRef<K, P::State>,
    process: PhantomData<fn() -> (V, P)>,
}

impl<K: Key, V: Value, P: Process<K, V>> Operator for States<K, V, P> {
    type Input = (Processed<P::OutKey, P::OutValue, K, P::State>,);
    type Output = Changes<K, P::State>;

    fn run(
        &self,
        context: &mut Context<'_>,
        ((_, updates),): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        if !context.is_read() {
            return Ok(None);
        }
        let table = context.table(&self.table)?;
        Ok(Some(table.changes(context, updates.take()?)?))
    }
}
