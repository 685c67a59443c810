//! The embedded changelog: a log of its own in a RocksDB of its own, the default.
//!
//! ```text
//! append ─► queue ─► writer: gather ─► write + one sync ─► publish ─► wake, acknowledge
//!                                                            │
//!                                           index ◄──────────┘
//! reader ── where? ──► index,  what? ──► records of that segment
//! ```
//!
//! Invariants: one thread writes; a record is in the index, and so readable, only once it is stored as durably as
//! was asked for; segments are written once, never rewritten, and dropped whole.
//!
//! Back-pressure: an append takes its place in the order at the call, so it cannot wait for room (that would block
//! an async executor) nor queue when its ack is first polled (then the order would be that of the polls, and an ack
//! that is dropped would take its records with it). With `max_queued_bytes` waiting it is refused as `Unavailable`,
//! and `room` resolves when the queue is half empty again.
//!
//! Reads copy a batch once, out of RocksDB; nothing here looks at keys or values.

mod audit;
mod check;
mod database;
mod group;
mod index;
mod layout;
mod options;
mod queue;
mod reader;
mod recovery;
mod survivors;
mod synced;
mod trim;
mod writer;

#[cfg(test)]
mod flip_tests;
#[cfg(test)]
mod tests;

pub(crate) use database::check_exists;
pub use options::{Durability, EmbeddedOptions};

use super::epochs::Epochs;
use super::names::Leases;
use super::watchers::Watchers;
use super::{
    Ack, Append, Appended, Changelog, EpochMark, Lease, NameInUse, PartitionReader, Room, Term, TopicConfig,
    TopicType,
};
use crate::changelog::{
    Abilities, AppendLog, EpochLog, NameLog, ReadLog, RetentionLog, RoleLog, TermLog, TopicLog,
};
use crate::{Error, Position, Result, TopicPartition};
use database::{Database, Span};
use index::{IfThere, Index};
use layout::RecordKey;
use queue::{Job, Reply, SlotAppend, WriterQueue};
use reader::EmbeddedReader;
use recovery::Recovered;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use synced::SyncProgress;
use trim::Age;
use writer::Writer;

/// A [`Changelog`] in a directory of this machine.
///
/// # Examples
/// ```
/// use millpond::TopicPartition;
/// use millpond::changelog::prelude::*;
/// use millpond::changelog::{Append, EmbeddedChangelog, EmbeddedOptions, Record, TopicConfig};
///
/// let dir = tempfile::tempdir()?;
/// let log = EmbeddedChangelog::open(dir.path(), EmbeddedOptions::default())?;
/// log.create_topic("orders", &TopicConfig::default())?;
/// let partition = TopicPartition::new("orders", 0);
/// let records = vec![Record::new("a", "1"), Record::new("b", "2")];
/// let after = log.append(vec![Append { partition: partition.clone(), records }]).wait_blocking()?;
/// assert_eq!(after.offset(&partition), 2);
/// log.close()?;
///
/// let log = EmbeddedChangelog::open(dir.path(), EmbeddedOptions::default())?;
/// assert_eq!(log.offsets(&partition)?, 0..2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EmbeddedChangelog {
    shared: Arc<EmbeddedLog>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer, the readers and the callers share.
struct EmbeddedLog {
    options: EmbeddedOptions,
    database: Database,
    queue: WriterQueue,
    index: RwLock<Index>,
    epochs: Mutex<Epochs>,
    owners: Mutex<BTreeMap<String, String>>,
    /// The last terms, in order.
    terms: Mutex<Vec<Term>>,
    leases: Arc<Leases>,
    watchers: Watchers,
    closed: AtomicBool,
}

impl EmbeddedLog {
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn epochs(&self) -> MutexGuard<'_, Epochs> {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owners(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn terms(&self) -> MutexGuard<'_, Vec<Term>> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) { Err(closed()) } else { Ok(()) }
    }

    fn has_records(&self, segment: u64) -> Result<bool> {
        let bounds = RecordKey::segments(segment..segment + 1);
        let mut found = false;
        self.database.read(&Span { from: bounds.start, bounds, readahead_bytes: 0 }, |_, _| {
            found = true;
            Ok(false)
        })?;
        Ok(found)
    }
}

fn closed() -> Error {
    Error::closed("the changelog was closed; open it again")
}

impl EmbeddedChangelog {
    /// Opens the changelog in `dir`, which is created if need be. A write that was torn when the process or the
    /// machine died is cut off; it was never acknowledged.
    ///
    /// # Errors
    /// `Unavailable` if the directory is in use or cannot be written, `Corrupt` if stored bytes are damaged or of
    /// an unknown format version, `Invalid` if an option is 0, or there is no log and
    /// [none is to be created](EmbeddedOptions::open_existing). What is stored stays as it was.
    pub fn open(dir: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Self> {
        options.check()?;
        let (database, synced) = Database::open(dir.as_ref(), &options)?;
        let now_ms = options.clock.now_ms();
        let recovered = Recovered::read(&database, now_ms)?;
        if let Some(synced) = &synced {
            let whole = recovered.index.check_synced(synced, database.last_write()?);
            if !options.salvage {
                whole.map_err(|error| database.name(error))?;
            } else if let Err(loss) = whole {
                tracing::warn!(dir = %database.dir().display(), %loss, "it is opened with what is left");
            }
        }
        let Recovered { index, epochs, holds, owners, terms, closed_segments, next_segment, .. } = recovered;
        let next_sequence = index.end_sequence;
        let progress = SyncProgress::begin(&database, &index)?;
        let shared = Arc::new(EmbeddedLog {
            queue: WriterQueue::new(options.max_queued_bytes),
            options,
            database,
            index: RwLock::new(index),
            epochs: Mutex::new(epochs),
            owners: Mutex::new(owners),
            terms: Mutex::new(terms),
            leases: Arc::default(),
            watchers: Watchers::default(),
            closed: AtomicBool::new(false),
        });
        let writer = Writer {
            shared: shared.clone(),
            segment: next_segment,
            segment_bytes: 0,
            age: Age::default(),
            unmovable: BTreeSet::new(),
            closed_segments,
            holds,
            next_sequence,
            term_begun: false,
            progress,
            last_jobs: 1,
            last_sync: Duration::ZERO,
        };
        let thread = std::thread::Builder::new().name("changelog-writer".into()).spawn(|| writer.run());
        let thread = thread.map_err(|error| {
            Error::unavailable("the writer of the changelog cannot be started").with_source(error)
        })?;
        Ok(Self { shared, writer: Mutex::new(Some(thread)) })
    }

    /// Checks the appends before they are queued, so that the writer can rely on them.
    fn checked(&self, appends: Vec<Append>) -> Result<Vec<SlotAppend>> {
        let index = self.shared.index();
        let checked = appends.into_iter().map(|append| {
            let mut append = append;
            if index.topic(&append.partition.topic).is_some_and(|topic| topic.config.dates_records()) {
                append.date(self.shared.options.clock.now_ms());
            }
            let Append { partition, records } = append;
            records
                .iter()
                .try_for_each(|record| record.check().map_err(|error| error.context(&partition)))?;
            Ok(SlotAppend { slot: index.slot(&partition)?, partition, records })
        });
        checked.collect()
    }

    /// Creates a topic. The writer is asked only if there is something to write: what the index tells was stored.
    fn topic(&self, name: &str, config: &TopicConfig, if_there: IfThere) -> Result<()> {
        config.check(name)?;
        self.shared.queue.check()?;
        if self.shared.index().has_topic(name, config, if_there)? {
            return Ok(());
        }
        self.ask(|reply| Job::Topic { name: name.into(), config: config.clone(), if_there, reply })
    }

    /// Hands a job to the writer and waits for its answer.
    fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T> {
        let (reply, answer) = sync_channel(1);
        self.shared.queue.push(job(reply));
        answer.recv().unwrap_or_else(|_| {
            Err(Error::internal("the writer of the changelog ended without an answer; open it again"))
        })
    }
}

/// Names are kept in keys, behind which other things follow.
fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > 1024 || name.contains('\0') {
        return Err(Error::invalid(format!(
            "the name of a {what} takes 1 to 1024 bytes without a zero byte"
        )));
    }
    Ok(())
}

impl TopicLog for EmbeddedChangelog {
    fn create_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.topic(topic, config, IfThere::Update)
    }

    fn ensure_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.topic(topic, config, IfThere::Keep)
    }

    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>> {
        self.shared.check_open()?;
        let index = self.shared.index();
        Ok(index.topics().map(|(name, topic)| (name.clone(), topic.config.partitions_or_default())).collect())
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        self.shared.check_open()?;
        Ok(self.shared.index().topic(topic).map(|topic| topic.config.partitions_or_default()))
    }

    fn topic_config(&self, topic: &str) -> Result<Option<TopicConfig>> {
        self.shared.check_open()?;
        Ok(self.shared.index().topic(topic).map(|topic| topic.config.clone()))
    }

    fn topic_bytes(&self, topic: &str) -> Result<Option<u64>> {
        self.shared.check_open()?;
        let index = self.shared.index();
        Ok(index.topic(topic).map(|topic| index.topic_bytes(topic.id)))
    }

    fn topic_type(&self, topic: &str) -> Result<Option<TopicType>> {
        self.shared.check_open()?;
        Ok(self.shared.index().topic(topic).and_then(|topic| topic.holds.clone()))
    }

    fn declare_type(&self, topic: &str, declared: &TopicType) -> Result<()> {
        self.shared.queue.check()?;
        if self.shared.index().declare(topic, declared)?.is_none() {
            return Ok(());
        }
        self.ask(|reply| Job::Type { name: topic.into(), declared: declared.clone(), reply })
    }
}

impl AppendLog for EmbeddedChangelog {
    fn append(&self, appends: Vec<Append>) -> Ack {
        match self.checked(appends) {
            Ok(appends) => {
                let (sender, ack) = Ack::pending();
                self.shared.queue.push(Job::Append { appends, ack: sender });
                ack
            }
            Err(error) => Ack::ready(Err(error)),
        }
    }

    fn room(&self) -> Room {
        self.shared.queue.room()
    }

    fn sync(&self) -> Result<()> {
        self.ask(|reply| Job::Sync { reply })
    }
}

impl ReadLog for EmbeddedChangelog {
    fn reader(&self, partition: &TopicPartition, offset: u64) -> Result<Box<dyn PartitionReader>> {
        self.shared.check_open()?;
        let index = self.shared.index();
        let slot = index.slot(partition)?;
        index.partition(slot)?.range().check(partition, offset)?;
        Ok(Box::new(EmbeddedReader {
            shared: self.shared.clone(),
            slot,
            partition: partition.clone(),
            offset,
        }))
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.shared.check_open()?;
        let index = self.shared.index();
        Ok(index.partition(index.slot(partition)?)?.range().0)
    }

    fn dropped_ms(&self, partition: &TopicPartition) -> Result<Option<i64>> {
        self.shared.check_open()?;
        let index = self.shared.index();
        Ok(index.partition(index.slot(partition)?)?.dropped_ms)
    }

    fn appended(&self, since: u64) -> Result<Option<Appended>> {
        self.shared.check_open()?;
        Ok(Some(self.shared.index().appended(since)))
    }

    fn stored_bytes(&self) -> Result<Option<u64>> {
        self.shared.check_open()?;
        Ok(Some(self.shared.index().stored_bytes()))
    }

    fn disk_bytes(&self) -> Result<Option<u64>> {
        self.shared.check_open()?;
        self.shared.database.disk_bytes().map(Some)
    }

    fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.shared.watchers.add(waker);
    }
}

impl EpochLog for EmbeddedChangelog {
    fn append_epoch(&self, producer: &str, mark: &EpochMark, appends: Vec<Append>) -> Result<bool> {
        check_name("producer", producer)?;
        let appends = self.checked(appends)?;
        self.ask(|reply| Job::Epoch { producer: producer.into(), mark: mark.clone(), appends, reply })
    }

    fn epochs_after(&self, producer: &str, position: &Position) -> Result<Vec<EpochMark>> {
        self.shared.queue.check()?;
        Ok(self.shared.epochs().after(producer, position))
    }
}

impl RetentionLog for EmbeddedChangelog {
    fn hold(&self, consumer: &str, position: &Position) -> Result<()> {
        check_name("consumer", consumer)?;
        self.ask(|reply| Job::Hold { consumer: consumer.into(), position: position.clone(), reply })
    }

    fn enforce_retention(&self) -> Result<u64> {
        self.ask(|reply| Job::Trim { reply })
    }
}

impl NameLog for EmbeddedChangelog {
    fn lease(&self, name: &str) -> Result<Lease> {
        self.shared.check_open()?;
        self.shared.leases.take(name)
    }

    fn owner(&self, name: &str) -> Result<Option<String>> {
        self.shared.check_open()?;
        Ok(self.shared.owners().get(name).cloned())
    }

    fn set_owner(&self, name: &str, owner: &str) -> Result<()> {
        check_name("consumer", name)?;
        self.ask(|reply| Job::Owner { name: name.into(), owner: owner.into(), reply })
    }

    fn names(&self) -> Result<Vec<NameInUse>> {
        self.ask(|reply| Job::Names { reply })
    }

    fn release(&self, name: &str) -> Result<()> {
        check_name("consumer", name)?;
        self.shared.leases.check_free(name)?;
        self.ask(|reply| Job::Release { name: name.into(), reply })
    }
}

impl RoleLog for EmbeddedChangelog {}

impl TermLog for EmbeddedChangelog {
    fn terms(&self) -> Result<Vec<Term>> {
        self.shared.check_open()?;
        Ok(self.shared.terms().clone())
    }

    fn term(&self) -> Result<Option<Term>> {
        self.shared.check_open()?;
        Ok(self.shared.terms().last().cloned())
    }
}

impl Changelog for EmbeddedChangelog {
    fn abilities(&self) -> Abilities {
        Abilities::all()
    }

    fn close(&self) -> Result<()> {
        let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        let closed = self.ask(|reply| Job::Close { reply });
        // It ends in any case: it answered, or it was poisoned before.
        writer.join().ok();
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.database.close();
        self.shared.watchers.wake();
        closed
    }
}

impl Drop for EmbeddedChangelog {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the changelog was dropped and could not be closed");
        }
    }
}

impl std::fmt::Debug for EmbeddedChangelog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedChangelog").field("options", &self.shared.options).finish_non_exhaustive()
    }
}
