//! The options of an engine.

use super::directories::Directories;
use super::memory::LEAST_MEMORY_BYTES;
use super::threads::{DrainLimits, Threads};
use super::{Engine, Memory, Stepper};
use crate::changelog::{
    Changelog, ChangelogOptions, IntoChangelog, MemoryChangelog, OpenedChangelog, SUFFIXES,
};
use crate::flow::Router;
use crate::folding::print_panics_once;
use crate::graph::Graph;
use crate::state::Host;
use crate::store::{MemoryStore, StateStore};
use crate::task::{
    Core, Counters, Decided, EpochLimit, FailurePolicy, Reads, Setting, check_abilities, check_policy, pool,
};
use crate::time::{Moved, Tick};
use crate::{Clock, Error, Result, SystemClock};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// More shards than any machine has cores.
const MOST_SHARDS: usize = 1024;

/// What every epoch may become, however small the memory budget is.
const LEAST_GROWTH_BYTES: usize = 1 << 20;

/// How often retention is enforced while nothing is drained.
const IDLE_RETENTION: Duration = Duration::from_secs(60);

/// Options for an engine. [`start`](EngineBuilder::start) runs it in the background, [`stepper`](EngineBuilder::stepper)
/// hands it over to be moved by hand.
/// # Examples
/// ```
/// use millpond::{Engine, FailurePolicy, GraphBuilder, Topic};
/// use std::time::Duration;
///
/// let orders = Topic::<u64, String>::new("orders").partitions(4);
/// let graph = GraphBuilder::new();
/// let table = graph.table(&orders, "orders");
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path();
/// let engine = Engine::builder(&graph.build()?)
///     .dir(path)
///     .shards(2)
///     .memory(64 << 20)
///     .drain_interval(Duration::from_millis(200))
///     .on_failure(FailurePolicy::DeadLetter("orders-dead".into()))
///     .start()?;
/// assert_eq!(engine.view(&table)?.count()?, 0);
/// engine.close_blocking()?;
/// # Ok::<(), millpond::Error>(())
/// ```
#[must_use]
#[doc(alias = "StreamsConfig")]
pub struct EngineBuilder {
    pub(super) graph: Graph,
    name: Option<String>,
    pub(super) directories: Directories,
    pub(super) store: Option<Arc<dyn StateStore>>,
    /// Whether the state is kept in memory only, and the changelog too if there is no other.
    in_memory: bool,
    changelog: Option<GivenChangelog>,
    pub(super) clock: Arc<dyn Clock>,
    shards: usize,
    pub(super) memory: Memory,
    /// The budget that `memory` is a split of, if it was given as one.
    memory_bytes: Option<usize>,
    epoch_records: usize,
    drain_interval: Duration,
    max_lag: u64,
    policy: FailurePolicy,
    from_oldest_kept: bool,
    reads: Reads,
}

/// A changelog as it was given: open, or to be opened.
struct GivenChangelog {
    service: Option<String>,
    open: Box<OpenChangelog>,
}

type OpenChangelog = dyn FnOnce(&ChangelogOptions) -> Result<OpenedChangelog> + Send;

impl fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { graph, name, directories, shards, memory, policy, .. } = self;
        f.debug_struct("EngineBuilder")
            .field("name", name)
            .field("directories", directories)
            .field("shards", shards)
            .field("memory", memory)
            .field("policy", policy)
            .field("graph", graph)
            .finish_non_exhaustive()
    }
}

impl EngineBuilder {
    pub(super) fn new(graph: Graph) -> Self {
        Self {
            graph,
            name: None,
            directories: Directories::default(),
            store: None,
            changelog: None,
            in_memory: false,
            clock: Arc::new(SystemClock),
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            memory: Memory::budget(1 << 30),
            memory_bytes: None,
            epoch_records: 1 << 18,
            drain_interval: Duration::from_secs(1),
            max_lag: 16 << 20,
            policy: FailurePolicy::default(),
            from_oldest_kept: false,
            reads: Reads::Current,
        }
    }

    /// Keeps the state in `store`; for tests.
    pub fn store(mut self, store: Arc<dyn StateStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Keeps the state in memory only, and the changelog too unless one is [given](Self::changelog) or there is a directory
    /// for it.
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::MemoryChangelog;
    /// use millpond::{Engine, GraphBuilder, Topic};
    /// use std::sync::Arc;
    ///
    /// let clicks = Topic::<String, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// let counts = graph.stream(&clicks).group_by_key().count("counts");
    /// let graph = graph.build()?;
    /// let engine = Engine::builder(&graph).in_memory().start()?;
    /// let position = engine.append_blocking(&clicks, "home", &1)?;
    /// engine.wait_for_blocking(&position)?;
    /// assert_eq!(engine.view(&counts)?.get("home")?, Some(1));
    ///
    /// // A changelog of one's own outlives the engine, and can be shared.
    /// let changelog = Arc::new(MemoryChangelog::new());
    /// let engine = Engine::builder(&graph).in_memory().changelog(changelog).start()?;
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self.store(Arc::new(MemoryStore::new()))
    }

    /// Reads this changelog, which other engines may share, such as `Arc::new(MemoryChangelog::new())`: one that was given
    /// open is not closed with the engine.
    pub fn changelog(mut self, changelog: impl IntoChangelog + 'static) -> Self {
        let service = changelog.service();
        self.changelog = Some(GivenChangelog {
            service,
            open: Box::new(move |options| changelog.into_changelog(options)),
        });
        self
    }

    /// The name of this service among those that use the changelog: `millpond` unless set. Engines that share a changelog
    /// need a name each: under it the changelog remembers what the engine has read and appended. Names that end in
    /// `.build` or `.letters` are reserved; what is kept under names is listed by
    /// [`NameLog::names`](crate::changelog::NameLog::names).
    #[doc(alias = "application.id")]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Stamps records with this clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Over how many shards the keys are spread: as many as there are cores, unless set. Not part of the stored
    /// state; it may change with every start.
    #[doc(alias = "num.stream.threads")]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// The memory budget of the engine in bytes, at least 64 KiB, the changelog that it opens itself included; 1 GiB unless set. How it is
    /// split: [`Memory`].
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = Memory::budget(bytes);
        self.memory_bytes = Some(bytes);
        self
    }

    /// The memory budget, part by part.
    pub fn memory_split(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self.memory_bytes = None;
        self
    }

    /// At most this many records in one epoch; 262,144 unless set.
    pub fn epoch_records(mut self, records: usize) -> Self {
        self.epoch_records = records;
        self
    }

    /// Published epochs become durable after about this long, or earlier if there is much; a second unless set.
    #[doc(alias = "commit.interval.ms")]
    pub fn drain_interval(mut self, interval: Duration) -> Self {
        self.drain_interval = interval;
        self
    }

    /// Appends through this engine wait while more than this many records, at least 1, are not folded yet; 16 Mi unless set.
    pub fn max_lag(mut self, records: u64) -> Self {
        self.max_lag = records;
        self
    }

    /// What happens to a record that does not decode or at which user code fails.
    #[doc(alias = "DeserializationExceptionHandler")]
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Lets a state without a position begin at the oldest record that retention has kept, instead of refusing; and so a
    /// topic that is read for the first time, or again after a graph that did not, where no row depends on what is gone.
    pub fn from_oldest_kept(mut self, yes: bool) -> Self {
        self.from_oldest_kept = yes;
        self
    }

    /// Lets views answer before the engine has folded what was in the changelog when it was opened: from what is folded so
    /// far, so that a key may seem absent that is not. Unless set, they answer `Unavailable` until then, with how much is
    /// left. [`Engine::ready`] waits for it in both cases.
    ///
    /// # Examples
    /// ```
    /// use millpond::{Engine, GraphBuilder, Topic};
    /// # use millpond::changelog::MemoryChangelog;
    /// # use std::sync::Arc;
    /// # let changelog = Arc::new(MemoryChangelog::new());
    ///
    /// let clicks = Topic::<String, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// let counts = graph.stream(&clicks).group_by_key().count("counts");
    /// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).stale_reads(true).start()?;
    /// let view = engine.view(&counts)?;
    /// let so_far = view.get("home")?; // of whatever time
    /// engine.ready_blocking()?;
    /// assert!(view.is_live());
    /// # assert_eq!(so_far, None);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn stale_reads(mut self, yes: bool) -> Self {
        self.reads = if yes { Reads::Stale } else { Reads::Current };
        self
    }

    /// Opens the state, goes on where it stands, and runs the graph in the background.
    ///
    /// The first engine of a process wraps its panic hook: code of a graph that panics is run again, to find the record, and
    /// what it prints is printed once.
    ///
    /// # Errors
    /// `Invalid` for options out of range, a durability for a changelog that was given, a changelog without an
    /// [ability](crate::changelog::Abilities) that the graph needs, a table whose types, codec or
    /// version do not fit the state, or a topic with another number of partitions; `Unavailable` if the directory is in
    /// use or cannot be written; `AheadOfChangelog` and `BehindChangelog` if the changelog does not fit the state;
    /// `Corrupt` for damaged files or an unknown format version. Nothing was changed then, and the message says what to
    /// do.
    pub fn start(self) -> Result<Engine> {
        let limits = DrainLimits {
            // So late that drains are large, so early that the next rows have room while one runs.
            begin_bytes: self.memory.generation_bytes / 8 * 5,
            // Whatever is set, an epoch is folded once nothing waits.
            most_bytes: self.memory.generation_bytes.max(1),
            hot_bytes: self.memory.hot_bytes,
            interval: self.drain_interval,
            most_lag: self.max_lag,
            retention: IDLE_RETENTION,
        };
        let reads = self.reads;
        let (core, owns_changelog) = self.open(reads)?;
        Ok(Engine::new(Threads::start(core, limits, owns_changelog)?))
    }

    /// Opens the state as [`start`](Self::start) does, to be moved by hand.
    ///
    /// # Errors
    /// As for `start`.
    pub fn stepper(self) -> Result<Stepper> {
        Stepper::new(self)
    }

    pub(super) fn open(mut self, reads: Reads) -> Result<(Core, bool)> {
        let name = self.service_name();
        self.check_options(&name)?;
        check_policy(&name, &self.graph, &self.policy)?;
        self.directories.check_paths(self.store.is_some(), self.changelog.is_some())?;
        let options = ChangelogOptions::new(&name, self.memory.input_bytes / 2);
        let given = self.changelog.take().map(|given| (given.open)(&options)).transpose()?;
        if let Some(given) = &given {
            // Before a state is made for it.
            check_abilities(&self.graph, &self.policy, &*given.changelog)?;
        }
        let store = match &self.store {
            Some(store) => Arc::clone(store),
            None => self.open_state()?,
        };
        let (changelog, owned) = match given {
            Some(given) => (given.changelog, given.owned),
            // Not for a store that was given: it may outlive the changelog.
            None if self.in_memory && !self.directories.keep_a_changelog() => {
                (Arc::new(MemoryChangelog::with_clock(Arc::clone(&self.clock))) as Arc<dyn Changelog>, true)
            }
            None => (self.open_log()?, true),
        };
        let limit = self.epoch_limit(self.graph.width());
        let place = if self.store.is_some() { "memory".to_owned() } else { self.directories.place() };
        let setting = Setting {
            abilities: changelog.abilities(),
            changelog,
            clock: self.clock,
            ticks: Tick::partition_of(&name),
            name: name.into(),
            place,
            pool: pool(self.shards)?,
            router: Router::new(self.shards),
            policy: self.policy,
            from_oldest_kept: self.from_oldest_kept,
            reads,
            limit,
            hot_bytes: self.memory.hot_bytes,
            growth_bytes: self.memory.input_bytes.max(LEAST_GROWTH_BYTES),
            counters: Counters::default(),
            moved: Moved::default(),
            host: Host::new(self.memory.subscriber_bytes()),
            graph: self.graph,
        };
        let shards = setting.router.shards();
        let span =
            tracing::info_span!("open", name = &*setting.name, tables = setting.graph.tables.len(), shards);
        let _entered = span.enter();
        print_panics_once();
        let core = Decided::new(Arc::new(setting), store)?.check()?.write()?.start()?;
        Ok((core, owned))
    }

    /// As whom the engine reads and appends.
    fn service_name(&self) -> String {
        let service = || self.changelog.as_ref().and_then(|given| given.service.clone());
        self.name.clone().or_else(service).unwrap_or_else(|| "millpond".to_owned())
    }

    /// Refuses options that no state and no changelog could make right.
    fn check_options(&self, name: &str) -> Result<()> {
        if self.shards == 0 || self.shards > MOST_SHARDS {
            return Err(Error::invalid(format!(
                "`shards` is over how many threads the keys are spread: {} is not among 1 to {MOST_SHARDS}",
                self.shards
            )));
        }
        if self.epoch_records == 0 {
            return Err(Error::invalid(
                "`epoch_records` is how many records an epoch may have: with 0 none would ever be folded; give it at least 1",
            ));
        }
        if self.drain_interval.is_zero() {
            return Err(Error::invalid(
                "`drain_interval` is the time between two drains, which cannot be zero: a second is usual",
            ));
        }
        if name.is_empty() {
            return Err(Error::invalid(
                "an engine needs a name of at least one character, or none at all for the usual one",
            ));
        }
        if let Some(suffix) = SUFFIXES.into_iter().find(|suffix| name.ends_with(suffix)) {
            return Err(Error::invalid(format!(
                "an engine cannot be named `{name}`: what ends in `{suffix}` is kept for what engines do beside their work"
            )));
        }
        if let Some(bytes) = self.memory_bytes.filter(|bytes| *bytes < LEAST_MEMORY_BYTES) {
            return Err(Error::invalid(format!(
                "`memory` is a number of bytes, and no engine runs within {bytes}: give it at least {LEAST_MEMORY_BYTES}, or \
                 leave it at 1 GiB"
            )));
        }
        if self.max_lag == 0 {
            return Err(Error::invalid(
                "`max_lag` is how many records may be appended before they are folded: with 0 every append would wait for the \
                 fold; give it at least 1",
            ));
        }
        self.directories.check(self.in_memory, self.changelog.is_some())
    }

    /// How much an epoch may take that is in so many places at once.
    fn epoch_limit(&self, width: usize) -> EpochLimit {
        let share = self.memory.input_bytes / width.max(1);
        // A record takes some hundred bytes beside its own in each place, in a handful of copies.
        EpochLimit { records: self.epoch_records.min((share / 128).max(1)), bytes: (share / 4).max(1) }
    }
}
