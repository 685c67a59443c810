//! Tumbling windows: all of one size, one after the other, from 1970 on and before it.
//!
//! Each moment is in exactly one. Timestamps before 1970 are as good as others. At both ends of time, where a window would begin or
//! end beyond what there is of 64 bits, it is cut.

use super::{Windows, millis, sealed};
use std::time::Duration;

/// Windows of one size that follow each other, each closed a grace after its end.
///
/// # Examples
/// ```
/// use millpond::testing::Driver;
/// use millpond::stream::Tumbling;
/// use millpond::{GraphBuilder, Topic, Windowed};
/// use std::time::Duration;
///
/// let clicks = Topic::<String, u64>::new("clicks");
/// let graph = GraphBuilder::new();
/// let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10));
/// let counts = graph.stream(&clicks).group_by_key().windowed(minutes).count("counts");
/// let finals = counts.on_close().to_table("finals");
/// let mut driver = Driver::new(&graph.build()?)?;
/// // The one at 59 s is late, but within the grace; the one at 58 s is not.
/// for at in [1_000, 30_000, 61_000, 59_000, 70_000, 58_000] {
///     driver.put(&clicks, "home".to_owned(), 1, at)?;
/// }
/// driver.run()?;
/// let first = Windowed::new(0, 60_000, "home".to_owned());
/// assert_eq!(driver.table(&finals)?, [(first.clone(), 3)].into());
/// assert_eq!(driver.table(counts.table())?[&first], 3);
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "TimeWindows")]
pub struct Tumbling {
    size_ms: i64,
    grace_ms: i64,
}

/// [Tumbling] windows of which it is not said yet how long they wait for what is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "say how long it waits for late records: `.grace(..)`"]
pub struct TumblingSize {
    size_ms: i64,
}

impl Tumbling {
    /// Windows of this size, in whole milliseconds. The graph is refused when it is built if that is none.
    pub fn of(size: Duration) -> TumblingSize {
        TumblingSize { size_ms: millis(size) }
    }
}

impl TumblingSize {
    /// A window takes records until their partition has come so far beyond its end, and is final then. There is no default:
    /// without a grace everything that is out of order at all is lost, and with a long one results come late.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Tumbling {
        Tumbling { size_ms: self.size_ms, grace_ms: millis(grace) }
    }
}

impl sealed::Sealed for Tumbling {}

impl Windows for Tumbling {
    fn window_of(&self, timestamp_ms: i64) -> (i64, i64) {
        let size = i128::from(self.size_ms.max(1));
        let start = i128::from(timestamp_ms).div_euclid(size) * size;
        let within = |ms: i128| i64::try_from(ms).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX });
        (within(start), within(start + size))
    }

    fn grace_ms(&self) -> i64 {
        self.grace_ms
    }

    fn unfit(&self) -> Option<String> {
        (self.size_ms < 1).then(|| "tumbling windows must be at least a millisecond long".to_owned())
    }

    fn id(&self) -> String {
        format!("tumbling({} ms, grace {} ms)", self.size_ms, self.grace_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::has_its_window;
    use super::*;
    use proptest::prelude::*;

    fn windows() -> impl Strategy<Value = Tumbling> {
        let size = prop_oneof![
            1..50_i64,
            Just(i64::MAX),
            any::<i64>().prop_map(|size| size.saturating_abs().max(1))
        ];
        (size, prop_oneof![0..50_i64, Just(i64::MAX)])
            .prop_map(|(size_ms, grace_ms)| Tumbling { size_ms, grace_ms })
    }

    fn moments() -> impl Strategy<Value = i64> {
        prop_oneof![-100..100_i64, any::<i64>(), Just(i64::MIN), Just(i64::MAX), i64::MAX - 100..i64::MAX]
    }

    proptest! {
        #[test]
        fn a_moment_is_in_its_window_and_all_of_it_have_the_same(windows in windows(), moment in moments()) {
            has_its_window(&windows, moment)?;
        }

        #[test]
        fn what_begins_before_the_first_open_one_is_closed_and_nothing_else(
            windows in windows(),
            watermark in moments(),
            moment in moments(),
        ) {
            let (start, end) = windows.window_of(moment);
            let is_closed = windows.has_closed(end, watermark);
            prop_assert_eq!(start < windows.first_open(watermark), is_closed, "{:?}", (start, end));
            let close = i128::from(end) + i128::from(windows.grace_ms);
            prop_assert_eq!(is_closed, end < i64::MAX && close <= i128::from(watermark), "{:?}", (start, end));
        }
    }
}
