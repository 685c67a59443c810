//! The two sides of a join: where their records are kept, what they reach, and which of them are due.
//!
//! Invariant: a row is of no use once the last moment of its stretch is closed on both sides, and is forgotten with that. Whoever comes
//! later does not reach it: its partition has come at least as far.

use super::bounds::Reach;
use super::held::{HeldRecords, Stretch, StretchNumber};
use crate::stream::grace::Grace;
use crate::stream::moment::{Moment, Time};
use crate::stream::step::CHARGED_TOGETHER;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Origin, Stamp};
use millpond_engine::graph::{Builder, TableRef};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// One side of a join.
pub(super) struct Side<K> {
    /// Where the records are noted that none has met, each with the row that it is in: if these are to be told.
    pub(super) unmatched: Option<TableRef<Moment<K>, u32>>,
    /// What of the other side a record meets.
    pub(super) reach: Reach,
    /// For how long a record waits.
    pub(super) grace: Grace,
}

/// Both sides of a join.
pub(super) struct Sides<K, V, T> {
    pub(super) rows: TableRef<Stretch<K>, HeldRecords<V, T>>,
    pub(super) left: Side<K>,
    pub(super) right: Side<K>,
    /// How much time one stretch has.
    pub(super) width_ms: i64,
}

/// A record that none had met before this epoch, and is closed with it.
#[derive(Clone, Copy)]
pub(super) struct Due {
    pub(super) origin: Origin,
    /// The row that it is in.
    pub(super) row: u32,
    pub(super) is_right: bool,
}

impl<K> Side<K> {
    /// How much earlier than it has come what is told of this side may be dated.
    fn delay_ms(&self) -> i64 {
        if self.unmatched.is_some() { self.grace.ms } else { 0 }
    }
}

impl<K: Key, V: Value, T: Value> Sides<K, V, T> {
    pub(super) fn side(&self, is_right: bool) -> &Side<K> {
        if is_right { &self.right } else { &self.left }
    }

    /// How much earlier than it has come what is told may be dated.
    pub(super) fn delay_ms(&self) -> i64 {
        self.left.delay_ms().max(self.right.delay_ms())
    }

    /// The stretch that has this moment.
    pub(super) fn stretch_of(&self, moment_ms: i64) -> i64 {
        moment_ms.div_euclid(self.width_ms)
    }

    /// The stretches that a record of a side at `at_ms` looks into, and the moments in them that it reaches.
    pub(super) fn reached(&self, is_right: bool, at_ms: i64) -> (RangeInclusive<i64>, RangeInclusive<i64>) {
        let (first, last) = self.side(is_right).reach.from(at_ms);
        (self.stretch_of(first)..=self.stretch_of(last), first..=last)
    }

    /// The first stretch of which a moment is not over at `at_ms`, on either side.
    pub(super) fn first_open_stretch(&self, at_ms: i64) -> i64 {
        let [left, right] =
            [&self.left, &self.right].map(|side| self.stretch_of(side.grace.first_open(at_ms)));
        left.min(right)
    }

    /// Has the table forget stretches as they are closed.
    pub(super) fn forget_closed(self: &Arc<Self>, builder: &Builder) {
        let sides = Arc::clone(self);
        builder
            .forgets(&self.rows, move |watermark_ms| StretchNumber(sides.first_open_stretch(watermark_ms)));
    }

    /// Whether a record is due that has met none.
    pub(super) fn is_due(&self, context: &Context<'_>) -> Result<bool, Failure> {
        for side in [&self.left, &self.right] {
            let due = side.grace.due(context);
            let unmatched = side.unmatched.as_ref().filter(|_| !due.is_empty());
            if let Some(unmatched) = unmatched
                && context.has_rows(unmatched, Time(due.start)..Time(due.end))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Finds what is due, each with a stamp that stands behind all records of the epoch.
    pub(super) fn find_due(
        &self,
        context: &mut Context<'_>,
        mut found: impl FnMut(K, Due, Stamp),
    ) -> Result<(), Failure> {
        for is_right in [false, true] {
            let side = self.side(is_right);
            let due = side.grace.due(context);
            let Some(unmatched) = side.unmatched.as_ref().filter(|_| !due.is_empty()) else { continue };
            let rows = context.table_before(unmatched)?.prefixes(Time(due.start)..Time(due.end));
            for (count, row) in (1_usize..).zip(rows) {
                let (Moment { timestamp_ms, origin, key }, row) = row?;
                if count.is_multiple_of(CHARGED_TOGETHER) {
                    context.charge::<Event<K, Due>>(CHARGED_TOGETHER)?;
                }
                let stamp = Stamp::of_release(side.grace.close_of(timestamp_ms), origin, timestamp_ms);
                found(key, Due { origin, row, is_right }, stamp);
            }
        }
        Ok(())
    }
}
