//! When the draining thread does what is due now and then.
//!
//! Retention is enforced after every drain, since that moves the hold of this engine on, and once in a while without
//! one, since records grow old all the same. The store is settled when there was nothing to drain for a while. It counts
//! the waits of the thread instead of asking a clock: what is old is up to the clock of the changelog.

use std::time::Duration;

/// Counts the waits of the draining thread.
pub(super) struct Cadence {
    /// About how long a wait takes.
    wait: Duration,
    /// How long it may wait in all, without a drain, until something is due.
    longest: Duration,
    waited: Duration,
}

impl Cadence {
    pub(super) fn new(wait: Duration, longest: Duration) -> Self {
        Self { wait, longest, waited: Duration::ZERO }
    }

    /// Takes in one more wait, and whether there was anything to drain after it. Answers whether something is due:
    /// there was a drain, or none for long.
    pub(super) fn is_due(&mut self, drained: bool) -> bool {
        self.waited = self.waited.saturating_add(self.wait);
        let due = drained || self.waited >= self.longest;
        if due {
            self.waited = Duration::ZERO;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn retention_is_due_after_every_drain_and_once_in_a_while_without_one() {
        let mut cadence = Cadence::new(seconds(1), seconds(60));
        assert!(cadence.is_due(true) && cadence.is_due(true));
        let idle = |cadence: &mut Cadence| (1..1000).find(|_| cadence.is_due(false)).unwrap();
        assert_eq!([idle(&mut cadence), idle(&mut cadence)], [60, 60]);
        assert!(!cadence.is_due(false));
        // A drain begins the count anew.
        assert!(cadence.is_due(true));
        assert_eq!(idle(&mut cadence), 60);
    }

    #[test]
    fn waits_that_are_longer_are_each_followed_by_retention() {
        for wait in [seconds(60), seconds(61), Duration::MAX] {
            let mut cadence = Cadence::new(wait, seconds(60));
            assert!(cadence.is_due(false) && cadence.is_due(false));
        }
    }
}
