//! What stands for directories in a build without the feature `rocks`: nothing is kept but in memory.

use super::EngineBuilder;
use crate::changelog::Changelog;
use crate::store::StateStore;
use crate::{Error, Result};
use std::sync::Arc;

/// No directories.
#[derive(Debug, Default)]
pub(super) struct Directories {}

#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same calls as with directories")]
impl Directories {
    pub(super) fn check(&self, _in_memory: bool, _changelog_is_given: bool) -> Result<()> {
        Ok(())
    }

    pub(super) fn keep_a_changelog(&self) -> bool {
        false
    }

    pub(super) fn check_paths(&self, _store_is_given: bool, _changelog_is_given: bool) -> Result<()> {
        Ok(())
    }

    pub(super) fn place(&self) -> String {
        "memory".to_owned()
    }
}

#[expect(clippy::unused_self, reason = "the same calls as with directories")]
impl EngineBuilder {
    pub(super) fn open_state(&self) -> Result<Arc<dyn StateStore>> {
        Err(Error::invalid(
            "this build keeps no state in directories: use `in_memory`, or enable the feature `rocks` of millpond",
        ))
    }

    pub(super) fn open_log(&self) -> Result<Arc<dyn Changelog>> {
        Err(Error::invalid(
            "an engine needs a changelog: give it one, such as `MemoryChangelog`; this build has none in a directory, as the \
             feature `rocks` of millpond is not enabled",
        ))
    }
}
