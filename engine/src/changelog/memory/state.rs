//! What a changelog in memory holds, behind its lock.

use crate::changelog::batch::BatchEncoder;
use crate::changelog::epochs::Epochs;
use crate::changelog::names::{Leases, family};
use crate::changelog::sequence::LastAppends;
use crate::changelog::topic_type::no_topic;
use crate::changelog::{
    Append, Appended, DEFAULT_BATCH_BYTES, EpochMark, NameInUse, ReadableOffsets, StoredBatch, Timestamps,
    TopicConfig, TopicType, retention,
};
use crate::{Error, Position, Result, TopicPartition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    topics: BTreeMap<Arc<str>, StoredTopic>,
    pub(super) epochs: Epochs,
    /// How many marks of each producer a crash would leave.
    durable_marks: BTreeMap<String, u64>,
    holds: BTreeMap<String, Position>,
    pub(super) owners: BTreeMap<String, String>,
    /// The sequence number of the next record.
    next_sequence: u64,
    latest: LastAppends<TopicPartition>,
}

#[derive(Debug, Clone)]
struct StoredTopic {
    config: TopicConfig,
    holds: Option<TopicType>,
    partitions: Vec<StoredPartition>,
}

impl StoredTopic {
    /// How many partitions it has.
    fn count(&self) -> u32 {
        self.config.partitions_or_default()
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct StoredPartition {
    batches: VecDeque<StoredBatch>,
    /// When each of them was appended.
    appended_ms: VecDeque<i64>,
    start: u64,
    end: u64,
    /// The greatest timestamp below the start.
    pub(super) dropped_ms: Option<i64>,
    /// Where a crash would leave the end.
    durable_end: u64,
}

impl Contents {
    pub(super) fn create_topic(&mut self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.ensure_topic(topic, config)?;
        if let Some(there) = self.topics.get_mut(topic) {
            there.config = config.settled(Some(&there.config));
        }
        Ok(())
    }

    pub(super) fn ensure_topic(&mut self, topic: &str, config: &TopicConfig) -> Result<()> {
        if let Some(there) = self.topics.get(topic) {
            config.check_found(topic, there.count())?;
            return config.check_timestamps(topic, there.config.timestamps.unwrap_or(Timestamps::Created));
        }
        let config = config.settled(None);
        let partitions = vec![StoredPartition::default(); config.partitions_or_default() as usize];
        self.topics.insert(topic.into(), StoredTopic { config, holds: None, partitions });
        Ok(())
    }

    pub(super) fn topic_config(&self, topic: &str) -> Option<TopicConfig> {
        self.topics.get(topic).map(|topic| topic.config.clone())
    }

    pub(super) fn topic_bytes(&self, topic: &str) -> Option<u64> {
        let topic = self.topics.get(topic)?;
        Some(topic.partitions.iter().map(StoredPartition::stored_bytes).sum())
    }

    pub(super) fn topic_type(&self, topic: &str) -> Option<TopicType> {
        self.topics.get(topic)?.holds.clone()
    }

    pub(super) fn declare_type(&mut self, topic: &str, declared: &TopicType) -> Result<()> {
        let Some(there) = self.topics.get_mut(topic) else { return Err(no_topic(topic)) };
        let changed = TopicType::declare(there.holds.as_ref(), declared);
        if let Some(changed) = changed.map_err(|error| error.context(format!("topic `{topic}`")))? {
            there.holds = Some(changed);
        }
        Ok(())
    }

    pub(super) fn topics(&self) -> Vec<(Arc<str>, u32)> {
        self.topics.iter().map(|(name, topic)| (name.clone(), topic.count())).collect()
    }

    pub(super) fn partitions(&self, topic: &str) -> Option<u32> {
        self.topics.get(topic).map(StoredTopic::count)
    }

    pub(super) fn partition(&self, wanted: &TopicPartition) -> Result<&StoredPartition> {
        let topic = self.topics.get(&wanted.topic);
        topic.and_then(|topic| topic.partitions.get(wanted.partition as usize)).ok_or_else(|| unknown(wanted))
    }

    fn partition_mut(&mut self, wanted: &TopicPartition) -> Result<&mut StoredPartition> {
        let topic = self.topics.get_mut(&wanted.topic);
        topic
            .and_then(|topic| topic.partitions.get_mut(wanted.partition as usize))
            .ok_or_else(|| unknown(wanted))
    }

    /// All or nothing: whatever can be refused is refused, and every frame is built, before the first change.
    pub(super) fn append(&mut self, appends: &[Append], now_ms: i64) -> Result<Position> {
        let mut after = Position::new();
        let mut batches = Vec::new();
        let mut sequence = self.next_sequence;
        for append in appends {
            let end = self.partition(&append.partition)?.end;
            let mut offset = after.offset(&append.partition).max(end);
            let dates =
                self.topics.get(&append.partition.topic).is_some_and(|topic| topic.config.dates_records());
            if dates {
                let mut append = append.clone();
                append.date(now_ms);
                batches.extend(encode(&append, &mut offset, &mut sequence)?);
            } else {
                batches.extend(encode(append, &mut offset, &mut sequence)?);
            }
            after.set(append.partition.clone(), offset);
        }
        for batch in batches {
            let id = batch.partition().clone();
            let last = batch.last_sequence();
            let partition = self.partition_mut(&id)?;
            partition.end = batch.end_offset();
            partition.batches.push_back(batch);
            partition.appended_ms.push_back(now_ms);
            if let Some(last) = last {
                self.latest.put(id, last);
            }
        }
        self.next_sequence = sequence;
        Ok(after)
    }

    pub(super) fn appended(&self, since: u64) -> Appended {
        Appended { end: self.next_sequence, partitions: self.latest.since(since).cloned().collect() }
    }

    pub(super) fn append_epoch(
        &mut self,
        producer: &str,
        mark: &EpochMark,
        appends: &[Append],
        now_ms: i64,
    ) -> Result<bool> {
        if !self.epochs.is_new(producer, mark)? {
            return Ok(false);
        }
        self.append(appends, now_ms)?;
        self.epochs.push(producer, mark.clone());
        Ok(true)
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.topics.values().flat_map(|topic| &topic.partitions).map(StoredPartition::stored_bytes).sum()
    }

    pub(super) fn hold(&mut self, consumer: &str, position: &Position) {
        if position.iter().next().is_some() {
            self.holds.insert(consumer.into(), position.clone());
        } else {
            self.holds.remove(consumer);
        }
        let forgettable = self.epochs.forgettable(consumer, position);
        self.epochs.forget(consumer, forgettable.end);
    }

    /// Every name that something is kept under.
    pub(super) fn names(&self, leases: &Leases) -> Vec<NameInUse> {
        let known = self.holds.keys().map(String::as_str).chain(self.epochs.producers());
        let known: BTreeSet<_> = known.chain(self.owners.keys().map(String::as_str)).collect();
        let name = |name: &str| {
            let marks = self.epochs.kept(name);
            NameInUse {
                name: name.to_owned(),
                hold: self.holds.get(name).filter(|hold| hold.iter().next().is_some()).cloned(),
                marks: marks.end - marks.start,
                owner: self.owners.get(name).cloned(),
                leased: leases.has(name),
            }
        };
        known.into_iter().map(name).collect()
    }

    pub(super) fn release(&mut self, name: &str) {
        for name in family(name) {
            self.holds.remove(&name);
            self.owners.remove(&name);
            self.epochs.release(&name);
            self.durable_marks.remove(&name);
        }
    }

    pub(super) fn trim(&mut self, now_ms: i64) -> u64 {
        let mut freed = 0;
        for (name, topic) in &mut self.topics {
            let mut stored: u64 = topic.partitions.iter().map(StoredPartition::stored_bytes).sum();
            for (number, partition) in (0..).zip(&mut topic.partitions) {
                let held_from = retention::held_from(&self.holds, &TopicPartition::new(name.clone(), number));
                let before = stored;
                partition.trim(&topic.config, held_from, now_ms, &mut stored);
                freed += before - stored;
            }
        }
        freed
    }

    pub(super) fn sync(&mut self) {
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            partition.durable_end = partition.end;
        }
        for producer in self.epochs.producers() {
            self.durable_marks.insert(producer.into(), self.epochs.next_number(producer));
        }
    }

    pub(super) fn after_crash(&self) -> Self {
        let mut left = self.clone();
        for partition in left.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            partition.end = partition.durable_end;
            while partition.batches.back().is_some_and(|last| last.end_offset() > partition.end) {
                partition.batches.pop_back();
                partition.appended_ms.pop_back();
            }
        }
        for producer in self.epochs.producers() {
            left.epochs.truncate(producer, self.durable_marks.get(producer).copied().unwrap_or(0));
        }
        left
    }
}

impl StoredPartition {
    pub(super) fn range(&self) -> ReadableOffsets {
        ReadableOffsets(self.start..self.end)
    }

    pub(super) fn read(
        &self,
        name: &TopicPartition,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Vec<StoredBatch>> {
        self.range().check(name, offset)?;
        let first = self.batches.partition_point(|batch| batch.end_offset() <= offset);
        let mut left = max_bytes;
        let wanted = self.batches.iter().skip(first).take_while(|batch| {
            let wanted = left > 0;
            left = left.saturating_sub(batch.stored_bytes());
            wanted
        });
        let mut batches: Vec<_> = wanted.cloned().collect();
        if batches.is_empty() {
            batches.extend(self.batches.get(first).cloned());
        }
        Ok(batches)
    }

    fn stored_bytes(&self) -> u64 {
        self.batches.iter().map(|batch| batch.stored_bytes() as u64).sum()
    }

    fn trim(&mut self, config: &TopicConfig, held_from: u64, now_ms: i64, topic_bytes: &mut u64) {
        while let Some(first) = self.batches.front() {
            let droppable = first.end_offset() <= held_from.min(self.durable_end);
            // One that is dated later than it was appended does not live longer for that.
            let appended_ms = self.appended_ms.front().copied().unwrap_or(i64::MAX);
            let newest_ms = first.max_timestamp_ms().min(appended_ms);
            if !droppable || !retention::is_over(config, newest_ms, now_ms, *topic_bytes) {
                return;
            }
            *topic_bytes -= first.stored_bytes() as u64;
            self.start = first.end_offset();
            self.dropped_ms = self.dropped_ms.max(Some(first.max_timestamp_ms()));
            self.batches.pop_front();
            self.appended_ms.pop_front();
        }
    }
}

/// The batches of one append, the first one at `offset` and `sequence`, which are moved past the last one.
fn encode(append: &Append, offset: &mut u64, sequence: &mut u64) -> Result<Vec<StoredBatch>> {
    let mut batches = Vec::new();
    let mut encoder = BatchEncoder::default();
    let mut cut = |encoder: &mut BatchEncoder| -> Result<()> {
        if encoder.records() > 0 {
            let batch = std::mem::take(encoder).finish(append.partition.clone(), *offset)?;
            *offset = batch.end_offset();
            batches.push(batch);
        }
        Ok(())
    };
    for record in &append.records {
        record.check()?;
        if !encoder.has_room_for(record, DEFAULT_BATCH_BYTES) {
            cut(&mut encoder)?;
        }
        encoder.push(record, Some(*sequence));
        *sequence += 1;
    }
    cut(&mut encoder)?;
    Ok(batches)
}

fn unknown(partition: &TopicPartition) -> Error {
    Error::invalid(format!("there is no partition {partition}; create its topic first"))
}
