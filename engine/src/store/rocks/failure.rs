//! What a failure of RocksDB or of the file system means to whoever has the state.

use crate::medium::{Failure, is_locked_here};
use crate::{Error, ErrorKind};
use std::io;
use std::path::Path;

/// The error for `doing` something with the state in `dir` that RocksDB failed at.
pub(super) fn during(doing: &str, dir: &Path, error: rocksdb::Error) -> Error {
    let text = error.into_string();
    let (kind, advice) = advice(Failure::of_rocksdb(&text));
    // The text alone becomes the source: no type of RocksDB leaves this folder.
    Error::new(kind, format!("cannot {doing} in {}; {advice}", dir.display())).with_source(text)
}

/// The error for `doing` something with `path` that the file system failed at.
pub(super) fn on_path(doing: &str, path: &Path, error: io::Error) -> Error {
    use io::ErrorKind::{AlreadyExists, NotADirectory};
    let (kind, advice) = match error.kind() {
        AlreadyExists | NotADirectory => (ErrorKind::Invalid, "it must be a directory"),
        _ => advice(Failure::of_io(&error)),
    };
    Error::new(kind, format!("cannot {doing} {}; {advice}", path.display())).with_source(error)
}

/// The error for a state that somebody else has open.
pub(super) fn in_use(dir: &Path) -> Error {
    let (kind, advice) = advice(Failure::InUse);
    // Views and streams let go of a closed engine's state; what shows a moment of it cannot.
    let advice = if is_locked_here(dir) {
        "this process has it open: an engine that is not closed, or a snapshot or scan of one that is; close the one, or drop \
         the others, first"
    } else {
        advice
    };
    Error::new(kind, format!("cannot open the state in {}; {advice}", dir.display()))
}

fn advice(failure: Failure) -> (ErrorKind, &'static str) {
    match failure {
        Failure::InUse => {
            (ErrorKind::Unavailable, "another process or engine uses the directory: close it first")
        }
        Failure::Full => {
            (ErrorKind::Unavailable, "the disk is full: free some space and open the engine again")
        }
        Failure::Forbidden => (ErrorKind::Unavailable, "it must be possible to read and write there"),
        Failure::TooManyFiles => (ErrorKind::Unavailable, "raise the limit of open files"),
        Failure::Medium => (
            ErrorKind::Unavailable,
            "the medium failed: look after it (the log of the system says more), then open the engine again",
        ),
        Failure::Busy => (ErrorKind::Unavailable, "it did not work for now: open the engine again"),
        Failure::Closing => (ErrorKind::Closed, "the state is being closed"),
        Failure::Missing | Failure::Damaged => (
            ErrorKind::Corrupt,
            "if the cause cannot be undone, delete the directory and the state is rebuilt from the changelog",
        ),
        Failure::Unexpected => {
            (ErrorKind::Internal, "nothing like this should happen: keep the directory and report it")
        }
    }
}
