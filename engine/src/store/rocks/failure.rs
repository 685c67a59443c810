//! What a failure of RocksDB or of the file system means to the caller.
//!
//! RocksDB reports failures as text; the texts that this relies on are held by tests.

use crate::{Error, ErrorKind};
use std::io;
use std::path::Path;

/// The error for `doing` something with the state in `dir` that RocksDB failed at.
pub(super) fn during(doing: &str, dir: &Path, error: rocksdb::Error) -> Error {
    let text = error.into_string();
    let (kind, advice) = judge(&text);
    // The text alone becomes the source: no type of RocksDB leaves this folder.
    Error::new(kind, format!("cannot {doing} in {}; {advice}", dir.display())).with_source(text)
}

/// The error for `doing` something with `path` that the file system failed at.
pub(super) fn on_path(doing: &str, path: &Path, error: io::Error) -> Error {
    use io::ErrorKind::{AlreadyExists, NotADirectory, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    let kind = match error.kind() {
        AlreadyExists | NotADirectory => ErrorKind::Invalid,
        PermissionDenied | ReadOnlyFilesystem | StorageFull => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, format!("cannot {doing} {}", path.display())).with_source(error)
}

fn judge(text: &str) -> (ErrorKind, &'static str) {
    const REBUILD: &str = "if the cause cannot be undone, delete the directory and the state is rebuilt from \
                           the changelog";
    let says = |part: &str| text.contains(part);
    let io_error = text.starts_with("IO error");
    if io_error && (says("While lock file") || says("lock hold by current process")) {
        (ErrorKind::Unavailable, "another process or engine uses the directory: close it first")
    } else if says("No space left on device") || says("Disk quota exceeded") {
        (ErrorKind::Unavailable, "the disk is full: free some space and open the engine again")
    } else if io_error && (says("Permission denied") || says("Read-only file system")) {
        (ErrorKind::Unavailable, "it must be possible to write there")
    } else if io_error && says("Too many open files") {
        (ErrorKind::Unavailable, "raise the limit of open files")
    } else if text.starts_with("Corruption") || (io_error && says("No such file or directory")) {
        (ErrorKind::Corrupt, REBUILD)
    } else {
        (ErrorKind::Internal, REBUILD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_what_to_do() {
        let cases = [
            ("IO error: While lock file: /d/LOCK: Resource temporarily unavailable", ErrorKind::Unavailable),
            ("IO error: No space left on device: While appending to file", ErrorKind::Unavailable),
            (
                "IO error: While open a file for appending: /d/1.sst: Permission denied",
                ErrorKind::Unavailable,
            ),
            ("Corruption: block checksum mismatch: stored = 1, in /d/000012.sst", ErrorKind::Corrupt),
            ("IO error: No such file or directory: /d/000012.sst", ErrorKind::Corrupt),
            ("Invalid argument: whatever", ErrorKind::Internal),
        ];
        for (text, kind) in cases {
            assert_eq!(judge(text).0, kind, "{text}");
        }
    }
}
