//! Records by hand: written with the codecs of their topic, appended past every producer, read back as they are stored.

use millpond::changelog::backend::read_below;
use millpond::changelog::{Append, Changelog, Producer, Record, partition_for_key};
use millpond::codec::{Key, Value};
use millpond::{ManualClock, Position, Result, Topic, TopicPartition};
use std::sync::Arc;

/// The bytes of a key in a topic that says nothing of its keys.
pub fn key_bytes<K: Key>(key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode_key(&mut bytes);
    bytes
}

/// The bytes of a key of `topic`.
pub fn key_bytes_of<K: Key, V: Value>(topic: &Topic<K, V>, key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    topic.encode_key(key, &mut bytes).unwrap();
    bytes
}

/// The bytes of a value of `topic`.
pub fn value_bytes<K: Key, V: Value>(topic: &Topic<K, V>, value: &V) -> Vec<u8> {
    let mut bytes = Vec::new();
    topic.codec().encode(value, &mut bytes).unwrap();
    bytes
}

/// A record of `topic` at time 0; `None` deletes.
pub fn record<K: Key, V: Value>(topic: &Topic<K, V>, key: &K, value: Option<&V>) -> Record {
    match value {
        Some(value) => Record::new(key_bytes_of(topic, key), value_bytes(topic, value)),
        None => Record::tombstone(key_bytes_of(topic, key)),
    }
}

/// The partition of `topic` that a producer sends `key` to.
pub fn partition_of<K: Key, V: Value>(topic: &Topic<K, V>, key: &K) -> TopicPartition {
    partition(
        topic,
        partition_for_key(&key_bytes_of(topic, key), topic.topic_config().partitions_or_default()),
    )
}

/// A partition of `topic` by its number.
pub fn partition<K: Key, V: Value>(topic: &Topic<K, V>, number: u32) -> TopicPartition {
    TopicPartition::new(Arc::clone(topic.name()), number)
}

/// Appends `records` to `partition`, and waits until they are there.
pub fn append(log: &dyn Changelog, partition: TopicPartition, records: Vec<Record>) -> Result<Position> {
    log.append(vec![Append { partition, records }]).wait_blocking()
}

/// Whatever a partition still has, in the order of its offsets, none of which is left out unless the log may have gaps.
pub fn read(log: &dyn Changelog, partition: &TopicPartition) -> Result<Vec<Record>> {
    let kept = log.offsets(partition)?;
    let mut reader = log.reader(partition, kept.start)?;
    let mut records = Vec::new();
    read_below(&mut *reader, kept.end, |batch| {
        // A batch may begin before what was asked for.
        for record in batch.decode()?.iter().filter(|record| record.offset >= kept.start) {
            let next = kept.start + records.len() as u64;
            assert!(
                record.offset == next || !log.abilities().dense_offsets,
                "{partition}: {next} is missing"
            );
            records.push(record.to_record());
        }
        Ok(())
    })?;
    Ok(records)
}

/// A producer whose clock stands still at 0.
pub fn producer<K: Key, V: Value>(log: Arc<dyn Changelog>, topic: &Topic<K, V>) -> Result<Producer<K, V>> {
    Producer::new(log, topic, Arc::new(ManualClock::new(0)))
}
