//! Sliding windows: all records of a key that are no further apart than a difference, for each such set of them.
//!
//! Windows are defined by the records of a key, as KIP-450 has them for Kafka Streams: one ends with the moment x of each record, and one
//! begins right behind it. Both reach over the difference, so that they hold every set of records that fit into one, and each once; of
//! those that begin behind a record only the ones that have something in them are told. Windows that would begin or end beyond what there
//! is of 64 bits do not exist.
//!
//! A record counts to a window, and defines it, as long as its own partition had not come to the close of that window. So a record that is
//! late for the window that ends with it may still count to others, and define the one that begins behind it. One that counts to none defines
//! none.
//!
//! | file | what it is |
//! |---|---|
//! | `moments` | the rows of records |
//! | `overlap` | what they are among windows that overlap |
//! | `close` | the final rows of windows that are closed |
//! | `asked` | asking such a table |

mod asked;
mod close;
mod moments;
mod overlap;

pub use moments::Moments;

use super::overlap::{OverlappingStream, OverlappingTable};
use super::{clamped, millis, sealed};
use std::time::Duration;

/// The records of groups by [sliding](Sliding) windows, ready to be folded.
pub type SlidingStream<K, V> = OverlappingStream<K, V, Sliding>;

/// What was folded by [sliding](Sliding) windows.
pub type SlidingTable<K, V, A> = OverlappingTable<K, V, A, Sliding>;

/// Windows of records that are no further apart than a difference, each closed a grace after its end.
///
/// The aggregate must [merge](crate::aggregate::Merge). What a window costs when it is closed is in proportion to how many different moments
/// of records are in it.
///
/// # Examples
/// ```
/// use millpond::stream::Sliding;
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Topic, Windowed};
/// use std::time::Duration;
///
/// let logins = Topic::<String, u64>::new("logins");
/// let graph = GraphBuilder::new();
/// let minute = Sliding::of(Duration::from_secs(60)).grace(Duration::ZERO);
/// let counts = graph.stream(&logins).group_by_key().windowed(minute).count("counts");
/// let finals = counts.on_close().to_table("finals");
/// let mut driver = Driver::new(&graph.build()?)?;
/// for second in [10, 50, 100, 1_000] {
///     driver.put(&logins, "ada".to_owned(), 1, second * 1_000)?;
/// }
/// driver.run()?;
/// // From the first to the last millisecond, both within.
/// let window = |from: i64, to: i64| Windowed::new(from, to + 1, "ada".to_owned());
/// assert_eq!(
///     driver.table(&finals)?,
///     [
///         (window(-50_000, 10_000), 1),
///         (window(-10_000, 50_000), 2),
///         (window(10_001, 70_001), 1),
///         (window(40_000, 100_000), 2),
///         (window(50_001, 110_001), 1),
///     ]
///     .into()
/// );
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "SlidingWindows")]
pub struct Sliding {
    difference_ms: i64,
    grace_ms: i64,
}

/// [Sliding] windows of which it is not said yet how long they wait for what is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "say how long it waits for late records: `.grace(..)`"]
pub struct SlidingDifference {
    difference_ms: i64,
}

impl Sliding {
    /// Windows of records that are at most so far apart, in whole milliseconds. Without any difference they have those of one millisecond.
    pub fn of(difference: Duration) -> SlidingDifference {
        SlidingDifference { difference_ms: millis(difference) }
    }
}

impl SlidingDifference {
    /// A window takes records until their partition has come so far beyond its end, and is final then. There is no default.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Sliding {
        Sliding { difference_ms: self.difference_ms, grace_ms: millis(grace) }
    }
}

impl Sliding {
    /// How long a window is, its last millisecond included.
    fn size_ms(self) -> i64 {
        self.difference_ms.saturating_add(1)
    }

    /// The first moment after the window that begins at `start_ms`.
    fn end_of(self, start_ms: i64) -> i64 {
        start_ms.saturating_add(self.size_ms())
    }

    /// The last moment of the window that begins at `start_ms`.
    fn last_of(self, start_ms: i64) -> i64 {
        start_ms.saturating_add(self.difference_ms)
    }

    /// When the window is closed that begins at `start_ms`.
    fn close_of(self, start_ms: i64) -> i64 {
        self.end_of(start_ms).saturating_add(self.grace_ms)
    }

    /// Where the first window could begin that is not closed at the watermark `watermark_ms`.
    fn first_open(self, watermark_ms: i64) -> i64 {
        let closed = i128::from(watermark_ms) - i128::from(self.grace_ms) - i128::from(self.size_ms());
        clamped(closed + 1)
    }

    /// So much later than it does a window have to end for a record of `timestamp_ms` to count to it, if its partition had come as far
    /// as `stream_time_ms`; `None` if it is late for all that could have it.
    fn behind(self, timestamp_ms: i64, stream_time_ms: i64) -> Option<u64> {
        let behind = i128::from(stream_time_ms) - i128::from(self.grace_ms) - i128::from(timestamp_ms);
        let behind = behind.max(0);
        (behind <= i128::from(self.difference_ms)).then(|| u64::try_from(behind).unwrap_or_default())
    }

    /// Where the windows begin that a record of `timestamp_ms` defines which is so much `behind`.
    fn defined_by(self, timestamp_ms: i64, behind: u64) -> impl Iterator<Item = i64> {
        let ending = (behind == 0).then(|| i128::from(timestamp_ms) - i128::from(self.difference_ms));
        let beginning = i128::from(timestamp_ms) + 1;
        let is_within = move |start: &i128| start + i128::from(self.size_ms()) <= i128::from(i64::MAX);
        ending.into_iter().chain([beginning]).filter(is_within).filter_map(|start| i64::try_from(start).ok())
    }

    /// Why there are no such windows.
    fn refused(self) -> Option<String> {
        (self.difference_ms == i64::MAX)
            .then(|| "sliding windows must be shorter than all of time".to_owned())
    }
}

impl sealed::Sealed for Sliding {}
