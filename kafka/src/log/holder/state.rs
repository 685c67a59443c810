//! What changes of a tenure, and how: always as a whole, within its lock.

use super::retried::Retried;
use millpond_engine::changelog::{Ack, Append, EpochMark};
use millpond_engine::{Error, Position, Result};
use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
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
    pub(super) bytes: usize,
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
    /// What does not go well with holding, and with being a member of the group; and letters that are not acknowledged.
    pub(super) writing: Retried,
    pub(super) group: Retried,
    late_letters: Retried,
    /// How far the main task of the engine is durable.
    pub(super) durable: Position,
    /// The same of a task that builds tables, if there is one.
    building: Option<Position>,
}

/// What has come of an append by now.
pub(super) fn look_at(ack: &mut Ack) -> Poll<Result<Position>> {
    Pin::new(ack).poll(&mut Context::from_waker(Waker::noop()))
}

impl State {
    /// Of one that follows the marks, of which those below the offset `end` are there.
    pub(super) fn new(end: u64) -> Self {
        Self {
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
            writing: Retried::default(),
            group: Retried::default(),
            late_letters: Retried::default(),
            durable: Position::new(),
            building: None,
        }
    }

    /// An epoch was appended.
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes;
        self.outbox.push_back(Arc::new(entry));
    }

    /// Letters were sent, of so many bytes.
    pub(super) fn push_letters(&mut self, ack: Ack, bytes: usize) {
        self.letters.push_back((ack, bytes));
        self.letter_bytes += bytes;
    }

    /// How many letters there are, of which so many have arrived.
    pub(super) fn letters(&self) -> Range<u64> {
        self.letters_there..self.letters_there + self.letters.len() as u64
    }

    /// Notes how far a task is durable: its own marks before that are not asked for again.
    pub(super) fn hold(&mut self, builds: bool, position: &Position) {
        let held = (!position.is_empty()).then(|| position.clone());
        match (builds, held) {
            (true, held) => self.building = held,
            (false, Some(position)) => self.durable = position,
            (false, None) => {}
        }
        let Self { own, durable, building, .. } = self;
        while let Some(first) = own.front()
            && durable.includes(&first.to)
            && building.as_ref().is_none_or(|building| building.includes(&first.to))
        {
            own.pop_front();
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes + self.letter_bytes < MOST_BYTES && self.outbox.len() < MOST_EPOCHS
    }

    /// Looks which letters are there now.
    pub(super) fn hear_of_letters(&mut self) {
        while let Some((ack, bytes)) = self.letters.front_mut()
            && let Poll::Ready(outcome) = look_at(ack)
        {
            self.letter_bytes -= *bytes;
            self.letters.pop_front();
            self.letters_there += 1;
            self.late_letters.is_over();
            if let Err(error) = outcome {
                self.failed.get_or_insert(error.context("a dead letter"));
            }
        }
        if !self.letters.is_empty() {
            self.late_letters.begin(|| "dead letters are not acknowledged".to_owned());
        }
    }

    /// What has gone on not to go well for `at_least` so long.
    pub(super) fn troubles(&self, at_least: Duration) -> impl Iterator<Item = String> + '_ {
        [&self.writing, &self.group, &self.late_letters].into_iter().filter_map(move |it| it.told(at_least))
    }

    /// What it is, and up to where others have decided.
    pub(super) fn standing(&self) -> (Stage, u64) {
        (self.stage, self.end)
    }

    /// Notes a mark that was read.
    pub(super) fn note(&mut self, read: &EpochMark) {
        // A task that builds tables asks for marks that the main one has long passed.
        let is_later = self.last.as_ref().is_none_or(|known| read.to.includes(&known.to));
        if self.stage != Stage::Holding && is_later {
            self.last = Some(read.clone());
        }
    }

    /// Its own marks behind `position`, which are there before they can be read.
    pub(super) fn own_behind(&self, position: &Position) -> Vec<EpochMark> {
        let uncommitted = self.outbox.iter().filter(|_| self.stage == Stage::Holding);
        let own = self.own.iter().chain(uncommitted.map(|entry| &entry.mark));
        own.filter(|mark| !position.includes(&mark.to)).cloned().collect()
    }

    pub(super) fn forget_outbox(&mut self) {
        self.outbox.clear();
        self.bytes = 0;
        self.wanted = self.committed;
    }

    /// The first `count` epochs of the outbox are committed.
    pub(super) fn confirm(&mut self, count: usize) {
        if count > 0 {
            self.writing.is_over();
        }
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
        self.writing.is_over();
        self.stage = if self.outbox.is_empty() { Stage::Following } else { Stage::Fenced };
    }
}
