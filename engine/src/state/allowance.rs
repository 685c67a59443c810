//! How much memory the changes that wait for subscribers may take, over all tables of an engine.
//!
//! Invariant: a subscriber that keeps up is never cut off on behalf of one that does not. What makes room is the queue
//! that holds most, of those with changes of an earlier epoch in them; the changes of the running epoch are admitted
//! whatever their size. So what waits is at most the allowance and one epoch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A queue of a subscriber.
pub(crate) trait Queued: Send + Sync {
    /// How many bytes wait in it, if the oldest are of an epoch before `epoch`; else 0.
    fn waiting_bytes(&self, epoch: u64) -> usize;

    /// Gives up what waits, and whoever was to take it.
    fn cut_off(&self);
}

/// What may wait for subscribers, and what does.
pub(crate) struct Allowance {
    limit: usize,
    used: AtomicUsize,
    queues: Mutex<Vec<Weak<dyn Queued>>>,
}

impl Allowance {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), queues: Mutex::default() }
    }

    /// How many bytes may wait.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes wait.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// Adds a queue that may have to make room.
    pub(super) fn add(&self, queue: Weak<dyn Queued>) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(queue);
    }

    /// Makes room for `bytes` of epoch `epoch` as far as subscribers have fallen behind, and counts them.
    pub(super) fn take(&self, bytes: usize, epoch: u64) {
        while self.used().saturating_add(bytes) > self.limit {
            let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            let alive = queues.iter().filter_map(Weak::upgrade);
            let largest = alive
                .map(|queue| (queue.waiting_bytes(epoch), queue))
                .filter(|(bytes, _)| *bytes > 0)
                .max_by_key(|(bytes, _)| *bytes);
            drop(queues);
            match largest {
                Some((_, queue)) => queue.cut_off(),
                None => break,
            }
        }
        self.used.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Gives `bytes` back.
    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// Something that counts for as long as it waits in any queue.
pub(super) struct WaitingItem<T> {
    item: Arc<CountedItem<T>>,
}

/// What waits, and in how many queues.
pub(super) struct CountedItem<T> {
    pub(super) item: T,
    pub(super) epoch: u64,
    pub(super) bytes: usize,
    queues: AtomicUsize,
    allowance: Arc<Allowance>,
}

impl<T> CountedItem<T> {
    /// Counts `bytes` for `item`, which is not in any queue yet.
    pub(super) fn waiting(allowance: &Arc<Allowance>, item: T, epoch: u64, bytes: usize) -> WaitingItem<T> {
        allowance.take(bytes, epoch);
        let allowance = Arc::clone(allowance);
        WaitingItem { item: Arc::new(Self { item, epoch, bytes, queues: AtomicUsize::new(1), allowance }) }
    }
}

impl<T> WaitingItem<T> {
    pub(super) fn counted(&self) -> &Arc<CountedItem<T>> {
        &self.item
    }
}

impl<T> Clone for WaitingItem<T> {
    fn clone(&self) -> Self {
        self.item.queues.fetch_add(1, Ordering::AcqRel);
        Self { item: Arc::clone(&self.item) }
    }
}

impl<T> Drop for WaitingItem<T> {
    fn drop(&mut self) {
        if self.item.queues.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.item.allowance.give_back(self.item.bytes);
        }
    }
}
