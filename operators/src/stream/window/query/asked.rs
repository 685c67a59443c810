//! What can be asked of a kind of windows.
//!
//! Where windows begin that are the same for all keys it can be counted off, and so what there is to know of them is a [`Grid`]. Others
//! answer for themselves.

use super::over_time::{Found, Left, Spans, Steps};
use super::{Grid, WindowsAt, WindowsOfKey};
use crate::stream::window::Windowed;
use millpond_engine::codec::{Key, Value};
use millpond_engine::{Error, Result};
use std::sync::Arc;

/// Windows as they are asked.
pub(in crate::stream::window) trait Asked<K, A>: Send + Sync {
    /// The same, of one moment.
    fn now(&self) -> Result<Arc<dyn Asked<K, A>>>;

    /// How far the table had come in time.
    fn watermark(&self) -> Result<i64>;

    /// What is in the window of `key` that begins at `start_ms`.
    ///
    /// # Errors
    /// `Invalid` if no window can begin there.
    fn get(&self, key: &K, start_ms: i64) -> Result<Option<A>>;

    /// The windows of `key` that begin within `span` and have something in them.
    fn windows(&self, key: K, span: Left) -> Result<WindowsOfKey<K, A>>;

    /// The windows of `key` that are not closed and have something in them.
    fn open(&self, key: K) -> Result<WindowsOfKey<K, A>>;

    /// All keys in the window that has the moment `ms`; where several have it, in the last of them to begin.
    fn at(&self, ms: i64) -> Result<WindowsAt<K, A>>;
}

/// Windows that are the same for all keys, as they are asked.
pub(super) struct OfGrid<G>(pub(super) G);

impl<K: Key, A: Value, G: Grid<K, A> + 'static> Asked<K, A> for OfGrid<G> {
    fn now(&self) -> Result<Arc<dyn Asked<K, A>>> {
        Ok(Arc::new(Self(self.0.of_one_moment()?)))
    }

    fn watermark(&self) -> Result<i64> {
        self.0.watermark()
    }

    fn get(&self, key: &K, start_ms: i64) -> Result<Option<A>> {
        if self.0.end_of(start_ms).is_none() {
            let last = self.0.at_or_before(start_ms);
            let last = last
                .map_or("none before".to_owned(), |start| format!("the last one before begins at {start}"));
            return Err(Error::invalid(format!("no window begins at {start_ms} ms since 1970: {last}")));
        }
        Ok(self.0.values(key, &[start_ms])?.pop().flatten())
    }

    fn windows(&self, key: K, span: Left) -> Result<WindowsOfKey<K, A>> {
        Ok(WindowsOfKey::new(Steps::new(Self(self.0.of_one_moment()?), key, span)))
    }

    fn open(&self, key: K) -> Result<WindowsOfKey<K, A>> {
        let first = self.0.first_open(self.0.watermark()?);
        self.windows(key, first.map(|first| (first, i64::MAX)))
    }

    fn at(&self, ms: i64) -> Result<WindowsAt<K, A>> {
        self.0.at(ms)
    }
}

impl<K: Key, A: Value, G: Grid<K, A> + 'static> Spans<K, A> for OfGrid<G> {
    fn next(
        &self,
        key: &K,
        (first, last): (i64, i64),
        from_the_end: bool,
        at_once: usize,
    ) -> Result<Found<K, A>> {
        // Over times in which no key has anything.
        let Some(nearest) = self.0.nearest(first, last, from_the_end)? else { return Ok((Vec::new(), None)) };
        let span = if from_the_end { (first, nearest) } else { (nearest, last) };
        let (starts, left) = take_starts(&self.0, span, from_the_end, at_once);
        let values = self.0.values(key, &starts)?;
        let found = starts.iter().zip(values).filter_map(|(&start, value)| {
            Some((Windowed::new(start, self.0.end_of(start)?, key.clone()), value?))
        });
        Ok((found.collect(), left))
    }
}

/// The next windows within `first` and `last` from one end, in ascending order, and those that are left.
fn take_starts<K, A>(
    grid: &impl Grid<K, A>,
    (first, last): (i64, i64),
    from_the_end: bool,
    at_once: usize,
) -> (Vec<i64>, Left) {
    let mut starts = Vec::with_capacity(at_once);
    let mut next = if from_the_end { grid.at_or_before(last) } else { grid.at_or_after(first) };
    while let Some(start) = next.filter(|start| (first..=last).contains(start) && starts.len() < at_once) {
        starts.push(start);
        next = if from_the_end {
            start.checked_sub(1).and_then(|ms| grid.at_or_before(ms))
        } else {
            start.checked_add(1).and_then(|ms| grid.at_or_after(ms))
        };
    }
    if from_the_end {
        starts.reverse();
    }
    (starts, next.map(|next| if from_the_end { (first, next) } else { (next, last) }))
}
