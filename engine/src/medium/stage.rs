//! A place for a state: a hidden directory beside the one that it is for, in which its files are laid, synced, and put in
//! place with one rename at the end.
//!
//! Invariant: a crash leaves no state in the target, or a whole one. What it leaves of the hidden directory is removed by
//! whoever claims the same target next.

use super::{DirectoryLock, LOCK_FILE, MediumFailure, log_file};
use crate::{Error, ErrorKind, Result, fault};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the names of copies in the hidden directory begin with. RocksDB itself begins with one that has `.tmp` behind its name.
const COPY: &str = "state";

/// How many places were claimed: each has a copy of another name, so that whoever still writes for one that was given up, since
/// nobody awaits it any more, meets no later one.
static CLAIMED: AtomicU64 = AtomicU64::new(0);

/// The place of a state that is being copied, claimed for one who lays its files. Dropping it removes what was laid.
#[derive(Debug)]
pub struct StatePlace {
    hidden: PathBuf,
    copy: PathBuf,
    target: PathBuf,
    _lock: DirectoryLock,
}

impl StatePlace {
    /// Claims `target`, which must not be there or be empty, and not lie inside of `state` or of any other database.
    ///
    /// # Errors
    /// `Invalid` for a target that cannot be; `Unavailable` if another copy is being laid for it, or the directory beside it
    /// cannot be written.
    pub fn claim(target: &Path, state: Option<&Path>) -> Result<Self> {
        let target = resolve(target, state)?;
        let failed = |error| io_failure("begin", &target, error);
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(".checkpoint");
        let hidden = target.with_file_name(name);
        fs::create_dir_all(&hidden).map_err(failed)?;
        let mut left_over = Vec::new();
        for entry in fs::read_dir(&hidden).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(COPY)) {
                left_over.push(entry.path());
            } else if name != LOCK_FILE {
                return Err(Error::invalid(format!(
                    "{} is where a checkpoint would be prepared, and holds `{}`, which no checkpoint has left there: move it \
                     away, or name another directory",
                    hidden.display(),
                    name.display()
                )));
            }
        }
        let Some(lock) = DirectoryLock::take(&hidden).map_err(failed)? else {
            return Err(Error::unavailable(format!(
                "another checkpoint is being written to {}: wait for it, or name another directory",
                target.display()
            )));
        };
        for left_over in left_over {
            match fs::remove_dir_all(left_over) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        let copy = hidden.join(format!("{COPY}-{}", CLAIMED.fetch_add(1, Ordering::Relaxed)));
        Ok(Self { hidden, copy, target, _lock: lock })
    }

    /// The directory in which the files are laid. It is not there yet.
    #[must_use]
    pub fn copy(&self) -> &Path {
        &self.copy
    }

    /// Where the state will be, without links and dots.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Syncs the files that were laid, and puts them in place.
    ///
    /// # Errors
    /// `Unavailable` if the medium failed; `Invalid` if there is something in the target by now. Nothing is in the target
    /// then, but for a failure to sync the directory around it.
    pub fn put_in_place(self) -> Result<()> {
        let (copy, target) = (&self.copy, &self.target);
        sync_all(copy).map_err(|error| io_failure("sync", target, error))?;
        fault::point("checkpoint.before_rename")?;
        fs::rename(copy, target).map_err(|error| io_failure("put in place", target, error))?;
        fault::point("checkpoint.after_rename")?;
        let parent = target.parent().unwrap_or(target);
        super::sync_directory(parent).map_err(|error| io_failure("sync the parent of", target, error))
    }
}

impl Drop for StatePlace {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next claim of this target.
        let _ = fs::remove_dir_all(&self.hidden);
    }
}

/// The path of `target` without links and dots; its parent is there afterwards.
fn resolve(target: &Path, state: Option<&Path>) -> Result<PathBuf> {
    let failed = |error| io_failure("look at", target, error);
    let path = match fs::read_dir(target) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(Error::invalid(format!(
                    "a checkpoint cannot be written to {}, where there is something already: name a directory that is not \
                     there, or empty this one",
                    target.display()
                )));
            }
            target.canonicalize().map_err(failed)?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = target.file_name().ok_or_else(|| {
                Error::invalid(format!(
                    "a checkpoint cannot be written to `{}`: name a directory",
                    target.display()
                ))
            })?;
            let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = super::create(parent.unwrap_or(Path::new("."))).map_err(failed)?;
            parent.join(name)
        }
        Err(error) => return Err(failed(error)),
    };
    let database = path.ancestors().skip(1).find(|dir| log_file::is_of_a_database(dir));
    let around = database.or(state.filter(|state| path.starts_with(state)));
    if let Some(around) = around {
        return Err(Error::invalid(format!(
            "a checkpoint cannot be written to {}, inside of the state or changelog in {}: name a directory elsewhere",
            path.display(),
            around.display()
        )));
    }
    Ok(path)
}

/// Brings the files of `dir` onto the medium, and their names.
fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        File::open(entry?.path())?.sync_all()?;
    }
    super::sync_directory(dir)
}

fn io_failure(doing: &str, target: &Path, error: io::Error) -> Error {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, InvalidFilename, NotADirectory};
    match error.kind() {
        InvalidFilename => Error::invalid(format!(
            "cannot {doing} the checkpoint {}: give it a shorter name",
            target.display()
        )),
        AlreadyExists | DirectoryNotEmpty | NotADirectory => Error::invalid(format!(
            "cannot {doing} the checkpoint {}: name a directory that is not there, or an empty one",
            target.display()
        )),
        _ => placing_failure(doing, target, MediumFailure::of_io(&error)),
    }
    .with_source(error)
}

/// The error for `doing` something with the checkpoint `target`. Whatever it is, the state that is copied has no part in it.
pub(crate) fn placing_failure(doing: &str, target: &Path, failure: MediumFailure) -> Error {
    let (kind, advice) = match failure {
        MediumFailure::Full => {
            (ErrorKind::Unavailable, "the disk is full: free some space, or name a directory on another one")
        }
        MediumFailure::Forbidden => (ErrorKind::Unavailable, "it must be possible to write there"),
        MediumFailure::TooManyFiles => (ErrorKind::Unavailable, "raise the limit of open files"),
        MediumFailure::Closing => (ErrorKind::Closed, "the state is being closed"),
        MediumFailure::Damaged => (ErrorKind::Corrupt, "a file of the state is damaged"),
        MediumFailure::Unexpected => (ErrorKind::Internal, "nothing like this should happen: report it"),
        MediumFailure::InUse | MediumFailure::Missing | MediumFailure::Medium | MediumFailure::Busy => {
            (ErrorKind::Unavailable, "try again, or name a directory on another medium")
        }
    };
    let target = target.display();
    Error::new(kind, format!("cannot {doing} the checkpoint {target}; {advice}"))
}
