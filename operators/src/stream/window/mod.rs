//! Windows: the records of each group, by stretches of time.
//!
//! | file | what it is |
//! |---|---|
//! | `windowed` | the key of a row: a window and the key of its group |
//! | `tumbling` | windows of one size that follow each other |
//! | `hopping` | windows of one size, of which a moment is in several |
//! | `sliding` | windows that end or begin with a record |
//! | `calendar` | windows as clocks on the wall show them |
//! | `session` | windows that are as long as records follow each other |
//! | `overlap` | what windows have in common of which a moment is in several |
//! | `grouped`, `folding` | grouped records by their windows, and how they are folded |
//! | `assign` | to which window a record counts, and which records count to none |
//! | `close` | the final rows of windows that are closed |
//! | `keep` | for how long windows are kept |
//! | `query` | asking tables of windows |
//!
//! Whether a record counts is decided by its stamp alone: it does as long as its own partition has not come to the end of the window
//! and the grace behind it. When a window is closed is decided by the watermark. So what is in it depends on nothing but the log.

mod assign;
#[cfg(feature = "calendar")]
mod calendar;
mod close;
mod folding;
mod grouped;
mod hopping;
mod keep;
mod overlap;
mod query;
mod session;
mod sliding;
mod tumbling;
mod windowed;

#[cfg(feature = "calendar")]
pub use calendar::{Calendar, CalendarPeriod, Weekday};
pub use grouped::{GroupsBy, WindowedStream, WindowedTable};
pub use hopping::{Hopping, HoppingEvery, HoppingSize, HoppingStream, HoppingTable, Slice};
pub use overlap::{Overlapping, OverlappingStream, OverlappingTable};
pub use query::{WindowRows, WindowView, WindowsAt, WindowsOfKey};
pub use session::{Session, SessionEnd, SessionGap, SessionKey, SessionStream, SessionTable};
pub use sliding::{Moments, Sliding, SlidingDifference, SlidingStream, SlidingTable};
pub use tumbling::{Tumbling, TumblingSize};
pub use windowed::{WindowStart, Windowed};

use std::time::Duration;

/// A kind of windows: to which of them a moment belongs, and when each is closed. There are no others: the trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say all that it takes to divide records in time",
    note = "say for how long late records are waited for: `Tumbling::of(..).grace(..)`, and so for each kind of windows"
)]
pub trait Windows: Clone + Send + Sync + sealed::Sealed + 'static {
    /// The window that has `timestamp_ms`: where it begins, and the first moment after it.
    #[doc(hidden)]
    fn window_of(&self, timestamp_ms: i64) -> (i64, i64);

    /// So long after its end a window takes records that are late.
    #[doc(hidden)]
    fn grace_ms(&self) -> i64;

    /// When a window is closed that ends at `end_ms`.
    #[doc(hidden)]
    fn close_of(&self, end_ms: i64) -> i64 {
        end_ms.saturating_add(self.grace_ms())
    }

    /// Whether a window that ends at `end_ms` is closed for who has come as far as `at_ms`: a record counts to it as long as its own
    /// partition has not, and it is final once the watermark has. The last window there is never ends. Told from the moment back, as
    /// a close may lie beyond all time.
    #[doc(hidden)]
    fn has_closed(&self, end_ms: i64, at_ms: i64) -> bool {
        end_ms < i64::MAX && end_ms <= at_ms.saturating_sub(self.grace_ms())
    }

    /// Where the first window begins that is not closed at the watermark `watermark_ms`: the one that has the moment a grace before
    /// it, since those before that have ended by then.
    #[doc(hidden)]
    fn first_open(&self, watermark_ms: i64) -> i64 {
        self.window_of(watermark_ms.saturating_sub(self.grace_ms())).0
    }

    /// What tells these windows from others: a table remembers it.
    #[doc(hidden)]
    fn id(&self) -> String;

    /// Why there are no such windows.
    #[doc(hidden)]
    fn unfit(&self) -> Option<String>;
}

mod sealed {
    /// Implemented for the windows that there are.
    pub trait Sealed {}
}

/// A duration in milliseconds; the longest there is for one that is longer than all of time.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The greatest multiple of `step` that is not above `ms`.
fn floor(ms: i128, step: i64) -> i128 {
    // No hop at all is refused when the graph is built.
    let step = i128::from(step.max(1));
    ms.div_euclid(step) * step
}

/// As near as there is of 64 bits.
fn clamped(ms: i128) -> i64 {
    i64::try_from(ms).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::Windows;
    use proptest::prelude::*;

    /// Moments near 1970, anywhere, and at both ends of time.
    pub(super) fn moments() -> impl Strategy<Value = i64> {
        prop_oneof![
            -100..100_i64,
            any::<i64>(),
            i64::MIN..i64::MIN + 100,
            i64::MAX - 100..i64::MAX,
            Just(i64::MAX)
        ]
    }

    /// What is true of windows that follow each other: a moment is in its window, of which all others have the same.
    pub(super) fn has_its_window(windows: &impl Windows, moment: i64) -> Result<(), TestCaseError> {
        let (start, end) = windows.window_of(moment);
        prop_assert!(start <= moment && (moment < end || end == i64::MAX));
        prop_assert_eq!(windows.window_of(start), (start, end));
        if end < i64::MAX {
            prop_assert_eq!(windows.window_of(end - 1), (start, end));
            prop_assert_eq!(windows.window_of(end).0, end);
        }
        Ok(())
    }
}
