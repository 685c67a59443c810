//! The core of an engine, without threads: open, step, drain, complete a build.
//!
//! The background engine and the step-by-step driver of the test kit both stand on it, so that what is tested is what
//! runs.

use super::catalogue::{Assignment, BUILD_GROUP, Catalogue, Group};
use super::{Counters, EpochLimit, FailurePolicy, Input, Plan, Setting, Task};
use crate::changelog::{Changelog, TopicConfig};
use crate::dataflow::Router;
use crate::drain::Drain;
use crate::graph::Graph;
use crate::query::{Cell, Serving};
use crate::state::{AnyTable, Published, Shared};
use crate::store::StateStore;
use crate::store::layout::{MAIN_GROUP, TableId};
use crate::{Error, Position, Result, TopicPartition, fault};
use std::collections::{BTreeMap, BTreeSet};
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

/// A table build beside the running tables.
struct Build {
    task: Task,
    ids: BTreeMap<usize, TableId>,
    drain: Arc<Drain>,
    /// Whether the main task must not go on meanwhile: a derived topic hangs on what is built, and would miss what the
    /// main task reads without it.
    holds_main: bool,
    /// Where partitions that only the build reads ended when it began.
    target: Position,
    /// What the older versions answer from meanwhile.
    former: Arc<Shared>,
    former_tables: Vec<Arc<dyn AnyTable>>,
}

impl Build {
    /// Whether the build stands at the same input as the main task, which is at `main`, and has read what there was
    /// when it began of the partitions that only it reads.
    fn has_caught_up(&self, main: &Position) -> bool {
        let enough = |(id, offset): (&TopicPartition, u64)| match main.known(id) {
            Some(main) => offset == main,
            None => offset >= self.target.offset(id),
        };
        self.task.position().iter().all(enough)
    }
}

/// Everything of an engine that does not need a thread of its own.
pub(crate) struct Core {
    setting: Setting,
    catalogue: Catalogue,
    store: Arc<dyn StateStore>,
    main: Task,
    build: Option<Build>,
    limit: EpochLimit,
    from_oldest: bool,
    cells: Arc<[Arc<Cell>]>,
    drains: Arc<Mutex<Vec<Arc<Drain>>>>,
}

impl Core {
    /// Opens the state and takes up where it stands.
    ///
    /// # Errors
    /// Every error of recovery; see [`EngineBuilder::start`](crate::EngineBuilder::start).
    pub(crate) fn open(options: CoreOptions) -> Result<Self> {
        let CoreOptions { graph, changelog, store, name, shards, hot_bytes, limit, policy, from_oldest_kept } =
            options;
        for topic in graph.topics.iter() {
            changelog.create_topic(&topic.name, &topic.config)?;
        }
        if let FailurePolicy::DeadLetter(topic) = &policy {
            changelog.create_topic(topic, &TopicConfig::default())?;
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
        let Assignment { main, build, former } = catalogue.assign(&*store, &setting.graph)?;
        let sinks = setting.graph.nodes.iter().enumerate().filter(|(_, node)| node.sink.is_some());
        let holds_main = sinks.map(|(id, _)| id).any(|id| !main.nodes.contains(&id));
        let drains = Arc::new(Mutex::new(Vec::new()));
        let cells = empty_cells(&setting.graph);
        let (main, drain) = start(&setting, &store, main, MAIN_GROUP, from_oldest_kept)?;
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
            Some(group) => core.begin_build(group, &former, holds_main)?,
            None => release_build_hold(&core.setting)?,
        }
        Ok(core)
    }

    fn begin_build(&mut self, group: Group, former: &[Option<TableId>], holds_main: bool) -> Result<()> {
        let wanted: BTreeSet<usize> =
            (0..self.setting.graph.tables.len()).filter(|&table| self.main.table(table).is_none()).collect();
        let ids = wanted.iter().filter_map(|&table| Some((table, (*group.ids.get(table)?)?))).collect();
        let (task, drain) = start(&self.setting, &self.store, group, BUILD_GROUP, self.from_oldest)?;
        add(&self.drains, Arc::clone(&drain));
        let published = self.main.shared().published();
        let former_shared = Arc::new(Shared::new(
            Arc::clone(&self.store),
            published.position.clone(),
            Arc::clone(&published.counts),
        ));
        let mut former_tables = Vec::new();
        for (cell, (spec, id)) in self.cells.iter().zip(self.setting.graph.tables.iter().zip(former)) {
            if let Some(id) = *id {
                let table = (spec.make)(id, self.setting.router.shards(), Arc::clone(&former_shared));
                former_tables.push(Arc::clone(&table));
                cell.serve(Serving::Former(table));
            }
        }
        let mut target = Position::new();
        for (id, _) in task.position().iter().filter(|(id, _)| self.main.position().known(id).is_none()) {
            target.set(id.clone(), self.setting.changelog.offsets(id)?.end);
        }
        tracing::info!(tables = wanted.len(), "building tables from the start of the changelog");
        self.build =
            Some(Build { task, ids, drain, holds_main, target, former: former_shared, former_tables });
        Ok(())
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

    /// Puts the built tables in place: both tasks stand at the same input.
    fn complete_build(&mut self) -> Result<()> {
        let Some(build) = self.build.take() else { return Ok(()) };
        let main_drain = self.drains.lock().unwrap_or_else(PoisonError::into_inner).first().cloned();
        if let Some(drain) = main_drain {
            drain.run()?;
        }
        build.drain.run()?;
        fault::point("build.before_complete")?;
        let mut position = self.main.position().clone();
        position.advance_to(build.task.position());
        let unneeded = self.catalogue.complete(&*self.store, &self.setting.graph, &build.ids, &position)?;
        fault::point("build.after_complete")?;
        // From here on the state on disk has the new tables; memory follows.
        let shared = Arc::clone(self.main.shared());
        let mut ids = self.main.ids().to_vec();
        let mut tables = self.main.tables().to_vec();
        for (&table, &id) in &build.ids {
            let Some(spec) = self.setting.graph.tables.get(table) else { continue };
            let made = (spec.make)(id, self.setting.router.shards(), Arc::clone(&shared));
            if let (Some(slot), Some(held)) = (ids.get_mut(table), tables.get_mut(table)) {
                *slot = Some(id);
                *held = Some(made);
            }
        }
        Self::publish_built(&shared, &build, &position, &unneeded);
        let nodes: BTreeSet<usize> = (0..self.setting.graph.nodes.len()).collect();
        let plan = Plan::new(&self.setting.graph, &nodes)?;
        let input = open_input(&self.setting, &plan, &position, true, self.from_oldest)?;
        self.setting.changelog.hold(&self.setting.producer, input.position())?;
        self.main =
            Task::new(self.setting.clone(), plan, ids, tables, shared, input, self.setting.produces());
        serve(&self.cells, &self.main);
        build.former.supersede();
        // Whoever waits for changes of an older version learns that none will come.
        build.former_tables.iter().for_each(|table| table.close());
        // Only now do the cells show the new tables to whoever waits for them.
        self.main.shared().wake();
        self.drains
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|drain| !Arc::ptr_eq(drain, &build.drain));
        self.catalogue.retire(&*self.store, &unneeded)?;
        release_build_hold(&self.setting)?;
        tracing::info!(tables = build.ids.len(), "the new tables have caught up and answer now");
        Ok(())
    }

    /// Makes the position and the row counts of the built tables known, in place of those of the tables that go.
    fn publish_built(shared: &Arc<Shared>, build: &Build, position: &Position, unneeded: &[TableId]) {
        let held = shared.hold_publishing();
        let now = shared.published();
        let rows = &build.task.shared().published().counts;
        let mut counts = BTreeMap::clone(&now.counts);
        counts.retain(|id, _| !unneeded.contains(id));
        for id in build.ids.values() {
            counts.insert(*id, rows.get(id).copied().unwrap_or(0));
        }
        shared.publish(
            &held,
            Published {
                epoch: now.epoch + 1,
                position: position.clone(),
                generations: now.generations.clone(),
                drained: now.drained,
                counts: Arc::new(counts),
            },
        );
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

    /// Ends the queries that older versions answer meanwhile. Those of the tables end with the engine.
    pub(crate) fn end_former(&self) {
        if let Some(build) = &self.build {
            build.former.end(crate::state::Status::Closed);
            build.former_tables.iter().for_each(|table| table.close());
        }
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

fn add(drains: &Mutex<Vec<Arc<Drain>>>, drain: Arc<Drain>) {
    drains.lock().unwrap_or_else(PoisonError::into_inner).push(drain);
}

fn empty_cells(graph: &Graph) -> Arc<[Arc<Cell>]> {
    graph
        .tables
        .iter()
        .map(|spec| Arc::new(Cell { name: Arc::clone(&spec.name), serving: RwLock::new(Serving::Building) }))
        .collect()
}

/// Lets the tables of `task` answer.
fn serve(cells: &[Arc<Cell>], task: &Task) {
    for (cell, table) in cells.iter().zip(task.tables()) {
        if let Some(table) = table {
            cell.serve(Serving::Live(Arc::clone(table)));
        }
    }
}

/// Opens the input of `plan` at `position`.
///
/// The main group keeps to the epochs that were marked before a crash, also where the graph no longer writes anything: it
/// must not end up in the middle of one, where a later graph that writes again could not go on.
fn open_input(
    setting: &Setting,
    plan: &Plan,
    position: &Position,
    is_main: bool,
    from_oldest: bool,
) -> Result<Input> {
    let cuts =
        if is_main { setting.changelog.epochs_after(&setting.producer, position)? } else { Vec::new() };
    let topics: Vec<Arc<str>> = plan.sources.iter().map(|(topic, _)| Arc::clone(topic)).collect();
    Input::open(&setting.changelog, &topics, position, cuts, from_oldest)
}

/// The consumer name of a build.
fn build_consumer(setting: &Setting) -> Arc<str> {
    format!("{}.build", setting.producer).into()
}

/// Lets retention pass what only a build needed.
fn release_build_hold(setting: &Setting) -> Result<()> {
    setting.changelog.hold(&build_consumer(setting), &Position::new())
}

/// Makes the task of a group and its drain.
fn start(
    setting: &Setting,
    store: &Arc<dyn StateStore>,
    group: Group,
    number: u16,
    from_oldest: bool,
) -> Result<(Task, Arc<Drain>)> {
    let Group { nodes, ids, position, counts } = group;
    let plan = Plan::new(&setting.graph, &nodes)?;
    let produces = setting.produces() && number == MAIN_GROUP;
    let consumer: Arc<str> =
        if number == MAIN_GROUP { Arc::clone(&setting.producer) } else { build_consumer(setting) };
    let input = open_input(setting, &plan, &position, number == MAIN_GROUP, from_oldest)?;
    setting.changelog.hold(&consumer, input.position())?;
    let shared = Arc::new(Shared::new(Arc::clone(store), input.position().clone(), Arc::new(counts)));
    let tables: Vec<Option<Arc<dyn AnyTable>>> = setting
        .graph
        .tables
        .iter()
        .zip(&ids)
        .map(|(spec, id)| id.map(|id| (spec.make)(id, setting.router.shards(), Arc::clone(&shared))))
        .collect();
    let drain = Drain {
        shared: Arc::clone(&shared),
        changelog: Arc::clone(&setting.changelog),
        group: number,
        consumer,
        produces,
        counters: Arc::clone(&setting.counters),
        turn: Mutex::new(()),
    };
    Ok((Task::new(setting.clone(), plan, ids, tables, shared, input, produces), Arc::new(drain)))
}
