//! The options of an engine that keeps its state, or its changelog, in directories.

use super::{EngineBuilder, StateReader};
use crate::changelog::{Changelog, Durability, EmbeddedChangelog, EmbeddedOptions, check_exists};
use crate::medium::log_file::is_of_a_database;
use crate::store::{RocksOptions, RocksState, StateStore, no_state};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where an engine keeps what it opens itself.
#[derive(Debug, Default)]
pub(super) struct Directories {
    dir: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    durability: Option<Durability>,
    open_existing: bool,
}

impl Directories {
    /// Refuses options that do not go together.
    pub(super) fn check(&self, in_memory: bool, changelog_is_given: bool) -> Result<()> {
        if changelog_is_given && self.durability.is_some() {
            return Err(Error::invalid(
                "a changelog was given, and how durable its appends are was chosen when it was opened: set \
                 `EmbeddedOptions::durability` there, or leave the changelog to the engine",
            ));
        }
        if in_memory && self.state_dir.is_some() {
            return Err(Error::invalid(
                "`in_memory` keeps the state in memory, and `state_dir` names a directory for it: leave one of them away",
            ));
        }
        if in_memory && self.dir.is_none() && (self.durability.is_some() || self.open_existing) {
            return Err(Error::invalid(
                "`in_memory` keeps state and changelog in memory, where `durability` and `open_existing` mean nothing: leave them \
                 away, or name a directory with `dir` for the changelog",
            ));
        }
        Ok(())
    }

    /// Where the state is.
    fn state(&self) -> Result<PathBuf> {
        match (&self.state_dir, &self.dir) {
            (Some(dir), _) => Ok(dir.clone()),
            (None, Some(dir)) => Ok(dir.join("state")),
            (None, None) => {
                Err(Error::invalid("an engine needs a directory; name one with `dir`, or use `in_memory`"))
            }
        }
    }

    /// Where the state is, for whoever reads what is logged.
    pub(super) fn place(&self) -> String {
        self.state().map_or_else(|_| "memory".to_owned(), |dir| dir.display().to_string())
    }

    /// Whether there is a directory for a changelog.
    pub(super) fn keep_a_changelog(&self) -> bool {
        self.dir.is_some()
    }

    /// Refuses to create anything inside of what is there, or at all if nothing is to be created.
    pub(super) fn check_paths(&self, store_is_given: bool, changelog_is_given: bool) -> Result<()> {
        if let Some(dir) = self.dir.as_ref().filter(|dir| is_of_a_database(dir))
            && self.state_dir.is_none()
        {
            let advice = match dir.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                Some(parent) => format!("did you mean {}?", parent.display()),
                None => "choose the directory around it".to_owned(),
            };
            return Err(Error::invalid(format!(
                "{} is itself a state or a changelog, and not the directory of a service, in which there are `state` and \
                 `changelog`: {advice}",
                dir.display()
            )));
        }
        if !self.open_existing {
            return Ok(());
        }
        if !store_is_given {
            let dir = self.state()?;
            if !dir.join("CURRENT").exists() {
                let why = "no state is to be created where none is (`EngineBuilder::open_existing`)";
                return Err(no_state(&dir).context(why));
            }
        }
        match &self.dir {
            Some(dir) if !changelog_is_given => check_exists(&dir.join("changelog")),
            _ => Ok(()),
        }
    }
}

impl EngineBuilder {
    /// Keeps the state in `dir/state` and, unless another is given, an embedded changelog in `dir/changelog`.
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.directories.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Keeps the state in this directory.
    pub fn state_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.directories.state_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// When an append to the changelog that the engine opens itself is acknowledged: once it is on the medium
    /// ([`Durability::Fsync`]), unless set.
    ///
    /// With [`Durability::Os`] a loss of power, though not the end of the process, may take back records that were
    /// acknowledged; none that the durable state includes, since the changelog is synced before each drain.
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::Durability;
    /// use millpond::{Engine, GraphBuilder, Topic};
    ///
    /// let clicks = Topic::<String, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// graph.stream(&clicks).group_by_key().count("counts");
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let path = dir.path();
    /// // Clicks that a loss of power takes back are not missed.
    /// let engine = Engine::builder(&graph.build()?).dir(path).durability(Durability::Os).start()?;
    /// engine.append(&clicks, "home", &1).wait_blocking()?;
    /// # engine.close_blocking()?;
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.directories.durability = Some(durability);
        self
    }

    /// Refuses (`Invalid`) to create a state or a changelog where none is, so that a wrong path is not silently an empty
    /// service. Nothing is created then, not even the directory.
    ///
    /// # Examples
    /// ```
    /// use millpond::{Engine, ErrorKind, GraphBuilder, Topic};
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let path = dir.path();
    ///
    /// let clicks = Topic::<String, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// graph.stream(&clicks).group_by_key().count("counts");
    /// let graph = graph.build()?;
    /// let refused = Engine::builder(&graph).dir(path.join("servcie")).open_existing(true).start().unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::Invalid);
    ///
    /// Engine::open(path.join("service"), &graph)?.close_blocking()?;
    /// Engine::builder(&graph).dir(path.join("service")).open_existing(true).start()?.close_blocking()?;
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn open_existing(mut self, yes: bool) -> Self {
        self.directories.open_existing = yes;
        self
    }

    /// Opens the state to be asked only, beside the engine that has it open or where none runs: see [`StateReader`]. Of the
    /// options it needs the directory and, for its block cache, the memory.
    ///
    /// # Errors
    /// As for [`StateReader::open`]; `Invalid` for a state that is kept in memory.
    pub fn reader(self) -> Result<StateReader> {
        if self.store.is_some() {
            return Err(Error::invalid(
                "a state that is kept in memory is asked through its engine; a reader needs the directory of a state",
            ));
        }
        let options = RocksOptions::within(self.memory.block_cache_bytes);
        StateReader::with_options(&self.directories.state()?, self.graph, &options)
    }

    pub(super) fn open_state(&self) -> Result<Arc<dyn StateStore>> {
        let dir = self.directories.state()?;
        let state = RocksState::open(&dir, &RocksOptions::within(self.memory.block_cache_bytes))?;
        tracing::info!(dir = %dir.display(), "the state is open");
        Ok(Arc::new(state.task("task-0")?))
    }

    pub(super) fn open_log(&self) -> Result<Arc<dyn Changelog>> {
        let Some(dir) = &self.directories.dir else {
            return Err(Error::invalid(
                "an engine needs a changelog: give it one, or a directory with `dir`",
            ));
        };
        let dir = dir.join("changelog");
        let changelog = EmbeddedChangelog::open(&dir, self.changelog_options())?;
        tracing::info!(dir = %dir.display(), "the changelog is open");
        Ok(Arc::new(changelog))
    }

    /// The options of a changelog that the engine opens itself.
    fn changelog_options(&self) -> EmbeddedOptions {
        EmbeddedOptions {
            clock: Arc::clone(&self.clock),
            durability: self.directories.durability.unwrap_or_default(),
            open_existing: self.directories.open_existing,
            ..EmbeddedOptions::within(self.memory.changelog_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::MemoryChangelog;
    use crate::engine::Memory;
    use crate::engine::idle_graph::idle_graph;
    use crate::task::Reads;
    use crate::{ErrorKind, ManualClock};

    fn builder() -> EngineBuilder {
        EngineBuilder::new(idle_graph())
    }

    #[test]
    fn the_changelog_gets_the_durability_and_the_clock_of_the_engine() {
        let options = builder().clock(Arc::new(ManualClock::new(7))).changelog_options();
        assert_eq!((options.durability, options.clock.now_ms()), (Durability::Fsync, 7));
        assert_eq!(builder().durability(Durability::Os).changelog_options().durability, Durability::Os);
    }

    #[test]
    fn a_budget_that_was_meant_in_other_units_and_a_lag_of_nothing_are_refused() {
        let open = |builder: EngineBuilder| {
            builder.in_memory().changelog(Arc::new(MemoryChangelog::new())).open(Reads::Current).err()
        };
        for bytes in [0, 1, 1024] {
            let error = open(builder().memory(bytes)).unwrap();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains("number of bytes"), "{error}");
        }
        let error = open(builder().max_lag(0)).unwrap();
        assert!(error.kind() == ErrorKind::Invalid && error.message().contains("at least 1"), "{error}");
        assert!(open(builder().memory(64 << 10).max_lag(1)).is_none());
    }

    #[test]
    fn a_durability_for_a_changelog_that_was_given_is_refused() {
        let builder = builder().in_memory().changelog(Arc::new(MemoryChangelog::new()));
        let Err(error) = builder.durability(Durability::Os).open(Reads::Current) else {
            panic!("it was accepted")
        };
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("EmbeddedOptions::durability"), "{error}");
    }

    #[test]
    fn what_is_in_memory_has_no_directory() {
        let in_memory = || builder().in_memory();
        for (builder, part) in [
            (in_memory().state_dir("somewhere"), "`state_dir`"),
            (in_memory().durability(Durability::Os), "`durability`"),
            (in_memory().open_existing(true), "`open_existing`"),
            // Nor has a store of one's own, which may outlive a changelog that nobody gave.
            (builder().store(Arc::new(crate::store::MemoryStore::new())), "needs a changelog"),
        ] {
            let Err(error) = builder.open(Reads::Current) else { panic!("{part}: it was accepted") };
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(error.message().contains(part), "{error}");
        }
        assert!(in_memory().open(Reads::Current).is_ok());
    }

    #[test]
    fn the_changelog_keeps_within_the_memory_of_the_engine() {
        let usual = EmbeddedOptions::default();
        let large = builder().memory(2 << 30).changelog_options();
        assert_eq!(large.max_queued_bytes, usual.max_queued_bytes);
        assert_eq!(large.segment_bytes, usual.segment_bytes);
        assert_eq!(large.cache_bytes, usual.cache_bytes);

        let small = builder().memory(64 << 20).changelog_options();
        let taken = small.max_queued_bytes + 2 * small.segment_bytes + small.cache_bytes;
        let share = Memory::budget(64 << 20).changelog_bytes();
        assert!(taken <= share && taken > share / 10 * 9, "{taken} of {share}");
    }
}
