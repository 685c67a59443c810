//! What answers for a task that begins again, as what it had published was taken back: that very state, until the task has come as
//! far.
//!
//! Invariant: it is read from the store, too, so nothing of the task that begins again is drained before it leaves.

use super::table::AnyTable;
use super::task_state::TaskState;
use std::sync::{Arc, PoisonError};

/// The tables of a task that begins again, and what was published of them. Nothing is added to it any more.
#[derive(Clone)]
pub(crate) struct Before {
    pub(crate) shared: Arc<TaskState>,
    pub(crate) tables: Vec<Option<Arc<dyn AnyTable>>>,
}

impl Before {
    /// Sends whoever still asks or waits to those that have taken their places.
    pub(crate) fn leave(self) {
        // That answers for another one now.
        drop(self.shared.forget_predecessor());
        self.shared.supersede();
        self.tables.iter().flatten().for_each(|table| table.close());
        // Views that have not asked since keep it.
        self.shared.release_store();
    }
}

/// What answers in the place of a state that has to come as far first.
pub(super) struct Predecessor {
    before: Before,
    /// Puts the tables of the state in their places.
    serve: Box<dyn FnOnce() + Send + Sync>,
}

impl TaskState {
    /// Has `before` answer until this state can, or has to, and `serve` put the tables in their places then. Until then nothing of
    /// this state is drained.
    pub(crate) fn answer_after(&self, before: Before, serve: impl FnOnce() + Send + Sync + 'static) {
        let mut predecessor = self.predecessor.write().unwrap_or_else(PoisonError::into_inner);
        *predecessor = Some(Predecessor { before, serve: Box::new(serve) });
    }

    /// Has this state answer, in whatever way it can.
    pub(crate) fn succeed(&self) {
        if self.predecessor().is_none() {
            return;
        }
        // Held until nobody is sent to the one before.
        let mut predecessor = self.predecessor.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(Predecessor { before, serve }) = predecessor.take() {
            serve();
            before.leave();
        }
    }

    /// Has nothing answer for this state any more. It would never be dropped, as the one before knows the tables of this one.
    pub(super) fn forget_predecessor(&self) -> Option<Before> {
        let mut predecessor = self.predecessor.write().unwrap_or_else(PoisonError::into_inner);
        predecessor.take().map(|Predecessor { before, .. }| before)
    }

    /// What answers for this state, if anything does.
    pub(crate) fn predecessor(&self) -> Option<Before> {
        let predecessor = self.predecessor.read().unwrap_or_else(PoisonError::into_inner);
        predecessor.as_ref().map(|Predecessor { before, .. }| before.clone())
    }

    /// What answers: this state, or the one before.
    pub(crate) fn answering(self: &Arc<Self>) -> Arc<Self> {
        self.predecessor().map_or_else(|| Arc::clone(self), |before| before.shared)
    }
}
