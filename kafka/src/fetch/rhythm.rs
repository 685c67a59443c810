//! How long a broker may wait for records before it answers.
//!
//! While a request waits at the broker nothing else can be asked over its connection. So a partition that has just got room, or
//! a reader that was just opened, would stand still for as long as the others have nothing new: the broker waits briefly at
//! first, longer each time nothing has come for the same partitions, and only briefly while some are left out.

use super::state::ReaderId;
use std::time::Duration;

/// At first.
const SHORT: Duration = Duration::from_millis(10);
/// At most, while a partition is left out for lack of room.
const LEFT_OUT: Duration = Duration::from_millis(50);

/// The waits of one broker.
#[derive(Debug)]
pub(super) struct Rhythm {
    asked: Vec<ReaderId>,
    wait: Duration,
}

impl Rhythm {
    pub(super) fn new() -> Self {
        Self { asked: Vec::new(), wait: SHORT }
    }

    /// How long the broker may wait for records of these partitions.
    pub(super) fn wait(
        &mut self,
        asked: impl Iterator<Item = ReaderId>,
        left_out: bool,
        most: Duration,
    ) -> Duration {
        let mut asked: Vec<_> = asked.collect();
        asked.sort_unstable();
        if asked != self.asked {
            *self = Self { asked, wait: SHORT };
        }
        self.wait.min(most).min(if left_out { LEFT_OUT } else { most })
    }

    /// Nothing has come.
    pub(super) fn nothing(&mut self) {
        self.wait = self.wait.saturating_mul(2).min(Duration::from_secs(60));
    }
}
