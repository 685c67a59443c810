//! Storing a stream as a table: `to_table` and `upsert_table`.
//!
//! What becomes of deletions, repeated keys and late timestamps stands in `table/source.rs`, which stores topics in the
//! same way.

use super::Stream;
use crate::Latest;
use crate::table::{StoredTable, source};
use crate::upsert::Upsert;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::TableOptions;

impl<K: Key, V: Value> Stream<K, V> {
    /// A table of the last value of each key, in the order of the log, whatever the timestamps. A row is never deleted,
    /// also not where a step before it leaves out a later record of its key: see [`upsert_table`](Stream::upsert_table).
    /// What the steps before it do is [part of its meaning](TableOptions#when-the-meaning-changes). A stream of
    /// [upserts](Upsert) becomes a table with [`upsert_table`](Stream::upsert_table).
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let names = Topic::<u32, String>::new("names");
    /// let graph = GraphBuilder::new();
    /// let shouted = graph.stream(&names).map_values(|_, name| name.to_uppercase()).to_table("shouted");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&names, 1, "ada".to_owned(), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&shouted)?, [(1, "ADA".to_owned())].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[doc(alias = "toTable")]
    pub fn to_table(&self, store: impl Into<TableOptions<V>>) -> StoredTable<K, V> {
        let upserts = self.map_values(|_, value| Upsert::Put(value));
        source::table(&upserts, store.into(), Latest::Offset)
    }
}

impl<K: Key, V: Value> Stream<K, Upsert<V>> {
    /// A table of the last value of each key, in the order of the log, whatever the timestamps; [`Upsert::Delete`] deletes,
    /// and changes nothing where there was no row. See [`Upsert`] for an example. What the steps before it do is
    /// [part of its meaning](TableOptions#when-the-meaning-changes).
    pub fn upsert_table(&self, store: impl Into<TableOptions<V>>) -> StoredTable<K, V> {
        source::table(self, store.into(), Latest::Offset)
    }
}
