//! What is where: topics, and for each partition the segments that hold its records. Kept in memory.
//!
//! Invariant: the pieces of a partition are contiguous, `start` lies in or before the first one and `end` is the
//! end of the last one. Their segments need not ascend: what is left of old segments is moved to newer ones. The writer alone changes the index, always after the change was stored.

use super::layout::PartitionSlot;
use crate::changelog::frame::FrameHeader;
use crate::changelog::sequence::LastAppends;
use crate::changelog::topic_type::no_topic;
use crate::changelog::{Appended, ReadableOffsets, Timestamps, TopicConfig, TopicType};
use crate::{Error, Result, TopicPartition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// The records of one partition that lie in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) segment: u64,
    pub(super) offsets: Range<u64>,
    pub(super) stored_bytes: u64,
    pub(super) max_timestamp_ms: i64,
    /// The place of the last record in the sequence of the log; `None` for records of 0.1, which had none.
    pub(super) last_sequence: Option<u64>,
    /// When the last record was appended, by the clock of the log; `None` for records of 0.1.
    pub(super) appended_ms: Option<i64>,
}

#[derive(Debug, Clone)]
pub(super) struct IndexedTopic {
    pub(super) id: u32,
    pub(super) config: TopicConfig,
    pub(super) holds: Option<TopicType>,
}

/// What becomes of the retention of a topic that is there already when it is to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfThere {
    Keep,
    Update,
}

#[derive(Debug, Clone)]
pub(super) struct IndexedPartition {
    pub(super) name: TopicPartition,
    pub(super) start: u64,
    pub(super) end: u64,
    /// The greatest timestamp below the start, if there was a record there and it was noted.
    pub(super) dropped_ms: Option<i64>,
    pub(super) pieces: VecDeque<Extent>,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    topics: BTreeMap<Arc<str>, IndexedTopic>,
    partitions: BTreeMap<PartitionSlot, IndexedPartition>,
    latest: LastAppends<PartitionSlot>,
    /// What can be read of each segment, and of each topic, in stored bytes.
    live_bytes: BTreeMap<u64, u64>,
    topic_bytes: BTreeMap<u32, u64>,
    /// The sequence number after the last record that can be read.
    pub(super) end_sequence: u64,
}

impl Index {
    pub(super) fn topics(&self) -> impl Iterator<Item = (&Arc<str>, &IndexedTopic)> {
        self.topics.iter()
    }

    pub(super) fn topic(&self, name: &str) -> Option<&IndexedTopic> {
        self.topics.get(name)
    }

    /// Whether the topic is there as wanted, so that nothing needs to be written.
    ///
    /// # Errors
    /// `Invalid` if it is there with another number of partitions.
    pub(super) fn has_topic(&self, name: &str, wanted: &TopicConfig, if_there: IfThere) -> Result<bool> {
        let Some(IndexedTopic { config, .. }) = self.topic(name) else { return Ok(false) };
        wanted.check_found(name, config.partitions_or_default())?;
        wanted.check_timestamps(name, config.timestamps.unwrap_or(Timestamps::Created))?;
        Ok(if_there == IfThere::Keep || *config == wanted.settled(Some(config)))
    }

    pub(super) fn next_topic_id(&self) -> u32 {
        self.topics.values().map(|topic| topic.id + 1).max().unwrap_or(0)
    }

    /// Adds a topic, or replaces its configuration.
    pub(super) fn put_topic(&mut self, name: &str, id: u32, config: TopicConfig) {
        let name: Arc<str> = name.into();
        for partition in 0..config.partitions_or_default() {
            let name = TopicPartition::new(name.clone(), partition);
            let empty =
                IndexedPartition { name, start: 0, end: 0, dropped_ms: None, pieces: VecDeque::new() };
            self.partitions.entry(PartitionSlot { topic: id, partition }).or_insert(empty);
        }
        let holds = self.topics.get(&name).and_then(|topic| topic.holds.clone());
        self.topics.insert(name, IndexedTopic { id, config, holds });
    }

    /// Remembers what a topic holds. `false` if there is no such topic.
    pub(super) fn put_type(&mut self, id: u32, holds: TopicType) -> bool {
        let topic = self.topics.values_mut().find(|topic| topic.id == id);
        topic.map(|topic| topic.holds = Some(holds)).is_some()
    }

    /// What is to be stored with the topic's id once it is declared to hold `declared`, if anything is.
    ///
    /// # Errors
    /// `Invalid` if it is not there, or holds something else.
    pub(super) fn declare(&self, name: &str, declared: &TopicType) -> Result<Option<(u32, TopicType)>> {
        let topic = self.topic(name).ok_or_else(|| no_topic(name))?;
        let changed = TopicType::declare(topic.holds.as_ref(), declared)
            .map_err(|error| error.context(format!("topic `{name}`")))?;
        Ok(changed.map(|changed| (topic.id, changed)))
    }

    pub(super) fn slot(&self, wanted: &TopicPartition) -> Result<PartitionSlot> {
        let topic = self.topics.get(&wanted.topic);
        let topic = topic.filter(|topic| wanted.partition < topic.config.partitions_or_default());
        let topic = topic.ok_or_else(|| {
            Error::invalid(format!("there is no partition {wanted}; create its topic first"))
        })?;
        Ok(PartitionSlot { topic: topic.id, partition: wanted.partition })
    }

    pub(super) fn partition(&self, slot: PartitionSlot) -> Result<&IndexedPartition> {
        self.partitions.get(&slot).ok_or_else(|| Error::internal(format!("{slot:?} is not indexed")))
    }

    pub(super) fn partition_mut(&mut self, slot: PartitionSlot) -> Option<&mut IndexedPartition> {
        self.partitions.get_mut(&slot)
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = (PartitionSlot, &IndexedPartition)> {
        self.partitions.iter().map(|(&slot, partition)| (slot, partition))
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.topic_bytes.values().sum()
    }

    /// The segments with records that can be read, and how many bytes they take.
    pub(super) fn live_bytes(&self) -> &BTreeMap<u64, u64> {
        &self.live_bytes
    }

    /// How many bytes the records of a topic take.
    pub(super) fn topic_bytes(&self, topic: u32) -> u64 {
        self.topic_bytes.get(&topic).copied().unwrap_or(0)
    }

    /// Forgets what lies below `start`, which is where a piece ends.
    pub(super) fn trim_to(&mut self, slot: PartitionSlot, start: u64) {
        let Some(partition) = self.partitions.get_mut(&slot) else { return };
        partition.dropped_ms = partition.greatest_below(start);
        partition.start = start;
        while partition.pieces.front().is_some_and(|piece| piece.offsets.end <= start) {
            let Some(piece) = partition.pieces.pop_front() else { break };
            lower(&mut self.live_bytes, piece.segment, piece.stored_bytes);
            lower(&mut self.topic_bytes, slot.topic, piece.stored_bytes);
        }
    }

    /// The pieces that lie in `segments`.
    pub(super) fn pieces_in(&self, segments: &BTreeSet<u64>) -> Vec<(PartitionSlot, Extent)> {
        let pieces = self.partitions().flat_map(|(slot, partition)| {
            let inside = partition.pieces.iter().filter(|piece| segments.contains(&piece.segment));
            inside.map(move |piece| (slot, piece.clone()))
        });
        pieces.collect()
    }

    /// Takes in that what lay in `segments` lies in the segment `to` now.
    pub(super) fn moved(&mut self, segments: &BTreeSet<u64>, to: u64) {
        for partition in self.partitions.values_mut() {
            if partition.pieces.iter().any(|piece| segments.contains(&piece.segment)) {
                partition.moved(segments, to);
            }
        }
        let live: u64 = segments.iter().filter_map(|segment| self.live_bytes.remove(segment)).sum();
        *self.live_bytes.entry(to).or_default() += live;
    }

    /// Takes in records that were stored.
    pub(super) fn add(&mut self, slot: PartitionSlot, piece: Extent) -> Result<()> {
        let Some(partition) = self.partitions.get_mut(&slot) else {
            let first = piece.offsets.start;
            return Err(Error::corrupt(format!("offset {first} belongs to an unknown partition, {slot:?}")));
        };
        let last_sequence = piece.last_sequence;
        let (segment, stored_bytes) = (piece.segment, piece.stored_bytes);
        partition.add(piece)?;
        *self.live_bytes.entry(segment).or_default() += stored_bytes;
        *self.topic_bytes.entry(slot.topic).or_default() += stored_bytes;
        if let Some(last) = last_sequence {
            self.latest.put(slot, last);
            self.end_sequence = self.end_sequence.max(last + 1);
        }
        Ok(())
    }

    /// Where the sequence ends, and which partitions have records numbered `since` or above.
    pub(super) fn appended(&self, since: u64) -> Appended {
        let partitions = self.latest.since(since).filter_map(|slot| self.partitions.get(slot));
        Appended {
            end: self.end_sequence,
            partitions: partitions.map(|partition| partition.name.clone()).collect(),
        }
    }

    /// The pieces that lie in `segment`.
    pub(super) fn pieces_of(&self, segment: u64) -> Vec<(PartitionSlot, Extent)> {
        let in_segment = |(slot, partition): (PartitionSlot, &IndexedPartition)| {
            let piece = partition.pieces.iter().rev().find(|piece| piece.segment <= segment)?;
            (piece.segment == segment).then(|| (slot, piece.clone()))
        };
        self.partitions().filter_map(in_segment).collect()
    }
}

impl Extent {
    /// The piece that is one batch, of which `header` tells.
    pub(super) fn of(segment: u64, header: &FrameHeader, frame: &[u8]) -> Self {
        Self {
            segment,
            offsets: header.base_offset..header.base_offset + u64::from(header.records),
            stored_bytes: frame.len() as u64,
            max_timestamp_ms: header.max_timestamp_ms,
            last_sequence: header.last_sequence(frame),
            appended_ms: None,
        }
    }

    /// The time that the newest record counts as being of: one that is dated later than it was appended does not live
    /// longer for that.
    pub(super) fn newest_ms(&self) -> i64 {
        self.appended_ms.map_or(self.max_timestamp_ms, |appended| appended.min(self.max_timestamp_ms))
    }

    /// Takes in the piece that follows in the same segment.
    pub(super) fn extend(&mut self, next: &Self) {
        self.offsets.end = next.offsets.end;
        self.stored_bytes += next.stored_bytes;
        self.max_timestamp_ms = self.max_timestamp_ms.max(next.max_timestamp_ms);
        self.last_sequence = self.last_sequence.max(next.last_sequence);
        self.appended_ms = self.appended_ms.max(next.appended_ms);
    }
}

/// Takes `bytes` off; what is used up is forgotten.
fn lower<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, bytes: u64) {
    if let std::collections::btree_map::Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() = count.get().saturating_sub(bytes);
        if *count.get() == 0 {
            count.remove();
        }
    }
}

impl IndexedPartition {
    /// The greatest timestamp of what lies below `start`, which is where a piece ends, and of what was dropped before.
    pub(super) fn greatest_below(&self, start: u64) -> Option<i64> {
        let gone = self.pieces.iter().take_while(|piece| piece.offsets.end <= start);
        gone.map(|piece| piece.max_timestamp_ms).max().max(self.dropped_ms)
    }

    pub(super) fn range(&self) -> ReadableOffsets {
        ReadableOffsets(self.start..self.end)
    }

    /// Appends a piece, or extends the last one if it lies in the same segment.
    pub(super) fn add(&mut self, piece: Extent) -> Result<()> {
        if piece.offsets.start != self.end {
            return Err(self.gap(piece.offsets.start));
        }
        self.end = piece.offsets.end;
        match self.pieces.back_mut().filter(|last| last.segment == piece.segment) {
            Some(last) => last.extend(&piece),
            None => self.pieces.push_back(piece),
        }
        Ok(())
    }

    fn moved(&mut self, segments: &BTreeSet<u64>, to: u64) {
        let mut pieces: VecDeque<Extent> = VecDeque::with_capacity(self.pieces.len());
        for mut piece in std::mem::take(&mut self.pieces) {
            if segments.contains(&piece.segment) {
                piece.segment = to;
            }
            match pieces.back_mut().filter(|last| last.segment == piece.segment) {
                Some(last) => last.extend(&piece),
                None => pieces.push_back(piece),
            }
        }
        self.pieces = pieces;
    }

    pub(super) fn gap(&self, found: u64) -> Error {
        Error::corrupt(format!(
            "{} is damaged at offset {}: the next stored batch begins at {found}; restore the changelog from a copy",
            self.name, self.end
        ))
    }

    /// The piece that holds `offset`.
    pub(super) fn piece_at(&self, offset: u64) -> Option<&Extent> {
        let at = self.pieces.partition_point(|piece| piece.offsets.end <= offset);
        self.pieces.get(at)
    }
}
