//! The versions of rows, and what becomes of them in an epoch.
//!
//! Rows: all versions, of one key together; and by time, those that are not closed. Once a version is closed, whatever it has replaced
//! goes: of each key the last closed version stays, and what is not closed. A deletion that is the last closed version goes, too, for
//! without it nothing is there either.
//!
//! Invariant: whatever counts after a version was closed is later than it, as no partition comes to less than the watermark any more.

use super::key::{Row, VersionKey, VersionOrder, VersionRow};
use crate::stream::arrive::Arrival;
use crate::stream::grace::Grace;
use crate::stream::moment::Moment;
use crate::stream::step::CHARGED_TOGETHER;
use crate::upsert::Upsert;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Detail, Event, Failure, Stamp};
use millpond_engine::graph::TableRef;
use std::collections::BTreeMap;

/// The tables of versions.
pub(crate) struct History<K, V> {
    pub(crate) versions: TableRef<VersionKey<K>, VersionRow<V>>,
    /// The versions that are not closed.
    pub(crate) open: TableRef<Moment<K>, ()>,
    /// For how long a version is open.
    pub(crate) grace: Grace,
}

/// Updates of an epoch, and versions that are closed with it.
pub(crate) struct Updates<K, V> {
    pub(crate) updates: Vec<Event<K, Option<V>>>,
    due: Vec<Event<Moment<K>, Option<()>>>,
}

/// Rows of versions that become others.
pub(super) type Versions<K, V> = Vec<Event<VersionKey<K>, Option<VersionRow<V>>>>;

impl<K: Key, V: Value> History<K, V> {
    /// The updates that count, and what is due with them.
    pub(crate) fn sift(&self, arrivals: Vec<Event<K, Arrival<Upsert<V>, ()>>>) -> Updates<K, V> {
        let (mut updates, mut due) = (Vec::new(), Vec::new());
        for Event { key, value, stamp } in arrivals {
            match value {
                Arrival::Now(_) if self.grace.is_over(stamp.timestamp_ms, stamp.stream_time_ms) => {}
                Arrival::Now(value) => updates.push(Event { key, value: value.into_option(), stamp }),
                Arrival::Due(origin, ()) => {
                    let moment = Moment { timestamp_ms: stamp.timestamp_ms, origin, key };
                    due.push(Event { key: moment, value: None, stamp });
                }
            }
        }
        Updates { updates, due }
    }

    /// Stores versions, and removes those that nobody may ask for any more; `bound` goes along. Answers with the deletions that are gone.
    pub(crate) fn keep(
        &self,
        context: &mut Context<'_>,
        Updates { updates, due }: Updates<K, V>,
        bound: Option<Event<VersionKey<K>, Option<VersionRow<V>>>>,
    ) -> Result<Vec<Event<K, VersionOrder>>, Failure> {
        let mut versions = rows_of(&updates);
        let deleted = self.let_go(context, &updates, &due, &mut versions)?;
        self.note_open(context, &updates, due)?;
        versions.extend(bound);
        context.table(&self.versions)?.fold(context, versions, Detail::Changes, |_, row, new| *row = new)?;
        Ok(deleted)
    }

    /// Removes what closed versions have replaced.
    fn let_go(
        &self,
        context: &mut Context<'_>,
        updates: &[Event<K, Option<V>>],
        due: &[Event<Moment<K>, Option<()>>],
        versions: &mut Versions<K, V>,
    ) -> Result<Vec<Event<K, VersionOrder>>, Failure> {
        let end = self.grace.first_open(context.watermark());
        // The closed versions of each key that has new ones: whether they delete.
        let mut closed: BTreeMap<&K, BTreeMap<VersionOrder, bool>> =
            due.iter().map(|Event { key, .. }| (&key.key, BTreeMap::new())).collect();
        for Event { key, value, stamp } in updates.iter().filter(|update| update.stamp.timestamp_ms < end) {
            closed.entry(key).or_default().insert(VersionOrder::of(stamp), value.is_none());
        }
        let mut deleted = Vec::new();
        if closed.is_empty() {
            return Ok(deleted);
        }
        // When the first of them happened.
        let mut times: BTreeMap<&K, i64> = BTreeMap::new();
        let new = updates.iter().map(|Event { key, stamp, .. }| (key, stamp.timestamp_ms));
        for (key, at_ms) in new.chain(due.iter().map(|Event { key, .. }| (&key.key, key.timestamp_ms))) {
            let first = times.entry(key).or_insert(at_ms);
            *first = at_ms.min(*first);
        }
        let before = context.table_before(&self.versions)?;
        let stamp = Stamp::of_closing(context.watermark(), &[], context.watermark());
        for (key, mut closed) in closed {
            let of = |timestamp_ms| VersionKey::new(key.clone(), VersionOrder::before(timestamp_ms));
            let first = times.get(key).copied().unwrap_or(i64::MIN);
            for (count, row) in (1..).zip(before.range(of(i64::MIN)..of(end)).rev()) {
                let (VersionKey { order, .. }, row) = row?;
                closed.insert(order, row.is_delete());
                // One that was closed before has outlived all before it.
                if order.timestamp_ms < first {
                    break;
                }
                if count % CHARGED_TOGETHER == 0 {
                    context.charge::<Event<VersionKey<K>, Option<VersionRow<V>>>>(CHARGED_TOGETHER)?;
                }
            }
            let last = closed.pop_last();
            let gone = last.filter(|(_, is_delete)| *is_delete).map(|(order, _)| order);
            deleted.extend(gone.map(|order| Event { key: key.clone(), value: order, stamp }));
            versions.extend(closed.into_keys().chain(gone).map(|order| Event {
                key: VersionKey::new(key.clone(), order),
                value: None,
                stamp,
            }));
        }
        Ok(deleted)
    }

    fn note_open(
        &self,
        context: &mut Context<'_>,
        updates: &[Event<K, Option<V>>],
        due: Vec<Event<Moment<K>, Option<()>>>,
    ) -> Result<(), Failure> {
        let watermark = context.watermark();
        let open = updates.iter().filter(|update| !self.grace.is_over(update.stamp.timestamp_ms, watermark));
        let mut notes: Vec<_> = open
            .map(|Event { key, stamp, .. }| Event {
                key: Moment { timestamp_ms: stamp.timestamp_ms, origin: stamp.origin(), key: key.clone() },
                value: Some(()),
                stamp: *stamp,
            })
            .collect();
        notes.extend(due);
        context.table(&self.open)?.fold(context, notes, Detail::Changes, |_, row, note| *row = note)?;
        Ok(())
    }
}

fn rows_of<K: Key, V: Value>(updates: &[Event<K, Option<V>>]) -> Versions<K, V> {
    let row = |Event { key, value, stamp }: &Event<K, Option<V>>| Event {
        key: VersionKey::new(key.clone(), VersionOrder::of(stamp)),
        value: Some(VersionRow(value.clone().map_or(Row::Delete, Row::Put))),
        stamp: *stamp,
    };
    updates.iter().map(row).collect()
}
