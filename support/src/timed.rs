//! Records by time: random ones of several partitions, and what an oracle has to know of those that a log has.
//!
//! Timestamps are out of order, equal and negative, and now and then far ahead; partitions are apart. Values are numbered as they are
//! appended, so that on a log which is one sequence they tell the order.

use crate::own_log::OwnLog;
use crate::random::Random;
use crate::records;
use millpond::changelog::backend::read_below;
use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::codec::{Key, Value};
use millpond::{Position, Result, Topic, TopicPartition};
use std::sync::Arc;

/// How many partitions the topics of such records have.
pub const PARTITIONS: u32 = 3;

/// The header with the number of a record.
const NUMBER: &str = "number";

/// A record as an oracle sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimedRecord {
    /// When it happened.
    pub timestamp_ms: i64,
    /// The greatest timestamp of its partition up to it.
    pub stream_time_ms: i64,
    /// Where it lies.
    pub partition: u32,
    /// The key.
    pub key: u8,
    /// The value, which is absent of a tombstone.
    pub value: Option<u64>,
    /// How many records its [`Appending`] had appended with it. The value is the same, if there is one, and this is the value where
    /// another has appended it.
    pub number: u64,
}

/// Who appends random records.
#[derive(Debug, Clone)]
pub struct Appending {
    /// How far the partitions are, roughly.
    reached: [i64; PARTITIONS as usize],
    number: u64,
    /// Whether the keys of a partition are its own.
    owned_keys: bool,
    /// How much further a record is than the one before at the most.
    pace_ms: u64,
    /// How many keys there are, or each partition has.
    keys: u64,
    /// One of so many is a tombstone, if any is.
    tombstones: Option<u64>,
    /// How much further ahead one of fifty is.
    leap_ms: u64,
}

impl Appending {
    /// Of records whose keys are those of their partition alone, if `owned_keys`, or else of all of them.
    pub fn new(owned_keys: bool, pace_ms: u64) -> Self {
        Self {
            reached: [0, -300, 450],
            number: 0,
            owned_keys,
            pace_ms,
            keys: 4,
            tombstones: None,
            leap_ms: 0,
        }
    }

    /// Has that many keys, for each partition if they are its own, instead of 4.
    #[must_use]
    pub fn with_keys(mut self, keys: u64) -> Self {
        self.keys = keys;
        self
    }

    /// Has one of fifty records be that much further ahead, and with it those that follow it in its partition.
    #[must_use]
    pub fn with_leaps(mut self, leap_ms: u64) -> Self {
        self.leap_ms = leap_ms;
        self
    }

    /// Has one of `every` records be a tombstone.
    #[must_use]
    pub fn with_tombstones(mut self, every: u64) -> Self {
        self.tombstones = Some(every);
        self
    }

    /// Has no record be a tombstone.
    #[must_use]
    pub fn without_tombstones(mut self) -> Self {
        self.tombstones = None;
        self
    }

    /// Creates the topic on `log`.
    pub fn create(log: &dyn Changelog, topic: &Topic<u8, u64>) {
        log.create_topic(topic.name(), &TopicConfig::default().partitions(PARTITIONS)).unwrap();
    }

    /// Appends some records to a partition of `topic`.
    pub fn append(&mut self, log: &dyn Changelog, topic: &Topic<u8, u64>, random: &mut Random) {
        let partition = random.index(PARTITIONS as usize);
        let batch = (0..=random.below(4)).map(|_| {
            self.number += 1;
            let reached = &mut self.reached[partition];
            let leap = if self.leap_ms > 0 && random.below(50) == 0 { self.leap_ms } else { 0 };
            *reached += i64::try_from(random.below(self.pace_ms) + leap).unwrap();
            let behind = if random.below(3) == 0 { random.below(self.pace_ms * 10) } else { 0 };
            let at = *reached - i64::try_from(behind).unwrap();
            let key = if self.owned_keys {
                random.below(self.keys) * 3 + partition as u64
            } else {
                random.below(self.keys)
            };
            let is_put = self.tombstones.is_none_or(|every| random.below(every) > 0);
            let value = is_put.then_some(self.number);
            let record = records::record(topic, &u8::try_from(key).unwrap(), value.as_ref());
            record.at(at).with_header(NUMBER, self.number.to_be_bytes().to_vec())
        });
        let batch = batch.collect();
        let id = records::partition(topic, u32::try_from(partition).unwrap());
        records::append(log, id, batch).unwrap();
    }
}

/// A log with `topic` on it: by chance one that is one sequence, or one with gaps.
pub fn any_log(random: &mut Random, topic: &Topic<u8, u64>) -> Arc<dyn Changelog> {
    let log: Arc<dyn Changelog> = if random.below(2) == 0 {
        Arc::new(MemoryChangelog::new())
    } else {
        OwnLog::with_gaps(random.number())
    };
    Appending::create(&*log, topic);
    log
}

/// What was told to the first partition of `topic`, each with when it happened.
pub fn told<K: Key, V: Value>(log: &dyn Changelog, topic: &Topic<K, V>) -> Result<Vec<(i64, K, V)>> {
    let records = records::read(log, &records::partition(topic, 0))?;
    let told = records.iter().map(|record| {
        let key = K::decode_whole_key(record.key.as_ref().unwrap()).unwrap();
        (record.timestamp_ms, key, topic.codec().decode(record.value.as_ref().unwrap()).unwrap())
    });
    Ok(told.collect())
}

/// All records of `topic`, one partition after the other, and the least of what these have come to.
pub fn read(log: &dyn Changelog, topic: &Topic<u8, u64>) -> Result<(Vec<TimedRecord>, i64)> {
    read_until(log, topic, |id| Ok(log.offsets(id)?.end))
}

/// As [`read`], of the records that `position` has behind it.
pub fn read_at(
    log: &dyn Changelog,
    topic: &Topic<u8, u64>,
    position: &Position,
) -> Result<(Vec<TimedRecord>, i64)> {
    read_until(log, topic, |id| Ok(position.offset(id)))
}

fn read_until(
    log: &dyn Changelog,
    topic: &Topic<u8, u64>,
    end: impl Fn(&TopicPartition) -> Result<u64>,
) -> Result<(Vec<TimedRecord>, i64)> {
    let (mut found, mut watermark) = (Vec::new(), i64::MAX);
    for partition in 0..PARTITIONS {
        let id = records::partition(topic, partition);
        let (start, end) = (log.offsets(&id)?.start, end(&id)?);
        let mut stream_time_ms = i64::MIN;
        if start < end {
            let mut reader = log.reader(&id, start)?;
            read_below(&mut *reader, end, |batch| {
                for record in batch.decode()?.iter().filter(|record| record.offset < end) {
                    stream_time_ms = stream_time_ms.max(record.timestamp_ms);
                    let (timestamp_ms, key) = (record.timestamp_ms, record.key.unwrap()[0]);
                    let value = record.value.map(|value| topic.codec().decode(value).unwrap());
                    let number =
                        record.headers().find_map(|(name, number)| number.filter(|_| name == NUMBER));
                    let number = number.map(|number| u64::from_be_bytes(number.try_into().unwrap()));
                    // Others append records by hand, which have a value.
                    let number = number.or(value).unwrap();
                    found.push(TimedRecord { timestamp_ms, stream_time_ms, partition, key, value, number });
                }
                Ok(())
            })?;
        }
        watermark = watermark.min(stream_time_ms);
    }
    Ok((found, watermark))
}
