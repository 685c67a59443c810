//! The input of a task: a reader per partition, from which epochs are cut.
//!
//! An epoch takes whatever is there, up to a cap that is shared fairly between the partitions. Where the derived
//! topics of this task already hold the output of an epoch, a replay cuts the same epoch again.

use super::epoch::Origin;
use crate::changelog::{Changelog, EpochMark, PartitionReader, StoredBatch};
use crate::{Error, ErrorKind, Position, Result, TopicPartition};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// How much an epoch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochLimit {
    /// Records.
    pub(crate) records: usize,
    /// Stored bytes.
    pub(crate) bytes: usize,
}

/// A piece of a stored batch that belongs to an epoch.
#[derive(Clone)]
pub(crate) struct Piece {
    /// The partition's number in the task.
    pub(crate) source: u32,
    pub(crate) topic: usize,
    pub(crate) batch: StoredBatch,
    pub(crate) offsets: Range<u64>,
    /// The greatest timestamp of the pieces of this partition that came before it in the epoch.
    pub(crate) floor_ms: i64,
}

/// The input of one epoch.
#[derive(Clone, Default)]
pub(crate) struct EpochInput {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) records: u64,
    /// Where the epoch begins.
    pub(crate) from: Position,
    /// Where it ends.
    pub(crate) position: Position,
    /// Whether it was cut as it was before a crash, because its output was appended then.
    pub(crate) replayed: bool,
}

impl EpochInput {
    /// The first record, by partition and offset.
    pub(crate) fn first_record(&self) -> Option<Origin> {
        self.pieces.first().map(|piece| (piece.source, piece.offsets.start))
    }

    /// Whether `record` is one of the epoch.
    pub(crate) fn holds(&self, (source, offset): Origin) -> bool {
        self.pieces.iter().any(|piece| piece.source == source && piece.offsets.contains(&offset))
    }
}

struct Partition {
    id: TopicPartition,
    topic: usize,
    reader: Box<dyn PartitionReader>,
    queue: VecDeque<StoredBatch>,
    next: u64,
}

/// The readers of a task.
pub(crate) struct Input {
    partitions: Vec<Partition>,
    position: Position,
    cuts: VecDeque<EpochMark>,
}

impl Input {
    /// Opens a reader for every partition of `topics`, which are in ascending order, at `position`.
    ///
    /// # Errors
    /// `AheadOfChangelog` or `BehindChangelog` if the changelog does not hold `position`.
    pub(crate) fn open(
        changelog: &Arc<dyn Changelog>,
        topics: &[Arc<str>],
        position: &Position,
        cuts: Vec<EpochMark>,
        from_oldest: bool,
    ) -> Result<Self> {
        let counts: BTreeMap<Arc<str>, u32> = changelog.topics()?.into_iter().collect();
        // A topic that an earlier graph read stays in the position: the marks of its epochs name it.
        let mut position = position.clone();
        let mut partitions = Vec::new();
        for (topic, name) in topics.iter().enumerate() {
            for partition in 0..counts.get(name).copied().unwrap_or(0) {
                let id = TopicPartition::new(Arc::clone(name), partition);
                let next = first_to_read(&id, &changelog.offsets(&id)?, position.offset(&id), from_oldest)?;
                position.set(id.clone(), next);
                let reader = changelog.reader(&id, next)?;
                partitions.push(Partition { id, topic, reader, queue: VecDeque::new(), next });
            }
        }
        let mut input = Self { partitions, position, cuts: cuts.into() };
        input.pass_marks();
        Ok(input)
    }

    /// Forgets the marks that lie behind. A mark may name partitions that the graph no longer reads; what they held up to
    /// there was consumed by the graph before, and must not be waited for.
    fn pass_marks(&mut self) {
        while let Some(mark) = self.cuts.front().cloned() {
            self.pass_unread(&mark.from);
            if self.position.includes(&mark.from) && self.has_read(&mark.to) {
                self.pass_unread(&mark.to);
            }
            if !self.position.includes(&mark.to) {
                return;
            }
            self.cuts.pop_front();
        }
    }

    fn reads(&self, id: &TopicPartition) -> bool {
        self.partitions.iter().any(|partition| partition.id == *id)
    }

    /// Whether the partitions that are read have been read up to `position`.
    fn has_read(&self, position: &Position) -> bool {
        position.iter().all(|(id, offset)| self.position.offset(id) >= offset || !self.reads(id))
    }

    /// Moves the partitions that are not read on to `position`.
    fn pass_unread(&mut self, position: &Position) {
        for (id, offset) in position.iter() {
            if self.position.offset(id) < offset && !self.reads(id) {
                self.position.set(id.clone(), offset);
            }
        }
    }

    /// Where the next epoch begins.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// The partition numbered `source`.
    pub(crate) fn partition(&self, source: u32) -> Option<&TopicPartition> {
        self.partitions.get(source as usize).map(|partition| &partition.id)
    }

    /// Cuts the next epoch; `None` if there is nothing to read. Within an epoch that was appended before a crash, only
    /// `until` cuts short.
    ///
    /// # Errors
    /// As for [`PartitionReader::poll`].
    pub(crate) fn cut(&mut self, limit: EpochLimit, until: Option<&Position>) -> Result<Option<EpochInput>> {
        // Only now, so that an epoch that was put back finds its mark again.
        self.pass_marks();
        let replayed = self.cuts.front().filter(|mark| self.position.includes(&mark.from)).cloned();
        let (limit, cap) = match (&replayed, self.cuts.front()) {
            // What was appended for this epoch covers exactly this input.
            (Some(mark), _) => (EpochLimit { records: usize::MAX, bytes: usize::MAX }, Some(mark.to.clone())),
            (None, Some(mark)) => (limit, Some(mark.from.clone())),
            (None, None) => (limit, None),
        };
        let from = self.position.clone();
        let mut epoch = EpochInput { from, replayed: replayed.is_some(), ..EpochInput::default() };
        let share = (limit.records / self.partitions.len().max(1)).max(1) as u64;
        let share_bytes = (limit.bytes / self.partitions.len().max(1)).max(1);
        for (source, partition) in self.partitions.iter_mut().enumerate() {
            // A partition that `until` does not name has no bound of its own.
            let bound = until.and_then(|until| until.known(&partition.id)).unwrap_or(u64::MAX);
            let end = cap.as_ref().map_or(u64::MAX, |cap| cap.offset(&partition.id)).min(bound);
            let source = u32::try_from(source).unwrap_or(u32::MAX);
            partition.take(source, partition.next.saturating_add(share).min(end), share_bytes, &mut epoch)?;
        }
        if epoch.pieces.is_empty() {
            return Ok(None);
        }
        for partition in &self.partitions {
            self.position.set(partition.id.clone(), partition.next);
        }
        if let Some(mark) = replayed {
            self.pass_unread(&mark.to);
        }
        epoch.position = self.position.clone();
        Ok(Some(epoch))
    }

    /// Puts the epoch that was cut last back, to be cut otherwise.
    pub(crate) fn put_back(&mut self, epoch: &EpochInput) {
        for piece in epoch.pieces.iter().rev() {
            let Some(partition) = self.partitions.get_mut(piece.source as usize) else { continue };
            // A batch that was taken in part is still there.
            let there = partition.queue.front().is_some_and(|b| b.base_offset() == piece.batch.base_offset());
            if !there {
                partition.queue.push_front(piece.batch.clone());
            }
            partition.next = piece.offsets.start;
        }
        self.position = epoch.from.clone();
    }
}

impl Partition {
    /// Takes what lies below `end`, at most about `bytes`.
    fn take(&mut self, source: u32, end: u64, bytes: usize, epoch: &mut EpochInput) -> Result<()> {
        let mut taken_bytes = 0;
        let mut floor_ms = i64::MIN;
        while self.next < end && taken_bytes < bytes {
            if self.queue.is_empty() {
                self.queue.extend(self.reader.poll(bytes.clamp(1, 4 << 20))?);
            }
            let Some(batch) = self.queue.front() else { break };
            let upto = batch.end_offset().min(end);
            taken_bytes += batch.stored_bytes();
            epoch.records += upto - self.next;
            epoch.pieces.push(Piece {
                source,
                topic: self.topic,
                batch: batch.clone(),
                offsets: self.next..upto,
                floor_ms,
            });
            if upto == batch.end_offset() {
                floor_ms = floor_ms.max(greatest_timestamp_ms(batch, self.next)?);
            }
            self.next = upto;
            if upto == batch.end_offset() {
                self.queue.pop_front();
            }
        }
        Ok(())
    }
}

/// The greatest timestamp of the records of `batch` from offset `from` on. Those before it belong to an earlier epoch:
/// how records were batched must not show in the order of this one.
fn greatest_timestamp_ms(batch: &StoredBatch, from: u64) -> Result<i64> {
    if from <= batch.base_offset() {
        return Ok(batch.max_timestamp_ms());
    }
    let batch = batch.decode()?;
    let later = batch.iter().filter(|record| record.offset >= from);
    Ok(later.map(|record| record.timestamp_ms).max().unwrap_or(i64::MIN))
}

/// Where to begin reading `id`, of which the offsets `kept` are there, if the state stands at `wanted`.
///
/// # Errors
/// `AheadOfChangelog` or `BehindChangelog`.
pub(super) fn first_to_read(
    id: &TopicPartition,
    kept: &Range<u64>,
    wanted: u64,
    from_oldest: bool,
) -> Result<u64> {
    if wanted > kept.end {
        return Err(Error::new(
            ErrorKind::AheadOfChangelog,
            format!(
                "the state includes {id} up to offset {wanted}, but the changelog ends at {}; is this the changelog \
                 it was built from? If the changelog was replaced, delete the state directory to rebuild it",
                kept.end
            ),
        ));
    }
    if wanted >= kept.start {
        return Ok(wanted);
    }
    if wanted == 0 && from_oldest {
        return Ok(kept.start);
    }
    // Rows that begin with nothing can begin with what is left.
    let first = if wanted == 0 { "" } else { "delete the state directory and " };
    Err(Error::new(
        ErrorKind::BehindChangelog,
        format!(
            "the state needs {id} from offset {wanted}, but the changelog begins at {}; restore a copy of the \
             changelog that reaches back, or {first}open with `from_oldest_kept` to begin with what is left",
            kept.start
        ),
    ))
}
