//! What the threads of a fetcher share: one state behind one lock, and one condition by which they tell each other of changes.
//!
//! Nobody holds the lock while waiting for a broker, or while looking through a response.

use super::cluster::{Cluster, NodeId};
use super::config::FetchConfig;
use super::control::Control;
use super::exchange::{Asked, Plan};
use super::partition::Partition;
use super::rhythm::Rhythm;
use super::{broker, error, seeker};
use millpond_engine::changelog::Waker;
use millpond_engine::{Error, Result, TopicPartition};
use std::collections::{BTreeMap, HashMap};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What is read by one reader; a partition may be read by several.
pub(super) type ReaderId = u64;

/// What the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub config: FetchConfig,
    pub control: Control,
    state: Mutex<State>,
    changed: Condvar,
    watchers: Watchers,
}

/// What they share behind the lock.
#[derive(Debug, Default)]
pub(super) struct State {
    pub closed: bool,
    pub cluster: Cluster,
    pub readers: BTreeMap<ReaderId, Partition>,
    next_reader: ReaderId,
    /// Where the partitions begin and end, as it was last heard.
    pub ends: HashMap<TopicPartition, Ends>,
    /// By the broker whose partitions it fetches: a thread that runs, and the connection it may be waiting for.
    pub workers: HashMap<NodeId, Option<TcpStream>>,
    seeking: bool,
    /// What is asked for at the moment, in bytes, beside what is buffered.
    reserved: usize,
    next_turn: u64,
    /// How many times something was handed over.
    pub handed: u64,
}

/// Where a partition begins and ends, and when that was heard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub start: u64,
    pub end: u64,
    pub at: Instant,
}

/// What a broker's thread is to do next.
#[derive(Debug)]
pub(super) enum Work {
    /// Make sure that what was fetched still holds.
    Validate(Vec<(Asked, i32)>),
    Fetch(Plan),
}

impl Shared {
    pub(super) fn new(config: FetchConfig) -> Self {
        Self {
            control: Control::new(&config),
            config,
            state: Mutex::default(),
            changed: Condvar::new(),
            watchers: Watchers::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the lock up until something has changed, or `limit` has passed.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Something has changed that another thread may wait for.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    pub(super) fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.watchers.add(waker);
    }

    /// Tells all who watch.
    pub(super) fn wake(&self) {
        self.watchers.wake();
    }

    /// Ends all threads and wakes all who wait.
    pub(super) fn close(&self) {
        {
            let mut state = self.lock();
            if std::mem::replace(&mut state.closed, true) {
                return;
            }
            for socket in state.workers.values().flatten() {
                // It may have ended by itself.
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
        self.control.close();
        self.notify();
        self.wake();
    }

    /// Begins to read `partition` from `offset` on.
    pub(super) fn open(self: &Arc<Self>, id: &TopicPartition, offset: u64) -> Result<ReaderId> {
        let mut state = self.lock();
        if state.closed {
            return Err(error::closed());
        }
        let topic_id = state.cluster.topic(&id.topic).map(|topic| topic.id).unwrap_or_default();
        let turn = state.next_turn();
        let mut partition = Partition::new(id.clone(), topic_id, offset, self.config.backoff, turn);
        let known = state.cluster.partition(id).and_then(|known| Some((known.leader?, known.leader_epoch)));
        match known {
            Some((leader, epoch)) => partition.led_by(leader, epoch),
            None => partition.lose_leader("its leader is not known yet", Instant::now()),
        }
        let reader = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(reader, partition);
        self.start_threads(&mut state)?;
        drop(state);
        self.notify();
        Ok(reader)
    }

    /// Starts the threads that what is read needs and that do not run yet.
    pub(super) fn start_threads(self: &Arc<Self>, state: &mut State) -> Result<()> {
        let wanted: Vec<_> = state.readers.values().filter_map(Partition::source).collect();
        for node in wanted {
            if let std::collections::hash_map::Entry::Vacant(free) = state.workers.entry(node) {
                spawn(self, format!("kafka-fetch-{node}"), move |shared| broker::run(shared, node))?;
                free.insert(None);
            }
        }
        if !state.seeking {
            spawn(self, "kafka-seek".to_owned(), seeker::run)?;
            state.seeking = true;
        }
        Ok(())
    }

    /// Waits for something to do for the thread of `node`, which does nothing before `not_before`. None if it is to end: the
    /// fetcher was closed, or there is nothing to be read from that broker any more.
    pub(super) fn next_work(
        &self,
        node: NodeId,
        not_before: Option<Instant>,
        rhythm: &mut Rhythm,
    ) -> Option<Work> {
        /// A thread without anything to read ends after this time, and its connection with it.
        const IDLE: Duration = Duration::from_secs(30);
        let idle_since = Instant::now();
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.closed {
                return None;
            }
            let early =
                not_before.and_then(|at| at.checked_duration_since(now)).filter(|left| !left.is_zero());
            if early.is_none() {
                if let Some(work) = state.work(node, now, &self.config, rhythm) {
                    return Some(work);
                }
                if now.duration_since(idle_since) > IDLE && !state.is_read_from(node) {
                    state.workers.remove(&node);
                    return None;
                }
            }
            let limit = early.or_else(|| state.next_retry(node, now)).unwrap_or(IDLE);
            state = self.wait(state, limit);
        }
    }
}

/// Starts a thread of a fetcher.
fn spawn(shared: &Arc<Shared>, name: String, run: impl FnOnce(&Arc<Shared>) + Send + 'static) -> Result<()> {
    let guard = Guard(Arc::clone(shared));
    std::thread::Builder::new()
        .name(name)
        .spawn(move || run(&guard.0))
        .map(drop)
        .map_err(|error| Error::unavailable("no thread can be started to read from Kafka").with_source(error))
}

/// Lets nobody wait for a thread that has panicked.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for partition in self.0.lock().readers.values_mut() {
                partition.fail(Error::internal(
                    "a thread that reads from Kafka has panicked; its message is in the log",
                ));
            }
            self.0.wake();
        }
    }
}

impl State {
    pub(super) fn next_turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    fn is_read_from(&self, node: NodeId) -> bool {
        self.readers.values().any(|partition| partition.source() == Some(node))
    }

    /// When the next of the broker's partitions may be asked for again.
    fn next_retry(&self, node: NodeId, now: Instant) -> Option<Duration> {
        let here =
            self.readers.values().filter(|partition| partition.source() == Some(node) && !partition.asked);
        let retries = here.filter_map(|partition| partition.retry_at).filter(|at| *at > now);
        retries.min().map(|at| at.saturating_duration_since(now))
    }

    /// What there is to do for the thread of `node`, if there is anything.
    fn work(
        &mut self,
        node: NodeId,
        now: Instant,
        config: &FetchConfig,
        rhythm: &mut Rhythm,
    ) -> Option<Work> {
        let mut doubtful = Vec::new();
        for (&reader, partition) in &mut self.readers {
            if partition.source() != Some(node) || !partition.is_due(now) {
                continue;
            }
            if let Some(epoch) = partition.epoch_to_validate()
                && !doubtful.iter().any(|(other, _): &(Asked, i32)| other.id == partition.id)
            {
                partition.asked = true;
                doubtful.push((asked(reader, partition, 0), epoch));
            }
        }
        if !doubtful.is_empty() {
            return Some(Work::Validate(doubtful));
        }
        self.plan(node, now, config, rhythm).map(Work::Fetch)
    }

    /// What the broker is to be asked for: every partition that has room, whoever was served the longest time ago first.
    ///
    /// Each partition may fill its share of the budget, and all of them together no more than the budget, so that whoever is
    /// not polled leaves the others their shares; shares become smaller when another reader is opened. The budget may be used up
    /// nevertheless, as a batch that is larger than a share comes through. Then nothing is asked for until something of it was
    /// handed over, but for whoever was polled in vain since that was done last: what it lacks may be what everybody waits for. It
    /// is given one batch. If each partition were given one without that, a topic of many partitions would take many times the
    /// budget.
    fn plan(
        &mut self,
        node: NodeId,
        now: Instant,
        config: &FetchConfig,
        rhythm: &mut Rhythm,
    ) -> Option<Plan> {
        let share = (config.buffer_bytes / self.readers.len().max(1)).max(1);
        for partition in self.readers.values_mut().filter(|partition| !partition.has_failed()) {
            partition.give_back(share);
        }
        let handed = self.handed;
        let buffered: usize = self.readers.values().map(|partition| partition.buffered).sum();
        let left = config.buffer_bytes.saturating_sub(buffered + self.reserved).min(config.max_bytes);
        let mut due: Vec<_> = self
            .readers
            .iter_mut()
            .filter(|(_, partition)| partition.source() == Some(node) && !partition.has_failed())
            .collect();
        due.sort_unstable_by_key(|(_, partition)| partition.turn);
        let mut plan = Plan { asked: Vec::new(), max_bytes: left, max_wait: Duration::ZERO };
        let mut left_out = false;
        for (&reader, partition) in due {
            let free = partition.buffered <= share / 2 && partition.is_due(now);
            let fits = left > 0 || (partition.starves(handed) && plan.asked.is_empty());
            if !free || !fits || plan.asked.iter().any(|other| other.id == partition.id) {
                left_out = true;
                continue;
            }
            let most = config.max_partition_bytes.min(share - partition.buffered).min(left).max(1);
            partition.asked = true;
            plan.asked.push(asked(reader, partition, most.max(partition.least_bytes)));
            if left == 0 {
                break;
            }
        }
        if plan.asked.is_empty() {
            return None;
        }
        plan.max_bytes = left.max(plan.asked.first().map_or(1, |first| first.max_bytes));
        self.reserved += plan.max_bytes;
        plan.max_wait = rhythm.wait(plan.asked.iter().map(|asked| asked.reader), left_out, config.max_wait);
        Some(plan)
    }

    /// The request for `plan` was answered, or will never be.
    pub(super) fn release(&mut self, plan: &Plan) {
        self.reserved -= plan.max_bytes.min(self.reserved);
        self.unask(&plan.asked);
    }

    pub(super) fn unask<'a>(&mut self, asked: impl IntoIterator<Item = &'a Asked>) {
        for asked in asked {
            if let Some(partition) = self.readers.get_mut(&asked.reader) {
                partition.asked = false;
            }
        }
    }
}

fn asked(reader: ReaderId, partition: &Partition, max_bytes: usize) -> Asked {
    Asked {
        reader,
        id: partition.id.clone(),
        topic_id: partition.topic_id,
        leader_epoch: partition.leader_epoch(),
        offset: partition.fetched(),
        max_bytes,
    }
}

/// Who wants to be told that records have come. Those whose owners are gone are dropped on the way.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<Vec<Weak<dyn Fn() + Send + Sync>>>);

impl std::fmt::Debug for Watchers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watchers").finish_non_exhaustive()
    }
}

impl Watchers {
    pub(crate) fn add(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        let mut watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|waker| waker.strong_count() > 0);
        watchers.push(waker);
    }

    /// No lock is held meanwhile, so that a waker may drop what owns another one.
    pub(crate) fn wake(&self) {
        let watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alive: Vec<Waker> = watchers.iter().filter_map(Weak::upgrade).collect();
        drop(watchers);
        for waker in alive {
            waker();
        }
    }
}
