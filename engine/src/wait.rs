//! Waiting: a future that is awaited, or waited for by a thread that may block, with a time limit if need be.
//!
//! It knows no async runtime, and can be awaited on any. Every function of millpond that waits follows one rule: `x` is for
//! async code, and `x_blocking` for threads that may block.

use crate::{Error, ErrorKind, Result};
use futures_timer::Delay;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// Something of an engine that will have happened when this resolves.
///
/// Await it, or call [`wait_blocking`](Self::wait_blocking) where a thread may block. Nothing is lost by dropping it: what is
/// waited for happens all the same.
///
/// # Examples
/// ```
/// use millpond::{Engine, ErrorKind, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// use std::time::Duration;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let clicks = Topic::<String, u64>::new("clicks");
/// let graph = GraphBuilder::new();
/// let counts = graph.stream(&clicks).group_by_key().count("counts");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// let position = engine.append_blocking(&clicks, "home", &1)?;
/// engine.wait_for(&position).within(Duration::from_secs(10)).wait_blocking()?;
///
/// // What nobody appends does not come.
/// let mut next = position.clone();
/// for (partition, offset) in position.iter() {
///     next.set(partition.clone(), offset + 1);
/// }
/// let error = engine.wait_for(&next).within(Duration::from_millis(1)).wait_blocking().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::TimedOut);
/// # Ok::<(), millpond::Error>(())
/// ```
#[must_use = "nothing waits until this is awaited, or `wait_blocking` is called"]
pub struct Wait<T> {
    answer: Pin<Box<dyn Future<Output = Result<T>> + Send>>,
    limit: Option<Limit>,
    /// Says how far things are, for whoever has waited for too long.
    progress: Box<dyn Fn() -> String + Send>,
}

struct Limit {
    duration: Duration,
    delay: Delay,
}

impl<T> Wait<T> {
    pub(crate) fn new(
        answer: impl Future<Output = Result<T>> + Send + 'static,
        progress: impl Fn() -> String + Send + 'static,
    ) -> Self {
        Self { answer: Box::pin(answer), limit: None, progress: Box::new(progress) }
    }

    /// The same for at most so long, counted from now: then it resolves to an error of kind
    /// [`TimedOut`](ErrorKind::TimedOut), which says how far things are. What was waited for may still come.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(Limit { duration: limit, delay: Delay::new(limit) });
        self
    }

    /// Blocks the thread until it resolves.
    ///
    /// Inside of an async runtime this holds up every task of the thread, though nothing worse: await there.
    ///
    /// # Errors
    /// As for the function that has made it; `TimedOut` if it was to come [within](Self::within) a time and has not.
    pub fn wait_blocking(self) -> Result<T> {
        block_on(self)
    }
}

impl<T> Future for Wait<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        if let Poll::Ready(answer) = self.answer.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        let Some(Limit { duration, delay }) = &mut self.limit else { return Poll::Pending };
        let duration = *duration;
        Pin::new(delay).poll(context).map(|()| {
            let progress = (self.progress)();
            Err(Error::new(ErrorKind::TimedOut, format!("not within {duration:?}: {progress}")))
        })
    }
}

impl<T> fmt::Debug for Wait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit.as_ref().map(|limit| limit.duration);
        f.debug_struct("Wait").field("limit", &limit).finish_non_exhaustive()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks the thread until `future` is done. Unlike the blocking calls of async runtimes and executors, this does not panic inside of
/// one: it is how a log of one's own waits for clients that are async.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_ends_a_wait_and_tells_how_far_things_are() {
        let never = std::future::pending::<Result<()>>();
        let wait = Wait::new(never, || "3 records are left".to_owned()).within(Duration::from_millis(1));
        let error = wait.wait_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.message(), "not within 1ms: 3 records are left");
    }

    #[tokio::test]
    async fn an_answer_that_is_there_comes_before_a_limit_that_has_passed() {
        let wait = Wait::new(async { Ok(7) }, String::new).within(Duration::ZERO);
        assert_eq!(wait.await.unwrap(), 7);
        assert_eq!(Wait::new(async { Ok(7) }, String::new).wait_blocking().unwrap(), 7);
    }
}
