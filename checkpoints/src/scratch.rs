//! Where a copy lies while it is sent: beside the state, so that it is made of links; or in a directory that the user names.
//!
//! What a crash leaves of it is removed by the next save of the same state, unless this process saves it just now as well: a state
//! is open in one process only.

use crate::files::failed;
use crate::ids;
use millpond_engine::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many saves use each directory now, and how many there were.
static IN_USE: Mutex<BTreeMap<PathBuf, Users>> = Mutex::new(BTreeMap::new());

#[derive(Default)]
struct Users {
    now: usize,
    ever: u64,
}

fn in_use() -> MutexGuard<'static, BTreeMap<PathBuf, Users>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the names of copies begin with.
const COPY: &str = "save-";

/// A place for one copy. Dropping it removes the copy.
#[derive(Debug)]
pub(crate) struct Scratch {
    base: PathBuf,
    copy: PathBuf,
}

impl Scratch {
    /// A place for a copy of `state`, within `dir` if that is given.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be made; `Invalid` if something of somebody else is there.
    pub(crate) fn claim(state: &Path, dir: Option<&Path>) -> Result<Self> {
        let name = state.file_name().unwrap_or_default().to_string_lossy();
        let base = match dir {
            // States of one name must not meet there.
            Some(dir) => {
                let hash: String =
                    ids::sha256(state.as_os_str().as_encoded_bytes()).chars().take(16).collect();
                dir.join(format!(".{name}.{hash}.saving"))
            }
            None => state.with_file_name(format!(".{name}.saving")),
        };
        let mut in_use = in_use();
        let users = in_use.entry(base.clone()).or_default();
        if users.now == 0 {
            remove_left_over(&base)?;
        }
        fs::create_dir_all(&base).map_err(|error| failed("create", &base, error))?;
        users.now += 1;
        users.ever += 1;
        let copy = base.join(format!("{COPY}{}", users.ever));
        Ok(Self { base, copy })
    }

    /// The directory for the copy. It is not there yet.
    pub(crate) fn copy(&self) -> &Path {
        &self.copy
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next save.
        let _ = fs::remove_dir_all(&self.copy);
        let mut in_use = in_use();
        let Some(users) = in_use.get_mut(&self.base) else { return };
        users.now -= 1;
        if users.now == 0 {
            let _ = fs::remove_dir(&self.base);
        }
    }
}

/// Removes copies that a crash has left.
fn remove_left_over(base: &Path) -> Result<()> {
    let entries = match fs::read_dir(base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| failed("list", base, error))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed("list", base, error))?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.strip_prefix('.').unwrap_or(name).starts_with(COPY));
        if !ours {
            return Err(Error::invalid(format!(
                "{} is where a checkpoint would be prepared, and holds `{}`, which none has left there: move it away, or name \
                 another directory with `Checkpoints::scratch`",
                base.display(),
                name.display()
            )));
        }
        fs::remove_dir_all(entry.path()).map_err(|error| failed("remove", &entry.path(), error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_engine::ErrorKind;

    #[test]
    fn what_a_crash_has_left_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let base = dir.path().join(".state.saving");
        fs::create_dir_all(base.join("save-1/sub")).unwrap();
        fs::create_dir_all(base.join(".save-2.checkpoint")).unwrap();
        let scratch = Scratch::claim(&state, None).unwrap();
        assert_eq!(fs::read_dir(&base).unwrap().count(), 0);
        fs::create_dir(scratch.copy()).unwrap();
        // Another one at the same time leaves it alone.
        let other = Scratch::claim(&state, None).unwrap();
        assert!(scratch.copy().exists() && scratch.copy() != other.copy());
        drop(scratch);
        assert!(base.exists());
        drop(other);
        assert!(!base.exists());

        fs::create_dir_all(base.join("album")).unwrap();
        let error = Scratch::claim(&state, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("`album`") && base.join("album").exists(), "{error}");
    }

    #[test]
    fn states_of_one_name_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let claim = |state: &str| Scratch::claim(Path::new(state), Some(dir.path())).unwrap();
        let (a, b) = (claim("/a/state"), claim("/b/state"));
        assert!(a.base != b.base && a.base.starts_with(dir.path()));
    }
}
