//! The threads of an engine: one folds, one drains.
//!
//! The folding thread waits for the changelog's wake-up, not for a timer. Back-pressure goes backwards through it: when
//! drains fall behind it stops cutting epochs, and when it falls behind, the gate holds up appends.

use super::asking::Asking;
use super::cadence::Cadence;
use super::closing::Closing;
use super::retention_alarm::RetentionAlarm;
use super::signal::Signal;
use super::{Health, Stats, stats, waits};
use crate::changelog::{Gate, Role};
use crate::state::Status;
use crate::task::{Core, STACK_BYTES, Service, user_code};
use crate::{Error, Position, Result, Wait, panic_message};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

/// When to drain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DrainLimits {
    /// Drain when a drain would free so many bytes of memory.
    pub(crate) begin_bytes: usize,
    /// Cut no further epoch at this many.
    pub(crate) most_bytes: usize,
    /// What hot entries may take.
    pub(crate) hot_bytes: usize,
    /// Drain after this long even if there is less.
    pub(crate) interval: Duration,
    /// Hold up appends when this many records are not folded yet.
    pub(crate) most_lag: u64,
    /// Enforce retention after this long even if nothing was drained.
    pub(crate) retention: Duration,
}

/// The store is told to settle when there was nothing to drain for about this long.
const SETTLE_AFTER: Duration = Duration::from_secs(5);

/// What the threads share.
pub(super) struct Common {
    pub(super) fold: Signal,
    pub(super) drain: Signal,
    /// For the threads that fetch what codecs await, which outlive the engine if it must.
    pub(super) fetch: Arc<Signal>,
    pub(super) service: Arc<Service>,
    /// Asks the changelog where it ends.
    asking: Asking,
    pub(super) owns_changelog: bool,
    pub(super) limits: DrainLimits,
    pub(super) gate: Arc<Gate>,
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
    /// All threads that there were.
    pub(super) ids: Mutex<Vec<ThreadId>>,
    /// Called by the changelog; dropping it ends the watch.
    pub(super) waker: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    pub(super) closing: Mutex<Closing>,
    /// The thread that closes the engine.
    pub(super) closer: Mutex<Option<JoinHandle<()>>>,
    /// Why a thread has stopped.
    pub(super) failed: OnceLock<Error>,
}

/// The running threads of an engine. Dropping them closes it.
pub(crate) struct Threads(Arc<Common>);

impl Threads {
    pub(crate) fn start(core: Core, limits: DrainLimits, owns_changelog: bool) -> Result<Self> {
        let service = Arc::clone(core.service());
        let gate = Gate::new(service.host.id, limits.most_lag, is_beyond(&service));
        let common = Arc::new(Common {
            fold: Signal::default(),
            drain: Signal::default(),
            fetch: Arc::default(),
            asking: Asking::of(&service),
            service: Arc::clone(&service),
            owns_changelog,
            limits,
            gate: Arc::new(gate),
            threads: Mutex::default(),
            ids: Mutex::default(),
            waker: Mutex::default(),
            closing: Mutex::new(Closing::Open),
            closer: Mutex::default(),
            failed: OnceLock::new(),
        });
        let watching: Weak<Common> = Arc::downgrade(&common);
        let waker: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            if let Some(common) = watching.upgrade() {
                common.fold.raise();
            }
        });
        service.changelog.watch(Arc::downgrade(&waker));
        *lock(&common.waker) = Some(waker);
        common.fold.raise();
        let threads = Self(common);
        let common = Arc::clone(&threads.0);
        threads.spawn("millpond-fold", move || common.fold_all(core))?;
        let common = Arc::clone(&threads.0);
        threads.spawn("millpond-drain", move || common.drain_all())?;
        Ok(threads)
    }

    pub(super) fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let common = Arc::clone(&self.0);
        let guarded = move || {
            // A defect of ours must not leave queries waiting for ever.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                let message = panic_message(&*panic);
                common.poison(Error::internal(format!(
                    "a thread of the engine panicked, which is a defect of millpond: {message}"
                )));
            }
        };
        // Held from before, so that whoever closes the engine finds every thread that has begun.
        let mut threads = lock(&self.0.threads);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK_BYTES)
            .spawn(guarded)
            .map_err(|error| Error::unavailable("cannot start a thread of the engine").with_source(error))?;
        lock(&self.0.ids).push(thread.thread().id());
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.0.service
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.0.gate
    }

    pub(crate) fn health(&self) -> Health {
        stats::health(self.service())
    }

    pub(crate) fn stats(&self) -> Stats {
        stats::collect(self.service())
    }

    pub(crate) fn pause(&self, yes: bool) {
        self.service().paused.store(yes, Ordering::Release);
        self.0.fold.raise();
    }

    pub(super) fn wait_for(&self, position: Position) -> Wait<()> {
        waits::wait_for(self.service(), &self.0.asking, position)
    }

    pub(super) fn catch_up(&self) -> Wait<Position> {
        waits::catch_up(self.service(), &self.0.asking)
    }

    pub(crate) fn drain(&self) -> Wait<Position> {
        let common = Arc::downgrade(&self.0);
        waits::drain(self.service(), move || {
            if let Some(common) = common.upgrade() {
                common.drain.raise();
            }
        })
    }

    /// Begins to close the engine, unless that was begun already.
    pub(crate) fn close(&self) -> Wait<()> {
        let outside = self.0.check_outside();
        Common::begin_to_close(&self.0);
        let common = Arc::clone(&self.0);
        let answer = async move {
            // Code that the engine runs would wait for itself.
            outside?;
            waits::until(&common.service, |_| match &*lock(&common.closing) {
                Closing::Done(Ok(())) => Ok(Some(())),
                Closing::Done(Err(error)) => Err(error.summary()),
                Closing::Open | Closing::Begun => Ok(None),
            })
            .await
        };
        Wait::new(answer, || {
            "the engine is still closing: its last epoch is being folded, or its last rows are being made durable".to_owned()
        })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let is_told = matches!(*lock(&self.0.closing), Closing::Done(_));
        let closing = self.close();
        // Code that the engine runs cannot wait for it: it is closed behind its back.
        if self.0.check_outside().is_err() {
            return;
        }
        match closing.wait_blocking() {
            Err(error) if !is_told => tracing::error!(%error, "the engine did not close cleanly"),
            _ => {}
        }
        // Until it has ended it holds what the engine did, such as a changelog that somebody else wants to open.
        if let Some(closer) = lock(&self.0.closer).take() {
            let _ = closer.join();
        }
    }
}

/// Whether there are more than so many records in the changelog that the tables do not show yet. Whoever holds this holds no
/// state open.
fn is_beyond(service: &Arc<Service>) -> impl Fn(u64) -> bool + Send + Sync + use<> {
    let service = Arc::downgrade(service);
    move |most| {
        let Some(service) = service.upgrade() else { return false };
        // At every append: so the log as a whole is asked first, and its partitions only if it has grown by more.
        if service.abilities.one_sequence
            && let Ok(Some(appended)) = service.changelog.appended(u64::MAX)
            && appended.end.saturating_sub(service.tasks.passed()) <= most
        {
            return false;
        }
        service.lag(&service.tasks.position()).flatten().map(|(_, records)| records).sum::<u64>() > most
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Common {
    /// Refuses callers that are run by the engine, which must not wait for its threads.
    fn check_outside(&self) -> Result<()> {
        self.service.host.id.check_outside()?;
        if lock(&self.ids).contains(&std::thread::current().id()) {
            return Err(Error::invalid("the engine is closed by what it drops itself"));
        }
        Ok(())
    }

    fn poison(&self, error: Error) {
        tracing::error!(%error, "the engine has stopped");
        // Another engine of its name may do better.
        self.service.leave();
        self.gate.end(&error.summary().context("the engine has stopped"));
        let _ = self.failed.set(error.summary());
        self.service.end(&Status::Poisoned(error));
    }

    pub(super) fn is_running(&self) -> bool {
        self.service.tasks.check().is_ok()
    }

    /// The folding thread.
    fn fold_all(self: &Arc<Self>, mut core: Core) {
        while !self.fold.is_closing() && self.is_running() {
            if self.service.paused.load(Ordering::Acquire) {
                if !self.fold.wait() {
                    break;
                }
                continue;
            }
            match core.step().and_then(|ran| self.begin_to_fetch(&core).map(|()| ran)) {
                Ok(true) => {}
                Ok(false) => {
                    self.gate.moved();
                    // Whoever waits for what the log does by itself looks again.
                    if self.service.shares_epochs() {
                        self.service.host.signal();
                    }
                    let goes_on = match core.patience() {
                        Some(patience) => self.fold.wait_for(patience),
                        None => self.fold.wait(),
                    };
                    if !goes_on {
                        break;
                    }
                    continue;
                }
                Err(error) => {
                    self.poison(error);
                    break;
                }
            }
            self.gate.moved();
            self.make_room();
        }
        // There is no further epoch: whoever serves changes to others can end, too.
        self.service.end(&Status::Closed);
        // Closures and rows of the user are dropped here; they are needed no more.
        if let Err(error) = user_code("the engine ended", || drop(core)) {
            tracing::error!(%error, "rows or closures could not be dropped");
        }
    }

    /// Lets drains know how far the fold is, and waits while they are too far behind.
    fn make_room(&self) {
        if self.backlog_bytes() < self.limits.begin_bytes {
            return;
        }
        self.drain.raise();
        if self.backlog_bytes() >= self.limits.most_bytes {
            // As long as something else answers for a task that begins again nothing is drained, and the task needs the room.
            self.service.tasks.succeed();
        }
        // What was taken over is never drained: there is room once it is taken back.
        let goes_on = || self.is_running() && self.service.setting().role() != Role::Fenced;
        while self.backlog_bytes() >= self.limits.most_bytes && goes_on() {
            // Woken by the drain; the limit on the wait only guards against a missed call.
            if !self.fold.wait_for(Duration::from_millis(50)) {
                break;
            }
        }
    }

    fn backlog_bytes(&self) -> usize {
        self.service.tasks.backlog().bytes_beside(self.limits.hot_bytes)
    }

    /// The draining thread.
    fn drain_all(&self) {
        let mut retention = Cadence::new(self.limits.interval, self.limits.retention);
        let mut rest = Cadence::new(self.limits.interval, SETTLE_AFTER);
        let mut look = Cadence::new(self.limits.interval, self.limits.retention);
        let mut alarm = RetentionAlarm::default();
        loop {
            let open = self.drain.wait_for(self.limits.interval);
            if !self.is_running() || !open {
                return;
            }
            if look.is_due(false) {
                alarm.look(&self.service);
            }
            match self.service.tasks.drain() {
                Ok(drained) => {
                    if retention.is_due(drained) {
                        self.enforce_retention();
                    }
                    if rest.is_due(drained) && !drained {
                        self.settle();
                    }
                }
                Err(error) => {
                    self.poison(error.context("the state could not be made durable"));
                    self.fold.raise();
                    return;
                }
            }
            self.fold.raise();
        }
    }

    /// Nothing was drained for a while: a good moment for the store to put its rows in order.
    fn settle(&self) {
        if let Ok(store) = self.service.tasks.store() {
            store.settle();
        }
    }

    /// Drops what is old or too much. Failing to do so loses nothing.
    fn enforce_retention(&self) {
        match self.service.changelog.enforce_retention() {
            Ok(0) => {}
            Ok(bytes) => tracing::debug!(bytes, "retention dropped old records"),
            Err(error) => tracing::warn!(%error, "retention could not be enforced"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::{Append, AppendLog, MemoryChangelog, ReadLog, Record, TopicConfig, TopicLog};
    use crate::engine::idle_graph::idle_graph;
    use crate::{Engine, ManualClock, TopicPartition};

    /// Records once stayed for ever where nothing came after them: only a drain was followed by retention.
    #[test]
    fn an_idle_engine_drops_what_has_grown_old() {
        let clock = Arc::new(ManualClock::new(0));
        let log = Arc::new(MemoryChangelog::with_clock(clock.clone()));
        let brief = TopicConfig { retention_age: Some(Duration::from_millis(10)), ..TopicConfig::default() };
        log.create_topic("old", &brief).unwrap();
        let old = TopicPartition::new("old", 0);
        let records = vec![Record::new("key", "value").at(0)];
        log.append(vec![Append { partition: old.clone(), records }]).wait_blocking().unwrap();

        let builder = Engine::builder(&idle_graph()).in_memory().changelog(log.clone());
        let (core, owns_changelog) = builder.open(crate::task::Reads::Current).unwrap();
        let tick = Duration::from_millis(1);
        let limits = DrainLimits {
            begin_bytes: 1,
            most_bytes: 2,
            hot_bytes: 1,
            interval: tick,
            most_lag: 1,
            retention: 2 * tick,
        };
        let threads = Threads::start(core, limits, owns_changelog).unwrap();
        clock.advance(1000);
        let dropped = (0..60_000).any(|_| {
            std::thread::park_timeout(tick);
            log.offsets(&old).unwrap().start == 1
        });
        assert!(dropped, "the record outlived its retention");
        threads.close().wait_blocking().unwrap();
    }
}
