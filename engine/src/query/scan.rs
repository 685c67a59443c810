//! Scans: rows of a snapshot in key order, both ways.
//!
//! Rows are read in pieces, bounded in rows and in bytes: the store hands its rows over one by one, those of the
//! generations go in between or in their place, and each is decoded where it lies. Between pieces a scan holds nothing
//! but the snapshot and the rows of a piece, so it can be kept, sent and dropped at will.

use super::TableSnapshot;
use crate::codec::{Key, Value};
use crate::state::{Generation, number_of};
use crate::store::{Direction, Row, StoreSnapshot};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

/// Rows that one piece takes: few at first, since many scans stop early, then more.
const FIRST_ROWS: usize = 32;
const MOST_ROWS: usize = 4096;

/// Stored bytes after which a piece takes no further row.
const MOST_BYTES: usize = 256 << 10;

/// An iterator over rows, ascending from the front and descending from the back.
///
/// Each item is a row or an error; after an error the scan ends.
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let numbers = Topic::<u32, u32>::new("numbers");
/// let graph = GraphBuilder::new();
/// let squares = graph.table(&numbers, "squares");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// let all: Vec<(u32, u32)> = (0..10).map(|number| (number, number * number)).collect();
/// engine.producer(&numbers)?.send(all.iter().map(|(key, value)| (key, Some(value), 0))).wait_blocking()?;
/// engine.catch_up_blocking()?;
///
/// let mut scan = engine.view(&squares)?.range(2..=4)?;
/// assert_eq!(scan.next_back().transpose()?, Some((4, 16)));
/// assert_eq!(scan.collect::<Result<Vec<_>, _>>()?, [(2, 4), (3, 9)]);
/// # Ok::<(), millpond::Error>(())
/// ```
pub struct Scan<K, V> {
    table: TableSnapshot<K, V>,
    /// What is not read yet.
    left: Range<Vec<u8>>,
    front: VecDeque<(K, V)>,
    back: VecDeque<(K, V)>,
    rows: usize,
}

impl<K, V> fmt::Debug for Scan<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("table", &self.table).finish_non_exhaustive()
    }
}

/// The rows of several generations, given newest first, in one order: of each key the newest. A state that was not drained for long has many
/// generations, so that numbers are compared instead of keys where they tell.
struct Overlay<'g, I> {
    layers: Vec<Layer<'g, I>>,
    direction: Direction,
    /// With how many bytes all keys begin that are the same.
    common: usize,
    /// The key of the next row, and its number.
    nearest: Option<(&'g [u8], u128)>,
}

/// What is left of a generation.
struct Layer<'g, I> {
    rows: I,
    /// The next row, with the number of its key: less than that of another one only if it comes first.
    head: Option<(Row<'g>, u128)>,
}

impl<'g, I: Iterator<Item = Row<'g>>> Overlay<'g, I> {
    /// Of rows whose keys lie in `keys`.
    fn new(layers: impl Iterator<Item = I>, keys: &Range<&[u8]>, direction: Direction) -> Self {
        let common = shared(keys.start, keys.end);
        let layers = layers.map(|rows| Layer { rows, head: None }).collect();
        let mut overlay = Self { layers, direction, common, nearest: None };
        overlay.layers.iter_mut().for_each(|layer| layer.go_on(common, direction));
        overlay.look();
        overlay
    }

    /// Looks for the next row.
    fn look(&mut self) {
        let direction = self.direction;
        let heads = self.layers.iter().filter_map(|layer| layer.head.map(|((key, _), number)| (key, number)));
        let comes_first = |a: &(&[u8], u128), b: &(&[u8], u128)| {
            a.1 < b.1 || (a.1 == b.1 && comes_before(direction, a.0, b.0))
        };
        self.nearest = heads.reduce(|a, b| if comes_first(&b, &a) { b } else { a });
    }

    /// The next row, if its key does not come after `bound`.
    fn next_up_to(&mut self, bound: Option<&[u8]>) -> Option<Row<'g>> {
        let ((nearest, number), direction) = (self.nearest?, self.direction);
        if bound.is_some_and(|bound| comes_before(direction, bound, nearest)) {
            return None;
        }
        let mut newest = None;
        for layer in &mut self.layers {
            if let Some((row, _)) = layer.head.filter(|(row, own)| *own == number && row.0 == nearest) {
                newest = newest.or(Some(row));
                layer.go_on(self.common, direction);
            }
        }
        self.look();
        newest
    }
}

impl<'g, I: Iterator<Item = Row<'g>>> Layer<'g, I> {
    fn go_on(&mut self, common: usize, direction: Direction) {
        self.head = self.rows.next().map(|row| {
            let number = number_of(row.0.get(common..).unwrap_or_default());
            (row, if matches!(direction, Direction::Forward) { number } else { !number })
        });
    }
}

fn comes_before(direction: Direction, a: &[u8], b: &[u8]) -> bool {
    match direction {
        Direction::Forward => a < b,
        Direction::Backward => a > b,
    }
}

/// What one piece has taken so far.
struct Chunk<'t, K, V> {
    table: &'t TableSnapshot<K, V>,
    rows: &'t mut VecDeque<(K, V)>,
    /// How many rows and bytes may still be taken.
    rows_left: usize,
    bytes_left: usize,
    /// The last key that was taken, once the piece is full.
    reached: Option<Vec<u8>>,
    failed: Option<Error>,
}

impl<K: Key, V: Value> Chunk<'_, K, V> {
    /// Takes a row; a deleted one counts too, so that a piece ends. `false` once the piece is full.
    fn take(&mut self, (key, value): Row<'_>) -> bool {
        if let Some(bytes) = value {
            match self.table.table.decode_row(key, bytes) {
                Ok(row) => self.rows.push_back(row),
                Err(error) => {
                    self.failed = Some(error);
                    return false;
                }
            }
        }
        self.rows_left = self.rows_left.saturating_sub(1);
        self.bytes_left = self.bytes_left.saturating_sub(key.len() + value.map_or(0, <[u8]>::len));
        let full = self.rows_left == 0 || self.bytes_left == 0;
        if full {
            self.reached = Some(key.to_vec());
        }
        !full
    }
}

/// Hands the keys of the rows in `keys` to `visit`, in ascending order: those of `store`, overlaid with `generations`, oldest first.
///
/// # Errors
/// Those of the store and of `visit`.
pub(crate) fn each_key(
    store: &dyn StoreSnapshot,
    generations: &[&Generation],
    keys: Range<&[u8]>,
    visit: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let direction = Direction::Forward;
    let layers = generations.iter().rev().map(|layer| layer.rows_within(keys.clone()).into_iter());
    let mut overlay = Overlay::new(layers, &keys, direction);
    let mut outcome = Ok(());
    let mut take = |key: &[u8], is_there: bool| {
        if is_there && outcome.is_ok() {
            outcome = visit(key);
        }
        outcome.is_ok()
    };
    let mut goes_on = true;
    store.scan(keys, direction, &mut |key, _| {
        while goes_on && let Some((above, value)) = overlay.next_up_to(Some(key)) {
            goes_on = take(above, value.is_some());
            if above == key {
                return goes_on;
            }
        }
        goes_on = goes_on && take(key, true);
        goes_on
    })?;
    while goes_on && let Some((above, value)) = overlay.next_up_to(None) {
        goes_on = take(above, value.is_some());
    }
    outcome
}

impl<K: Key, V: Value> Scan<K, V> {
    pub(super) fn new(table: TableSnapshot<K, V>, start: Vec<u8>, end: Vec<u8>) -> Self {
        let end = end.max(start.clone());
        Self { table, left: start..end, front: VecDeque::new(), back: VecDeque::new(), rows: FIRST_ROWS }
    }

    /// Reads the next rows from one end, until there are some or nothing is left.
    fn fill(&mut self, direction: Direction) -> Result<()> {
        loop {
            let full = match direction {
                Direction::Forward => !self.front.is_empty(),
                Direction::Backward => !self.back.is_empty(),
            };
            if full || self.left.is_empty() {
                return Ok(());
            }
            self.piece(direction)?;
            self.rows = (self.rows * 4).min(MOST_ROWS);
        }
    }

    /// Reads the next rows in order of `direction`; what was read is taken off `left`.
    fn piece(&mut self, direction: Direction) -> Result<()> {
        let range = self.left.start.as_slice()..self.left.end.as_slice();
        let snapshot = &self.table.snapshot;
        let generations = snapshot.published.generations.iter().rev();
        let layers = generations.map(|layer| layer.range(range.clone(), direction));
        let mut overlay = Overlay::new(layers, &range, direction);
        let mut piece = Chunk {
            table: &self.table,
            rows: match direction {
                Direction::Forward => &mut self.front,
                Direction::Backward => &mut self.back,
            },
            rows_left: self.rows,
            bytes_left: MOST_BYTES,
            reached: None,
            failed: None,
        };
        let mut goes_on = true;
        snapshot.store.scan(range.clone(), direction, &mut |key, value| {
            while goes_on && let Some(row) = overlay.next_up_to(Some(key)) {
                if row.0 == key {
                    // What the store has of it was read, too.
                    piece.bytes_left = piece.bytes_left.saturating_sub(value.len());
                }
                goes_on = piece.take(row);
                if row.0 == key {
                    return goes_on;
                }
            }
            goes_on = goes_on && piece.take((key, Some(value)));
            goes_on
        })?;
        while goes_on && let Some(row) = overlay.next_up_to(None) {
            goes_on = piece.take(row);
        }
        let Chunk { reached, failed, .. } = piece;
        drop(overlay);
        if let Some(error) = failed {
            return Err(error);
        }
        match (reached, direction) {
            (None, _) => self.left.end.clone_from(&self.left.start),
            (Some(mut last), Direction::Forward) => {
                last.push(0);
                self.left.start = last;
            }
            (Some(last), Direction::Backward) => self.left.end = last,
        }
        Ok(())
    }

    /// The part of what is left with the number `part`, of `parts` that lie one behind the other and have each row once: for several
    /// who read it together. Keys are taken to be spread evenly between the first and the last one. If they are not, some parts have
    /// more rows than others.
    ///
    /// The parts of several snapshots of one state fit each other: where they begin depends on nothing but the rows that are there, and not on
    /// which of them are stored, nor on what is deleted between them. A drain may end between two snapshots.
    pub(crate) fn part(mut self, part: usize, parts: usize) -> Result<Self> {
        let mut inner = Self::new(self.table.clone(), self.left.start.clone(), self.left.end.clone());
        inner.rows = 1;
        let first = inner.next().transpose()?;
        inner.rows = 1;
        let last = inner.next_back().transpose()?;
        let key = |row: &(K, V)| self.table.table.row_key(&row.0);
        let ends = first.as_ref().zip(last.as_ref()).map(|(first, last)| key(first)..key(last));
        let bound = |part: usize| match &ends {
            _ if part == 0 => self.left.start.clone(),
            Some(ends) if part < parts => {
                between(ends, part, parts).clamp(self.left.start.clone(), self.left.end.clone())
            }
            _ => self.left.end.clone(),
        };
        self.left = bound(part)..bound(part + 1);
        Ok(self)
    }

    fn step(&mut self, direction: Direction) -> Option<Result<(K, V)>> {
        if let Err(error) = self.fill(direction) {
            self.left.end.clone_from(&self.left.start);
            self.front.clear();
            self.back.clear();
            return Some(Err(error));
        }
        // When nothing is left to read, one end goes on with what the other has read ahead.
        match direction {
            Direction::Forward => self.front.pop_front().or_else(|| self.back.pop_back()),
            Direction::Backward => self.back.pop_front().or_else(|| self.front.pop_back()),
        }
        .map(Ok)
    }
}

/// With how many bytes both keys begin, and all between them.
fn shared(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// A key so far between two others.
fn between(keys: &Range<Vec<u8>>, part: usize, parts: usize) -> Vec<u8> {
    let common = shared(&keys.start, &keys.end);
    let [low, high] = [&keys.start, &keys.end].map(|key| {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(key.iter().skip(common)) {
            *to = *from;
        }
        u64::from_be_bytes(bytes)
    });
    let [span, part, parts] = [u128::from(high.saturating_sub(low)), part as u128, parts.max(1) as u128];
    let offset = u64::try_from(span * part / parts).unwrap_or(u64::MAX);
    let mut key = keys.start.get(..common).unwrap_or_default().to_vec();
    key.extend_from_slice(&low.saturating_add(offset).to_be_bytes());
    key
}

impl<K: Key, V: Value> Iterator for Scan<K, V> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(Direction::Forward)
    }
}

impl<K: Key, V: Value> DoubleEndedIterator for Scan<K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(Direction::Backward)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_of_keys_lie_one_behind_the_other(
            mut ends in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 1..12), 2),
            parts in 1..9_usize,
        ) {
            ends.sort();
            let keys = ends[0].clone()..ends[1].clone();
            let bounds: Vec<_> = (0..=parts).map(|part| between(&keys, part, parts)).collect();
            prop_assert!(bounds.is_sorted());
        }
    }

    #[test]
    fn parts_are_alike_where_keys_are_spread_evenly() {
        let key = |number: u64| [&b"table"[..], &number.to_be_bytes()].concat();
        let keys = key(1_000)..key(9_000);
        assert_eq!(
            [1, 2, 3].map(|part| between(&keys, part, 4)[..13].to_vec()),
            [3_000, 5_000, 7_000].map(key)
        );
    }
}
