//! Which rows the records of an epoch look into: for each key and stretch of time a cell, with those that look into it.
//!
//! Invariant: the records of a cell stand in the order of the log. Cells stand in no order that says anything; what comes out of them
//! is put in order afterwards. So nothing that two records do not share is kept for either of them, and keys are hashed once.

use super::arrive::Arrival;
use super::held::{CHUNK, HeldRecords, Stretch, further_row, is_right_row};
use super::side::Sides;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::Event;
use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;

/// That a record looks into a cell.
#[derive(Clone, Copy)]
pub(super) struct Look {
    hash: u64,
    number: i64,
    /// Which of the records of the epoch it is.
    pub(super) arrival: u32,
    /// Whether it is in the stretch of the cell, and so added to it.
    pub(super) is_own: bool,
}

/// The records of one key and one stretch of time.
#[derive(Default)]
pub(super) struct Cell {
    /// Those of the epoch that look into it.
    looks: (usize, usize),
    /// How many are in the first row, of either side.
    first: [u32; 2],
    /// How many further rows there are of either side.
    further: [u32; 2],
    /// How many are in the last of the further rows of either side.
    last: [u32; 2],
}

/// What an epoch looks into.
pub(super) struct Cells {
    looks: Vec<Look>,
    cells: Vec<Cell>,
}

impl Cells {
    /// What the records among `arrivals` look into that are not late, but for what was forgotten before stretch `first_kept`; and the
    /// first row of each cell.
    pub(super) fn of<K: Key, V: Value, T: Value>(
        sides: &Sides<K, V, T>,
        arrivals: &[Event<K, Arrival<V, T>>],
        first_kept: i64,
    ) -> (Self, Vec<Stretch<K>>) {
        let mut looks = Vec::with_capacity(arrivals.len() * 2);
        // An epoch is bounded far below 2^32 records.
        for (arrival, event) in (0_u32..).zip(arrivals) {
            let Arrival::Now(Some(value)) = &event.value else { continue };
            let (is_right, at_ms) = (value.is_right(), event.stamp.timestamp_ms);
            if sides.side(is_right).grace.is_over(at_ms, event.stamp.stream_time_ms) {
                continue;
            }
            let (hash, own) = (FxBuildHasher.hash_one(&event.key), sides.stretch_of(at_ms));
            let (reached, _) = sides.reached(is_right, at_ms);
            for number in reached.filter(|number| *number >= first_kept) {
                looks.push(Look { hash, number, arrival, is_own: number == own });
            }
        }
        let key = |look: &Look| arrivals.get(look.arrival as usize).map(|event| &event.key);
        looks.sort_unstable_by(|a, b| {
            let cells = a.hash.cmp(&b.hash).then(a.number.cmp(&b.number));
            // Mostly one record looks into a cell, and its key is not needed.
            cells.then_with(|| key(a).cmp(&key(b)).then(a.arrival.cmp(&b.arrival)))
        });
        let (mut cells, mut rows) = (Vec::with_capacity(looks.len()), Vec::with_capacity(looks.len()));
        let mut start = 0;
        for together in looks.chunk_by(|a, b| a.hash == b.hash && a.number == b.number && key(a) == key(b)) {
            let end = start + together.len();
            if let Some((look, key)) = together.first().and_then(|look| Some((look, key(look)?))) {
                cells.push(Cell { looks: (start, end), ..Cell::default() });
                rows.push(Stretch { number: look.number, key: key.clone(), row: 0 });
            }
            start = end;
        }
        (Self { looks, cells }, rows)
    }

    /// A cell, and the records that look into it.
    pub(super) fn cell(&mut self, index: usize) -> Option<(&mut Cell, &[Look])> {
        let Self { looks, cells } = self;
        let cell = cells.get_mut(index)?;
        let looks = looks.get(cell.looks.0..cell.looks.1)?;
        Some((cell, looks))
    }

    /// Every cell, and the records that look into it.
    pub(super) fn each(&mut self) -> impl Iterator<Item = (&mut Cell, &[Look])> {
        let Self { looks, cells } = self;
        cells.iter_mut().map(|cell| {
            let looks = looks.get(cell.looks.0..cell.looks.1).unwrap_or_default();
            (cell, looks)
        })
    }
}

impl Cell {
    /// Takes in what the first row of the stretch says.
    pub(super) fn take_first<V, T>(&mut self, row: &HeldRecords<V, T>) {
        self.first = [row.count(false), row.count(true)];
        self.further = row.further.into();
    }

    /// Takes in what a further row says, if it is the last of its side.
    pub(super) fn take_further<V, T>(&mut self, row: u32, held: &HeldRecords<V, T>) {
        let is_right = is_right_row(row);
        let is_last = self.further_rows(is_right, false).any(|last| last == row);
        if let Some(last) = self.last.get_mut(usize::from(is_right)).filter(|_| is_last) {
            *last = held.count(is_right);
        }
    }

    /// The further rows of a side that hold anything, or only the last of them.
    pub(super) fn further_rows(&self, is_right: bool, are_all: bool) -> impl Iterator<Item = u32> + use<> {
        let rows = self.further.get(usize::from(is_right)).copied().unwrap_or_default();
        let first = if are_all { 0 } else { rows.saturating_sub(1) };
        (first..rows).map(move |index| further_row(index, is_right))
    }

    /// Whether there are further rows of either side.
    pub(super) fn is_crowded(&self) -> bool {
        self.further != [0, 0]
    }

    /// Which row the next record of a side is added to, and whether that is a new one which the first row is to know of.
    pub(super) fn place(&mut self, is_right: bool) -> (u32, bool) {
        let side = usize::from(is_right);
        let (Some(first), Some(further), Some(last)) =
            (self.first.get_mut(side), self.further.get_mut(side), self.last.get_mut(side))
        else {
            return (0, false);
        };
        if *first < CHUNK {
            *first += 1;
            return (0, false);
        }
        let is_new = *further == 0 || *last >= CHUNK;
        if is_new {
            *further += 1;
            *last = 0;
        }
        *last += 1;
        (further_row(*further - 1, is_right), is_new)
    }
}
