//! The stepper: the engine without threads, one step at a time.

use super::{EngineBuilder, Health, Stats, stats};
use crate::Result;
use crate::query::{Snapshot, Stored, View};
use crate::task::{Core, EpochLimit, Reads};
use std::fmt;
use std::sync::Arc;

/// The same engine, moved by hand: nothing happens between calls. For tests and simulations. Its tables answer at every
/// step, also while records that were in the changelog at the beginning are left.
///
/// Dropping it is a crash: what was not drained is folded again from the changelog by the next one.
/// # Examples
/// ```
/// use millpond::changelog::Producer;
/// use millpond::{Engine, GraphBuilder, ManualClock, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let words = Topic::<String, ()>::new("words");
/// let graph = GraphBuilder::new();
/// let counts = graph.stream(&words).group_by_key().count("counts");
/// let mut stepper = Engine::builder(&graph.build()?).in_memory().changelog(changelog.clone()).stepper()?;
///
/// let producer = Producer::new(changelog, &words, Arc::new(ManualClock::new(0)))?;
/// producer.put("mill", &()).wait_blocking()?;
/// let view = stepper.view(&counts)?;
/// assert_eq!(view.count()?, 0, "nothing happens between calls");
/// assert!(stepper.epoch(100)?);
/// assert_eq!(view.get("mill")?, Some(1));
/// assert!(stepper.drain()?);
/// # Ok::<(), millpond::Error>(())
/// ```
pub struct Stepper {
    pub(super) core: Core,
}

impl fmt::Debug for Stepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stepper")
            .field("health", &self.health())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

impl Stepper {
    pub(super) fn new(builder: EngineBuilder) -> Result<Self> {
        let (core, _) = builder.open(Reads::Stepped)?;
        Ok(Self { core })
    }

    /// Cuts and publishes one epoch of at most `records` records; `false` if there was nothing to read. What a codec
    /// [awaits](crate::codec::Awaited) is fetched on this thread.
    ///
    /// # Errors
    /// As the engine would stop with. Whoever steps on gets the same error again: nothing after it is applied. And what kept
    /// something from being fetched that a codec awaits, for which an engine would wait: whoever steps on tries again.
    pub fn epoch(&mut self, records: usize) -> Result<bool> {
        loop {
            let ran = self.core.step_within(EpochLimit { records, bytes: usize::MAX })?;
            let awaiting: Vec<_> = self.core.awaiting().into_iter().flatten().cloned().collect();
            for awaiting in &awaiting {
                awaiting.check_rounds()?;
                awaiting.fetch()?;
            }
            if ran || awaiting.is_empty() {
                return Ok(ran);
            }
        }
    }

    /// Takes every partition that has not come as far on to `time_ms`, in milliseconds since the Unix epoch, as if each had shown a
    /// record of that time: what is due by then closes. It is noted in the changelog, as what is done with [silent](crate::Idle)
    /// partitions is, so that whoever folds it again comes to the same. Records that are dated before are late from here on, also those
    /// that are in the changelog and were not folded yet. `false` if there was nothing to do, as all have come as far, or the graph
    /// does not look at time.
    ///
    /// # Errors
    /// As for [`epoch`](Self::epoch); `Invalid` if the name of the engine does not do for a topic.
    pub fn advance_time(&mut self, time_ms: i64) -> Result<bool> {
        self.core.advance_time(time_ms)
    }

    /// Makes everything published so far durable; `false` if there was nothing to do.
    ///
    /// # Errors
    /// As for [`Engine::drain`](crate::Engine::drain).
    pub fn drain(&mut self) -> Result<bool> {
        self.core.service().tasks.drain()
    }

    /// Whether tables are still being built.
    #[must_use]
    pub fn is_building(&self) -> bool {
        self.core.is_building()
    }

    /// As [`Engine::view`](crate::Engine::view).
    ///
    /// # Errors
    /// As there.
    pub fn view<T: Stored>(&self, table: &T) -> Result<View<T::Key, T::Value>> {
        self.core.service().view(table)
    }

    /// As [`Engine::snapshot`](crate::Engine::snapshot).
    ///
    /// # Errors
    /// As there.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.core.service().snapshot()
    }

    /// Which input the tables include.
    #[must_use]
    pub fn position(&self) -> crate::Position {
        self.core.service().tasks.position()
    }

    /// As [`Engine::stats`](crate::Engine::stats).
    #[must_use]
    pub fn stats(&self) -> Stats {
        stats::collect(self.core.service())
    }

    /// As [`Engine::health`](crate::Engine::health).
    #[must_use]
    pub fn health(&self) -> Health {
        stats::health(self.core.service())
    }

    /// The changelog that is read.
    #[must_use]
    pub fn changelog(&self) -> &Arc<dyn crate::changelog::Changelog> {
        &self.core.service().changelog
    }
}
