//! What this process is to the epochs of one name, and what it has appended that is not committed yet.
//!
//! Invariants: what stands in the outbox was appended by an engine that was the holder, in the order of its epochs, each from
//! where the one before ended. It leaves the outbox when it is known to be committed, together with its marks; or all of it
//! when another process has taken over, and then the engine is told that it was fenced before it appends anything else.
//! Letters that belong to no epoch stand beside it until they are acknowledged; one that is not ends the tenure, so that no
//! commit passes over it.

use super::marks::{MarkLog, MarkReader};
use super::state::{Entry, LOOK, Stage, State};
use super::transactions::Producers;
use crate::log::appending::LooseAppends;
use crate::path::FetchPath;
use millpond_engine::changelog::{Ack, Append, Commit, EpochMark, Record, Role};
use millpond_engine::{Error, Position, Result, TopicPartition};
use std::collections::BTreeSet;
use std::ops::{Deref, Range};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What this process is to the epochs of one name.
pub(in crate::log) struct Tenure {
    setup: Setup,
    /// By which its marks are told from those of others.
    pub(super) identity: String,
    marks: Mutex<MarkLog>,
    state: Mutex<State>,
    pub(super) changed: Condvar,
}

/// What a tenure needs.
pub(in crate::log) struct Setup {
    pub(super) name: String,
    pub(super) fetcher: Arc<dyn FetchPath>,
    /// Where the marks stand.
    pub(super) topic: TopicPartition,
    pub(super) producers: Box<dyn Producers>,
    pub(super) commit_every: Duration,
    /// Between two attempts at what did not go well.
    pub(super) back_off: Duration,
    /// The topics whose records are sent without transactions.
    pub(super) loose: BTreeSet<String>,
    pub(super) appender: Arc<dyn LooseAppends>,
    /// Wakes engines.
    pub(super) wake: Box<dyn Fn() + Send + Sync>,
}

impl Deref for Tenure {
    type Target = Setup;

    fn deref(&self) -> &Setup {
        &self.setup
    }
}

impl Tenure {
    /// One that follows the marks, of which those below the offset `end` are there.
    pub(super) fn new(setup: Setup, end: u64) -> Self {
        Self {
            identity: super::new_identity(),
            marks: Mutex::new(MarkLog::new(Arc::clone(&setup.fetcher), setup.topic.clone())),
            setup,
            state: Mutex::new(State::new(end)),
            changed: Condvar::new(),
        }
    }

    pub(in crate::log) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait<'s>(&self, state: MutexGuard<'s, State>, at_most: Duration) -> MutexGuard<'s, State> {
        self.changed.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Lets everyone who waits look again.
    pub(super) fn tell(&self) {
        self.changed.notify_all();
        (self.wake)();
    }

    pub(in crate::log) fn role(&self) -> Role {
        let state = self.state();
        match state.stage {
            Stage::Fenced => Role::Fenced,
            Stage::Holding if state.assigned && state.leaving.is_none() => Role::Holder,
            Stage::Holding | Stage::Following => Role::Follower,
        }
    }

    /// The engine does what it was told: it follows, or it was fenced and has taken back what was not committed. Whoever was
    /// told that it follows, and was fenced since, has taken back nothing.
    pub(in crate::log) fn follow(&self, told: Role) {
        let mut state = self.state();
        if state.stage == Stage::Fenced && told == Role::Fenced {
            state.stage = Stage::Following;
            state.forget_outbox();
        }
        if state.stage == Stage::Following && !state.acknowledged {
            state.acknowledged = true;
            drop(state);
            self.changed.notify_all();
        }
    }

    pub(in crate::log) fn append(&self, mark: &EpochMark, appends: Vec<Append>) -> Result<bool> {
        let mut state = self.state();
        if let Some(failed) = &state.failed {
            return Err(failed.summary());
        }
        let last = state.outbox.back().map(|entry| &entry.mark).or(state.last.as_ref());
        if last.is_some_and(|last| last.to.includes(&mark.to)) {
            return Ok(false);
        }
        if state.stage != Stage::Holding {
            // It was cut by a holder who is none any more.
            state.stage = Stage::Fenced;
            state.acknowledged = false;
            return Err(Error::unavailable(format!(
                "another process appends the epochs of `{}` now",
                self.name
            )));
        }
        if let Some(last) = last.filter(|last| !mark.from.includes(&last.to)) {
            return Err(Error::internal(format!(
                "the epoch of `{}` from {} to {} overlaps the last one that was marked, which ended at {}",
                self.name, mark.from, mark.to, last.to
            )));
        }
        let records = appends.iter().flat_map(|append| &append.records);
        let bytes = records.map(Record::payload_bytes).sum();
        let is_loose = |append: &Append| self.loose.contains(&*append.partition.topic);
        let (loose, appends) = appends.into_iter().partition(is_loose);
        state.push(Entry { mark: mark.clone(), appends, loose, bytes });
        drop(state);
        self.changed.notify_all();
        Ok(true)
    }

    pub(in crate::log) fn epochs_after(&self, position: &Position) -> Result<Vec<EpochMark>> {
        loop {
            let before = {
                let state = self.state();
                if let Some(failed) = &state.failed {
                    return Err(failed.summary());
                }
                state.standing()
            };
            let (stage, end) = before;
            let below = if stage == Stage::Holding { end } else { u64::MAX };
            let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
            let found = marks.after(position, end, below)?;
            drop(marks);
            let mut now = self.state();
            if let Some(last) = found.last() {
                now.note(last);
                return Ok(found);
            }
            // Or what is there was not looked for as far as it has to be by now.
            if now.standing() == before {
                return Ok(now.own_behind(position));
            }
        }
    }

    /// Below which offset marks may be deleted of those that stand below `old`. A mark stands there, so that there is always a last
    /// one by which whoever takes over knows where to go on: what is dated later may be the end of a transaction, or of one that
    /// was aborted. And nobody has to read again here what stands before it.
    ///
    /// # Errors
    /// If the marks cannot be read now.
    pub(super) fn forgettable(&self, old: u64) -> Result<u64> {
        let kept = self.fetcher.latest_offsets(&self.topic)?;
        let mut marks = MarkReader::open(&*self.fetcher, &self.topic, kept.start)?;
        let mut forgettable = kept.start;
        while let Some(read) = marks.poll_below(kept.end, || self.state().leaving.is_some())? {
            let durable = self.state().durable.clone();
            for placed in read {
                forgettable = placed.offset;
                if forgettable >= old || !durable.includes(&placed.mark.epoch.to) {
                    return Ok(forgettable);
                }
            }
        }
        Ok(forgettable)
    }

    pub(in crate::log) fn committed(&self) -> Range<u64> {
        let state = self.state();
        state.committed..state.committed + state.outbox.len() as u64
    }

    /// Letters of the engine were sent, which are known to be there when `ack` resolves.
    pub(in crate::log) fn keep_letters(&self, ack: Ack, bytes: usize) {
        self.state().push_letters(ack, bytes);
    }

    pub(in crate::log) fn has_room(&self) -> bool {
        let mut state = self.state();
        state.hear_of_letters();
        state.has_room()
    }

    pub(in crate::log) fn commit(&self, patience: Duration) -> Result<Commit> {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        let letters = state.letters().end;
        let target = state.committed + state.outbox.len() as u64;
        state.wanted = state.wanted.max(target);
        self.changed.notify_all();
        loop {
            state.hear_of_letters();
            if let Some(failed) = &state.failed {
                return Err(failed.summary());
            }
            if state.stage == Stage::Fenced {
                return Ok(Commit::Fenced);
            }
            let are_there = state.letters().start >= letters;
            if state.committed >= target && are_there {
                return Ok(Commit::Done);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Commit::Pending);
            }
            // Of letters nobody tells.
            state = self.wait(state, if are_there { left } else { left.min(LOOK) });
        }
    }

    /// Takes no part any more.
    pub(in crate::log) fn leave(&self) {
        self.state().leaving.get_or_insert_with(Instant::now);
        self.changed.notify_all();
    }

    /// Notes how far a task is durable: marks before that are not asked for again.
    pub(in crate::log) fn hold(&self, builds: bool, position: &Position) {
        self.state().hold(builds, position);
    }
}
