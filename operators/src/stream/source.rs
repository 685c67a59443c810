//! Reading a topic as a stream: `stream`, `upserts` and `records` of the [`GraphBuilder`](crate::GraphBuilder).
//!
//! Tombstones: passed over by `stream`, [`Upsert::Delete`] in `upserts`, a value of `None` in `records`. Absent and repeated keys have no meaning here:
//! every record is put out, in offset order within a partition. A record without a key gets one where the topic says how. Late
//! timestamps change nothing. No input, no output. A key or value that does not decode, and a key that is not there, are a
//! failure of their record, for the failure policy to handle.

use super::record::ConsumerRecord;
use crate::upsert::Upsert;
use millpond_engine::changelog::RecordRef;
use millpond_engine::codec::{CodecError, Key, Value};
use millpond_engine::dataflow::{Event, Router, Source, SourceBatch, Stamp};
use millpond_engine::{Result, Topic};
use std::marker::PhantomData;

/// What a record is read as.
pub(crate) trait ReadAs<V>: Send + Sync + 'static {
    /// The value of its event.
    type Value: Value;

    /// Whether it is something without a value; if not, nobody looks at its key either.
    const TOMBSTONES: bool;

    /// What `record` becomes, of a partition with this number; `timestamp_ms` is when it happened. `None` is no event.
    fn read(
        record: &RecordRef<'_>,
        value: Option<V>,
        partition: u32,
        timestamp_ms: i64,
    ) -> Option<Self::Value>;
}

/// Values, without tombstones.
pub(crate) struct AsValues;

impl<V: Value> ReadAs<V> for AsValues {
    type Value = V;
    const TOMBSTONES: bool = false;

    #[inline]
    fn read(_: &RecordRef<'_>, value: Option<V>, _: u32, _: i64) -> Option<V> {
        value
    }
}

/// Values and tombstones.
pub(crate) struct AsUpserts;

impl<V: Value> ReadAs<V> for AsUpserts {
    type Value = Upsert<V>;
    const TOMBSTONES: bool = true;

    #[inline]
    fn read(_: &RecordRef<'_>, value: Option<V>, _: u32, _: i64) -> Option<Upsert<V>> {
        Some(value.into())
    }
}

/// Values and tombstones with all that is known of their records.
pub(crate) struct AsRecords;

impl<V: Value> ReadAs<V> for AsRecords {
    type Value = ConsumerRecord<V>;
    const TOMBSTONES: bool = true;

    fn read(
        record: &RecordRef<'_>,
        value: Option<V>,
        partition: u32,
        timestamp_ms: i64,
    ) -> Option<ConsumerRecord<V>> {
        let headers = record.to_headers();
        Some(ConsumerRecord { value, timestamp_ms, headers, partition, offset: record.offset })
    }
}

/// Reads a topic as `R` says.
pub(crate) struct TopicSource<K, V, R> {
    topic: Topic<K, V>,
    read: PhantomData<fn() -> R>,
}

impl<K: Key, V: Value, R: ReadAs<V>> TopicSource<K, V, R> {
    pub(crate) fn new(topic: &Topic<K, V>) -> Self {
        Self { topic: topic.clone(), read: PhantomData }
    }

    /// Takes how keys are decoded as a parameter, so that the common way is compiled into the loop.
    #[inline]
    fn decode_by(
        &self,
        records: &SourceBatch<'_>,
        router: Router,
        decode_key: impl Fn(&[u8]) -> Result<K, CodecError>,
    ) -> Vec<Vec<Event<K, R::Value>>> {
        let expected = records.len() / router.shards();
        let mut parts: Vec<Vec<_>> =
            (0..router.shards()).map(|_| Vec::with_capacity(expected + expected / 8)).collect();
        for (record, mut stamp) in records.records() {
            if record.value.is_none() && !R::TOMBSTONES {
                records.date(stamp, stamp.timestamp_ms);
                continue;
            }
            let key = match record.key.map(&decode_key) {
                Some(Err(error)) => {
                    self.refuse_key(records, stamp, &record, &error);
                    continue;
                }
                key => key.and_then(Result::ok),
            };
            let value = match record.value.map(|bytes| self.value(records, stamp, bytes)) {
                Some(None) => continue,
                value => value.flatten(),
            };
            let Some(key) = key.or_else(|| self.made_key(records, stamp, value.as_ref())) else { continue };
            let happened = |value| self.topic.timestamp_ms(&key, value, stamp.timestamp_ms);
            stamp = records.date(stamp, value.as_ref().map_or(stamp.timestamp_ms, happened));
            let Some(value) = R::read(&record, value, records.partition(), stamp.timestamp_ms) else {
                continue;
            };
            if let Some(part) = parts.get_mut(router.shard(&key)) {
                part.push(Event { key, value, stamp });
            }
        }
        parts
    }

    /// The value of a record, which is refused if it does not decode.
    #[inline]
    fn value(&self, records: &SourceBatch<'_>, stamp: Stamp, bytes: &[u8]) -> Option<V> {
        let codec = self.topic.codec();
        let refuse = |error| {
            if records.awaits(&error) {
                return;
            }
            let (length, id) = (bytes.len(), codec.id());
            records.refuse(stamp, format!("the value ({length} bytes of {id}) does not decode: {error}"));
        };
        codec.decode(bytes).map_err(refuse).ok()
    }

    /// The key of a record that has none, which is refused if there is nothing to make one of.
    fn made_key(&self, records: &SourceBatch<'_>, stamp: Stamp, value: Option<&V>) -> Option<K> {
        let made = value.and_then(|value| self.topic.made_key(value));
        if made.is_none() {
            let reason = if value.is_none() {
                "the record has neither a key nor a value, so that nothing says what it deletes"
            } else {
                "the record has no key; make one of its value (`Topic::keyed_by`)"
            };
            records.refuse(stamp, reason);
        }
        made
    }

    #[cold]
    fn refuse_key(
        &self,
        records: &SourceBatch<'_>,
        stamp: Stamp,
        record: &RecordRef<'_>,
        error: &CodecError,
    ) {
        if records.awaits(error) {
            return;
        }
        let bytes = record.key.unwrap_or_default();
        let reason = match self.topic.key_codec() {
            None => format!("the key does not decode as {}: {error}", K::key_schema()),
            Some(codec) => {
                format!("the key ({} bytes of {}) does not decode: {error}", bytes.len(), codec.id())
            }
        };
        records.refuse(stamp, reason);
    }
}

impl<K: Key, V: Value, R: ReadAs<V>> Source for TopicSource<K, V, R> {
    type Item = Event<K, R::Value>;

    fn decode(&self, records: &SourceBatch<'_>, router: &Router) -> Result<Vec<Vec<Self::Item>>> {
        Ok(match self.topic.key_codec() {
            None => self.decode_by(records, *router, K::decode_whole_key),
            Some(codec) => self.decode_by(records, *router, |bytes| codec.decode(bytes)),
        })
    }
}
