//! The windows of a key, one after the other.
//!
//! Invariant: what lies between the two ends that are left was not read, and everything outside of them was handed out or waits to be.

use crate::stream::window::Windowed;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use std::collections::VecDeque;
use std::fmt;

/// So many windows are looked up at once: few at first, since many readers stop early, then more.
const FIRST: usize = 16;
const MOST: usize = 1024;

/// The first and the last moment with which windows begin that were not looked up yet; `None` if all were.
pub(in crate::stream::window) type Left = Option<(i64, i64)>;

/// Some windows of a key with what is in them, in ascending order, and what is left to be looked up.
pub(in crate::stream::window) type Found<K, A> = (Vec<(Windowed<K>, A)>, Left);

/// Windows that are looked up some at a time.
pub(in crate::stream::window) trait Spans<K, A>: Send + Sync {
    /// Of the windows of `key` that begin within `span` and have something in them about as many as `at_once` that stand at one end.
    /// There may be none of these, and others left.
    fn next(&self, key: &K, span: (i64, i64), from_the_end: bool, at_once: usize) -> Result<Found<K, A>>;
}

/// A window with what is in it.
type Row<K, A> = Result<(Windowed<K>, A)>;

/// The windows of a key that have something in them, ascending from the front and descending from the back. Each item is a window with
/// what is in it, or an error, after which there are no more.
///
/// [`WindowView::windows`](super::WindowView::windows) and [`open`](super::WindowView::open) give it.
pub struct WindowsOfKey<K, A> {
    rows: Box<dyn DoubleEndedIterator<Item = Row<K, A>> + Send>,
}

impl<K, A> fmt::Debug for WindowsOfKey<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowsOfKey").finish_non_exhaustive()
    }
}

impl<K: Key, A: Value> WindowsOfKey<K, A> {
    pub(in crate::stream::window) fn new(
        rows: impl DoubleEndedIterator<Item = Row<K, A>> + Send + 'static,
    ) -> Self {
        Self { rows: Box::new(rows) }
    }
}

impl<K: Key, A: Value> Iterator for WindowsOfKey<K, A> {
    type Item = Row<K, A>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next()
    }
}

impl<K: Key, A: Value> DoubleEndedIterator for WindowsOfKey<K, A> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.rows.next_back()
    }
}

/// The windows of a key, looked up some at a time from either end.
pub(in crate::stream::window) struct Steps<K, A, S> {
    windows: S,
    key: K,
    left: Left,
    front: VecDeque<(Windowed<K>, A)>,
    back: VecDeque<(Windowed<K>, A)>,
    at_once: usize,
}

impl<K: Key, A: Value, S: Spans<K, A>> Steps<K, A, S> {
    pub(in crate::stream::window) fn new(windows: S, key: K, left: Left) -> Self {
        Self { windows, key, left, front: VecDeque::new(), back: VecDeque::new(), at_once: FIRST }
    }

    /// Looks the next windows up from one end, until there are some or nothing is left.
    fn fill(&mut self, from_the_end: bool) -> Result<()> {
        loop {
            let waits = if from_the_end { !self.back.is_empty() } else { !self.front.is_empty() };
            let Some(span) = self.left.filter(|(first, last)| !waits && first <= last) else {
                return Ok(());
            };
            let (found, left) = self.windows.next(&self.key, span, from_the_end, self.at_once)?;
            self.left = left;
            if from_the_end {
                self.back.extend(found.into_iter().rev());
            } else {
                self.front.extend(found);
            }
            self.at_once = (self.at_once * 4).min(MOST);
        }
    }

    fn step(&mut self, from_the_end: bool) -> Option<Row<K, A>> {
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

impl<K: Key, A: Value, S: Spans<K, A>> Iterator for Steps<K, A, S> {
    type Item = Row<K, A>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false)
    }
}

impl<K: Key, A: Value, S: Spans<K, A>> DoubleEndedIterator for Steps<K, A, S> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(true)
    }
}
