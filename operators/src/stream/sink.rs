//! Writing a stream to a derived topic: `to`, `to_upserts`, `to_records`.
//!
//! A value of `None` becomes a tombstone. Repeated keys are all written, in the order of their stamps; the partition is
//! chosen by the key as producers do. The timestamp is that of the record which caused it, however late, unless another
//! one is given, or the topic says where its timestamps come from. Empty input writes nothing. A key or value that does not encode, or is too large for the changelog, is a
//! failure of the record it was made from, for the failure policy to handle. The engine appends the records of an epoch
//! together with its mark, so that a replay does not write them again.

use super::ProducerRecord;
use super::Stream;
use crate::upsert::Upsert;
use bytes::Bytes;
use millpond_engine::changelog::{
    MAX_HEADERS_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, Record, partition_for_key,
};
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Operator};
use millpond_engine::{Result, Topic};
use std::marker::PhantomData;
use std::sync::Arc;

impl<K: Key, V: Value> Stream<K, V> {
    /// Appends every record to `topic`, exactly once whatever happens: on the partition of its key, in the order of the log,
    /// and with the timestamp of the record it was made from. A key or value that does not encode, or is too large for the
    /// changelog, is a failure of that record. A stream has no tombstones; [`to_upserts`](Stream::to_upserts) and
    /// [`to_records`](Self::to_records) write them. So the changes of a table are written with
    /// `table.to_stream().to_upserts(&topic)`.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let (orders, large) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("large"));
    /// let graph = GraphBuilder::new();
    /// graph.stream(&orders).filter(|_, cents| *cents >= 1_000).to(&large);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&orders, 1, 4_500, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.records(&large)?[0].value, Some(4_500));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn to(&self, topic: &Topic<K, V>) {
        self.sink(topic, |_, value| ProducerRecord::new(value));
    }

    /// Appends what `record` makes of each record to `topic`, exactly once whatever happens: values or tombstones, with
    /// headers, and a timestamp of one's own where it gives one. See [`ProducerRecord`] for an example.
    pub fn to_records<W: Value>(
        &self,
        topic: &Topic<K, W>,
        record: impl Fn(&K, V) -> ProducerRecord<W> + Send + Sync + 'static,
    ) {
        self.sink(topic, record);
    }

    fn sink<W: Value>(
        &self,
        topic: &Topic<K, W>,
        record: impl Fn(&K, V) -> ProducerRecord<W> + Send + Sync + 'static,
    ) {
        let sink = Sink { topic: topic.clone(), record, value: PhantomData };
        self.builder.sink("to", self.node, topic, sink);
    }
}

impl<K: Key, V: Value> Stream<K, Upsert<V>> {
    /// Appends every record to `topic`, as [`to`](Stream::to) does; deletions become tombstones, also of keys that were
    /// never there.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let (stock, copy) = (Topic::<u32, u64>::new("stock"), Topic::<u32, u64>::new("copy"));
    /// let graph = GraphBuilder::new();
    /// graph.upserts(&stock).to_upserts(&copy);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.delete(&stock, 1, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.records(&copy)?[0].value, None);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn to_upserts(&self, topic: &Topic<K, V>) {
        self.sink(topic, |_, upsert| upsert.into());
    }
}

/// Encodes events as records.
struct Sink<K, V, W, F> {
    topic: Topic<K, W>,
    record: F,
    value: PhantomData<fn() -> V>,
}

impl<K, V, W, F> Sink<K, V, W, F>
where
    K: Key,
    W: Value,
    F: Fn(&K, V) -> ProducerRecord<W>,
{
    /// The partition and the record of an event; or why the changelog would refuse it, which does not know what it was made
    /// from.
    fn encode(&self, event: Event<K, V>, partitions: u32) -> std::result::Result<(u32, Record), String> {
        let (value, timestamp_ms, headers) = (self.record)(&event.key, event.value).into_parts();
        let mut bytes = Vec::with_capacity(32);
        self.topic
            .encode_key(&event.key, &mut bytes)
            .map_err(|error| format!("a key for topic `{}` does not encode: {error}", self.topic.name()))?;
        let split = bytes.len();
        let partition = partition_for_key(&bytes, partitions);
        if let Some(value) = &value {
            self.topic.codec().encode(value, &mut bytes).map_err(|error| {
                format!("a value for topic `{}` does not encode: {error}", self.topic.name())
            })?;
        }
        self.check("key", split, MAX_KEY_BYTES)?;
        self.check("value", bytes.len() - split, MAX_VALUE_BYTES)?;
        bytes.shrink_to_fit();
        let mut key = Bytes::from(bytes);
        let encoded = key.split_off(split);
        let mut timestamp_ms = timestamp_ms.unwrap_or(event.stamp.timestamp_ms);
        if let Some(value) = &value {
            timestamp_ms = self.topic.timestamp_ms(&event.key, value, timestamp_ms);
        }
        let record = Record { key: Some(key), value: value.map(|_| encoded), timestamp_ms, headers };
        if !record.headers.is_empty() {
            self.check("record's headers", record.headers_bytes(), MAX_HEADERS_BYTES)?;
        }
        Ok((partition, record))
    }

    fn check(&self, what: &str, bytes: usize, most: usize) -> std::result::Result<(), String> {
        if bytes <= most {
            return Ok(());
        }
        Err(format!(
            "a {what} for topic `{}` takes {bytes} bytes, more than the {most} that a record may have; write less, or \
             filter such records out",
            self.topic.name()
        ))
    }
}

impl<K, V, W, F> Operator for Sink<K, V, W, F>
where
    K: Key,
    V: Value,
    W: Value,
    F: Fn(&K, V) -> ProducerRecord<W> + Send + Sync + 'static,
{
    type Input = (Vec<Event<K, V>>,);
    type Output = ();

    fn run(
        &self,
        context: &mut Context<'_>,
        (events,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        if events.is_empty() {
            return Ok(None);
        }
        let partitions = context.partitions(self.topic.name())?;
        for event in events {
            let stamp = event.stamp;
            context.at(&stamp);
            let encoded = self.encode(event, partitions);
            let (partition, record) = encoded.map_err(|reason| context.failed(&stamp, reason))?;
            context.emit(Arc::clone(self.topic.name()), partition, stamp, record)?;
        }
        Ok(None)
    }
}
