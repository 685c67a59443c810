//! The errors of a state that RocksDB or the file system failed at; what these mean is told by [`MediumFailure`].

use crate::medium::{Kept, MediumFailure, is_locked_here};
use crate::{Error, ErrorKind};
use std::io;
use std::path::Path;

/// What to do about a state that is damaged. The directory may hold what is not ours.
pub(super) const RESTORE: &str = "restore the state from a copy; or, if nothing but the state is kept there, delete the directory, \
     and the state is rebuilt from the changelog";

/// The error for `doing` something with the state in `dir` that RocksDB failed at.
pub(super) fn during(doing: &str, dir: &Path, error: rocksdb::Error) -> Error {
    let text = error.into_string();
    let (kind, advice) = MediumFailure::of_rocksdb(&text).advice(Kept::State);
    // The text alone becomes the source: no type of RocksDB leaves this folder.
    Error::new(kind, format!("cannot {doing} in {}; {advice}", dir.display())).with_source(text)
}

/// The error for `doing` something with `path` that the file system failed at.
pub(super) fn on_path(doing: &str, path: &Path, error: io::Error) -> Error {
    use io::ErrorKind::{AlreadyExists, NotADirectory};
    let (kind, advice) = match error.kind() {
        AlreadyExists | NotADirectory => (ErrorKind::Invalid, "it must be a directory"),
        _ => MediumFailure::of_io(&error).advice(Kept::State),
    };
    Error::new(kind, format!("cannot {doing} {}; {advice}", path.display())).with_source(error)
}

/// The error for a state that somebody else has open.
pub(super) fn in_use(dir: &Path) -> Error {
    let (kind, advice) = MediumFailure::InUse.advice(Kept::State);
    // Views and streams let go of a closed engine's state; what shows a moment of it cannot.
    let advice = if is_locked_here(dir) {
        "this process has it open: an engine that is not closed, or a snapshot or scan of one that is; close the one, or drop \
         the others, first"
    } else {
        advice
    };
    Error::new(kind, format!("cannot open the state in {}; {advice}", dir.display()))
}
