//! Where the records of both sides meet.
//!
//! What comes out is what would come out if records were taken one after the other. An epoch looks into rows as they were before it,
//! adds its records behind them, and only then writes: each row once.

use super::arrive::{Arrival, Arrivals};
use super::cells::Cells;
use super::held::{Held, HeldRecords, Stretch};
use super::pairs::{Met, Pairs, Told};
use super::side::Sides;
use super::unmatched::Unmatched;
use crate::stream::moment::Moment;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Detail, Event, Failure, Operator, Stamp};
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

/// Joins the records of two sides.
pub(super) struct Meet<K, V, T, W, F, E> {
    pub(super) sides: Arc<Sides<K, V, T>>,
    pub(super) join: F,
    pub(super) types: PhantomData<fn() -> (W, E)>,
}

impl<K, V, T, W, F, E> Operator for Meet<K, V, T, W, F, E>
where
    K: Key,
    V: Value,
    T: Value,
    W: Value,
    E: Display + 'static,
    F: Fn(&K, Option<&V>, Option<&T>) -> Result<Option<W>, E> + Send + Sync + 'static,
{
    type Input = (Arrivals<K, V, T>,);
    type Output = Vec<Event<K, W>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (arrivals,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let sides = &*self.sides;
        let first_kept = sides.first_open_stretch(context.watermark_before());
        let (mut cells, rows) = Cells::of(sides, &arrivals, first_kept);
        let pairs = Pairs::find(context, sides, &self.join, &arrivals, (&mut cells, &rows))?;
        let Told { pairs: mut out, is_matched, met } = pairs.told(context)?;
        let mut unmatched = Unmatched::of_due(context, sides, &arrivals, &met)?;
        let mut edits = Vec::with_capacity(arrivals.len() + met.len());
        let first_open = sides.first_open_stretch(context.watermark());
        note_met(&met, (&rows, first_open), &arrivals, (&mut edits, &mut unmatched));
        self.add(context, (arrivals, &is_matched), (&mut cells, rows), (&mut edits, &mut unmatched))?;
        unmatched.tell(context, sides, &self.join, &mut out)?;
        let table = context.table(&sides.rows)?;
        table.fold(context, edits, Detail::Changes, |_, row, edit| apply(row, edit))?;
        Ok(Some(out))
    }
}

/// What becomes of a row.
pub(super) enum Edit<V, T> {
    Add(Held<V, T>),
    /// There is one more further row of the left side, or of the right one.
    Extend(bool),
    /// The record at this index has met another.
    Match(usize),
    Remove,
}

type Edits<K, V, T> = Vec<Event<Stretch<K>, Edit<V, T>>>;

/// Notes that records which waited have met others.
fn note_met<K: Key, V: Value, T: Value>(
    met: &[Met],
    (rows, first_open): (&[Stretch<K>], i64),
    arrivals: &[Event<K, Arrival<V, T>>],
    (edits, unmatched): (&mut Edits<K, V, T>, &mut Unmatched<K, V, T>),
) {
    for Met { cell, row, index, arrival, is_right, timestamp_ms, origin } in met {
        let Some((first, event)) = rows.get(*cell).zip(arrivals.get(*arrival as usize)) else { continue };
        let (key, stamp) = (first.key.clone(), event.stamp);
        unmatched.forget(*is_right, Moment { timestamp_ms: *timestamp_ms, origin: *origin, key }, stamp);
        if first.number >= first_open {
            let key = Stretch { row: *row, ..first.clone() };
            edits.push(Event { key, value: Edit::Match(*index), stamp });
        }
    }
}

impl<K: Key, V: Value, T: Value, W, F, E> Meet<K, V, T, W, F, E> {
    /// Adds the records of the epoch to the rows of their cells.
    fn add(
        &self,
        context: &Context<'_>,
        (mut arrivals, is_matched): (Arrivals<K, V, T>, &[bool]),
        (cells, rows): (&mut Cells, Vec<Stretch<K>>),
        (edits, unmatched): (&mut Edits<K, V, T>, &mut Unmatched<K, V, T>),
    ) -> Result<(), Failure> {
        let (sides, watermark) = (&*self.sides, context.watermark());
        let first_open = sides.first_open_stretch(watermark);
        // A value that cannot be stored is the failure of its record, also where it need not be.
        let keeps_all = context.table(&sides.rows)?.may_refuse();
        for ((cell, looks), first) in cells.each().zip(rows) {
            for look in looks.iter().filter(|look| look.is_own) {
                let index = look.arrival as usize;
                let Some(Event { value: Arrival::Now(value), stamp, .. }) = arrivals.get_mut(index) else {
                    continue;
                };
                let Some(value) = value.take() else { continue };
                let (is_right, stamp) = (value.is_right(), *stamp);
                let is_matched = is_matched.get(index).is_some_and(|is_matched| *is_matched);
                let (row, is_new) = cell.place(is_right);
                if !is_matched && sides.side(is_right).unmatched.is_some() {
                    unmatched.add(sides, (&first.key, &value, stamp), row, watermark);
                }
                let is_closed = first.number < first_open;
                if is_closed && !keeps_all {
                    continue;
                }
                if is_new {
                    edits.push(Event { key: first.clone(), value: Edit::Extend(is_right), stamp });
                }
                let Stamp { timestamp_ms, stream_time_ms, .. } = stamp;
                let held = Held { timestamp_ms, stream_time_ms, origin: stamp.origin(), is_matched, value };
                let key = Stretch { row, ..first.clone() };
                if is_closed {
                    edits.push(Event { key: key.clone(), value: Edit::Add(held), stamp });
                    edits.push(Event { key, value: Edit::Remove, stamp });
                } else {
                    edits.push(Event { key, value: Edit::Add(held), stamp });
                }
            }
        }
        Ok(())
    }
}

fn apply<V, T>(row: &mut Option<HeldRecords<V, T>>, edit: Edit<V, T>) {
    match edit {
        Edit::Add(held) => row.get_or_insert_with(HeldRecords::new).push(held),
        Edit::Extend(is_right) => {
            if let Some(HeldRecords { further: (left, right), .. }) = row {
                *(if is_right { right } else { left }) += 1;
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
