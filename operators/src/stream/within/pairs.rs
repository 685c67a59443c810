//! Which records of an epoch meet which others, and what is made of the two.
//!
//! Each record meets those of the other side that came before it: those that wait, and those of the epoch. So a pair is made once, by the
//! second of the two; which of them that is shows in the place of the pair alone. Pairs are found cell by cell and row by row, where
//! rows lie, and put in order once all are there.

use super::arrive::Arrival;
use super::cells::{Cell, Cells, Look};
use super::held::{Either, HeldRecords, Stretch};
use super::side::Sides;
use crate::stream::step::CHARGED_TOGETHER;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Origin, Stamp};
use std::fmt::Display;
use std::ops::RangeInclusive;

/// What was made of a record of the epoch and of one that it has met.
struct Pair<W, E> {
    arrival: u32,
    partner: Partner,
    made: Result<Option<W>, E>,
}

/// A record that another one may meet.
#[derive(Clone, Copy)]
struct Partner {
    timestamp_ms: i64,
    origin: Origin,
    stream_time_ms: i64,
}

/// A record that waited, and has met its first in this epoch.
pub(super) struct Met {
    pub(super) cell: usize,
    pub(super) row: u32,
    pub(super) index: usize,
    /// Which record of the epoch it has met.
    pub(super) arrival: u32,
    pub(super) is_right: bool,
    pub(super) timestamp_ms: i64,
    pub(super) origin: Origin,
}

/// The pairs of an epoch.
pub(super) struct Pairs<'s, K, V, T, W, E, F> {
    sides: &'s Sides<K, V, T>,
    join: &'s F,
    arrivals: &'s [Event<K, Arrival<V, T>>],
    found: Vec<Pair<W, E>>,
    /// Which records of the epoch have met another.
    is_matched: Vec<bool>,
    met: Vec<Met>,
}

/// What an epoch comes to.
pub(super) struct Told<K, W> {
    pub(super) pairs: Vec<Event<K, W>>,
    /// Which records of the epoch have met another.
    pub(super) is_matched: Vec<bool>,
    /// Which that waited have met their first, each once.
    pub(super) met: Vec<Met>,
}

/// A record of the epoch that looks for others.
struct Seeker<'a, K, V, T> {
    arrival: u32,
    key: &'a K,
    value: &'a Either<V, T>,
    stamp: Stamp,
    moments: RangeInclusive<i64>,
}

impl<'s, K, V, T, W, E, F> Pairs<'s, K, V, T, W, E, F>
where
    K: Key,
    V: Value,
    T: Value,
    E: Display,
    F: Fn(&K, Option<&V>, Option<&T>) -> Result<Option<W>, E>,
{
    /// Finds the pairs of the records among `arrivals` that look into `cells`, of which `rows` are the first rows.
    pub(super) fn find(
        context: &mut Context<'_>,
        sides: &'s Sides<K, V, T>,
        join: &'s F,
        arrivals: &'s [Event<K, Arrival<V, T>>],
        (cells, rows): (&mut Cells, &[Stretch<K>]),
    ) -> Result<Self, Failure> {
        let is_matched = vec![false; arrivals.len()];
        let mut pairs = Self { sides, join, arrivals, found: Vec::new(), is_matched, met: Vec::new() };
        let table = context.table(&sides.rows)?;
        let mut crowded = Vec::new();
        table.look_at(context.shard(), rows.iter(), |index, held| {
            let Some((cell, looks)) = cells.cell(index) else { return Ok(()) };
            cell.take_first(held);
            if cell.is_crowded() {
                crowded.push(index);
            }
            pairs.meet_row(context, looks, (index, 0), held)
        })?;
        let mut further = Vec::new();
        for index in crowded {
            if let Some(((cell, looks), row)) = cells.cell(index).zip(rows.get(index)) {
                let wanted = pairs.further_rows(cell, looks);
                further
                    .extend(wanted.into_iter().map(|number| (index, Stretch { row: number, ..row.clone() })));
            }
        }
        table.look_at(context.shard(), further.iter().map(|(_, row)| row), |index, held| {
            let Some((index, row)) = further.get(index).map(|(index, row)| (*index, row.row)) else {
                return Ok(());
            };
            let Some((cell, looks)) = cells.cell(index) else { return Ok(()) };
            cell.take_further(row, held);
            pairs.meet_row(context, looks, (index, row), held)
        })?;
        for (_, looks) in cells.each().filter(|(_, looks)| looks.len() > 1) {
            pairs.meet_each_other(context, looks)?;
        }
        Ok(pairs)
    }

    fn seeker(&self, look: &Look) -> Option<Seeker<'s, K, V, T>> {
        let event = self.arrivals.get(look.arrival as usize)?;
        let Arrival::Now(Some(value)) = &event.value else { return None };
        let (_, moments) = self.sides.reached(value.is_right(), event.stamp.timestamp_ms);
        Some(Seeker { arrival: look.arrival, key: &event.key, value, stamp: event.stamp, moments })
    }

    /// Which further rows the records that look into a cell need: those of the other side, and the last one of their own.
    fn further_rows(&self, cell: &Cell, looks: &[Look]) -> Vec<u32> {
        let mut wanted = Vec::new();
        for is_right in [false, true] {
            let is_of_side =
                |look: &Look| self.seeker(look).is_some_and(|seeker| seeker.value.is_right() == is_right);
            let is_met = looks.iter().any(|look| !is_of_side(look));
            if is_met || looks.iter().any(|look| look.is_own) {
                wanted.extend(cell.further_rows(is_right, is_met));
            }
        }
        wanted
    }

    /// Lets the records that look into a cell meet those that wait in a row of it.
    fn meet_row(
        &mut self,
        context: &mut Context<'_>,
        looks: &[Look],
        (cell, row): (usize, u32),
        held: &HeldRecords<V, T>,
    ) -> Result<(), Failure> {
        for look in looks {
            let Some(seeker) = self.seeker(look) else { continue };
            for (index, held) in held.records.iter().enumerate() {
                let partner = Partner {
                    timestamp_ms: held.timestamp_ms,
                    origin: held.origin,
                    stream_time_ms: held.stream_time_ms,
                };
                if !self.meet(context, &seeker, &held.value, partner)? {
                    continue;
                }
                let is_right = held.value.is_right();
                if !held.is_matched && self.sides.side(is_right).unmatched.is_some() {
                    let Partner { timestamp_ms, origin, .. } = partner;
                    let arrival = look.arrival;
                    self.met.push(Met { cell, row, index, arrival, is_right, timestamp_ms, origin });
                }
            }
        }
        Ok(())
    }

    /// Lets the records that look into a cell meet those of them that are in its stretch and came before.
    fn meet_each_other(&mut self, context: &mut Context<'_>, looks: &[Look]) -> Result<(), Failure> {
        let mut before: [Vec<u32>; 2] = Default::default();
        for look in looks {
            let Some(seeker) = self.seeker(look) else { continue };
            let is_right = seeker.value.is_right();
            let [left, right] = &mut before;
            let (own, others) = if is_right { (right, left) } else { (left, right) };
            for &other in &*others {
                let Some(Event { value: Arrival::Now(Some(value)), stamp, .. }) =
                    self.arrivals.get(other as usize)
                else {
                    continue;
                };
                let Stamp { timestamp_ms, stream_time_ms, .. } = *stamp;
                let partner = Partner { timestamp_ms, origin: stamp.origin(), stream_time_ms };
                if self.meet(context, &seeker, value, partner)? {
                    self.note_matched(other);
                }
            }
            if look.is_own {
                own.push(look.arrival);
            }
        }
        Ok(())
    }

    fn note_matched(&mut self, arrival: u32) {
        if let Some(is_matched) = self.is_matched.get_mut(arrival as usize) {
            *is_matched = true;
        }
    }

    /// Joins the two, if they meet: if they are of two sides and near enough, and neither had come to the close of the other. Each is in
    /// time for itself, or it would not be there.
    fn meet(
        &mut self,
        context: &mut Context<'_>,
        seeker: &Seeker<'_, K, V, T>,
        other: &Either<V, T>,
        partner: Partner,
    ) -> Result<bool, Failure> {
        let (is_right, stamp) = (seeker.value.is_right(), &seeker.stamp);
        let (mine, theirs) = (self.sides.side(is_right), self.sides.side(!is_right));
        if other.is_right() == is_right
            || !seeker.moments.contains(&partner.timestamp_ms)
            || mine.grace.is_over(stamp.timestamp_ms, partner.stream_time_ms)
            || theirs.grace.is_over(partner.timestamp_ms, stamp.stream_time_ms)
        {
            return Ok(false);
        }
        let (Either::Left(left), Either::Right(right)) =
            (if is_right { (other, seeker.value) } else { (seeker.value, other) })
        else {
            return Ok(false);
        };
        context.at(stamp);
        let made = (self.join)(seeker.key, Some(left), Some(right));
        self.found.push(Pair { arrival: seeker.arrival, partner, made });
        self.note_matched(seeker.arrival);
        if self.found.len().is_multiple_of(CHARGED_TOGETHER) {
            context.charge::<Event<K, W>>(CHARGED_TOGETHER)?;
        }
        Ok(true)
    }

    /// The pairs in the order of the second of the two, and then of the times and origins of its partners.
    ///
    /// # Errors
    /// The failure of the first pair of which nothing could be made.
    pub(super) fn told(self, context: &Context<'_>) -> Result<Told<K, W>, Failure> {
        let Self { arrivals, mut found, is_matched, mut met, .. } = self;
        found.sort_unstable_by_key(|pair| (pair.arrival, pair.partner.timestamp_ms, pair.partner.origin));
        let mut out = Vec::with_capacity(found.len());
        let (mut second, mut number) = (None, 0);
        for Pair { arrival, partner, made } in found {
            number = if second == Some(arrival) { number + 1 } else { 0 };
            second = Some(arrival);
            let Some(Event { key, stamp, .. }) = arrivals.get(arrival as usize) else { continue };
            let mut stamp = stamp.branch(number);
            stamp.timestamp_ms = stamp.timestamp_ms.max(partner.timestamp_ms);
            stamp.stream_time_ms = stamp.stream_time_ms.max(partner.stream_time_ms);
            let made = made.map_err(|reason| context.failed(&stamp, reason))?;
            out.extend(made.map(|value| Event { key: key.clone(), value, stamp }));
        }
        met.sort_unstable_by_key(|met| (met.cell, met.row, met.index, met.arrival));
        met.dedup_by_key(|met| (met.cell, met.row, met.index));
        Ok(Told { pairs: out, is_matched, met })
    }
}
