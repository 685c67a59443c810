//! Directories that are there after a loss of power.
//!
//! A directory is an entry in its parent: until the parent is synced, a loss of power may take the entry back together
//! with everything below it, however well that was synced.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Makes `dir` and what is missing above it, durably, and returns its path without links and dots.
///
/// The parent is synced even if `dir` was there: the process that made it may have died before it could do that.
pub(crate) fn create(dir: &Path) -> io::Result<PathBuf> {
    create_and(dir, &mut sync_directory)
}

fn create_and(dir: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
    let missing = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).count();
    fs::create_dir_all(dir)?;
    let dir = dir.canonicalize()?;
    // From the top down, so that there is never an entry below one that could still be taken back.
    let parents: Vec<_> = dir.ancestors().skip(1).take(missing.max(1)).collect();
    parents.into_iter().rev().try_for_each(sync)?;
    Ok(dir)
}

/// Brings the entries of a directory onto the medium, where the system can do that.
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        // A directory that may be passed through but not read, and file systems without the notion.
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synced(dir: &Path) -> Vec<PathBuf> {
        let mut synced = Vec::new();
        create_and(dir, &mut |dir| {
            synced.push(dir.to_owned());
            Ok(())
        })
        .unwrap();
        synced
    }

    #[test]
    fn every_parent_of_a_new_directory_is_synced_from_the_top_down() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let (a, b) = (root.join("a"), root.join("a/b"));
        assert_eq!(synced(&root.join("a/b/c")), [root.clone(), a.clone(), b.clone()]);
        assert!(root.join("a/b/c").is_dir());
        // Whoever made it may have died before it was synced.
        assert_eq!(synced(&root.join("a/b/c")), std::slice::from_ref(&b));
        assert_eq!(synced(&root.join("a/b/d")), [b]);
        assert_eq!(synced(&a.join("..").join("e")), [root]);
    }

    #[test]
    fn a_parent_that_cannot_be_synced_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let failed = create_and(&root.path().join("a"), &mut |_| Err(io::Error::other("medium")));
        assert_eq!(failed.unwrap_err().to_string(), "medium");
    }
}
