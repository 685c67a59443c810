//! The input of a task: the records of its partitions, from which epochs are cut.
//!
//! In a log that is one sequence an epoch is a prefix of what is left of that order, up to a cap ([`PartitionMerge`]). In any
//! other log it is what was read of each partition, put in an order by rules that look at nothing else ([`Gather`]). Where the
//! log already holds the [mark](Marks) of an epoch, a replay cuts the same epoch again; and so does whoever follows another
//! engine, and a build, as the marks come.

mod cursor;
mod epoch_input;
mod gather;
mod interleave;
mod marks;
mod merge;
mod prefix;
mod ticks;

pub(super) use epoch_input::{BatchSlice, EpochInput};

use super::Setting;
use crate::changelog::EpochMark;
use crate::time::{Reach, Tick};
use crate::{Error, ErrorKind, Position, Result, TopicPartition};
use gather::Gather;
use marks::Marks;
use merge::PartitionMerge;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use ticks::Ticks;

/// At most so many stored bytes are polled of one partition at a time.
const MAX_POLL_BYTES: usize = 4 << 20;

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
    /// Before the first record of these partitions that the position does not include, as a tick is to be taken first.
    pub(crate) ticks: Option<&'p Position>,
}

/// How the partitions of a task are read.
enum Partitions {
    /// As one sequence, which is that of the log.
    Merged(PartitionMerge),
    /// Each by itself, since the log has no sequence.
    Gathered(Gather),
}

impl Partitions {
    fn reads(&self, id: &TopicPartition) -> bool {
        match self {
            Self::Merged(merge) => merge.reads(id),
            Self::Gathered(gather) => gather.reads(id),
        }
    }
}

/// The readers of a task.
pub(crate) struct TaskInput {
    partitions: Partitions,
    position: Position,
    /// Where it was opened.
    began: Position,
    /// What takes its partitions on in time beside their records, if the graph looks at time.
    ticks: Option<Ticks>,
    marks: Marks,
    /// Where the epoch ended whose mark was passed last, until somebody looks.
    passed: Option<Position>,
    /// The topics it reads, with their numbers.
    topics: BTreeMap<Arc<str>, usize>,
    /// Whether another engine decides where epochs end: nothing is taken that it has not marked.
    follows: bool,
}

/// Which marks a task keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// None.
    Nothing,
    /// Those that were there when it was opened.
    Replayed,
    /// Those that were there, and those that come.
    Followed,
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
        keeps: Keeps,
    ) -> Result<Self> {
        // A topic that an earlier graph read stays in the position: the marks of its epochs name it.
        let mut position = position.clone();
        let Setting { changelog, abilities, .. } = setting;
        let mut read = if abilities.one_sequence {
            Partitions::Merged(PartitionMerge::new(Arc::clone(changelog)))
        } else {
            Partitions::Gathered(Gather::new(Arc::clone(changelog), setting.graph.interleaves))
        };
        for (id, topic) in partitions {
            let next = first_to_read(setting, id, &changelog.offsets(id)?, position.known(id))?;
            position.set(id.clone(), next);
            match &mut read {
                Partitions::Merged(merge) => merge.add(id.clone(), *topic, next),
                Partitions::Gathered(gather) => gather.add(id.clone(), *topic, next),
            }
        }
        let ticks = setting.graph.looks_at_time().then(|| Ticks::open(setting, &position)).transpose()?;
        if let Some(ticks) = &ticks {
            position.set(ticks.id().clone(), position.offset(ticks.id()));
        }
        let marks = match keeps {
            Keeps::Nothing => Marks::none(),
            Keeps::Replayed => Marks::there(changelog.epochs_after(&setting.name, &position)?),
            Keeps::Followed => Marks::followed(Arc::clone(changelog), Arc::clone(&setting.name)),
        };
        let began = position.clone();
        let topics = partitions.iter().map(|(id, topic)| (Arc::clone(&id.topic), *topic)).collect();
        let mut input =
            Self { partitions: read, position, began, ticks, marks, passed: None, topics, follows: false };
        input.marks.look_ahead(&input.position)?;
        input.pass_marks()?;
        Ok(input)
    }

    /// Reads a partition that was added to a topic that is read, unless it is read already.
    ///
    /// # Errors
    /// `Unavailable` if the log does not tell of it now: it is not read yet.
    pub(crate) fn add(&mut self, id: &TopicPartition) -> Result<()> {
        let (Partitions::Gathered(gather), Some(topic)) = (&mut self.partitions, self.topics.get(&id.topic))
        else {
            return Ok(());
        };
        if let Some(next) = gather.add_found(id, *topic, self.position.known(id))? {
            self.position.set(id.clone(), next);
            self.began.set(id.clone(), next);
        }
        Ok(())
    }

    /// Reads the partitions that a mark names and that are not read yet, although their topics are: whoever has marked it has
    /// found them before.
    fn add_named(&mut self, position: &Position) -> Result<()> {
        let is_new = |id: &TopicPartition| self.topics.contains_key(&id.topic) && !self.reads(id);
        let new: Vec<TopicPartition> =
            position.iter().filter(|(id, _)| is_new(id)).map(|(id, _)| id.clone()).collect();
        new.iter().try_for_each(|id| self.add(id))
    }

    /// Forgets the marks that lie behind. A mark may name partitions that the graph no longer reads; what they held up to
    /// there was consumed by the graph before, and must not be waited for.
    ///
    /// # Errors
    /// `Unavailable` if a mark names a partition of which the log does not tell now.
    fn pass_marks(&mut self) -> Result<()> {
        while let Some(mark) = self.marks.first().cloned() {
            self.add_named(&mark.to)?;
            self.pass_unread(&mark.from);
            if self.position.includes(&mark.from) && self.has_read(&mark.to) {
                self.pass_unread(&mark.to);
            }
            if !self.position.includes(&mark.to) {
                return Ok(());
            }
            self.passed = self.marks.pass_first().map(|mark| mark.to);
        }
        Ok(())
    }

    /// Whether all that the next marks name is read, or could be: looks for the marks that come.
    ///
    /// # Errors
    /// As for [`epochs_after`](crate::changelog::EpochLog::epochs_after).
    fn look_at_marks(&mut self) -> Result<bool> {
        let looked = self.pass_marks().and_then(|()| {
            self.marks.look_ahead(&self.position)?;
            self.pass_marks()
        });
        match looked {
            // A broker that has not heard of a partition yet will.
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(%error, "what is marked cannot be read yet");
                Ok(false)
            }
            looked => looked.map(|()| true),
        }
    }

    /// Where it would begin if it went back to what the store has: where it was opened, if nothing is stored.
    ///
    /// # Errors
    /// `Internal` in a log that is one sequence, where nothing is ever taken back.
    pub(crate) fn back_to(&self, stored: Option<&Position>) -> Result<Position> {
        if matches!(self.partitions, Partitions::Merged(_)) {
            return Err(Error::internal("what a log that is one sequence has marked was taken back"));
        }
        let mut position = self.began.clone();
        if let Some(stored) = stored {
            stored.iter().for_each(|(id, offset)| position.set(id.clone(), offset));
        }
        Ok(position)
    }

    /// Goes back to `position`: everything behind that is read again, and cut as it is marked.
    pub(crate) fn go_back(&mut self, position: Position) {
        if let Partitions::Gathered(gather) = &mut self.partitions {
            gather.go_back(&position);
        }
        if let Some(ticks) = &mut self.ticks {
            ticks.go_back(&position);
        }
        self.position = position;
        self.marks.forget();
        self.follows = true;
    }

    /// Says whether another engine decides where epochs end. What was put back, to be cut otherwise, is read again then.
    pub(crate) fn follow(&mut self, follows: bool) {
        if let Partitions::Gathered(gather) = &mut self.partitions
            && follows
            && !self.follows
        {
            gather.forget_returned();
        }
        self.follows = follows;
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

    pub(crate) fn reads(&self, id: &TopicPartition) -> bool {
        self.partitions.reads(id) || self.ticks.as_ref().is_some_and(|ticks| ticks.id() == id)
    }

    /// The next mark to which it keeps, of those that it has looked for.
    pub(crate) fn next_mark(&self) -> Option<&EpochMark> {
        self.marks.first()
    }

    /// Whether there are marks that were not come to, asked between two epochs: the last one that was is still the next otherwise,
    /// until something is cut.
    pub(crate) fn has_marks_ahead(&mut self) -> Result<bool> {
        self.pass_marks()?;
        Ok(self.marks.first().is_some())
    }

    /// Where the epoch ended whose mark was passed last, if that is new.
    pub(crate) fn take_passed_mark(&mut self) -> Option<Position> {
        self.passed.take()
    }

    /// Where the next epoch begins.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// Where the sequence of the log ended when the last epoch was cut.
    pub(crate) fn end_of_log(&self) -> Option<u64> {
        match &self.partitions {
            Partitions::Merged(merge) => merge.end(),
            Partitions::Gathered(_) => None,
        }
    }

    /// The partition numbered `source`.
    pub(crate) fn partition(&self, source: u32) -> Option<&TopicPartition> {
        match &self.partitions {
            Partitions::Merged(merge) => merge.id(source),
            Partitions::Gathered(gather) => gather.id(source),
        }
    }

    /// Cuts the next epoch; `None` if there is nothing to read. One without records only moves the position, over offsets at
    /// which there are none. Within an epoch that was marked before, only `bound` cuts short. `pool` is for what has to be
    /// decoded to be put in order.
    ///
    /// # Errors
    /// `Corrupt` if a stored batch is damaged, or another error of the changelog.
    pub(crate) fn cut(
        &mut self,
        limit: EpochLimit,
        bound: Bound<'_>,
        pool: &rayon::ThreadPool,
    ) -> Result<Option<EpochInput>> {
        // Only now, so that an epoch that was put back finds its mark again.
        if !self.look_at_marks()? {
            return Ok(None);
        }
        let replayed = self.marks.first().filter(|mark| self.position.includes(&mark.from)).cloned();
        let (limit, cap) = match (&replayed, self.marks.first()) {
            // What was appended for this epoch covers exactly this input.
            (Some(mark), _) => (EpochLimit { records: usize::MAX, ..limit }, Some(mark.to.clone())),
            (None, Some(mark)) => (limit, Some(mark.from.clone())),
            // There is nothing to decide about offsets at which there is no record.
            (None, None) if self.follows => (limit, Some(self.position.clone())),
            (None, None) => (limit, None),
        };
        let mut epoch =
            EpochInput { from: self.position.clone(), replayed: replayed.is_some(), ..EpochInput::default() };
        let Some(ends) = self.take_ticks(bound, cap.as_ref(), &mut epoch)? else { return Ok(None) };
        let bound = Bound { ticks: Some(&ends), ..bound };
        let Self { partitions, position, .. } = self;
        match partitions {
            // What is due by them closes before anything else is read.
            _ if !epoch.ticks.is_empty() => {}
            Partitions::Merged(merge) => merge.cut(limit, bound, cap.as_ref(), &mut epoch, position)?,
            Partitions::Gathered(gather) => {
                gather.cut(limit, bound, cap.as_ref(), &mut epoch, pool)?;
                // So may a build within what is marked, up to where the main task stands: that may have passed them before the
                // rest of the epoch was there, and wait for the build.
                let may_pass = if replayed.is_some() { bound.until.is_some() } else { self.follows };
                if may_pass && epoch.pieces.is_empty() {
                    gather.pass_gaps(bound)?;
                }
                gather.note(position);
            }
        }
        if epoch.pieces.is_empty() && self.position == epoch.from {
            return Ok(None);
        }
        if let Some(mark) = &replayed {
            self.pass_unread(&mark.to);
        }
        epoch.position = self.position.clone();
        epoch.reads = replayed.map_or_else(|| self.position.clone(), |mark| mark.to);
        epoch.marked = cap.filter(|_| self.marks.are_followed());
        Ok(Some(epoch))
    }

    /// Moves the ticks that are due to `epoch`. Answers with where partitions must not be read on, as others are to be taken there;
    /// with none if it is not known yet which there are.
    fn take_ticks(
        &mut self,
        bound: Bound<'_>,
        cap: Option<&Position>,
        epoch: &mut EpochInput,
    ) -> Result<Option<Position>> {
        let Self { ticks: Some(ticks), partitions, position, .. } = self else {
            return Ok(Some(Position::new()));
        };
        let ends = [cap, bound.until].map(|end| end.map_or(u64::MAX, |end| end.offset(ticks.id())));
        let end = ends.into_iter().min().unwrap_or(u64::MAX);
        let wanted = if end == u64::MAX { 0 } else { end };
        match ticks.look_ahead(wanted) {
            Ok(true) => {}
            Err(error) if error.kind() != ErrorKind::Unavailable => return Err(error),
            outcome => {
                tracing::debug!(?outcome, "what was noted of silent partitions is not there yet");
                return Ok(None);
            }
        }
        epoch.ticks = ticks.take(position, end, |id| partitions.reads(id));
        position.set(ticks.id().clone(), position.offset(ticks.id()) + epoch.ticks.len() as u64);
        Ok(Some(ticks.ends()))
    }

    /// The input of an epoch that takes these partitions on in time, and has no records: the next tick, which is to be appended with
    /// its mark. None if the task reads no ticks, or does not know yet which there are.
    ///
    /// # Errors
    /// Those of the changelog.
    pub(crate) fn tick(&mut self, times: &BTreeMap<TopicPartition, i64>) -> Result<Option<EpochInput>> {
        // Another engine may have marked something since it was looked, and this one be the holder only now.
        if !self.look_at_marks()? || self.marks.first().is_some() || self.follows {
            return Ok(None);
        }
        let Some(ticks) = self.ticks.as_mut() else { return Ok(None) };
        if !ticks.look_ahead(0)? || ticks.lie_ahead() {
            return Ok(None);
        }
        let (from, number) = (self.position.clone(), self.position.offset(ticks.id()));
        let reach = |(id, &time_ms): (&TopicPartition, _)| Reach::new(id, from.offset(id), time_ms);
        let tick = Tick { number, partitions: times.iter().map(reach).collect() };
        ticks.pass_own();
        self.position.set(ticks.id().clone(), number + 1);
        let (position, reads) = (self.position.clone(), self.position.clone());
        let ticks = vec![tick];
        Ok(Some(EpochInput { from, position, reads, ticks, makes_tick: true, ..EpochInput::default() }))
    }

    /// The input of an epoch that takes these partitions on in time and stands nowhere in the log.
    pub(crate) fn raised(&self, times: &BTreeMap<TopicPartition, i64>) -> EpochInput {
        let (from, position, reads) = (self.position.clone(), self.position.clone(), self.position.clone());
        let reach = |(id, &time_ms): (&TopicPartition, _)| Reach::new(id, position.offset(id), time_ms);
        let ticks = vec![Tick { number: 0, partitions: times.iter().map(reach).collect() }];
        EpochInput { ticks, from, position, reads, ..EpochInput::default() }
    }

    /// Puts the epoch that was cut last back, to be cut otherwise.
    ///
    /// # Errors
    /// `Corrupt` if a stored batch is damaged.
    pub(crate) fn put_back(&mut self, epoch: &EpochInput) -> Result<()> {
        self.position = epoch.from.clone();
        if let Some(ticks) = &mut self.ticks {
            ticks.put_back(&epoch.ticks);
        }
        match &mut self.partitions {
            Partitions::Merged(merge) => merge.put_back(epoch),
            Partitions::Gathered(gather) => {
                gather.put_back(epoch);
                Ok(())
            }
        }
    }
}

/// Where to begin reading `id`, of which the offsets `kept` are there, if the state stands at `known`. One that has never seen
/// the partition begins with its first record; where a log drops records by rules of its own, with the first that it has.
///
/// # Errors
/// `AheadOfChangelog` or `BehindChangelog`.
pub(super) fn first_to_read(
    setting: &Setting,
    id: &TopicPartition,
    kept: &Range<u64>,
    known: Option<u64>,
) -> Result<u64> {
    let wanted = known.unwrap_or(0);
    let from_oldest = setting.from_oldest_kept || (known.is_none() && !setting.abilities.keeps_holds);
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
    let remedy = if setting.abilities.keeps_holds {
        format!(
            "restore a copy of the changelog that reaches back, or {first}open with `from_oldest_kept` to begin with what is left"
        )
    } else {
        "restore a younger checkpoint, or delete the state directory to begin with what is left".to_owned()
    };
    Err(Error::new(
        ErrorKind::BehindChangelog,
        format!(
            "the state needs {id} from offset {wanted}, but the changelog begins at {}; {remedy}",
            kept.start
        ),
    ))
}
