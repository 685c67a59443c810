//! What stands still until a test lets it go on, and futures without a runtime of one's own.

use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};

/// Stands in the way of whoever passes until it is opened.
#[derive(Debug, Clone, Default)]
pub struct Weir(Arc<(Mutex<Waters>, Condvar)>);

#[derive(Debug, Default)]
struct Waters {
    open: bool,
    waiting: bool,
}

impl Weir {
    /// Lets everyone through from now on.
    pub fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    /// Opens it when the test ends, so that one which fails does not hang in closing its engine.
    #[must_use = "it is opened when this is dropped"]
    pub fn opens_at_the_end(&self) -> OpensAtTheEnd {
        OpensAtTheEnd(self.clone())
    }

    /// Waits until it is open.
    pub fn pass(&self) {
        let mut waters = self.0.0.lock().unwrap();
        waters.waiting = true;
        self.0.1.notify_all();
        while !waters.open {
            waters = self.0.1.wait(waters).unwrap();
        }
    }

    /// Waits until someone has come to it.
    pub fn wait_for_someone(&self) {
        let mut waters = self.0.0.lock().unwrap();
        while !waters.waiting {
            waters = self.0.1.wait(waters).unwrap();
        }
    }
}

/// See [`Weir::opens_at_the_end`].
#[derive(Debug)]
pub struct OpensAtTheEnd(Weir);

impl Drop for OpensAtTheEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Whether `future` resolves without waiting for anything.
pub fn resolves_at_once(future: impl Future) -> bool {
    matches!(pin!(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
}

/// Waits for `future` on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
