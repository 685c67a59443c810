//! The engine: a graph that runs in the background, and the handles to feed and to ask it.

mod builder;
mod cadence;
#[cfg(test)]
mod idle_graph;
mod memory;
mod run;
mod stats;
mod stepper;

pub use builder::EngineBuilder;
pub use memory::Memory;
pub use stats::{Health, Stats, TableStats};
pub use stepper::Stepper;

use crate::changelog::{Ack, Append, Changelog, Producer};
use crate::codec::{Key, Value};
use crate::graph::Graph;
use crate::query::{Cell, Snapshot, Stored, View};
use crate::state::Shared;
use crate::task::user_code;
use crate::{Clock, Position, Result, Topic, TopicPartition};
use run::Background;
use std::path::Path;
use std::sync::Arc;

/// What queries need; shared by the engine and the stepper.
#[derive(Clone)]
pub(crate) struct Handles {
    pub(crate) graph: Graph,
    pub(crate) shared: Arc<Shared>,
    pub(crate) cells: Arc<[Arc<Cell>]>,
    pub(crate) router: crate::flow::Router,
    pub(crate) changelog: Arc<dyn Changelog>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Handles {
    pub(crate) fn view<T: Stored>(&self, table: &T) -> Result<View<T::Key, T::Value>>
    where
        T::Key: Key,
        T::Value: Value,
    {
        let table = table.stored()?;
        let index = table.index();
        let cell = self.cells.get(index.index).filter(|_| index.graph == self.graph.id).ok_or_else(|| {
            crate::Error::invalid("the table belongs to another graph than the one that this engine runs")
        })?;
        Ok(View::new(Arc::clone(cell), self.router))
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        self.shared.ask(None)?;
        Snapshot::capture(&self.shared)
    }

    pub(crate) fn position(&self) -> Position {
        self.shared.published().position.clone()
    }
}

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
/// engine.append(&payments, &"alice".to_owned(), &12).wait()?;
/// let position = engine.append(&payments, &"alice".to_owned(), &-2).wait()?;
/// engine.wait_for_blocking(&position)?; // read your writes
/// assert_eq!(engine.view(&balances)?.get(&"alice".to_owned())?, Some(10));
///
/// // Several tables at one position, and what the engine has done.
/// let snapshot = engine.snapshot()?;
/// assert!(snapshot.position().includes(&position));
/// assert_eq!(engine.stats()?.records_in, 2);
/// engine.close()?;
/// # Ok::<(), millpond::Error>(())
/// ```
pub struct Engine {
    handles: Handles,
    background: Background,
}

impl Engine {
    /// Runs `graph` in the directory `dir`, on an embedded changelog of its own and with default options.
    ///
    /// # Errors
    /// As for [`EngineBuilder::start`].
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
    /// `Invalid` if the table is computed on the fly and not kept, or belongs to another graph.
    pub fn view<T: Stored>(&self, table: &T) -> Result<View<T::Key, T::Value>>
    where
        T::Key: Key,
        T::Value: Value,
    {
        self.handles.view(table)
    }

    /// All tables at one position: read them through [`Snapshot::of`].
    ///
    /// # Errors
    /// `Closed`, or the reason of the stop; `Unavailable` until what was in the changelog when the engine was opened is
    /// folded, unless the engine was told to give [stale answers](EngineBuilder::stale_reads).
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.handles.snapshot()
    }

    /// The changelog that the engine reads.
    #[must_use]
    pub fn changelog(&self) -> &Arc<dyn Changelog> {
        &self.handles.changelog
    }

    /// A handle with which to append to `topic`.
    ///
    /// # Errors
    /// `Invalid` if the topic exists with another number of partitions.
    pub fn producer<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Result<Producer<K, V>> {
        let clock = Arc::clone(&self.handles.clock);
        Ok(Producer::new(Arc::clone(&self.handles.changelog), topic, clock)?.gated(self.background.gate()))
    }

    /// The same, of an engine that reads what is appended: one that has ended must not even create the topic.
    fn open_producer<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Result<Producer<K, V>> {
        self.background.gate().check()?;
        self.producer(topic)
    }

    /// Appends one record to `topic`, stamped with the time of the clock; see [`Producer::put`] for records in
    /// number. If the engine has stopped nothing is appended, and the acknowledgement is an error with the reason.
    pub fn append<K: Key, V: Value>(&self, topic: &Topic<K, V>, key: &K, value: &V) -> Ack {
        match self.open_producer(topic) {
            Ok(producer) => producer.put(key, value),
            Err(error) => Ack::ready(Err(error)),
        }
    }

    /// Appends a tombstone for `key` to `topic`.
    pub fn delete<K: Key, V: Value>(&self, topic: &Topic<K, V>, key: &K) -> Ack {
        match self.open_producer(topic) {
            Ok(producer) => producer.delete(key),
            Err(error) => Ack::ready(Err(error)),
        }
    }

    /// Appends raw records, acknowledged as those of a [`Producer`] are: once they are durable, and not before this engine
    /// is within its [`max_lag`](EngineBuilder::max_lag).
    pub fn append_records(&self, partition: TopicPartition, records: Vec<crate::changelog::Record>) -> Ack {
        let gate = self.background.gate();
        if let Err(error) = gate.check() {
            return Ack::ready(Err(error));
        }
        gate.hold_up(self.handles.changelog.append(vec![Append { partition, records }]))
    }

    /// Which input the tables include.
    #[must_use]
    pub fn position(&self) -> Position {
        self.handles.position()
    }

    /// Resolves once the tables include everything below `position`, and answer: with the position of an append it gives
    /// read-your-writes, also of what joins and re-groupings make of it.
    ///
    /// A table that is being rebuilt goes on answering from its older version, which takes in nothing since the engine was
    /// opened ([`View::is_former`]): whoever needs more waits with [`ready`](Self::ready) first. What goes into a derived topic
    /// and is read from there by the same graph is not waited for.
    ///
    /// # Errors
    /// `Invalid` if the position names a partition that the engine does not read (or, until it is built, that only a
    /// new table reads), or for code of the graph itself, which would wait for itself; `Closed`, or the reason of the
    /// stop.
    pub async fn wait_for(&self, position: &Position) -> Result<()> {
        self.reads(position)?;
        let shared = &self.handles.shared;
        shared.wait_async(|published| published.position.includes(position) && shared.answers()).await
    }

    /// As [`wait_for`](Self::wait_for), for threads that may block.
    ///
    /// # Errors
    /// As for `wait_for`.
    pub fn wait_for_blocking(&self, position: &Position) -> Result<()> {
        self.reads(position)?;
        let shared = &self.handles.shared;
        shared.wait(|published| published.position.includes(position) && shared.answers())
    }

    /// Refuses to wait for what will never be read.
    fn reads(&self, position: &Position) -> Result<()> {
        let read = self.position();
        let unread = |id: &TopicPartition| read.known(id).is_none() || !self.handles.graph.reads(&id.topic);
        match position.iter().find(|(id, _)| unread(id)) {
            Some((id, _)) => Err(crate::Error::invalid(format!(
                "this engine does not read {id}, so it would wait for ever; name partitions that its graph reads"
            ))),
            None => Ok(()),
        }
    }

    /// Blocks until the tables include everything that is in the changelog at the time of the call.
    ///
    /// # Errors
    /// As for [`wait_for`](Self::wait_for).
    pub fn catch_up(&self) -> Result<Position> {
        let mut target = Position::new();
        for (id, _) in self.position().iter().filter(|(id, _)| self.handles.graph.reads(&id.topic)) {
            target.set(id.clone(), self.handles.changelog.offsets(id)?.end);
        }
        self.wait_for_blocking(&target)?;
        Ok(target)
    }

    /// Blocks until every table answers with its own rows, up to date: none is being built or rebuilt any more, and what
    /// was in the changelog when the engine was opened is folded.
    ///
    /// # Errors
    /// As for [`wait_for`](Self::wait_for).
    pub fn ready(&self) -> Result<()> {
        let Handles { shared, cells, .. } = &self.handles;
        shared.wait(|_| !shared.is_behind() && !cells.iter().any(|cell| cell.is_building()))
    }

    /// Whether the engine runs, and if not, why. It can always be asked.
    #[must_use]
    pub fn health(&self) -> Health {
        stats::health(&self.handles.shared)
    }

    /// Makes everything that is published durable in the state, and returns the position that a restart would go
    /// on from.
    ///
    /// # Errors
    /// `Unavailable` if the disk is full; nothing was lost, and nothing more became durable.
    pub fn drain(&self) -> Result<Position> {
        let position = self.position();
        self.background.drain()?;
        Ok(position)
    }

    /// What the engine is doing, or was doing when it stopped.
    ///
    /// # Errors
    /// None at present: what cannot be told is left out.
    pub fn stats(&self) -> Result<Stats> {
        Ok(self.background.stats(&self.handles))
    }

    /// Stops reading, drains what is published, and closes the state. The changelog stays open if it was given to the
    /// builder. Views answer with `Closed` from now on; snapshots and scans go on, and the directory can be opened again
    /// once they are dropped.
    ///
    /// # Errors
    /// The reason why the engine had stopped before, or an error of the last drain. `Invalid` if it is called by a closure
    /// that the engine runs: then it is closed behind its back, once that has returned.
    pub fn close(mut self) -> Result<()> {
        self.background.check_outside()?;
        let closed = self.background.close();
        // What is left of rows and closures of the user is dropped here.
        closed.and(user_code("the engine was closed", || drop(self)))
    }
}
