//! The input of a task: the records of its partitions in the order of the log, from which epochs are cut.
//!
//! An epoch is a prefix of what is left of that order, up to a cap. Where the derived topics of this task already hold the
//! output of an epoch, a replay cuts the same epoch again.

use super::Setting;
use super::cursor::Allowed;
use super::epoch_input::EpochInput;
use super::merge::PartitionMerge;
use crate::changelog::EpochMark;
use crate::{Error, ErrorKind, Position, Result, TopicPartition};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// How much an epoch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochLimit {
    /// Records.
    pub(crate) records: usize,
    /// Bytes of batches, decompressed.
    pub(crate) bytes: usize,
}

/// Where an epoch must end, whatever else it may take.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bound<'p> {
    /// Before the record with this place in the log.
    pub(crate) before: Option<u64>,
    /// Before the first record that this position does not include. Where it names no partition there is no bound.
    pub(crate) until: Option<&'p Position>,
}

/// The readers of a task.
pub(crate) struct TaskInput {
    merge: PartitionMerge,
    position: Position,
    cuts: VecDeque<EpochMark>,
}

impl TaskInput {
    /// Makes `partitions`, which are in ascending order and each with the number of its topic, ready to be read from `position`
    /// on.
    ///
    /// # Errors
    /// `AheadOfChangelog` or `BehindChangelog` if the changelog does not hold `position`.
    pub(crate) fn open(
        setting: &Setting,
        partitions: &[(TopicPartition, usize)],
        position: &Position,
        cuts: Vec<EpochMark>,
    ) -> Result<Self> {
        // A topic that an earlier graph read stays in the position: the marks of its epochs name it.
        let mut position = position.clone();
        let Setting { changelog, abilities, from_oldest_kept, .. } = setting;
        let mut merge = PartitionMerge::new(Arc::clone(changelog), abilities.one_sequence);
        for (id, topic) in partitions {
            let next = first_to_read(id, &changelog.offsets(id)?, position.offset(id), *from_oldest_kept)?;
            position.set(id.clone(), next);
            merge.add(id.clone(), *topic, next);
        }
        let mut input = Self { merge, position, cuts: cuts.into() };
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

    /// Whether the partitions that are read have been read up to `position`.
    fn has_read(&self, position: &Position) -> bool {
        position.iter().all(|(id, offset)| self.position.offset(id) >= offset || !self.merge.reads(id))
    }

    /// Moves the partitions that are not read on to `position`.
    fn pass_unread(&mut self, position: &Position) {
        for (id, offset) in position.iter() {
            if self.position.offset(id) < offset && !self.merge.reads(id) {
                self.position.set(id.clone(), offset);
            }
        }
    }

    /// Where the next epoch begins.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// Where the sequence of the log ended when the last epoch was cut.
    pub(crate) fn end_of_log(&self) -> Option<u64> {
        self.merge.end()
    }

    /// The partition numbered `source`.
    pub(crate) fn partition(&self, source: u32) -> Option<&TopicPartition> {
        self.merge.id(source)
    }

    /// Cuts the next epoch; `None` if there is nothing to read. Within an epoch that was appended before a crash, only
    /// `bound` cuts short.
    ///
    /// # Errors
    /// `Corrupt` if a stored batch is damaged, or another error of the changelog.
    pub(crate) fn cut(&mut self, limit: EpochLimit, bound: Bound<'_>) -> Result<Option<EpochInput>> {
        // Only now, so that an epoch that was put back finds its mark again.
        self.pass_marks();
        self.merge.refresh(limit.bytes)?;
        let replayed = self.cuts.front().filter(|mark| self.position.includes(&mark.from)).cloned();
        let (limit, cap) = match (&replayed, self.cuts.front()) {
            // What was appended for this epoch covers exactly this input.
            (Some(mark), _) => (EpochLimit { records: usize::MAX, ..limit }, Some(mark.to.clone())),
            (None, Some(mark)) => (limit, Some(mark.from.clone())),
            (None, None) => (limit, None),
        };
        let mut epoch =
            EpochInput { from: self.position.clone(), replayed: replayed.is_some(), ..EpochInput::default() };
        let taken = self.take(limit, bound, cap.as_ref(), &mut epoch);
        self.merge.finish(&epoch);
        taken?;
        if epoch.pieces.is_empty() {
            return Ok(None);
        }
        for piece in &epoch.pieces {
            if let Some(id) = self.merge.id(piece.source) {
                self.position.set(id.clone(), self.merge.offset(piece.source));
            }
        }
        if let Some(mark) = replayed {
            self.pass_unread(&mark.to);
        }
        epoch.position = self.position.clone();
        Ok(Some(epoch))
    }

    /// Moves records to `epoch`, in their order, until one of the limits is reached.
    fn take(
        &mut self,
        limit: EpochLimit,
        bound: Bound<'_>,
        cap: Option<&Position>,
        epoch: &mut EpochInput,
    ) -> Result<()> {
        let mut ends = Ends { cap, until: bound.until, reached: u64::MAX };
        let mut aside = Vec::new();
        let mut left_bytes = limit.bytes.max(1);
        let most = limit.records as u64;
        let before = bound.before.unwrap_or(u64::MAX);
        while epoch.records < most && (left_bytes > 0 || epoch.replayed) {
            let Some((number, place)) = self.merge.next().filter(|(_, place)| *place < before) else { break };
            let Some(id) = self.merge.id(number) else { break };
            let offset = ends.of(id, self.merge.offset(number), place);
            if offset <= self.merge.offset(number) {
                self.merge.set_aside(number);
                aside.push(number);
                continue;
            }
            let allowed = Allowed { offset, place: before, records: most - epoch.records };
            let brought = self.merge.take(number, allowed, limit.bytes, epoch)?;
            left_bytes = left_bytes.saturating_sub(brought);
            epoch.bytes += brought;
        }
        // Batches were taken whole. What overtook the first record that was left is not of this epoch.
        let left = self.merge.next().map_or(u64::MAX, |(_, place)| place);
        let overtaking = ends.overtaking(epoch, &self.merge);
        let place = |number| if overtaking.contains(&number) { left.min(ends.reached) } else { left };
        self.merge.keep_below(epoch, place)?;
        if epoch.records > most {
            let place = epoch.place_after(most);
            self.merge.keep_below(epoch, |_| place)?;
        }
        for number in aside {
            self.merge.let_in(number);
        }
        Ok(())
    }

    /// Puts the epoch that was cut last back, to be cut otherwise.
    ///
    /// # Errors
    /// `Corrupt` if a stored batch is damaged.
    pub(crate) fn put_back(&mut self, epoch: &EpochInput) -> Result<()> {
        self.position = epoch.from.clone();
        self.merge.put_back(epoch)
    }
}

/// Where the partitions must not be read on.
struct Ends<'p> {
    /// Of every partition; those that it does not name are not read at all.
    cap: Option<&'p Position>,
    /// Of the partitions that it names.
    until: Option<&'p Position>,
    /// The least place at which one of these stands: what `until` does not name must not overtake it.
    reached: u64,
}

impl Ends<'_> {
    /// The offset at which to stop reading `id`, whose next record is at `next` and has this place.
    fn of(&mut self, id: &TopicPartition, next: u64, place: u64) -> u64 {
        let cap = self.cap.map_or(u64::MAX, |cap| cap.offset(id));
        let Some(until) = self.until else { return cap };
        match until.known(id) {
            Some(end) => {
                if end <= next {
                    self.reached = self.reached.min(place);
                }
                cap.min(end)
            }
            None if self.reached <= place => next,
            None => cap,
        }
    }

    /// The partitions in `epoch` that must not overtake those which stand at their end.
    fn overtaking(&self, epoch: &EpochInput, merge: &PartitionMerge) -> BTreeSet<u32> {
        let Some(until) = self.until.filter(|_| self.reached < u64::MAX) else { return BTreeSet::new() };
        let sources = epoch.pieces.iter().map(|piece| piece.source);
        sources.filter(|source| merge.id(*source).is_some_and(|id| until.known(id).is_none())).collect()
    }
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
