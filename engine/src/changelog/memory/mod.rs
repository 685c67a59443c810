//! A changelog in memory, for tests and for graphs whose input can be produced again.
//!
//! Invariant: a partition's batches are contiguous; what lies below `start` was trimmed. It stores the same
//! frames as the embedded changelog and acknowledges at once. A [`MemoryChangelog`] is a handle: closing one
//! leaves the records to the others, as a closed directory would, and [`reopen`](MemoryChangelog::reopen) makes
//! a fresh handle on the same records. It never touches a disk and has no back-pressure.

mod reader;
mod state;

use super::names::Leases;
use super::watchers::Watchers;
use super::{
    Ack, Append, Appended, Changelog, EpochMark, Lease, NameInUse, PartitionReader, Term, TopicConfig,
    TopicType,
};
use crate::changelog::{
    Abilities, AppendLog, EpochLog, NameLog, ReadLog, RetentionLog, RoleLog, TermLog, TopicLog,
};
use crate::{Clock, Error, Position, Result, SystemClock, TopicPartition};
use reader::MemoryReader;
use state::Contents;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A [`Changelog`] that lives as long as its handles.
///
/// # Examples
/// ```
/// use millpond::TopicPartition;
/// use millpond::changelog::prelude::*;
/// use millpond::changelog::{Append, MemoryChangelog, Record, TopicConfig};
///
/// let log = MemoryChangelog::new();
/// log.create_topic("orders", &TopicConfig::default())?;
/// let partition = TopicPartition::new("orders", 0);
/// log.append(vec![Append { partition: partition.clone(), records: vec![Record::new("a", "1")] }]).wait_blocking()?;
///
/// let batches = log.reader(&partition, 0)?.poll(1 << 20)?;
/// assert_eq!(batches[0].decode()?.iter().next().unwrap().key, Some(b"a".as_slice()));
/// # Ok::<(), millpond::Error>(())
/// ```
pub struct MemoryChangelog {
    shared: Arc<MemoryLog>,
    /// Closing is a matter of this handle and of the readers it made.
    closed: Arc<AtomicBool>,
}

struct MemoryLog {
    state: Mutex<Contents>,
    watchers: Watchers,
    leases: Arc<Leases>,
    clock: Arc<dyn Clock>,
}

impl MemoryLog {
    /// NOTE: every change is checked before it begins, so that a panic in between cannot leave half of one.
    fn state(&self) -> MutexGuard<'_, Contents> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryChangelog {
    /// An empty changelog that ages records by the clock of the machine.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty changelog that ages records by `clock`.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::on(Arc::new(MemoryLog {
            state: Mutex::default(),
            watchers: Watchers::default(),
            leases: Arc::default(),
            clock,
        }))
    }

    /// A fresh, open handle on the same records, whether or not this one is closed.
    #[must_use]
    pub fn reopen(&self) -> Self {
        Self::on(self.shared.clone())
    }

    /// What a crash of the machine leaves: every handle is closed but the one returned, and what
    /// [`append_epoch`](EpochLog::append_epoch) wrote since the last append or sync is gone.
    #[must_use]
    pub fn crash(&self) -> Self {
        let left = self.shared.state().after_crash();
        self.closed.store(true, Ordering::SeqCst);
        self.shared.watchers.wake();
        let clock = self.shared.clock.clone();
        Self::on(Arc::new(MemoryLog {
            state: Mutex::new(left),
            watchers: Watchers::default(),
            leases: Arc::default(),
            clock,
        }))
    }

    fn on(shared: Arc<MemoryLog>) -> Self {
        Self { shared, closed: Arc::default() }
    }

    fn open_state(&self) -> Result<MutexGuard<'_, Contents>> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        Ok(self.shared.state())
    }

    fn try_append(&self, appends: &[Append]) -> Result<Position> {
        let position = {
            let mut state = self.open_state()?;
            let position = state.append(appends, self.shared.clock.now_ms())?;
            state.sync();
            position
        };
        self.shared.watchers.wake();
        Ok(position)
    }
}

fn closed() -> Error {
    Error::closed("the changelog was closed; open it again")
}

impl Default for MemoryChangelog {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for MemoryChangelog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryChangelog").field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl TopicLog for MemoryChangelog {
    fn create_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        config.check(topic)?;
        self.open_state()?.create_topic(topic, config)
    }

    fn ensure_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        config.check(topic)?;
        self.open_state()?.ensure_topic(topic, config)
    }

    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>> {
        Ok(self.open_state()?.topics())
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        Ok(self.open_state()?.partitions(topic))
    }

    fn topic_config(&self, topic: &str) -> Result<Option<TopicConfig>> {
        Ok(self.open_state()?.topic_config(topic))
    }

    fn topic_bytes(&self, topic: &str) -> Result<Option<u64>> {
        Ok(self.open_state()?.topic_bytes(topic))
    }

    fn topic_type(&self, topic: &str) -> Result<Option<TopicType>> {
        Ok(self.open_state()?.topic_type(topic))
    }

    fn declare_type(&self, topic: &str, declared: &TopicType) -> Result<()> {
        self.open_state()?.declare_type(topic, declared)
    }
}

impl AppendLog for MemoryChangelog {
    fn append(&self, appends: Vec<Append>) -> Ack {
        Ack::ready(self.try_append(&appends))
    }

    fn sync(&self) -> Result<()> {
        self.open_state()?.sync();
        Ok(())
    }
}

impl ReadLog for MemoryChangelog {
    fn reader(&self, partition: &TopicPartition, offset: u64) -> Result<Box<dyn PartitionReader>> {
        self.open_state()?.partition(partition)?.range().check(partition, offset)?;
        let (shared, closed) = (self.shared.clone(), self.closed.clone());
        Ok(Box::new(MemoryReader { shared, closed, partition: partition.clone(), offset }))
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        Ok(self.open_state()?.partition(partition)?.range().0)
    }

    fn dropped_ms(&self, partition: &TopicPartition) -> Result<Option<i64>> {
        Ok(self.open_state()?.partition(partition)?.dropped_ms)
    }

    fn appended(&self, since: u64) -> Result<Option<Appended>> {
        Ok(Some(self.open_state()?.appended(since)))
    }

    fn stored_bytes(&self) -> Result<Option<u64>> {
        Ok(Some(self.open_state()?.stored_bytes()))
    }

    fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.shared.watchers.add(waker);
    }
}

impl EpochLog for MemoryChangelog {
    fn append_epoch(&self, producer: &str, mark: &EpochMark, appends: Vec<Append>) -> Result<bool> {
        let appended =
            self.open_state()?.append_epoch(producer, mark, &appends, self.shared.clock.now_ms())?;
        if appended {
            self.shared.watchers.wake();
        }
        Ok(appended)
    }

    fn epochs_after(&self, producer: &str, position: &Position) -> Result<Vec<EpochMark>> {
        Ok(self.open_state()?.epochs.after(producer, position))
    }
}

impl RetentionLog for MemoryChangelog {
    fn hold(&self, consumer: &str, position: &Position) -> Result<()> {
        self.open_state()?.hold(consumer, position);
        Ok(())
    }

    fn enforce_retention(&self) -> Result<u64> {
        let now_ms = self.shared.clock.now_ms();
        Ok(self.open_state()?.trim(now_ms))
    }
}

impl NameLog for MemoryChangelog {
    fn lease(&self, name: &str) -> Result<Lease> {
        drop(self.open_state()?);
        self.shared.leases.take(name)
    }

    fn owner(&self, name: &str) -> Result<Option<String>> {
        Ok(self.open_state()?.owners.get(name).cloned())
    }

    fn set_owner(&self, name: &str, owner: &str) -> Result<()> {
        self.open_state()?.owners.insert(name.to_owned(), owner.to_owned());
        Ok(())
    }

    fn names(&self) -> Result<Vec<NameInUse>> {
        Ok(self.open_state()?.names(&self.shared.leases))
    }

    fn release(&self, name: &str) -> Result<()> {
        self.shared.leases.check_free(name)?;
        self.open_state()?.release(name);
        Ok(())
    }
}

/// It tells of none: whoever holds its records holds all there ever were.
impl RoleLog for MemoryChangelog {}

impl TermLog for MemoryChangelog {
    fn terms(&self) -> Result<Vec<Term>> {
        self.open_state().map(|_| Vec::new())
    }
}

impl Changelog for MemoryChangelog {
    fn abilities(&self) -> Abilities {
        Abilities::all()
    }

    fn close(&self) -> Result<()> {
        if !self.closed.swap(true, Ordering::SeqCst) {
            self.shared.state().sync();
            self.shared.watchers.wake();
        }
        Ok(())
    }
}
