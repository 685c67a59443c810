//! The graph builder: where streams and tables begin.

use crate::stream::{AsRecords, AsUpserts, AsValues, ConsumerRecord, Stream, TopicSource};
use crate::table::{StoredTable, VersionStore, VersionedTable, source};
use crate::upsert::Upsert;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::{Builder, Graph, TableOptions};
use millpond_engine::{Result, Topic};
use std::time::Duration;

/// Which of two records of one key a table keeps.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Latest, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let places = Topic::<u8, String>::new("places");
/// let graph = GraphBuilder::new();
/// let by_offset = graph.table(&places, "by_offset");
/// let by_timestamp = graph.table_by(&places, "by_timestamp", Latest::Timestamp);
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// let (new, old) = ("Lisbon".to_owned(), "Porto".to_owned());
/// engine.producer(&places)?.send([(&1, Some(&new), 20), (&1, Some(&old), 10)]).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&by_offset)?.get(&1)?, Some(old));
/// assert_eq!(engine.view(&by_timestamp)?.get(&1)?, Some(new));
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Latest {
    /// The one with the greater offset: the changelog's own order.
    #[default]
    Offset,
    /// The one with the greater timestamp; of equal timestamps the one that comes later. Late records change nothing.
    /// The table remembers the timestamps of deleted keys too.
    Timestamp,
}

/// Describes a graph: sources here, operators on the [`Stream`]s and [`StoredTable`]s they return.
///
/// # Examples
/// ```
/// use millpond::{GraphBuilder, Topic};
///
/// let lines = Topic::<u64, String>::new("lines");
/// let graph = GraphBuilder::new();
/// let words = graph
///     .stream(&lines)
///     .flat_map(|_, line: String| line.split(' ').map(|word| (word.to_owned(), ())).collect::<Vec<_>>())
///     .group_by_key()
///     .count("words");
/// let graph = graph.build()?;
/// assert!(graph.describe().contains("table words"));
/// # drop(words);
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[doc(alias = "StreamsBuilder")]
pub struct GraphBuilder(Builder);

impl GraphBuilder {
    /// A graph without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The records of `topic` as a stream, in the order of the log. Tombstones are passed over: [`upserts`](Self::upserts) and
    /// [`records`](Self::records) have them. Every record of a key comes, and late timestamps change nothing. A record whose
    /// key or value does not decode is left to the [failure policy](millpond_engine::FailurePolicy). See [`Stream`] for
    /// examples.
    #[must_use]
    pub fn stream<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Stream<K, V> {
        let node = self.0.source("stream", topic, TopicSource::<K, V, AsValues>::new(topic));
        Stream::new(self.0.clone(), node, true)
    }

    /// The records of `topic` as a stream in which tombstones are [`Upsert::Delete`], also those of keys that were never
    /// there. See [`Upsert`] for an example.
    #[must_use]
    pub fn upserts<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Stream<K, Upsert<V>> {
        let node = self.0.source("upserts", topic, TopicSource::<K, V, AsUpserts>::new(topic));
        Stream::new(self.0.clone(), node, true)
    }

    /// The records of `topic` as a stream of values with headers, timestamp, partition and offset; tombstones are values of
    /// `None`. Only who asks for all this pays for it. See [`ConsumerRecord`] for an example.
    #[must_use]
    #[doc(alias = "RecordMetadata")]
    pub fn records<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Stream<K, ConsumerRecord<V>> {
        let node = self.0.source("records", topic, TopicSource::<K, V, AsRecords>::new(topic));
        Stream::new(self.0.clone(), node, true)
    }

    /// The records of `topic` as a table: of each key the last value in the order of the log, however late its timestamp is.
    /// Tombstones delete; of a key that is not there they change nothing.
    ///
    /// NOTE: the codec of a topic is not that of the table. A plain name keeps rows in
    /// [`Bincode`](millpond_engine::codec::Bincode), also those of a topic in [`Json`](millpond_engine::codec::Json), and a
    /// type that only JSON can hold (an internally tagged or untagged enum, a flattened struct, `serde_json::Value`) is
    /// then refused when the graph is built. Give the table the codec too:
    /// ```
    /// use millpond::codec::Json;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, TableOptions, Topic};
    /// use serde_json::{Value, json};
    ///
    /// let orders = Topic::<u64, Value>::with_codec("orders", Json);
    /// let graph = GraphBuilder::new();
    /// let latest = graph.table(&orders, TableOptions::with_codec("latest", Json));
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&orders, 1, json!({"item": "tea"}), 0)?;
    /// driver.put(&orders, 2, json!({"item": "jam"}), 0)?;
    /// driver.delete(&orders, 2, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&latest)?, [(1, json!({"item": "tea"}))].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[doc(alias = "GlobalKTable")]
    pub fn table<K: Key, V: Value>(
        &self,
        topic: &Topic<K, V>,
        store: impl Into<TableOptions<V>>,
    ) -> StoredTable<K, V> {
        self.table_by(topic, store, Latest::Offset)
    }

    /// The records of `topic` as a table that keeps which record `latest` says; otherwise as [`table`](Self::table). With
    /// [`Latest::Timestamp`] a late record, or a late tombstone, changes nothing, and one that is as old as the row replaces
    /// it. See [`Latest`] for an example.
    pub fn table_by<K: Key, V: Value>(
        &self,
        topic: &Topic<K, V>,
        store: impl Into<TableOptions<V>>,
        latest: Latest,
    ) -> StoredTable<K, V> {
        let upserts = self.upserts(topic);
        if latest == Latest::Offset {
            self.0.latest_only(upserts.node());
        }
        source::table(&upserts, store.into(), latest)
    }

    /// The records of `topic` as a table of the latest value of each key by its timestamp, which keeps for `history` what the rows were:
    /// see [`VersionedTable`] for an example. An update that comes when its partition has come further than `history` beyond its
    /// timestamp changes nothing. Tombstones delete from their timestamp on.
    #[doc(alias = "persistentVersionedKeyValueStore")]
    pub fn versioned<K: Key, V: Value>(
        &self,
        topic: &Topic<K, V>,
        store: impl Into<VersionStore<V>>,
        history: Duration,
    ) -> VersionedTable<K, V> {
        self.upserts(topic).versioned_table(store, history)
    }

    /// The engine's builder, on which operators of one's own are added; see
    /// [`Operator`](millpond_engine::dataflow::Operator) for an example.
    #[must_use]
    pub fn nodes(&self) -> &Builder {
        &self.0
    }

    /// Checks the graph and makes it ready to run. The builder is empty afterwards: what is added then begins another
    /// graph, and streams and tables made before belong to the one that was built. A graph that is needed twice is cloned,
    /// which costs nothing.
    ///
    /// # Errors
    /// `Invalid`, naming the culprit: no source, two tables of one name, a type that its codec cannot hold, a topic that is
    /// used with two types or codecs, a stream or table of another graph, a cycle through topics.
    pub fn build(&self) -> Result<Graph> {
        self.0.build()
    }
}
