//! The failure policy: which record is to blame for a failed epoch, and what becomes of it.

use super::Task;
use super::epoch::Failure;
use super::input::{EpochInput, EpochLimit};
use crate::dataflow::{Skipped, Stamp};
use crate::{Error, ErrorKind, Position, Result};
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
/// # use millpond::{ManualClock, TopicPartition, changelog::{Changelog, Producer}};
/// # let producer = Producer::new(changelog.clone(), &orders, Arc::new(ManualClock::new(0)))?;
/// producer.send([(&1, Some(&4), 0), (&2, Some(&0), 0), (&3, Some(&5), 0)]).wait()?;
/// stepper.epoch(100)?;
/// assert_eq!(stepper.view(&shares)?.multi_get(&[1, 2, 3])?, [Some(25), None, Some(20)]);
/// assert_eq!(stepper.stats()?.dead_letters, 1);
/// assert_eq!(changelog.offsets(&TopicPartition::new(dead.name().clone(), 0))?, 0..1);
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FailurePolicy {
    /// Everything before the record is applied and published, nothing after it; the engine stops with an error that
    /// names topic, partition and offset.
    #[default]
    Stop,
    /// The record is appended to this topic, with the reason and its origin in headers, and left out.
    DeadLetter(Arc<str>),
}

impl Task {
    /// Runs the epoch `input`, without the records that the failure policy leaves out.
    pub(super) fn process(&mut self, from: &Position, input: &EpochInput) -> Result<()> {
        let mut skipped = Skipped::new();
        loop {
            let failure = match self.attempt(input, &skipped, false) {
                Ok(sealed) => return self.finish(from, input, sealed, &skipped),
                Err(failure) => self.attribute(failure, input, &skipped)?,
            };
            let (Some(stamp), ErrorKind::User) = (failure.record, failure.error.kind()) else {
                return Err(failure.error);
            };
            if matches!(self.setting.policy, FailurePolicy::DeadLetter(_)) {
                tracing::warn!(offset = stamp.offset, error = %failure.error, "a record goes to the dead letters");
                skipped.insert((stamp.source, stamp.offset), failure.error.to_string());
            } else {
                return Err(self.stop_before(from, input, stamp, failure.error));
            }
        }
    }

    /// Finds the record that is to blame for a failure of user code, by running the epoch again with notes.
    fn attribute(&self, failure: Failure, input: &EpochInput, skipped: &Skipped) -> Result<Failure> {
        if failure.record.is_some() || failure.error.kind() != ErrorKind::User {
            return Ok(failure);
        }
        if let Err(again) = self.attempt(input, skipped, true) {
            return Ok(again);
        }
        self.roll_back();
        Err(Error::user(
            "user code failed, but not when the same epoch was run again: it is not deterministic; check it with the \
             laws of the test kit",
        )
        .with_source(failure.error))
    }

    /// Applies what stands before the failing record, and says where it is.
    fn stop_before(&mut self, from: &Position, input: &EpochInput, stamp: Stamp, error: Error) -> Error {
        let Some(partition) = self.input.partition(stamp.source).cloned() else { return error };
        let advice =
            "nothing after it was applied; mend the code, or open with a dead-letter topic to leave it out";
        let error = error.context(format!("{partition} offset {} ({advice})", stamp.offset));
        let mut until = input.position.clone();
        until.set(partition, stamp.offset);
        let limit = EpochLimit { records: usize::MAX, bytes: usize::MAX };
        let applied = self.input.rewind(from).and_then(|()| self.step(limit, Some(&until)));
        applied.err().unwrap_or(error)
    }
}
