//! One partition of a merge: what of it is queued, and which records come next.

use super::MAX_POLL_BYTES;
use super::epoch_input::{BatchSlice, EpochInput};
use crate::changelog::{Changelog, DecodedBatch, LogBatch, PartitionReader, Run};
use crate::{Error, Result, TopicPartition};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

/// Where the next record of a partition stands among those of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RecordPlace {
    /// It has no place in the sequence of the log; this is its timestamp.
    Unsequenced(i64),
    Sequenced(u64),
}

/// What is left of the batch at the front of a partition.
pub(super) enum Upcoming {
    Timestamps(VecDeque<i64>),
    Runs(VecDeque<Run>),
}

impl Upcoming {
    /// The records of `batch` from offset `next` on.
    pub(super) fn of(batch: &dyn LogBatch, next: u64) -> Result<Self> {
        let mut skipped = next.saturating_sub(batch.base_offset());
        let Some(runs) = batch.runs()? else {
            let records = batch.decode()?;
            let left = records.iter().filter(|record| record.offset >= next);
            return Ok(Self::Timestamps(left.map(|record| record.timestamp_ms).collect()));
        };
        let mut runs = VecDeque::from(runs);
        while let Some(run) = runs.front_mut() {
            let passed = skipped.min(run.records);
            skipped -= passed;
            run.sequence += passed;
            run.records -= passed;
            if run.records > 0 {
                break;
            }
            runs.pop_front();
        }
        Ok(Self::Runs(runs))
    }

    pub(super) fn place(&self) -> Option<RecordPlace> {
        match self {
            Self::Timestamps(timestamps) => timestamps.front().copied().map(RecordPlace::Unsequenced),
            Self::Runs(runs) => runs.front().map(|run| RecordPlace::Sequenced(run.sequence)),
        }
    }
}

pub(super) struct PartitionCursor {
    pub(super) id: TopicPartition,
    pub(super) topic: usize,
    /// Opened at the end of what is queued when it is needed.
    pub(super) reader: Option<Box<dyn PartitionReader>>,
    pub(super) queue: VecDeque<Arc<dyn LogBatch>>,
    pub(super) next: u64,
    /// What is left of the first batch in the queue, or of the one that would be there if it had not been given back.
    pub(super) front: Option<Upcoming>,
    /// The first batch, decoded, if an epoch took only a part of it.
    pub(super) decoded: Arc<OnceLock<DecodedBatch>>,
    /// Its piece in the epoch that is being cut, if the batch at the front has one.
    pub(super) piece: Option<usize>,
}

/// What bounds the records that are taken of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    /// The offset to stop at.
    pub(super) offset: u64,
    /// The place in the sequence to stop at.
    pub(super) place: u64,
    /// How many records that have no place of their own may be taken.
    pub(super) records: u64,
}

impl PartitionCursor {
    pub(super) fn new(id: TopicPartition, topic: usize, next: u64) -> Self {
        Self {
            id,
            topic,
            reader: None,
            queue: VecDeque::new(),
            next,
            front: None,
            decoded: Arc::default(),
            piece: None,
        }
    }

    /// Sees to it that the batch with the next record is in the queue, if it is there. Answers with the bytes polled.
    pub(super) fn fill(&mut self, changelog: &dyn Changelog, bytes: usize) -> Result<usize> {
        if !self.queue.is_empty() {
            return Ok(0);
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => self.reader.insert(changelog.reader(&self.id, self.next)?),
        };
        let polled = reader.poll(bytes.clamp(1, MAX_POLL_BYTES))?;
        self.queue.extend(polled.into_iter().filter(|batch| batch.end_offset() > self.next));
        Ok(self.queue.iter().map(|batch| batch.stored_bytes()).sum())
    }

    pub(super) fn lost(&self) -> Error {
        let Self { id, next, .. } = self;
        Error::corrupt(format!(
            "{id} at offset {next}: the records were there and are gone; restore the changelog from a copy"
        ))
    }

    /// Gives the queue back, to be read again when its turn has come. Answers with its bytes.
    pub(super) fn give_back(&mut self) -> usize {
        self.reader = None;
        self.queue.drain(..).map(|batch| batch.stored_bytes()).sum()
    }

    /// Takes records off the front, as places in the log. Those that have none of their own are numbered from `passed` on
    /// and must stand before the next one of the nearest rival; at the same place that one comes first if `true` is said
    /// of it.
    pub(super) fn runs(
        &mut self,
        allowed: Allowed,
        passed: u64,
        rival: Option<(RecordPlace, bool)>,
    ) -> Vec<Run> {
        let mut left = allowed.offset.saturating_sub(self.next);
        let mut taken = Vec::new();
        match &mut self.front {
            None => {}
            Some(Upcoming::Runs(runs)) => {
                while let Some(front) = runs.front_mut() {
                    let below = allowed.place.saturating_sub(front.sequence);
                    let run = Run { records: front.records.min(below).min(left), ..*front };
                    if run.records == 0 {
                        break;
                    }
                    taken.push(run);
                    left -= run.records;
                    front.sequence += run.records;
                    front.records -= run.records;
                    if front.records == 0 {
                        runs.pop_front();
                    }
                }
            }
            Some(Upcoming::Timestamps(timestamps)) => {
                let is_before = |timestamp_ms: &&i64| {
                    let place = RecordPlace::Unsequenced(**timestamp_ms);
                    rival.is_none_or(|(other, first)| if first { place < other } else { place <= other })
                };
                let most = left.min(allowed.records).min(allowed.place.saturating_sub(passed));
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                let records = timestamps.iter().take(most).take_while(is_before).count();
                if records > 0 {
                    timestamps.drain(..records);
                    taken.push(Run { sequence: passed, records: records as u64 });
                }
            }
        }
        taken
    }

    /// Adds records to `epoch`, as which `runs` stand. Answers with the bytes that their batch has once it is decompressed,
    /// if it is new there.
    pub(super) fn hand_over(&mut self, number: u32, runs: Vec<Run>, epoch: &mut EpochInput) -> usize {
        let (Some(last), Some(batch)) = (runs.last(), self.queue.front()) else { return 0 };
        let records: u64 = runs.iter().map(|run| run.records).sum();
        let offsets = self.next..self.next + records;
        self.next = offsets.end;
        epoch.records += records;
        epoch.end = epoch.end.max(last.end());
        if let Some(piece) = self.piece.and_then(|piece| epoch.pieces.get_mut(piece)) {
            piece.offsets.end = offsets.end;
            for run in runs {
                Run::extend(&mut piece.runs, run);
            }
            return 0;
        }
        self.piece = Some(epoch.pieces.len());
        epoch.pieces.push(BatchSlice {
            source: number,
            topic: self.topic,
            partition: self.id.partition,
            batch: batch.clone(),
            offsets,
            runs,
            decoded: Arc::clone(&self.decoded),
        });
        batch.body_bytes()
    }

    /// Takes the first batch off the queue if all of it was handed over. Answers with its bytes then.
    pub(super) fn pass(&mut self) -> usize {
        if self.front.as_ref().is_some_and(|front| front.place().is_some()) {
            return 0;
        }
        if self.front.take().is_none() {
            return 0;
        }
        self.piece = None;
        self.decoded = Arc::default();
        self.queue.pop_front().map_or(0, |batch| batch.stored_bytes())
    }

    /// Puts the records of `piece` back. Answers with the bytes that are queued again.
    pub(super) fn put_back(&mut self, piece: &BatchSlice) -> usize {
        self.next = piece.offsets.start;
        self.piece = None;
        self.decoded = Arc::clone(&piece.decoded);
        // A batch that was taken in part is still there.
        let there = self.queue.front().is_some_and(|batch| batch.base_offset() == piece.batch.base_offset());
        if there {
            return 0;
        }
        if self.queue.is_empty()
            && self.reader.as_ref().is_none_or(|reader| reader.offset() != piece.batch.end_offset())
        {
            // What came behind it was given back.
            self.reader = None;
        }
        self.queue.push_front(piece.batch.clone());
        piece.batch.stored_bytes()
    }
}
