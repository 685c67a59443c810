//! How a stream waits: it looks, asks to be woken, and looks again.
//!
//! Invariant: between the first look and the return of `Pending` lies no moment of which the task is not told. A call for
//! it counts from when it was made, not from when it is polled. Nothing is made before there is something to wait for, so
//! that a stream which nobody polls costs nothing.

use crate::wait::block_on;
use crate::{ErrorKind, Result};
use futures_core::Stream;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::futures::OwnedNotified;

/// What a stream waits for, and whether it has ended.
#[derive(Default)]
pub(super) struct Waiting {
    call: Option<Pin<Box<OwnedNotified>>>,
    has_ended: bool,
}

impl Waiting {
    /// Hands on what `look` finds; until then, has the task of `context` woken by what `call` makes.
    pub(super) fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        call: impl Fn() -> OwnedNotified,
        mut look: impl FnMut() -> Option<Result<T>>,
        is_closed: impl Fn() -> bool,
    ) -> Poll<Option<Result<T>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let found = loop {
            if let Some(found) = look() {
                break found;
            }
            let called = self.call.get_or_insert_with(|| Box::pin(call()));
            if called.as_mut().poll(context).is_ready() {
                // Used up: the next one is made before the next look but one.
                self.call = None;
                continue;
            }
            match look() {
                Some(found) => break found,
                None => return Poll::Pending,
            }
        };
        if found.is_ok() {
            return Poll::Ready(Some(found));
        }
        self.has_ended = true;
        self.call = None;
        let orderly = |error: &crate::Error| error.kind() == ErrorKind::Closed && is_closed();
        Poll::Ready(Some(found).filter(|found| !found.as_ref().is_err_and(orderly)))
    }
}

/// The next item of `stream`.
pub(super) async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// Blocks the thread until `stream` has its next item.
pub(super) fn block_on_next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    block_on(next(stream))
}
