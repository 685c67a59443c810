//! Whose graph the current thread is running.
//!
//! User code runs in the midst of an epoch: rows are locked, and nothing is published until it returns. If it asked or
//! waited for the engine that runs it, it would wait for itself. So the threads of an engine say whose epoch they are
//! in, and whatever would wait refuses.

use crate::{Error, Result};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    /// The engine whose epoch runs on this thread; 0 if none.
    static RUNNING: Cell<u64> = const { Cell::new(0) };
    /// Whether a panic of the epoch that runs on this thread was printed before, as the epoch is run again to find the record.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// One engine of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EngineId(u64);

/// Says that the current thread runs an epoch, for as long as it lives.
pub(crate) struct Folding {
    before: u64,
    before_quiet: bool,
    /// It belongs to the thread that made it.
    _thread: PhantomData<*const ()>,
}

impl EngineId {
    /// An id that no other engine has.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The current thread begins to run an epoch of this engine.
    pub(crate) fn fold(self) -> Folding {
        self.fold_once_more(false)
    }

    /// As [`fold`](Self::fold); `again` says whether the epoch is run once more after a panic, which then is not printed again.
    pub(crate) fn fold_once_more(self, again: bool) -> Folding {
        let (before, before_quiet) = (RUNNING.replace(self.0), QUIET.replace(again));
        Folding { before, before_quiet, _thread: PhantomData }
    }

    /// Whether the current thread runs an epoch of this engine.
    #[inline]
    pub(crate) fn is_folding(self) -> bool {
        RUNNING.get() == self.0
    }

    /// Refuses to wait for the epoch that the current thread is running.
    ///
    /// # Errors
    /// `Invalid` if that is one of this engine.
    #[inline]
    pub(crate) fn check_outside(self) -> Result<()> {
        if self.is_folding() { Err(inside()) } else { Ok(()) }
    }
}

impl Drop for Folding {
    fn drop(&mut self) {
        RUNNING.set(self.before);
        QUIET.set(self.before_quiet);
    }
}

/// Wraps the panic hook of the process, so that a panic of user code is printed once: to find the record that is to blame, and
/// to make sure of it, the same code is run again, and panics again.
pub(crate) fn print_panics_once() {
    static WRAPPED: Once = Once::new();
    WRAPPED.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                hook(info);
            }
        }));
    });
}

#[cold]
fn inside() -> Error {
    Error::invalid(
        "code of the graph asked the engine that is running it: it would wait for itself, and its answer would depend on \
         where epochs are cut; join the table instead, or use `Process`, whose state can be read",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_inside_of_one_engine_and_out_again() {
        let (one, other) = (EngineId::new(), EngineId::new());
        assert!(one.check_outside().is_ok());
        {
            let _one = one.fold();
            {
                let _other = other.fold();
                assert!(other.is_folding() && !one.is_folding());
            }
            assert!(one.check_outside().is_err() && other.check_outside().is_ok());
            assert!(std::thread::spawn(move || one.check_outside().is_ok()).join().unwrap());
        }
        assert!(one.check_outside().is_ok());
    }
}
