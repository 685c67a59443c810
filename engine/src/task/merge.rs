//! The merge: the partitions that a task reads, as one sequence of records.
//!
//! In a log that is one sequence the order is that of the appends. Records without a place in such an order (those of 0.1,
//! or of a log that has none) come before all that have one, merged by the timestamps of each partition's next record, then
//! by topic and partition; they are numbered by how many came before. Either order depends on nothing but where the
//! partitions stand, so it is the same after every cut and restart.
//!
//! Only partitions that got records are looked at. Of partitions whose records wait for others, no more than what the
//! bound on read-ahead allows is kept in memory.
//!
//! Where records have places, batches are taken whole, in the order of their first records, and afterwards whatever
//! overtook the first record that was left is [given up](PartitionMerge::keep_below): batches that interleave record by record cost
//! no more than others.

use super::input::{BatchSlice, EpochInput};
use crate::changelog::{Appended, Changelog, DecodedBatch, LogBatch, PartitionReader, Run};
use crate::{Error, Result, TopicPartition};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

/// At most so many stored bytes are polled of one partition at a time.
const MAX_POLL_BYTES: usize = 4 << 20;

/// Where the next record of a partition stands among those of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RecordPlace {
    /// It has no place in the sequence of the log; this is its timestamp.
    Unsequenced(i64),
    Sequenced(u64),
}

/// What is left of the batch at the front of a partition.
enum Upcoming {
    Timestamps(VecDeque<i64>),
    Runs(VecDeque<Run>),
}

impl Upcoming {
    /// The records of `batch` from offset `next` on.
    fn of(batch: &dyn LogBatch, next: u64, one_sequence: bool) -> Result<Self> {
        let mut skipped = next.saturating_sub(batch.base_offset());
        let runs = if one_sequence { batch.runs()? } else { None };
        let Some(runs) = runs else {
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

    fn place(&self) -> Option<RecordPlace> {
        match self {
            Self::Timestamps(timestamps) => timestamps.front().copied().map(RecordPlace::Unsequenced),
            Self::Runs(runs) => runs.front().map(|run| RecordPlace::Sequenced(run.sequence)),
        }
    }
}

struct PartitionCursor {
    id: TopicPartition,
    topic: usize,
    /// Opened at the end of what is queued when it is needed.
    reader: Option<Box<dyn PartitionReader>>,
    queue: VecDeque<Arc<dyn LogBatch>>,
    next: u64,
    /// What is left of the first batch in the queue, or of the one that would be there if it had not been given back.
    front: Option<Upcoming>,
    /// The first batch, decoded, if an epoch took only a part of it.
    decoded: Arc<OnceLock<DecodedBatch>>,
    /// Its piece in the epoch that is being cut, if the batch at the front has one.
    piece: Option<usize>,
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

/// The partitions of a task in the order of the log.
pub(super) struct PartitionMerge {
    changelog: Arc<dyn Changelog>,
    /// Whether the log has an order of all records; only then is it asked for it.
    one_sequence: bool,
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
    pub(super) fn new(changelog: Arc<dyn Changelog>, one_sequence: bool) -> Self {
        Self {
            changelog,
            one_sequence,
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
        self.partitions.push(PartitionCursor {
            id,
            topic,
            reader: None,
            queue: VecDeque::new(),
            next,
            front: None,
            decoded: Arc::default(),
            piece: None,
        });
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
        let appended = match self.one_sequence {
            true => self.changelog.appended(self.end.unwrap_or(0))?,
            false => None,
        };
        match (appended, self.end) {
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
        let front = Upcoming::of(&**batch, partition.next, self.one_sequence)?;
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
        partition.front = Some(Upcoming::of(&*piece.batch, partition.next, self.one_sequence)?);
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

impl PartitionCursor {
    /// Sees to it that the batch with the next record is in the queue, if it is there. Answers with the bytes polled.
    fn fill(&mut self, changelog: &dyn Changelog, bytes: usize) -> Result<usize> {
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

    fn lost(&self) -> Error {
        let Self { id, next, .. } = self;
        Error::corrupt(format!(
            "{id} at offset {next}: the records were there and are gone; restore the changelog from a copy"
        ))
    }

    /// Gives the queue back, to be read again when its turn has come. Answers with its bytes.
    fn give_back(&mut self) -> usize {
        self.reader = None;
        self.queue.drain(..).map(|batch| batch.stored_bytes()).sum()
    }

    /// Takes records off the front, as places in the log. Those that have none of their own are numbered from `passed` on
    /// and must stand before the next one of the nearest rival; at the same place that one comes first if `true` is said
    /// of it.
    fn runs(&mut self, allowed: Allowed, passed: u64, rival: Option<(RecordPlace, bool)>) -> Vec<Run> {
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
    fn hand_over(&mut self, number: u32, runs: Vec<Run>, epoch: &mut EpochInput) -> usize {
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
    fn pass(&mut self) -> usize {
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
    fn put_back(&mut self, piece: &BatchSlice) -> usize {
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
