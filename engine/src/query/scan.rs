//! Scans: rows of a snapshot in key order, both ways.
//!
//! Rows are read in pieces: of each layer (the store, every generation) the next few rows, overlaid up to the point
//! that all layers have reached. Between pieces a scan holds nothing but the snapshot, so it can be kept, sent and
//! dropped at will.

use super::TableSnapshot;
use crate::Result;
use crate::codec::{Key, Value};
use crate::store::Direction;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Rows that one piece takes of each layer: few at first, since many scans stop early, then more.
const FIRST_ROWS: usize = 32;
const MOST_ROWS: usize = 4096;

type Overlay = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

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
/// engine.producer(&numbers)?.send(all.iter().map(|(key, value)| (key, Some(value), 0))).wait()?;
/// engine.catch_up()?;
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
            let rows = self.piece(direction)?;
            for (row, value) in rows {
                let row = self.table.table.decode_row(&row, &value)?;
                match direction {
                    Direction::Forward => self.front.push_back(row),
                    Direction::Backward => self.back.push_back(row),
                }
            }
            self.rows = (self.rows * 4).min(MOST_ROWS);
        }
    }

    /// The next rows in order of `direction`; what was read is taken off `left`.
    fn piece(&mut self, direction: Direction) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let limit = self.rows;
        let range = self.left.start.as_slice()..self.left.end.as_slice();
        let snapshot = &self.table.snapshot;
        let mut overlay = Overlay::new();
        // The key up to which every layer was read, if any was cut short.
        let mut reached: Option<Vec<u8>> = None;
        let mut cut = |key: &[u8]| {
            let nearer = match (&reached, direction) {
                (None, _) => true,
                (Some(now), Direction::Forward) => key < now.as_slice(),
                (Some(now), Direction::Backward) => key > now.as_slice(),
            };
            if nearer {
                reached = Some(key.to_vec());
            }
        };
        let mut taken = 0;
        snapshot.store.scan(range.clone(), direction, &mut |key, value| {
            overlay.insert(key.to_vec(), Some(value.to_vec()));
            taken += 1;
            if taken == limit {
                cut(key);
            }
            taken < limit
        })?;
        for generation in &snapshot.published.generations {
            let mut taken = 0;
            for (key, value) in generation.range(range.clone(), direction).take(limit) {
                overlay.insert(key.to_vec(), value.map(<[u8]>::to_vec));
                taken += 1;
                if taken == limit {
                    cut(key);
                }
            }
        }
        Ok(self.take_off(direction, reached, overlay))
    }

    fn take_off(
        &mut self,
        direction: Direction,
        reached: Option<Vec<u8>>,
        mut overlay: Overlay,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        match (reached, direction) {
            (None, _) => self.left.end.clone_from(&self.left.start),
            (Some(mut last), Direction::Forward) => {
                last.push(0);
                drop(overlay.split_off(&last));
                self.left.start = last;
            }
            (Some(last), Direction::Backward) => {
                overlay = overlay.split_off(&last);
                self.left.end = last;
            }
        }
        let rows = overlay.into_iter().filter_map(|(key, value)| Some((key, value?)));
        match direction {
            Direction::Forward => rows.collect(),
            Direction::Backward => rows.rev().collect(),
        }
    }

    fn step(&mut self, direction: Direction) -> Option<Result<(K, V)>> {
        if let Err(error) = self.fill(direction) {
            self.left.end.clone_from(&self.left.start);
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
