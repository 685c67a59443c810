//! What all tasks of an engine have in common: who they belong to, whether the engine is closing, and how much may
//! wait for its subscribers.

use super::allowance::Allowance;
use crate::folding::EngineId;
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// An engine, as its tasks and tables know it.
pub(crate) struct Host {
    pub(crate) id: EngineId,
    /// What may wait for subscribers.
    pub(crate) allowance: Arc<Allowance>,
    closing: AtomicBool,
    /// Whether changes come, so that they can be subscribed to.
    tells_changes: bool,
    /// Something that somebody may wait for has changed.
    changed: watch::Sender<()>,
}

impl Host {
    /// A new engine, for whose subscribers `subscriber_bytes` may wait.
    pub(crate) fn new(subscriber_bytes: usize) -> Arc<Self> {
        Arc::new(Self::with(subscriber_bytes, true))
    }

    /// What takes the place of an engine where a state is only read.
    #[cfg(feature = "rocks")]
    pub(crate) fn of_reader() -> Arc<Self> {
        Arc::new(Self::with(0, false))
    }

    fn with(subscriber_bytes: usize, tells_changes: bool) -> Self {
        let allowance = Arc::new(Allowance::new(subscriber_bytes));
        let changed = watch::channel(()).0;
        Self { id: EngineId::new(), allowance, closing: AtomicBool::new(false), tells_changes, changed }
    }

    /// Refuses to let anyone wait for changes that nobody tells.
    pub(crate) fn check_tells_changes(&self, table: &str) -> Result<()> {
        if self.tells_changes {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "a reader of a state is not told of the changes of table `{table}`: subscribe at the engine that folds it, or \
             `refresh` the reader and ask again"
        )))
    }

    /// Says that the engine is about to end: nothing is to wait for better times any more.
    pub(crate) fn begin_to_close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Lets everyone who waits look again: an epoch was published, rows became durable, or the engine ends.
    pub(crate) fn signal(&self) {
        self.changed.send_replace(());
    }

    /// Is told of every [`signal`](Self::signal) from now on.
    pub(crate) fn signals(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
