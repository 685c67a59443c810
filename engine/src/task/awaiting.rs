//! Waiting: an epoch that cannot be decoded before something was fetched, such as the schema of a record.
//!
//! Invariant: nothing is fetched within a fold. A codec says what it [awaits](Awaited), the epoch is taken back and put back, and
//! its task stands still until all of it is there. Then the same epoch is cut again: what comes of it is what would have come
//! of it if nothing had been missing. So it is no failure, and no policy decides about it.
//!
//! Who fetches is for whoever moves the task: threads of the engine, or the caller of a stepper.

use super::Task;
use crate::codec::Awaited;
use crate::dataflow::AllAwaited;
use crate::{Error, ErrorKind, Result, panic_message};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// How often in a row an epoch may ask for something and be cut again before that is taken for a defect of a codec.
const MOST_ROUNDS: u32 = 16;

/// What a task waits for.
#[derive(Debug)]
pub(crate) struct Awaiting {
    awaited: AllAwaited,
    /// How often its epoch has waited before.
    rounds: u32,
    begun: AtomicBool,
    /// What went wrong the last time.
    trouble: Mutex<Option<Error>>,
    outcome: OnceLock<Result<()>>,
}

impl Awaiting {
    /// Whether nobody has begun to fetch it.
    pub(crate) fn begin(&self) -> bool {
        !self.begun.swap(true, Ordering::AcqRel)
    }

    /// How often its epoch has waited before: what was fetched then was not enough.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// # Errors
    /// `User` if the epoch has asked too often.
    pub(crate) fn check_rounds(&self) -> Result<()> {
        if self.rounds < MOST_ROUNDS {
            return Ok(());
        }
        Err(Error::user(format!(
            "a codec asks for something again and again although it was fetched: {}; its `decode` has to find what was fetched",
            self.what()
        )))
    }

    /// Fetches all of it, on a thread that may wait. Its task goes on afterwards.
    ///
    /// # Errors
    /// As for [`Awaited::fetch`]; it can be tried again. `User` if it panics.
    pub(crate) fn fetch(&self) -> Result<()> {
        let fetched = self.awaited.iter().try_for_each(|awaited| {
            let fetched = catch_unwind(AssertUnwindSafe(|| awaited.fetch()));
            let fetched = fetched.unwrap_or_else(|panic| {
                Err(Error::user(format!("user code panicked: {}", panic_message(&*panic))))
            });
            fetched.map_err(|error| error.context(format!("{awaited} could not be fetched")))
        });
        match &fetched {
            Ok(()) => _ = self.outcome.set(Ok(())),
            Err(error) => *lock(&self.trouble) = Some(error.summary()),
        }
        fetched
    }

    /// Has its task stop with `error`.
    pub(crate) fn give_up(&self, error: Error) {
        let _ = self.outcome.set(Err(error));
    }

    fn what(&self) -> String {
        let names: Vec<String> =
            self.awaited.iter().map(|awaited: &Arc<dyn Awaited>| awaited.to_string()).collect();
        names.join(", ")
    }

    fn told(&self) -> String {
        match &*lock(&self.trouble) {
            Some(error) => format!("{error}; it is tried again"),
            None => format!("{} is being fetched", self.what()),
        }
    }
}

/// What is being fetched for an engine.
#[derive(Debug, Default)]
pub(crate) struct AllAwaiting(Mutex<Vec<(bool, Arc<Awaiting>)>>);

impl AllAwaiting {
    /// Tells of `awaiting`, which the main task waits for, or only a build.
    pub(crate) fn add(&self, awaiting: &Arc<Awaiting>, main: bool) {
        lock(&self.0).push((main, Arc::clone(awaiting)));
    }

    pub(crate) fn remove(&self, awaiting: &Awaiting) {
        lock(&self.0).retain(|(_, other)| !std::ptr::eq(&raw const **other, awaiting));
    }

    /// What the main task waits for.
    pub(crate) fn of_main(&self) -> Option<String> {
        lock(&self.0).iter().find(|(main, _)| *main).map(|(_, awaiting)| awaiting.told())
    }

    /// All that is waited for.
    pub(crate) fn told(&self) -> Vec<String> {
        lock(&self.0).iter().map(|(_, awaiting)| awaiting.told()).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Task {
    /// What has to be fetched before the task can go on.
    pub(crate) fn awaiting(&self) -> Option<&Arc<Awaiting>> {
        self.awaiting.as_ref()
    }

    /// The epoch that was put back waits for `awaited`.
    pub(super) fn wait_for(&mut self, awaited: AllAwaited) {
        let awaiting = Awaiting {
            awaited,
            rounds: self.rounds,
            begun: AtomicBool::new(false),
            trouble: Mutex::default(),
            outcome: OnceLock::new(),
        };
        self.rounds = self.rounds.saturating_add(1);
        self.awaiting = Some(Arc::new(awaiting));
    }

    /// Whether what was awaited is not there yet.
    ///
    /// # Errors
    /// What will keep it from ever being there.
    pub(super) fn has_to_wait(&mut self) -> Result<bool> {
        let Some(awaiting) = &self.awaiting else { return Ok(false) };
        match awaiting.outcome.get() {
            None => Ok(true),
            Some(Ok(())) => {
                self.awaiting = None;
                Ok(false)
            }
            Some(Err(error)) => Err(self.ahead(error)),
        }
    }

    /// `error` with where the task stands.
    fn ahead(&self, error: &Error) -> Error {
        let advice = "nothing after that was applied, and nothing is lost; mend it and open the engine again";
        let kind = if error.kind() == ErrorKind::Unavailable { ErrorKind::Internal } else { error.kind() };
        Error::new(kind, format!("records behind {} cannot be decoded: {error}; {advice}", self.position()))
    }
}
