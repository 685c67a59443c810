//! The driver: a whole engine in memory that moves only when it is told to.
//!
//! It is the engine that runs in production, without its threads, over a changelog and a store in memory. Between two
//! calls nothing happens, so a test decides where epochs are cut, what is durable when the process dies, and what time
//! it is; the same calls give the same tables and the same derived records, always.
//!
//! It does not measure anything: for speed and for real disks use an [`Engine`](millpond_engine::Engine).

mod asking;
mod feeding;

use millpond_engine::changelog::{Changelog, MemoryChangelog};
use millpond_engine::graph::Graph;
use millpond_engine::store::MemoryStore;
use millpond_engine::{Clock, Engine, Error, FailurePolicy, ManualClock, Memory, Position, Result, Stepper};
use std::fmt;
use std::sync::Arc;

/// How the engine under a [`Driver`] is opened. No table depends on any of it.
///
/// # Examples
/// ```
/// use millpond::testing::Settings;
///
/// let cramped = Settings { shards: 8, memory_bytes: 0, ..Settings::default() };
/// # assert_eq!(cramped.name, "millpond");
/// ```
#[derive(Debug, Clone)]
pub struct Settings {
    /// Over how many shards keys are spread, 1 to 1,024; three unless set, so that exchanges have something to do.
    pub shards: usize,
    /// Bytes of rows that are kept in memory; 64 MiB unless set. With 0 whatever is durable is evicted after every
    /// epoch, so that folds and queries read it from the store again.
    pub memory_bytes: usize,
    /// What happens to records that do not decode and to failures of user code.
    pub policy: FailurePolicy,
    /// The name of the service among the consumers of the changelog.
    pub name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 3,
            memory_bytes: 64 << 20,
            policy: FailurePolicy::default(),
            name: "millpond".to_owned(),
        }
    }
}

/// A graph that runs in memory and by hand: for tests of graphs.
///
/// # Examples
/// ```
/// use millpond::{Result, Topic};
/// use millpond::{GraphBuilder, testing::Driver};
///
/// # fn main() -> Result<()> {
/// let orders = Topic::<String, u64>::new("orders");
/// let graph = GraphBuilder::new();
/// let spent = graph.stream(&orders).group_by_key().fold("spent", || 0, |sum, _, price| *sum += price);
///
/// let mut driver = Driver::new(&graph.build()?)?;
/// driver.put(&orders, "ada", 3, 0)?;
/// driver.put(&orders, "ada", 4, 0)?;
/// driver.run()?;
/// driver.crash()?; // nothing was drained, so everything is folded again
/// assert!(driver.table(&spent)?.is_empty());
/// driver.run()?;
/// assert_eq!(driver.table(&spent)?, [("ada".to_owned(), 7)].into());
/// # Ok(())
/// # }
/// ```
#[doc(alias = "TopologyTestDriver")]
pub struct Driver {
    graph: Graph,
    settings: Settings,
    changelog: Arc<MemoryChangelog>,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    /// Absent only after it could not be opened again.
    stepper: Option<Stepper>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = self.stepper.as_ref().map(Stepper::position);
        f.debug_struct("Driver")
            .field("settings", &self.settings)
            .field("position", &position)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Opens `graph` on an empty changelog, without state, with default [`Settings`]; the clock shows 0.
    ///
    /// # Errors
    /// `Invalid` if a topic cannot be created.
    pub fn new(graph: &Graph) -> Result<Self> {
        Self::with_settings(graph, Settings::default())
    }

    /// As [`new`](Self::new), with other settings.
    ///
    /// # Errors
    /// As there, and `Invalid` for settings out of range.
    pub fn with_settings(graph: &Graph, settings: Settings) -> Result<Self> {
        let clock = Arc::new(ManualClock::new(0));
        let mut driver = Self {
            graph: graph.clone(),
            settings,
            changelog: Arc::new(MemoryChangelog::with_clock(Arc::clone(&clock) as Arc<dyn Clock>)),
            store: Arc::new(MemoryStore::new()),
            clock,
            stepper: None,
        };
        driver.open()?;
        Ok(driver)
    }

    /// Opens the engine on what is durable, in place of any that runs.
    fn open(&mut self) -> Result<()> {
        // The old one first: two must not stand on one state.
        self.stepper = None;
        let part = self.settings.memory_bytes;
        let memory = Memory::budget(0)
            .hot_bytes(part)
            .generation_bytes(part)
            .block_cache_bytes(part)
            .input_bytes(part.max(1 << 20));
        let stepper = Engine::builder(&self.graph)
            .changelog(Arc::clone(&self.changelog) as Arc<dyn Changelog>)
            .store(Arc::clone(&self.store) as _)
            .clock(Arc::clone(&self.clock) as _)
            .name(&self.settings.name)
            .shards(self.settings.shards)
            .memory_split(memory)
            .on_failure(self.settings.policy.clone())
            .stepper()?;
        self.stepper = Some(stepper);
        Ok(())
    }

    fn running(&self) -> Result<&Stepper> {
        self.stepper.as_ref().ok_or_else(down)
    }

    fn moving(&mut self) -> Result<&mut Stepper> {
        self.stepper.as_mut().ok_or_else(down)
    }

    /// Cuts, folds and publishes one epoch of about `records` records: an equal share, but at least one, of each
    /// partition that has any. Where the derived topics hold the output of an epoch already, that epoch is cut again.
    /// `false` if there was nothing to read.
    ///
    /// # Errors
    /// What the engine would stop with: [restart](Self::restart) before anything else. And what kept something from being fetched
    /// that a codec [awaits](millpond_engine::codec::Awaited), where the engine would wait: the next call tries again.
    pub fn epoch(&mut self, records: usize) -> Result<bool> {
        self.moving()?.epoch(records)
    }

    /// Folds everything there is, and finishes the tables that are being built.
    ///
    /// # Errors
    /// As for [`epoch`](Self::epoch).
    pub fn run(&mut self) -> Result<Position> {
        while self.epoch(usize::MAX)? {}
        self.position()
    }

    /// Makes everything published so far durable. `false` if there was nothing to do.
    ///
    /// # Errors
    /// Those of the store.
    pub fn drain(&mut self) -> Result<bool> {
        self.moving()?.drain()
    }

    /// The process is killed and started again: what was not drained will be folded again.
    ///
    /// # Errors
    /// As for [`restart`](Self::restart).
    pub fn crash(&mut self) -> Result<()> {
        self.open()
    }

    /// The machine goes down and comes back: as [`crash`](Self::crash), and what epochs appended to derived topics
    /// since the last drain or append is gone too, as no one has synced it.
    ///
    /// # Errors
    /// As for [`restart`](Self::restart).
    pub fn power_cut(&mut self) -> Result<()> {
        self.stepper = None;
        self.changelog = Arc::new(self.changelog.crash());
        self.open()
    }

    /// Drains, closes and opens again.
    ///
    /// # Errors
    /// Every error of recovery; see [`EngineBuilder::start`](millpond_engine::EngineBuilder::start). The driver can
    /// then be restarted once more.
    pub fn restart(&mut self) -> Result<()> {
        if self.stepper.is_some() {
            self.drain()?;
        }
        self.open()
    }

    /// Loses all state: everything is folded again from the changelog. What epochs have appended to derived topics stays, and is not
    /// appended again.
    ///
    /// # Errors
    /// As for [`restart`](Self::restart).
    pub fn forget(&mut self) -> Result<()> {
        self.stepper = None;
        self.store = Arc::new(MemoryStore::new());
        self.open()
    }

    /// As [`restart`](Self::restart), with other settings from here on.
    ///
    /// # Errors
    /// As there.
    pub fn restart_with(&mut self, settings: Settings) -> Result<()> {
        if self.stepper.is_some() {
            self.drain()?;
        }
        self.settings = settings;
        self.open()
    }

    /// As [`restart`](Self::restart), with another graph from here on: the next version of the service. Ask it with
    /// the handles of the new graph. New tables are built by the following epochs; [`run`](Self::run) finishes them.
    ///
    /// # Errors
    /// As there.
    pub fn upgrade(&mut self, graph: &Graph) -> Result<()> {
        if self.stepper.is_some() {
            self.drain()?;
        }
        self.graph = graph.clone();
        self.open()
    }

    /// As [`crash`](Self::crash), started again with another graph.
    ///
    /// # Errors
    /// As for [`restart`](Self::restart).
    pub fn crash_into(&mut self, graph: &Graph) -> Result<()> {
        self.graph = graph.clone();
        self.open()
    }

    /// Takes every partition that has not come as far on to `time_ms`, in milliseconds since the Unix epoch, so that what is due by then
    /// closes: see [`Stepper::advance_time`]. `false` if there was nothing to do.
    ///
    /// # Errors
    /// As for [`epoch`](Self::epoch).
    pub fn advance_time(&mut self, time_ms: i64) -> Result<bool> {
        self.moving()?.advance_time(time_ms)
    }

    /// Moves the clock forward. What is silent is looked at by the next [`epoch`](Self::epoch).
    pub fn advance(&self, by_ms: i64) {
        self.clock.advance(by_ms);
    }

    /// What the clock shows, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
}

fn down() -> Error {
    Error::closed("the engine could not be opened again; mend the cause and restart the driver")
}
