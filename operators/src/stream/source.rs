//! Reading a topic as a stream: `stream`, `upserts` and `records` of the [`GraphBuilder`](crate::GraphBuilder).
//!
//! Tombstones: passed over by `stream`, [`Upsert::Delete`] in `upserts`, a value of `None` in `records`. Absent and repeated keys have no meaning here:
//! every record is put out, in offset order within a partition. Late timestamps change nothing. No input, no output. A
//! key or value that does not decode is a failure of its record, for the failure policy to handle.

use super::record::ConsumerRecord;
use crate::upsert::Upsert;
use bytes::Bytes;
use millpond_engine::changelog::Header;
use millpond_engine::codec::{Key, Value, ValueCodec};
use millpond_engine::dataflow::{Event, Router, Source, SourceBatch, Stamp};
use millpond_engine::{Result, Topic};
use std::marker::PhantomData;
use std::sync::Arc;

/// Reads values, without tombstones.
pub(crate) struct StreamSource<K, V> {
    codec: Arc<dyn ValueCodec<V>>,
    key: PhantomData<fn() -> K>,
}

impl<K: Key, V: Value> StreamSource<K, V> {
    pub(crate) fn new(topic: &Topic<K, V>) -> Self {
        Self { codec: Arc::clone(topic.codec()), key: PhantomData }
    }
}

impl<K: Key, V: Value> Source for StreamSource<K, V> {
    type Item = Event<K, V>;

    fn decode(&self, records: &SourceBatch<'_>, router: &Router) -> Result<Vec<Vec<Self::Item>>> {
        let mut parts = parts(records, *router);
        for (record, stamp) in records.records() {
            let Some(bytes) = record.value else { continue };
            let Some(key) = key(records, stamp, record.key) else { continue };
            let Some(value) = value(&*self.codec, records, stamp, bytes) else { continue };
            put(&mut parts, *router, Event { key, value, stamp });
        }
        Ok(parts)
    }
}

/// Reads values and tombstones.
pub(crate) struct UpsertSource<K, V> {
    codec: Arc<dyn ValueCodec<V>>,
    key: PhantomData<fn() -> K>,
}

impl<K: Key, V: Value> UpsertSource<K, V> {
    pub(crate) fn new(topic: &Topic<K, V>) -> Self {
        Self { codec: Arc::clone(topic.codec()), key: PhantomData }
    }
}

impl<K: Key, V: Value> Source for UpsertSource<K, V> {
    type Item = Event<K, Upsert<V>>;

    fn decode(&self, records: &SourceBatch<'_>, router: &Router) -> Result<Vec<Vec<Self::Item>>> {
        let mut parts = parts(records, *router);
        for (record, stamp) in records.records() {
            let Some(key) = key(records, stamp, record.key) else { continue };
            let value = match record.value.map(|bytes| value(&*self.codec, records, stamp, bytes)) {
                Some(Some(value)) => Upsert::Put(value),
                Some(None) => continue,
                None => Upsert::Delete,
            };
            put(&mut parts, *router, Event { key, value, stamp });
        }
        Ok(parts)
    }
}

/// Reads values and tombstones with all that is known of their records.
pub(crate) struct RecordSource<K, V> {
    codec: Arc<dyn ValueCodec<V>>,
    key: PhantomData<fn() -> K>,
}

impl<K: Key, V: Value> RecordSource<K, V> {
    pub(crate) fn new(topic: &Topic<K, V>) -> Self {
        Self { codec: Arc::clone(topic.codec()), key: PhantomData }
    }
}

impl<K: Key, V: Value> Source for RecordSource<K, V> {
    type Item = Event<K, ConsumerRecord<V>>;

    fn decode(&self, records: &SourceBatch<'_>, router: &Router) -> Result<Vec<Vec<Self::Item>>> {
        let mut parts = parts(records, *router);
        let header = |(name, value): (&str, &[u8])| Header {
            name: name.to_owned(),
            value: Bytes::copy_from_slice(value),
        };
        for (record, stamp) in records.records() {
            let Some(key) = key(records, stamp, record.key) else { continue };
            let value = match record.value.map(|bytes| value(&*self.codec, records, stamp, bytes)) {
                Some(None) => continue,
                value => value.flatten(),
            };
            let value = ConsumerRecord {
                value,
                timestamp_ms: record.timestamp_ms,
                headers: record.headers().map(header).collect(),
                partition: records.partition(),
                offset: record.offset,
            };
            put(&mut parts, *router, Event { key, value, stamp });
        }
        Ok(parts)
    }
}

fn parts<T>(records: &SourceBatch<'_>, router: Router) -> Vec<Vec<T>> {
    let expected = records.len() / router.shards();
    (0..router.shards()).map(|_| Vec::with_capacity(expected + expected / 8)).collect()
}

fn put<K: Key, V>(parts: &mut [Vec<Event<K, V>>], router: Router, event: Event<K, V>) {
    if let Some(part) = parts.get_mut(router.shard(&event.key)) {
        part.push(event);
    }
}

/// The key of a record, which is refused if it has none.
fn key<K: Key>(records: &SourceBatch<'_>, stamp: Stamp, bytes: Option<&[u8]>) -> Option<K> {
    let Some(bytes) = bytes else {
        records.refuse(stamp, "the record has no key");
        return None;
    };
    let refuse = |error| {
        records.refuse(stamp, format!("the key does not decode as {}: {error}", K::key_schema()));
    };
    K::decode_whole_key(bytes).map_err(refuse).ok()
}

/// The value of a record, which is refused if it does not decode.
fn value<V: Value>(
    codec: &dyn ValueCodec<V>,
    records: &SourceBatch<'_>,
    stamp: Stamp,
    bytes: &[u8],
) -> Option<V> {
    let refuse = |error| {
        if records.awaits(&error) {
            return;
        }
        let (length, id) = (bytes.len(), codec.id());
        records.refuse(stamp, format!("the value ({length} bytes of {id}) does not decode: {error}"));
    };
    codec.decode(bytes).map_err(refuse).ok()
}
