//! A checkpoint: a copy of the whole database as it is at one moment, beside which the database goes on.
//!
//! Sorted files never change, so they are linked and not copied, unless the target lies on another file system. The copy
//! is made in a hidden directory beside the target, synced, and renamed at the end: a crash leaves no target, or a
//! whole one. What a crash leaves of the hidden directory is removed by the next checkpoint with the same target.

use super::TaskFamily;
use crate::medium::{self, DirectoryLock, MediumFailure};
use crate::{Error, ErrorKind, Result, fault};
use rocksdb::checkpoint::Checkpoint;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What the copy is called in the hidden directory. RocksDB itself begins with one that has `.tmp` behind its name.
const COPY: &str = "state";

/// Copies the database of `task` to `target`.
pub(super) fn checkpoint(task: &TaskFamily, target: &Path) -> Result<()> {
    task.check_in_place()?;
    let target = resolve(target, &task.opened().dir)?;
    let stage = Stage::claim(&target)?;
    fault::point("checkpoint.before_copy")?;
    let copy = stage.dir.join(COPY);
    let failed = |error: rocksdb::Error| {
        let text = error.into_string();
        failure("write", &target, MediumFailure::of_rocksdb(&text)).with_source(text)
    };
    Checkpoint::new(task.database()).and_then(|made| made.create_checkpoint(&copy)).map_err(failed)?;
    sync_all(&copy).map_err(|error| io_failure("sync", &target, error))?;
    fault::point("checkpoint.before_rename")?;
    fs::rename(&copy, &target).map_err(|error| io_failure("put in place", &target, error))?;
    fault::point("checkpoint.after_rename")?;
    let parent = target.parent().unwrap_or(&target);
    medium::sync_directory(parent).map_err(|error| io_failure("sync the parent of", &target, error))
}

/// The path of `target` without links and dots; its parent is there afterwards.
fn resolve(target: &Path, state: &Path) -> Result<PathBuf> {
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
            let parent = medium::create(parent.unwrap_or(Path::new("."))).map_err(failed)?;
            parent.join(name)
        }
        Err(error) => return Err(failed(error)),
    };
    let database = path.ancestors().skip(1).find(|dir| medium::log_file::is_of_a_database(dir));
    if path.starts_with(state) || database.is_some() {
        return Err(Error::invalid(format!(
            "a checkpoint cannot be written to {}, inside of the state or changelog in {}: name a directory elsewhere",
            path.display(),
            database.unwrap_or(state).display()
        )));
    }
    Ok(path)
}

/// The hidden directory in which a checkpoint is made. Dropping it removes it.
struct Stage {
    dir: PathBuf,
    _lock: DirectoryLock,
}

impl Stage {
    /// Makes the directory for `target`, without what a crash has left in it.
    fn claim(target: &Path) -> Result<Self> {
        let failed = |error| io_failure("begin", target, error);
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(".checkpoint");
        let dir = target.with_file_name(name);
        fs::create_dir_all(&dir).map_err(failed)?;
        let temporary = format!("{COPY}.tmp");
        let ours = [COPY, &temporary, medium::LOCK_FILE];
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if !ours.iter().any(|ours| name == *ours) {
                return Err(Error::invalid(format!(
                    "{} is where a checkpoint would be prepared, and holds `{}`, which no checkpoint has left there: move it \
                     away, or name another directory",
                    dir.display(),
                    name.display()
                )));
            }
        }
        let Some(lock) = DirectoryLock::take(&dir).map_err(failed)? else {
            return Err(Error::unavailable(format!(
                "another checkpoint is being written to {}: wait for it, or name another directory",
                target.display()
            )));
        };
        let stage = Self { dir, _lock: lock };
        for left_over in [COPY, &temporary] {
            match fs::remove_dir_all(stage.dir.join(left_over)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(stage)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next checkpoint with this target.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Brings the files of `dir` onto the medium, and their names.
fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        File::open(entry?.path())?.sync_all()?;
    }
    medium::sync_directory(dir)
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
        _ => failure(doing, target, MediumFailure::of_io(&error)),
    }
    .with_source(error)
}

/// Whatever it is, the state that is copied has no part in it.
fn failure(doing: &str, target: &Path, failure: MediumFailure) -> Error {
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
    Error::new(kind, format!("cannot {doing} the checkpoint {target}; {advice}. The engine goes on"))
}
