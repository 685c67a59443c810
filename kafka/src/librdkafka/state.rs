//! What the threads of the consumers share with readers: one state behind one lock, and one condition.

use super::context::Trouble;
use super::queue::Queue;
use crate::fetch::{Watchers, errors};
use millpond_engine::{Result, TopicPartition};
use rdkafka::config::ClientConfig;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    /// That of every consumer.
    pub config: ClientConfig,
    pub timeout: Duration,
    /// The most that may wait to be polled, of all readers together, in bytes; about as much is in librdkafka's own queues.
    pub buffer_bytes: usize,
    pub trouble: Trouble,
    pub watchers: Watchers,
    state: Mutex<State>,
    changed: Condvar,
}

/// What they share behind the lock.
#[derive(Debug, Default)]
pub(super) struct State {
    pub closed: bool,
    pub readers: BTreeMap<u64, Queue>,
    next_reader: u64,
    /// The consumers that run, each with its topic.
    pub lanes: BTreeMap<u64, Arc<str>>,
    next_lane: u64,
    /// Where partitions begin and end, as it was last heard.
    pub ends: HashMap<TopicPartition, Ends>,
    /// When nobody answered who was asked for them; none if somebody did since.
    pub unanswered: Option<Instant>,
    /// How many partitions the topics have that are read, as it was last heard.
    pub partitions: HashMap<Arc<str>, usize>,
}

/// Where a partition begins and ends, and when that was heard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub start: u64,
    pub end: u64,
    pub at: Instant,
}

impl Shared {
    pub(super) fn new(config: ClientConfig, timeout: Duration, buffer_bytes: usize) -> Self {
        let (trouble, watchers) = (Trouble::default(), Watchers::default());
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { config, timeout, buffer_bytes, trouble, watchers, state, changed }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the lock up until something has changed, or `limit` has passed.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Ends all threads and wakes all who wait.
    pub(super) fn close(&self) {
        if !std::mem::replace(&mut self.lock().closed, true) {
            self.notify();
            self.watchers.wake();
        }
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.lock().closed { Err(errors::closed()) } else { Ok(()) }
    }
}

impl State {
    /// Adds a reader. Answers with its number, that of its consumer, and whether that has to be started.
    pub(super) fn open(&mut self, id: &TopicPartition, offset: u64) -> (u64, u64, bool) {
        let taken: BTreeSet<u64> =
            self.readers.values().filter(|queue| queue.id == *id).map(|queue| queue.lane).collect();
        let free = self.lanes.iter().find(|(lane, topic)| **topic == id.topic && !taken.contains(lane));
        let found = free.map(|(lane, _)| *lane);
        let lane = found.unwrap_or_else(|| {
            self.next_lane += 1;
            self.lanes.insert(self.next_lane, Arc::clone(&id.topic));
            self.next_lane
        });
        self.next_reader += 1;
        self.readers.insert(self.next_reader, Queue::new(id.clone(), lane, offset));
        (self.next_reader, lane, found.is_none())
    }

    /// The readers of a consumer.
    pub(super) fn of_lane(&mut self, lane: u64) -> impl Iterator<Item = &mut Queue> {
        self.readers.values_mut().filter(move |queue| queue.lane == lane)
    }
}
