//! The core of an engine, without threads: open, step, drain, complete a build.
//!
//! The background engine and the step-by-step driver of the test kit both stand on it, so that what is tested is what
//! runs.

use super::build::Build;
use super::catalogue::{Assignment, BUILD_GROUP, Catalogue};
use super::input::first_to_read;
use super::opening::Opening;
use super::{Counters, EpochLimit, FailurePolicy, Setting, Task};
use crate::changelog::{Changelog, TopicConfig, TopicType};
use crate::dataflow::Router;
use crate::drain::Drain;
use crate::graph::Graph;
use crate::query::{Cell, Serving};
use crate::store::StateStore;
use crate::store::layout::MAIN_GROUP;
use crate::{Error, Position, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What an engine runs with.
pub(crate) struct CoreOptions {
    pub(crate) graph: Graph,
    pub(crate) changelog: Arc<dyn Changelog>,
    pub(crate) store: Arc<dyn StateStore>,
    /// The name of this service among the consumers of the changelog.
    pub(crate) name: Arc<str>,
    pub(crate) shards: usize,
    pub(crate) hot_bytes: usize,
    pub(crate) limit: EpochLimit,
    pub(crate) policy: FailurePolicy,
    pub(crate) from_oldest_kept: bool,
}

/// Everything of an engine that does not need a thread of its own.
pub(crate) struct Core {
    pub(super) setting: Setting,
    pub(super) catalogue: Catalogue,
    pub(super) store: Arc<dyn StateStore>,
    pub(super) main: Task,
    pub(super) build: Option<Build>,
    limit: EpochLimit,
    pub(super) from_oldest: bool,
    pub(super) cells: Arc<[Arc<Cell>]>,
    pub(super) drains: Arc<Mutex<Vec<Arc<Drain>>>>,
}

impl Core {
    /// Opens the state and takes up where it stands.
    ///
    /// # Errors
    /// Every error of recovery; see [`EngineBuilder::start`](crate::EngineBuilder::start).
    pub(crate) fn open(options: CoreOptions) -> Result<Self> {
        let CoreOptions { graph, changelog, store, name, shards, hot_bytes, limit, policy, from_oldest_kept } =
            options;
        let span = tracing::info_span!("open", name = &*name, tables = graph.tables.len(), shards);
        let _entered = span.enter();
        if let FailurePolicy::DeadLetter(topic) = &policy
            && graph.reads(topic)
        {
            return Err(Error::invalid(format!(
                "dead letters would go to topic `{topic}`, which the graph reads: a record that fails would fail for ever; \
                 give them a topic of their own"
            )));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(shards)
            .thread_name(|index| format!("millpond-shard-{index}"))
            .build()
            .map_err(|error| Error::internal("cannot start the threads of the shards").with_source(error))?;
        let setting = Setting {
            graph,
            changelog,
            pool: Arc::new(pool),
            router: Router::new(shards),
            policy,
            producer: name,
            hot_bytes,
            counters: Arc::new(Counters::default()),
        };
        let mut catalogue = Catalogue::open(&*store)?;
        // Whatever can be refused is refused before anything is written, to the state or to the changelog.
        let Assignment { main, build, former } = catalogue.assign(&*store, &setting.graph)?;
        let there = setting.changelog.topics()?.into_iter().collect();
        check_topics(&setting, &there, &main.position, from_oldest_kept)?;
        create_topics(&setting, &there)?;
        let main = Opening::new(&setting, main, MAIN_GROUP, from_oldest_kept)?;
        let build =
            build.map(|group| Opening::new(&setting, group, BUILD_GROUP, from_oldest_kept)).transpose()?;
        catalogue.carry_out(&*store)?;
        let sinks = setting.graph.nodes.iter().enumerate().filter(|(_, node)| node.sink.is_some());
        let holds_main = sinks.map(|(id, _)| id).any(|id| !main.runs(id));
        let drains = Arc::new(Mutex::new(Vec::new()));
        let cells = empty_cells(&setting.graph);
        let (main, drain) = main.start(&setting, &store)?;
        serve(&cells, &main);
        add(&drains, drain);
        let mut core = Self {
            setting,
            catalogue,
            store,
            main,
            build: None,
            limit,
            from_oldest: from_oldest_kept,
            cells,
            drains,
        };
        match build {
            Some(opening) => core.begin_build(opening, former, holds_main)?,
            None => core.setting.build_consumer().release()?,
        }
        Ok(core)
    }

    /// Runs one epoch of every task that has input. `false` if none had.
    ///
    /// # Errors
    /// The engine must stop: see [`Task::step`].
    pub(crate) fn step(&mut self) -> Result<bool> {
        let limit = self.limit;
        self.step_within(limit)
    }

    /// As [`step`](Self::step), with a limit for this epoch.
    pub(crate) fn step_within(&mut self, limit: EpochLimit) -> Result<bool> {
        let held = self.build.as_ref().is_some_and(|build| build.holds_main);
        let ran = !held && self.main.step(limit, None)?;
        let Some(build) = &mut self.build else { return Ok(ran) };
        let advanced = build.task.step(limit, Some(self.main.position()))?;
        if build.has_caught_up(self.main.position()) {
            self.complete_build()?;
        }
        Ok(ran || advanced || self.build.is_none())
    }

    /// Makes everything published so far durable. `false` if there was nothing to do.
    ///
    /// # Errors
    /// As for [`Drain::run`].
    pub(crate) fn drain(&self) -> Result<bool> {
        drain_all(&self.drains)
    }

    pub(crate) fn drains(&self) -> &Arc<Mutex<Vec<Arc<Drain>>>> {
        &self.drains
    }

    pub(crate) fn main(&self) -> &Task {
        &self.main
    }

    pub(crate) fn setting(&self) -> &Setting {
        &self.setting
    }

    pub(crate) fn cells(&self) -> &Arc<[Arc<Cell>]> {
        &self.cells
    }

    /// Whether tables are still being built.
    pub(crate) fn is_building(&self) -> bool {
        self.build.is_some()
    }
}

/// Runs every drain. `false` if none had anything to do.
pub(crate) fn drain_all(drains: &Mutex<Vec<Arc<Drain>>>) -> Result<bool> {
    let drains = drains.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut any = false;
    for drain in drains {
        any |= drain.run()?;
    }
    Ok(any)
}

pub(super) fn add(drains: &Mutex<Vec<Arc<Drain>>>, drain: Arc<Drain>) {
    drains.lock().unwrap_or_else(PoisonError::into_inner).push(drain);
}

/// Checks that the topics that are `there` fit the graph and hold what it has not folded yet.
fn check_topics(
    setting: &Setting,
    there: &BTreeMap<Arc<str>, u32>,
    position: &Position,
    from_oldest: bool,
) -> Result<()> {
    for topic in setting.graph.topics.iter() {
        topic.config.check(&topic.name)?;
        if let Some(&partitions) = there.get(&topic.name) {
            TopicConfig { partitions, ..TopicConfig::default() }
                .check_same_partitions(&topic.name, &topic.config)?;
            let holds = setting.changelog.topic_type(&topic.name)?;
            TopicType::declare(holds.as_ref(), &topic.holds)
                .map_err(|error| error.context(format!("topic `{}`", topic.name)))?;
        }
    }
    for (id, next) in position.iter().filter(|(id, _)| setting.graph.reads(&id.topic)) {
        let kept =
            if there.contains_key(&id.topic) { setting.changelog.offsets(id)? } else { Range::default() };
        first_to_read(id, &kept, next, from_oldest)?;
    }
    Ok(())
}

fn create_topics(setting: &Setting, there: &BTreeMap<Arc<str>, u32>) -> Result<()> {
    for topic in setting.graph.topics.iter() {
        setting.changelog.create_topic(&topic.name, &topic.config)?;
        setting.changelog.declare_type(&topic.name, &topic.holds)?;
    }
    if let FailurePolicy::DeadLetter(topic) = &setting.policy {
        if !there.contains_key(topic) {
            setting.changelog.ensure_topic(topic, &TopicConfig::default())?;
        }
        setting.changelog.declare_type(topic, &TopicType::mixed())?;
    }
    Ok(())
}

fn empty_cells(graph: &Graph) -> Arc<[Arc<Cell>]> {
    graph
        .tables
        .iter()
        .map(|spec| Arc::new(Cell { name: Arc::clone(&spec.name), serving: RwLock::new(Serving::Building) }))
        .collect()
}

/// Lets the tables of `task` answer.
pub(super) fn serve(cells: &[Arc<Cell>], task: &Task) {
    for (cell, table) in cells.iter().zip(task.tables()) {
        if let Some(table) = table {
            cell.serve(Serving::Live(Arc::clone(table)));
        }
    }
}
