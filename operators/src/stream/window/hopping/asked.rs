//! Asking for hopping windows: each is put together of its slices.

use super::Hopping;
use super::slices::{Slice, slice_key};
use crate::stream::window::folding::Merging;
use crate::stream::window::query::{Beside, Grid, RowsOfKey, WindowRows, WindowsAt};
use crate::stream::window::{Windowed, clamped, floor};
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::Feeds;
use std::sync::Arc;

/// Hopping windows, as they are asked.
#[derive(Clone)]
pub(super) struct Sliced<K, A> {
    pub(super) rows: WindowRows<Windowed<K>, Slice<A>>,
    pub(super) windows: Hopping,
    pub(super) feeds: Feeds,
    pub(super) merge: Arc<Merging<A>>,
}

/// What parts of a slice count to the window at `start`, put together with what there is.
fn put_together<A>(
    windows: Hopping,
    merge: &Merging<A>,
    start: i64,
    slice: i64,
    row: Slice<A>,
    into: &mut Option<A>,
) {
    let counted = row.into_parts().filter(|(class, _)| windows.first_of(slice, *class) <= start);
    for (_, value) in counted {
        match into {
            Some(there) => merge(there, value),
            None => *into = Some(value),
        }
    }
}

impl<K: Key, A: Value> Sliced<K, A> {
    /// The slices from `first` on that lie before `end`.
    fn slices(&self, first: i64, end: i64) -> impl Iterator<Item = i64> + use<K, A> {
        (first..end).step_by(usize::try_from(self.windows.slice_ms).unwrap_or(usize::MAX))
    }

    fn floor(&self, ms: i64) -> i128 {
        floor(i128::from(ms), self.windows.hop_ms)
    }
}

impl<K: Key, A: Value> Grid<K, A> for Sliced<K, A> {
    fn of_one_moment(&self) -> Result<Self> {
        Ok(Self { rows: WindowRows::Then(self.rows.snapshot()?), ..self.clone() })
    }

    fn end_of(&self, start_ms: i64) -> Option<i64> {
        let is_one = self.floor(start_ms) == i128::from(start_ms) && start_ms <= self.windows.last();
        is_one.then(|| self.windows.end_of(start_ms))
    }

    fn at_or_after(&self, ms: i64) -> Option<i64> {
        let floor = self.floor(ms);
        let next = if floor == i128::from(ms) { floor } else { floor + i128::from(self.windows.hop_ms) };
        (next <= i128::from(self.windows.last())).then(|| clamped(next))
    }

    fn at_or_before(&self, ms: i64) -> Option<i64> {
        let floor = self.floor(ms).min(i128::from(self.windows.last()));
        (floor >= i128::from(self.windows.first())).then(|| clamped(floor))
    }

    fn first_open(&self, watermark_ms: i64) -> Option<i64> {
        Some(self.windows.first_open(watermark_ms)).filter(|first| *first <= self.windows.last())
    }

    fn watermark(&self) -> Result<i64> {
        self.rows.watermark(&self.feeds)
    }

    fn nearest(&self, first_ms: i64, last_ms: i64, from_the_end: bool) -> Result<Option<i64>> {
        // The last slice of the last window.
        let last_slice = last_ms.saturating_add(self.windows.size_ms - 1);
        let found = self.rows.nearest(first_ms, last_slice, from_the_end)?;
        Ok(found.map(|slice| {
            if from_the_end {
                last_ms.min(clamped(self.floor(slice)))
            } else {
                first_ms.max(self.windows.first_of(slice, 0))
            }
        }))
    }

    fn values(&self, key: &K, starts_ms: &[i64]) -> Result<Vec<Option<A>>> {
        let (Some(&first), Some(&last)) = (starts_ms.first(), starts_ms.last()) else {
            return Ok(Vec::new());
        };
        let slices: Vec<i64> = self.slices(first, self.windows.end_of(last)).collect();
        let keys: Vec<_> = slices.iter().map(|&slice| slice_key(self.windows, slice, key.clone())).collect();
        let rows = self.rows.multi_get(&keys)?;
        let rows: Vec<(i64, Slice<A>)> =
            slices.into_iter().zip(rows).filter_map(|(slice, row)| Some((slice, row?))).collect();
        let value = |&start: &i64| {
            let mut value = None;
            // A slice may be there for windows that begin later. Asked last: what was looked up may have been forgotten since.
            if self.rows.has_forgotten(key.clone(), start)? {
                return Ok(value);
            }
            let end = self.windows.end_of(start);
            let begins = rows.partition_point(|(slice, _)| *slice < start);
            for (slice, row) in rows.iter().skip(begins).take_while(|(slice, _)| *slice < end) {
                put_together(self.windows, &*self.merge, start, *slice, row.clone(), &mut value);
            }
            Ok(value)
        };
        starts_ms.iter().map(value).collect()
    }

    fn at(&self, ms: i64) -> Result<WindowsAt<K, A>> {
        // At the end of time the last window may have ended before.
        let has_moment = |start: &i64| ms < self.windows.end_of(*start);
        let Some(start) = self.at_or_before(ms).filter(has_moment) else {
            return Ok(Box::new(std::iter::empty()));
        };
        let (windows, merge, end) = (self.windows, Arc::clone(&self.merge), self.windows.end_of(start));
        let snapshot = self.rows.snapshot()?;
        let then = WindowRows::Then(snapshot.clone());
        let rows = Beside::new(&snapshot, self.slices(start, end));
        let window = move |row: Result<RowsOfKey<K, Slice<A>>>| {
            let (key, rows) = row?;
            let mut value = None;
            if !then.has_forgotten(key.clone(), start)? {
                for (slice, row) in rows {
                    put_together(windows, &*merge, start, slice, row, &mut value);
                }
            }
            Ok(value.map(|value| (Windowed::new(start, end, key), value)))
        };
        Ok(Box::new(rows.filter_map(move |row| window(row).transpose())))
    }
}
