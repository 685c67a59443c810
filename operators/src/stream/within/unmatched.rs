//! Records that have met none: noted by their time until they meet one, and told at their close if they have not.
//!
//! Invariant: a record that waits on a side whose lonely ones are told has a note as long as it has met none, and no other has.

use super::arrive::Arrival;
use super::held::{Either, Stretch};
use super::pairs::Met;
use super::side::Sides;
use crate::stream::moment::Moment;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Detail, Event, Failure, Origin, Stamp};
use std::collections::BTreeSet;
use std::fmt::Display;

/// A record that is closed and has met none.
struct Lonely<K, V, T> {
    close_ms: i64,
    moment: Moment<K>,
    value: Either<V, T>,
}

impl<K, V, T> Lonely<K, V, T> {
    fn order(&self) -> (i64, &K, Origin) {
        (self.close_ms, &self.moment.key, self.moment.origin)
    }
}

type Notes<K> = Vec<Event<Moment<K>, Option<u32>>>;

/// What an epoch does to records that have met none.
pub(super) struct Unmatched<K, V, T> {
    lonely: Vec<Lonely<K, V, T>>,
    /// Of the left side, and of the right one.
    notes: [Notes<K>; 2],
}

impl<K: Key, V: Value, T: Value> Unmatched<K, V, T> {
    /// Those that were noted and are due, but for those that have `met` another in this epoch.
    pub(super) fn of_due(
        context: &Context<'_>,
        sides: &Sides<K, V, T>,
        arrivals: &[Event<K, Arrival<V, T>>],
        met: &[Met],
    ) -> Result<Self, Failure> {
        let mut unmatched = Self { lonely: Vec::new(), notes: Default::default() };
        let (mut due, mut rows) = (Vec::new(), Vec::new());
        for Event { key, value, stamp } in arrivals {
            let Arrival::Due(found) = value else { continue };
            let timestamp_ms = stamp.timestamp_ms;
            unmatched.forget(
                found.is_right,
                Moment { timestamp_ms, origin: found.origin, key: key.clone() },
                *stamp,
            );
            rows.push(Stretch { number: sides.stretch_of(timestamp_ms), key: key.clone(), row: found.row });
            due.push((**found, timestamp_ms));
        }
        if due.is_empty() {
            return Ok(unmatched);
        }
        let met: BTreeSet<Origin> = met.iter().map(|met| met.origin).collect();
        context.table(&sides.rows)?.look_at(context.shard(), rows.iter(), |index, row| {
            let Some(((due, timestamp_ms), Stretch { key, .. })) = due.get(index).zip(rows.get(index)) else {
                return Ok(());
            };
            let origin = due.origin;
            let held = row.records.iter().find(|held| held.origin == origin);
            if let Some(held) = held.filter(|held| !held.is_matched && !met.contains(&origin)) {
                let moment = Moment { timestamp_ms: *timestamp_ms, origin, key: key.clone() };
                let close_ms = sides.side(due.is_right).grace.close_of(*timestamp_ms);
                unmatched.lonely.push(Lonely { close_ms, moment, value: held.value.clone() });
            }
            Ok(())
        })?;
        Ok(unmatched)
    }

    /// Takes a record of the epoch, which is put into this row and has met none: it is told if it is closed, or noted.
    pub(super) fn add(
        &mut self,
        sides: &Sides<K, V, T>,
        (key, value, stamp): (&K, &Either<V, T>, Stamp),
        row: u32,
        watermark_ms: i64,
    ) {
        let timestamp_ms = stamp.timestamp_ms;
        let moment = Moment { timestamp_ms, origin: stamp.origin(), key: key.clone() };
        let grace = sides.side(value.is_right()).grace;
        if grace.is_over(timestamp_ms, watermark_ms) {
            let close_ms = grace.close_of(timestamp_ms);
            self.lonely.push(Lonely { close_ms, moment, value: value.clone() });
        } else {
            self.note(value.is_right(), Event { key: moment, value: Some(row), stamp });
        }
    }

    /// Takes back the note of a record.
    pub(super) fn forget(&mut self, is_right: bool, moment: Moment<K>, stamp: Stamp) {
        self.note(is_right, Event { key: moment, value: None, stamp });
    }

    fn note(&mut self, is_right: bool, note: Event<Moment<K>, Option<u32>>) {
        if let Some(notes) = self.notes.get_mut(usize::from(is_right)) {
            notes.push(note);
        }
    }

    /// Tells of the records that are closed, in the order of closes, keys and origins, and stores the notes of the others.
    pub(super) fn tell<W, E: Display>(
        self,
        context: &mut Context<'_>,
        sides: &Sides<K, V, T>,
        join: impl Fn(&K, Option<&V>, Option<&T>) -> Result<Option<W>, E>,
        out: &mut Vec<Event<K, W>>,
    ) -> Result<(), Failure> {
        let Self { lonely, notes: [left, right] } = self;
        for (side, notes) in [(&sides.left, left), (&sides.right, right)] {
            if let Some(unmatched) = &side.unmatched {
                let table = context.table(unmatched)?;
                table.fold(context, notes, Detail::Changes, |_, note, row| *note = row)?;
            }
        }
        if lonely.is_empty() {
            return Ok(());
        }
        tell(context, lonely, join, out)?;
        out.sort_by_key(|event| event.stamp);
        Ok(())
    }
}

fn tell<K: Key, V, T, W, E: Display>(
    context: &mut Context<'_>,
    mut lonely: Vec<Lonely<K, V, T>>,
    join: impl Fn(&K, Option<&V>, Option<&T>) -> Result<Option<W>, E>,
    out: &mut Vec<Event<K, W>>,
) -> Result<(), Failure> {
    lonely.sort_by(|a, b| a.order().cmp(&b.order()));
    let (mut encoded, mut before, mut number) = (Vec::new(), None, 0);
    for Lonely { close_ms, moment: Moment { timestamp_ms, key, .. }, value } in lonely {
        encoded.clear();
        key.encode_key(&mut encoded);
        let first = Stamp::of_closing(close_ms, &encoded, timestamp_ms);
        // Those of one key and one close are all told in one epoch.
        number = if before == Some(first.origin()) { number + 1 } else { 0 };
        before = Some(first.origin());
        let stamp = first.branch(number);
        if !context.tells(&stamp, &key) {
            continue;
        }
        context.at(&stamp);
        let joined = match &value {
            Either::Left(value) => join(&key, Some(value), None),
            Either::Right(value) => join(&key, None, Some(value)),
        };
        let joined = joined.map_err(|reason| context.failed(&stamp, reason))?;
        out.extend(joined.map(|value| Event { key, value, stamp }));
    }
    Ok(())
}
