//! The merge: the partitions that a task reads, as one sequence of records.
//!
//! The order is that of the appends. Records without a place in it (those of 0.1) come before all that have one, merged by the
//! timestamps of each partition's next record, then by topic and partition; they are numbered by how many came before. Either
//! order depends on nothing but where the partitions stand, so it is the same after every cut and restart.
//!
//! Only partitions that got records are looked at. Of partitions whose records wait for others, no more than what the
//! bound on read-ahead allows is kept in memory.
//!
//! Where records have places, batches are taken whole, in the order of their first records, and afterwards whatever
//! overtook the first record that was left is [given up](PartitionMerge::keep_below): batches that interleave record by record cost
//! no more than others.

use super::cursor::{Allowed, PartitionCursor, RecordPlace, Upcoming};
use super::epoch_input::{BatchSlice, EpochInput};
use crate::changelog::{Appended, Changelog};
use crate::{Result, TopicPartition};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The partitions of a task in the order of the log.
pub(super) struct PartitionMerge {
    changelog: Arc<dyn Changelog>,
    partitions: Vec<PartitionCursor>,
    numbers: HashMap<TopicPartition, u32>,
    /// The partitions whose next record is known.
    ready: BTreeSet<(RecordPlace, u32)>,
    /// How many records there are before the next one, of all partitions.
    passed: u64,
    /// The end of the sequence when the log was last asked; nothing at or above it is taken, for others may still come
    /// to stand before it.
    end: Option<u64>,
    queued_bytes: usize,
}

impl PartitionMerge {
    pub(super) fn new(changelog: Arc<dyn Changelog>) -> Self {
        Self {
            changelog,
            partitions: Vec::new(),
            numbers: HashMap::new(),
            ready: BTreeSet::new(),
            passed: 0,
            end: None,
            queued_bytes: 0,
        }
    }

    /// Adds a partition, to be read from `next` on. They are numbered as they come.
    pub(super) fn add(&mut self, id: TopicPartition, topic: usize, next: u64) {
        self.passed += next;
        self.numbers.insert(id.clone(), u32::try_from(self.partitions.len()).unwrap_or(u32::MAX));
        self.partitions.push(PartitionCursor::new(id, topic, next));
    }

    pub(super) fn reads(&self, id: &TopicPartition) -> bool {
        self.numbers.contains_key(id)
    }

    pub(super) fn id(&self, number: u32) -> Option<&TopicPartition> {
        self.partitions.get(number as usize).map(|partition| &partition.id)
    }

    /// Where the sequence ended when the log was last asked.
    pub(super) fn end(&self) -> Option<u64> {
        self.end
    }

    /// Asks the log for what was appended since the last time.
    pub(super) fn refresh(&mut self, read_ahead_bytes: usize) -> Result<()> {
        match (self.changelog.appended(self.end.unwrap_or(0))?, self.end) {
            (Some(Appended { end, partitions }), Some(_)) => {
                self.end = Some(end);
                for id in partitions {
                    if let Some(&number) = self.numbers.get(&id) {
                        self.load(number, read_ahead_bytes)?;
                    }
                }
            }
            (appended, _) => {
                self.end = appended.map(|appended| appended.end);
                for number in (0..).take(self.partitions.len()) {
                    self.load(number, read_ahead_bytes)?;
                }
            }
        }
        Ok(())
    }

    /// Makes the next record of a partition known, if there is one.
    fn load(&mut self, number: u32, read_ahead_bytes: usize) -> Result<()> {
        let share = self.share(read_ahead_bytes);
        let Some(partition) = self.partitions.get_mut(number as usize) else { return Ok(()) };
        if partition.front.is_some() {
            return Ok(());
        }
        let polled = partition.fill(&*self.changelog, share)?;
        self.queued_bytes += polled;
        let Some(batch) = partition.queue.front() else { return Ok(()) };
        let front = Upcoming::of(&**batch, partition.next)?;
        if let Some(place) = front.place() {
            self.ready.insert((place, number));
            partition.front = Some(front);
        }
        if self.queued_bytes > read_ahead_bytes && self.ready.len() > 1 {
            self.queued_bytes -= partition.give_back();
        }
        Ok(())
    }

    /// The partition with the next record, and the place of that in the sequence; `None` if there is none, or others
    /// might come to stand before it.
    pub(super) fn next(&self) -> Option<(u32, u64)> {
        let &(place, number) = self.ready.first()?;
        match (place, self.end) {
            (RecordPlace::Sequenced(place), Some(end)) if place >= end => None,
            (RecordPlace::Sequenced(place), _) => Some((number, place)),
            (RecordPlace::Unsequenced(_), _) => Some((number, self.passed)),
        }
    }

    /// The offset of the next record of a partition.
    pub(super) fn offset(&self, number: u32) -> u64 {
        self.partitions.get(number as usize).map_or(0, |partition| partition.next)
    }

    /// Leaves a partition out until it is [put back](Self::let_in).
    pub(super) fn set_aside(&mut self, number: u32) {
        if let Some(place) = self.place(number) {
            self.ready.remove(&(place, number));
        }
    }

    pub(super) fn let_in(&mut self, number: u32) {
        if let Some(place) = self.place(number) {
            self.ready.insert((place, number));
        }
    }

    /// How much of one partition may be read ahead.
    fn share(&self, read_ahead_bytes: usize) -> usize {
        read_ahead_bytes / self.partitions.len().max(1)
    }

    fn place(&self, number: u32) -> Option<RecordPlace> {
        self.partitions.get(number as usize)?.front.as_ref()?.place()
    }

    /// Moves the next records, which are those of partition `number`, to `epoch`: of one batch, and no more than is
    /// `allowed`. Answers with the bytes of records that it had to bring along.
    pub(super) fn take(
        &mut self,
        number: u32,
        allowed: Allowed,
        read_ahead_bytes: usize,
        epoch: &mut EpochInput,
    ) -> Result<usize> {
        self.set_aside(number);
        let rival = self.ready.first().map(|&(place, other)| (place, other < number));
        let place = allowed.place.min(self.end.unwrap_or(u64::MAX));
        let share = self.share(read_ahead_bytes);
        let Some(partition) = self.partitions.get_mut(number as usize) else { return Ok(0) };
        self.queued_bytes += partition.fill(&*self.changelog, share)?;
        if partition.queue.is_empty() {
            return Err(partition.lost());
        }
        let runs = partition.runs(Allowed { place, ..allowed }, self.passed, rival);
        self.passed += runs.iter().map(|run| run.records).sum::<u64>();
        let brought = partition.hand_over(number, runs, epoch);
        self.queued_bytes -= partition.pass();
        if partition.front.is_some() {
            self.let_in(number);
        } else {
            self.load(number, read_ahead_bytes)?;
        }
        Ok(brought)
    }

    /// Puts the records of `epoch` back that do not stand below the place which `bound` says for the number of their
    /// partition.
    pub(super) fn keep_below(&mut self, epoch: &mut EpochInput, bound: impl Fn(u32) -> u64) -> Result<()> {
        let pieces = std::mem::take(&mut epoch.pieces);
        let mut kept = Vec::with_capacity(pieces.len());
        // Backwards, so that what comes later is back in the queue before what comes earlier.
        for mut piece in pieces.into_iter().rev() {
            let number = piece.source;
            let given_up = piece.split_off(bound(number));
            if let Some(given_up) = given_up {
                let records = given_up.offsets.end - given_up.offsets.start;
                epoch.records -= records;
                self.passed -= records;
                self.return_piece(&given_up)?;
            }
            if !piece.runs.is_empty() {
                kept.push(piece);
            }
        }
        kept.reverse();
        epoch.end = kept.iter().filter_map(|piece| Some(piece.runs.last()?.end())).max().unwrap_or(0);
        epoch.pieces = kept;
        Ok(())
    }

    fn return_piece(&mut self, piece: &BatchSlice) -> Result<()> {
        let number = piece.source;
        self.set_aside(number);
        let Some(partition) = self.partitions.get_mut(number as usize) else { return Ok(()) };
        self.queued_bytes += partition.put_back(piece);
        partition.front = Some(Upcoming::of(&*piece.batch, partition.next)?);
        self.let_in(number);
        Ok(())
    }

    /// Forgets which pieces belong to the epoch that was cut.
    pub(super) fn finish(&mut self, epoch: &EpochInput) {
        for piece in &epoch.pieces {
            if let Some(partition) = self.partitions.get_mut(piece.source as usize) {
                partition.piece = None;
            }
        }
    }

    /// Puts the records of an epoch back, which must be the one that was taken last.
    pub(super) fn put_back(&mut self, epoch: &EpochInput) -> Result<()> {
        self.passed -= epoch.records;
        epoch.pieces.iter().rev().try_for_each(|piece| self.return_piece(piece))
    }
}
