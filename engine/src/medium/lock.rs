//! A lock on a directory that belongs to the open file, and so cannot be lost by accident.
//!
//! RocksDB locks its file `LOCK` with a lock of the *process*: it keeps out nobody of the same process, and it is gone as
//! soon as the process closes any handle on that file, as a program does that copies its own directory. This lock
//! belongs to one open file (`flock`): a second open of the file, by whatever path and whatever process, does not get
//! it, and closing another handle leaves it alone. RocksDB's lock is held beside it, which keeps out releases that do
//! not know this one.
//!
//! The file also tells whether the directory is still the one that was opened: a directory that was deleted, replaced or
//! moved under a running engine takes what is written to it along ([`DirectoryLock::check`]).

use fs4::FileExt;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file of a lock.
pub(crate) const NAME: &str = "millpond.lock";

/// The directories that this process has locked, by device and number of the lock's file.
static HELD: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

fn held() -> MutexGuard<'static, BTreeSet<(u64, u64)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What tells the file of a lock from all others; the same by whatever path.
fn identity(file: &File) -> Option<(u64, u64)> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        None
    }
}

/// Whether it is this very process that has `dir` locked.
pub(crate) fn is_locked_here(dir: &Path) -> bool {
    let file = File::open(dir.join(NAME)).ok();
    file.as_ref().and_then(identity).is_some_and(|identity| held().contains(&identity))
}

/// The only right to use a directory, until it is dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
    path: PathBuf,
}

impl DirectoryLock {
    /// Locks `dir`; `None` if it is in use.
    pub(crate) fn take(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(NAME);
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        match FileExt::try_lock(&file) {
            Ok(()) => {}
            Err(fs4::TryLockError::WouldBlock) => return Ok(None),
            Err(fs4::TryLockError::Error(error)) => return Err(error),
        }
        let lock = Self { file, path };
        // Deleted between the two steps: another process may have made and locked a new one.
        let in_place = lock.is_in_place()?;
        if in_place {
            held().extend(identity(&lock.file));
        }
        Ok(in_place.then_some(lock))
    }

    /// Whether the directory that was locked is still there, under its path.
    #[cfg(unix)]
    pub(crate) fn is_in_place(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let locked = self.file.metadata()?;
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (locked.dev(), locked.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where open files cannot be deleted or moved, the directory is always in place.
    #[cfg(not(unix))]
    pub(crate) fn is_in_place(&self) -> io::Result<bool> {
        self.path.try_exists()
    }

    /// Whether the directory is still there with the database of RocksDB in it. Who empties a directory may leave the lock.
    pub(crate) fn has_database(&self) -> io::Result<bool> {
        Ok(self.is_in_place()? && self.path.with_file_name("CURRENT").try_exists()?)
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        if let Some(identity) = identity(&self.file) {
            held().remove(&identity);
        }
        // Closing is not enough: a child that was forked and has not begun its program yet shares the open file.
        let _ = FileExt::unlock(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_survives_copies_of_the_directory_and_ends_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let copy = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(dir.path()).unwrap().unwrap();
        assert!(DirectoryLock::take(dir.path()).unwrap().is_none());
        std::fs::copy(dir.path().join(NAME), copy.path().join(NAME)).unwrap();
        assert!(DirectoryLock::take(dir.path()).unwrap().is_none());
        // The copy is a directory of its own.
        assert!(DirectoryLock::take(copy.path()).unwrap().is_some());
        drop(lock);
        assert!(DirectoryLock::take(dir.path()).unwrap().is_some());
    }

    #[test]
    fn a_directory_that_was_deleted_moved_or_replaced_is_not_in_place() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("log");
        let fresh = || {
            std::fs::create_dir(&dir).unwrap();
            DirectoryLock::take(&dir).unwrap().unwrap()
        };
        let lock = fresh();
        assert!(lock.is_in_place().unwrap());
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(!lock.is_in_place().unwrap());
        let replaced = fresh();
        assert!(!lock.is_in_place().unwrap() && replaced.is_in_place().unwrap());
        std::fs::rename(&dir, root.path().join("moved")).unwrap();
        assert!(!replaced.is_in_place().unwrap());
        std::fs::rename(root.path().join("moved"), &dir).unwrap();
        assert!(replaced.is_in_place().unwrap());
    }
}
