//! Rows that carry an alarm each.
//!
//! Late and early timestamps: whether an alarm is due before a record is decided by how far the record's partition had come, so one
//! that is late comes before alarms which one in time would come behind. Equal ones: an alarm is due to whoever has come exactly as
//! far. Negative times are as good as others; at the least of all there is no alarm, and one at the greatest never comes. Tombstones: a
//! row that goes takes its alarm along. Repeated keys: each finds what the one before has left, its alarm included. Empty input: what
//! has come due is due all the same.

use super::index::{Filed, FindDue};
use millpond_engine::Result;
use millpond_engine::codec::{Alarmed, Bincode, Key, Value};
use millpond_engine::dataflow::{
    Change, Changes, Context, Detail, Event, Failure, Operator, Pass, Stamp, Update,
};
use millpond_engine::graph::{Builder, NodeRef, TableIndex, TableOptions, TableRef};
use std::collections::BTreeMap;

/// What a row is to do with.
pub(crate) enum Moment<T> {
    /// A record of its key.
    Record(T),
    /// Its alarm, which was set for this time.
    Alarm(i64),
}

/// When an alarm is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Before the first record of its key that has come to it, and at the latest with the watermark. One that is past is set to how far
    /// the record has come that sets it, as what is made at it must not be dated before what has closed already.
    BeforeRecords,
    /// With the watermark only: for what no record changes that has come to it.
    AtWatermark,
}

/// The table of such rows, and the index of their alarms.
pub(crate) struct AlarmedRows<K, S> {
    rows: TableRef<K, Alarmed<S>>,
    index: TableRef<Filed<K>, ()>,
    when: When,
}

impl<K, S> Clone for AlarmedRows<K, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, S> Copy for AlarmedRows<K, S> {}

impl<K: Key, S: Value> AlarmedRows<K, S> {
    pub(crate) fn new(builder: &Builder, kind: &'static str, store: TableOptions<S>, when: When) -> Self {
        let name = format!("{}.alarms", store.name());
        let index = TableOptions::with_codec(&name, Bincode).version(store.table_version());
        Self { rows: builder.alarmed_table(kind, store), index: builder.table("alarms", index), when }
    }

    /// The table of the rows.
    pub(crate) fn table(&self) -> TableRef<K, Alarmed<S>> {
        self.rows
    }

    /// Adds the node that [folds](Self::fold) what `input` puts out. What it puts out may be dated up to `delay_ms` earlier than time
    /// has come. It writes the tables `others`, too.
    pub(crate) fn folded_by<T: Clone + Send + 'static, O>(
        &self,
        builder: &Builder,
        (label, delay_ms): (&str, i64),
        input: NodeRef<T>,
        others: &[TableIndex],
        operator: O,
    ) -> NodeRef<O::Output>
    where
        O: Operator<Input = (T, Vec<Event<K, i64>>)>,
    {
        let due = builder.exchange("due", input, &[self.index.index()], FindDue::new(self.index));
        let tables = [&[self.rows.index(), self.index.index()], others].concat();
        let node = builder.operator(label, (input, due), &tables, &[], operator);
        builder.follows_updates(node);
        builder.looks_at_time(node, delay_ms);
        node
    }

    /// Does `step` for every event and, of `due` and of all keys that were touched, for every alarm to which the watermark has come.
    /// `step` is given the key, the moment, what is kept of the key, and the stamp of what it makes.
    ///
    /// # Errors
    /// As for [`TableState::try_fold`](millpond_engine::state::TableState::try_fold). No record is to blame for what fails at an alarm.
    pub(crate) fn fold<T>(
        &self,
        context: &mut Context<'_>,
        given: Given<K, T>,
        record: Detail,
        step: impl FnMut(&K, Moment<T>, &mut Kept<S>, &Stamp) -> Result<(), String>,
    ) -> Result<Vec<Update<K, Alarmed<S>>>, Failure> {
        let updates = self.fold_unfiled(context, given, record, step)?;
        self.file(context, |_, _, _, _| ())?;
        Ok(updates)
    }

    /// As [`fold`](Self::fold), which leaves it to [`file`](Self::file) to bring the index up to date.
    ///
    /// # Errors
    /// As for [`fold`](Self::fold).
    pub(crate) fn fold_unfiled<T>(
        &self,
        context: &mut Context<'_>,
        (events, due): Given<K, T>,
        record: Detail,
        step: impl FnMut(&K, Moment<T>, &mut Kept<S>, &Stamp) -> Result<(), String>,
    ) -> Result<Vec<Update<K, Alarmed<S>>>, Failure> {
        let table = context.table(&self.rows)?;
        let mut work = Work { step, when: self.when, watermark: context.watermark() };
        // Of keys whose alarm is due behind all records, the last of these.
        let (mut fired, mut touched) = (0, BTreeMap::new());
        let mut updates = table.fold_in_steps(context, events, record, |pass, key, row, value, stamp| {
            let of_record = *stamp;
            if let Some(at_ms) = work.due_before(row.as_ref(), &of_record) {
                *stamp = of_record.of_due_before(fired, at_ms);
                fired += 1;
                work.sound(pass, (key, row), at_ms, stamp)?;
                return Ok(Some(value));
            }
            fired = 0;
            *stamp = of_record.behind_what_was_due();
            work.take(pass, (key, row), value, stamp)?;
            if due_by(row.as_ref(), work.watermark).is_some() {
                touched.insert(key.clone(), of_record);
            }
            Ok(None)
        })?;
        let entries = due.into_iter().map(|Event { key, value, .. }| (key, Some(value)));
        let rest = entries.chain(touched.keys().map(|key| (key.clone(), None)));
        let rest = rest.map(|(key, value)| Event { key, value, stamp: Stamp::default() }).collect();
        let (mut encoded, mut sounded) = (Vec::new(), 0);
        let at_watermark =
            table.fold_in_steps(context, rest, record, |pass, key, row, filed_ms: Option<i64>, stamp| {
                if let Some(at_ms) = filed_ms {
                    take_out(row, at_ms);
                }
                let Some(at_ms) = due_by(row.as_ref(), work.watermark) else {
                    work.file(row);
                    sounded = 0;
                    return Ok(None);
                };
                encoded.clear();
                key.encode_key(&mut encoded);
                *stamp = match touched.get(key).filter(|_| work.when == When::BeforeRecords) {
                    Some(last) => last.of_due_behind(sounded, at_ms, &encoded),
                    None => Stamp::of_closing(at_ms, &encoded, at_ms),
                };
                sounded += 1;
                work.sound(pass, (key, row), at_ms, stamp)?;
                Ok(Some(None))
            })?;
        updates.extend(at_watermark);
        Ok(updates)
    }

    /// Has the index say what the touched rows say: each is in it under the time that it says, and nowhere else. Shows `visit` on the way
    /// every key that was touched with its state before and now, and the latest stamp, in no particular order.
    ///
    /// # Errors
    /// `Internal` if the operator did not declare the tables.
    pub(crate) fn file(
        &self,
        context: &Context<'_>,
        mut visit: impl FnMut(&K, Option<&S>, Option<&S>, &Stamp),
    ) -> Result<(), Failure> {
        let mut entries = Vec::new();
        context.table(&self.rows)?.each_touched(context, |key, before, now, stamp| {
            visit(key, before.map(|row| &row.value), now.map(|row| &row.value), stamp);
            let [before_ms, now_ms] = [before, now].map(|row| row.and_then(|row| row.filed_ms));
            if before_ms != now_ms {
                let mut entry = |at_ms, value| {
                    entries.push(Event { key: Filed { at_ms, key: key.clone() }, value, stamp: *stamp });
                };
                if let Some(at_ms) = before_ms {
                    entry(at_ms, None);
                }
                if let Some(at_ms) = now_ms {
                    entry(at_ms, Some(()));
                }
            }
        })?;
        context.table(&self.index)?.write(context, entries)
    }
}

/// What a node that folds such rows is handed: its events, and the entries of the index that have come due.
pub(crate) type Given<K, T> = (Vec<Event<K, T>>, Vec<Event<K, i64>>);

/// The alarm of `row`, if it is due to whoever has come as far as `now_ms`.
fn due_by<S>(row: Option<&Alarmed<S>>, now_ms: i64) -> Option<i64> {
    row?.alarm_ms.filter(|at_ms| *at_ms <= now_ms)
}

/// What is kept of a key, while something is done to it.
pub(crate) struct Kept<S> {
    /// Its state.
    pub(crate) state: Option<S>,
    /// When it is to be looked at again; none where its alarm sounds.
    pub(crate) alarm_ms: Option<i64>,
}

/// A fold at work.
struct Work<F> {
    step: F,
    when: When,
    watermark: i64,
}

type Row<'r, K, S> = (&'r K, &'r mut Option<Alarmed<S>>);

impl<F> Work<F> {
    /// The alarm of `row`, if it is due before the record with this stamp.
    fn due_before<S>(&self, row: Option<&Alarmed<S>>, stamp: &Stamp) -> Option<i64> {
        due_by(row, stamp.stream_time_ms).filter(|_| self.when == When::BeforeRecords)
    }

    /// Takes in a record.
    fn take<K, T, S>(
        &mut self,
        pass: &Pass<'_>,
        (key, row): Row<'_, K, S>,
        value: T,
        stamp: &Stamp,
    ) -> Result<(), Failure>
    where
        F: FnMut(&K, Moment<T>, &mut Kept<S>, &Stamp) -> Result<(), String>,
    {
        let (mut kept, filed_ms) = out_of(row);
        let carried_ms = kept.alarm_ms;
        let done = (self.step)(key, Moment::Record(value), &mut kept, stamp).and_then(|()| {
            if kept.state.is_none() && kept.alarm_ms.is_some() && kept.alarm_ms != carried_ms {
                return Err("an alarm is set where no state is left that could carry it".to_owned());
            }
            if self.when == When::BeforeRecords {
                kept.alarm_ms = kept.alarm_ms.map(|at_ms| at_ms.max(stamp.stream_time_ms));
            }
            Ok(())
        });
        done.map_err(|reason| pass.failed(stamp, reason))?;
        put_back(row, kept, filed_ms);
        self.file(row);
        Ok(())
    }

    /// Has the alarm sound that was set for `at_ms`.
    fn sound<K: Key, T, S>(
        &mut self,
        pass: &mut Pass<'_>,
        (key, row): Row<'_, K, S>,
        at_ms: i64,
        stamp: &Stamp,
    ) -> Result<(), Failure>
    where
        F: FnMut(&K, Moment<T>, &mut Kept<S>, &Stamp) -> Result<(), String>,
    {
        pass.at_alarm(stamp, at_ms, key);
        let (mut kept, filed_ms) = out_of(row);
        kept.alarm_ms = None;
        let done =
            (self.step)(key, Moment::Alarm(at_ms), &mut kept, stamp).and_then(|()| match kept.alarm_ms {
                // It would sound for ever.
                Some(next_ms) if next_ms <= at_ms => Err(format!(
                    "an alarm that was due at {at_ms} ms is set again, to {next_ms} ms, which is no later"
                )),
                Some(_) if kept.state.is_none() => {
                    Err("an alarm is set where no state is left that could carry it".to_owned())
                }
                _ => Ok(()),
            });
        done.map_err(|reason| pass.failed_at_alarm(stamp, at_ms, key, reason))?;
        put_back(row, kept, filed_ms);
        Ok(())
    }

    /// Files a row whose alarm is not due, unless it is filed already under a time that is not later.
    fn file<S>(&self, row: &mut Option<Alarmed<S>>) {
        let Some(Alarmed { alarm_ms: Some(alarm_ms), filed_ms, .. }) = row else { return };
        if *alarm_ms > self.watermark && filed_ms.is_none_or(|filed_ms| *alarm_ms < filed_ms) {
            *filed_ms = Some(*alarm_ms);
        }
    }
}

fn put_back<S>(row: &mut Option<Alarmed<S>>, kept: Kept<S>, filed_ms: Option<i64>) {
    let in_time = |at_ms: i64| (at_ms < i64::MAX).then(|| at_ms.max(i64::MIN + 1));
    let alarm_ms = kept.alarm_ms.and_then(in_time);
    *row = kept.state.map(|value| Alarmed { alarm_ms, filed_ms, value });
}

/// Says of a row that it is not in the index any more, if it was there under the time that has come due: it may have been filed under
/// an earlier one since.
fn take_out<S>(row: &mut Option<Alarmed<S>>, at_ms: i64) {
    if let Some(row) = row
        && row.filed_ms == Some(at_ms)
    {
        row.filed_ms = None;
    }
}

/// What `row` keeps, and where it is filed.
fn out_of<S>(row: &mut Option<Alarmed<S>>) -> (Kept<S>, Option<i64>) {
    match row.take() {
        Some(Alarmed { alarm_ms, filed_ms, value }) => (Kept { state: Some(value), alarm_ms }, filed_ms),
        None => (Kept { state: None, alarm_ms: None }, None),
    }
}

/// What the changes of such rows show.
pub(crate) fn shown<K, S>(Changes { changes, updates }: Changes<K, Alarmed<S>>) -> Changes<K, S> {
    let value = |row: Option<Alarmed<S>>| row.map(|row| row.value);
    let change = |Change { key, old, new, stamp }| Change { key, old: value(old), new: value(new), stamp };
    let update = |Update { key, value: row, stamp }| Update { key, value: value(row), stamp };
    Changes {
        changes: changes.into_iter().map(change).collect(),
        updates: updates.into_iter().map(update).collect(),
    }
}
