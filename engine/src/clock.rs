//! The injected clock: the only place that asks for the time of day.
//!
//! No result depends on it. It stamps records that their producer did not stamp and ages log segments.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A source of the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}

/// A duration in milliseconds; the longest there is for one that is longer than all of time.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The clock of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "the one place that may ask the machine")]
        let now = std::time::SystemTime::now();
        millis(now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default())
    }
}

/// A clock that stands still until it is moved, for tests.
///
/// # Examples
/// ```
/// use millpond::{Clock, Engine, GraphBuilder, ManualClock, Topic};
/// # use millpond::changelog::backend::ReadLog;
/// # use millpond::changelog::MemoryChangelog;
/// use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let readings = Topic::<u8, f64>::new("readings");
/// let graph = GraphBuilder::new();
/// graph.table(&readings, "latest");
/// let clock = Arc::new(ManualClock::new(1_000));
/// let engine =
///     Engine::builder(&graph.build()?).in_memory().changelog(changelog.clone()).clock(clock.clone()).start()?;
/// clock.advance(500);
/// let position = engine.append(&readings, &1, &20.5).wait_blocking()?;
/// # let (id, end) = position.iter().next().expect("a partition");
/// # let batch = changelog.reader(id, end - 1)?.poll(1)?.remove(0);
/// # assert_eq!(batch.decode()?.iter().next().expect("a record").timestamp_ms, 1_500);
/// assert_eq!(clock.now_ms(), 1_500);
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now_ms`.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self(AtomicI64::new(now_ms))
    }

    /// Moves the clock forward by `by_ms`.
    pub fn advance(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
