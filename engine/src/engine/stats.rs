//! What an engine tells of itself.

use super::retention_alarm;
use crate::changelog::Role;
use crate::query::Serving;
use crate::state::{Published, Status};
use crate::store::StoreStats;
use crate::task::{BUILD_GROUP, Service, position_of};
use crate::time::{NEVER, Watermarks};
use crate::{ErrorKind, Position, TopicPartition};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Whether an engine runs, and if not, why.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Health, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let events = Topic::<u8, u8>::new("events");
/// let graph = GraphBuilder::new();
/// let shares = graph.stream(&events).map_values(|_, people| 100 / people).to_table("shares");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// engine.ready_blocking()?;
/// assert_eq!(engine.health(), Health::Running);
///
/// let position = engine.append(&events, &1, &0).wait_blocking()?; // 100 / 0
/// assert!(engine.wait_for_blocking(&position).is_err());
/// match engine.health() {
///     Health::Stopped { reason, .. } => assert!(reason.contains("events/0 offset 0"), "{reason}"),
///     other => panic!("{other:?}"),
/// }
/// assert!(engine.append(&events, &1, &1).wait_blocking().is_err(), "it would not be folded");
/// assert_eq!(engine.stats().records_in, 0); // statistics are there as before
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
#[non_exhaustive]
#[doc(alias = "StateListener")]
pub enum Health {
    /// It folds what arrives, and has folded all that was in the changelog when it was opened.
    #[default]
    Running,
    /// It folds what was in the changelog when it was opened.
    CatchingUp {
        /// So many records of it are not folded yet.
        records_left: u64,
    },
    /// It has records that cannot be decoded before something was fetched, such as their schema, or the changelog cannot be
    /// reached. It tries for as long as it takes, nothing is lost meanwhile, and its tables answer as before.
    Waiting {
        /// What it waits for, and what went wrong the last time it was asked for.
        reason: String,
    },
    /// It was [paused](crate::Engine::pause): it folds nothing until it is resumed.
    Paused,
    /// It has stopped with an error and folds no more; nothing is appended through it.
    Stopped {
        /// What the caller can do about it.
        kind: ErrorKind,
        /// What happened, where, and what to do.
        reason: String,
    },
    /// It was closed.
    Closed,
}

pub(super) fn health(service: &Service) -> Health {
    let tasks = &service.tasks;
    // Whether a log is reached that is closed is no question.
    let trouble = || service.changelog.trouble().filter(|_| matches!(tasks.status(), Status::Running));
    let awaited = service.awaiting.of_main().or_else(trouble);
    match tasks.status() {
        Status::Running if service.paused.load(Ordering::Acquire) => Health::Paused,
        Status::Running if awaited.is_some() => Health::Waiting { reason: awaited.unwrap_or_default() },
        Status::Running if tasks.is_behind() => Health::CatchingUp { records_left: tasks.records_left() },
        Status::Running => Health::Running,
        Status::Closed => Health::Closed,
        Status::Poisoned(reason) => Health::Stopped { kind: reason.kind(), reason: reason.to_string() },
    }
}

/// Counts and sizes of an engine at one moment. Of an engine that has stopped they are those of its end; what a store or
/// a changelog that is closed does not tell any more is left out.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Health, Topic, TopicPartition};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let clicks = Topic::<String, u64>::new("clicks");
/// let graph = GraphBuilder::new();
/// graph.stream(&clicks).group_by_key().count("counts");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// engine.append_blocking(&clicks, "home", &1)?;
/// engine.append_blocking(&clicks, "cart", &1)?;
/// engine.catch_up_blocking()?;
///
/// let stats = engine.stats();
/// assert_eq!(stats.health, Health::Running);
/// assert_eq!((stats.records_in, stats.tables["counts"].rows), (2, 2));
/// assert_eq!(stats.lag[&TopicPartition::new("clicks", 0)], 0);
/// // For a page of metrics, or a log line.
/// # fn json(stats: &millpond::Stats) -> Result<serde_json::Value, serde_json::Error> {
/// # serde_json::to_value(stats)
/// # }
/// # let page = json(&stats).expect("statistics are serializable");
/// # assert_eq!(page["tables"]["counts"]["rows"], 2);
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Whether the engine runs, and if not, why.
    pub health: Health,
    /// What the engine is among those of its name, where they share what they append: on Kafka, of a graph that has outputs, or
    /// can tell how records of several partitions followed each other. `None` where it shares nothing. An engine that is alone
    /// follows for some seconds, too, until the log has made it the holder.
    pub role: Option<Role>,
    /// Records folded since the engine was opened.
    pub records_in: u64,
    /// Records appended to derived topics and dead letters.
    pub records_out: u64,
    /// Records sent to the dead letters.
    pub dead_letters: u64,
    /// Epochs published.
    pub epochs: u64,
    /// Drains completed.
    pub drains: u64,
    /// Which input the tables include.
    pub position: Position,
    /// Records of each partition that are not folded yet.
    pub lag: BTreeMap<TopicPartition, u64>,
    /// Partitions that the engine reads and does not fold now, as the one of its name that appends runs a graph that does not
    /// read them: it follows that one, and is [ready](crate::Engine::ready) without them. They are folded once an engine of this
    /// graph appends. Empty outside of a deploy that goes from one process to the next.
    pub unled: BTreeSet<TopicPartition>,
    /// How far each partition that the graph reads has come in time: the greatest timestamp that was folded of it, in milliseconds since
    /// the Unix epoch. Windows wait for the one that is behind all others. A partition of which nothing was folded is not in it, and
    /// holds windows that it feeds.
    pub stream_times: BTreeMap<TopicPartition, i64>,
    /// How far the parts of the graph have come in time that wait for it, in the order of [`Graph::describe`](crate::graph::Graph::describe),
    /// and what holds each back.
    pub watermarks: Vec<WatermarkStats>,
    /// Of a changelog that drops records by rules of its own, such as Kafka's: what part of the records that are kept of each
    /// partition is not folded yet, from 0.0, if all are, to 1.0, at which the next one to be folded is the next one to be dropped.
    /// A lasting 0.8 of a partition of which something was dropped is logged as a warning. Empty if the changelog keeps what
    /// engines need.
    pub retention_used: BTreeMap<TopicPartition, f64>,
    /// Records that the tables which are being built have yet to fold until they stand where the others do; `None` if none
    /// is being built.
    pub build_lag: Option<u64>,
    /// What has to be fetched before records can be decoded, each with what went wrong the last time it was asked for. The
    /// records wait; of those that only a table which is being built waits for, [`health`](Self::health) says nothing.
    pub awaited: Vec<String>,
    /// What has been wrong for a while with reaching the changelog: since when and why. `None` if nothing is. As long as it lasts,
    /// [`lag`](Self::lag) is what was heard last.
    pub trouble: Option<String>,
    /// Generations that are not drained yet, and the bytes they hold.
    pub undrained_generations: usize,
    /// Bytes of generations that are not drained yet.
    pub undrained_bytes: usize,
    /// What the records of the whole changelog take where they are stored, in bytes, also those of topics that the engine
    /// does not read; `None` if the changelog does not tell.
    pub changelog_bytes: Option<u64>,
    /// What the changelog takes on disk, in bytes, with what retention has dropped and is not freed yet; `None` if the
    /// changelog does not tell.
    pub changelog_disk_bytes: Option<u64>,
    /// Bytes of changes that wait for subscribers of all tables.
    pub subscriber_bytes: usize,
    /// The tables by name.
    pub tables: BTreeMap<String, TableStats>,
    /// Sizes and counts of the store.
    pub store: StoreStats,
}

/// Counts and sizes of one table; see [`Stats`] for an example.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct TableStats {
    /// Whether the table is still being built.
    pub building: bool,
    /// Rows.
    pub rows: u64,
    /// Entries in memory.
    pub hot_entries: usize,
    /// About how many bytes they take.
    pub hot_bytes: usize,
    /// Values that a fold found in memory.
    pub hits: u64,
    /// Values that it had to fetch from the store.
    pub misses: u64,
}

impl TableStats {
    /// The part of the values that were found in memory, from 0.0 to 1.0; 1.0 if none was asked for.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        let total = self.hits + self.misses;
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
        if total == 0 { 1.0 } else { self.hits as f64 / total as f64 }
    }
}

/// How far a part of the graph has come in time, and what holds it back; see [`Stats::watermarks`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WatermarkStats {
    /// The number of the node, as in [`Graph::describe`](crate::graph::Graph::describe).
    pub node: usize,
    /// What it does, such as `on_close`.
    pub label: String,
    /// Everything that was due up to here is closed, in milliseconds since the Unix epoch; `None` as long as a partition that feeds it
    /// has shown nothing.
    pub watermark_ms: Option<i64>,
    /// The partition by which it is no further: see [`Idle`](crate::Idle) for what may be made of one that is silent.
    pub held_by: Option<TopicPartition>,
    /// When that partition has last come further in time by a record, by the engine's clock; `None` if it has not since the engine was
    /// opened.
    pub held_since_ms: Option<i64>,
}

pub(super) fn collect(service: &Service) -> Stats {
    let counters = &service.counters;
    // Of one moment, so that it goes together.
    let published = service.tasks.published();
    let position = position_of(&published);
    let mut tables = BTreeMap::new();
    for table in &service.served {
        let mut stats = TableStats { building: true, ..TableStats::default() };
        let serving = match &*table.serving.read().unwrap_or_else(PoisonError::into_inner) {
            Serving::Live(table) => Some(Arc::clone(table)),
            Serving::Former(_) | Serving::Absent(_) | Serving::Building => None,
        };
        if let Some(table) = serving {
            (stats.hot_entries, stats.hot_bytes) = table.hot();
            (stats.hits, stats.misses) = table.cache();
            stats.rows =
                published.iter().filter_map(|now| now.counts.get(&table.id())).map(|count| count.rows).sum();
            stats.building = false;
        }
        tables.insert(table.name.to_string(), stats);
    }
    Stats {
        health: health(service),
        role: service.shares_epochs().then(|| service.setting().role()),
        records_in: counters.records_in.load(Ordering::Relaxed),
        records_out: counters.records_out.load(Ordering::Relaxed),
        dead_letters: counters.dead_letters.load(Ordering::Relaxed),
        epochs: counters.epochs.load(Ordering::Relaxed),
        drains: counters.drains.load(Ordering::Relaxed),
        lag: service.lag(&position).filter_map(Result::ok).collect(),
        unled: BTreeSet::clone(&service.unled()),
        stream_times: stream_times(service, &published),
        watermarks: published.iter().flat_map(|now| watermarks(service, now)).collect(),
        retention_used: retention_alarm::used_of_each(service),
        build_lag: build_lag(service, &position),
        position,
        awaited: service.awaiting.told(),
        trouble: service.changelog.trouble(),
        undrained_generations: published.iter().map(|now| now.generations.len()).sum(),
        undrained_bytes: service.tasks.backlog().generation_bytes,
        changelog_bytes: service.changelog.stored_bytes().ok().flatten(),
        changelog_disk_bytes: service.changelog.disk_bytes().ok().flatten(),
        subscriber_bytes: service.host.allowance.used(),
        tables,
        store: service.tasks.store().map(|store| store.stats()).unwrap_or_default(),
    }
}

/// How far the nodes have come in time that look at it.
fn watermarks(service: &Service, now: &Published) -> Vec<WatermarkStats> {
    let looking = service.graph.nodes.iter().enumerate().filter(|(_, node)| node.time.looks);
    watermarks_of(service, now, looking.map(|(id, _)| id))
}

/// How far these nodes have come in time.
pub(super) fn watermarks_of(
    service: &Service,
    now: &Published,
    nodes: impl Iterator<Item = usize>,
) -> Vec<WatermarkStats> {
    let (graph, times) = (&service.graph, &now.reached.times);
    let watermarks = Watermarks::at(graph, times);
    let named = nodes.filter_map(|id| Some((id, graph.nodes.get(id)?)));
    let told = named.map(|(id, node)| {
        let held_by = watermarks.holder(graph, times, id).cloned();
        let held_since_ms = held_by.as_ref().and_then(|held_by| service.moved.of(held_by));
        let watermark_ms = Some(watermarks.of(id)).filter(|watermark| *watermark > NEVER);
        WatermarkStats { node: id, label: node.label.clone(), watermark_ms, held_by, held_since_ms }
    });
    told.collect()
}

/// How far the partitions that the graph reads have come in time.
fn stream_times(service: &Service, published: &[Arc<Published>]) -> BTreeMap<TopicPartition, i64> {
    let all = published.iter().flat_map(|now| now.reached.times.iter());
    let shown = all.filter(|(id, time_ms)| service.graph.reads(&id.topic) && *time_ms > NEVER);
    shown.map(|(id, time_ms)| (id.clone(), time_ms)).collect()
}

/// How far a build is behind the other tables, which stand at `main`.
fn build_lag(service: &Service, main: &Position) -> Option<u64> {
    let build = service.tasks.get(BUILD_GROUP)?;
    Some(build.shared.published().reached.position.records_to(main))
}
