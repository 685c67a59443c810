//! Input: the records that a published state includes, for the model that it is compared with.

use super::changelogs::TypedRecord;
use millpond_engine::changelog::{Changelog, Record, read_below};
use millpond_engine::codec::{CodecError, Key, Value};
use millpond_engine::{Error, Position, Result, Topic, TopicPartition};
use serde::Deserialize;
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
    name: Arc<str>,
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
        Self { changelog, position, name: "millpond".into() }
    }

    /// Those that an engine of another [name](millpond_engine::EngineBuilder::name) than the usual one has folded: what it noted of
    /// silent partitions is its own.
    #[must_use]
    pub fn of_engine(mut self, name: &str) -> Self {
        self.name = name.into();
        self
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
        self.placed(topic).into_iter().map(|(_, record)| record).collect()
    }

    /// The records of `topic` with their offsets.
    #[track_caller]
    fn placed<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Vec<(u64, TypedRecord<K, V>)> {
        match read_placed(&*self.changelog, topic, Some(&self.position)) {
            Ok(records) => records,
            Err(error) => panic!("the records of topic `{}` cannot be read: {error}", topic.name()),
        }
    }

    /// As [`records`](Self::records), each with how far its partition had come in time: the greatest timestamp up to it, and of what
    /// was noted of a silent partition before it. By this a record is late or not.
    ///
    /// # Panics
    /// As for [`records`](Self::records).
    #[must_use]
    #[track_caller]
    pub fn records_in_time<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Vec<(TypedRecord<K, V>, i64)> {
        let (mut reached, mut at) = (i64::MIN, (u32::MAX, 0));
        let ticks = self.ticks();
        let timed = self.placed(topic).into_iter().map(|(offset, record)| {
            if record.partition != at.0 {
                (reached, at.0) = (i64::MIN, record.partition);
            }
            at.1 = offset;
            reached = reached.max(record.timestamp_ms).max(ticked(&ticks, topic.name(), at.0, offset));
            (record, reached)
        });
        timed.collect()
    }

    /// How far all partitions of `topic` have come in time: what was due up to here is closed, where nothing but the topic is waited
    /// for. `None` as long as one of them has shown nothing.
    ///
    /// # Panics
    /// As for [`records`](Self::records).
    #[must_use]
    #[track_caller]
    pub fn watermark<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Option<i64> {
        let there = self.changelog.partitions(topic.name()).ok().flatten();
        let count = there.unwrap_or_else(|| topic.topic_config().partitions_or_default());
        let (records, ticks) = (self.records_in_time(topic), self.ticks());
        let reached = (0..count).map(|partition| {
            let of_it = records.iter().rev().find(|(record, _)| record.partition == partition);
            let shown = of_it.map_or(i64::MIN, |(_, reached)| *reached);
            shown.max(ticked(&ticks, topic.name(), partition, u64::MAX))
        });
        reached.min().filter(|reached| *reached > i64::MIN)
    }

    /// What was noted of silent partitions, as far as the state includes it.
    #[track_caller]
    fn ticks(&self) -> Vec<Ticked> {
        let id = TopicPartition::new(format!("{}.time", self.name), 0);
        let taken = self.position.offset(&id);
        if taken == 0 {
            return Vec::new();
        }
        let read = || -> Result<Vec<Ticked>> {
            let mut ticks = Vec::new();
            for record in read_partition(&*self.changelog, &id, None)? {
                let tick: Ticks = serde_json::from_slice(record.value.as_deref().unwrap_or_default())
                    .map_err(|error| Error::corrupt("a tick does not decode").with_source(error))?;
                ticks.extend(tick.partitions.into_iter().filter(|_| tick.number < taken));
            }
            Ok(ticks)
        };
        match read() {
            Ok(ticks) => ticks,
            Err(error) => panic!("what was noted of silent partitions cannot be read: {error}"),
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

/// What is noted of silent partitions, as far as it matters here.
#[derive(Deserialize)]
struct Ticks {
    number: u64,
    partitions: Vec<Ticked>,
}

/// How far a partition was taken on in time, from which offset on.
#[derive(Deserialize)]
struct Ticked {
    topic: String,
    partition: u32,
    offset: u64,
    #[serde(default = "never")]
    time_ms: i64,
}

/// It is only named, for where it stood.
const fn never() -> i64 {
    i64::MIN
}

/// How far `partition` of `topic` was taken on by what is noted of it up to the record at `offset`.
fn ticked(ticks: &[Ticked], topic: &str, partition: u32, offset: u64) -> i64 {
    let of_it = ticks.iter().filter(|tick| *tick.topic == *topic && tick.partition == partition);
    of_it.filter(|tick| tick.offset <= offset).map(|tick| tick.time_ms).max().unwrap_or(i64::MIN)
}

/// All records of `topic`.
pub(super) fn read<K: Key, V: Value>(
    changelog: &dyn Changelog,
    topic: &Topic<K, V>,
) -> Result<Vec<TypedRecord<K, V>>> {
    Ok(read_placed(changelog, topic, None)?.into_iter().map(|(_, record)| record).collect())
}

/// The records of `topic` below `until`, or all of them, with their offsets.
fn read_placed<K: Key, V: Value>(
    changelog: &dyn Changelog,
    topic: &Topic<K, V>,
    until: Option<&Position>,
) -> Result<Vec<(u64, TypedRecord<K, V>)>> {
    let mut records = Vec::new();
    let there = changelog.partitions(topic.name())?;
    for partition in 0..there.unwrap_or_else(|| topic.topic_config().partitions_or_default()) {
        let id = TopicPartition::new(Arc::clone(topic.name()), partition);
        for (offset, record) in read_offsets(changelog, &id, until)? {
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
            records.push((offset, TypedRecord { partition, key, value, timestamp_ms, headers }));
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
    Ok(read_offsets(changelog, id, until)?.into_iter().map(|(_, record)| record).collect())
}

/// As [`read_partition`], with the offsets.
fn read_offsets(
    changelog: &dyn Changelog,
    id: &TopicPartition,
    until: Option<&Position>,
) -> Result<Vec<(u64, Record)>> {
    let kept = changelog.offsets(id)?;
    let end = until.map_or(kept.end, |until| until.offset(id));
    let mut reader = changelog.reader(id, kept.start)?;
    let mut records = Vec::new();
    read_below(&mut *reader, end, |batch| {
        let decoded = batch.decode()?;
        let below = decoded.iter().filter(|record| record.offset < end);
        records.extend(below.map(|record| (record.offset, record.to_record())));
        Ok(())
    })?;
    Ok(records)
}
