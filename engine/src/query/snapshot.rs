//! Snapshots: all tables at one position.
//!
//! A snapshot is the generations that were published, over a snapshot of the store. The two are taken at different
//! moments, which is made harmless like this: the store's snapshot is taken between two looks at what is published. If
//! no drain was recorded between the looks, every generation that the second look no longer has is in the store's
//! snapshot, and whatever the store's snapshot already has of a drain in progress is overlaid by generations that the
//! second look still has.

use super::readable::Readable;
use super::{Scan, StoredRef, View};
use crate::codec::{AsKey, Key, KeyPrefix, KeyRange, Value, prefix_end};
use crate::graph::Feeds;
use crate::state::{Published, TaskState};
use crate::store::StoreSnapshot;
use crate::store::layout::{self, RowCount};
use crate::time::NEVER;
use crate::{Error, Position, Result};
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::Arc;

/// All tables of an engine at one position. It never changes, and holds no locks. Tables are read through
/// [`of`](Self::of), which takes the view of a table.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let moves = Topic::<u8, i64>::new("moves");
/// let graph = GraphBuilder::new();
/// let stream = graph.stream(&moves);
/// let paid = stream.group_by_key().reduce("paid", |a, b| a + b);
/// let times = stream.group_by_key().count("times");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// engine.append(&moves, &1, &5).wait_blocking()?;
/// engine.catch_up_blocking()?;
///
/// let snapshot = engine.snapshot()?;
/// engine.append(&moves, &1, &7).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// let (paid, times) = (snapshot.of(&engine.view(&paid)?)?, snapshot.of(&engine.view(&times)?)?);
/// assert_eq!((paid.get(&1)?, times.get(&1)?), (Some(5), Some(1)), "both as they were, together");
/// assert_eq!(paid.position(), snapshot.position());
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    /// What the snapshot is of.
    shared: Arc<TaskState>,
    pub(crate) published: Arc<Published>,
    pub(crate) store: Arc<dyn StoreSnapshot>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("position", self.position()).finish_non_exhaustive()
    }
}

impl Snapshot {
    /// The state as it is now, whether the task has caught up or not: for operators and for subscriptions that were
    /// admitted before.
    ///
    /// # Errors
    /// `Closed`, or the reason of the stop.
    pub(crate) fn capture(shared: &Arc<TaskState>) -> Result<Self> {
        shared.check()?;
        Self::take(shared)
    }

    /// As [`capture`](Self::capture), whether the task can be asked or not: for an epoch that is on its way when the engine is
    /// closed, which is carried to its end.
    ///
    /// # Errors
    /// An error of the store.
    pub(crate) fn take(shared: &Arc<TaskState>) -> Result<Self> {
        loop {
            let before = shared.published().drained;
            let store = shared.store()?.snapshot()?;
            let published = shared.published();
            if published.drained == before {
                return Ok(Self { shared: Arc::clone(shared), published, store });
            }
        }
    }

    /// Which input the snapshot includes.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.published.reached.position
    }

    /// The table behind `view` in this snapshot.
    ///
    /// While a table is rebuilt it answers with the rows of its older version, which stand at a position of their own:
    /// [`TableSnapshot::position`] tells.
    ///
    /// ```
    /// use millpond::{Engine, GraphBuilder, Topic};
    /// # use millpond::changelog::MemoryChangelog;
    /// # use std::sync::Arc;
    /// # let changelog = Arc::new(MemoryChangelog::new());
    ///
    /// let moves = Topic::<u8, i64>::new("moves");
    /// let graph = GraphBuilder::new();
    /// let balances = graph.stream(&moves).group_by_key().reduce("balances", |a, b| a + b);
    /// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
    /// engine.append_blocking(&moves, &1, &5)?;
    /// engine.append_blocking(&moves, &2, &-5)?;
    /// engine.catch_up_blocking()?;
    /// let rows = engine.snapshot()?.of(&engine.view(&balances)?)?;
    /// assert_eq!(rows.scan().map(|row| row.map(|(_, cents)| cents)).sum::<Result<i64, _>>()?, 0);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unavailable` while the table is built for the first time, or if that was not complete when the snapshot was
    /// taken; `Invalid` for a view of another engine; `Closed` for an older version once the engine is closed.
    pub fn of<K: Key, V: Value>(&self, view: &View<K, V>) -> Result<TableSnapshot<K, V>> {
        view.ask(|table| self.at(table))
    }

    /// How far the table behind `view` had come in time with the input of this snapshot, in milliseconds since the Unix epoch: all that was
    /// due in it up to then is closed, and no record that counts in it can come any more for what was. A window is final once this has come
    /// to its end and the grace. `None` as long as a partition that feeds the table has shown no record: nothing is closed then.
    ///
    /// # Errors
    /// As for [`of`](Self::of).
    ///
    /// # Examples
    /// ```
    /// use millpond::stream::Tumbling;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let clicks = Topic::<u32, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10));
    /// let counts = graph.stream(&clicks).group_by_key().windowed(minutes).count("counts");
    /// let finals = counts.on_close().to_table("finals");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// let watermark = |driver: &Driver| driver.snapshot()?.watermark(&driver.view(counts.table())?);
    /// assert_eq!(watermark(&driver)?, None);
    /// driver.put(&clicks, 7, 1, 75_000)?;
    /// driver.run()?;
    /// assert_eq!(watermark(&driver)?, Some(75_000), "what ended a grace ago is final");
    /// // What comes behind is dated up to a grace earlier.
    /// assert_eq!(driver.snapshot()?.watermark(&driver.view(&finals)?)?, Some(65_000));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[doc(alias = "currentStreamTimeMs")]
    pub fn watermark<K: Key, V: Value>(&self, view: &View<K, V>) -> Result<Option<i64>> {
        let watermark_ms = self.of(view)?.watermark(view.feeds());
        Ok(Some(watermark_ms).filter(|watermark_ms| *watermark_ms > NEVER))
    }

    fn at<K: Key, V: Value>(&self, table: &Readable<K, V>) -> Result<TableSnapshot<K, V>> {
        if Arc::ptr_eq(&self.shared, table.shared()) {
            if self.published.epoch < table.since() {
                return Err(Self::came_later(table));
            }
            return Ok(self.clone().table(table.clone()));
        }
        table.shared().store()?;
        if !Arc::ptr_eq(self.shared.host(), table.shared().host()) {
            return Err(Error::invalid(format!(
                "the view of table `{}` belongs to another engine than the snapshot",
                table.name()
            )));
        }
        if !table.shared().is_former() {
            // The task has begun again in between; what was there before is of this snapshot all the same. Where nothing is counted yet,
            // all tables were there, for none is built before anything was folded.
            let counts = &self.published.counts;
            let was_there = counts.is_empty() || counts.contains_key(&table.table_id());
            return if was_there {
                Ok(self.clone().table(table.clone()))
            } else {
                Err(Self::came_later(table))
            };
        }
        // An older version: its rows do not change any more, so every snapshot of the store has them.
        let shared = Arc::clone(table.shared());
        let published = shared.published();
        Ok(Self { shared, published, store: Arc::clone(&self.store) }.table(table.clone()))
    }

    fn came_later<K: Key, V: Value>(table: &Readable<K, V>) -> Error {
        Error::unavailable(format!(
            "table `{}` was still being built when this snapshot was taken; take another one",
            table.name()
        ))
    }

    pub(crate) fn table<K: Key, V: Value>(self, table: Readable<K, V>) -> TableSnapshot<K, V> {
        TableSnapshot { snapshot: self, table }
    }

    /// Calls `read` with the stored bytes of a row.
    pub(crate) fn read(&self, row: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        for generation in self.published.generations.iter().rev() {
            if let Some((_, value)) = generation.find(row) {
                read(value);
                return Ok(());
            }
        }
        self.store.read(row, read)
    }
}

/// One table in a [`Snapshot`].
/// It is made by [`View::snapshot`], for one table, or by [`Snapshot::of`], for several at one position, and is read like a
/// [`View`]. What a view cannot answer while its table is built or its engine has stopped, a snapshot can: where the functions
/// of a view give a `Result` of a scan or of a count, these give it outright.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let stock = Topic::<(u8, u8), u32>::new("stock");
/// let graph = GraphBuilder::new();
/// let shelves = graph.table(&stock, "shelves");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// for (aisle, shelf) in [(1, 1), (1, 2), (2, 1)] {
///     engine.append(&stock, &(aisle, shelf), &10).wait_blocking()?;
/// }
/// engine.catch_up_blocking()?;
///
/// let before = engine.view(&shelves)?.snapshot()?;
/// engine.delete(&stock, &(1, 1)).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!((before.count(), engine.view(&shelves)?.count()?), (3, 2));
/// let first_aisle = before.prefix(&(1,)).map(|row| row.map(|(key, _)| key));
/// assert_eq!(first_aisle.collect::<Result<Vec<_>, _>>()?, [(1, 1), (1, 2)]);
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Clone)]
pub struct TableSnapshot<K, V> {
    pub(crate) snapshot: Snapshot,
    pub(crate) table: Readable<K, V>,
}

impl<K, V> fmt::Debug for TableSnapshot<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableSnapshot")
            .field("table", self.table.name())
            .field("position", self.snapshot.position())
            .finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> TableSnapshot<K, V> {
    /// Another table of the same graph as it was at the same moment, for answers that are put together from several tables. `None` if this
    /// snapshot does not know it, as while an older version of either table answers.
    #[must_use]
    pub fn beside<L: Key, W: Value>(
        &self,
        stored: impl Into<StoredRef<L, W>>,
    ) -> Option<TableSnapshot<L, W>> {
        let (stored, shared) = (stored.into(), &self.snapshot.shared);
        let table = Readable::of(shared.known(stored.index())?, stored, self.table.name()).ok()?;
        let is_there =
            Arc::ptr_eq(shared, self.table.shared()) && self.snapshot.published.epoch >= table.since();
        is_there.then(|| self.snapshot.clone().table(table))
    }

    /// Which input the snapshot includes.
    #[must_use]
    pub fn position(&self) -> &Position {
        self.snapshot.position()
    }

    /// The value of `key`, which may be [borrowed](AsKey), or `None`.
    ///
    /// # Errors
    /// `Corrupt` if a stored row does not decode, or an error of the store.
    pub fn get(&self, key: &(impl AsKey<K> + ?Sized)) -> Result<Option<V>> {
        let key = &*key.as_key();
        let row = self.table.row_key(key);
        if self.has_forgotten_row(&row) {
            return Ok(None);
        }
        let mut value = Ok(None);
        self.snapshot.read(&row, &mut |bytes| {
            value = bytes.map(|bytes| self.table.decode(key, bytes)).transpose();
        })?;
        value
    }

    /// Whether the table has `key`.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn contains(&self, key: &(impl AsKey<K> + ?Sized)) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// Whether the table had forgotten what the row of `key` was, be it that there was none: see [`View::has_forgotten`].
    #[must_use]
    pub fn has_forgotten(&self, key: &(impl AsKey<K> + ?Sized)) -> bool {
        self.has_forgotten_row(&self.table.row_key(&key.as_key()))
    }

    fn has_forgotten_row(&self, row: &[u8]) -> bool {
        self.counted().is_some_and(|count| count.has_forgotten(row))
    }

    /// The values of many keys, in the order of `keys`.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn multi_get(&self, keys: &[impl AsKey<K>]) -> Result<Vec<Option<V>>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// The rows whose keys lie in `keys`, in ascending order; `.rev()` for descending.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a range is written where it is used, as in the standard library"
    )]
    pub fn range(&self, keys: impl KeyRange<K>) -> Scan<K, V> {
        let (first, past) = layout::table_range(self.table.table_id());
        let after = |key: &K| {
            // No encoding is a prefix of another, so this is the least row key above the key's own.
            let mut row = self.table.row_key(key);
            row.push(0);
            row
        };
        let start = match keys.start() {
            Bound::Included(key) => self.table.row_key(&key),
            Bound::Excluded(key) => after(&key),
            Bound::Unbounded => first.to_vec(),
        };
        let end = match keys.end() {
            Bound::Included(key) => after(&key),
            Bound::Excluded(key) => self.table.row_key(&key),
            Bound::Unbounded => past.to_vec(),
        };
        self.rows(start, end)
    }

    /// The rows whose keys do not stand before those that begin with `prefixes.start`, but before those that begin with
    /// `prefixes.end`, in ascending order; `.rev()` for descending.
    #[must_use]
    pub fn prefixes<P: KeyPrefix<K>>(&self, prefixes: Range<P>) -> Scan<K, V> {
        let (first, _) = layout::table_range(self.table.table_id());
        let [mut start, mut end] = [first.to_vec(), first.to_vec()];
        prefixes.start.encode_prefix(&mut start);
        prefixes.end.encode_prefix(&mut end);
        self.rows(start, end)
    }

    /// The rows whose keys begin with `prefix`, in ascending order; `.rev()` for descending.
    #[must_use]
    pub fn prefix<P: KeyPrefix<K> + ?Sized>(&self, prefix: &P) -> Scan<K, V> {
        let (first, past) = layout::table_range(self.table.table_id());
        let mut start = first.to_vec();
        prefix.encode_prefix(&mut start);
        let end = prefix_end(&start).unwrap_or_else(|| past.to_vec());
        self.rows(start, end)
    }

    /// All rows in ascending order; `.rev()` for descending.
    #[must_use]
    pub fn scan(&self) -> Scan<K, V> {
        self.range(..)
    }

    /// How far a node had come in time with the input of this snapshot, which `feeds` takes on: in milliseconds since the Unix epoch,
    /// and `i64::MIN` as long as a partition of these topics had shown no record. For operators, whose tables say what it means.
    #[must_use]
    pub fn watermark(&self, feeds: &Feeds) -> i64 {
        feeds.watermark(&self.snapshot.published.reached.times)
    }

    /// How many rows the table has, exactly.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counted().map_or(0, |count| count.rows)
    }

    /// How many rows there are, and which are forgotten.
    fn counted(&self) -> Option<&RowCount> {
        self.snapshot.published.counts.get(&self.table.table_id())
    }

    /// The rows from the row key `start` up to, but without, `end`.
    fn rows(&self, start: Vec<u8>, end: Vec<u8>) -> Scan<K, V> {
        let cutoff = self.counted().and_then(|count| count.cutoff.as_deref()).unwrap_or_default();
        let start = if *start < *cutoff { cutoff.to_vec() } else { start };
        Scan::new(self.clone(), start, end)
    }
}
