//! The threads of an engine: one folds, one drains.
//!
//! The folding thread waits for the changelog's wake-up, not for a timer. Back-pressure goes backwards through it: when
//! drains fall behind it stops cutting epochs, and when it falls behind, the gate holds up appends.

use super::cadence::Cadence;
use super::{Handles, Stats, stats};
use crate::changelog::{Changelog, Gate, Lease};
use crate::drain::{Backlog, Drain};
use crate::graph::Graph;
use crate::query::Cell;
use crate::state::{Host, Shared, Status};
use crate::task::{Core, Counters, drain_all, user_code};
use crate::{Error, Result, panic_message};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
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

/// A bell that two threads wait on.
#[derive(Default)]
struct Bell {
    state: Mutex<BellState>,
    rung: Condvar,
}

#[derive(Default)]
struct BellState {
    work: bool,
    closing: bool,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, BellState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        self.lock().work = true;
        self.rung.notify_all();
    }

    fn close(&self) {
        self.lock().closing = true;
        self.rung.notify_all();
    }

    /// Waits for work. `false` if the engine is closing.
    fn wait(&self) -> bool {
        let mut state = self.lock();
        while !state.work && !state.closing {
            state = self.rung.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.work = false;
        !state.closing
    }

    /// Waits for work for at most `longest`. `false` if the engine is closing.
    fn wait_for(&self, longest: Duration) -> bool {
        let state = self.lock();
        let waiting = |state: &mut BellState| !state.work && !state.closing;
        let (mut state, _) =
            self.rung.wait_timeout_while(state, longest, waiting).unwrap_or_else(PoisonError::into_inner);
        state.work = false;
        !state.closing
    }

    fn is_closing(&self) -> bool {
        self.lock().closing
    }
}

/// What the threads share.
struct Common {
    fold: Bell,
    drain: Bell,
    shared: Arc<Shared>,
    cells: Arc<[Arc<Cell>]>,
    changelog: Arc<dyn Changelog>,
    owns_changelog: bool,
    drains: Arc<Mutex<Vec<Arc<Drain>>>>,
    counters: Arc<Counters>,
    limits: DrainLimits,
    gate: Arc<Gate>,
}

/// The running threads.
pub(crate) struct Background {
    common: Arc<Common>,
    /// Rung by the changelog; dropped with the engine, which ends the watch.
    waker: Arc<dyn Fn() + Send + Sync>,
    threads: Vec<JoinHandle<()>>,
    /// The engine's name is its own until the last drain.
    lease: Arc<Lease>,
}

impl Common {
    /// Has the threads end what they are at, and lets nobody append who would wait for them.
    fn stop_threads(&self) {
        self.gate.end(&Error::closed("the engine is closed; open it again to append through it"));
        self.host().begin_to_close();
        self.fold.close();
        self.drain.close();
    }
}

impl Background {
    pub(crate) fn start(core: Core, limits: DrainLimits, owns_changelog: bool) -> Result<Self> {
        let changelog = Arc::clone(&core.setting().changelog);
        let common = Arc::new(Common {
            fold: Bell::default(),
            drain: Bell::default(),
            shared: Arc::clone(core.main().shared()),
            cells: Arc::clone(core.cells()),
            changelog: Arc::clone(&changelog),
            owns_changelog,
            drains: Arc::clone(core.drains()),
            counters: Arc::clone(&core.setting().counters),
            limits,
            gate: Arc::new(Gate::new(
                core.setting().host.id,
                limits.most_lag,
                is_beyond(core.main().shared(), &changelog, &core.setting().graph),
            )),
        });
        let waker: Arc<dyn Fn() + Send + Sync> = {
            let common = Arc::clone(&common);
            Arc::new(move || common.fold.ring())
        };
        changelog.watch(Arc::downgrade(&waker));
        common.fold.ring();
        let lease = Arc::clone(core.lease());
        let mut background = Self { common, waker, threads: Vec::new(), lease };
        let common = Arc::clone(&background.common);
        background.spawn("millpond-fold", move || common.fold_all(core))?;
        let common = Arc::clone(&background.common);
        background.spawn("millpond-drain", move || common.drain_all())?;
        Ok(background)
    }

    fn spawn(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let common = Arc::clone(&self.common);
        let guarded = move || {
            // A defect of ours must not leave queries waiting for ever.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                let message = panic_message(&*panic);
                common.poison(Error::internal(format!(
                    "a thread of the engine panicked, which is a defect of millpond: {message}"
                )));
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(guarded)
            .map_err(|error| Error::unavailable("cannot start a thread of the engine").with_source(error))?;
        self.threads.push(thread);
        Ok(())
    }

    pub(crate) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.common.gate)
    }

    pub(crate) fn drain(&self) -> Result<()> {
        self.common.shared.check()?;
        drain_all(&self.common.drains).map(drop)
    }

    pub(crate) fn stats(&self, handles: &Handles) -> Stats {
        stats::collect(handles, &self.common.counters, &self.common.drains)
    }

    /// # Errors
    /// `Invalid` if the caller is run by the engine, so that it must not wait for its threads.
    pub(crate) fn check_outside(&self) -> Result<()> {
        self.common.host().id.check_outside()?;
        let here = std::thread::current().id();
        if self.threads.iter().any(|thread| thread.thread().id() == here) {
            return Err(Error::invalid("the engine is closed by what it drops itself"));
        }
        Ok(())
    }

    fn close_or_tell(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the engine did not close cleanly");
        }
    }

    pub(crate) fn close(&mut self) -> Result<()> {
        self.common.stop_threads();
        for thread in self.threads.drain(..) {
            // A panic was caught and has poisoned the engine.
            let _ = thread.join();
        }
        let before = self.common.shared.check();
        self.common.end(&Status::Closed);
        let last = if before.is_ok() { drain_all(&self.common.drains).map(drop) } else { before };
        for drain in self.common.drains.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            drain.shared.release_store();
        }
        self.common.cells.iter().for_each(|cell| cell.release_store());
        if self.common.owns_changelog { last.and(self.common.changelog.close()) } else { last }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        if self.check_outside().is_ok() {
            return self.close_or_tell();
        }
        // The engine is dropped by code that it runs, which cannot wait for itself. `rest` gets the threads in the new thread
        // only: without it nobody could wait for them, and dropping `rest` must not lead here again.
        let mut rest = Self {
            common: Arc::clone(&self.common),
            waker: Arc::clone(&self.waker),
            threads: Vec::new(),
            lease: Arc::clone(&self.lease),
        };
        let threads = std::mem::take(&mut self.threads);
        self.common.stop_threads();
        let closed = std::thread::Builder::new().name("millpond-close".to_owned()).spawn(move || {
            rest.threads = threads;
            rest.close_or_tell();
        });
        if let Err(error) = closed {
            tracing::error!(%error, "no thread could be started to close the engine");
        }
    }
}

/// Whether there are more than so many records of `changelog` that the tables do not show yet. Whoever holds this holds no
/// state open.
fn is_beyond(
    shared: &Arc<Shared>,
    changelog: &Arc<dyn Changelog>,
    graph: &Graph,
) -> impl Fn(u64) -> bool + Send + Sync + use<> {
    let graph = graph.clone();
    let (shared, changelog) = (Arc::downgrade(shared), Arc::downgrade(changelog));
    move |most| {
        let (Some(shared), Some(changelog)) = (shared.upgrade(), changelog.upgrade()) else { return false };
        // At every append: so the log as a whole is asked first, and its partitions only if it has grown by more.
        if let Ok(Some(appended)) = changelog.appended(u64::MAX)
            && appended.end.saturating_sub(shared.passed()) <= most
        {
            return false;
        }
        let published = shared.published();
        let lag = stats::lag(&*changelog, &graph, &published.position);
        lag.flatten().map(|(_, records)| records).sum::<u64>() > most
    }
}

impl Common {
    fn host(&self) -> &Host {
        self.shared.host()
    }

    fn poison(&self, error: Error) {
        tracing::error!(%error, "the engine has stopped");
        self.gate.end(&error.summary().context("the engine has stopped"));
        self.end(&Status::Poisoned(error));
    }

    /// Ends queries first and subscriptions afterwards: whoever subscribes in between is ended too, and whoever was
    /// waiting finds the reason.
    fn end(&self, status: &Status) {
        self.shared.end(status);
        for cell in self.cells.iter() {
            cell.end(status);
        }
    }

    /// The folding thread.
    fn fold_all(&self, mut core: Core) {
        while !self.fold.is_closing() && self.shared.check().is_ok() {
            match core.step() {
                Ok(true) => {}
                Ok(false) => {
                    self.gate.moved();
                    if !self.fold.wait() {
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
        self.drain.ring();
        while self.backlog_bytes() >= self.limits.most_bytes && self.shared.check().is_ok() {
            // Woken by the drain; the limit on the wait only guards against a missed call.
            if !self.fold.wait_for(Duration::from_millis(50)) {
                break;
            }
        }
    }

    fn backlog_bytes(&self) -> usize {
        Backlog::of(&self.drains).bytes_beside(self.limits.hot_bytes)
    }

    /// The draining thread.
    fn drain_all(&self) {
        let mut retention = Cadence::new(self.limits.interval, self.limits.retention);
        let mut rest = Cadence::new(self.limits.interval, SETTLE_AFTER);
        loop {
            let open = self.drain.wait_for(self.limits.interval);
            if self.shared.check().is_err() || !open {
                return;
            }
            match drain_all(&self.drains) {
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
                    self.fold.ring();
                    return;
                }
            }
            self.fold.ring();
        }
    }

    /// Nothing was drained for a while: a good moment for the store to put its rows in order.
    fn settle(&self) {
        if let Ok(store) = self.shared.store() {
            store.settle();
        }
    }

    /// Drops what is old or too much. Failing to do so loses nothing.
    fn enforce_retention(&self) {
        match self.changelog.enforce_retention() {
            Ok(0) => {}
            Ok(bytes) => tracing::debug!(bytes, "retention dropped old records"),
            Err(error) => tracing::warn!(%error, "retention could not be enforced"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::{Append, MemoryChangelog, Record, TopicConfig};
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
        log.append(vec![Append { partition: old.clone(), records }]).wait().unwrap();

        let builder = Engine::builder(&idle_graph()).in_memory().changelog(log.clone());
        let (core, _, owns_changelog) = builder.open(crate::task::Reads::Current).unwrap();
        let tick = Duration::from_millis(1);
        let limits = DrainLimits {
            begin_bytes: 1,
            most_bytes: 2,
            hot_bytes: 1,
            interval: tick,
            most_lag: 1,
            retention: 2 * tick,
        };
        let mut background = Background::start(core, limits, owns_changelog).unwrap();
        clock.advance(1000);
        let dropped = (0..60_000).any(|_| {
            std::thread::park_timeout(tick);
            log.offsets(&old).unwrap().start == 1
        });
        assert!(dropped, "the record outlived its retention");
        background.close().unwrap();
    }
}
