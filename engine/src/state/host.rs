//! What all tasks of an engine have in common: who they belong to, whether the engine is closing, and how much may
//! wait for its subscribers.

use super::allowance::Allowance;
use crate::folding::EngineId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// An engine, as its tasks and tables know it.
pub(crate) struct Host {
    pub(crate) id: EngineId,
    /// What may wait for subscribers.
    pub(crate) allowance: Arc<Allowance>,
    closing: AtomicBool,
    /// Something that somebody may wait for has changed.
    changed: watch::Sender<()>,
}

impl Host {
    /// A new engine, for whose subscribers `subscriber_bytes` may wait.
    pub(crate) fn new(subscriber_bytes: usize) -> Arc<Self> {
        let allowance = Arc::new(Allowance::new(subscriber_bytes));
        let changed = watch::channel(()).0;
        Arc::new(Self { id: EngineId::new(), allowance, closing: AtomicBool::new(false), changed })
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
