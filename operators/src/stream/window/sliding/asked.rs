//! Asking for sliding windows: which there are is told by the moments of a key, and what is in them is put together of these.
//!
//! Of windows that begin within a stretch of time the rows are read of the moments that define them, and of those that are in them: from
//! the moment before the first of them to the end of the last. Stretches in which no key has a row are passed over.

use super::Sliding;
use super::moments::{Moments, contents, key_of_row};
use crate::stream::window::folding::Merging;
use crate::stream::window::overlap::Overlapping;
use crate::stream::window::query::{
    Asked, Beside, Found, Left, RowsOfKey, Spans, Steps, WindowRows, WindowsAt, WindowsOfKey,
};
use crate::stream::window::{Windowed, clamped};
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::Feeds;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Sliding windows, as they are asked.
#[derive(Clone)]
pub(super) struct Gathered<K, A> {
    pub(super) rows: WindowRows<Windowed<K>, Moments<A>>,
    pub(super) windows: Sliding,
    pub(super) feeds: Feeds,
    pub(super) merge: Arc<Merging<A>>,
}

impl<K: Key, A: Value> Gathered<K, A> {
    /// The windows of `key` that begin within `first` and `last` and have something in them, of its rows that have to do with them.
    fn put_together(
        &self,
        key: &K,
        (first, last): (i64, i64),
        rows: &[(i64, Moments<A>)],
    ) -> Result<Vec<(Windowed<K>, A)>> {
        let defined = rows.iter().flat_map(|(row, moments)| {
            let moments = moments.moments().iter();
            moments
                .flat_map(|moment| self.windows.defined_by(moment.at(self.windows, *row), moment.behind_ms))
        });
        let starts: BTreeSet<i64> = defined.filter(|start| (first..=last).contains(start)).collect();
        let mut found = Vec::with_capacity(starts.len());
        for start in starts {
            // A row may be there for windows that begin later. Asked last: what was looked up may have been forgotten since.
            if self.rows.has_forgotten(key.clone(), self.windows.kept_with(start))? {
                continue;
            }
            let within = rows.iter().map(|(row, moments)| (*row, moments));
            let value = contents(self.windows, &*self.merge, start, within);
            let windowed = Windowed::new(start, self.windows.end_of(start), key.clone());
            found.extend(value.map(|value| (windowed, value)));
        }
        Ok(found)
    }

    /// The rows that have to do with windows which begin within `first` and `last`.
    fn rows_of(&self, (first, last): (i64, i64)) -> impl Iterator<Item = i64> + use<K, A> {
        self.windows.rows_between(first.saturating_sub(1), self.windows.last_of(last))
    }

    fn windows_of(&self, key: &K, span: (i64, i64)) -> Result<Vec<(Windowed<K>, A)>> {
        let rows: Vec<i64> = self.rows_of(span).collect();
        let keys: Vec<_> = rows.iter().map(|&row| key_of_row(row, key.clone())).collect();
        let found = rows.into_iter().zip(self.rows.multi_get(&keys)?);
        let rows: Vec<_> = found.filter_map(|(row, moments)| Some((row, moments?))).collect();
        self.put_together(key, span, &rows)
    }

    /// So many milliseconds are looked at together: about as many stretches as windows are wanted.
    fn together(&self, at_once: usize) -> i64 {
        i64::try_from(at_once).unwrap_or(i64::MAX).saturating_mul(self.windows.size_ms())
    }
}

impl<K: Key, A: Value> Asked<K, A> for Gathered<K, A> {
    fn now(&self) -> Result<Arc<dyn Asked<K, A>>> {
        Ok(Arc::new(Self { rows: WindowRows::Then(self.rows.snapshot()?), ..self.clone() }))
    }

    fn watermark(&self) -> Result<i64> {
        self.rows.watermark(&self.feeds)
    }

    fn get(&self, key: &K, start_ms: i64) -> Result<Option<A>> {
        Ok(self.windows_of(key, (start_ms, start_ms))?.pop().map(|(_, value)| value))
    }

    fn windows(&self, key: K, span: Left) -> Result<WindowsOfKey<K, A>> {
        let then = Self { rows: WindowRows::Then(self.rows.snapshot()?), ..self.clone() };
        Ok(WindowsOfKey::new(Steps::new(then, key, span)))
    }

    fn open(&self, key: K) -> Result<WindowsOfKey<K, A>> {
        self.windows(key, Some((self.windows.first_open(self.watermark()?), i64::MAX)))
    }

    fn at(&self, ms: i64) -> Result<WindowsAt<K, A>> {
        let span = (ms.saturating_sub(self.windows.difference_ms), ms);
        let snapshot = self.rows.snapshot()?;
        let then = Self { rows: WindowRows::Then(snapshot.clone()), ..self.clone() };
        let rows = Beside::new(&snapshot, self.rows_of(span));
        let window = move |row: Result<RowsOfKey<K, Moments<A>>>| {
            let (key, rows) = row?;
            Ok(then.put_together(&key, span, &rows)?.pop())
        };
        Ok(Box::new(rows.filter_map(move |row| window(row).transpose())))
    }
}

impl<K: Key, A: Value> Spans<K, A> for Gathered<K, A> {
    fn next(
        &self,
        key: &K,
        (first, last): (i64, i64),
        from_the_end: bool,
        at_once: usize,
    ) -> Result<Found<K, A>> {
        let windows = self.windows;
        let [first_row, last_row] =
            [first.saturating_sub(1), windows.last_of(last)].map(|ms| windows.row_of(ms));
        // Over times in which no key has anything.
        let Some(nearest) = self.rows.nearest(first_row, last_row, from_the_end)? else {
            return Ok((Vec::new(), None));
        };
        let together = self.together(at_once) - 1;
        Ok(if from_the_end {
            // What begins behind the last moment of it has nothing in it.
            let last = last.min(nearest);
            let from = first.max(last.saturating_sub(together));
            (self.windows_of(key, (from, last))?, (first < from).then(|| (first, from - 1)))
        } else {
            // The one that ends with its first moment.
            let begin = i128::from(nearest) - 2 * i128::from(windows.difference_ms);
            let first = first.max(clamped(begin));
            let until = last.min(first.saturating_add(together));
            (self.windows_of(key, (first, until))?, (until < last).then(|| (until + 1, last)))
        })
    }
}
