//! What queries see: the published epoch, its position, and the generations that the store does not have yet.
//!
//! Invariant: state at `position` = the store, overlaid with `generations` in order. A drain ingests first and
//! drops its generations afterwards, so that nothing is ever missing from both.

use super::generation::{Counts, Generation};
use crate::store::StateStore;
use crate::{Error, Position, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::watch;

/// The result of the last published epoch.
pub(crate) struct Published {
    pub(crate) epoch: u64,
    pub(crate) position: Position,
    /// Not drained yet, oldest first.
    pub(crate) generations: Vec<Arc<Generation>>,
    /// Everything up to this epoch is in the store and no longer in `generations`.
    pub(crate) drained: u64,
    /// How many rows each table has.
    pub(crate) counts: Counts,
}

/// Whether the task can be asked, and if not, why.
#[derive(Debug)]
pub(crate) enum Status {
    Running,
    Closed,
    Poisoned(Error),
}

impl Status {
    /// The same status, for another task of the engine.
    fn again(&self) -> Self {
        match self {
            Self::Running => Self::Running,
            Self::Closed => Self::Closed,
            Self::Poisoned(reason) => Self::Poisoned(reason.summary()),
        }
    }
}

/// The part of a task that its folding thread, its drain and its queries share.
pub(crate) struct Shared {
    /// Gone once the task is closed, so that its directory can be opened again while views are still held.
    store: RwLock<Option<Arc<dyn StateStore>>>,
    published: RwLock<Arc<Published>>,
    epoch: AtomicU64,
    drained: AtomicU64,
    status: RwLock<Status>,
    /// Whether `status` is anything but running, so that a query need not take its lock.
    ended: AtomicBool,
    /// Set when newer tables have taken the place of those of this task.
    superseded: AtomicBool,
    /// Set for rows of an older version of a table, which its successor reads only where it can.
    former: AtomicBool,
    /// Held while an epoch is published or a drain is recorded, so that a subscriber can take a state and the
    /// changes after it without a gap.
    publishing: Mutex<()>,
    signal: watch::Sender<u64>,
    /// The same signal for threads that wait.
    changed: Condvar,
}

impl Shared {
    pub(crate) fn new(store: Arc<dyn StateStore>, position: Position, counts: Counts) -> Self {
        Self {
            store: RwLock::new(Some(store)),
            published: RwLock::new(Arc::new(Published {
                epoch: 0,
                position,
                generations: Vec::new(),
                drained: 0,
                counts,
            })),
            epoch: AtomicU64::new(0),
            drained: AtomicU64::new(0),
            status: RwLock::new(Status::Running),
            ended: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
            former: AtomicBool::new(false),
            publishing: Mutex::new(()),
            signal: watch::channel(0).0,
            changed: Condvar::new(),
        }
    }

    /// The store of the task.
    ///
    /// # Errors
    /// `Closed` if the task is closed.
    pub(crate) fn store(&self) -> Result<Arc<dyn StateStore>> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        store.clone().ok_or_else(|| Error::closed("the engine is closed; open it again to ask its tables"))
    }

    /// Lets go of the store.
    pub(crate) fn release_store(&self) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The last published epoch.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Everything up to this epoch is in the store.
    pub(crate) fn drained(&self) -> u64 {
        self.drained.load(Ordering::Acquire)
    }

    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps epochs from being published while the guard lives.
    pub(crate) fn hold_publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an epoch visible. The caller holds the publishing lock.
    pub(crate) fn publish(&self, _held: &MutexGuard<'_, ()>, next: Published) {
        let epoch = next.epoch;
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        self.epoch.store(epoch, Ordering::Release);
        self.signal.send_replace(epoch);
        self.changed.notify_all();
    }

    /// Records that everything up to `epoch` is in the store.
    pub(crate) fn drop_drained(&self, epoch: u64) {
        let _held = self.hold_publishing();
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        *published = Arc::new(Published {
            epoch: published.epoch,
            position: published.position.clone(),
            generations: published.generations.iter().filter(|g| g.epoch > epoch).cloned().collect(),
            drained: epoch,
            counts: Arc::clone(&published.counts),
        });
        self.drained.store(epoch, Ordering::Release);
        drop(published);
        self.changed.notify_all();
    }

    /// Lets everyone who waits look again.
    pub(crate) fn wake(&self) {
        let _held = self.hold_publishing();
        self.signal.send_modify(|_| ());
        self.changed.notify_all();
    }

    /// Blocks until `done` is true of what is published; it is asked again after every epoch and drain.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub(crate) fn wait(&self, done: impl Fn(&Published) -> bool) -> Result<()> {
        let mut held = self.hold_publishing();
        loop {
            self.check()?;
            if done(&self.published()) {
                return Ok(());
            }
            held = self.changed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Resolves once `done` is true of what is published.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub(crate) async fn wait_async(&self, done: impl Fn(&Published) -> bool) -> Result<()> {
        let mut signal = self.signal.subscribe();
        loop {
            signal.borrow_and_update();
            self.check()?;
            if done(&self.published()) {
                return Ok(());
            }
            if signal.changed().await.is_err() {
                return Err(Error::closed("the engine is closed"));
            }
        }
    }

    /// Ends the task for queries: `Closed`, or `Poisoned` with the reason. The first reason stays.
    pub(crate) fn end(&self, status: &Status) {
        let mut now = self.status.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*now, Status::Running) {
            *now = status.again();
        }
        drop(now);
        self.ended.store(true, Ordering::Release);
        self.wake();
    }

    /// Marks the rows as those of an older version.
    pub(crate) fn set_former(&self) {
        self.former.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_former(&self) -> bool {
        self.former.load(Ordering::Relaxed)
    }

    /// Whether newer tables have taken the place of those of this task.
    pub(crate) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Acquire)
    }

    pub(crate) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
    }

    /// Whether the task can be asked.
    ///
    /// # Errors
    /// `Closed`, or the reason why it was poisoned.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        if self.ended.load(Ordering::Acquire) { self.reason() } else { Ok(()) }
    }

    #[cold]
    fn reason(&self) -> Result<()> {
        match &*self.status.read().unwrap_or_else(PoisonError::into_inner) {
            Status::Running => Ok(()),
            Status::Closed => Err(Error::closed("the engine is closed; open it again to ask its tables")),
            Status::Poisoned(reason) => Err(reason.summary().context("the engine has stopped")),
        }
    }
}
