//! The consumer: as whom a task reads the changelog, and what of it the task still needs.

use crate::changelog::Changelog;
use crate::graph::Graph;
use crate::{Position, Result};
use std::sync::Arc;

/// A task in the eyes of the changelog.
#[derive(Clone)]
pub(crate) struct Consumer {
    pub(crate) changelog: Arc<dyn Changelog>,
    pub(crate) name: Arc<str>,
    pub(crate) graph: Graph,
}

impl Consumer {
    /// Says that everything below `position` is durably folded.
    ///
    /// A position goes on naming topics that an earlier graph read, because the marks of its epochs do. This graph will
    /// not read on there, so nothing of them is held back.
    ///
    /// # Errors
    /// As for [`Changelog::hold`].
    pub(crate) fn hold(&self, position: &Position) -> Result<()> {
        let needed = |offset, topic: &str| if self.graph.reads(topic) { offset } else { u64::MAX };
        let held = position.iter().map(|(id, offset)| (id.clone(), needed(offset, &id.topic))).collect();
        self.changelog.hold(&self.name, &held)
    }

    /// Gives the hold up.
    ///
    /// # Errors
    /// As for [`Changelog::hold`].
    pub(crate) fn release(&self) -> Result<()> {
        self.changelog.hold(&self.name, &Position::new())
    }
}
