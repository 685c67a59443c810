//! The ticks of a task: read beside its partitions, and taken between its epochs.
//!
//! A tick is due once the partitions that it names stand where it was made, and until then none of them is read beyond that: so it
//! is taken before the same records wherever epochs are cut. Whoever made it stood there, so it always comes due.
//!
//! Ticks are numbered, and a position says how many were taken, under the partition that they are in. Offsets would not do: in a log
//! with gaps nobody knows that of a tick before it was appended, and it is appended with the mark that names it.

use super::first_to_read;
use crate::changelog::{Changelog, PartitionReader};
use crate::task::Setting;
use crate::time::Tick;
use crate::{Error, Position, Result, TopicPartition};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// So many stored bytes are read at a time.
const POLL_BYTES: usize = 1 << 20;

/// The ticks that lie ahead of a task.
pub(super) struct Ticks {
    id: TopicPartition,
    changelog: Arc<dyn Changelog>,
    reader: Option<Box<dyn PartitionReader>>,
    ahead: VecDeque<Tick>,
    /// The number of the tick after those that are known.
    next: u64,
    /// Where they ended when the task was opened: nothing is cut before they are known up to there.
    end: u64,
}

impl Ticks {
    /// Those of an engine, of which `position` says how many were taken.
    ///
    /// # Errors
    /// `AheadOfChangelog` if there are less than that; those of the changelog.
    pub(super) fn open(setting: &Setting, position: &Position) -> Result<Self> {
        let Setting { changelog, ticks: id, .. } = setting;
        let kept = if changelog.partitions(&id.topic)?.is_some() {
            changelog.offsets(id)?
        } else {
            Range::default()
        };
        let next = position.offset(id);
        // A tick has at least the offset that is its number.
        if next > kept.end {
            first_to_read(setting, id, &kept, Some(next))?;
        }
        let (id, changelog) = (id.clone(), Arc::clone(changelog));
        Ok(Self { id, changelog, reader: None, ahead: VecDeque::new(), next, end: kept.end })
    }

    pub(super) fn id(&self) -> &TopicPartition {
        &self.id
    }

    /// Whether all are known that there were when it was opened, and those with numbers below `wanted`: reads on if not.
    ///
    /// # Errors
    /// `Corrupt` if one does not decode, or is missing; another error of the changelog.
    pub(super) fn look_ahead(&mut self, wanted: u64) -> Result<bool> {
        loop {
            let read = self.reader.as_ref().map_or(0, |reader| reader.offset());
            if self.next >= wanted && read >= self.end {
                return Ok(true);
            }
            if self.reader.is_none() && self.changelog.partitions(&self.id.topic)?.is_none() {
                return Ok(false);
            }
            let Some(reader) = &mut self.reader else {
                let kept = self.changelog.offsets(&self.id)?;
                self.reader = Some(self.changelog.reader(&self.id, self.next.clamp(kept.start, kept.end))?);
                // It may stand at the end already.
                continue;
            };
            let before = reader.offset();
            let batches = reader.poll(POLL_BYTES)?;
            if batches.is_empty() && reader.offset() == before {
                return Ok(false);
            }
            for batch in batches {
                for record in &batch.decode()? {
                    let tick = Tick::decode(record.value.unwrap_or_default())?;
                    if tick.number > self.next {
                        return Err(Error::corrupt(format!(
                            "tick {} of {} is not there; restore a copy of the changelog that has it",
                            self.next, self.id
                        )));
                    }
                    if tick.number == self.next {
                        self.ahead.push_back(tick);
                        self.next += 1;
                    }
                }
            }
        }
    }

    /// Whether some are known that were not taken.
    pub(super) fn lie_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Takes the ticks that are due at `position`, with numbers below `end`: several, but for one by which a period begins, which is taken
    /// alone. Of partitions that are not `read` nothing is waited for.
    pub(super) fn take(
        &mut self,
        position: &Position,
        end: u64,
        read: impl Fn(&TopicPartition) -> bool,
    ) -> Vec<Tick> {
        let is_due = |tick: &Tick| {
            let stands = |id: &TopicPartition, offset| position.offset(id) >= offset || !read(id);
            tick.number < end && tick.partitions.iter().all(|reach| stands(&reach.id(), reach.offset))
        };
        let due = self.ahead.iter().take_while(|tick| is_due(tick));
        let due = if self.ahead.front().is_some_and(Tick::begins_period) {
            due.take(1).count()
        } else {
            due.take_while(|tick| !tick.begins_period()).count()
        };
        self.ahead.drain(..due).collect()
    }

    /// Where partitions must not be read on, as a tick is to be taken there.
    pub(super) fn ends(&self) -> Position {
        let mut ends = Position::new();
        for reach in self.ahead.iter().flat_map(|tick| &tick.partitions) {
            let id = reach.id();
            let end = ends.known(&id).map_or(reach.offset, |end| end.min(reach.offset));
            ends.set(id, end);
        }
        ends
    }

    /// Puts back what was taken last.
    pub(super) fn put_back(&mut self, ticks: &[Tick]) {
        ticks.iter().rev().for_each(|tick| self.ahead.push_front(tick.clone()));
    }

    /// Notes that the task has made the next tick itself, and takes it.
    pub(super) fn pass_own(&mut self) {
        self.next += 1;
    }

    /// Goes back to where `position` stands.
    pub(super) fn go_back(&mut self, position: &Position) {
        self.reader = None;
        self.ahead.clear();
        self.next = position.offset(&self.id);
    }
}
