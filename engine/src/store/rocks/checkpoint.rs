//! A checkpoint: a copy of the whole database as it is at one moment, beside which the database goes on.
//!
//! Sorted files never change, so they are linked and not copied, unless the target lies on another file system. The copy is
//! made in the hidden directory of a [`StatePlace`], and every block of every file of it is read there once, with its
//! checksum, before it is put in place: whoever comes to need a copy must not find out then that it was one of damage.

use super::failure::RESTORE;
use super::{RocksOptions, SecondaryStore, TaskFamily};
use crate::medium::{MediumFailure, StatePlace, placing_failure};
use crate::store::StoreSnapshot;
use crate::{Error, ErrorKind, Result, fault};
use rocksdb::checkpoint::Checkpoint;
use std::path::Path;

/// Copies the database of `task` to `target`, once `check` has found nothing wrong with the copy.
pub(super) fn checkpoint(
    task: &TaskFamily,
    target: &Path,
    check: &mut dyn FnMut(&dyn StoreSnapshot) -> Result<()>,
) -> Result<()> {
    task.check_in_place()?;
    let state = &task.opened().dir;
    let place = StatePlace::claim(target, Some(state))?;
    fault::point("checkpoint.before_copy")?;
    let (copy, target) = (place.copy(), place.target().to_owned());
    let failed = |error: rocksdb::Error| {
        let text = error.into_string();
        placing_failure("write", &target, MediumFailure::of_rocksdb(&text)).with_source(text)
    };
    let made = Checkpoint::new(task.database()).and_then(|made| made.create_checkpoint(copy));
    // NOTE: RocksDB gives none once a compaction has come upon damage, with what that has found.
    made.map_err(|error| of_the_original(failed(error), copy, state))?;
    let verified = SecondaryStore::verify(copy, &RocksOptions::within(0));
    let copied = verified.map_err(|error| of_the_original(error, copy, state))?;
    check(&*copied.shown())?;
    // Its files must not be open any more where they cannot be renamed then.
    drop(copied);
    place.put_in_place()
}

/// What was found wrong with a copy, told of the file that it was made of: the copy is gone once that is read.
///
/// NOTE: the manifest was read by ourselves before. If RocksDB names it all the same, it could not make out the properties of
/// some sorted file, and does not say of which.
fn of_the_original(error: Error, copy: &Path, state: &Path) -> Error {
    if error.kind() != ErrorKind::Corrupt {
        return error;
    }
    let (copy, state) = (copy.display().to_string(), state.display().to_string());
    let text = error.to_string().replace(&copy, &state);
    let name = text.split_once(&format!("{state}/")).map_or("", |(_, rest)| rest);
    let name = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').next().unwrap_or_default();
    let file = if Path::new(name).extension().is_some_and(|extension| extension == "sst") {
        format!("the file {state}/{name}")
    } else {
        format!("a file of rows of the state in {state}")
    };
    Error::corrupt(format!("{file} is damaged, so that no checkpoint is made of it: {RESTORE}"))
        .with_source(text)
}
