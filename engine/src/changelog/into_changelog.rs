//! What an engine takes for a changelog: one that is open, or what it needs to open one.

use super::Changelog;
use crate::Result;
use std::fmt;
use std::sync::Arc;

/// What an engine takes for a changelog: an `Arc` of one that is open and outlives it, or how to open one.
///
/// # Examples
/// ```
/// use millpond::changelog::MemoryChangelog;
/// use millpond::changelog::backend::{ChangelogOptions, IntoChangelog, OpenedChangelog};
/// use millpond::{Engine, GraphBuilder, Result, Topic};
/// use std::sync::Arc;
///
/// /// A log of one's own, which every engine opens for itself.
/// struct Fresh;
///
/// impl IntoChangelog for Fresh {
///     fn into_changelog(self, _: &ChangelogOptions) -> Result<OpenedChangelog> {
///         Ok(OpenedChangelog::owned(MemoryChangelog::new()))
///     }
/// }
///
/// let graph = GraphBuilder::new();
/// graph.stream(&Topic::<u32, u64>::new("orders")).group_by_key().count("orders");
/// Engine::builder(&graph.build()?).in_memory().changelog(Fresh).start()?.close_blocking()?;
/// # Ok::<(), millpond::Error>(())
/// ```
pub trait IntoChangelog: Send {
    /// The name of the engine on this changelog, unless it is given another one: for logs that many services share, which
    /// should not be without one.
    fn service(&self) -> Option<String> {
        None
    }

    /// Opens it.
    ///
    /// # Errors
    /// Whatever stands in the way; the engine is not started then, and has written nothing.
    fn into_changelog(self, options: &ChangelogOptions) -> Result<OpenedChangelog>
    where
        Self: Sized;
}

/// What an engine has to say to whoever opens its changelog.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChangelogOptions {
    /// The name of the engine.
    pub name: String,
    /// What of its memory budget it leaves for records that were read ahead, in bytes.
    pub read_ahead_bytes: usize,
}

impl ChangelogOptions {
    /// Those of an engine of this name that has so much room for records that were read ahead.
    #[must_use]
    pub fn new(name: impl Into<String>, read_ahead_bytes: usize) -> Self {
        Self { name: name.into(), read_ahead_bytes }
    }
}

/// A changelog that was opened for an engine.
#[must_use]
pub struct OpenedChangelog {
    pub(crate) changelog: Arc<dyn Changelog>,
    /// Whether it is closed with the engine.
    pub(crate) owned: bool,
}

impl OpenedChangelog {
    /// One that is closed with the engine.
    pub fn owned(changelog: impl Changelog) -> Self {
        Self { changelog: Arc::new(changelog), owned: true }
    }

    /// One that outlives it.
    pub fn shared(changelog: Arc<dyn Changelog>) -> Self {
        Self { changelog, owned: false }
    }
}

impl fmt::Debug for OpenedChangelog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedChangelog").field("owned", &self.owned).finish_non_exhaustive()
    }
}

impl<C: Changelog> IntoChangelog for Arc<C> {
    fn into_changelog(self, _: &ChangelogOptions) -> Result<OpenedChangelog> {
        Ok(OpenedChangelog::shared(self))
    }
}

impl IntoChangelog for Arc<dyn Changelog> {
    fn into_changelog(self, _: &ChangelogOptions) -> Result<OpenedChangelog> {
        Ok(OpenedChangelog::shared(self))
    }
}
