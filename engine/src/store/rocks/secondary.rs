//! A state that is looked at while somebody else has it open: a secondary instance of RocksDB.
//!
//! It takes no lock and writes nothing to the directory of the state; the log that RocksDB insists on goes to a directory
//! of its own. Every instance shows the state of one moment, for good: what a later moment shows is another
//! instance, opened beside the one before. So whoever reads is never moved on in between, and a snapshot is an
//! instance that is kept.
//!
//! Whoever has the state open may delete files at any time. Files that were opened stay readable, and an instance opens all of
//! them at the start; one that vanishes before makes the opening begin anew.

use super::failure::{RESTORE, during, on_path};
use super::options::{Tuning, cache};
use super::present::{Present, present};
use super::{Database, NO_TASK, ONLY_TASK, Opened, RocksOptions, TaskFamily};
use crate::medium::{DirectoryLock, Manifest, log_file};
use crate::store::{Direction, Row, StateStore, StoreSnapshot, StoreStats, Visit};
use crate::{Error, Result};
use rocksdb::{Cache, ColumnFamilyDescriptor, LiveFile, ReadOptions, properties};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, RwLock};
use std::time::SystemTime;

/// How often an opening begins anew because files have vanished meanwhile. Each time the state has gone on, so that only
/// one that is rewritten faster than it can be opened comes to the end of it.
const TRIES: u32 = 16;

/// The column families that are opened.
pub(super) const OPENED_FAMILIES: [&str; 2] = [NO_TASK, ONLY_TASK];

/// A state that others may have open. It shows one moment, until it is [moved on](Self::show).
pub(crate) struct SecondaryStore {
    opening: Opening,
    shown: RwLock<Arc<Instance>>,
    /// What the manifest was when the shown instance was opened.
    seen: Mutex<ManifestMark>,
}

/// The state at one moment.
pub(crate) struct Instance {
    pub(super) task: TaskFamily,
    manifest: ManifestMark,
    /// Removed once the database is closed.
    _logs: LogDirectory,
}

/// What every instance of a state is opened with.
struct Opening {
    dir: PathBuf,
    options: RocksOptions,
    /// What one instance has read is there for the next one.
    cache: Cache,
    /// Whether a scan is to pass over nothing.
    reads_everything: bool,
}

/// The name, the length and the time of a manifest: every change of a state adds to it, or begins another one. A state that was
/// built anew may have one of the same name and length.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ManifestMark(Option<(PathBuf, u64, Option<SystemTime>)>);

impl ManifestMark {
    fn of(dir: &Path) -> Self {
        let look = |path: PathBuf| {
            let metadata = fs::metadata(&path).ok()?;
            Some((path, metadata.len(), metadata.modified().ok()))
        };
        Self(log_file::manifest_path(dir).ok().flatten().and_then(look))
    }
}

impl SecondaryStore {
    /// Opens the state in `dir` as it is now. `check` looks whether an instance is whole: what it refuses with
    /// [`Unavailable`](crate::ErrorKind::Unavailable) is tried again as long as the state goes on.
    ///
    /// # Errors
    /// `Invalid` if there is no state; `Unavailable` if it cannot be read now; `Corrupt`; those of `check`.
    pub(crate) fn open<T>(
        dir: &Path,
        options: &RocksOptions,
        check: &dyn Fn(&Instance) -> Result<T>,
    ) -> Result<(Self, T)> {
        if !dir.join("CURRENT").exists() {
            return Err(no_state(dir));
        }
        let dir = dir.canonicalize().map_err(|error| on_path("open the state directory", dir, error))?;
        let cache = cache(options.block_cache_bytes);
        let opening = Opening { dir, options: options.clone(), cache, reads_everything: false };
        let (instance, found) = opening.open(check)?;
        let seen = Mutex::new(instance.manifest.clone());
        Ok((Self { opening, shown: RwLock::new(instance), seen }, found))
    }

    /// Opens the state in `dir`, which nobody has open, and reads every block of every file of it, with its checksum.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub(crate) fn verify(dir: &Path, options: &RocksOptions) -> Result<Self> {
        if !dir.join("CURRENT").exists() {
            return Err(no_state(dir));
        }
        let dir = dir.canonicalize().map_err(|error| on_path("open the state directory", dir, error))?;
        let opening = Opening { dir, options: options.clone(), cache: cache(0), reads_everything: true };
        let (instance, ()) = opening.open(&Instance::read_everything)?;
        let seen = Mutex::new(instance.manifest.clone());
        Ok(Self { opening, shown: RwLock::new(instance), seen })
    }

    /// The state as it is now, if it has changed since the last time. It is not shown yet.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub(crate) fn next<T>(
        &self,
        check: &dyn Fn(&Instance) -> Result<T>,
    ) -> Result<Option<(Arc<Instance>, T)>> {
        if *self.seen.lock().unwrap_or_else(PoisonError::into_inner) == ManifestMark::of(self.dir()) {
            return Ok(None);
        }
        if !self.dir().join("CURRENT").exists() {
            return Err(no_state(self.dir()));
        }
        self.opening.open(check).map(Some)
    }

    /// Shows `instance` from now on. Returns what was shown before: dropping that may close many files.
    pub(crate) fn show(&self, instance: Arc<Instance>) -> Arc<Instance> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = instance.manifest.clone();
        std::mem::replace(&mut *self.shown.write().unwrap_or_else(PoisonError::into_inner), instance)
    }

    /// What is shown now.
    pub(crate) fn shown(&self) -> Arc<Instance> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.opening.dir
    }
}

/// The error for a directory without a state.
pub(crate) fn no_state(dir: &Path) -> Error {
    let nested = dir.join("state");
    let advice = if nested.join("CURRENT").exists() {
        format!("did you mean {}?", nested.display())
    } else {
        "check the path; an engine that may create a state does so where nothing is".to_owned()
    };
    Error::invalid(format!("there is no state in {}: {advice}", dir.display()))
}

impl Opening {
    /// Opens an instance, again and again as long as files vanish while it is opened.
    fn open<T>(&self, check: &dyn Fn(&Instance) -> Result<T>) -> Result<(Arc<Instance>, T)> {
        let mut tries = 0;
        loop {
            let manifest = ManifestMark::of(&self.dir);
            let opened = self.open_once(manifest.clone());
            let checked =
                opened.and_then(|instance| check(&instance).map(|found| (Arc::new(instance), found)));
            tries += 1;
            match checked {
                // Whatever it is, it may be that of a state that has gone on in between.
                Err(_) if manifest != ManifestMark::of(&self.dir) => {
                    if tries == TRIES {
                        return Err(goes_on(&self.dir));
                    }
                }
                checked => return checked,
            }
        }
    }

    fn open_once(&self, manifest: ManifestMark) -> Result<Instance> {
        let dir = &self.dir;
        let mut tuning = Tuning::with_cache(&self.options, self.cache.clone());
        tuning.database.create_if_missing(false);
        // IMPORTANT: files are deleted under it, so that all of them must be open from the start.
        tuning.database.set_max_open_files(-1);
        if self.reads_everything {
            // It would jump over older values of a key, which may fill whole blocks.
            tuning.family.set_max_sequential_skip_in_iterations(u64::MAX);
        }
        let Present { families, manifest: told, torn } = present(dir)?;
        if torn.is_some() {
            return Err(Error::unavailable(format!(
                "the end of the manifest of the state in {} cannot be read: it is being written, or a crash has torn it, which \
                 the next engine that opens the state mends",
                dir.display()
            )));
        }
        if !families.iter().any(|family| family == ONLY_TASK) {
            return Err(Error::unavailable(format!(
                "the state in {} is being created: try again once its engine is open",
                dir.display()
            )));
        }
        let wanted = families.into_iter().filter(|family| OPENED_FAMILIES.contains(&family.as_str()));
        let descriptors: Vec<_> =
            wanted.map(|family| ColumnFamilyDescriptor::new(family, tuning.family.clone())).collect();
        let logs = LogDirectory::create()?;
        let opened = if self.reads_everything {
            // A secondary would rather show an earlier moment than say which file is damaged.
            tuning.database.set_db_log_dir(&logs.dir);
            Database::open_cf_descriptors_read_only(&tuning.database, dir, descriptors, false)
        } else {
            Database::open_cf_descriptors_as_secondary(&tuning.database, dir, &logs.dir, descriptors)
        };
        let database = opened.map_err(|error| during("look at the state", dir, error))?;
        if let Some(told) = &told {
            check_is_whole(&database, told, dir)?;
        }
        let opened = Opened {
            database,
            lock: None,
            dir: dir.clone(),
            tuning,
            next_file: AtomicU64::new(0),
            creating: Mutex::new(()),
            forgotten: Mutex::default(),
        };
        let task = super::present_task(Arc::new(opened), ONLY_TASK)?;
        Ok(Instance { task, manifest, _logs: logs })
    }
}

/// Refuses an instance that does not show a moment at or behind the one of `manifest`.
///
/// IMPORTANT: where a file is missing or cut, RocksDB shows what the state was before there was that file, be it nothing.
fn check_is_whole(database: &Database, manifest: &Manifest, dir: &Path) -> Result<()> {
    let shown = database.live_files().map_err(|error| during("list the files of the state", dir, error))?;
    let number = |file: &LiveFile| file.name.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok();
    let shown: BTreeSet<u64> = shown.iter().filter_map(number).collect();
    let unreadable = |error| on_path("read the manifest of the state in", dir, error);
    if manifest.comes_to(dir, &OPENED_FAMILIES, &shown).map_err(unreadable)? {
        return Ok(());
    }
    for (number, bytes) in manifest.files(&OPENED_FAMILIES).unwrap_or_default() {
        let file = dir.join(format!("{number:06}.sst"));
        match fs::metadata(&file) {
            Ok(metadata) if metadata.len() == bytes => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(on_path("look at the file", &file, error));
            }
            _ => {
                return Err(Error::corrupt(format!("{} is missing or damaged: {RESTORE}", file.display())));
            }
        }
    }
    Err(goes_on(dir))
}

/// The error for a state that is never the same from the beginning of an opening to its end.
fn goes_on(dir: &Path) -> Error {
    Error::unavailable(format!(
        "the state in {} changes faster than it can be opened: try again",
        dir.display()
    ))
}

impl StoreSnapshot for Instance {
    fn read(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        let value = self
            .task
            .database()
            .get_pinned_cf_opt(self.task.family(), key, &self.task.opened().tuning.read)
            .map_err(|error| self.task.failed("read the state", error))?;
        read(value.as_deref());
        Ok(())
    }

    fn scan(&self, keys: Range<&[u8]>, direction: Direction, visit: Visit<'_>) -> Result<()> {
        super::snapshot::scan(&self.task, ReadOptions::default(), keys, direction, visit)
    }
}

impl StateStore for SecondaryStore {
    fn read(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.shown().read(key, read)
    }

    fn read_sorted(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()> {
        let shown = self.shown();
        keys.iter().enumerate().try_for_each(|(index, key)| shown.read(key, &mut |value| read(index, value)))
    }

    fn ingest(&self, _: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        Err(read_only())
    }

    fn replace_range(&self, _: Range<&[u8]>, _: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        Err(read_only())
    }

    fn snapshot(&self) -> Result<Arc<dyn StoreSnapshot>> {
        Ok(self.shown())
    }

    fn pressure(&self) -> f64 {
        0.0
    }

    fn wait_for_room(&self) {}

    fn stats(&self) -> StoreStats {
        let shown = self.shown();
        StoreStats {
            state_bytes: shown.task.number(properties::LIVE_SST_FILES_SIZE),
            rows_estimate: shown.task.number(properties::ESTIMATE_NUM_KEYS),
            ..StoreStats::default()
        }
    }
}

fn read_only() -> Error {
    Error::internal("a state that is only read was to be written")
}

/// The directory for what RocksDB logs. Dropping it removes it.
struct LogDirectory {
    dir: PathBuf,
    /// Tells others that it is in use.
    _lock: Option<DirectoryLock>,
}

/// What the names of such directories begin with.
const LOG_DIRECTORY: &str = "millpond-reader-";

impl LogDirectory {
    fn create() -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(|| remove_left_over_log_directories(&std::env::temp_dir()));
        let process = std::process::id();
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let dir = std::env::temp_dir().join(format!("{LOG_DIRECTORY}{process}-{number}"));
            let failed = |error| on_path("create the temporary directory", &dir, error);
            match fs::create_dir(&dir) {
                // None if another process takes it for one that was left.
                Ok(()) => match DirectoryLock::take(&dir) {
                    Ok(None) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    // Where there are no locks nobody can tell what was left, and so it stays.
                    lock => return Ok(Self { dir, _lock: lock.ok().flatten() }),
                },
                // Of a process of the same number that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

impl Drop for LogDirectory {
    fn drop(&mut self) {
        // What is left of it is left to the next process that reads a state.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Removes what processes have left that were killed: their locks are free. Whatever cannot be looked at is not ours.
pub(super) fn remove_left_over_log_directories(temporary: &Path) {
    let Ok(entries) = fs::read_dir(temporary) else { return };
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    for entry in entries.filter_map(std::result::Result::ok) {
        let name = entry.file_name();
        let numbers = name.to_str().and_then(|name| name.strip_prefix(LOG_DIRECTORY)?.split_once('-'));
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory
            && numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
            && let Ok(Some(_lock)) = DirectoryLock::take(&entry.path())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
