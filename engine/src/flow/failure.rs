//! Which record a failure of user code is attributed to.

use super::Stamp;
use std::fmt;

/// Names the record that a failure of user code is attributed to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordFailure {
    pub(crate) stamp: Stamp,
}

impl fmt::Display for RecordFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at number {} in the sequence of the log", self.stamp.sequence)
    }
}

impl std::error::Error for RecordFailure {}
