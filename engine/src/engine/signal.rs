//! A signal: how a thread of an engine is woken, and told to end.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A signal that a thread waits for.
#[derive(Default)]
pub(super) struct Signal {
    state: Mutex<SignalState>,
    raised: Condvar,
}

#[derive(Default)]
struct SignalState {
    work: bool,
    closing: bool,
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, SignalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn raise(&self) {
        self.lock().work = true;
        self.raised.notify_all();
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.raised.notify_all();
    }

    /// Waits for work. `false` if the engine is closing.
    pub(super) fn wait(&self) -> bool {
        let mut state = self.lock();
        while !state.work && !state.closing {
            state = self.raised.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.work = false;
        !state.closing
    }

    /// Waits for work for at most `longest`. `false` if the engine is closing.
    pub(super) fn wait_for(&self, longest: Duration) -> bool {
        let state = self.lock();
        let waiting = |state: &mut SignalState| !state.work && !state.closing;
        let (mut state, _) =
            self.raised.wait_timeout_while(state, longest, waiting).unwrap_or_else(PoisonError::into_inner);
        state.work = false;
        !state.closing
    }

    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing
    }
}
