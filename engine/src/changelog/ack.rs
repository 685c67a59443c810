//! The promise of an append, and of room for the next one.
//!
//! Both resolve exactly once, from whatever thread did the work, and neither knows an async runtime: they can
//! be awaited on any, or waited for without one.

use crate::wait::{Wait, block_on};
use crate::{Error, Position, Result};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// The promise of an [`append`](super::AppendLog::append): resolves to the position after the appended records.
///
/// Await it, or call [`wait_blocking`](Ack::wait_blocking) where a thread may block. Dropping it does not take the append back.
///
/// # Examples
/// ```
/// use millpond::{Position, changelog::Ack};
///
/// let (sender, ack) = Ack::pending();
/// sender.resolve(Ok(Position::new()));
/// assert_eq!(ack.wait_blocking()?, Position::new());
/// # Ok::<(), millpond::Error>(())
/// ```
#[must_use = "the append is acknowledged only when this resolves"]
pub struct Ack(Promise);

enum Promise {
    Ready(Option<Result<Position>>),
    Waiting(oneshot::Receiver<Result<Position>>),
    Held(Pin<Box<dyn Future<Output = Result<Position>> + Send>>),
}

impl std::fmt::Debug for Ack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &self.0 {
            Promise::Ready(_) => "ready",
            Promise::Waiting(_) => "waiting",
            Promise::Held(_) => "held",
        };
        f.debug_tuple("Ack").field(&state).finish()
    }
}

/// The other end of an [`Ack`], held by the changelog.
#[derive(Debug)]
pub struct AckSender(oneshot::Sender<Result<Position>>);

impl AckSender {
    /// Resolves the [`Ack`]; does nothing if nobody waits for it any more.
    pub fn resolve(self, result: Result<Position>) {
        // An error means that the other end is gone, which is the caller's right.
        self.0.send(result).ok();
    }
}

impl Ack {
    /// A promise that is already resolved.
    pub fn ready(result: Result<Position>) -> Self {
        Self(Promise::Ready(Some(result)))
    }

    /// A promise that the sender resolves. If the sender is dropped instead, it resolves to a `Closed` error.
    pub fn pending() -> (AckSender, Self) {
        let (sender, receiver) = oneshot::channel();
        (AckSender(sender), Self(Promise::Waiting(receiver)))
    }

    /// The same promise, resolved only after `then` as well.
    pub(crate) fn after(self, then: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Promise::Held(Box::pin(async move {
            let position = self.await?;
            then.await;
            Ok(position)
        })))
    }

    /// The same for at most so long, counted from now: then it resolves to an error of kind
    /// [`TimedOut`](crate::ErrorKind::TimedOut). The records may be appended all the same.
    pub fn within(self, limit: Duration) -> Wait<Position> {
        let progress = || {
            "the append is not acknowledged yet; its records may become durable all the same: read before you append again"
                .to_owned()
        };
        Wait::new(self, progress).within(limit)
    }

    /// Blocks the thread until the append is acknowledged.
    ///
    /// Inside of an async runtime this holds up every task of the thread, though nothing worse: await there.
    ///
    /// # Errors
    /// `Invalid` if the append names an unknown partition or a record is too large, `Unavailable` if the queue
    /// is full or the medium failed, `Closed` after close. After an `Unavailable` or `Closed` that comes from a
    /// failed write, the records may or may not be there when the changelog is opened again.
    pub fn wait_blocking(self) -> Result<Position> {
        block_on(self)
    }
}

impl Future for Ack {
    type Output = Result<Position>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Promise::Ready(result) => Poll::Ready(result.take().unwrap_or_else(|| Err(polled_again()))),
            Promise::Held(held) => held.as_mut().poll(context),
            Promise::Waiting(receiver) => Pin::new(receiver).poll(context).map(|answer| {
                answer.unwrap_or_else(|_| {
                    Err(Error::closed("the changelog stopped before it acknowledged; open it again and look"))
                })
            }),
        }
    }
}

fn polled_again() -> Error {
    Error::internal("an acknowledgement was polled again after it had resolved")
}

/// The other end of a [`Room`], held by the changelog.
#[derive(Debug)]
pub struct RoomSender(oneshot::Sender<()>);

impl RoomSender {
    /// Says that there is room; so does whoever drops it.
    pub fn resolve(self) {
        // An error means that nobody waits any more.
        self.0.send(()).ok();
    }
}

/// Resolves when an append will be admitted; see [`AppendLog::room`](super::AppendLog::room).
#[derive(Debug, Default)]
#[must_use = "there is room only when this resolves"]
pub struct Room(Option<oneshot::Receiver<()>>);

impl Room {
    /// There is room now.
    pub fn now() -> Self {
        Self(None)
    }

    /// There will be room once the [`RoomSender`] says so, or is dropped.
    pub fn pending() -> (RoomSender, Self) {
        let (sender, receiver) = oneshot::channel();
        (RoomSender(sender), Self(Some(receiver)))
    }

    /// Blocks the thread until there is room. Do not call it inside of async code: await there.
    pub fn wait_blocking(self) {
        block_on(self);
    }
}

impl Future for Room {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            None => Poll::Ready(()),
            Some(receiver) => Pin::new(receiver).poll(context).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, TopicPartition};

    fn position() -> Position {
        [(TopicPartition::new("a", 0), 3)].into_iter().collect()
    }

    #[test]
    fn an_ack_resolves_from_another_thread() {
        let (sender, ack) = Ack::pending();
        let other = std::thread::spawn(move || sender.resolve(Ok(position())));
        assert_eq!(ack.wait_blocking().unwrap(), position());
        other.join().unwrap();
    }

    #[test]
    fn a_dropped_sender_is_a_closed_error() {
        let (sender, ack) = Ack::pending();
        drop(sender);
        assert_eq!(ack.wait_blocking().unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn there_is_room_once_the_changelog_says_so_or_is_gone() {
        Room::now().wait_blocking();
        let (sender, room) = Room::pending();
        let other = std::thread::spawn(move || sender.resolve());
        room.wait_blocking();
        other.join().unwrap();
        let (sender, room) = Room::pending();
        drop(sender);
        room.wait_blocking();
    }

    #[tokio::test]
    async fn an_ack_can_be_awaited_and_waiting_inside_a_runtime_does_not_panic() {
        assert_eq!(Ack::ready(Ok(position())).await.unwrap(), position());
        assert_eq!(Ack::ready(Ok(position())).wait_blocking().unwrap(), position());
    }
}
