//! The windows of a key, one after the other.
//!
//! Invariant: what lies between the two ends that are left was not read, and everything outside of them was handed out or waits to be.

use super::Grid;
use crate::stream::window::Windowed;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// So many windows are looked up at once: few at first, since many readers stop early, then more.
const FIRST: usize = 16;
const MOST: usize = 1024;

/// The windows of a key that have something in them, ascending from the front and descending from the back. Each item is a window with
/// what is in it, or an error, after which there are no more.
///
/// [`WindowView::windows`](super::WindowView::windows) and [`open`](super::WindowView::open) give it.
pub struct WindowsOfKey<K, A> {
    grid: Arc<dyn Grid<K, A>>,
    key: K,
    /// Between which moments windows begin that were not looked up yet, both included.
    left: Option<(i64, i64)>,
    front: VecDeque<(Windowed<K>, A)>,
    back: VecDeque<(Windowed<K>, A)>,
    at_once: usize,
}

impl<K: fmt::Debug, A> fmt::Debug for WindowsOfKey<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowsOfKey")
            .field("key", &self.key)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<K: Key, A: Value> WindowsOfKey<K, A> {
    pub(super) fn new(grid: Arc<dyn Grid<K, A>>, key: K, left: Option<(i64, i64)>) -> Self {
        Self { grid, key, left, front: VecDeque::new(), back: VecDeque::new(), at_once: FIRST }
    }

    /// Looks the next windows up from one end, until there are some or nothing is left.
    fn fill(&mut self, from_the_end: bool) -> Result<()> {
        loop {
            let waits = if from_the_end { !self.back.is_empty() } else { !self.front.is_empty() };
            let Some((first, last)) = self.left.filter(|(first, last)| !waits && first <= last) else {
                return Ok(());
            };
            // Over times in which no key has anything.
            let Some(nearest) = self.grid.nearest(first, last, from_the_end)? else {
                self.left = None;
                return Ok(());
            };
            let starts =
                self.take_starts(if from_the_end { (first, nearest) } else { (nearest, last) }, from_the_end);
            let values = self.grid.values(&self.key, &starts)?;
            let found = starts.iter().zip(values).filter_map(|(&start, value)| {
                Some((Windowed::new(start, self.grid.end_of(start)?, self.key.clone()), value?))
            });
            if from_the_end {
                self.back.extend(found.rev());
            } else {
                self.front.extend(found);
            }
            self.at_once = (self.at_once * 4).min(MOST);
        }
    }

    /// Takes the next starts within `first` and `last` off what is left, in ascending order.
    fn take_starts(&mut self, (first, last): (i64, i64), from_the_end: bool) -> Vec<i64> {
        let mut starts = Vec::with_capacity(self.at_once);
        let mut next = if from_the_end { self.grid.at_or_before(last) } else { self.grid.at_or_after(first) };
        while let Some(start) =
            next.filter(|start| (first..=last).contains(start) && starts.len() < self.at_once)
        {
            starts.push(start);
            next = if from_the_end {
                start.checked_sub(1).and_then(|ms| self.grid.at_or_before(ms))
            } else {
                start.checked_add(1).and_then(|ms| self.grid.at_or_after(ms))
            };
        }
        self.left = next.map(|next| if from_the_end { (first, next) } else { (next, last) });
        if from_the_end {
            starts.reverse();
        }
        starts
    }

    fn step(&mut self, from_the_end: bool) -> Option<Result<(Windowed<K>, A)>> {
        if let Err(error) = self.fill(from_the_end) {
            self.left = None;
            self.front.clear();
            self.back.clear();
            return Some(Err(error));
        }
        // When nothing is left, one end goes on with what the other has looked up.
        let row = if from_the_end {
            self.back.pop_front().or_else(|| self.front.pop_back())
        } else {
            self.front.pop_front().or_else(|| self.back.pop_back())
        };
        row.map(Ok)
    }
}

impl<K: Key, A: Value> Iterator for WindowsOfKey<K, A> {
    type Item = Result<(Windowed<K>, A)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false)
    }
}

impl<K: Key, A: Value> DoubleEndedIterator for WindowsOfKey<K, A> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(true)
    }
}
