//! Hopping windows: all of one size, one beginning with every hop, so that a moment is in several of them.
//!
//! Time is cut into *slices*, as long as the greatest common divisor of size and hop, so that a window is made of whole ones. A record is
//! folded into the row of one slice and key, whatever the overlap. Which windows it counts to is decided by its own partition: those
//! over its slice that this had not come to the close of. They end one after the other, so it is the last ones of them, and the row keeps
//! apart what counts from the first of them on, what from the second on, and so forth: mostly there is one part. What is in a window is
//! then what its slices have of parts that count to it.
//!
//! Windows that would begin or end beyond what there is of 64 bits do not exist; what is in no other is late.
//!
//! | file | what it is |
//! |---|---|
//! | `slices` | the row of a slice, and which slice and part a record belongs to |
//! | `overlap` | what they are among windows that overlap |
//! | `each` | a row for each window |
//! | `under_way` | what is carried from one window of a key to the next |
//! | `close` | the final rows of windows that are closed |
//! | `asked` | asking such a table |

mod asked;
mod close;
mod each;
mod overlap;
mod slices;
mod under_way;

pub use slices::Slice;

use super::overlap::{OverlappingStream, OverlappingTable};
use super::{clamped, floor, millis, sealed};
use std::time::Duration;

/// The records of groups by [hopping](Hopping) windows, ready to be folded.
pub type HoppingStream<K, V> = OverlappingStream<K, V, Hopping>;

/// What was folded by [hopping](Hopping) windows.
pub type HoppingTable<K, V, A> = OverlappingTable<K, V, A, Hopping>;

/// A window is made of no more slices than this.
const MOST_SLICES: i64 = 10_000;

/// Windows of one size, one beginning with every hop, each closed a grace after its end.
///
/// A record is folded once, however many windows it is in, and so the aggregate must [merge](crate::aggregate::Merge).
///
/// # Examples
/// ```
/// use millpond::stream::Hopping;
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Topic, Windowed};
/// use std::time::Duration;
///
/// let clicks = Topic::<String, u64>::new("clicks");
/// let graph = GraphBuilder::new();
/// // The last minute, every 20 seconds.
/// let minutes = Hopping::of(Duration::from_secs(60)).every(Duration::from_secs(20)).grace(Duration::from_secs(5));
/// let counts = graph.stream(&clicks).group_by_key().windowed(minutes).count("counts");
/// let finals = counts.on_close().to_table("finals");
/// let mut driver = Driver::new(&graph.build()?)?;
/// for second in [1, 30, 59, 66] {
///     driver.put(&clicks, "home".to_owned(), 1, second * 1_000)?;
/// }
/// driver.run()?;
/// let window = |start: i64| Windowed::new(start * 1_000, (start + 60) * 1_000, "home".to_owned());
/// // 66 s is beyond the end and the grace of those that end at 20, 40 and 60 s.
/// assert_eq!(driver.table(&finals)?, [(window(-40), 1), (window(-20), 2), (window(0), 3)].into());
/// // Those that are open have been counting, too.
/// assert_eq!(counts.windows_of(&driver.view(&counts)?).get("home", 20_000)?, Some(3));
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "TimeWindows")]
#[expect(clippy::struct_field_names, reason = "all of them are times, and say in which unit")]
pub struct Hopping {
    size_ms: i64,
    hop_ms: i64,
    grace_ms: i64,
    /// How long a slice is.
    slice_ms: i64,
}

/// [Hopping] windows of which it is not said yet how often one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "say how often one begins: `.every(..)`"]
pub struct HoppingSize {
    size_ms: i64,
}

/// [Hopping] windows of which it is not said yet how long they wait for what is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "say how long it waits for late records: `.grace(..)`"]
pub struct HoppingEvery {
    size_ms: i64,
    hop_ms: i64,
}

impl Hopping {
    /// Windows of this size, in whole milliseconds.
    pub fn of(size: Duration) -> HoppingSize {
        HoppingSize { size_ms: millis(size) }
    }
}

impl HoppingSize {
    /// One begins with every hop of this length, in whole milliseconds, counted from 1970. The graph is refused when it is built if that
    /// is none or longer than a window, or if the two have so little in common that a window would be made of more than 10,000 slices.
    #[doc(alias = "advanceBy")]
    pub fn every(self, hop: Duration) -> HoppingEvery {
        HoppingEvery { size_ms: self.size_ms, hop_ms: millis(hop) }
    }
}

impl HoppingEvery {
    /// A window takes records until their partition has come so far beyond its end, and is final then. There is no default.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Hopping {
        let Self { size_ms, hop_ms } = self;
        // What is refused is not divided by.
        Hopping { size_ms, hop_ms, grace_ms: millis(grace), slice_ms: common_divisor(size_ms, hop_ms).max(1) }
    }
}

fn common_divisor(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Hopping {
    /// Where the first window begins that there is.
    fn first(self) -> i64 {
        // The next multiple, which is in reach.
        clamped(floor(i128::from(i64::MIN) - 1, self.hop_ms) + i128::from(self.hop_ms))
    }

    /// Where the last window begins that there is.
    fn last(self) -> i64 {
        clamped(floor(i128::from(i64::MAX) - i128::from(self.size_ms), self.hop_ms))
    }

    /// Where the first window begins that ends after `ms`.
    fn first_ending_after(self, ms: i128) -> i128 {
        floor(ms - i128::from(self.size_ms), self.hop_ms) + i128::from(self.hop_ms)
    }

    /// Where the first window begins that is not closed for who has come as far as `at_ms`; the end of time if none is left.
    fn first_open(self, at_ms: i64) -> i64 {
        let open = self.first_ending_after(i128::from(at_ms) - i128::from(self.grace_ms));
        let is_left = open <= i128::from(self.last());
        if is_left { clamped(open).max(self.first()) } else { i64::MAX }
    }

    /// The end of the window that begins at `start_ms`.
    fn end_of(self, start_ms: i64) -> i64 {
        start_ms.saturating_add(self.size_ms)
    }

    /// When the window is closed that begins at `start_ms`.
    fn close_of(self, start_ms: i64) -> i64 {
        self.end_of(start_ms).saturating_add(self.grace_ms)
    }

    /// Where windows begin to have a record of `timestamp_ms` whose partition had come as far as `stream_time_ms`: the first and the
    /// last of them; `None` if it is late for all.
    fn windows_of(self, timestamp_ms: i64, stream_time_ms: i64) -> Option<(i64, i64)> {
        let closed = i128::from(stream_time_ms) - i128::from(self.grace_ms);
        let first =
            self.first_ending_after(closed.max(i128::from(timestamp_ms))).max(i128::from(self.first()));
        let last = floor(i128::from(timestamp_ms), self.hop_ms).min(i128::from(self.last()));
        (first <= last).then(|| (clamped(first), clamped(last)))
    }

    /// Why there are no such windows.
    fn refused(self) -> Option<String> {
        let Self { size_ms, hop_ms, slice_ms, .. } = self;
        if size_ms < 1 || hop_ms < 1 {
            return Some("hopping windows must be at least a millisecond long, and as far apart".to_owned());
        }
        if hop_ms > size_ms {
            return Some(format!(
                "hopping windows of {size_ms} ms, one every {hop_ms} ms, leave moments out that are in none: let the hop be no longer \
                 than a window"
            ));
        }
        (size_ms / slice_ms > MOST_SLICES).then(|| {
            format!(
                "hopping windows of {size_ms} ms, one every {hop_ms} ms, would each be made of {} slices of {slice_ms} ms; let size and \
                 hop have a greater common divisor: there may be {MOST_SLICES}",
                size_ms / slice_ms
            )
        })
    }
}

impl sealed::Sealed for Hopping {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::window::tests::moments;
    use proptest::prelude::*;

    fn hopping() -> impl Strategy<Value = Hopping> {
        let sizes = prop_oneof![(1..60_i64, 1..60_i64), (1..60_i64, 1..60_i64).prop_map(|(a, b)| (a * b, b))];
        (sizes, prop_oneof![0..50_i64, Just(i64::MAX)]).prop_map(|((a, b), grace)| {
            let ms = |ms: i64| Duration::from_millis(ms.cast_unsigned());
            Hopping::of(ms(a.max(b))).every(ms(a.min(b))).grace(ms(grace))
        })
    }

    proptest! {
        #[test]
        fn a_record_counts_to_the_windows_that_have_it_and_that_its_partition_has_not_closed(
            windows in hopping(),
            timestamp in moments(),
            ahead in prop_oneof![0..200_i64, any::<i64>()],
        ) {
            let stream_time = timestamp.max(timestamp.saturating_add(ahead));
            let (size, hop, grace) =
                (i128::from(windows.size_ms), i128::from(windows.hop_ms), i128::from(windows.grace_ms));
            let at = i128::from(timestamp);
            let near = (-70..=70).map(|step| at.div_euclid(hop) * hop + step * hop);
            let counts = near.filter(|start| {
                *start <= at && at < start + size && i128::from(stream_time) < start + size + grace
                    && *start >= i128::from(i64::MIN) && start + size <= i128::from(i64::MAX)
            });
            let counts: Vec<i128> = counts.collect();
            let found = windows.windows_of(timestamp, stream_time);
            let expected = counts.first().zip(counts.last());
            prop_assert_eq!(found.map(|(a, b)| (i128::from(a), i128::from(b))), expected.map(|(a, b)| (*a, *b)));
            if let Some((first, last)) = found {
                let (slice, class) = slices::place(windows, timestamp, first);
                prop_assert!(slice <= timestamp && timestamp - slice < windows.slice_ms);
                prop_assert_eq!(windows.first_of(slice, class), first);
                prop_assert_eq!(floor(i128::from(slice), windows.hop_ms), i128::from(last).max(floor(at, windows.hop_ms)));
            }
        }

        #[test]
        fn the_first_open_window_is_the_first_that_is_not_closed(windows in hopping(), watermark in moments()) {
            let open = windows.first_open(watermark);
            let is_closed = |start: i64| {
                i128::from(start) + i128::from(windows.size_ms) + i128::from(windows.grace_ms) <= i128::from(watermark)
            };
            if open < i64::MAX {
                prop_assert!(!is_closed(open));
                prop_assert_eq!(windows.end_of(open).checked_sub(windows.size_ms), Some(open), "it ends within time");
            }
            if open > windows.first() {
                let before = if open == i64::MAX { windows.last() } else { open - windows.hop_ms };
                prop_assert!(is_closed(before));
            }
        }
    }
}
