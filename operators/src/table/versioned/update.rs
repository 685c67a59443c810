//! What an epoch does to the latest rows of a versioned table.
//!
//! Rows: the latest of each key; and which update that was, as its row does not say. That goes with a deletion that is closed, since
//! whatever counts after it is later.

use super::history::History;
use super::key::{Row, VersionKey, VersionOrder, VersionRow};
use crate::stream::arrive::Arrival;
use crate::upsert::Upsert;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Changes, Context, Detail, Event, Failure, Operator, Stamp, Update};
use millpond_engine::graph::TableRef;

/// Keeps the rows.
pub(super) struct Keep<K, V> {
    pub(super) latest: TableRef<K, V>,
    /// Which update the latest row of a key is of, or that it was deleted.
    pub(super) newest: TableRef<K, VersionOrder>,
    pub(super) history: History<K, V>,
}

impl<K: Key, V: Value> Operator for Keep<K, V> {
    type Input = (Vec<Event<K, Arrival<Upsert<V>, ()>>>,);
    type Output = Changes<K, V>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (arrivals,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let updates = self.history.sift(arrivals);
        let latest = self.fold_latest(context, &updates.updates)?;
        let bound = self.bound(context);
        let deleted = self.history.keep(context, updates, bound)?;
        let newest = context.table(&self.newest)?;
        newest.fold(context, deleted, Detail::Changes, |_, newest, order| {
            if *newest == Some(order) {
                *newest = None;
            }
        })?;
        if !context.is_read() {
            return Ok(None);
        }
        Ok(Some(context.table(&self.latest)?.changes(context, latest)?))
    }
}

impl<K: Key, V: Value> Keep<K, V> {
    /// Replaces the latest rows by those of updates that are newer.
    fn fold_latest(
        &self,
        context: &mut Context<'_>,
        updates: &[Event<K, Option<V>>],
    ) -> Result<Vec<Update<K, V>>, Failure> {
        let seen = updates.iter().enumerate();
        let seen = seen.map(|(index, Event { key, stamp, .. })| Event {
            key: key.clone(),
            value: index,
            stamp: *stamp,
        });
        let mut is_newest = vec![false; updates.len()];
        let newest = context.table(&self.newest)?;
        newest.fold(context, seen.collect(), Detail::Changes, |_, newest, index| {
            let (Some(update), Some(is_newest)) = (updates.get(index), is_newest.get_mut(index)) else {
                return;
            };
            let order = VersionOrder::of(&update.stamp);
            if newest.is_none_or(|newest| newest < order) {
                *newest = Some(order);
                *is_newest = true;
            }
        })?;
        let rows = updates
            .iter()
            .zip(is_newest)
            .filter(|(_, is_newest)| *is_newest)
            .map(|(update, _)| update.clone());
        let detail = context.detail();
        let latest = context.table(&self.latest)?;
        latest.fold(context, rows.collect(), detail, |_, row, value| *row = value)
    }

    /// The row that says up to where versions may be gone, on one shard, if it is to be another one.
    fn bound(&self, context: &Context<'_>) -> Option<Event<VersionKey<K>, Option<VersionRow<V>>>> {
        let [before, now] =
            [context.watermark_before(), context.watermark()].map(|at| self.history.grace.first_open(at));
        let key = VersionKey::bound();
        (before < now && context.router().shard(&key) == context.shard()).then(|| {
            let stamp = Stamp::of_closing(context.watermark(), &[], context.watermark());
            Event { key, value: Some(VersionRow(Row::Bound(now))), stamp }
        })
    }
}
