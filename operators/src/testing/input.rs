//! Input: the records that a published state includes, for the model that it is compared with.

use super::changelogs::TypedRecord;
use millpond_engine::changelog::{Changelog, Record, read_below};
use millpond_engine::codec::{CodecError, Key, Value};
use millpond_engine::{Error, Position, Result, Topic, TopicPartition};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Exactly the records below a [`Position`].
///
/// # Examples
/// A reference model folds them with nothing but maps:
/// ```
/// use millpond::Topic;
/// use millpond::testing::Input;
/// use std::collections::BTreeMap;
///
/// fn spent(input: &Input, orders: &Topic<String, u64>) -> BTreeMap<String, u64> {
///     let mut spent = BTreeMap::new();
///     for order in input.records(orders) {
///         *spent.entry(order.key).or_default() += order.value.unwrap_or(0);
///     }
///     spent
/// }
/// ```
#[derive(Clone)]
pub struct Input {
    changelog: Arc<dyn Changelog>,
    position: Position,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Input {
    /// The records of `changelog` below `position`.
    #[must_use]
    pub fn new(changelog: Arc<dyn Changelog>, position: Position) -> Self {
        Self { changelog, position }
    }

    /// Where it ends.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The records of `topic`, partition by partition and in offset order, tombstones included.
    ///
    /// # Panics
    /// If a record does not decode, or the changelog has no such topic.
    #[must_use]
    #[track_caller]
    pub fn records<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Vec<TypedRecord<K, V>> {
        match read(&*self.changelog, topic, Some(&self.position)) {
            Ok(records) => records,
            Err(error) => panic!("the records of topic `{}` cannot be read: {error}", topic.name()),
        }
    }

    /// Of each key of `topic` the last value; keys whose last record is a tombstone are absent. This is what
    /// [`GraphBuilder::table`](crate::GraphBuilder::table) holds.
    ///
    /// # Panics
    /// As for [`records`](Self::records).
    #[must_use]
    #[track_caller]
    pub fn latest<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> BTreeMap<K, V> {
        let mut latest = BTreeMap::new();
        for record in self.records(topic) {
            match record.value {
                Some(value) => latest.insert(record.key, value),
                None => latest.remove(&record.key),
            };
        }
        latest
    }
}

/// The records of `topic` below `until`, or all of them.
pub(super) fn read<K: Key, V: Value>(
    changelog: &dyn Changelog,
    topic: &Topic<K, V>,
    until: Option<&Position>,
) -> Result<Vec<TypedRecord<K, V>>> {
    let mut records = Vec::new();
    let there = changelog.partitions(topic.name())?;
    for partition in 0..there.unwrap_or_else(|| topic.topic_config().partitions_or_default()) {
        let id = TopicPartition::new(Arc::clone(topic.name()), partition);
        for record in read_partition(changelog, &id, until)? {
            let damaged = |error| {
                Error::corrupt(format!("a record of {id} does not decode: {record:?}")).with_source(error)
            };
            let value =
                record.value.as_deref().map(|bytes| fetching(|| topic.codec().decode(bytes))).transpose()?;
            let value = value.transpose().map_err(damaged)?;
            let key = match &record.key {
                Some(key) => Some(fetching(|| topic.decode_key(key))?.map_err(damaged)?),
                None => value.as_ref().and_then(|value| topic.made_key(value)),
            };
            let key =
                key.ok_or_else(|| Error::corrupt(format!("a record of {id} has no key: {record:?}")))?;
            let own_ms = record.timestamp_ms;
            let timestamp_ms = value.as_ref().map_or(own_ms, |value| topic.timestamp_ms(&key, value, own_ms));
            let headers = record.headers.clone();
            records.push(TypedRecord { partition, key, value, timestamp_ms, headers });
        }
    }
    Ok(records)
}

/// What `decode` makes; what its codec awaits is fetched.
fn fetching<T>(decode: impl Fn() -> Result<T, CodecError>) -> Result<Result<T, CodecError>> {
    let mut decoded = decode();
    while let Some(awaited) = decoded.as_ref().err().and_then(CodecError::awaited) {
        awaited.fetch()?;
        decoded = decode();
    }
    Ok(decoded)
}

/// The records of one partition below `until`, or all of them, as they are stored.
pub(super) fn read_partition(
    changelog: &dyn Changelog,
    id: &TopicPartition,
    until: Option<&Position>,
) -> Result<Vec<Record>> {
    let kept = changelog.offsets(id)?;
    let end = until.map_or(kept.end, |until| until.offset(id));
    let mut reader = changelog.reader(id, kept.start)?;
    let mut records = Vec::new();
    read_below(&mut *reader, end, |batch| {
        let decoded = batch.decode()?;
        records.extend(decoded.iter().filter(|record| record.offset < end).map(|record| record.to_record()));
        Ok(())
    })?;
    Ok(records)
}
