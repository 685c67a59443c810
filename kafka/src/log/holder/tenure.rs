//! What this process is to the epochs of one name, and what it has appended that is not committed yet.
//!
//! Invariants: what stands in the outbox was appended by an engine that was the holder, in the order of its epochs, each from
//! where the one before ended. It leaves the outbox when it is known to be committed, together with its marks; or all of it
//! when another process has taken over, and then the engine is told that it was fenced before it appends anything else.
//! Letters that belong to no epoch stand beside it until they are acknowledged; one that is not ends the tenure, so that no
//! commit passes over it.

use super::marks::MarkLog;
use super::transactions::Producers;
use crate::log::appending::LooseAppends;
use crate::path::FetchPath;
use millpond_engine::changelog::{Ack, Append, Commit, EpochMark, Record, Role};
use millpond_engine::{Error, Position, Result, TopicPartition};
use std::collections::{BTreeSet, VecDeque};
use std::ops::{Deref, Range};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// No further epoch is cut while so many bytes, or epochs, wait to be committed.
const MOST_BYTES: usize = 32 << 20;
const MOST_EPOCHS: usize = 10_000;

/// How often it is looked whether records were acknowledged.
pub(super) const LOOK: Duration = Duration::from_millis(2);

/// How far it is with becoming the holder, or with ceasing to be it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Following,
    Holding,
    Fenced,
}

/// An epoch that was appended and is not committed.
pub(super) struct Entry {
    pub(super) mark: EpochMark,
    /// What belongs to its transaction.
    pub(super) appends: Vec<Append>,
    /// What is sent without one.
    pub(super) loose: Vec<Append>,
    bytes: usize,
}

/// What changes.
pub(in crate::log) struct State {
    pub(super) stage: Stage,
    /// Whether the engine knows that it follows: what it has cut as a holder of before, it appends no more.
    pub(super) acknowledged: bool,
    /// Whether the group says that it is for this process to hold.
    pub(super) assigned: bool,
    /// Since when nothing is wanted any more but an end.
    pub(super) leaving: Option<Instant>,
    /// Nothing will be appended any more, so that the group can let it go.
    pub(super) done: bool,
    /// The marks of others stand below this offset.
    pub(super) end: u64,
    /// The last one that is committed, as far as it was looked for.
    pub(super) last: Option<EpochMark>,
    /// Its own ones since it became the holder, for tasks that are not so far yet. They stand at `end` and behind it.
    pub(super) own: VecDeque<EpochMark>,
    pub(super) outbox: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Letters that were sent without a transaction and are not acknowledged, with their sizes; and how many there were before.
    letters: VecDeque<(Ack, usize)>,
    letter_bytes: usize,
    letters_there: u64,
    pub(super) committed: u64,
    /// Somebody waits until so many are committed.
    pub(super) wanted: u64,
    /// Why it can go on no more.
    pub(super) failed: Option<Error>,
    /// How far the main task of the engine is durable.
    pub(super) durable: Position,
    /// The same of a task that builds tables, if there is one.
    building: Option<Position>,
}

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
        let state = State {
            stage: Stage::Following,
            acknowledged: true,
            assigned: false,
            leaving: None,
            done: false,
            end,
            last: None,
            own: VecDeque::new(),
            outbox: VecDeque::new(),
            bytes: 0,
            letters: VecDeque::new(),
            letter_bytes: 0,
            letters_there: 0,
            committed: 0,
            wanted: 0,
            failed: None,
            durable: Position::new(),
            building: None,
        };
        Self {
            identity: super::new_identity(),
            marks: Mutex::new(MarkLog::new(Arc::clone(&setup.fetcher), setup.topic.clone())),
            setup,
            state: Mutex::new(state),
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
        state.bytes += bytes;
        state.outbox.push_back(Arc::new(Entry { mark: mark.clone(), appends, loose, bytes }));
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

    pub(in crate::log) fn committed(&self) -> Range<u64> {
        let state = self.state();
        state.committed..state.committed + state.outbox.len() as u64
    }

    /// Letters of the engine were sent, which are known to be there when `ack` resolves.
    pub(in crate::log) fn keep_letters(&self, ack: Ack, bytes: usize) {
        let mut state = self.state();
        state.letters.push_back((ack, bytes));
        state.letter_bytes += bytes;
    }

    pub(in crate::log) fn has_room(&self) -> bool {
        let mut state = self.state();
        state.hear_of_letters();
        state.has_room()
    }

    pub(in crate::log) fn commit(&self, patience: Duration) -> Result<Commit> {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        let letters = state.letters_there + state.letters.len() as u64;
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
            let are_there = state.letters_there >= letters;
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
        let mut state = self.state();
        let held = (!position.is_empty()).then(|| position.clone());
        match (builds, held) {
            (true, held) => state.building = held,
            (false, Some(position)) => state.durable = position,
            (false, None) => {}
        }
        let State { own, durable, building, .. } = &mut *state;
        while let Some(first) = own.front()
            && durable.includes(&first.to)
            && building.as_ref().is_none_or(|building| building.includes(&first.to))
        {
            own.pop_front();
        }
    }
}

/// What has come of an append by now.
pub(super) fn look_at(ack: &mut Ack) -> Poll<Result<Position>> {
    Pin::new(ack).poll(&mut Context::from_waker(Waker::noop()))
}

impl State {
    pub(in crate::log) fn has_room(&self) -> bool {
        self.bytes + self.letter_bytes < MOST_BYTES && self.outbox.len() < MOST_EPOCHS
    }

    /// Looks which letters are there now.
    fn hear_of_letters(&mut self) {
        while let Some((ack, bytes)) = self.letters.front_mut()
            && let Poll::Ready(outcome) = look_at(ack)
        {
            self.letter_bytes -= *bytes;
            self.letters.pop_front();
            self.letters_there += 1;
            if let Err(error) = outcome {
                self.failed.get_or_insert(error.context("a dead letter"));
            }
        }
    }

    /// What it is, and up to where others have decided.
    pub(super) fn standing(&self) -> (Stage, u64) {
        (self.stage, self.end)
    }

    /// Notes a mark that was read.
    fn note(&mut self, read: &EpochMark) {
        // A task that builds tables asks for marks that the main one has long passed.
        let is_later = self.last.as_ref().is_none_or(|known| read.to.includes(&known.to));
        if self.stage != Stage::Holding && is_later {
            self.last = Some(read.clone());
        }
    }

    /// Its own marks behind `position`, which are there before they can be read.
    fn own_behind(&self, position: &Position) -> Vec<EpochMark> {
        let uncommitted = self.outbox.iter().filter(|_| self.stage == Stage::Holding);
        let own = self.own.iter().chain(uncommitted.map(|entry| &entry.mark));
        own.filter(|mark| !position.includes(&mark.to)).cloned().collect()
    }

    fn forget_outbox(&mut self) {
        self.outbox.clear();
        self.bytes = 0;
        self.wanted = self.committed;
    }

    /// The first `count` epochs of the outbox are committed.
    pub(super) fn confirm(&mut self, count: usize) {
        for entry in self.outbox.drain(..count) {
            self.bytes -= entry.bytes;
            self.committed += 1;
            self.last = Some(entry.mark.clone());
            self.own.push_back(entry.mark.clone());
        }
    }

    /// Another process appends epochs now. Whoever has published what is not committed has to take it back.
    pub(super) fn lose(&mut self) {
        self.acknowledged = false;
        self.stage = if self.outbox.is_empty() { Stage::Following } else { Stage::Fenced };
    }
}
