//! The failure policy: which record is to blame for a failed epoch, and what becomes of it.
//!
//! Invariant: user code is to blame at a record only if it fails in an epoch of that record alone, everything before it
//! applied; so what is left out does not depend on where epochs were cut. For the same reason code is asked about every
//! update of a table where records may be left out, not only about what an epoch made of each row.
//!
//! The way there is short: an epoch that fails is put back and cut before the record at which it failed, and the next ones
//! are smaller for a while, so that many failing records cost in proportion to their number. Records that do not decode
//! need none of this: they fail whatever stands beside them, and one run finds all of them.
//!
//! An epoch that was appended before a crash keeps its cut while records are left out of it, since what was appended
//! belongs to it; it is cut only where the engine stops within it.

use super::Task;
use super::closings::LeftOutOfEpoch;
use super::epoch::EpochFailure;
use super::input::{EpochInput, EpochLimit};
use crate::dataflow::{LeftOut, Skipped};
use crate::flow::Closings;
use crate::{Error, Result};
use std::sync::Arc;

/// What happens to a record that does not decode, or at which user code fails.
/// # Examples
/// ```
/// use millpond::{Engine, FailurePolicy, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let (orders, dead) = (Topic::<u8, u32>::new("orders"), Topic::<u8, u32>::new("dead"));
/// let graph = GraphBuilder::new();
/// let shares = graph.stream(&orders).map_values(|_, people| 100 / people).to_table("shares");
/// let mut stepper = Engine::builder(&graph.build()?)
///     .in_memory()
///     .changelog(changelog.clone())
///     .on_failure(FailurePolicy::DeadLetter("dead".into()))
///     .stepper()?;
/// # use millpond::{ManualClock, TopicPartition, changelog::{Producer, prelude::ReadLog}};
/// # let producer = Producer::new(changelog.clone(), &orders, Arc::new(ManualClock::new(0)))?;
/// producer.send([(&1, Some(&4), 0), (&2, Some(&0), 0), (&3, Some(&5), 0)]).wait_blocking()?;
/// stepper.epoch(100)?;
/// assert_eq!(stepper.view(&shares)?.multi_get(&[1, 2, 3])?, [Some(25), None, Some(20)]);
/// assert_eq!(stepper.stats().dead_letters, 1);
/// assert_eq!(changelog.offsets(&TopicPartition::new(dead.name().clone(), 0))?, 0..1);
///
/// // Whoever looks after them reads their topic as any other. Headers say what they were, and why they are here.
/// let graph = GraphBuilder::new();
/// let reasons = graph
///     .records(&dead)
///     .map_values(|_, letter| {
///         let header = |name| String::from_utf8_lossy(letter.header(name).unwrap_or_default()).into_owned();
///         (header("millpond.topic"), header("millpond.offset"), header("millpond.reason"))
///     })
///     .to_table("reasons");
/// let mut clerk = Engine::builder(&graph.build()?).in_memory().changelog(changelog).name("clerk").stepper()?;
/// clerk.epoch(100)?;
/// let (topic, offset, reason) = clerk.view(&reasons)?.get(&2)?.expect("a letter");
/// assert_eq!((topic.as_str(), offset.as_str()), ("orders", "1"));
/// assert!(reason.contains("divide by zero"));
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[doc(alias = "DeserializationExceptionHandler")]
#[doc(alias = "ProcessingExceptionHandler")]
pub enum FailurePolicy {
    /// Everything before the record is applied and published, nothing after it; the engine stops with an error that
    /// names topic, partition and offset.
    #[default]
    Stop,
    /// The record is appended to this topic with its own headers, and the reason and its origin in further ones
    /// (`millpond.reason`, `.topic`, `.partition`, `.offset` and `.engine`), and left out. Tables that are being built
    /// set aside what they cannot take in the same way; so that they agree with the tables that they derive from, these are built
    /// anew with them, and with all that derives from these. A record that fails for the same reason once more, there or after
    /// a crash, is not written again; one that fails for another reason is. Only where several engines share a name, as on Kafka, and
    /// build the same table at the same moment, may each of them write it.
    ///
    /// Where code fails at what has *closed*, such as in a `map` behind `on_close`, no record is to blame. What was told of that one
    /// window, of that one record that has met none, or that was put in order, is left out on every way, and has a letter: the
    /// key of its row as it is encoded, without a value, dated as it was told, with `millpond.reason`, `.engine`, `.table` and
    /// `.closed`, the moment in milliseconds. The row stays in its table. Code that fails at an alarm, or where parts of a hopping or sliding
    /// window are merged as it closes, stops the engine with an error that says for which key and when, and so does what fails
    /// where a table lets go of a row by its time.
    DeadLetter(Arc<str>),
}

/// What the failures of the last epochs advise for the next ones.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// How many records to take at the most.
    records: Option<usize>,
    /// The place in the log before which the next epoch has to end, whatever else would be allowed.
    before: Option<u64>,
    /// The record that seems to be to blame, by its place: it gets an epoch of its own.
    suspect: Option<u64>,
    /// About how many bytes a record of the last epochs became beyond what it was.
    growth: usize,
    /// The record whose panic was printed last, by its place.
    told: Option<u64>,
}

/// How many records the first epoch takes of an engine that knows nothing of what they become.
const FIRST_RECORDS: usize = 16;

impl Backoff {
    /// Nothing is known of what records become: the first epochs are short, and each may have twice as many as the last.
    pub(super) fn of_a_beginner() -> Self {
        Self { records: Some(FIRST_RECORDS), ..Self::default() }
    }

    /// What the next epoch may take, if it may become so many bytes more.
    pub(super) fn bound(&mut self, limit: EpochLimit, growth_bytes: usize) -> (EpochLimit, Option<u64>) {
        // With some room, since records differ.
        let fitting = growth_bytes / 4 * 3 / self.growth.max(1);
        let limit = EpochLimit { records: limit.records.min(fitting.max(1)), ..limit };
        if self.records.is_some_and(|records| records >= limit.records) {
            self.records = None;
        }
        match self.before {
            Some(before) => (limit, Some(before)),
            None => (EpochLimit { records: self.records.unwrap_or(limit.records), ..limit }, None),
        }
    }

    /// Whether the panic of the record with this place was printed.
    pub(super) fn has_told(&self, place: u64) -> bool {
        self.told == Some(place)
    }

    /// An epoch went well: on to the record it was cut before, or to larger epochs again.
    pub(super) fn relax(&mut self, records: u64, grown_bytes: usize) {
        // What closes without records says nothing of what records become.
        if let Some(growth) =
            usize::try_from(records).ok().and_then(|records| grown_bytes.checked_div(records))
        {
            self.growth = growth.max(self.growth / 8 * 7);
        }
        if self.before.take().is_none() {
            self.records = self.records.map(|records| records.saturating_mul(2));
        } else if let Some(suspect) = self.suspect.take() {
            self.before = Some(suspect + 1);
        }
    }

    /// The epoch `input` has failed, as it seems at the record with the place `suspect`: the next one is a part of it.
    fn narrow(&mut self, input: &EpochInput, suspect: Option<u64>) {
        self.records = Some(usize::try_from(input.records / 2).unwrap_or(usize::MAX).max(1));
        // What stands before a suspect can fail as well, where a value that was spoilt shows at a later record of its
        // key. Going back from suspect to suspect may take as many steps as there are records; halves do not.
        let again = self.before.is_some();
        let first_half = || input.place_after(input.records / 2);
        let (before, suspect) = match suspect {
            Some(suspect) if suspect == input.first() => (suspect + 1, None),
            Some(suspect) if !again => (suspect, Some(suspect)),
            _ => (first_half(), None),
        };
        self.before = Some(before);
        self.suspect = suspect;
    }
}

/// What became of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EpochOutcome {
    /// It is published.
    Done,
    /// It was put back to be cut shorter, since a record of it fails.
    Failed,
    /// It was put back to be cut shorter, since it became too large.
    TooMuch,
    /// It was put back to be cut again once it can be decoded, or it is known which of its letters are there.
    Awaits,
}

impl Task {
    /// Runs the epoch `input`, without the records that the failure policy leaves out.
    pub(super) fn process(&mut self, input: &EpochInput) -> Result<EpochOutcome> {
        let mut left_out = LeftOutOfEpoch::default();
        loop {
            let closings = Closings::all_but(&left_out.closings);
            let mut failure = match self.attempt(input, &left_out.records, &closings, false) {
                Ok(sealed) => {
                    let grown_bytes = sealed.grown_bytes;
                    if !self.finish(input, sealed, &left_out)? {
                        self.input.put_back(input)?;
                        return Ok(EpochOutcome::Awaits);
                    }
                    self.backoff.relax(input.records, grown_bytes);
                    self.rounds = 0;
                    return Ok(EpochOutcome::Done);
                }
                Err(failure) if failure.too_much || failure.awaited.is_some() => failure,
                Err(failure) => self.attribute(failure, input, &left_out)?,
            };
            self.backoff.told = failure.record.or(self.backoff.told);
            if let Some(awaited) = failure.awaited.take() {
                self.input.put_back(input)?;
                self.wait_for(*awaited);
                return Ok(EpochOutcome::Awaits);
            }
            if failure.too_much {
                self.input.put_back(input)?;
                self.backoff.narrow(input, None);
                return Ok(EpochOutcome::TooMuch);
            }
            if !failure.is_of_user() {
                return Err(failure.error);
            }
            // What closes stands behind all records, and need not be alone to be found.
            if let Some(place) = failure.closing_place()
                && (self.setting.sets_aside() || input.records <= 1)
                && let Some((closing, error)) = self.closing_to_blame(input, &left_out, place)?
            {
                if !self.setting.sets_aside() {
                    failure.error = error.context(self.told_of(&closing));
                    return Err(self.stopped(input, failure));
                }
                left_out.closings.insert(closing, error.to_string());
                continue;
            }
            let Some(records) = self.left_out(&failure, input) else {
                // One without records cannot be cut smaller either.
                if input.records <= 1 {
                    return Err(self.stopped(input, failure));
                }
                self.input.put_back(input)?;
                self.backoff.narrow(input, failure.record);
                return Ok(EpochOutcome::Failed);
            };
            let before = left_out.records.len();
            left_out.records.extend(records);
            if left_out.records.len() == before {
                return Err(failure.error.context(
                    "the epoch fails without the record to blame, too; an operator names it wrongly to `Context::at`",
                ));
            }
        }
    }

    /// The records to leave out of the epoch after this failure; `None` if it is not clear enough that they are to blame,
    /// or nothing may be left out.
    fn left_out(&self, failure: &EpochFailure, input: &EpochInput) -> Option<Skipped> {
        // No record is to blame for what was made where something closed, and nothing of that could be left out.
        if !self.setting.sets_aside() || failure.is_of_closing() {
            return None;
        }
        if !failure.undecodable.is_empty() {
            return Some(failure.undecodable.clone());
        }
        let record = match failure.record {
            Some(record) if input.replayed => record,
            _ if input.records == 1 => input.first(),
            _ => return None,
        };
        let (reason, decodes) = (failure.error.to_string(), failure.step.is_some());
        Some(Skipped::from([(record, LeftOut { reason, decodes })]))
    }

    /// Finds the record at which user code failed, by running the epoch again with notes.
    fn attribute(
        &self,
        mut failure: EpochFailure,
        input: &EpochInput,
        left_out: &LeftOutOfEpoch,
    ) -> Result<EpochFailure> {
        // An operator may name what it likes.
        failure.record = failure.record.filter(|&place| input.find(place).is_some());
        if failure.record.is_some() || !failure.is_of_user() {
            return Ok(failure);
        }
        let closings = Closings::all_but(&left_out.closings);
        if let Err(mut again) = self.attempt(input, &left_out.records, &closings, true) {
            // An operator may name what it likes.
            again.record = again.record.filter(|&place| input.find(place).is_some());
            return Ok(again);
        }
        self.roll_back()?;
        Err(Error::user(
            "user code failed, but not when the same epoch was run again: it is not deterministic; check it with the \
             laws of the test kit",
        )
        .with_source(failure.error))
    }

    /// The error for the only record of `input`: everything before it was applied.
    fn stopped(&self, input: &EpochInput, failure: EpochFailure) -> Error {
        let place = input
            .find(input.first())
            .and_then(|(source, offset)| Some(format!("{} offset {offset}", self.input.partition(source)?)));
        let advice = if failure.undecodable.is_empty() {
            "nothing after it was applied; mend the code, or open with a dead-letter topic to leave it out"
        } else {
            "nothing after it was applied; if the codec or the type of the topic is another one than it was written with, go back \
             to that, for all its records would fail; if this one is not what others are, open with a dead-letter topic to \
             leave it out"
        };
        let (closed, due) = (failure.is_of_closing(), failure.due);
        // Only here: the reason in a dead letter is what the letter is known by, and names no steps.
        let error = match failure.step {
            Some(step) => failure.error.context(format!("in {}", self.setting.graph.step(step))),
            None => failure.error,
        };
        if closed {
            let place = due.map_or_else(|| "where something closed".to_owned(), |due| format!("at {due}"));
            return Error::new(
                error.kind(),
                format!(
                    "{error}; that was made {place}, and no record is to blame: mend the code; nothing was lost, and what closes is told \
                     again"
                ),
            );
        }
        // What happened before what to do: the causes, too, come first.
        Error::new(error.kind(), format!("{}: {error}; {advice}", place.unwrap_or_default()))
    }
}
