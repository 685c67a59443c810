//! Partitions that a follower reads and its holder does not, as that runs an older graph: no mark names them, so the follower
//! must not fold them. It is ready without them, or processes could not be replaced one after the other by those of a graph that
//! reads one more topic; whoever of that graph is the holder first folds them, and the others follow.
//!
//! That nobody leads them is believed only of a holder that is there: one that has marked records which came after this engine
//! was opened. What the marks of before say may be what this engine itself had left, before it is the holder again.

use super::Core;
use crate::changelog::Role;
use crate::{Position, TopicPartition};
use std::collections::BTreeSet;

impl Core {
    /// Looks which partitions are led, if a mark was passed since, or the engine follows no more.
    pub(super) fn look_who_leads(&mut self) {
        let service = &self.service;
        if !service.shares_epochs() {
            return;
        }
        let passed = self.main.take_passed_mark();
        if service.role() != Role::Follower {
            return service.set_unled(BTreeSet::new());
        }
        if let Some(to) = passed.filter(|to| came_after(to, &self.ends)) {
            let is_unled = |id: &&TopicPartition| to.known(id).is_none() && service.graph.reads(&id.topic);
            let read = self.main.position().iter().map(|(id, _)| id);
            service.set_unled(read.filter(is_unled).cloned().collect());
        }
        self.main.shared().arrive_without(&service.unled());
    }
}

/// Whether `to` goes beyond where the changelog ended.
fn came_after(to: &Position, ends: &Position) -> bool {
    to.iter().any(|(id, offset)| ends.known(id).is_some_and(|end| offset > end))
}
