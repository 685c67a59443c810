//! What queries see: the published epoch, its position, and the generations that the store does not have yet.
//!
//! Invariant: state at `position` = the store, overlaid with `generations` in order. A drain ingests first and
//! drops its generations afterwards, so that nothing is ever missing from both. In which order readers see what is
//! published: [`Front`].

use super::front::Front;
use super::generation::{Generation, RowCounts};
use super::host::Host;
use super::predecessor::Predecessor;
use super::table::AnyTable;
use crate::flow::TableIndex;
use crate::store::StateStore;
use crate::store::layout::TableId;
use crate::time::Reached;
use crate::{Error, Position, Result, TopicPartition};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};

/// The task has ended.
const ENDED: u8 = 1;
/// The task has not reached the end that its changelog had when it was opened.
const BEHIND: u8 = 2;
/// Nobody is answered as long as the task is behind.
const STRICT: u8 = 4;

/// The result of the last published epoch.
pub(crate) struct Published {
    pub(crate) epoch: u64,
    pub(crate) reached: Reached,
    /// Not drained yet, oldest first.
    pub(crate) generations: Vec<Arc<Generation>>,
    /// Everything up to this epoch is in the store and no longer in `generations`.
    pub(crate) drained: u64,
    /// How many rows each table has.
    pub(crate) counts: RowCounts,
}

/// Whether the task can be asked, and if not, why.
#[derive(Debug)]
pub(crate) enum Status {
    Running,
    Closed,
    Poisoned(Error),
}

impl Status {
    /// Whether it runs.
    ///
    /// # Errors
    /// `Closed`, or the reason of the stop.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Running => Ok(()),
            Self::Closed => Err(Error::closed("the engine is closed; open it again to ask its tables")),
            Self::Poisoned(reason) => Err(reason.summary().context("the engine has stopped")),
        }
    }

    /// The same status, for another task of the engine or for whoever asks.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Running => Self::Running,
            Self::Closed => Self::Closed,
            Self::Poisoned(reason) => Self::Poisoned(reason.summary()),
        }
    }
}

/// Notes which tables have forgotten rows.
fn note_forgetful(known: &Mutex<BTreeMap<TableId, Arc<AtomicBool>>>, counts: &RowCounts) {
    for (id, _) in counts.iter().filter(|(_, count)| count.cutoff.is_some()) {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(*id).or_default().store(true, Ordering::Release);
    }
}

/// The part of a task that its folding thread, its drain and its queries share.
pub(crate) struct TaskState {
    host: Arc<Host>,
    /// Gone once the task is closed, so that its directory can be opened again while views are still held.
    store: RwLock<Option<Arc<dyn StateStore>>>,
    front: Front<Published>,
    /// Whether a table has forgotten rows, so that whoever asks one that has not need not look what is published.
    forgetful: Mutex<BTreeMap<TableId, Arc<AtomicBool>>>,
    drained: AtomicU64,
    /// The last epoch of which subscribers were told.
    told: AtomicU64,
    /// Whatever the task reads below this place in the log is published.
    passed: AtomicU64,
    status: RwLock<Status>,
    /// What stands in the way of an answer, so that a query need not take a lock: [`ENDED`], [`BEHIND`], [`STRICT`].
    obstacles: AtomicU8,
    /// Where the changelog ended when the task was opened, if the task had not read so far.
    goal: OnceLock<Position>,
    /// Set when newer tables have taken the place of those of this task.
    superseded: AtomicBool,
    /// Set if these are what the store has, since what was not durable had to be taken back.
    taken_back: AtomicBool,
    /// Set for rows of an older version of a table, which its successor reads only where it can.
    former: AtomicBool,
    /// Held while an epoch is published or a drain is recorded, so that a subscriber can take a state and the
    /// changes after it without a gap.
    publishing: Mutex<()>,
    /// The tables that answer from it.
    tables: RwLock<HashMap<TableIndex, Weak<dyn AnyTable>>>,
    /// What answers as long as this state cannot.
    pub(super) predecessor: RwLock<Option<Predecessor>>,
}

impl TaskState {
    pub(crate) fn new(
        host: Arc<Host>,
        store: Arc<dyn StateStore>,
        reached: Reached,
        counts: RowCounts,
    ) -> Self {
        let forgetful = Mutex::default();
        note_forgetful(&forgetful, &counts);
        let first = Published { epoch: 0, reached, generations: Vec::new(), drained: 0, counts };
        Self {
            host,
            store: RwLock::new(Some(store)),
            front: Front::new(first),
            forgetful,
            drained: AtomicU64::new(0),
            told: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            status: RwLock::new(Status::Running),
            obstacles: AtomicU8::new(0),
            goal: OnceLock::new(),
            superseded: AtomicBool::new(false),
            taken_back: AtomicBool::new(false),
            former: AtomicBool::new(false),
            publishing: Mutex::new(()),
            tables: RwLock::default(),
            predecessor: RwLock::new(None),
        }
    }

    /// The engine of the task.
    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Notes that `table` answers from it, which has this place in its graph.
    pub(crate) fn know(&self, index: TableIndex, table: &Arc<dyn AnyTable>) {
        self.tables.write().unwrap_or_else(PoisonError::into_inner).insert(index, Arc::downgrade(table));
    }

    /// The table with this place that answers from it, if any does.
    pub(crate) fn known(&self, index: TableIndex) -> Option<Arc<dyn AnyTable>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(&index)?.upgrade()
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
        if let Some(before) = self.forget_predecessor() {
            before.shared.release_store();
        }
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the table `id` has forgotten rows, which may change once.
    pub(super) fn forgetful(&self, id: TableId) -> Arc<AtomicBool> {
        let mut known = self.forgetful.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(id).or_default())
    }

    /// The last published epoch.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.front.epoch()
    }

    /// Everything up to this epoch is in the store.
    pub(crate) fn drained(&self) -> u64 {
        self.drained.load(Ordering::Acquire)
    }

    /// Whatever the task reads below this place in the log is published.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Acquire)
    }

    /// Notes that whatever the task reads below `place` is published.
    pub(crate) fn pass(&self, place: u64) {
        self.passed.fetch_max(place, Ordering::AcqRel);
    }

    pub(crate) fn published(&self) -> Arc<Published> {
        self.front.current()
    }

    /// Keeps epochs from being published while the guard lives.
    pub(crate) fn hold_publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an epoch visible, together with what `along` does. The caller holds the publishing lock, and [tells](Self::tell)
    /// of the epoch.
    pub(crate) fn publish(&self, _held: &MutexGuard<'_, ()>, next: Published, along: impl FnOnce()) {
        // First: whoever sees the epoch sees it.
        note_forgetful(&self.forgetful, &next.counts);
        let epoch = next.epoch;
        let arrived =
            self.is_behind() && self.goal.get().is_none_or(|goal| next.reached.position.includes(goal));
        self.front.replace(epoch, Arc::new(next), || {
            along();
            if arrived {
                self.obstacles.fetch_and(!(BEHIND | STRICT), Ordering::AcqRel);
            }
        });
    }

    /// Notes that the subscribers were told of `epoch`, and lets everyone who waits for it look.
    pub(crate) fn tell(&self, epoch: u64) {
        if !self.is_behind() {
            self.succeed();
        }
        self.told.store(epoch, Ordering::Release);
        self.host.signal();
    }

    /// Whether `done` is true of what is published, and subscribers were told of it.
    pub(crate) fn has_told(&self, done: impl Fn(&Published) -> bool) -> bool {
        let published = self.published();
        done(&published) && self.told.load(Ordering::Acquire) >= published.epoch
    }

    /// Records that everything up to `epoch` is in the store.
    pub(crate) fn drop_drained(&self, epoch: u64) {
        let held = self.hold_publishing();
        let published = self.published();
        let next = Published {
            epoch: published.epoch,
            reached: published.reached.clone(),
            generations: published.generations.iter().filter(|g| g.epoch > epoch).cloned().collect(),
            drained: epoch,
            counts: Arc::clone(&published.counts),
        };
        self.front.replace(published.epoch, Arc::new(next), || self.drained.store(epoch, Ordering::Release));
        // Whoever is woken may ask at once.
        drop(held);
        self.host.signal();
    }

    /// Ends the task for queries: `Closed`, or `Poisoned` with the reason. The first reason stays.
    pub(crate) fn end(&self, status: &Status) {
        let mut now = self.status.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*now, Status::Running) {
            *now = status.again();
        }
        drop(now);
        self.obstacles.fetch_or(ENDED, Ordering::AcqRel);
        if let Some(before) = self.predecessor() {
            before.shared.end(status);
        }
        self.host.signal();
    }

    /// Whether the task runs, and if not, why.
    pub(crate) fn status(&self) -> Status {
        self.status.read().unwrap_or_else(PoisonError::into_inner).again()
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

    /// Says that what this task has published and not drained was taken back: it is behind for good.
    pub(crate) fn take_back(&self) {
        self.taken_back.store(true, Ordering::Release);
        self.obstacles.fetch_or(BEHIND, Ordering::AcqRel);
    }

    pub(crate) fn was_taken_back(&self) -> bool {
        self.taken_back.load(Ordering::Acquire)
    }

    /// Says where the changelog ends at the time of opening: until the task has read so far it is behind, and answers
    /// nobody unless `stale` answers will do.
    pub(crate) fn catch_up_to(&self, goal: Position, stale: bool) {
        if !self.published().reached.position.includes(&goal) && self.goal.set(goal).is_ok() {
            let obstacles = if stale { BEHIND } else { BEHIND | STRICT };
            self.obstacles.fetch_or(obstacles, Ordering::AcqRel);
        }
    }

    /// Where the task has to come to, and whoever it took over from.
    pub(crate) fn goal(&self) -> Position {
        let mut goal = self.published().reached.position.clone();
        if let Some(further) = self.goal.get().filter(|_| self.is_behind()) {
            goal.advance_to(further);
        }
        goal
    }

    /// Has the task be up to date as soon as it stands where it is to stand, but for partitions that nobody leads it through.
    pub(crate) fn arrive_without(&self, unled: &BTreeSet<TopicPartition>) {
        let Some(goal) = self.goal.get().filter(|_| !unled.is_empty() && self.is_behind()) else { return };
        let position = &self.published().reached.position;
        if goal.iter().all(|(id, offset)| position.offset(id) >= offset || unled.contains(id)) {
            self.obstacles.fetch_and(!(BEHIND | STRICT), Ordering::AcqRel);
            self.succeed();
            self.host.signal();
        }
    }

    /// Whether the task has not reached the end that its changelog had when it was opened.
    pub(crate) fn is_behind(&self) -> bool {
        self.obstacles.load(Ordering::Acquire) & BEHIND != 0
    }

    /// Whether whoever asks is answered, as far as what is published decides it.
    pub(crate) fn answers(&self) -> bool {
        self.obstacles.load(Ordering::Acquire) & STRICT == 0
    }

    /// How many records of those that were there when the task was opened it has not folded yet.
    pub(crate) fn records_left(&self) -> u64 {
        let Some(goal) = self.goal.get().filter(|_| self.is_behind()) else { return 0 };
        // The goal was made of what the position names.
        self.published().reached.position.records_to(goal)
    }

    /// Whether the task runs.
    ///
    /// # Errors
    /// `Closed`, or the reason why it was poisoned.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        if self.obstacles.load(Ordering::Acquire) & ENDED != 0 { self.reason() } else { Ok(()) }
    }

    /// Whether a question about `table`, or about all of them, can be answered.
    ///
    /// # Errors
    /// As for [`check`](Self::check); `Unavailable` while the task catches up; `Invalid` for code of the graph itself,
    /// which would wait for what it has locked.
    #[inline]
    pub(crate) fn ask(&self, table: Option<&str>) -> Result<()> {
        self.host.id.check_outside()?;
        if self.obstacles.load(Ordering::Acquire) & (ENDED | STRICT) == 0 {
            Ok(())
        } else {
            self.refuse(table)
        }
    }

    #[cold]
    fn refuse(&self, table: Option<&str>) -> Result<()> {
        self.check()?;
        if self.answers() {
            return Ok(());
        }
        let what = table.map_or_else(|| "the tables".to_owned(), |name| format!("table `{name}`"));
        Err(Error::unavailable(format!(
            "{what} cannot be asked yet: {} records that were in the changelog when the engine was opened are left to \
             fold; wait with `Engine::ready`, or open with `EngineBuilder::stale_reads` to be answered from what is folded so far",
            self.records_left()
        )))
    }

    #[cold]
    fn reason(&self) -> Result<()> {
        self.status.read().unwrap_or_else(PoisonError::into_inner).check()
    }
}
