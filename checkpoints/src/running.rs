//! What blocks: work with files beside whoever awaits, and those who block until something async is done.

use millpond_engine::{Error, Result};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::thread;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// Does `work` on a thread of its own. It is done to its end, also if nobody awaits it any more.
pub(crate) async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    spawn(move || {
        // Whoever has asked may be gone.
        let _ = sender.send(work());
    })?;
    receiver.await.unwrap_or_else(|_| {
        Err(Error::internal("a thread that works for checkpoints panicked, which is a defect of millpond"))
    })
}

/// Starts a thread.
pub(crate) fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name("millpond-checkpoints".to_owned()).spawn(work);
    thread
        .map(drop)
        .map_err(|error| Error::unavailable("cannot start a thread for checkpoints").with_source(error))
}

/// The runtime of the blocking forms, which lives as long as the store may have connections on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blocking(Arc<Lazy>);

#[derive(Debug, Default)]
struct Lazy(OnceLock<Runtime>);

impl Blocking {
    /// Blocks until `future` is done. It is polled on a thread of its own, so that a thread which is in some runtime itself may
    /// wait for it, too.
    pub(crate) fn wait<T: Send>(&self, future: impl Future<Output = Result<T>> + Send) -> Result<T> {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| self.runtime()?.block_on(future));
            waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn runtime(&self) -> Result<&Runtime> {
        let Lazy(runtime) = &*self.0;
        if let Some(runtime) = runtime.get() {
            return Ok(runtime);
        }
        let made = Builder::new_current_thread().enable_all().build();
        let made = made
            .map_err(|error| Error::unavailable("cannot start a runtime to block on").with_source(error))?;
        Ok(runtime.get_or_init(|| made))
    }
}

impl Drop for Lazy {
    fn drop(&mut self) {
        // The usual way waits, which a thread that is in a runtime must not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
