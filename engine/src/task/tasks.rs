//! The map of tasks: what everything beside the folding thread asks a task through.
//!
//! One task runs the whole graph, and another one builds tables beside it. Whoever asks for positions, drains, lag or a
//! snapshot asks the map, so that there may be more of them one day.

use super::drain::{Backlog, Drain};
use crate::query::Snapshot;
use crate::state::{Published, Status, TaskState};
use crate::store::StateStore;
use crate::store::layout::MAIN_GROUP;
use crate::{Position, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// The tasks of an engine by their group.
pub(crate) struct Tasks {
    /// The task whose tables answer.
    main: RwLock<Arc<Drain>>,
    /// Those beside it.
    others: RwLock<BTreeMap<u16, Arc<Drain>>>,
    /// One drain of an engine at a time: the term that one writes is that of the log when it is written.
    turn: Mutex<()>,
}

impl Tasks {
    pub(crate) fn new(main: Arc<Drain>) -> Self {
        Self { main: RwLock::new(main), others: RwLock::default(), turn: Mutex::default() }
    }

    /// The tasks that fold for the tables that answer, of which each reads partitions of its own. One has them all as yet: with
    /// several, a snapshot of all tables needs one of each.
    fn folding(&self) -> impl Iterator<Item = Arc<Drain>> + use<> {
        std::iter::once(self.main())
    }

    /// What answers: what they have published, or what others have that they still have to come as far as.
    fn answering(&self) -> impl Iterator<Item = Arc<TaskState>> + use<> {
        self.folding().map(|task| task.shared.answering())
    }

    pub(super) fn main(&self) -> Arc<Drain> {
        Arc::clone(&self.main.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another one in the place of the task whose tables answer. If that has ended, so has the other one.
    pub(crate) fn replace_main(&self, next: &Arc<Drain>) {
        let mut main = self.main.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *main, Arc::clone(next));
        drop(main);
        let status = before.shared.status();
        if !matches!(status, Status::Running) {
            next.shared.end(&status);
        }
    }

    /// Keeps drains from beginning while the guard lives, and waits for the one that runs.
    pub(crate) fn wait_for_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether they run.
    ///
    /// # Errors
    /// As for [`TaskState::check`](crate::state::TaskState::check).
    pub(crate) fn check(&self) -> Result<()> {
        self.folding().try_for_each(|task| task.shared.check())
    }

    /// Whether they run, and if not, why.
    pub(crate) fn status(&self) -> Status {
        let mut all = self.folding().map(|task| task.shared.status());
        all.find(|status| !matches!(status, Status::Running)).unwrap_or(Status::Running)
    }

    /// Ends them for queries.
    pub(crate) fn end(&self, status: &Status) {
        self.folding().for_each(|task| task.shared.end(status));
    }

    /// Whether one of them has not reached the end that its changelog had when it was opened.
    pub(crate) fn is_behind(&self) -> bool {
        self.folding().any(|task| task.shared.is_behind())
    }

    /// How many records of those that were there when they were opened they have not folded yet.
    pub(crate) fn records_left(&self) -> u64 {
        self.folding().map(|task| task.shared.records_left()).sum()
    }

    /// Has nothing answer in their places any more.
    pub(crate) fn succeed(&self) {
        self.folding().for_each(|task| task.shared.succeed());
    }

    /// Whatever they read below this place in the log is published.
    pub(crate) fn passed(&self) -> u64 {
        self.folding().map(|task| task.shared.passed()).min().unwrap_or(0)
    }

    /// Whether they answer with everything below `position`, which names only what they read, and have told subscribers.
    pub(crate) fn have_told(&self, position: &Position) -> bool {
        self.have_told_of(|published| published.reached.position.includes(position))
    }

    /// Whether `done` is true of what they answer with, and they have told subscribers.
    pub(crate) fn have_told_of(&self, done: impl Fn(&Published) -> bool) -> bool {
        self.answering().all(|state| state.has_told(&done) && state.answers())
    }

    /// All tables at one position.
    ///
    /// # Errors
    /// As for [`TaskState::ask`](crate::state::TaskState::ask).
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        loop {
            let main = self.main().shared.answering();
            main.ask(None)?;
            let snapshot = Snapshot::capture(&main);
            if !main.is_superseded() {
                return snapshot;
            }
        }
    }

    /// Where their rows are.
    ///
    /// # Errors
    /// `Closed` if they are.
    pub(crate) fn store(&self) -> Result<Arc<dyn StateStore>> {
        self.main().shared.store()
    }

    /// The task of `group`, if it runs.
    pub(crate) fn get(&self, group: u16) -> Option<Arc<Drain>> {
        if group == MAIN_GROUP {
            return Some(self.main());
        }
        self.others.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned()
    }

    /// All of them, the one whose tables answer first.
    pub(crate) fn all(&self) -> Vec<Arc<Drain>> {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        self.folding().chain(others.values().cloned()).collect()
    }

    pub(crate) fn add(&self, task: Arc<Drain>) {
        self.others.write().unwrap_or_else(PoisonError::into_inner).insert(task.group, task);
    }

    pub(crate) fn remove(&self, group: u16) {
        self.others.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
    }

    /// What each of those that answer has published last.
    pub(crate) fn published(&self) -> Vec<Arc<Published>> {
        self.answering().map(|state| state.published()).collect()
    }

    /// Which input the tables that answer include.
    pub(crate) fn position(&self) -> Position {
        position_of(&self.published())
    }

    /// Which input the tables include once they answer with what is folded: less than those that answer, if these stand in for
    /// them.
    pub(crate) fn folded(&self) -> Position {
        position_of(&self.folding().map(|task| task.shared.published()).collect::<Vec<_>>())
    }

    /// Makes everything published so far durable. `false` if there was nothing to do.
    ///
    /// # Errors
    /// As for [`Drain::run`].
    pub(crate) fn drain(&self) -> Result<bool> {
        let _turn = self.wait_for_turn();
        let mut any = false;
        for task in self.all() {
            any |= task.run()?;
        }
        Ok(any)
    }

    /// Whether all that they have published is durable.
    pub(crate) fn are_drained(&self) -> bool {
        self.all().iter().all(|task| task.is_drained(task.shared.epoch()))
    }

    /// What waits for a drain of any of them.
    pub(crate) fn backlog(&self) -> Backlog {
        self.all().iter().map(|task| task.backlog()).sum()
    }

    /// Lets go of the store.
    pub(crate) fn release_stores(&self) {
        self.all().iter().for_each(|task| task.shared.release_store());
    }
}

/// Which input all of this includes: no two tasks read the same partition.
pub(crate) fn position_of(published: &[Arc<Published>]) -> Position {
    let [first, others @ ..] = published else { return Position::new() };
    let mut position = first.reached.position.clone();
    for other in others {
        position.advance_to(&other.reached.position);
    }
    position
}
