//! What becomes of time where a partition is silent.

use std::fmt;
use std::time::Duration;

/// What is made of a partition whose records have all been folded, and that gets no more of them: it would hold back whatever waits for
/// time, such as the end of a window, for the others, too.
///
/// A partition is *idle* once its reader stands at its end and the engine's [clock](crate::EngineBuilder::clock) says that nothing
/// came for so long. One that lags, or an engine that is paused, is never idle. The engine then notes in its own topic,
/// `<engine>.time`, how far it takes the partition on: that is input as any other, so whoever folds the log again comes to the same
/// tables. It notes nothing unless something closes by it, and nothing more than once a second.
///
/// Records that come later and are dated before that are late. So it is for whoever knows the producers to say what is right:
///
/// | | takes a silent partition on | for |
/// |---|---|---|
/// | [`never`](Self::never) | not at all: whatever waits for it waits | topics whose records are dated elsewhere, unless something else is said |
/// | [`follow`](Self::follow) | to where the partitions stand that are not idle | keys that lie on some partitions only |
/// | [`clock`](Self::clock) | to the time of day, less an allowance | topics that are [dated when they are appended](crate::changelog::Timestamps::Appended), unless something else is said: a second after they fell silent, and a second behind |
///
/// # Examples
/// ```
/// use millpond::stream::Tumbling;
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Idle, Topic};
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let clicks = Topic::<u32, u64>::new("clicks").idle(Idle::clock(second, Duration::ZERO));
/// let graph = GraphBuilder::new();
/// let minutes = graph.stream(&clicks).group_by_key().windowed(Tumbling::of(60 * second).grace(Duration::ZERO));
/// let finals = minutes.count("counts").on_close().group_by_key().count("finals");
/// let mut driver = Driver::new(&graph.build()?)?;
/// driver.put(&clicks, 7, 1, 10_000)?;
/// driver.run()?;
/// assert!(driver.table(&finals)?.is_empty());
/// driver.advance(60_000);
/// driver.run()?;
/// assert_eq!(driver.table(&finals)?.len(), 1, "nothing came for a minute");
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "withIdleness")]
#[doc(alias = "max.task.idle.ms")]
pub struct Idle(pub(crate) Policy);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Never,
    Follow { after: Duration },
    Clock { after: Duration, behind: Duration },
}

impl Idle {
    /// A silent partition holds back what waits for time, until it shows a record. No record is ever late because a clock ran.
    #[must_use]
    pub const fn never() -> Self {
        Self(Policy::Never)
    }

    /// One that was silent for `after` is taken on to the partition that is the least far in time of those that are not idle, among all
    /// that the same windows and joins wait for; to the one that is the farthest if all are idle.
    #[must_use]
    pub const fn follow(after: Duration) -> Self {
        Self(Policy::Follow { after })
    }

    /// One that was silent for `after` is taken on to the time of day by the engine's clock, less `behind`, also where all are silent.
    #[must_use]
    pub const fn clock(after: Duration, behind: Duration) -> Self {
        Self(Policy::Clock { after, behind })
    }

    /// How long a partition is silent until it is idle; none if it never is.
    pub(crate) fn after(self) -> Option<Duration> {
        match self.0 {
            Policy::Never => None,
            Policy::Follow { after } | Policy::Clock { after, .. } => Some(after),
        }
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Policy::Never => write!(f, "holds time back where it is silent"),
            Policy::Follow { after } => write!(f, "follows others once it was silent for {after:?}"),
            Policy::Clock { after, behind } => {
                write!(f, "follows the clock {behind:?} behind once it was silent for {after:?}")
            }
        }
    }
}
