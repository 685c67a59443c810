//! State on disk, in RocksDB: one column family per task.
//!
//! Rows never pass through the memtable or the write-ahead log. A drain is one sorted file ([`ingest`]),
//! which RocksDB takes over in one step of its manifest; reads go through one shared block cache whose
//! budget includes filters and indexes ([`options`]).
//!
//! Invariant: nothing is written to a column family but by ingesting a file. Everything that makes recovery
//! short (no log to replay) and drains atomic rests on it.
//!
//! This folder does not know what a row means, and no other folder but the changelog's knows RocksDB.

mod checkpoint;
mod failure;
mod forget;
mod ingest;
mod level_zero;
mod options;
mod present;
mod secondary;
mod snapshot;
mod verify;

#[cfg(test)]
mod tests;

pub use options::RocksOptions;
pub(crate) use secondary::{SecondaryStore, no_state};

use super::{Row, StateStore, StoreSnapshot, StoreStats};
use crate::medium::{self, Cut, DirectoryLock};
use crate::{Error, Result};
use failure::{during, in_use, on_path};
use forget::{Filters, Forgotten};
use options::Tuning;
use present::{Present, check_is_ours, present};
use rocksdb::{
    BoundColumnFamily, ColumnFamilyDescriptor, DBWithThreadMode, MultiThreaded, Options, ReadOptions,
};
use rocksdb::{SnapshotWithThreadMode, properties, statistics::Ticker};
use snapshot::RocksSnapshot;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

type Database = DBWithThreadMode<MultiThreaded>;

/// The task that an embedded engine keeps its whole graph in.
const ONLY_TASK: &str = "task-0";

/// The column family that RocksDB insists on. No task is kept in it.
const NO_TASK: &str = "default";

/// What stands in the family that belongs to no task, since it was created.
const CREATED: &[u8] = b"created";

/// At most so many keys are read in one step, so that the blocks their values pin stay few; and so many in the first,
/// which tells how large the values are.
const READ_AT_ONCE: usize = 128;
const READ_FIRST: usize = 32;

/// About so many bytes of values are read in one step.
const BYTES_AT_ONCE: usize = 1 << 20;

/// The state directory of an engine: a database with one column family per task.
///
/// Clones are handles on the same database. The directory stays locked until the last of them, the last
/// [`RocksStore`] and the last snapshot are gone.
#[derive(Clone)]
pub struct RocksState {
    opened: Arc<Opened>,
}

struct Opened {
    database: Database,
    /// Given back after the database is closed; none for a state that is only looked at.
    lock: Option<DirectoryLock>,
    dir: PathBuf,
    tuning: Tuning,
    next_file: AtomicU64,
    creating: Mutex<()>,
    /// What is forgotten, by column family.
    forgotten: Mutex<BTreeMap<String, Arc<Forgotten>>>,
}

impl RocksState {
    /// Opens the state in `dir`, or creates it there.
    ///
    /// # Errors
    /// `Unavailable` if another engine has it open, the directory cannot be written to or the disk is full;
    /// `Invalid` if `dir` is not a directory; `Corrupt` if files of it are damaged or missing.
    pub fn open(dir: &Path, options: &RocksOptions) -> Result<Self> {
        let dir = &medium::create(dir).map_err(|error| cannot_be_made(dir, error))?;
        // IMPORTANT: RocksDB's own lock keeps out nobody but other processes, and not even these once this process has
        // closed any handle on its file.
        let lock = DirectoryLock::take(dir)
            .map_err(|error| on_path("lock the state directory", dir, error))?
            .ok_or_else(|| in_use(dir))?;
        let tuning = Tuning::new(options);
        let Present { families, torn, .. } = present(dir)?;
        let has_tasks = families.iter().any(|family| family != NO_TASK);
        let mut forgotten = BTreeMap::new();
        let descriptors = families
            .into_iter()
            .map(|family| {
                let (options, forgets) = forgetful(&tuning);
                forgotten.insert(family.clone(), forgets);
                ColumnFamilyDescriptor::new(family, options)
            })
            .collect::<Vec<_>>();
        let unusable = |error| on_path("mend the end of the manifest of the state in", dir, error);
        let cut = torn.map(|(path, end)| Cut::at(&path, end)).transpose().map_err(unusable)?;
        let opened = Database::open_cf_descriptors(&tuning.database, dir, descriptors);
        if opened.is_err() {
            cut.map(Cut::undo).transpose().map_err(unusable)?;
        }
        let database = opened.map_err(|error| during("open the state", dir, error))?;
        if !has_tasks {
            check_is_ours(&database, dir)?;
        }
        // Only now does the lock keep others out: before, these could be the files of a running drain.
        ingest::remove_left_over_files(dir)?;
        let opened = Opened {
            database,
            lock: Some(lock),
            dir: dir.clone(),
            tuning,
            next_file: AtomicU64::new(0),
            creating: Mutex::new(()),
            forgotten: Mutex::new(forgotten),
        };
        let state = Self { opened: Arc::new(opened) };
        state.leave_sequence_zero()?;
        Ok(state)
    }

    /// Makes sure that no snapshot is ever taken at sequence number 0, which is where a new database stands
    /// and where a file that overlaps nothing leaves it.
    ///
    /// IMPORTANT: compaction takes a snapshot at 0 for none and drops the rows it reads.
    fn leave_sequence_zero(&self) -> Result<()> {
        if self.opened.database.latest_sequence_number() > 0 {
            return Ok(());
        }
        let task = present_task(Arc::clone(&self.opened), NO_TASK)?;
        // While there is a snapshot, a file that is taken over gets a sequence number in any case.
        let _snapshot = self.opened.database.snapshot();
        ingest::ingest(&task, None, &mut std::iter::once((CREATED, Some(&b""[..]))))
    }

    /// The state of the task `name`, which is created if it is not there.
    ///
    /// # Errors
    /// `Invalid` for the name `default`, which RocksDB keeps to itself; otherwise if the medium failed.
    pub fn task(&self, name: &str) -> Result<RocksStore> {
        if name == NO_TASK {
            return Err(Error::invalid(format!("a task cannot be named {NO_TASK}")));
        }
        let opened = &self.opened;
        let _one_at_a_time = opened.creating.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = opened.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.database.cf_handle(name).is_none() {
            let (options, forgets) = forgetful(&opened.tuning);
            opened
                .database
                .create_cf(name, &options)
                .map_err(|error| during(&format!("create the state of {name}"), &opened.dir, error))?;
            known.insert(name.to_owned(), forgets);
        }
        let forgotten = Arc::clone(known.entry(name.to_owned()).or_default());
        drop(known);
        Ok(RocksStore {
            forgotten,
            task: Arc::new(present_task(Arc::clone(opened), name)?),
            settled: Arc::default(),
            failures: Arc::default(),
        })
    }
}

impl fmt::Debug for RocksState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksState").field("dir", &self.opened.dir).finish_non_exhaustive()
    }
}

/// The options of a column family whose compactions leave out what is forgotten of it.
fn forgetful(tuning: &Tuning) -> (Options, Arc<Forgotten>) {
    let (mut options, forgotten) = (tuning.family.clone(), Arc::<Forgotten>::default());
    options.set_compaction_filter_factory(Filters(Arc::clone(&forgotten)));
    (options, forgotten)
}

/// How many keys to read in one step if their values take about `value_bytes`.
fn keys_at_once(value_bytes: usize) -> usize {
    (BYTES_AT_ONCE / value_bytes.max(1)).clamp(1, READ_AT_ONCE)
}

/// The error for a state directory that cannot be made.
fn cannot_be_made(dir: &Path, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::NotFound {
        let message =
            format!("cannot create the state directory {}; choose one that can be made", dir.display());
        return Error::invalid(message).with_source(error);
    }
    on_path("create the state directory", dir, error)
}

fn present_task(opened: Arc<Opened>, name: &str) -> Result<TaskFamily> {
    TaskFamily::try_new(opened, |opened| {
        let family = opened.database.cf_handle(name);
        family.ok_or_else(|| Error::internal(format!("the state of {name} is gone")))
    })
}

type Family<'db> = Arc<BoundColumnFamily<'db>>;

self_cell::self_cell!(
    /// A column family together with the database it belongs to.
    struct TaskFamily {
        owner: Arc<Opened>,
        #[covariant]
        dependent: Family,
    }
);

impl TaskFamily {
    fn opened(&self) -> &Opened {
        self.borrow_owner()
    }

    fn database(&self) -> &Database {
        &self.borrow_owner().database
    }

    fn family(&self) -> &Family<'_> {
        self.borrow_dependent()
    }

    fn failed(&self, doing: &str, error: rocksdb::Error) -> Error {
        during(doing, &self.opened().dir, error)
    }

    /// Refuses to go on with a state whose directory was taken away: nobody would find what is written to it.
    fn check_in_place(&self) -> Result<()> {
        let opened = self.opened();
        let failed = |error| on_path("find the lock of the state in", &opened.dir, error);
        let Some(lock) = &opened.lock else { return Ok(()) };
        if lock.has_database().map_err(failed)? {
            return Ok(());
        }
        Err(Error::unavailable(format!(
            "the state directory {} was deleted, emptied, moved or replaced while it was open; put it back or leave it away, and \
             open the engine again: the state goes on where it was, or is rebuilt from the changelog",
            opened.dir.display()
        )))
    }

    fn number(&self, property: &properties::PropName) -> u64 {
        self.database().property_int_value_cf(self.family(), property).ok().flatten().unwrap_or(0)
    }
}

/// The state of one task: a [`StateStore`] in one column family.
///
/// # Examples
///
/// ```
/// use millpond::store::{RocksStore, StateStore, RocksOptions};
///
/// let dir = tempfile::tempdir()?;
/// let store = RocksStore::open(dir.path(), &RocksOptions::default())?;
/// store.ingest(&mut [(&b"a"[..], Some(&b"1"[..])), (&b"b"[..], None)].into_iter())?;
/// store.read(b"a", &mut |value| assert_eq!(value, Some(&b"1"[..])))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RocksStore {
    task: Arc<TaskFamily>,
    forgotten: Arc<Forgotten>,
    /// Whether no more drains are expected.
    settled: Arc<AtomicBool>,
    /// How many failures of compactions a drain has already been let through for.
    failures: Arc<AtomicU64>,
}

impl RocksStore {
    /// Opens the state of an embedded engine in `dir`, or creates it there: one task for the whole graph.
    ///
    /// # Errors
    /// As for [`RocksState::open`].
    pub fn open(dir: &Path, options: &RocksOptions) -> Result<Self> {
        RocksState::open(dir, options)?.task(ONLY_TASK)
    }

    /// Reads `keys` in one step. Returns how many bytes their values take.
    fn read_some(
        &self,
        keys: &[&[u8]],
        first_index: usize,
        options: &ReadOptions,
        read: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<usize> {
        let found = self.task.database().batched_multi_get_cf_opt(
            self.task.family(),
            keys.iter().copied(),
            true,
            options,
        );
        let mut bytes = 0;
        for (index, value) in found.into_iter().enumerate() {
            let value = value.map_err(|error| self.task.failed("read the state", error))?;
            bytes += value.as_deref().map_or(0, <[u8]>::len);
            read(first_index + index, value.as_deref());
        }
        Ok(bytes)
    }
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStore").field("dir", &self.task.opened().dir).finish_non_exhaustive()
    }
}

impl StateStore for RocksStore {
    fn read(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        let options = &self.task.opened().tuning.read;
        let value = self
            .task
            .database()
            .get_pinned_cf_opt(self.task.family(), key, options)
            .map_err(|error| self.task.failed("read the state", error))?;
        read(value.as_deref());
        Ok(())
    }

    fn read_sorted(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()> {
        if keys.len() <= READ_FIRST {
            return self.read_some(keys, 0, &self.task.opened().tuning.read, read).map(drop);
        }
        // Without a snapshot, an ingest between two steps would be seen by the later one only.
        let snapshot = SnapshotWithThreadMode::new(self.task.database());
        let mut options = ReadOptions::default();
        options.set_snapshot(&snapshot);
        let (mut left, mut step) = (keys, READ_FIRST);
        while !left.is_empty() {
            let (now, later) = left.split_at(step.min(left.len()));
            let bytes = self.read_some(now, keys.len() - left.len(), &options, read)?;
            step = keys_at_once(bytes / now.len().max(1));
            left = later;
        }
        Ok(())
    }

    fn ingest(&self, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        self.unsettle();
        ingest::ingest(&self.task, None, rows)
    }

    fn replace_range(&self, keys: Range<&[u8]>, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        self.unsettle();
        ingest::ingest(&self.task, Some(keys), rows)
    }

    fn snapshot(&self) -> Result<Arc<dyn StoreSnapshot>> {
        let era = self.forgotten.era();
        Ok(Arc::new(RocksSnapshot::of(Arc::clone(&self.task), era)))
    }

    fn checkpoint(
        &self,
        target: &Path,
        check: &mut dyn FnMut(&dyn StoreSnapshot) -> Result<()>,
    ) -> Result<()> {
        checkpoint::checkpoint(&self.task, target, check)
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.task.opened().dir)
    }

    fn forget(&self, keys: &[Range<Vec<u8>>]) {
        let gone = self.forgotten.note(keys);
        forget::drop_files(&self.task, &gone);
    }

    fn settle(&self) {
        self.settle_level_zero();
    }

    fn pressure(&self) -> f64 {
        level_zero::pressure(self.task.level_zero_files())
    }

    fn wait_for_room(&self) {
        self.wait_for_room_until(&|| false);
    }

    fn wait_for_room_until(&self, given_up: &dyn Fn() -> bool) {
        self.wait_while_full(given_up);
    }

    fn stats(&self) -> StoreStats {
        let tuning = &self.task.opened().tuning;
        let ticker = |ticker: Ticker| tuning.database.get_ticker_count(ticker);
        StoreStats {
            state_bytes: self.task.number(properties::LIVE_SST_FILES_SIZE),
            rows_estimate: self.task.number(properties::ESTIMATE_NUM_KEYS),
            level_zero_files: self.task.level_zero_files(),
            pending_compaction_bytes: self.task.number(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
            compacted_bytes: ticker(Ticker::CompactWriteBytes),
            running_compactions: self.task.number(properties::NUM_RUNNING_COMPACTIONS),
            block_cache_bytes: tuning.cache.get_usage() as u64,
            block_cache_pinned_bytes: tuning.cache.get_pinned_usage() as u64,
            block_cache_hits: ticker(Ticker::BlockCacheHit),
            block_cache_misses: ticker(Ticker::BlockCacheMiss),
            table_reader_bytes: self.task.number(properties::ESTIMATE_TABLE_READERS_MEM),
            memtable_bytes: self.task.number(properties::SIZE_ALL_MEM_TABLES),
        }
    }
}
