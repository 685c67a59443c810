//! The epochs of a log whose partitions have nothing to do with each other: what has arrived of each.
//!
//! What follows what is decided here, since the log does not say it. Records of one partition stand in the order of their
//! offsets, always. Those of several are interleaved by [`interleave`], within an epoch, if the graph can tell the difference;
//! else the pieces of an epoch simply stand one behind the other, and no batch has to be decoded before it is on its shard.
//!
//! Places are numbered over all offsets, those without a record included, so that a place says where it is from and an epoch
//! can be cut anywhere. An epoch that is put back keeps the order that it was given: what arrived in the meantime comes behind
//! it.
//!
//! Batches are asked for without waiting: a log that has to fetch them hands over what is there.

use super::epoch_input::{BatchSlice, EpochInput};
use super::interleave::interleave;
use super::{Bound, EpochLimit, MAX_POLL_BYTES};
use crate::changelog::{Changelog, DecodedBatch, LogBatch, PartitionReader, Run};
use crate::{Position, Result, TopicPartition};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

/// The partitions of a task, each read by itself.
pub(super) struct Gather {
    changelog: Arc<dyn Changelog>,
    /// Whether it matters how records of several partitions follow each other.
    interleaves: bool,
    partitions: Vec<Partition>,
    numbers: HashMap<TopicPartition, u32>,
    /// What was put back, by partition and offset, with the places that it has. Nothing else is taken before it.
    returned: Vec<BatchSlice>,
    /// The partition to begin with, so that none waits for the others for long.
    turn: usize,
}

struct Partition {
    id: TopicPartition,
    topic: usize,
    reader: Option<Box<dyn PartitionReader>>,
    queue: VecDeque<Arc<dyn LogBatch>>,
    /// The first batch, decoded, if an epoch took only a part of it.
    decoded: Arc<OnceLock<DecodedBatch>>,
    /// Everything below it was taken.
    next: u64,
}

impl Partition {
    /// Sees to it that batches are queued, if there are any.
    fn fill(&mut self, changelog: &dyn Changelog, bytes: usize) -> Result<()> {
        if self.queue.is_empty() {
            self.poll(changelog, bytes)?;
        }
        Ok(())
    }

    fn poll(&mut self, changelog: &dyn Changelog, bytes: usize) -> Result<()> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => self.reader.insert(changelog.reader(&self.id, self.next)?),
        };
        let polled = reader.poll(bytes.clamp(1, MAX_POLL_BYTES))?;
        self.queue.extend(polled.into_iter().filter(|batch| batch.end_offset() > self.next));
        Ok(())
    }

    /// Everything up to here is queued or known not to be there.
    fn known_end(&self) -> u64 {
        self.reader.as_ref().map_or(self.next, |reader| reader.offset())
    }

    /// Takes what lies below `end` of the first batch, with at most `most` records.
    fn take(&mut self, number: u32, end: u64, most: u64) -> Result<Option<BatchSlice>> {
        let Some(batch) = self.queue.front() else { return Ok(None) };
        let mut piece = BatchSlice {
            source: number,
            topic: self.topic,
            partition: self.id.partition,
            batch: Arc::clone(batch),
            offsets: self.next..batch.end_offset().min(end),
            runs: Vec::new(),
            decoded: Arc::clone(&self.decoded),
        };
        if piece.offsets.is_empty() {
            return Ok(None);
        }
        if batch.records() > most {
            let records = piece.decode_once()?.iter_from(self.next);
            let left =
                usize::try_from(most).ok().and_then(|most| records.map(|record| record.offset).nth(most));
            piece.offsets.end = left.unwrap_or(u64::MAX).min(piece.offsets.end);
        }
        self.next = piece.offsets.end;
        if self.next >= batch.end_offset() {
            self.queue.pop_front();
            self.decoded = Arc::default();
        }
        Ok(Some(piece))
    }

    /// Passes over what is left of the first batch if there is no record in it. `false` if there is, or nothing is queued.
    fn pass_rest(&mut self, end: u64) -> Result<bool> {
        let Some(batch) = self.queue.front() else { return Ok(false) };
        let is_empty = batch.records() == 0 || (batch.base_offset() < self.next && self.is_taken(batch)?);
        if !is_empty {
            return Ok(false);
        }
        if batch.end_offset() > end {
            self.next = self.next.max(end);
            return Ok(false);
        }
        self.next = batch.end_offset();
        self.queue.pop_front();
        self.decoded = Arc::default();
        Ok(true)
    }

    /// Whether no record of the first batch is left.
    fn is_taken(&self, batch: &Arc<dyn LogBatch>) -> Result<bool> {
        let piece = BatchSlice {
            source: 0,
            topic: self.topic,
            partition: self.id.partition,
            batch: Arc::clone(batch),
            offsets: self.next..batch.end_offset(),
            runs: Vec::new(),
            decoded: Arc::clone(&self.decoded),
        };
        Ok(piece.decode_once()?.iter_from(self.next).next().is_none())
    }

    /// Passes over offsets at which there is nothing, up to `end`: those before the first batch, of which others may know no
    /// batch yet.
    fn pass_gap(&mut self, end: u64) {
        let first = self.queue.front().map_or_else(|| self.known_end(), |batch| batch.base_offset());
        self.next = self.next.max(first.min(end));
    }
}

impl Gather {
    pub(super) fn new(changelog: Arc<dyn Changelog>, interleaves: bool) -> Self {
        Self {
            changelog,
            interleaves,
            partitions: Vec::new(),
            numbers: HashMap::new(),
            returned: Vec::new(),
            turn: 0,
        }
    }

    /// Adds a partition, to be read from `next` on. They are numbered as they come.
    pub(super) fn add(&mut self, id: TopicPartition, topic: usize, next: u64) {
        self.numbers.insert(id.clone(), u32::try_from(self.partitions.len()).unwrap_or(u32::MAX));
        let (queue, decoded) = (VecDeque::new(), Arc::default());
        self.partitions.push(Partition { id, topic, reader: None, queue, decoded, next });
    }

    /// Adds a partition that a topic has got since it was opened, unless it is read already. `known` is how far the task has come
    /// in it; one that it has never seen is read from the first record on that there is. Answers with where it begins.
    ///
    /// # Errors
    /// `Unavailable` if the log does not tell of it now.
    pub(super) fn add_found(
        &mut self,
        id: &TopicPartition,
        topic: usize,
        known: Option<u64>,
    ) -> Result<Option<u64>> {
        if self.reads(id) {
            return Ok(None);
        }
        let kept = self.changelog.offsets(id)?;
        let next = known.unwrap_or(kept.start);
        self.add(id.clone(), topic, next);
        tracing::info!(partition = %id, next, "reading a partition that was added to its topic");
        Ok(Some(next))
    }

    pub(super) fn reads(&self, id: &TopicPartition) -> bool {
        self.numbers.contains_key(id)
    }

    pub(super) fn id(&self, number: u32) -> Option<&TopicPartition> {
        self.partitions.get(number as usize).map(|partition| &partition.id)
    }

    /// Moves `position` on to where the partitions stand.
    pub(super) fn note(&self, position: &mut Position) {
        for Partition { id, next, .. } in &self.partitions {
            if position.offset(id) != *next {
                position.set(id.clone(), *next);
            }
        }
    }

    /// Moves the records of the next epoch to `epoch`. If that is to be one that was marked, all of it or nothing, as long as
    /// not all of it is there.
    ///
    /// # Errors
    /// `Corrupt` if a stored batch is damaged, or another error of the changelog.
    pub(super) fn cut(
        &mut self,
        limit: EpochLimit,
        bound: Bound<'_>,
        cap: Option<&Position>,
        epoch: &mut EpochInput,
        pool: &rayon::ThreadPool,
    ) -> Result<()> {
        let ends: Vec<u64> = self.partitions.iter().map(|partition| end_of(partition, bound, cap)).collect();
        if self.returned.is_empty() {
            if epoch.replayed && !self.has_all(&ends)? {
                return Ok(());
            }
            self.take(limit, &ends, epoch)?;
            self.order(epoch, pool)?;
        } else {
            epoch.pieces = std::mem::take(&mut self.returned);
            for piece in &epoch.pieces {
                self.advance(piece);
            }
        }
        self.keep_within(limit, bound, &ends, epoch)?;
        self.measure(epoch);
        if self.returned.is_empty() {
            for (partition, end) in self.partitions.iter_mut().zip(&ends) {
                partition.pass_gap(*end);
            }
        }
        Ok(())
    }

    /// Passes over offsets at which there is no record, as far as nothing lies before them.
    ///
    /// # Errors
    /// As for [`cut`](Self::cut).
    pub(super) fn pass_gaps(&mut self, bound: Bound<'_>) -> Result<()> {
        for partition in &mut self.partitions {
            let end = end_of(partition, bound, None);
            if partition.next < end {
                partition.fill(&*self.changelog, 1)?;
                while partition.pass_rest(end)? {}
                partition.pass_gap(end);
            }
        }
        Ok(())
    }

    /// Forgets the order of what was put back: it is read again.
    pub(super) fn forget_returned(&mut self) {
        if !self.returned.is_empty() {
            self.forget_read();
        }
    }

    /// Goes back to where `position` stands.
    pub(super) fn go_back(&mut self, position: &Position) {
        for partition in &mut self.partitions {
            partition.next = position.offset(&partition.id);
        }
        self.forget_read();
    }

    /// Forgets what was read ahead.
    fn forget_read(&mut self) {
        self.returned.clear();
        for partition in &mut self.partitions {
            partition.reader = None;
            partition.queue.clear();
            partition.decoded = Arc::default();
        }
    }

    /// Whether everything below `ends` has arrived.
    fn has_all(&mut self, ends: &[u64]) -> Result<bool> {
        for (partition, end) in self.partitions.iter_mut().zip(ends) {
            let mut known = partition.known_end();
            while known < *end {
                partition.poll(&*self.changelog, MAX_POLL_BYTES)?;
                let now = partition.known_end();
                if now == known {
                    return Ok(false);
                }
                known = now;
            }
        }
        Ok(true)
    }

    /// Takes batches of one partition after the other, as far as there are any and the limits let it.
    fn take(&mut self, limit: EpochLimit, ends: &[u64], epoch: &mut EpochInput) -> Result<()> {
        let count = self.partitions.len();
        let share = limit.bytes / count.max(1);
        let (mut records, mut bytes) = (limit.records as u64, limit.bytes.max(1));
        // A batch of which a part was taken stays decoded until the rest is: of one partition, and not of each.
        let begun = self.partitions.iter().position(|partition| partition.decoded.get().is_some());
        let first = begun.unwrap_or_else(|| {
            let turn = self.turn.checked_rem(count).unwrap_or(0);
            self.turn = self.turn.wrapping_add(1);
            turn
        });
        // One that has nothing is not looked at again for this epoch.
        let mut there: Vec<usize> = (first..count).chain(0..first).collect();
        while !there.is_empty() {
            for number in std::mem::take(&mut there) {
                if records == 0 || (bytes == 0 && !epoch.replayed) {
                    return Ok(());
                }
                let (Some(partition), Some(end)) = (self.partitions.get_mut(number), ends.get(number)) else {
                    continue;
                };
                partition.fill(&*self.changelog, share)?;
                let source = u32::try_from(number).unwrap_or(u32::MAX);
                let Some(piece) = partition.take(source, *end, records)? else { continue };
                records = records.saturating_sub(piece.records()?);
                bytes = bytes.saturating_sub(piece.batch.body_bytes());
                epoch.pieces.push(piece);
                there.push(number);
            }
        }
        Ok(())
    }

    /// Gives every offset of `epoch` its place.
    fn order(&self, epoch: &mut EpochInput, pool: &rayon::ThreadPool) -> Result<()> {
        let width = |piece: &BatchSlice| piece.offsets.end - piece.offsets.start;
        let taken: u64 = epoch.pieces.iter().map(width).sum();
        let mut place = self.partitions.iter().map(|partition| partition.next).sum::<u64>() - taken;
        let first = epoch.pieces.first().map(|piece| piece.source);
        if self.interleaves && epoch.pieces.iter().any(|piece| Some(piece.source) != first) {
            return interleave(&mut epoch.pieces, place, pool);
        }
        for piece in &mut epoch.pieces {
            let records = width(piece);
            piece.runs = vec![Run { sequence: place, records }];
            place += records;
        }
        Ok(())
    }

    /// Puts back what `epoch` must not have: what lies at `ends` or above, and what does not stand below the place where it has
    /// to end.
    fn keep_within(
        &mut self,
        limit: EpochLimit,
        bound: Bound<'_>,
        ends: &[u64],
        epoch: &mut EpochInput,
    ) -> Result<()> {
        let mut back = Vec::new();
        let mut within = |epoch: &mut EpochInput, split: &dyn Fn(&mut BatchSlice) -> Option<BatchSlice>| {
            back.extend(epoch.pieces.iter_mut().filter_map(split));
            epoch.pieces.retain(|piece| !piece.offsets.is_empty());
        };
        within(epoch, &|piece| {
            piece.split_off_offset(ends.get(piece.source as usize).copied().unwrap_or(u64::MAX))
        });
        if let Some(before) = bound.before {
            within(epoch, &|piece| piece.split_off(before));
        }
        epoch.records = records_of(&epoch.pieces)?;
        if epoch.records > limit.records as u64 {
            epoch.end = end_of_pieces(&epoch.pieces);
            let place = epoch.place_after(limit.records as u64);
            within(epoch, &|piece| piece.split_off(place));
            epoch.records = records_of(&epoch.pieces)?;
        }
        self.give_back(back);
        Ok(())
    }

    fn measure(&self, epoch: &mut EpochInput) {
        epoch.bytes = epoch.pieces.iter().map(|piece| piece.batch.body_bytes()).sum();
        let nothing = || self.partitions.iter().map(|partition| partition.next).sum();
        epoch.end = if epoch.pieces.is_empty() { nothing() } else { end_of_pieces(&epoch.pieces) };
    }

    /// Puts the epoch that was cut last back, to be cut otherwise: in the order that it has.
    pub(super) fn put_back(&mut self, epoch: &EpochInput) {
        for partition in &mut self.partitions {
            if let Some(offset) = epoch.from.known(&partition.id) {
                partition.next = offset;
            }
        }
        self.give_back(epoch.pieces.clone());
    }

    /// Adds pieces to those that are taken first, which none of them follows.
    fn give_back(&mut self, pieces: Vec<BatchSlice>) {
        let mut firsts = BTreeMap::new();
        for piece in &pieces {
            let first = firsts.entry(piece.source).or_insert(u64::MAX);
            *first = piece.offsets.start.min(*first);
        }
        for (number, first) in firsts {
            if let Some(partition) = self.partitions.get_mut(number as usize) {
                partition.next = first;
            }
        }
        self.returned.extend(pieces);
        self.returned.sort_by_key(|piece| (piece.source, piece.offsets.start));
    }

    fn advance(&mut self, piece: &BatchSlice) {
        if let Some(partition) = self.partitions.get_mut(piece.source as usize) {
            partition.next = partition.next.max(piece.offsets.end);
        }
    }
}

/// Where to stop reading a partition.
fn end_of(partition: &Partition, bound: Bound<'_>, cap: Option<&Position>) -> u64 {
    let cap = cap.map_or(u64::MAX, |cap| cap.offset(&partition.id));
    let until = bound.until.and_then(|until| until.known(&partition.id)).unwrap_or(u64::MAX);
    let tick = bound.ticks.and_then(|ticks| ticks.known(&partition.id)).unwrap_or(u64::MAX);
    cap.min(until).min(tick)
}

fn records_of(pieces: &[BatchSlice]) -> Result<u64> {
    pieces.iter().map(BatchSlice::records).sum()
}

fn end_of_pieces(pieces: &[BatchSlice]) -> u64 {
    pieces.iter().filter_map(|piece| Some(piece.runs.last()?.end())).max().unwrap_or(0)
}
