//! Which record a failure of user code is attributed to.

use super::Stamp;
use crate::Error;
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

/// That the record which the value with `stamp` was made from has failed, for the failure policy to handle.
pub(crate) fn failed(stamp: Stamp, reason: impl fmt::Display) -> Error {
    Error::user(reason.to_string()).with_source(RecordFailure { stamp })
}
