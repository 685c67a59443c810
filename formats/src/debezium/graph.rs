//! From envelopes to upserts.

use super::Envelope;
use millpond_engine::Topic;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::TableOptions;
use millpond_operators::{GraphBuilder, StoredTable, Stream, Upsert};

/// Reads topics of Debezium; see [the module](super) for an example.
pub trait DebeziumGraph {
    /// The changes of a topic as upserts and deletions, in the order of the log.
    fn debezium<K: Key, V: Value>(&self, topic: &Topic<K, Envelope<V>>) -> Stream<K, Upsert<V>>;

    /// The rows as they are at the source: of each key the last one that is not deleted.
    fn debezium_table<K: Key, V: Value>(
        &self,
        topic: &Topic<K, Envelope<V>>,
        store: impl Into<TableOptions<V>>,
    ) -> StoredTable<K, V> {
        self.debezium(topic).upsert_table(store)
    }
}

impl DebeziumGraph for GraphBuilder {
    fn debezium<K: Key, V: Value>(&self, topic: &Topic<K, Envelope<V>>) -> Stream<K, Upsert<V>> {
        self.upserts(topic).filter_map_values(|_, upsert| match upsert {
            Upsert::Put(envelope) => envelope.into_upsert(),
            Upsert::Delete => Some(Upsert::Delete),
        })
    }
}
