//! The front: what is published, and the number of its epoch beside it for those who need no more.
//!
//! Invariant: there is one order for all readers. The number and what it stands for change within one write lock, the
//! number first. So whoever has taken [`current`](Front::current) finds at least its number afterwards, and whoever has
//! found a number gets at least what it stands for: the lock is not free before that is in place.
//!
//! The model in `model.rs` compiles this file a second time, with the primitives of loom.

use super::sync::{Arc, AtomicU64, Ordering, PoisonError, RwLock};

/// A value that is replaced epoch by epoch.
pub(crate) struct Front<T> {
    current: RwLock<Arc<T>>,
    epoch: AtomicU64,
}

impl<T> Front<T> {
    /// A front that shows `first`, of epoch 0.
    pub(crate) fn new(first: T) -> Self {
        Self { current: RwLock::new(Arc::new(first)), epoch: AtomicU64::new(0) }
    }

    /// The number of the last epoch.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// What the last epoch stands for.
    pub(crate) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts `next`, of epoch `epoch`, in place. What `along` does is seen by whoever sees `next`.
    pub(crate) fn replace(&self, epoch: u64, next: Arc<T>, along: impl FnOnce()) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        self.epoch.store(epoch, Ordering::Release);
        let last = std::mem::replace(&mut *current, next);
        along();
        drop(current);
        // Not under the lock: this may give much memory back.
        drop(last);
    }
}
