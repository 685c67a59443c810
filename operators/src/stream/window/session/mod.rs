//! Session windows: the records of a group that follow each other without a long gap.
//!
//! | file | what it is |
//! |---|---|
//! | `grouped` | grouped records by sessions, and what is folded of them |
//! | `open` | the open sessions of a key: how a record joins them |
//! | `fold` | the node that keeps them, closes them and tells of both |
//! | `key` | the key of a row of the table of all sessions |
//! | `asked` | asking such a table |
//!
//! Late: a record counts as long as its own partition had not come further than the grace beyond it. So whether it counts depends on
//! nothing but its partition, and never on which sessions happen to be open: sessions are the runs of the records that count in which no
//! step is longer than the gap, whatever the order in which these came. Early: one ahead of the others is a session of its own until
//! the records between are there, which make it one with those before. Equal timestamps are in one session, negative ones as others.
//! Streams have no tombstones. Repeated keys count each. Empty input closes sessions all the same, as far as time has come.
//!
//! The open sessions of a key are one row, whose alarm is set for when the first of them closes. A session is closed once the watermark
//! has come to the gap and the grace behind it, and not by records of its key: none that counts could still join it by then, and so
//! finals are told in the order of closes and keys.

mod asked;
mod fold;
mod grouped;
mod key;
mod open;

pub use grouped::{SessionStream, SessionTable};
pub use key::{SessionEnd, SessionKey};

use super::{millis, sealed};
use std::time::Duration;

/// Windows that are as long as records of a key follow each other with no more than a gap between them, each closed a gap and a grace
/// after the last of them.
///
/// A session begins with the timestamp of its first record and ends with that of its last one: [`end_ms`](SessionKey::end_ms) is
/// the millisecond after it. A record may make two sessions one: both go from the table, and the whole comes.
///
/// # Examples
/// ```
/// use millpond::stream::{Session, SessionKey};
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Topic, Windowed};
/// use std::time::Duration;
///
/// let clicks = Topic::<String, u64>::new("clicks");
/// let graph = GraphBuilder::new();
/// let sessions = Session::gap(Duration::from_secs(30)).grace(Duration::from_secs(60));
/// let counts = graph.stream(&clicks).group_by_key().windowed(sessions).count("counts");
/// let finals = counts.on_close().to_table("finals");
/// let mut driver = Driver::new(&graph.build()?)?;
/// // The one at 50 s is late, but within the grace: it makes one session of two.
/// for at in [1_000, 21_000, 80_000, 50_000, 300_000] {
///     driver.put(&clicks, "ada".to_owned(), 1, at)?;
/// }
/// driver.run()?;
/// let first = Windowed::new(1_000, 80_001, "ada".to_owned());
/// assert_eq!(driver.table(&finals)?, [(first.clone(), 4)].into());
/// let last = SessionKey::new(300_000, 300_001, "ada".to_owned());
/// assert_eq!(driver.table(counts.table())?, [(first.into(), 4), (last, 1)].into());
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "SessionWindows")]
pub struct Session {
    gap_ms: i64,
    grace_ms: i64,
}

/// [Session] windows of which it is not said yet how long they wait for what is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "say how long it waits for late records: `.grace(..)`"]
pub struct SessionGap {
    gap_ms: i64,
}

impl sealed::Sealed for Session {}

impl Session {
    /// Sessions in which no step from one record to the next is longer than `gap`, in whole milliseconds. The graph is refused when it
    /// is built if that is none.
    #[doc(alias = "inactivity")]
    pub fn gap(gap: Duration) -> SessionGap {
        SessionGap { gap_ms: millis(gap) }
    }

    /// Whether a record counts: its partition has not come further than the grace beyond it.
    fn counts(self, timestamp_ms: i64, stream_time_ms: i64) -> bool {
        stream_time_ms.saturating_sub(self.grace_ms) <= timestamp_ms
    }

    /// How long after its last record a session is closed.
    fn delay_ms(self) -> i64 {
        self.gap_ms.saturating_add(self.grace_ms)
    }

    /// When a session is closed whose last record is at `last_ms`.
    fn close_of(self, last_ms: i64) -> i64 {
        last_ms.saturating_add(self.delay_ms()).saturating_add(1)
    }

    /// With which end those sessions begin, in the order of ends, that are not closed at the watermark `watermark_ms`.
    fn first_open_end(self, watermark_ms: i64) -> i64 {
        watermark_ms.saturating_sub(self.delay_ms()).saturating_add(1)
    }

    fn id(self) -> String {
        format!("session(gap {} ms, grace {} ms)", self.gap_ms, self.grace_ms)
    }

    fn unfit(self) -> Option<String> {
        (self.gap_ms < 1).then(|| "the gap between sessions must be at least a millisecond".to_owned())
    }
}

/// Where a session ends whose last record is at `last_ms`: one at the last moment there is ends with it, as one does a millisecond before.
fn end_of(last_ms: i64) -> i64 {
    last_ms.saturating_add(1)
}

impl SessionGap {
    /// A record counts until its partition has come so far beyond it. There is no default: without a grace everything that is out of
    /// order at all is lost, and with a long one results come late.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Session {
        Session { gap_ms: self.gap_ms, grace_ms: millis(grace) }
    }
}
