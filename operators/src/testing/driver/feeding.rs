//! What a driver is given to read.

use super::Driver;
use crate::testing::changelogs::TypedRecord;
use millpond_engine::changelog::{Append, AppendLog, Producer, ProducerRecord, Record, TopicLog};
use millpond_engine::codec::{AsKey, Key, Value};
use millpond_engine::{Error, Position, Result, Topic, TopicPartition};
use std::sync::Arc;

impl Driver {
    /// Appends `key` with `value` to `topic`, in the partition of its key. Nothing is folded yet.
    ///
    /// # Errors
    /// `User` if the value does not encode, `Invalid` if it is too large.
    #[expect(clippy::needless_pass_by_value, reason = "a test reads better without `&`")]
    pub fn put<K: Key, V: Value>(
        &self,
        topic: &Topic<K, V>,
        key: impl AsKey<K>,
        value: V,
        timestamp_ms: i64,
    ) -> Result<Position> {
        self.send(topic, &key, Some(&value), timestamp_ms)
    }

    /// Appends a tombstone for `key` to `topic`.
    ///
    /// # Errors
    /// `Invalid` if the key is too large.
    #[expect(clippy::needless_pass_by_value, reason = "a test reads better without `&`")]
    pub fn delete<K: Key, V: Value>(
        &self,
        topic: &Topic<K, V>,
        key: impl AsKey<K>,
        timestamp_ms: i64,
    ) -> Result<Position> {
        self.send(topic, &key, None, timestamp_ms)
    }

    /// Appends `key` with what `record` says, which may have headers and a timestamp, to `topic`.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::ProducerRecord;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let (orders, copies) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("copies"));
    /// let graph = GraphBuilder::new();
    /// graph.records(&orders).to_records(&copies, |_, order| {
    ///     ProducerRecord::new(order.value.unwrap_or_default()).with_headers(order.headers)
    /// });
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put_record(&orders, 7, ProducerRecord::new(450).at(5).with_header("trace", "4bf9"))?;
    /// driver.run()?;
    /// let copied = &driver.records(&copies)?[0];
    /// assert_eq!((copied.value, copied.timestamp_ms), (Some(450), 5));
    /// assert_eq!(copied.headers.bytes("trace"), Some(b"4bf9".as_slice()));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a test reads better without `&`")]
    pub fn put_record<K: Key, V: Value>(
        &self,
        topic: &Topic<K, V>,
        key: impl AsKey<K>,
        record: ProducerRecord<V>,
    ) -> Result<Position> {
        self.producer(topic)?.send_records([(&key, record)]).wait_blocking()
    }

    fn send<K: Key, V: Value>(
        &self,
        topic: &Topic<K, V>,
        key: &impl AsKey<K>,
        value: Option<&V>,
        timestamp_ms: i64,
    ) -> Result<Position> {
        self.producer(topic)?.send([(key, value, timestamp_ms)]).wait_blocking()
    }

    /// Appends records that [`changelog`](crate::testing::changelogs::changelog) made, each to the partition it names.
    ///
    /// # Errors
    /// `User` if a value does not encode, `Invalid` if the topic has no such partition.
    pub fn put_all<K: Key, V: Value>(
        &self,
        topic: &Topic<K, V>,
        records: impl IntoIterator<Item = TypedRecord<K, V>>,
    ) -> Result<Position> {
        self.changelog.create_topic(topic.name(), topic.topic_config())?;
        let mut after = Position::new();
        for record in records {
            let encoded = record
                .encode(topic)
                .map_err(|error| Error::user("a key or a value does not encode").with_source(error))?;
            let partition = TopicPartition::new(Arc::clone(topic.name()), record.partition);
            after.advance_to(&self.append(partition, vec![encoded])?);
        }
        Ok(after)
    }

    /// Appends records as they are: bytes that need not decode, and any partition.
    ///
    /// # Errors
    /// `Invalid` if there is no such partition, or a record is too large.
    pub fn append(&self, partition: TopicPartition, records: Vec<Record>) -> Result<Position> {
        self.changelog.append(vec![Append { partition, records }]).wait_blocking()
    }

    /// A producer for `topic` that stamps records with the driver's clock, and takes any [date](Topic::max_ahead).
    ///
    /// # Errors
    /// `Invalid` if the topic exists with another number of partitions.
    pub fn producer<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Result<Producer<K, V>> {
        let topic = topic.clone().max_ahead(None);
        Producer::new(Arc::clone(&self.changelog) as _, &topic, Arc::clone(&self.clock) as _)
    }
}
