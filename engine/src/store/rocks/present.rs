//! What lies in the directory of a state, before RocksDB opens it: it is told by our own reading of the manifest.
//!
//! What is no state, or a damaged one, is refused here, and nothing was changed.

use super::failure::{RESTORE, during, on_path};
use super::{CREATED, Database, NO_TASK};
use crate::medium::{Manifest, log_file};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// What an embedded changelog has, and no state.
const LOG_FAMILY: &str = "records";

/// What there is to open in a directory.
pub(super) struct Present {
    /// All column families, since RocksDB refuses to open some of them.
    pub(super) families: Vec<String>,
    /// The manifest that says so, if there is one.
    pub(super) manifest: Option<Manifest>,
    /// A manifest with a torn end, which begins behind so many bytes: the state is what it was before it was written.
    pub(super) torn: Option<(PathBuf, u64)>,
}

/// Looks at what there is in `dir`.
///
/// # Errors
/// `Corrupt` if the manifest is damaged: RocksDB may take damage for a torn end, go back to what the state was before it and
/// delete what came after. `Invalid` for what is no state.
pub(super) fn present(dir: &Path) -> Result<Present> {
    if !dir.join("CURRENT").exists() {
        check_has_no_rows(dir)?;
        return Ok(Present { families: vec![NO_TASK.to_owned()], manifest: None, torn: None });
    }
    let read = Manifest::read(dir);
    let read = read.map_err(|error| on_path("read the manifest of the state in", dir, error))?;
    let Some(manifest) = read else {
        return Err(Error::corrupt(format!(
            "the file CURRENT of the state in {} names no manifest that is there: {RESTORE}",
            dir.display()
        )));
    };
    let torn = match manifest.readable.broken {
        Some(log_file::Broken { at, valid_behind: Some(_) }) => {
            return Err(Error::corrupt(format!(
                "{} is damaged at byte {at}: {RESTORE}",
                manifest.path.display()
            )));
        }
        Some(log_file::Broken { valid_behind: None, .. }) => {
            Some((manifest.path.clone(), manifest.readable.end as u64))
        }
        None => None,
    };
    let Some(families) = manifest.families() else {
        return Err(Error::invalid(format!(
            "{} holds a database of RocksDB that is no state of millpond, or of a later version; choose another directory. \
             Nothing was changed",
            dir.display()
        )));
    };
    if families.iter().any(|family| family == LOG_FAMILY) {
        return Err(Error::invalid(format!(
            "{} holds a changelog and no state: were the two directories swapped? Nothing was changed",
            dir.display()
        )));
    }
    Ok(Present { families, manifest: Some(manifest), torn })
}

/// Refuses rows of which nothing tells RocksDB: it takes a directory without the file `CURRENT` for a new one and would
/// delete what is in it.
fn check_has_no_rows(dir: &Path) -> Result<()> {
    let files = std::fs::read_dir(dir).map_err(|error| on_path("list the state directory", dir, error))?;
    for file in files {
        let path = file.map_err(|error| on_path("list the state directory", dir, error))?.path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            return Err(Error::corrupt(format!(
                "the state in {} has rows but no file CURRENT: {RESTORE}",
                dir.display()
            )));
        }
    }
    Ok(())
}

/// Refuses a database of somebody else, in which rows of ours would be lost among theirs.
pub(super) fn check_is_ours(database: &Database, dir: &Path) -> Result<()> {
    let failed = |error| during("look into the state", dir, error);
    match database.iterator(rocksdb::IteratorMode::Start).next().transpose().map_err(failed)? {
        Some((key, _)) if &*key != CREATED => Err(Error::invalid(format!(
            "{} holds a database of RocksDB that is no state of millpond; choose another directory. Nothing was changed",
            dir.display()
        ))),
        _ => Ok(()),
    }
}
