//! The map of tasks: what everything beside the folding thread asks a task through.
//!
//! One task runs the whole graph, and another one builds tables beside it. Whoever asks for positions, drains, lag or a
//! snapshot asks the map, so that there may be more of them one day.

use super::drain::{Backlog, Drain};
use crate::store::layout::MAIN_GROUP;
use crate::{Position, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The tasks of an engine by their group.
pub(crate) struct Tasks {
    /// The task whose tables answer.
    main: Arc<Drain>,
    /// Those beside it.
    others: RwLock<BTreeMap<u16, Arc<Drain>>>,
    /// One drain of an engine at a time: the term that one writes is that of the log when it is written.
    turn: Mutex<()>,
}

impl Tasks {
    pub(crate) fn new(main: Arc<Drain>) -> Self {
        Self { main, others: RwLock::default(), turn: Mutex::default() }
    }

    /// The task whose tables answer.
    pub(crate) fn main(&self) -> &Arc<Drain> {
        &self.main
    }

    /// The task of `group`, if it runs.
    pub(crate) fn get(&self, group: u16) -> Option<Arc<Drain>> {
        if group == MAIN_GROUP {
            return Some(Arc::clone(&self.main));
        }
        self.others.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned()
    }

    /// All of them, the one whose tables answer first.
    pub(crate) fn all(&self) -> Vec<Arc<Drain>> {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&self.main).chain(others.values()).cloned().collect()
    }

    pub(crate) fn add(&self, task: Arc<Drain>) {
        self.others.write().unwrap_or_else(PoisonError::into_inner).insert(task.group, task);
    }

    pub(crate) fn remove(&self, group: u16) {
        self.others.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
    }

    /// Which input the tables that answer include.
    pub(crate) fn position(&self) -> Position {
        self.main.shared.published().position.clone()
    }

    /// Makes everything published so far durable. `false` if there was nothing to do.
    ///
    /// # Errors
    /// As for [`Drain::run`].
    pub(crate) fn drain(&self) -> Result<bool> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut any = false;
        for task in self.all() {
            any |= task.run()?;
        }
        Ok(any)
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
