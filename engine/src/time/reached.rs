//! How far a group of tables has come: in the log, and in time.

use super::StreamTimes;
use crate::Position;

/// Which input a state includes, and how far its partitions have come in time with it. Both change together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) position: Position,
    pub(crate) times: StreamTimes,
    /// Whether it was stored by a release that did not note the times.
    pub(crate) is_timeless: bool,
}

impl Reached {
    pub(crate) fn new(position: Position, times: StreamTimes) -> Self {
        Self { position, times, is_timeless: false }
    }
}
