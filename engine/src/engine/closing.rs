//! Closing: queries end first, then the threads; what they have published is made durable, and what is open given back.

use super::threads::{Common, lock};
use crate::changelog::{Commit, Role};
use crate::state::Status;
use crate::{Error, Result, panic_message};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// How often the log is asked to commit what the last epochs have appended, and how long it may take each time: 5 s in all. What
/// it has not committed then is folded again.
const MOST_COMMITS: usize = 20;
const PATIENCE: Duration = Duration::from_millis(250);

/// How often a closing engine tries to drain: builds hand over what they have made.
const MOST_DRAINS: usize = 3;

/// How far the engine is with ending.
pub(super) enum Closing {
    Open,
    Begun,
    Done(Result<()>),
}

/// What `work` of closing answers; a panic is an error of its own.
fn caught(work: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(Error::internal(format!("closing the engine panicked: {}", panic_message(&*panic))))
    })
}

fn not_committed() -> Error {
    Error::unavailable(
        "the changelog has not committed what the last epochs appended: nothing of it is lost, it is folded again when the engine is \
         opened",
    )
}

impl Common {
    /// Has the engine closed by a thread of its own, so that nobody has to stay for it.
    pub(super) fn begin_to_close(this: &Arc<Self>) {
        let mut closing = lock(&this.closing);
        if !matches!(*closing, Closing::Open) {
            return;
        }
        *closing = Closing::Begun;
        drop(closing);
        let common = Arc::clone(this);
        let thread = std::thread::Builder::new()
            .name("millpond-close".to_owned())
            .spawn(move || common.shut_down_and_tell());
        match thread {
            Ok(thread) => {
                lock(&this.ids).push(thread.thread().id());
                *lock(&this.closer) = Some(thread);
            }
            Err(error) => {
                tracing::warn!(%error, "no thread could be started to close the engine: closing on this one");
                this.shut_down_and_tell();
            }
        }
    }

    fn shut_down_and_tell(&self) {
        let stopped = caught(|| self.stop());
        // Whatever has happened, somebody else may want to open what this engine had.
        let outcome = stopped.and(caught(|| self.let_go()));
        self.service.release_name();
        let (name, state) = (&*self.service.name, &*self.service.place);
        let position = self.service.tasks.position();
        match &outcome {
            Ok(()) => tracing::info!(name, state, %position, "the engine is closed"),
            Err(error) => {
                tracing::warn!(name, state, %position, %error, "the engine is closed, with an error");
            }
        }
        *lock(&self.closing) = Closing::Done(outcome);
        self.service.host.signal();
    }

    /// Ends queries, waits for the threads, and makes what they have published durable.
    fn stop(&self) -> Result<()> {
        let before = self.service.tasks.check();
        self.gate.end(&Error::closed("the engine is closed; open it again to append through it"));
        // Nobody is to be answered or to wait any more. Streams of changes end with the last epoch, which may be on its way.
        self.service.tasks.end(&Status::Closed);
        self.service.host.begin_to_close();
        self.fold.close();
        self.drain.close();
        self.fetch.close();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A panic was caught and has poisoned the engine.
            let _ = thread.join();
        }
        self.service.end(&Status::Closed);
        let before = before.and(self.failed.get().map_or(Ok(()), |error| Err(error.summary())));
        let drained = before.and_then(|()| self.drain_the_rest());
        self.service.leave();
        drained
    }

    /// Makes durable what is published.
    ///
    /// # Errors
    /// As for [`Drain::run`](crate::task::Drain::run); `Unavailable` if the log does not commit it in time: then the state stays
    /// where it was.
    fn drain_the_rest(&self) -> Result<()> {
        let service = &self.service;
        // Nobody is answered any more, by whatever.
        service.tasks.succeed();
        if service.shares_epochs() && !service.tasks.are_drained() {
            // Once for all tasks: the drain of each would wait for it.
            let mut commits = (0..MOST_COMMITS).map(|_| service.changelog.commit(&service.name, PATIENCE));
            match commits.find(|commit| !matches!(commit, Ok(Commit::Pending))).transpose()? {
                Some(Commit::Done) => {}
                Some(Commit::Fenced) => return Ok(()),
                Some(Commit::Pending) | None => return Err(not_committed()),
            }
        }
        for _ in 0..MOST_DRAINS {
            service.tasks.drain()?;
            // Whoever has taken over appends it anew, and this state folds it again.
            if service.tasks.are_drained() || service.role() == Role::Fenced {
                return Ok(());
            }
        }
        Err(not_committed())
    }

    /// Gives back what the engine has open.
    fn let_go(&self) -> Result<()> {
        self.service.let_go();
        lock(&self.waker).take();
        if self.owns_changelog { self.service.changelog.close() } else { Ok(()) }
    }
}
