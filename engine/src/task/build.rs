//! Builds: new and re-versioned tables, folded from the start of the changelog beside the running ones.
//!
//! The older version of a table answers meanwhile, from rows that nothing touches any more. Once the build stands at the
//! same input as the main task, the catalogue is rewritten in one step and the main task goes on with all tables.

use super::catalogue::{BUILD_GROUP, OlderVersion, TaskGroup};
use super::opening::{open_input, start};
use super::{Core, Plan, Service, Task, forgetting};
use crate::query::Serving;
use crate::state::{AnyTable, Published, TaskState};
use crate::store::StateStore;
use crate::store::layout::{MAIN_GROUP, TableId};
use crate::time::Reached;
use crate::{Position, Result, TopicPartition, fault};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A table build beside the running tables.
pub(super) struct Build {
    pub(super) task: Task,
    ids: BTreeMap<usize, TableId>,
    /// Whether the main task must not go on meanwhile: a derived topic hangs on what is built, and would miss what the
    /// main task reads without it.
    pub(super) holds_main: bool,
    /// Where partitions that only the build reads ended when it began.
    target: Position,
    /// What the older versions answer from meanwhile, each at a position of its own.
    former: Vec<Arc<dyn AnyTable>>,
    gains: Gains,
}

/// After so many epochs of the main task without a gain a build gets more of its own.
const PATIENCE: u32 = 4;

/// So many then, for each of the main task: the build gains on whatever arrives, and appends that outrun the two are held
/// up by the lag of the main task.
const MORE_EPOCHS: usize = 4;

/// Whether a build comes nearer to the main task.
#[derive(Debug)]
struct Gains {
    /// How many records it was behind the last time.
    behind: u64,
    /// How often it was no nearer.
    missed: u32,
}

impl Build {
    /// How many epochs the build gets now. The main task is at `main`, and `ran` an epoch.
    pub(super) fn epochs(&mut self, ran: bool, main: &Position) -> usize {
        if ran && self.gains.missed < PATIENCE {
            let behind = self.task.position().records_to(main);
            self.gains.missed += u32::from(behind >= self.gains.behind);
            self.gains.behind = behind;
        }
        if self.gains.missed < PATIENCE { 1 } else { MORE_EPOCHS }
    }

    /// Takes the build on in time to where the main task stands, with the same input: that has taken partitions in where their topics stood,
    /// which the build knows nothing of. What is due between the two closes now, or it never would.
    ///
    /// # Errors
    /// As for [`Task::step`].
    pub(super) fn come_as_far(&mut self, main: &TaskState) -> Result<()> {
        let (main, built) = (main.published(), self.task.shared().published());
        let ahead = main.reached.times.iter().filter_map(|(id, time_ms)| {
            let behind = built.reached.times.of(id).is_some_and(|built_ms| built_ms < time_ms);
            behind.then(|| (id.clone(), time_ms))
        });
        let ahead: BTreeMap<TopicPartition, i64> = ahead.collect();
        if ahead.is_empty() { Ok(()) } else { self.task.raise(&ahead) }
    }

    /// Whether the build stands at the same input as the main task, which is at `main`. Of the partitions that only it
    /// reads it must have read what there was when it began, or all that comes before the next record of the main task in
    /// the order of the log: then it is `idle`, and goes on with the main task. What it has read of what the graph does not read any more, such
    /// as ticks where nothing looks at time, says nothing.
    pub(super) fn has_caught_up(&self, main: &Position, idle: bool) -> bool {
        let enough = |(id, offset): (&TopicPartition, u64)| match main.known(id) {
            Some(main) => offset == main,
            None => idle || offset >= self.target.offset(id),
        };
        self.task.position().iter().filter(|(id, _)| self.task.reads(id)).all(enough)
    }
}

impl Core {
    pub(super) fn begin_build(
        &mut self,
        group: TaskGroup,
        former: Vec<Option<OlderVersion>>,
        holds_main: bool,
    ) -> Result<()> {
        let service = Arc::clone(&self.service);
        let wanted: BTreeSet<usize> =
            (0..service.graph.tables.len()).filter(|&table| self.main.table(table).is_none()).collect();
        let ids = wanted.iter().filter_map(|&table| Some((table, (*group.ids.get(table)?)?))).collect();
        let (task, drain) = start(service.setting(), &self.store, group, BUILD_GROUP)?;
        service.tasks.add(drain);
        let counts = &self.main.shared().published().counts;
        let mut older = Vec::new();
        for (served, (spec, former)) in service.served.iter().zip(service.graph.tables.iter().zip(former)) {
            let Some(OlderVersion { id, reached }) = former else { continue };
            let host = Arc::clone(&service.host);
            let shared = Arc::new(TaskState::new(host, Arc::clone(&self.store), reached, Arc::clone(counts)));
            shared.set_former();
            let table = (spec.make)(id, service.router.shards(), shared);
            older.push(Arc::clone(&table));
            served.serve(Serving::Former(table));
        }
        let mut target = Position::new();
        for (id, _) in task.position().iter().filter(|(id, _)| self.main.position().known(id).is_none()) {
            target.set(id.clone(), service.changelog.offsets(id)?.end);
        }
        let named = wanted.iter().filter_map(|&table| service.graph.tables.get(table));
        let tables = named.map(|spec| format!("`{}`", spec.name)).collect::<Vec<_>>().join(", ");
        tracing::info!(
            tables,
            "building tables that are new, or of another version, from the start of the changelog"
        );
        if !service.changelog.abilities().one_sequence {
            tracing::warn!(
                "the changelog is not one sequence: where the order of records of several partitions matters to a fold, what is \
                 built may differ from what was folded before"
            );
        }
        let gains = Gains { behind: u64::MAX, missed: 0 };
        self.build = Some(Build { task, ids, holds_main, target, former: older, gains });
        Ok(())
    }

    /// Puts the built tables in place: both tasks stand at the same input.
    pub(super) fn complete_build(&mut self) -> Result<()> {
        let Some(tables) = self.build.as_ref().map(|build| build.ids.len()) else { return Ok(()) };
        let span = tracing::info_span!("complete_build", tables);
        let _entered = span.enter();
        // The places are those of the tables of this state now, and these are to be drained.
        self.main.shared().succeed();
        self.service.tasks.drain()?;
        if !self.service.tasks.are_drained() {
            // The log has not committed all of it yet: at the next step, perhaps.
            return Ok(());
        }
        let Some(build) = self.build.take() else { return Ok(()) };
        if let Some(built) = self.service.tasks.get(BUILD_GROUP) {
            self.service.tasks.main().take_over(&built)?;
        }
        CaughtUp::new(self, build).write(self)?.start(self)?;
        tracing::info!(tables, "the new tables have caught up and answer now");
        Ok(())
    }
}

/// A build that has met the main task, and all that either has folded is in the store.
struct CaughtUp {
    build: Build,
    reached: Reached,
}

/// The state has the built tables. Memory has to follow.
struct Swapped {
    met: CaughtUp,
    /// The tables in whose places they are.
    unneeded: Vec<TableId>,
}

impl CaughtUp {
    fn new(core: &Core, build: Build) -> Self {
        let mut position = core.main.position().clone();
        position.advance_to(build.task.position());
        // What either has seen counts: a part of what the main task has may be gone, and the build may read more.
        let mut times = core.main.shared().published().reached.times.clone();
        times.advance_to(&build.task.shared().published().reached.times);
        Self { build, reached: Reached::new(position, times) }
    }

    /// Rewrites the catalogue, in one step.
    fn write(self, core: &mut Core) -> Result<Swapped> {
        fault::point("build.before_complete")?;
        let Core { service, catalogue, store, .. } = core;
        let unneeded = catalogue.complete(&**store, &service.graph, &self.build.ids, &self.reached)?;
        fault::point("build.after_complete")?;
        Ok(Swapped { met: self, unneeded })
    }
}

impl Swapped {
    /// Goes on with one task for all tables.
    fn start(self, core: &mut Core) -> Result<()> {
        let Self { met: CaughtUp { build, reached }, unneeded } = self;
        let service = Arc::clone(&core.service);
        let shared = Arc::clone(core.main.shared());
        let nodes: BTreeSet<usize> = (0..service.graph.nodes.len()).collect();
        let plan = Plan::new(&service.graph, &nodes, service.sets_aside())?;
        let input = open_input(&service, &plan, &reached.position, MAIN_GROUP)?;
        service.consumer().hold(input.position())?;
        let mut ids = core.main.ids().to_vec();
        let mut tables = core.main.tables().to_vec();
        let mut built = ids.clone();
        for (&table, &id) in &build.ids {
            built.get_mut(table).into_iter().for_each(|slot| *slot = Some(id));
        }
        let held = shared.hold_publishing();
        let next = with_built(&service, &core.store, &built, (&shared, &build), &reached, &unneeded)?;
        // Whoever sees the position of the new tables finds them, and nobody finds an older version afterwards.
        shared.publish(&held, next, || {
            for table in &build.former {
                table.shared().supersede();
            }
            for (&table, &id) in &build.ids {
                let Some(spec) = service.graph.tables.get(table) else { continue };
                let made = (spec.make)(id, service.router.shards(), Arc::clone(&shared));
                if let (Some(slot), Some(held)) = (ids.get_mut(table), tables.get_mut(table)) {
                    *slot = Some(id);
                    *held = Some(made);
                }
            }
            service.serve(&tables);
        });
        drop(held);
        shared.tell(shared.epoch());
        let setting = Arc::clone(service.setting());
        core.main = Task::new(setting, plan, ids, tables, shared, input, service.produces());
        for table in &build.former {
            // Whoever waits for changes of an older version learns that none will come.
            table.close();
            table.shared().release_store();
        }
        service.host.signal();
        service.tasks.remove(BUILD_GROUP);
        core.catalogue.delete(&*core.store, &unneeded)?;
        service.build_consumer().release()
    }
}

/// What is published, with the position and the row counts of the built tables, whose ids are among `ids`, in place of those of the
/// tables that go. All of it is stored.
fn with_built(
    service: &Service,
    store: &Arc<dyn StateStore>,
    ids: &[Option<TableId>],
    (shared, build): (&Arc<TaskState>, &Build),
    reached: &Reached,
    unneeded: &[TableId],
) -> Result<Published> {
    let now = shared.published();
    let rows = &build.task.shared().published().counts;
    let mut counts = BTreeMap::clone(&now.counts);
    counts.retain(|id, _| !unneeded.contains(id));
    for id in build.ids.values() {
        counts.insert(*id, rows.get(id).cloned().unwrap_or_default());
    }
    // Both have come further together than either has.
    forgetting::at_rest(service.setting(), &**store, ids, &reached.times, &mut counts)?;
    Ok(Published {
        epoch: now.epoch + 1,
        reached: reached.clone(),
        generations: now.generations.clone(),
        drained: now.drained,
        counts: Arc::new(counts),
    })
}
