//! Where windows begin that are the same for all keys, and what is in them: what questions need to know of such a kind.

use super::WindowsAt;
use crate::stream::window::{WindowStart, Windowed, Windows};
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::Feeds;
use millpond_engine::query::{TableSnapshot, View};

/// The rows that are asked: those of a view, as they are when they are asked, or those of a snapshot.
#[derive(Debug, Clone)]
pub enum WindowRows<K, V> {
    /// As they are.
    Now(View<K, V>),
    /// As they were.
    Then(TableSnapshot<K, V>),
}

impl<K, V> From<&View<K, V>> for WindowRows<K, V> {
    fn from(view: &View<K, V>) -> Self {
        Self::Now(view.clone())
    }
}

impl<K: Key, V: Value> From<&TableSnapshot<K, V>> for WindowRows<K, V> {
    fn from(snapshot: &TableSnapshot<K, V>) -> Self {
        Self::Then(snapshot.clone())
    }
}

impl<K: Key, V: Value> WindowRows<K, V> {
    /// The rows of one moment.
    pub(in crate::stream::window) fn snapshot(&self) -> Result<TableSnapshot<K, V>> {
        match self {
            Self::Now(view) => view.snapshot(),
            Self::Then(snapshot) => Ok(snapshot.clone()),
        }
    }

    /// Many rows of one moment.
    pub(in crate::stream::window) fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        match self {
            Self::Now(view) => view.multi_get(keys),
            Self::Then(snapshot) => snapshot.multi_get(keys),
        }
    }
}

impl<K: Key, V: Value> WindowRows<Windowed<K>, V> {
    /// How far the table had come in time.
    pub(in crate::stream::window) fn watermark(&self, feeds: &Feeds) -> Result<i64> {
        Ok(self.snapshot()?.watermark(feeds))
    }

    /// Whether the rows with keys that begin with this time are forgotten.
    pub(in crate::stream::window) fn has_forgotten(&self, key: K, time_ms: i64) -> Result<bool> {
        // Of what begins with a time the end comes next, and so no key does before this one.
        let key = Windowed::new(time_ms, time_ms, key);
        match self {
            Self::Now(view) => view.has_forgotten(&key),
            Self::Then(snapshot) => Ok(snapshot.has_forgotten(&key)),
        }
    }

    /// Where the first row begins that does not begin before `first_ms` nor after `last_ms`; the last such, if asked from the end.
    pub(in crate::stream::window) fn nearest(
        &self,
        first_ms: i64,
        last_ms: i64,
        from_the_end: bool,
    ) -> Result<Option<i64>> {
        let snapshot = self.snapshot()?;
        let before = snapshot.prefixes(WindowStart(first_ms)..WindowStart(last_ms.max(first_ms)));
        let last = snapshot.prefix(&WindowStart(last_ms));
        let mut rows = before.chain(last);
        let row = if from_the_end { rows.next_back() } else { rows.next() };
        Ok(row.transpose()?.map(|(windowed, _)| windowed.start_ms))
    }
}

/// Windows that are the same for all keys: where they begin, and what is in them.
pub(in crate::stream::window) trait Grid<K, A>: Send + Sync {
    /// The same, of one moment.
    fn of_one_moment(&self) -> Result<Self>
    where
        Self: Sized;

    /// The end of the window that begins at `start_ms`, if one does.
    fn end_of(&self, start_ms: i64) -> Option<i64>;

    /// Where the first window begins that does not begin before `ms`.
    fn at_or_after(&self, ms: i64) -> Option<i64>;

    /// Where the last window begins that does not begin after `ms`.
    fn at_or_before(&self, ms: i64) -> Option<i64>;

    /// Where the first window begins that is not closed at the watermark `watermark_ms`.
    fn first_open(&self, watermark_ms: i64) -> Option<i64>;

    /// How far the table had come in time.
    fn watermark(&self) -> Result<i64>;

    /// Where a window begins within these that may have something in it of any key: none before it has; none behind it, if asked from
    /// the end.
    fn nearest(&self, first_ms: i64, last_ms: i64, from_the_end: bool) -> Result<Option<i64>>;

    /// What is in the windows of `key` that begin at `starts_ms`, which ascend.
    fn values(&self, key: &K, starts_ms: &[i64]) -> Result<Vec<Option<A>>>;

    /// All keys of the window that [`at_or_before`](Self::at_or_before) finds.
    fn at(&self, ms: i64) -> Result<WindowsAt<K, A>>;
}

/// Windows that follow each other, each with a row of its own.
#[derive(Clone)]
pub(in crate::stream::window) struct Plain<K, A, W> {
    pub(in crate::stream::window) rows: WindowRows<Windowed<K>, A>,
    pub(in crate::stream::window) windows: W,
    pub(in crate::stream::window) feeds: Feeds,
}

impl<K: Key, A: Value, W: Windows> Grid<K, A> for Plain<K, A, W> {
    fn of_one_moment(&self) -> Result<Self> {
        Ok(Self { rows: WindowRows::Then(self.rows.snapshot()?), ..self.clone() })
    }

    fn end_of(&self, start_ms: i64) -> Option<i64> {
        let (start, end) = self.windows.window_of(start_ms);
        (start == start_ms).then_some(end)
    }

    fn at_or_after(&self, ms: i64) -> Option<i64> {
        let (start, end) = self.windows.window_of(ms);
        // The last window there is never ends.
        if start == ms { Some(start) } else { (end < i64::MAX).then_some(end) }
    }

    fn at_or_before(&self, ms: i64) -> Option<i64> {
        Some(self.windows.window_of(ms).0)
    }

    fn first_open(&self, watermark_ms: i64) -> Option<i64> {
        Some(self.windows.first_open(watermark_ms))
    }

    fn watermark(&self) -> Result<i64> {
        self.rows.watermark(&self.feeds)
    }

    fn nearest(&self, first_ms: i64, last_ms: i64, from_the_end: bool) -> Result<Option<i64>> {
        self.rows.nearest(first_ms, last_ms, from_the_end)
    }

    fn values(&self, key: &K, starts_ms: &[i64]) -> Result<Vec<Option<A>>> {
        let windowed = |&start: &i64| Windowed::new(start, self.windows.window_of(start).1, key.clone());
        self.rows.multi_get(&starts_ms.iter().map(windowed).collect::<Vec<_>>())
    }

    fn at(&self, ms: i64) -> Result<WindowsAt<K, A>> {
        let start = WindowStart(self.windows.window_of(ms).0);
        Ok(Box::new(self.rows.snapshot()?.prefix(&start)))
    }
}
