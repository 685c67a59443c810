//! One side of a join: where its records are kept, what they reach, and which rows are due.

use super::bounds::Reach;
use super::held::{HeldRecords, Stretch, StretchNumber};
use crate::stream::grace::Grace;
use crate::stream::moment::{Moment, Time};
use crate::stream::step::CHARGED_TOGETHER;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Origin, Stamp};
use millpond_engine::graph::TableRef;
use std::ops::RangeInclusive;

/// One side of a join.
pub(super) struct Side<K, V> {
    pub(super) rows: TableRef<Stretch<K>, HeldRecords<V>>,
    /// Where the records are noted that none has met, each with the row that it is in: if these are to be told.
    pub(super) unmatched: Option<TableRef<Moment<K>, u32>>,
    /// What of the other side a record meets.
    pub(super) reach: Reach,
    /// For how long a record waits.
    pub(super) grace: Grace,
    /// How much time one stretch has.
    pub(super) width_ms: i64,
}

/// A row that is due.
#[derive(Clone, Copy)]
pub(super) enum Due {
    /// All records of it are closed.
    Rows { number: i64, row: u32 },
    /// A record that none had met before this epoch, and the row that it is in.
    Unmatched { origin: Origin, row: u32 },
}

impl<K: Key, V: Value> Side<K, V> {
    /// How much earlier than it has come what is told of this side may be dated.
    pub(super) fn delay_ms(&self) -> i64 {
        if self.unmatched.is_some() { self.grace.ms } else { 0 }
    }

    /// The stretch that has this moment.
    pub(super) fn stretch_of(&self, moment_ms: i64) -> i64 {
        moment_ms.div_euclid(self.width_ms)
    }

    /// The stretches of this side that a record of the other side at `at_ms` looks into, and the moments in them that it reaches.
    pub(super) fn reached_by(&self, other: Reach, at_ms: i64) -> (RangeInclusive<i64>, RangeInclusive<i64>) {
        let (first, last) = other.from(at_ms);
        (self.stretch_of(first)..=self.stretch_of(last), first..=last)
    }

    /// The first stretch of which a moment is not over at `at_ms`.
    pub(super) fn first_open_stretch(&self, at_ms: i64) -> i64 {
        self.stretch_of(self.grace.first_open(at_ms))
    }

    /// Whether a record is due that has met none. Rows that have outlived their use can stay until something else comes.
    pub(super) fn is_due(&self, context: &Context<'_>) -> Result<bool, Failure> {
        let due = self.grace.due(context);
        let Some(unmatched) = self.unmatched.as_ref().filter(|_| !due.is_empty()) else { return Ok(false) };
        Ok(context.has_rows(unmatched, Time(due.start)..Time(due.end))?)
    }

    /// Finds what is due, each with a stamp that stands behind all records of the epoch.
    pub(super) fn find_due(
        &self,
        context: &mut Context<'_>,
        mut found: impl FnMut(K, Due, Stamp),
    ) -> Result<(), Failure> {
        let [before, now] =
            [context.watermark_before(), context.watermark()].map(|at| self.first_open_stretch(at));
        if before < now {
            // They go together, in no order.
            let stamp = Stamp::of_closing(context.watermark(), &[], context.watermark());
            let rows = context.table_before(&self.rows)?.prefixes(StretchNumber(before)..StretchNumber(now));
            for (count, row) in (1..).zip(rows) {
                let (Stretch { number, key, row }, _) = row?;
                charge::<K>(context, count)?;
                found(key, Due::Rows { number, row }, stamp);
            }
        }
        let due = self.grace.due(context);
        if let Some(unmatched) = self.unmatched.as_ref().filter(|_| !due.is_empty()) {
            let rows = context.table_before(unmatched)?.prefixes(Time(due.start)..Time(due.end));
            for (count, row) in (1..).zip(rows) {
                let (Moment { timestamp_ms, origin, key }, row) = row?;
                charge::<K>(context, count)?;
                let stamp = Stamp::of_release(self.grace.close_of(timestamp_ms), origin, timestamp_ms);
                found(key, Due::Unmatched { origin, row }, stamp);
            }
        }
        Ok(())
    }
}

fn charge<K>(context: &Context<'_>, count: usize) -> Result<(), Failure> {
    if count.is_multiple_of(CHARGED_TOGETHER) {
        context.charge::<Event<K, Due>>(CHARGED_TOGETHER)?;
    }
    Ok(())
}
