//! The engine: a graph that runs in the background, and the handles to feed and to ask it.

mod asking;
mod builder;
mod cadence;
#[cfg(feature = "rocks")]
mod checkpoint;
mod closed;
mod closing;
#[cfg_attr(not(feature = "rocks"), path = "no_directories.rs")]
mod directories;
mod fetching;
#[cfg(test)]
mod idle_graph;
mod memory;
#[cfg(feature = "rocks")]
mod reader;
mod retention_alarm;
mod signal;
mod stats;
mod stepper;
mod threads;
mod waits;

pub use builder::EngineBuilder;
pub use memory::Memory;
#[cfg(feature = "rocks")]
pub use reader::StateReader;
pub use stats::{Health, Stats, TableStats, WatermarkStats};
pub use stepper::Stepper;

use crate::changelog::{Ack, Admin, Append, Changelog, Producer, Record};
use crate::codec::{AsKey, Key, Value};
use crate::graph::Graph;
use crate::query::{Snapshot, Stored, View};
use crate::task::Service;
use crate::{Position, Result, Topic, TopicPartition, Wait};
use std::fmt;
#[cfg(feature = "rocks")]
use std::path::{Path, PathBuf};
use std::sync::Arc;
use threads::Threads;

/// A graph at work: it reads its changelog as records arrive, folds them into tables, and answers queries meanwhile.
///
/// Dropping the engine closes it, as [`close`](Engine::close) does, but without telling of errors.
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let payments = Topic::<String, i64>::new("payments");
/// let graph = GraphBuilder::new();
/// let balances = graph.stream(&payments).group_by_key().reduce("balances", |sum, amount| sum + amount);
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
///
/// engine.append(&payments, "alice", &12).wait_blocking()?;
/// let position = engine.append(&payments, "alice", &-2).wait_blocking()?;
/// engine.wait_for_blocking(&position)?; // read your writes
/// assert_eq!(engine.view(&balances)?.get("alice")?, Some(10));
///
/// // Several tables at one position, and what the engine has done.
/// let snapshot = engine.snapshot()?;
/// assert!(snapshot.position().includes(&position));
/// assert_eq!(engine.stats().records_in, 2);
/// engine.close_blocking()?;
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "KafkaStreams")]
pub struct Engine {
    threads: Threads,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("name", &self.service().name)
            .field("health", &self.health())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(threads: Threads) -> Self {
        Self { threads }
    }

    fn service(&self) -> &Arc<Service> {
        self.threads.service()
    }

    /// Runs `graph` in the directory `dir`, on an embedded changelog of its own and with default options.
    ///
    /// # Errors
    /// As for [`EngineBuilder::start`].
    #[cfg(feature = "rocks")]
    pub fn open(dir: impl AsRef<Path>, graph: &Graph) -> Result<Self> {
        Self::builder(graph).dir(dir).start()
    }

    /// Options for running `graph`.
    pub fn builder(graph: &Graph) -> EngineBuilder {
        EngineBuilder::new(graph.clone())
    }

    /// The handle with which to ask `table`.
    ///
    /// # Errors
    /// `Invalid` if the table belongs to another graph.
    #[doc(alias = "interactive queries")]
    pub fn view<T: Stored>(&self, table: &T) -> Result<View<T::Key, T::Value>> {
        self.service().view(table)
    }

    /// All tables at one position: read them through [`Snapshot::of`].
    ///
    /// # Errors
    /// `Closed`, or the reason of the stop; `Unavailable` until what was in the changelog when the engine was opened is
    /// folded, unless the engine was told to give [stale answers](EngineBuilder::stale_reads).
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.service().snapshot()
    }

    /// What can be looked at and changed of the changelog by hand: topics and their retention, consumers and what they hold.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(self.changelog()))
    }

    /// Keeps under `name` what a copy of the state as it is now, or a later one, will need of the changelog, whatever retention
    /// allows, until the name is [released](Admin::release). Returns from where on. For backups: hold, then make a
    /// [checkpoint](Self::checkpoint).
    ///
    /// # Errors
    /// As for [`Admin::hold`].
    pub fn hold(&self, name: &str) -> Result<Position> {
        let service = self.service();
        let position = service.tasks.position();
        // A position goes on naming topics that only an earlier graph read.
        let needed: Position = position
            .iter()
            .filter(|(id, _)| service.graph.reads(&id.topic))
            .map(|(id, offset)| (id.clone(), offset))
            .collect();
        self.admin().hold(name, &needed)?;
        Ok(needed)
    }

    /// The directory of the state; none if it is kept in memory, or the engine was closed.
    #[cfg(feature = "rocks")]
    #[must_use]
    pub fn state_dir(&self) -> Option<PathBuf> {
        let store = self.service().tasks.store().ok()?;
        store.directory().map(Path::to_owned)
    }

    /// The name of the engine among those that use its changelog.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.service().name
    }

    /// The changelog that the engine reads.
    #[must_use]
    pub fn changelog(&self) -> &Arc<dyn Changelog> {
        &self.service().changelog
    }

    /// A handle with which to append to `topic`.
    ///
    /// # Errors
    /// `Invalid` if the topic exists with another number of partitions.
    pub fn producer<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Result<Producer<K, V>> {
        let clock = Arc::clone(&self.service().clock);
        let changelog = Arc::clone(&self.service().changelog);
        Ok(Producer::new(changelog, topic, clock)?.gated(Arc::clone(self.threads.gate())))
    }

    /// The same, of an engine that reads what is appended: one that has ended must not even create the topic.
    fn open_producer<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Result<Producer<K, V>> {
        self.threads.gate().check()?;
        self.producer(topic)
    }

    /// Appends one record to `topic`, stamped with the time of the clock; see [`Producer::put`] for records in
    /// number. If the engine has stopped nothing is appended, and the acknowledgement is an error with the reason.
    pub fn append<K: Key, V: Value>(
        &self,
        topic: &Topic<K, V>,
        key: &(impl AsKey<K> + ?Sized),
        value: &V,
    ) -> Ack {
        match self.open_producer(topic) {
            Ok(producer) => producer.put(key, value),
            Err(error) => Ack::ready(Err(error)),
        }
    }

    /// As [`append`](Self::append), for threads that may block.
    ///
    /// # Errors
    /// As for [`Ack::wait_blocking`].
    pub fn append_blocking<K: Key, V: Value>(
        &self,
        topic: &Topic<K, V>,
        key: &(impl AsKey<K> + ?Sized),
        value: &V,
    ) -> Result<Position> {
        self.append(topic, key, value).wait_blocking()
    }

    /// Appends a tombstone for `key` to `topic`.
    pub fn delete<K: Key, V: Value>(&self, topic: &Topic<K, V>, key: &(impl AsKey<K> + ?Sized)) -> Ack {
        match self.open_producer(topic) {
            Ok(producer) => producer.delete(key),
            Err(error) => Ack::ready(Err(error)),
        }
    }

    /// As [`delete`](Self::delete), for threads that may block.
    ///
    /// # Errors
    /// As for [`Ack::wait_blocking`].
    pub fn delete_blocking<K: Key, V: Value>(
        &self,
        topic: &Topic<K, V>,
        key: &(impl AsKey<K> + ?Sized),
    ) -> Result<Position> {
        self.delete(topic, key).wait_blocking()
    }

    /// Appends raw records, acknowledged as those of a [`Producer`] are: once they are durable, and not before this engine
    /// is within its [`max_lag`](EngineBuilder::max_lag).
    pub fn append_records(&self, partition: TopicPartition, records: Vec<Record>) -> Ack {
        let gate = self.threads.gate();
        if let Err(error) = gate.check() {
            return Ack::ready(Err(error));
        }
        gate.hold_up(self.service().changelog.append(vec![Append { partition, records }]))
    }

    /// Which input the tables include.
    #[must_use]
    pub fn position(&self) -> Position {
        self.service().tasks.position()
    }

    /// Resolves once the tables include everything below `position`, and answer: with the position of an append it gives
    /// read-your-writes, also of what joins and re-groupings make of it, and of what the graph appends to derived topics
    /// and reads from there again.
    ///
    /// A table that is being rebuilt goes on answering from its older version, which takes in nothing since the engine was
    /// opened ([`View::is_former`]): whoever needs more waits with [`ready`](Self::ready) first.
    ///
    /// # Errors
    /// `Invalid` if the position names a partition that the engine does not read (or, until it is built, that only a
    /// new table reads), or for code of the graph itself, which would wait for itself; `Closed`, or the reason of the
    /// stop.
    pub fn wait_for(&self, position: &Position) -> Wait<()> {
        self.threads.wait_for(position.clone())
    }

    /// As [`wait_for`](Self::wait_for), for threads that may block.
    ///
    /// # Errors
    /// As for `wait_for`.
    pub fn wait_for_blocking(&self, position: &Position) -> Result<()> {
        self.wait_for(position).wait_blocking()
    }

    /// Resolves once the tables include everything that is in the changelog at the time of the call, and what the graph
    /// makes of it through derived topics that it reads again. Answers with the position that was waited for.
    ///
    /// # Errors
    /// As for [`wait_for`](Self::wait_for).
    pub fn catch_up(&self) -> Wait<Position> {
        self.threads.catch_up()
    }

    /// As [`catch_up`](Self::catch_up), for threads that may block.
    ///
    /// # Errors
    /// As for `catch_up`.
    pub fn catch_up_blocking(&self) -> Result<Position> {
        self.catch_up().wait_blocking()
    }

    /// Resolves once every table answers with its own rows, up to date: none is being built or rebuilt any more, and what
    /// was in the changelog when the engine was opened is folded.
    ///
    /// # Errors
    /// As for [`wait_for`](Self::wait_for).
    pub fn ready(&self) -> Wait<()> {
        waits::ready(self.service())
    }

    /// As [`ready`](Self::ready), for threads that may block.
    ///
    /// # Errors
    /// As for `ready`.
    pub fn ready_blocking(&self) -> Result<()> {
        self.ready().wait_blocking()
    }

    /// Whether the engine runs, and if not, why. It can always be asked.
    #[must_use]
    pub fn health(&self) -> Health {
        self.threads.health()
    }

    /// Makes everything that is published at the time of the call durable in the state, and answers with the position
    /// that a restart would go on from, or one beyond it.
    ///
    /// # Errors
    /// The reason why the engine has stopped: `Unavailable` if the disk is full; nothing was lost then, and nothing more
    /// became durable. `Invalid` for code of the graph itself; `Closed`.
    pub fn drain(&self) -> Wait<Position> {
        self.threads.drain()
    }

    /// As [`drain`](Self::drain), for threads that may block.
    ///
    /// # Errors
    /// As for `drain`.
    pub fn drain_blocking(&self) -> Result<Position> {
        self.drain().wait_blocking()
    }

    /// Begins no further epoch until [`resume`](Self::resume): the epoch that runs may still be published. Tables go on
    /// answering, drains go on, and records can be appended until they are more than
    /// [`max_lag`](EngineBuilder::max_lag) ahead. Pausing twice is pausing once.
    ///
    /// # Examples
    /// ```
    /// use millpond::{Engine, GraphBuilder, Health, Topic};
    /// # use millpond::changelog::MemoryChangelog;
    /// # use std::sync::Arc;
    /// # let changelog = Arc::new(MemoryChangelog::new());
    ///
    /// let clicks = Topic::<u32, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// let counts = graph.stream(&clicks).group_by_key().count("counts");
    /// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
    /// engine.ready_blocking()?;
    /// engine.pause();
    /// assert_eq!(engine.health(), Health::Paused);
    /// let position = engine.append_blocking(&clicks, &1, &1)?;
    /// assert_eq!(engine.view(&counts)?.get(&1)?, None);
    /// engine.resume();
    /// engine.wait_for_blocking(&position)?;
    /// assert_eq!(engine.view(&counts)?.get(&1)?, Some(1));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn pause(&self) {
        self.threads.pause(true);
    }

    /// Goes on after a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.threads.pause(false);
    }

    /// What the engine is doing, or was doing when it stopped.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.threads.stats()
    }

    /// Ends subscriptions and queries, stops reading, drains what is published, and closes the state. It begins at the call,
    /// whether the answer is awaited or not. The changelog stays open if it was given to the builder. Views answer with
    /// `Closed` from now on, and streams of changes end; snapshots and scans go on, and the directory can be opened again
    /// once they are dropped. Closing once more does nothing, and answers as the first time.
    ///
    /// A changelog that cannot be reached does not hold it up for long. An engine that shares what it appends waits 5 seconds for
    /// its last commit; a changelog of its own that is Kafka takes 8 at the most to commit, to acknowledge appends that are on their
    /// way and to let go, and questions that are on their way are waited for. That is some 15 seconds in all. What is given up then
    /// is logged; nothing of it was acknowledged or durable, and what was folded of it is folded again when the engine is opened.
    ///
    /// # Errors
    /// The reason why the engine had stopped before, or an error of the last drain: `Unavailable` if the changelog has not committed
    /// what the last epochs appended. `Invalid` if it is called by a closure
    /// that the engine runs: then it is closed behind its back, once that has returned.
    ///
    /// # Examples
    /// ```
    /// use millpond::{Engine, GraphBuilder, Health, Topic};
    /// # use millpond::changelog::MemoryChangelog;
    /// use std::sync::Arc;
    /// # let changelog = Arc::new(MemoryChangelog::new());
    ///
    /// let clicks = Topic::<u32, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// graph.stream(&clicks).group_by_key().count("counts");
    /// // Shared by the handlers of a server; whoever is told to shut down closes it for all.
    /// let engine = Arc::new(Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?);
    /// engine.close_blocking()?;
    /// engine.close_blocking()?;
    /// assert_eq!(engine.health(), Health::Closed);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn close(&self) -> Wait<()> {
        self.threads.close()
    }

    /// As [`close`](Self::close), for threads that may block.
    ///
    /// # Errors
    /// As for `close`.
    pub fn close_blocking(&self) -> Result<()> {
        self.close().wait_blocking()
    }
}
