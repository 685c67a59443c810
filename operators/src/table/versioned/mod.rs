//! Tables that keep what their rows were: versions, each from its timestamp on.
//!
//! The latest row of a key is the one with the greatest timestamp. Late: an update counts as long as its own partition has not come
//! further than the history beyond its timestamp; whoever comes later changes nothing. One that comes out of order takes its place
//! among the versions, and changes the latest row only if it is later than that. Early ones are later than all before them. Of equal
//! timestamps the one whose partition had come further replaces the other, and then the one that stands behind in the log. Negative
//! timestamps are as others. Tombstones are versions, too: from then on the key is absent. Of repeated keys in one epoch each is a
//! version. Empty input lets go what is too old all the same, as far as time has come.
//!
//! | file | what it is |
//! |---|---|
//! | `key` | the rows of versions |
//! | `store` | where the rows are kept |
//! | `history` | versions, and what an epoch does to them |
//! | `update` | what it does to the latest rows |
//! | `as_of` | what they were at a time |
//!
//! Sources: what counts is that of Kafka Streams' versioned state stores (KIP-889, KIP-914), by how far the partition of an update had come
//! instead of how far the store had.

mod as_of;
mod history;
mod key;
mod store;
mod update;

pub use as_of::{AsOf, Version};
pub use key::{VersionKey, VersionRow};
pub use store::VersionStore;

pub(crate) use history::History;
pub(crate) use key::VersionOrder;

use super::StoredTable;
use crate::stream::Stream;
use crate::stream::arrive::Arrive;
use crate::stream::grace::Grace;
use crate::upsert::Upsert;
use millpond_engine::codec::{Bincode, Key, Value};
use millpond_engine::graph::{TableOptions, TableRef};
use millpond_engine::query::{Stored, StoredRef};
use std::fmt;
use std::ops::Deref;
use std::time::Duration;
use update::Keep;

/// A table that keeps what its rows were for a time. It is a [`StoredTable`] of the latest rows: what derives from it is told when
/// these change, and nothing of an update that came out of order behind a later one.
///
/// # Examples
/// ```
/// use millpond::testing::Driver;
/// use millpond::{AsOf, ErrorKind, GraphBuilder, Topic};
/// use std::time::Duration;
///
/// let rates = Topic::<String, u64>::new("rates");
/// let graph = GraphBuilder::new();
/// let table = graph.versioned(&rates, "rates", Duration::from_millis(100));
/// let mut driver = Driver::new(&graph.build()?)?;
/// for (rate, at) in [(105, 100), (109, 140), (107, 120)] {
///     driver.put(&rates, "EUR".to_owned(), rate, at)?;
/// }
/// driver.delete(&rates, "EUR".to_owned(), 150)?;
/// driver.put(&rates, "EUR".to_owned(), 111, 230)?;
/// driver.run()?;
/// assert_eq!(driver.table(&table)?["EUR"], 111);
///
/// let versions = driver.view(table.versions())?;
/// assert_eq!(versions.as_of("EUR", 139)?, Some(107));
/// assert_eq!(versions.as_of("EUR", 150)?, None, "it was deleted");
/// assert_eq!(versions.as_of("EUR", 129).unwrap_err().kind(), ErrorKind::Expired);
/// let since: Vec<_> = versions.versions_in("EUR", 140..i64::MAX)?.into_iter().map(|version| version.value).collect();
/// assert_eq!(since, [Some(109), None, Some(111)]);
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "VersionedKeyValueStore")]
pub struct VersionedTable<K, V> {
    latest: StoredTable<K, V>,
    versions: Versions<K, V>,
    pub(crate) updates: Stream<K, Upsert<V>>,
    pub(crate) history: Grace,
    /// How versions are kept.
    pub(crate) options: TableOptions<VersionRow<V>>,
}

impl<K, V> fmt::Debug for VersionedTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionedTable")
            .field("latest", &self.latest)
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

impl<K, V> Deref for VersionedTable<K, V> {
    type Target = StoredTable<K, V>;

    fn deref(&self) -> &StoredTable<K, V> {
        &self.latest
    }
}

impl<K: Key, V: Value> VersionedTable<K, V> {
    /// The versions of all keys, whose view is asked what a row [was](AsOf) at a time.
    #[must_use]
    pub fn versions(&self) -> &Versions<K, V> {
        &self.versions
    }

    /// The updates that came too late to count.
    #[must_use]
    pub fn late(&self) -> Stream<K, Upsert<V>> {
        self.updates.late_by(self.history)
    }
}

/// The versions of a [`VersionedTable`], to be asked by [`AsOf`].
#[derive(Debug)]
pub struct Versions<K, V> {
    pub(crate) rows: TableRef<VersionKey<K>, VersionRow<V>>,
}

impl<K, V> millpond_engine::query::sealed::Sealed for Versions<K, V> {}

impl<K: Key, V: Value> Stored for Versions<K, V> {
    type Key = VersionKey<K>;
    type Value = VersionRow<V>;

    fn stored(&self) -> StoredRef<VersionKey<K>, VersionRow<V>> {
        self.rows.into()
    }
}

impl<K, V> millpond_engine::query::sealed::Sealed for VersionedTable<K, V> {}

impl<K: Key, V: Value> Stored for VersionedTable<K, V> {
    type Key = K;
    type Value = V;

    fn stored(&self) -> StoredRef<K, V> {
        self.latest.stored()
    }
}

impl<K: Key, V: Value> Stream<K, Upsert<V>> {
    /// A table of the latest upsert of each key by its timestamp that keeps what the rows were for `history`: as
    /// [`GraphBuilder::versioned`](crate::GraphBuilder::versioned).
    pub fn versioned_table(
        &self,
        store: impl Into<VersionStore<V>>,
        history: Duration,
    ) -> VersionedTable<K, V> {
        let (builder, history) = (&self.builder, Grace::of(history));
        let (latest, versions) = store.into().into_parts();
        let id = format!("versioned(history {} ms)", history.ms);
        let beside = |suffix: &str| format!("{}.{suffix}", latest.name());
        let version = latest.table_version();
        let newest = TableOptions::with_codec(&beside("newest"), Bincode).version(version);
        let open = TableOptions::with_codec(&beside("open"), Bincode).version(version);
        let options = versions.once_more(versions.name(), version);
        let kept = History {
            versions: builder.table("versioned", versions.written_by(id.clone())),
            open: builder.table("versioned", open.written_by(id.clone())),
            grace: history,
        };
        let rows = kept.versions;
        let newest = builder.table("versioned", newest.written_by(id.clone()));
        let latest = builder.table("versioned", latest.written_by(id));
        let arrive = Arrive::new(kept.open, history, self.keyed);
        let arrivals = builder.exchange("arrive", self.node, &[], arrive);
        let writes = [latest.index(), newest.index(), rows.index(), kept.open.index()];
        let keep = Keep { latest, newest, history: kept };
        let node = builder.operator("versioned", arrivals, &writes, &[], keep);
        builder.looks_at_time(node, 0);
        builder.follows_updates(node);
        let latest = StoredTable::from_node(builder, node, latest);
        VersionedTable { latest, versions: Versions { rows }, updates: self.clone(), history, options }
    }
}
