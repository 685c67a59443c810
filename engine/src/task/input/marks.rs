//! The marks at which a task has to cut its epochs, as far as the log holds them.

use crate::changelog::{Changelog, EpochMark};
use crate::{Position, Result};
use std::collections::VecDeque;
use std::sync::Arc;

/// Where the marks of a task come from.
pub(super) struct Marks {
    ahead: VecDeque<EpochMark>,
    source: Option<Source>,
}

/// A log whose marks go on, and the name that they are of.
struct Source {
    changelog: Arc<dyn Changelog>,
    name: Arc<str>,
}

impl Marks {
    /// None.
    pub(super) fn none() -> Self {
        Self { ahead: VecDeque::new(), source: None }
    }

    /// Those that the log has now: whoever cuts the epochs behind them is the one who marks them.
    pub(super) fn there(ahead: Vec<EpochMark>) -> Self {
        Self { ahead: ahead.into(), source: None }
    }

    /// Those that the log has and will have.
    pub(super) fn followed(changelog: Arc<dyn Changelog>, name: Arc<str>) -> Self {
        Self { ahead: VecDeque::new(), source: Some(Source { changelog, name }) }
    }

    /// Whether there may be more of them, as others leave marks, too.
    pub(super) fn are_followed(&self) -> bool {
        self.source.is_some()
    }

    /// Sees to it that there are marks ahead of `position`, if the log has any.
    ///
    /// # Errors
    /// As for [`epochs_after`](crate::changelog::EpochLog::epochs_after).
    pub(super) fn look_ahead(&mut self, position: &Position) -> Result<()> {
        if let Some(Source { changelog, name }) = self.source.as_ref().filter(|_| self.ahead.is_empty()) {
            self.ahead = changelog.epochs_after(name, position)?.into();
        }
        Ok(())
    }

    /// Forgets those that were looked for: they are asked for again.
    pub(super) fn forget(&mut self) {
        self.ahead.clear();
    }

    pub(super) fn first(&self) -> Option<&EpochMark> {
        self.ahead.front()
    }

    pub(super) fn pass_first(&mut self) -> Option<EpochMark> {
        self.ahead.pop_front()
    }
}
