//! Periods: stretches of time of one length, that follow each other since 1970.

use crate::clock::millis;
use std::time::Duration;

/// A length of time, at each multiple of which since the Unix epoch something begins anew.
///
/// # Examples
/// ```
/// use millpond::dataflow::Period;
/// use std::time::Duration;
///
/// let minute = Period::of(Duration::from_secs(60));
/// assert_eq!(minute.begins(119_999), 60_000);
/// assert_eq!(minute.begins(-1), -60_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    every_ms: i64,
}

impl Period {
    /// One that is as long as `every`, in whole milliseconds; at least one.
    #[must_use]
    pub fn of(every: Duration) -> Self {
        Self { every_ms: millis(every).max(1) }
    }

    /// Where the period begins that `ms` lies in, in milliseconds since the Unix epoch: the greatest multiple that is not above it, or the
    /// beginning of all time.
    #[must_use]
    pub fn begins(self, ms: i64) -> i64 {
        ms.saturating_sub(ms.rem_euclid(self.every_ms))
    }

    /// How long it is, in milliseconds.
    #[must_use]
    pub fn every_ms(self) -> i64 {
        self.every_ms
    }
}
