//! Copies of directories, as they are after a crash or in a backup.

use std::io::ErrorKind;
use std::path::Path;
use tempfile::TempDir;

/// Copies what is in `from`, with the directories below it, to `to`, which is made if it is not there.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
            continue;
        }
        // RocksDB deletes what has become obsolete in the background.
        match std::fs::copy(entry.path(), to) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            copied => drop(copied.unwrap()),
        }
    }
}

/// A copy of what is in `from`, in a directory of its own.
pub fn copied(from: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(from, dir.path());
    dir
}
