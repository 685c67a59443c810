//! What all tasks of an engine have in common: who they belong to, whether the engine is closing, and how much may
//! wait for its subscribers.

use super::allowance::Allowance;
use crate::folding::EngineId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An engine, as its tasks and tables know it.
pub(crate) struct Host {
    pub(crate) id: EngineId,
    /// What may wait for subscribers.
    pub(crate) allowance: Arc<Allowance>,
    closing: AtomicBool,
}

impl Host {
    /// A new engine, for whose subscribers `subscriber_bytes` may wait.
    pub(crate) fn new(subscriber_bytes: usize) -> Arc<Self> {
        let allowance = Arc::new(Allowance::new(subscriber_bytes));
        Arc::new(Self { id: EngineId::new(), allowance, closing: AtomicBool::new(false) })
    }

    /// Says that the engine is about to end: nothing is to wait for better times any more.
    pub(crate) fn begin_to_close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}
