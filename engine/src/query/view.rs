//! A view: the handle with which a service asks one table.

use super::readable::Readable;
use super::served::{ServedTable, Serving};
use super::{ChangeStream, KeyStream, Scan, Snapshot, Stored, StoredRef, TableSnapshot};
use crate::codec::{AsKey, Key, KeyPrefix, KeyRange, Value};
use crate::flow::{GraphId, Router};
use crate::graph::Feeds;
use crate::state::Seen;
use crate::{Error, Result};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// The handle with which to ask `table`, which is found in one of `served`, those of the tables of `graph`.
///
/// # Errors
/// `Invalid` if the table belongs to another graph, or is not kept.
pub(crate) fn view_of<T: Stored>(
    table: &T,
    graph: GraphId,
    served: &[Arc<ServedTable>],
    router: Router,
) -> Result<View<T::Key, T::Value>> {
    let stored = table.stored();
    let index = stored.index();
    let table = served.get(index.index).filter(|_| index.graph == graph).ok_or_else(|| {
        Error::invalid(
            "the table belongs to another graph than the one that is asked, or was added to it after `build`",
        )
    })?;
    Ok(View::new(Arc::clone(table), stored, router))
}

/// The table that a view has found in its table.
type FoundRows<K, V> = Option<Readable<K, V>>;

/// A typed, read-only handle of one table. Cheap to clone and to send; it stays valid while the engine lives.
///
/// A single [`get`](View::get) is answered from memory where the key is hot. Whatever reads more than one row reads
/// one epoch. All calls are synchronous: they touch memory and the local disk only.
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let flights = Topic::<(String, String), u32>::new("flights");
/// let graph = GraphBuilder::new();
/// let routes = graph.table(&flights, "routes");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// for (from, to, minutes) in [("JFK", "LAX", 330), ("JFK", "SFO", 350), ("EWR", "LAX", 335)] {
///     engine.append(&flights, &(from, to), &minutes).wait_blocking()?;
/// }
/// engine.catch_up_blocking()?;
///
/// let view = engine.view(&routes)?;
/// assert_eq!(view.get(&("JFK", "LAX"))?, Some(330));
/// assert_eq!(view.multi_get(&[("JFK", "SFO"), ("LGA", "SFO")])?, [Some(350), None]);
/// assert!(!view.contains(&("LGA", "SFO"))?);
/// assert_eq!(view.count()?, 3);
///
/// // By the first field of the key, by a range of keys, and all of them from the end.
/// let minutes = |row: millpond::Result<_>| row.map(|(_, minutes): ((String, String), u32)| minutes);
/// let from_jfk: Vec<u32> = view.prefix(&("JFK",))?.map(minutes).collect::<Result<_, _>>()?;
/// assert_eq!(from_jfk, [330, 350]);
/// let up_to_jfk = view.range(..("JFK", "SFO"))?.map(minutes).collect::<Result<Vec<u32>, _>>()?;
/// assert_eq!(up_to_jfk, [335, 330]);
/// let last = view.scan()?.rev().next().transpose()?;
/// assert_eq!(last, Some((("JFK".to_owned(), "SFO".to_owned()), 350)));
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "ReadOnlyKeyValueStore")]
pub struct View<K, V> {
    table: Arc<ServedTable>,
    stored: StoredRef<K, V>,
    /// The table as it was last found; looked up again only when the table has changed.
    found: Arc<RwLock<FoundRows<K, V>>>,
    router: Router,
}

impl<K, V> Clone for View<K, V> {
    fn clone(&self) -> Self {
        Self {
            table: Arc::clone(&self.table),
            stored: self.stored,
            found: Arc::clone(&self.found),
            router: self.router,
        }
    }
}

impl<K, V> fmt::Debug for View<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("table", &self.table.name).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> View<K, V> {
    /// What takes the table on in time.
    pub(crate) fn feeds(&self) -> &Feeds {
        &self.table.feeds
    }

    pub(crate) fn new(table: Arc<ServedTable>, stored: StoredRef<K, V>, router: Router) -> Self {
        Self { table, stored, found: Arc::default(), router }
    }

    /// The value of `key`, or `None` if the table has no such key. A key may be [borrowed](AsKey): `get("ab")` for a `String`.
    ///
    /// # Errors
    /// `Unavailable` while the table is built for the first time, and, unless the engine was told to give [stale
    /// answers](crate::EngineBuilder::stale_reads), until it has folded what was in the changelog when it was opened;
    /// `Closed` after the engine was closed, the reason of the stop if it has stopped; `Invalid` for code of the graph
    /// itself; `Corrupt` if a stored row does not decode.
    pub fn get(&self, key: &(impl AsKey<K> + ?Sized)) -> Result<Option<V>> {
        let key = &*key.as_key();
        self.ask(|table| {
            table.ask()?;
            let value = match table.visible(key, self.router) {
                Seen::Here(value) => value,
                // What is forgotten is not looked for.
                Seen::Missing if table.has_forgotten(key) => return Ok(None),
                Seen::Missing => {
                    let mut value = Ok(None);
                    table.shared().store()?.read(&table.row_key(key), &mut |bytes| {
                        value = bytes.map(|bytes| table.decode(key, bytes)).transpose();
                    })?;
                    value?
                }
                Seen::Busy => return Snapshot::capture(table.shared())?.table(table.clone()).get(key),
            };
            // Asked last: the value may be that of an epoch which has forgotten it.
            Ok(value.filter(|_| !table.has_forgotten(key)))
        })
    }

    /// Whether the table has `key`.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn contains(&self, key: &(impl AsKey<K> + ?Sized)) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// Whether the table has forgotten what the row of `key` was, be it that there was none: a table of windows that says for how long it
    /// [keeps](crate::graph::Builder::forgets) them. It stays so.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn has_forgotten(&self, key: &(impl AsKey<K> + ?Sized)) -> Result<bool> {
        let key = &*key.as_key();
        self.ask(|table| {
            table.ask()?;
            Ok(table.has_forgotten(key))
        })
    }

    /// The values of many keys in one epoch, in the order of `keys`.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn multi_get(&self, keys: &[impl AsKey<K>]) -> Result<Vec<Option<V>>> {
        let table = self.table()?;
        table.ask()?;
        // If no epoch was published while we looked, what we saw was one epoch.
        // Asked so that it waits for a moment that is just being put in place.
        let before = table.shared().published().epoch;
        let values = keys.iter().map(|key| self.get(key)).collect::<Result<Vec<_>>>()?;
        if table.shared().epoch() == before && !table.shared().is_superseded() {
            return Ok(values);
        }
        // Not both at once: they may be large.
        drop(values);
        self.snapshot()?.multi_get(keys)
    }

    /// The rows whose keys lie in `keys`, in ascending order; `.rev()` for descending. They are of one epoch however
    /// long the scan takes.
    ///
    /// # Errors
    /// As for [`get`](Self::get); errors of the store come as items.
    pub fn range(&self, keys: impl KeyRange<K>) -> Result<Scan<K, V>> {
        Ok(self.snapshot()?.range(keys))
    }

    /// The rows whose keys begin with `prefix`, in ascending order: the first fields of a tuple, the beginning of a
    /// string.
    ///
    /// # Errors
    /// As for [`range`](Self::range).
    #[doc(alias = "prefixScan")]
    pub fn prefix<P: KeyPrefix<K> + ?Sized>(&self, prefix: &P) -> Result<Scan<K, V>> {
        Ok(self.snapshot()?.prefix(prefix))
    }

    /// All rows in ascending order; `.rev()` for descending.
    ///
    /// # Errors
    /// As for [`range`](Self::range).
    pub fn scan(&self) -> Result<Scan<K, V>> {
        Ok(self.snapshot()?.scan())
    }

    /// How many rows the table has, exactly.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn count(&self) -> Result<u64> {
        self.ask(|table| {
            table.ask()?;
            Ok(table.shared().published().counts.get(&table.table_id()).map_or(0, |count| count.rows))
        })
    }

    /// The table as it is now, for good. For several tables at once use [`Engine::snapshot`](crate::Engine::snapshot).
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn snapshot(&self) -> Result<TableSnapshot<K, V>> {
        self.ask(|table| {
            table.ask()?;
            Ok(Snapshot::capture(table.shared())?.table(table.clone()))
        })
    }

    /// The table as it is now, and every change after that. Drop the snapshot when it is read: as long as it lives, the
    /// store keeps what it shows.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn changes(&self) -> Result<(TableSnapshot<K, V>, ChangeStream<K, V>)> {
        self.ask(ChangeStream::open)
    }

    /// The value of `key` as it is now, and every value after that.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn subscribe(&self, key: &(impl AsKey<K> + ?Sized)) -> Result<KeyStream<K, V>> {
        let key = &*key.as_key();
        self.ask(|table| KeyStream::open(table, key))
    }

    /// The name of the table.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.table.name
    }

    /// Whether the view shows the rows of an older version of the table while the new one is being built.
    #[must_use]
    pub fn is_former(&self) -> bool {
        let serving = self.table.serving.read().unwrap_or_else(PoisonError::into_inner);
        matches!(*serving, Serving::Former(_))
    }

    /// Whether the view shows the table itself, kept up to date: it is no longer built, and has caught up with what
    /// was in the changelog when the engine was opened.
    #[must_use]
    pub fn is_live(&self) -> bool {
        match &*self.table.serving.read().unwrap_or_else(PoisonError::into_inner) {
            Serving::Live(table) => !table.shared().is_behind(),
            Serving::Former(_) | Serving::Absent(_) | Serving::Building => false,
        }
    }

    /// Answers a question from the table. If the table was replaced meanwhile its rows may have been gone already: then
    /// the new one is asked.
    #[inline]
    pub(crate) fn ask<T>(&self, question: impl Fn(&Readable<K, V>) -> Result<T>) -> Result<T> {
        loop {
            let table = self.table()?;
            let answer = question(&table);
            if !table.shared().is_superseded() {
                return answer;
            }
        }
    }

    pub(crate) fn table(&self) -> Result<Readable<K, V>> {
        if let Some(table) = &*self.found.read().unwrap_or_else(PoisonError::into_inner)
            && !table.shared().is_superseded()
        {
            return Ok(table.clone());
        }
        let table = self.table.table(self.stored)?;
        *self.found.write().unwrap_or_else(PoisonError::into_inner) = Some(table.clone());
        Ok(table)
    }
}
