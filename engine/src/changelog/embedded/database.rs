//! The RocksDB under an embedded changelog: the only file of it that names RocksDB.
//!
//! Two column families: `records`, whose every segment is flushed into a file of its own and never rewritten, and
//! the default one for metadata. One write covers both, and both are flushed together, so that what a crash leaves
//! is always a prefix of what was written.

use super::check::check_files;
use super::layout::{MetaRow, RecordKey};
use super::options::EmbeddedOptions;
use super::synced::Synced;
use crate::medium::{self, Cut, DirectoryLock, Kept, Manifest, MediumFailure};
use crate::{Error, Result};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator,
    DBRecoveryMode, FlushOptions, LogLevel, Options, ReadOptions, WaitForCompactOptions, WriteBatch,
    WriteOptions,
};
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

const RECORDS: &str = "records";
const METADATA: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;

const BLOCK_BYTES: usize = 32 << 10;
const MAX_OPEN_FILES: i32 = 512;

/// An open database, until it is closed.
pub(super) struct Database {
    dir: PathBuf,
    db: RwLock<Option<Opened>>,
}

struct Opened {
    db: DB,
    /// Given back after the database is closed.
    lock: DirectoryLock,
}

/// Rows that are written in one atomic step.
pub(super) struct Rows<'a> {
    batch: WriteBatch,
    records: &'a ColumnFamily,
    metadata: &'a ColumnFamily,
}

impl Rows<'_> {
    pub(super) fn put_frame(&mut self, key: RecordKey, frame: &[u8]) {
        self.batch.put_cf(self.records, key.to_bytes(), frame);
    }

    #[cfg(test)]
    pub(super) fn delete_frame(&mut self, key: RecordKey) {
        self.batch.delete_cf(self.records, key.to_bytes());
    }

    pub(super) fn put_meta(&mut self, key: &[u8], value: &[u8]) {
        self.batch.put_cf(self.metadata, key, value);
    }

    pub(super) fn delete_meta(&mut self, key: &[u8]) {
        self.batch.delete_cf(self.metadata, key);
    }
}

/// Which records [`Database::read`] visits, in the order of their keys.
pub(super) struct Span {
    pub(super) bounds: Range<[u8; 24]>,
    /// Begin at the last key that is not above this one.
    pub(super) from: [u8; 24],
    /// Read so much ahead; 0 leaves it to RocksDB.
    pub(super) readahead_bytes: usize,
}

/// Refuses the directory of a state, whatever else may be said of it.
fn check_is_no_state(dir: &Path, manifest: Option<&Manifest>) -> Result<()> {
    let families = manifest.and_then(Manifest::families);
    if families.is_some_and(|families| families.iter().any(|family| family.starts_with("task-"))) {
        return Err(Error::invalid(format!(
            "{} holds a state and no changelog: were the two directories swapped? Nothing was changed",
            dir.display()
        )));
    }
    Ok(())
}

impl Database {
    /// Opens what is in `dir`, and tells how far it was noted as durable.
    pub(super) fn open(dir: &Path, options: &EmbeddedOptions) -> Result<(Self, Option<Synced>)> {
        let unusable = |error: std::io::Error| {
            let message = format!("the changelog's directory {} cannot be used", dir.display());
            Error::unavailable(message).with_source(error)
        };
        if options.open_existing {
            check_exists(dir)?;
        }
        let dir = medium::create(dir).map_err(unusable)?;
        let in_use = || failure(MediumFailure::InUse).context(format!("the changelog in {}", dir.display()));
        // IMPORTANT: RocksDB's own lock keeps out nobody but other processes, and not even these once this process has
        // closed any handle on its file.
        let lock = DirectoryLock::take(&dir).map_err(unusable)?.ok_or_else(in_use)?;
        let unreadable = |error: std::io::Error| {
            let context = format!("the changelog in {}", dir.display());
            failure(MediumFailure::of_io(&error)).with_source(error).context(context)
        };
        let manifest = Manifest::read(&dir).map_err(unreadable)?;
        check_is_no_state(&dir, manifest.as_ref())?;
        let synced = Synced::read(&dir).map_err(unusable)?;
        let torn = check_files(&dir, options, manifest.as_ref(), synced.as_ref())?;
        let cuts: Vec<_> =
            torn.iter().map(|(path, end)| Cut::at(path, *end)).collect::<Result<_, _>>().map_err(unusable)?;
        let opened = open_database(&dir, options);
        if opened.is_err() {
            cuts.into_iter().try_for_each(Cut::undo).map_err(unusable)?;
        }
        let db = opened.map_err(|refused| open_error(&refused, &dir, options))?;
        Ok((Self { dir, db: RwLock::new(Some(Opened { db, lock })) }, synced))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the files in the directory take.
    pub(super) fn disk_bytes(&self) -> Result<u64> {
        let unreadable =
            |error: std::io::Error| self.name(failure(MediumFailure::of_io(&error)).with_source(error));
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.dir).map_err(unreadable)? {
            match entry.and_then(|entry| entry.metadata()) {
                Ok(metadata) => bytes += metadata.len(),
                // Deleted meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        Ok(bytes)
    }

    /// RocksDB's number of the last write.
    pub(super) fn last_write(&self) -> Result<u64> {
        self.with(|db| Ok(db.latest_sequence_number()))
    }

    /// Closes the database once nobody reads any more; every later call answers `Closed`.
    pub(super) fn close(&self) {
        self.db.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Says in which directory `error` arose.
    pub(super) fn name(&self, error: Error) -> Error {
        error.context(format!("the changelog in {}", self.dir.display()))
    }

    fn with<T>(&self, call: impl FnOnce(&DB) -> Result<T>) -> Result<T> {
        self.with_opened(|opened| call(&opened.db))
    }

    fn with_opened<T>(&self, call: impl FnOnce(&Opened) -> Result<T>) -> Result<T> {
        match &*self.db.read().unwrap_or_else(PoisonError::into_inner) {
            Some(opened) => call(opened).map_err(|error| self.name(error)),
            None => Err(Error::closed("the changelog was closed; open it again")),
        }
    }

    /// Writes the rows that `fill` puts, in one atomic step; on the medium, if `sync`.
    pub(super) fn write(&self, sync: bool, fill: impl FnOnce(&mut Rows<'_>)) -> Result<()> {
        self.with_opened(|Opened { db, lock }| {
            let mut rows = Rows {
                batch: WriteBatch::default(),
                records: family(db, RECORDS)?,
                metadata: family(db, METADATA)?,
            };
            fill(&mut rows);
            let mut options = WriteOptions::default();
            options.set_sync(sync);
            db.write_opt(rows.batch, &options).map_err(|error| storage_error(&error))?;
            check_in_place(lock)
        })
    }

    /// Brings everything written so far onto the medium.
    pub(super) fn sync(&self) -> Result<()> {
        self.with_opened(|Opened { db, lock }| {
            db.flush_wal(true).map_err(|error| storage_error(&error))?;
            check_in_place(lock)
        })
    }

    /// Begins a new file: what was written so far goes into one, in the background.
    pub(super) fn flush(&self) -> Result<()> {
        self.with(|db| {
            let mut options = FlushOptions::default();
            options.set_wait(false);
            let families = [family(db, METADATA)?, family(db, RECORDS)?];
            db.flush_cfs_opt(&families, &options).map_err(|error| storage_error(&error))
        })
    }

    /// Hands every row of the metadata to `visit`, in order.
    pub(super) fn read_meta(&self, mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        self.with(|db| {
            let mut iterator = db.raw_iterator_cf(family(db, METADATA)?);
            iterator.seek_to_first();
            each(&mut iterator, |key, value| visit(key, value).map(|()| true))
        })
    }

    /// Hands records to `visit` until it answers `false`.
    pub(super) fn read(&self, span: &Span, visit: impl FnMut(&[u8], &[u8]) -> Result<bool>) -> Result<()> {
        self.with(|db| {
            let mut options = ReadOptions::default();
            options.set_iterate_range(span.bounds.start.as_slice()..span.bounds.end.as_slice());
            options.set_readahead_size(span.readahead_bytes);
            let mut iterator = db.raw_iterator_cf_opt(family(db, RECORDS)?, options);
            iterator.seek(span.from);
            if iterator.key() != Some(span.from.as_slice()) {
                iterator.status().map_err(|error| storage_error(&error))?;
                iterator.seek_for_prev(span.from);
            }
            if !iterator.valid() {
                iterator.status().map_err(|error| storage_error(&error))?;
                iterator.seek(span.from);
            }
            each(&mut iterator, visit)
        })
    }

    /// Drops the files that hold nothing but records of `segments`.
    pub(super) fn drop_segments(&self, segments: RangeInclusive<u64>) -> Result<()> {
        // IMPORTANT: both ends are included, so the end must not be the first key of a segment that lives.
        let keys = RecordKey::inclusive(segments);
        self.with(|db| {
            db.delete_file_in_range_cf(family(db, RECORDS)?, *keys.start(), *keys.end())
                .map_err(|error| storage_error(&error))
        })
    }

    /// Waits until every file has sunk out of level 0, where files are not dropped. A matter of moments; `false` if a
    /// slow medium takes longer than `patience`, which is no failure.
    pub(super) fn settle(&self, patience: Duration) -> Result<bool> {
        self.with(|db| {
            let mut options = WaitForCompactOptions::default();
            // To RocksDB, 0 is for ever.
            options.set_timeout(u64::try_from(patience.as_micros()).unwrap_or(u64::MAX).max(1));
            match db.wait_for_compact(&options) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == rocksdb::ErrorKind::TimedOut => Ok(false),
                Err(error) => Err(storage_error(&error)),
            }
        })
    }

    /// The first and the last segment of every file of records.
    #[cfg(test)]
    pub(super) fn files(&self) -> Vec<(u64, u64)> {
        let segment = |key: Option<Vec<u8>>| RecordKey::read(&key.unwrap()).unwrap().segment;
        let files = self.with(|db| Ok(db.live_files().unwrap())).unwrap().into_iter();
        let records = files.filter(|file| file.column_family_name == RECORDS);
        let mut segments: Vec<_> =
            records.map(|file| (segment(file.start_key), segment(file.end_key))).collect();
        segments.sort_unstable();
        segments
    }
}

/// Refuses a directory without a log.
///
/// # Errors
/// `Invalid`.
pub(crate) fn check_exists(dir: &Path) -> Result<()> {
    if dir.join("CURRENT").exists() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "there is no changelog in {}, and none is to be created: check the path, or open without `open_existing` to begin an \
         empty one",
        dir.display()
    )))
}

fn each(iterator: &mut DBRawIterator<'_>, mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool>) -> Result<()> {
    while let Some((key, value)) = iterator.item() {
        if !visit(key, value)? {
            return Ok(());
        }
        iterator.next();
    }
    iterator.status().map_err(|error| storage_error(&error))
}

fn family<'a>(db: &'a DB, name: &str) -> Result<&'a ColumnFamily> {
    db.cf_handle(name).ok_or_else(|| Error::internal(format!("the column family {name} is not open")))
}

/// The names of the topics by their ids, as far as RocksDB's tables tell them. Nothing in `dir` is written, and its logs
/// are not read: they are looked for in an empty directory.
pub(super) fn topic_names(dir: &Path) -> Option<BTreeMap<u32, String>> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let empty = std::env::temp_dir().join(format!("millpond-no-logs-{}-{call}", std::process::id()));
    std::fs::create_dir(&empty).ok()?;
    let mut options = Options::default();
    options.set_wal_dir(&empty);
    options.set_db_log_dir(&empty);
    let families = [METADATA, RECORDS].map(|name| ColumnFamilyDescriptor::new(name, Options::default()));
    let mut names = BTreeMap::new();
    if let Ok(db) = DB::open_cf_descriptors_read_only(&options, dir, families, false) {
        let mut rows = db.raw_iterator();
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            if let Some(MetaRow::Topic { id, name, .. }) = MetaRow::read(key, value) {
                names.insert(id, name);
            }
            rows.next();
        }
    }
    // Only left behind if it cannot be removed; it is empty.
    std::fs::remove_dir_all(&empty).ok();
    Some(names)
}

fn database_options(options: &EmbeddedOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_atomic_flush(true);
    // A write that was torn at the very end is cut; damage before it is an error, since what comes after it may
    // have been acknowledged.
    db.set_wal_recovery_mode(if options.salvage {
        DBRecoveryMode::PointInTime
    } else {
        DBRecoveryMode::TolerateCorruptedTailRecords
    });
    db.set_max_open_files(MAX_OPEN_FILES);
    db.set_log_level(LogLevel::Warn);
    db.set_keep_log_file_num(2);
    db.set_writable_file_max_buffer_size((options.segment_bytes as u64 / 16).clamp(64 << 10, 1 << 20));
    db
}

fn open_database(dir: &Path, options: &EmbeddedOptions) -> Result<DB, rocksdb::Error> {
    let families = [
        ColumnFamilyDescriptor::new(METADATA, metadata_options()),
        ColumnFamilyDescriptor::new(RECORDS, record_options(options)),
    ];
    DB::open_cf_descriptors(&database_options(options), dir, families)
}

/// There is little of it, and it is read once.
fn metadata_options() -> Options {
    let mut metadata = Options::default();
    metadata.set_arena_block_size(64 << 10);
    metadata
}

fn open_error(error: &rocksdb::Error, dir: &Path, options: &EmbeddedOptions) -> Error {
    let advice = match MediumFailure::of_rocksdb(error.as_ref()) {
        MediumFailure::Damaged if !options.salvage => {
            " (if it is the newest part, opening it with `salvage` keeps what lies before the damage)"
        }
        _ => "",
    };
    storage_error(error).context(format!("the changelog in {}{advice}", dir.display()))
}

/// A segment is a memtable, then a file; it sinks to the last of two levels without being rewritten, because no
/// two segments overlap.
fn record_options(options: &EmbeddedOptions) -> Options {
    let mut records = Options::default();
    // Room enough that only the roll of a segment begins a new file.
    records.set_write_buffer_size(options.segment_bytes.saturating_mul(2).saturating_add(16 << 20));
    records.set_arena_block_size((options.segment_bytes / 8).clamp(64 << 10, 1 << 20));
    records.set_max_write_buffer_number(4);
    records.set_compression_type(DBCompressionType::None);
    records.set_num_levels(2);
    records.set_level_compaction_dynamic_level_bytes(false);
    records.set_level_zero_file_num_compaction_trigger(1);
    records.set_target_file_size_base((options.segment_bytes as u64).saturating_mul(4));
    // By default files are rewritten once they are 30 days old.
    records.set_ttl(0);
    records.set_periodic_compaction_seconds(0);
    let mut table = BlockBasedOptions::default();
    table.set_block_size(BLOCK_BYTES);
    table.set_block_cache(&Cache::new_lru_cache(options.cache_bytes));
    records.set_block_based_table_factory(&table);
    records
}

/// Refuses to acknowledge what was written to a directory that was taken away: nobody would find it.
fn check_in_place(lock: &DirectoryLock) -> Result<()> {
    let unknown = |error| failure(MediumFailure::of_io(&error)).with_source(error);
    if lock.has_database().map_err(unknown)? {
        return Ok(());
    }
    Err(Error::unavailable(
        "the directory was deleted, emptied, moved or replaced while it was open, and what is appended would be lost; put it back \
         and open it again",
    ))
}

/// An error of RocksDB in terms of what the caller can do about it.
fn storage_error(error: &rocksdb::Error) -> Error {
    let text: &str = error.as_ref();
    // The text alone becomes the source: no type of RocksDB leaves this folder.
    failure(MediumFailure::of_rocksdb(text)).with_source(text)
}

pub(super) fn failure(failure: MediumFailure) -> Error {
    let (kind, advice) = failure.advice(Kept::Changelog);
    Error::new(kind, advice)
}
