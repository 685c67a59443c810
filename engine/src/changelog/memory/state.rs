//! What a changelog in memory holds, behind its lock.

use crate::changelog::batch::BatchEncoder;
use crate::changelog::epochs::Epochs;
use crate::changelog::topic_type::no_topic;
use crate::changelog::{
    Append, DEFAULT_BATCH_BYTES, EpochMark, Readable, StoredBatch, TopicConfig, TopicType, retention,
};
use crate::{Error, Position, Result, TopicPartition};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    topics: BTreeMap<Arc<str>, Topic>,
    pub(super) epochs: Epochs,
    /// How many marks of each producer a crash would leave.
    durable_marks: BTreeMap<String, u64>,
    holds: BTreeMap<String, Position>,
}

#[derive(Debug, Clone)]
struct Topic {
    config: TopicConfig,
    holds: Option<TopicType>,
    partitions: Vec<Partition>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Partition {
    batches: VecDeque<StoredBatch>,
    start: u64,
    end: u64,
    /// Where a crash would leave the end.
    durable_end: u64,
}

impl State {
    pub(super) fn create_topic(&mut self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.ensure_topic(topic, config)?;
        if let Some(there) = self.topics.get_mut(topic) {
            there.config = config.clone();
        }
        Ok(())
    }

    pub(super) fn ensure_topic(&mut self, topic: &str, config: &TopicConfig) -> Result<()> {
        if let Some(there) = self.topics.get(topic) {
            return there.config.check_same_partitions(topic, config);
        }
        let partitions = vec![Partition::default(); config.partitions as usize];
        self.topics.insert(topic.into(), Topic { config: config.clone(), holds: None, partitions });
        Ok(())
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
        self.topics.iter().map(|(name, topic)| (name.clone(), topic.config.partitions)).collect()
    }

    pub(super) fn partition(&self, wanted: &TopicPartition) -> Result<&Partition> {
        let topic = self.topics.get(&wanted.topic);
        topic.and_then(|topic| topic.partitions.get(wanted.partition as usize)).ok_or_else(|| unknown(wanted))
    }

    fn partition_mut(&mut self, wanted: &TopicPartition) -> Result<&mut Partition> {
        let topic = self.topics.get_mut(&wanted.topic);
        topic
            .and_then(|topic| topic.partitions.get_mut(wanted.partition as usize))
            .ok_or_else(|| unknown(wanted))
    }

    /// All or nothing: whatever can be refused is refused, and every frame is built, before the first change.
    pub(super) fn append(&mut self, appends: &[Append]) -> Result<Position> {
        let mut after = Position::new();
        let mut batches = Vec::new();
        for append in appends {
            let end = self.partition(&append.partition)?.end;
            let mut offset = after.offset(&append.partition).max(end);
            batches.extend(encode(append, &mut offset)?);
            after.set(append.partition.clone(), offset);
        }
        for batch in batches {
            let partition = self.partition_mut(&batch.partition().clone())?;
            partition.end = batch.end_offset();
            partition.batches.push_back(batch);
        }
        Ok(after)
    }

    pub(super) fn append_epoch(
        &mut self,
        producer: &str,
        mark: &EpochMark,
        appends: &[Append],
    ) -> Result<bool> {
        if !self.epochs.is_new(producer, mark)? {
            return Ok(false);
        }
        self.append(appends)?;
        self.epochs.push(producer, mark.clone());
        Ok(true)
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.topics.values().flat_map(|topic| &topic.partitions).map(Partition::stored_bytes).sum()
    }

    pub(super) fn hold(&mut self, consumer: &str, position: &Position) {
        self.holds.insert(consumer.into(), position.clone());
        let forgettable = self.epochs.forgettable(consumer, position);
        self.epochs.forget(consumer, forgettable.end);
    }

    pub(super) fn trim(&mut self, now_ms: i64) -> u64 {
        let mut freed = 0;
        for (name, topic) in &mut self.topics {
            let mut stored: u64 = topic.partitions.iter().map(Partition::stored_bytes).sum();
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
            }
        }
        for producer in self.epochs.producers() {
            left.epochs.truncate(producer, self.durable_marks.get(producer).copied().unwrap_or(0));
        }
        left
    }
}

impl Partition {
    pub(super) fn range(&self) -> Readable {
        Readable(self.start..self.end)
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
            if !droppable || !retention::is_over(config, first.max_timestamp_ms(), now_ms, *topic_bytes) {
                return;
            }
            *topic_bytes -= first.stored_bytes() as u64;
            self.start = first.end_offset();
            self.batches.pop_front();
        }
    }
}

/// The batches of one append, the first one at `offset`, which is moved past the last one.
fn encode(append: &Append, offset: &mut u64) -> Result<Vec<StoredBatch>> {
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
        encoder.push(record);
    }
    cut(&mut encoder)?;
    Ok(batches)
}

fn unknown(partition: &TopicPartition) -> Error {
    Error::invalid(format!("there is no partition {partition}; create its topic first"))
}
