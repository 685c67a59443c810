//! Who wants to be told that records became readable.

use std::sync::{Mutex, PoisonError, Weak};

/// The wakers of a changelog. Those whose owners are gone are dropped on the way.
#[derive(Default)]
pub(super) struct Watchers(Mutex<Vec<Weak<dyn Fn() + Send + Sync>>>);

impl Watchers {
    pub(super) fn add(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }

    /// Calls every waker. No lock is held meanwhile, so that a waker may drop what owns another one.
    pub(super) fn wake(&self) {
        let mut alive = Vec::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|waker| match waker.upgrade() {
            Some(waker) => {
                alive.push(waker);
                true
            }
            None => false,
        });
        for waker in alive {
            waker();
        }
    }
}
