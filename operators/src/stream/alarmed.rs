//! Operators of one's own with alarms: a step over a stream with a state per key that is looked at again at a time of its own.
//!
//! Late, early, equal and negative timestamps: see `alarm`, which says when an alarm is due. There are no tombstones in a stream.
//! Repeated keys are processed one after the other, each with the state and the alarm that the one before has left. Empty input: what
//! has come due is due all the same.
//!
//! As for `process`, the node has two outlets: what is emitted, and the changes of the states.

use super::Stream;
use super::emit::Emit;
use super::outlet::Portion;
use super::process::Process;
use super::step::CHARGED_TOGETHER;
use crate::alarm::{AlarmedRows, Given, Kept, Moment, When, shown};
use crate::table::StoredTable;
use millpond_engine::Result;
use millpond_engine::codec::{self, Key, Value};
use millpond_engine::dataflow::{Changes, Context, Detail, Event, Failure, Operator, Stamp, Update};
use millpond_engine::graph::{TableOptions, TableRef};
use std::marker::PhantomData;

/// A [`Process`] whose keys carry an alarm each, which [`Emit::set_alarm`] sets.
///
/// # When an alarm is due
/// Before the first record of its key whose partition has [come as far](Emit::stream_time_ms), which then finds the state that the alarm
/// has left; and at the latest at the end of the epoch with which all partitions that feed the node have. No record can come between
/// these two, so that the sequence of what happens to a key depends on its records alone, however epochs are cut. On a log that is not
/// one sequence this is so where the records of a key come from one partition.
///
/// What alarms of several keys emit is in no order that could be relied on: what is due before a record is emitted there, and what time
/// alone has made due comes behind all records of the epoch, in the order of times and keys. It is dated with the time of the alarm.
/// So what is made of several keys should not depend on how they follow each other.
///
/// # Contract
/// That of [`Process`], for `alarm` as well; but where `alarm` fails no record is to blame, and the engine stops. Several alarms of a key
/// are a list in its state and an alarm for the first of them. Who sets the next alarm at each of them pays for all of them where time
/// takes a leap.
///
/// # Examples
/// ```
/// use millpond::stream::{Alarmed, Emit};
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Process, Topic};
///
/// /// Tells of devices that were silent for a minute.
/// struct Silence;
///
/// impl Process<String, u32> for Silence {
///     type State = u32;
///     type OutKey = String;
///     type OutValue = u32;
///
///     fn process(&self, _: &String, reading: u32, last: &mut Option<u32>, emit: &mut Emit<String, u32>) {
///         *last = Some(reading);
///         emit.set_alarm(Some(emit.timestamp_ms().saturating_add(60_000)));
///     }
/// }
///
/// impl Alarmed<String, u32> for Silence {
///     fn alarm(&self, device: &String, _at_ms: i64, last: &mut Option<u32>, emit: &mut Emit<String, u32>) {
///         if let Some(last) = last.take() {
///             emit.push(device.clone(), last);
///         }
///     }
/// }
///
/// let readings = Topic::<String, u32>::new("readings").partitions(1);
/// let graph = GraphBuilder::new();
/// let (silent, alive) = graph.stream(&readings).process_with_alarms("alive", Silence);
/// let silent = silent.to_table("silent");
/// let mut driver = Driver::new(&graph.build()?)?;
/// for (device, reading, at) in [("door", 20, 1_000), ("roof", 17, 30_000), ("roof", 18, 62_000)] {
///     driver.put(&readings, device.to_owned(), reading, at)?;
/// }
/// driver.run()?;
/// assert_eq!(driver.table(&silent)?, [("door".to_owned(), 20)].into());
/// assert_eq!(driver.table(&alive)?, [("roof".to_owned(), 18)].into());
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "Punctuator")]
pub trait Alarmed<K, V>: Process<K, V> {
    /// Works on the alarm of `key` that was set for `at_ms`, in milliseconds since the Unix epoch. None is set any more; it may set the
    /// next one, at a later time.
    fn alarm(
        &self,
        key: &K,
        at_ms: i64,
        state: &mut Option<Self::State>,
        emit: &mut Emit<Self::OutKey, Self::OutValue>,
    );
}

impl<K: Key, V: Value> Stream<K, V> {
    /// As [`process`](Self::process), where a key may set itself an alarm: see [`Alarmed`]. When which key is to be looked at again is
    /// kept in the table `<store>.alarms`.
    #[must_use]
    #[doc(alias = "punctuate")]
    #[expect(clippy::type_complexity, reason = "a stream and a table")]
    pub fn process_with_alarms<P: Alarmed<K, V>>(
        &self,
        store: impl Into<TableOptions<P::State>>,
        process: P,
    ) -> (Stream<P::OutKey, P::OutValue>, StoredTable<K, P::State>) {
        alarmed(self, "process_with_alarms", store.into(), process, false)
    }
}

/// A process with alarms of this `kind`; what it emits is where its keys are if it is `keyed`.
#[expect(clippy::type_complexity, reason = "a stream and a table")]
pub(crate) fn alarmed<K: Key, V: Value, P: Alarmed<K, V>>(
    stream: &Stream<K, V>,
    kind: &'static str,
    store: TableOptions<P::State>,
    process: P,
    keyed: bool,
) -> (Stream<P::OutKey, P::OutValue>, StoredTable<K, P::State>) {
    let stream = stream.exchanged();
    let builder = &stream.builder;
    let rows = AlarmedRows::new(builder, kind, store, When::BeforeRecords);
    let operator = Processor { rows, process, value: PhantomData };
    let node = rows.folded_by(builder, (kind, 0), stream.node, &[], operator);
    let emitted = Emitted(PhantomData::<fn() -> (K, P::State, P::OutKey, P::OutValue)>);
    let emitted = builder.outlet("emitted", node, &[], emitted);
    let table = rows.table();
    let states = States::<K, P::State, P::OutKey, P::OutValue> { table, emitted: PhantomData };
    let state = builder.outlet("state", node, &[table.index()], states);
    (Stream::new(builder.clone(), emitted, keyed), StoredTable::of_alarmed(builder, state, table))
}

/// The number of the outlet with the changes of the state, behind that of what is emitted.
const STATE: usize = 1;

/// What the node puts out for its outlets: events, and updates of the state.
type Processed<K, S, L, W> = (Portion<Vec<Event<L, W>>>, Portion<Vec<Update<K, codec::Alarmed<S>>>>);

struct Processor<K, V, P: Process<K, V>> {
    rows: AlarmedRows<K, P::State>,
    process: P,
    value: PhantomData<fn() -> V>,
}

impl<K: Key, V: Value, P: Alarmed<K, V>> Operator for Processor<K, V, P> {
    type Input = Given<K, V>;
    type Output = Processed<K, P::State, P::OutKey, P::OutValue>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (events, due): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let record = context.outlet(STATE).unwrap_or(Detail::Changes);
        let charges = context.charges();
        let (mut expected, mut fits) = (events.len(), Ok(()));
        let mut emit = Emit::with_capacity(events.len());
        let step = |key: &K, moment: Moment<V>, kept: &mut Kept<P::State>, stamp: &Stamp| {
            if fits.is_err() {
                // The epoch is undone and cut smaller.
                return Ok(());
            }
            emit.begin_with_alarm(*stamp, kept.alarm_ms);
            match moment {
                Moment::Record(value) => self.process.process(key, value, &mut kept.state, &mut emit),
                Moment::Alarm(at_ms) => self.process.alarm(key, at_ms, &mut kept.state, &mut emit),
            }
            kept.alarm_ms = emit.alarm();
            if emit.events.len() >= expected + CHARGED_TOGETHER {
                fits = charges.charge::<Event<P::OutKey, P::OutValue>>(emit.events.len() - expected);
                expected = emit.events.len();
            }
            emit.failed.take().map_or(Ok(()), Err)
        };
        let updates = self.rows.fold(context, (events, due), record, step)?;
        fits?;
        // Alarms come behind records, and keys that had to be fetched were worked on after the others.
        emit.events.sort_by_key(|event| event.stamp);
        Ok(Some((Portion::new(emit.events), Portion::new(updates))))
    }
}

/// The outlet of what is emitted.
struct Emitted<Types>(PhantomData<Types>);

impl<K: Key, S: Value, L: Key, W: Value> Operator for Emitted<fn() -> (K, S, L, W)> {
    type Input = (Processed<K, S, L, W>,);
    type Output = Vec<Event<L, W>>;

    fn run(
        &self,
        _context: &mut Context<'_>,
        ((emitted, _),): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        Ok(Some(emitted.take()?))
    }
}

/// The outlet of the states and their changes.
struct States<K, S, L, W> {
    table: TableRef<K, codec::Alarmed<S>>,
    emitted: PhantomData<fn() -> (L, W)>,
}

impl<K: Key, S: Value, L: Key, W: Value> Operator for States<K, S, L, W> {
    type Input = (Processed<K, S, L, W>,);
    type Output = Changes<K, S>;

    fn run(
        &self,
        context: &mut Context<'_>,
        ((_, updates),): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        if !context.is_read() {
            return Ok(None);
        }
        let table = context.table(&self.table)?;
        Ok(Some(shown(table.changes(context, updates.take()?)?)))
    }
}
