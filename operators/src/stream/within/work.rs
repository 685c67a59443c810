//! What one side of a join does in an epoch: the rows that it looks into, brought into hand at once, and what becomes of them.
//!
//! Invariant: what is in hand is what the table will have, as long as every edit is noted.

use super::held::{CHUNK, Held, HeldRecords, Stretch};
use super::side::Side;
use crate::stream::moment::Moment;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Detail, Event, Failure, Origin, Stamp};
use millpond_engine::state::TableState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;

/// Which rows an epoch looks into.
pub(super) struct Wanted<K> {
    /// Stretches, each with whether all of its records may meet one of the other side. If not, records are only added to it.
    stretches: Vec<(K, i64, bool)>,
    /// Rows in which records are that may have met none.
    pub(super) rows: Vec<Stretch<K>>,
}

impl<K> Default for Wanted<K> {
    fn default() -> Self {
        Self { stretches: Vec::new(), rows: Vec::new() }
    }
}

impl<K: Key> Wanted<K> {
    /// A record is added to a stretch.
    pub(super) fn grows(&mut self, key: &K, number: i64) {
        self.stretches.push((key.clone(), number, false));
    }

    /// Every record of a stretch may meet one of the other side.
    pub(super) fn is_met(&mut self, key: &K, number: i64) {
        self.stretches.push((key.clone(), number, true));
    }

    /// Each stretch once. Most records want what no other one does: to sort them costs less than to keep them sorted.
    fn sort(&mut self) {
        self.stretches.sort_unstable();
        self.stretches.dedup_by(|(key, number, is_whole), kept| {
            let is_same = *number == kept.1 && *key == kept.0;
            kept.2 |= is_same && *is_whole;
            is_same
        });
    }
}

/// Where a record is among those of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    number: i64,
    row: u32,
    index: usize,
}

/// A record that was found: in the order of times, and then of origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    timestamp_ms: i64,
    origin: Origin,
    pub(super) place: Place,
}

/// A stretch in hand.
struct Loaded<V> {
    /// How many rows it has, if the first one was looked up.
    rows: u32,
    records: BTreeMap<u32, Vec<Held<V>>>,
}

impl<V> Default for Loaded<V> {
    fn default() -> Self {
        Self { rows: 0, records: BTreeMap::new() }
    }
}

/// What becomes of a row.
enum Edit<V> {
    Add(Held<V>),
    /// The stretch has one more row.
    Extend,
    /// The record at this index has met another.
    Match(usize),
    Remove,
}

/// One side of a join in one epoch.
pub(super) struct Work<'s, K, V> {
    side: &'s Side<K, V>,
    /// Stretches before this one are closed with the epoch.
    first_open: i64,
    loaded: HashMap<K, BTreeMap<i64, Loaded<V>>>,
    edits: Vec<Event<Stretch<K>, Edit<V>>>,
    /// Rows that are closed.
    gone: Vec<Event<Stretch<K>, Edit<V>>>,
    /// Records of this epoch, if those that none has met are to be told.
    new: Vec<(Moment<K>, Place, Stamp)>,
    is_new: HashSet<Origin>,
    /// Records of epochs before that have met their first now.
    met: Vec<(Moment<K>, Stamp)>,
    /// Records of epochs before that none had met, and are due.
    due: Vec<(Moment<K>, u32, Stamp)>,
}

impl<'s, K: Key, V: Value> Work<'s, K, V> {
    /// Brings what is `wanted` into hand.
    pub(super) fn begin(
        context: &Context<'_>,
        side: &'s Side<K, V>,
        mut wanted: Wanted<K>,
    ) -> Result<Self, Failure> {
        let table = context.table(&side.rows)?;
        let first_open = side.first_open_stretch(context.watermark());
        let mut work = Self {
            side,
            first_open,
            loaded: HashMap::new(),
            edits: Vec::new(),
            gone: Vec::new(),
            new: Vec::new(),
            is_new: HashSet::new(),
            met: Vec::new(),
            due: Vec::new(),
        };
        wanted.sort();
        let Wanted { stretches, mut rows } = wanted;
        rows.extend(stretches.iter().map(|(key, number, _)| Stretch {
            number: *number,
            key: key.clone(),
            row: 0,
        }));
        work.look_up(context, &table, rows)?;
        let mut others = Vec::new();
        for (key, number, is_whole) in &stretches {
            let rows = work.stretch(key, *number).map_or(0, |stretch| stretch.rows);
            let first = if *is_whole { 1 } else { rows.saturating_sub(1).max(1) };
            let row = |row| Stretch { number: *number, key: key.clone(), row };
            others.extend((first..rows).map(row));
        }
        work.look_up(context, &table, others)?;
        Ok(work)
    }

    fn look_up(
        &mut self,
        context: &Context<'_>,
        table: &TableState<Stretch<K>, HeldRecords<V>>,
        rows: Vec<Stretch<K>>,
    ) -> Result<(), Failure> {
        let found = table.look_up(context, &rows.iter().collect::<Vec<_>>())?;
        for (Stretch { number, key, row }, found) in rows.into_iter().zip(found) {
            let stretch = self.loaded.entry(key).or_default().entry(number).or_default();
            if let Some(HeldRecords { rows, records }) = found {
                if row == 0 {
                    stretch.rows = rows;
                }
                stretch.records.insert(row, records);
            }
        }
        Ok(())
    }

    fn stretch(&self, key: &K, number: i64) -> Option<&Loaded<V>> {
        self.loaded.get(key)?.get(&number)
    }

    /// The records of `key` in `stretches` at `moments` that `meets`, in the order of times and origins.
    pub(super) fn find(
        &self,
        key: &K,
        (stretches, moments): (RangeInclusive<i64>, &RangeInclusive<i64>),
        meets: impl Fn(&Held<V>) -> bool,
    ) -> Vec<Found> {
        let mut all = Vec::new();
        let loaded = self.loaded.get(key).into_iter().flat_map(|loaded| loaded.range(stretches.clone()));
        for (&number, stretch) in loaded {
            for (&row, records) in &stretch.records {
                for (index, held) in records.iter().enumerate() {
                    if moments.contains(&held.timestamp_ms) && meets(held) {
                        let (timestamp_ms, origin) = (held.timestamp_ms, held.origin);
                        all.push(Found { timestamp_ms, origin, place: Place { number, row, index } });
                    }
                }
            }
        }
        all.sort_unstable();
        all
    }

    /// The record of `key` at `place`.
    pub(super) fn record(&self, key: &K, place: Place) -> Option<&Held<V>> {
        self.stretch(key, place.number)?.records.get(&place.row)?.get(place.index)
    }

    /// Notes that the record at `place` has met that of `stamp`, if anybody is to know.
    pub(super) fn note_met(&mut self, key: &K, place: Place, stamp: Stamp) {
        if self.side.unmatched.is_none() {
            return;
        }
        let Place { number, row, index } = place;
        let stretch = self.loaded.get_mut(key).and_then(|loaded| loaded.get_mut(&number));
        let held = stretch.and_then(|stretch| stretch.records.get_mut(&row)?.get_mut(index));
        if let Some(held) = held.filter(|held| !held.is_matched) {
            held.is_matched = true;
            let (timestamp_ms, origin) = (held.timestamp_ms, held.origin);
            if !self.is_new.contains(&origin) {
                self.met.push((Moment { timestamp_ms, origin, key: key.clone() }, stamp));
            }
            let key = Stretch { number, key: key.clone(), row };
            self.edits.push(Event { key, value: Edit::Match(index), stamp });
        }
    }

    /// Adds a record.
    pub(super) fn add(&mut self, key: K, held: Held<V>, stamp: Stamp) {
        let (timestamp_ms, origin) = (held.timestamp_ms, held.origin);
        let number = self.side.stretch_of(timestamp_ms);
        let stretch = self.loaded.entry(key.clone()).or_default().entry(number).or_default();
        let last = stretch.rows.saturating_sub(1);
        let has_room = stretch.rows > 0 && stretch.records.get(&last).is_none_or(|last| last.len() < CHUNK);
        let row = if has_room { last } else { stretch.rows };
        if !has_room {
            if stretch.rows > 0 {
                let key = Stretch { number, key: key.clone(), row: 0 };
                self.edits.push(Event { key, value: Edit::Extend, stamp });
            }
            stretch.rows += 1;
        }
        let records = stretch.records.entry(row).or_default();
        let place = Place { number, row, index: records.len() };
        records.push(held.clone());
        if self.side.unmatched.is_some() {
            self.is_new.insert(origin);
            self.new.push((Moment { timestamp_ms, origin, key: key.clone() }, place, stamp));
        }
        self.edits.push(Event { key: Stretch { number, key, row }, value: Edit::Add(held), stamp });
    }

    /// Takes note of a record that none had met before this epoch, and is due.
    pub(super) fn take_due(&mut self, moment: Moment<K>, row: u32, stamp: Stamp) {
        self.due.push((moment, row, stamp));
    }

    /// Takes note of a row of which all records are closed.
    pub(super) fn take_gone(&mut self, row: Stretch<K>, stamp: Stamp) {
        self.gone.push(Event { key: row, value: Edit::Remove, stamp });
    }

    /// The records that are closed and have met none.
    pub(super) fn unmatched(&self, watermark_ms: i64) -> Vec<(Moment<K>, V)> {
        let is_closed = |moment: &Moment<K>| self.side.grace.is_over(moment.timestamp_ms, watermark_ms);
        let new =
            self.new.iter().filter(|(moment, ..)| is_closed(moment)).filter_map(|(moment, place, _)| {
                let held = self.record(&moment.key, *place)?;
                (!held.is_matched).then(|| (moment.clone(), held.value.clone()))
            });
        let due = self.due.iter().filter_map(|(moment, row, _)| {
            let stretch = self.stretch(&moment.key, self.side.stretch_of(moment.timestamp_ms))?;
            let held = stretch.records.get(row)?.iter().find(|held| held.origin == moment.origin)?;
            (!held.is_matched).then(|| (moment.clone(), held.value.clone()))
        });
        new.chain(due).collect()
    }

    /// Stores what has become of the rows.
    pub(super) fn store(mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        let watermark = context.watermark();
        if let Some(unmatched) = &self.side.unmatched {
            let mut notes = Vec::with_capacity(self.due.len());
            for (moment, place, stamp) in &self.new {
                let is_matched = self.record(&moment.key, *place).is_none_or(|held| held.is_matched);
                if !is_matched && !self.side.grace.is_over(moment.timestamp_ms, watermark) {
                    notes.push(Event { key: moment.clone(), value: Some(place.row), stamp: *stamp });
                }
            }
            let due = std::mem::take(&mut self.due).into_iter().map(|(moment, _, stamp)| (moment, stamp));
            let gone = std::mem::take(&mut self.met).into_iter().chain(due);
            notes.extend(gone.map(|(moment, stamp)| Event { key: moment, value: None, stamp }));
            context.table(unmatched)?.fold(context, notes, Detail::Changes, |_, note, row| *note = row)?;
        }
        let table = context.table(&self.side.rows)?;
        let (mut edits, first_open) = (self.edits, self.first_open);
        if table.may_refuse() {
            // A value that cannot be stored is the failure of its record, also where it need not be.
            let closed = edits.iter().filter(|edit| edit.key.number < first_open);
            let remove = |edit: &Event<Stretch<K>, Edit<V>>| Event {
                key: edit.key.clone(),
                value: Edit::Remove,
                stamp: edit.stamp,
            };
            let removed: Vec<_> = closed.map(remove).collect();
            edits.extend(removed);
        } else {
            edits.retain(|edit| edit.key.number >= first_open);
        }
        edits.append(&mut self.gone);
        table.fold(context, edits, Detail::Changes, |_, row, edit| apply(row, edit))?;
        Ok(())
    }
}

fn apply<V>(row: &mut Option<HeldRecords<V>>, edit: Edit<V>) {
    match edit {
        Edit::Add(held) => row.get_or_insert_with(HeldRecords::new).records.push(held),
        Edit::Extend => {
            if let Some(row) = row {
                row.rows += 1;
            }
        }
        Edit::Match(index) => {
            if let Some(held) = row.as_mut().and_then(|row| row.records.get_mut(index)) {
                held.is_matched = true;
            }
        }
        Edit::Remove => *row = None,
    }
}
