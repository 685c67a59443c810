//! Opening a state, step by step: decide what becomes of each table, check it against the changelog, write it down, start.
//!
//! Invariant: whatever can be refused is refused before anything is written, to the state or to the changelog. The types
//! of the steps see to the order: only what was checked can be written, and only what was written can be started.

use super::beginnings::{self, Beginnings};
use super::catalogue::{Assignment, BUILD_GROUP, Catalogue, TaskGroup};
use super::compaction::{self, FoldedUntil};
use super::drain::Drain;
use super::input::Keeps;
use super::origins::Origins;
use super::owner::{self, Owner};
use super::{
    Consumer, Core, FailurePolicy, Plan, Reads, Service, Setting, Task, TaskInput, Tasks, checks, forgetting,
    times,
};
use crate::changelog::{Changelog, Lease, TopicConfig, TopicType};
use crate::graph::TableSpec;
use crate::identity::new_identity;
use crate::state::{AnyTable, TaskState};
use crate::store::StateStore;
use crate::store::layout::{self, MAIN_GROUP, TableId};
use crate::time::Reached;
use crate::{Position, Result, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to become of each table of a state. Nothing was written.
pub(crate) struct Decided {
    setting: Arc<Setting>,
    store: Arc<dyn StateStore>,
    lease: Lease,
    catalogue: Catalogue,
    assignment: Assignment,
}

/// What was decided, and fits the changelog.
pub(crate) struct Checked {
    decided: Decided,
    /// The topics of the changelog, with their partitions.
    there: BTreeMap<Arc<str>, u32>,
    owner: Owner,
    /// Whether the state gets an identity only now.
    is_new: bool,
    /// Whether it is not noted yet under which name the state is used.
    writes_name: bool,
}

/// What was decided stands in the state and in the changelog.
pub(crate) struct Written(Decided);

impl Decided {
    /// Takes the engine's name, and decides what becomes of the tables in `store`.
    ///
    /// # Errors
    /// `Unavailable` if another engine has the name; `Invalid` if the graph does not fit the state; `Corrupt`.
    pub(crate) fn new(setting: Arc<Setting>, store: Arc<dyn StateStore>) -> Result<Self> {
        // First of all, so that two engines of one name never look at the same things.
        let lease = setting.changelog.lease(&setting.name)?;
        let mut catalogue = Catalogue::open(&*store)?;
        let assignment = catalogue.assign(&*store, &setting.graph, setting.sets_aside())?;
        Ok(Self { setting, store, lease, catalogue, assignment })
    }

    /// Checks it against the changelog.
    ///
    /// # Errors
    /// Every error of recovery; see [`EngineBuilder::start`](crate::EngineBuilder::start).
    pub(crate) fn check(mut self) -> Result<Checked> {
        let Self { setting, store, assignment: Assignment { main, build, .. }, .. } = &mut self;
        let there = setting.changelog.topics()?.into_iter().collect();
        checks::check_term(setting, &**store, &read_so_far(main, build.as_ref()))?;
        compaction::check_sources(setting, &there)?;
        checks::check_origins(setting, &**store, &there, &read_so_far(main, build.as_ref()))?;
        checks::pass_what_is_gone(setting, &there, main)?;
        compaction::check_group(setting, &**store, main, MAIN_GROUP)?;
        if let Some(build) = build {
            compaction::check_group(setting, &**store, build, BUILD_GROUP)?;
            beginnings::begin_build(setting, &**store, main, build)?;
        }
        checks::check_changelog(setting, &there, (main, build.as_ref()))?;
        let stored = read_text(&**store, layout::IDENTITY_KEY, layout::decode_identity)?;
        let former = read_text(&**store, layout::SERVICE_KEY, layout::decode_service)?;
        let renamed = former.as_ref().is_some_and(|former| **former != *setting.name);
        let writes_name = former.is_none() || renamed;
        // A copy of the state of another service becomes a state of its own under a name of its own. The log may know whose it
        // was where the state does not; and a log that keeps no names does not know.
        let stored = match stored {
            Some(identity)
                if renamed || owner::is_elsewhere(&*setting.changelog, &setting.name, &identity)? =>
            {
                let (name, state) = (&*setting.name, &*setting.place);
                tracing::warn!(
                    name,
                    state,
                    "the state was that of a service of another name, and is another service from now on; what is held under the \
                     former name stays held (`Admin::consumers` lists names, `Admin::release` forgets one)"
                );
                None
            }
            stored => stored,
        };
        let is_new = stored.is_none();
        let owner = Owner::new(stored.unwrap_or_else(new_identity), &setting.graph);
        owner.check(&*setting.changelog, &setting.name, &main.reached.position)?;
        Ok(Checked { decided: self, there, owner, is_new, writes_name })
    }
}

impl Checked {
    /// Writes it down: topics, who the state is, and what became of its tables.
    ///
    /// # Errors
    /// If a medium failed; opening again goes on from what was written.
    pub(crate) fn write(self) -> Result<Written> {
        let Self { mut decided, there, owner, is_new, writes_name } = self;
        let Decided { setting, store, catalogue, .. } = &mut decided;
        create_topics(setting, &there)?;
        let identity = is_new.then(|| (layout::IDENTITY_KEY, layout::encode_identity(&owner.state)));
        let service = writes_name.then(|| (layout::SERVICE_KEY, layout::encode_service(&setting.name)));
        // In one step, so that no state is known by a name that it has from another one.
        let rows: Vec<_> = identity.into_iter().chain(service).collect();
        if !rows.is_empty() {
            store.ingest(&mut rows.iter().map(|(key, value)| (*key, Some(&value[..]))))?;
        }
        owner.claim(&*setting.changelog, &setting.name)?;
        catalogue.carry_out(&**store)?;
        if setting.shares_epochs() {
            setting.changelog.join(&setting.name)?;
        }
        Ok(Written(decided))
    }
}

impl Written {
    /// Opens the inputs and lets the tables answer.
    ///
    /// # Errors
    /// If the changelog failed.
    pub(crate) fn start(self) -> Result<Core> {
        let setting = Arc::clone(&self.0.setting);
        self.open().inspect_err(|_| {
            if setting.shares_epochs() {
                setting.changelog.leave(&setting.name);
            }
        })
    }

    fn open(self) -> Result<Core> {
        let Decided { setting, store, lease, catalogue, assignment } = self.0;
        let Assignment { main, build, former } = assignment;
        let runs: BTreeSet<usize> = main.nodes.iter().copied().collect();
        let sinks = setting.graph.nodes.iter().enumerate().filter(|(_, node)| node.sink.is_some());
        // A derived topic that hangs on what is built would miss what the main task reads without it.
        let holds_main = sinks.map(|(id, _)| id).any(|id| !runs.contains(&id));
        let (main, drain) = start(&setting, &store, main, MAIN_GROUP)?;
        let service = Arc::new(Service::new(Arc::clone(&setting), Tasks::new(drain), lease));
        service.serve(main.tables());
        let mut core = Core::new(service, catalogue, store, main);
        match build {
            Some(group) => core.begin_build(group, former, holds_main)?,
            None => setting.build_consumer().release()?,
        }
        let ticks = setting.graph.periods().next().is_some();
        if setting.reads != Reads::Stepped || ticks {
            core.ends = core.end_of_changelog()?;
        }
        if setting.reads != Reads::Stepped {
            core.main().shared().catch_up_to(core.ends.clone(), setting.reads == Reads::Stale);
        }
        tell_what_was_opened(&core);
        Ok(core)
    }
}

fn tell_what_was_opened(core: &Core) {
    let service = core.service();
    let (state, tables) = (&*service.place, service.graph.tables.len());
    let building = service.served.iter().filter(|table| table.is_building()).count();
    let position = service.tasks.position();
    let records_left = core.main().shared().records_left();
    tracing::info!(name = &*service.name, state, tables, building, %position, records_left, "the engine is open");
}

/// Makes the task of a group, and what others know of it. Its input is opened where the group stands.
///
/// # Errors
/// If the changelog failed, or does not hold what the group has to read.
pub(super) fn start(
    setting: &Arc<Setting>,
    store: &Arc<dyn StateStore>,
    group: TaskGroup,
    number: u16,
) -> Result<(Task, Arc<Drain>)> {
    let TaskGroup { nodes, ids, reached, mut counts } = group;
    let plan = Plan::new(&setting.graph, &nodes, setting.sets_aside())?;
    let input = open_input(setting, &plan, &reached.position, number)?;
    let consumer = consumer(setting, number);
    consumer.hold(input.position())?;
    let host = Arc::clone(&setting.host);
    let mut times = times::known(setting, reached)?.times;
    times::take_in_what_was_dropped(setting, input.position(), &mut times)?;
    let reached = Reached::new(input.position().clone(), times);
    forgetting::at_rest(setting, &**store, &ids, &reached.times, &mut counts)?;
    let shared = Arc::new(TaskState::new(host, Arc::clone(store), reached, Arc::new(counts)));
    let tables = make_tables(setting, &ids, &shared);
    let drain = drain_of(setting, store, &ids, &shared, number)?;
    let produces = setting.produces() && number == MAIN_GROUP;
    Ok((Task::new(Arc::clone(setting), plan, ids, tables, shared, input, produces), drain))
}

/// What makes the rows of a group durable that has the tables with these ids and has published `shared`.
///
/// # Errors
/// If the changelog failed, or a topic is not the one that was folded.
pub(super) fn drain_of(
    setting: &Arc<Setting>,
    store: &Arc<dyn StateStore>,
    ids: &[Option<TableId>],
    shared: &Arc<TaskState>,
    number: u16,
) -> Result<Arc<Drain>> {
    let now = shared.published().reached.position.clone();
    let before = stored_reached(&**store, number)?.unwrap_or_default().position;
    let read = setting.graph.topics.iter().filter(|topic| topic.read).map(|topic| &topic.name);
    let origins = Origins::open(setting, &**store, read, std::slice::from_ref(&before))?;
    let folded_until = FoldedUntil::open(setting, &**store, ids, &before, number)?;
    let beginnings = Beginnings::open(setting, &**store, (&before, &now), number)?;
    let (shared, setting, consumer) = (Arc::clone(shared), Arc::clone(setting), consumer(setting, number));
    Ok(Arc::new(Drain { shared, group: number, consumer, setting, origins, folded_until, beginnings }))
}

/// The tables with these ids, as they are in the store of `shared`.
pub(super) fn make_tables(
    setting: &Setting,
    ids: &[Option<TableId>],
    shared: &Arc<TaskState>,
) -> Vec<Option<Arc<dyn AnyTable>>> {
    let make = |spec: &TableSpec, id| (spec.make)(id, setting.router.shards(), Arc::clone(shared));
    setting.graph.tables.iter().zip(ids).map(|(spec, id)| id.map(|id| make(spec, id))).collect()
}

/// Opens the input of `plan` at `position`.
///
/// The main group keeps to the epochs that were marked before a crash, also where the graph no longer writes anything: it
/// must not end up in the middle of one, where a later graph that writes again could not go on. A build keeps to them where they
/// decide the order of records.
pub(super) fn open_input(
    setting: &Setting,
    plan: &Plan,
    position: &Position,
    number: u16,
) -> Result<TaskInput> {
    let keeps = match number {
        MAIN_GROUP if setting.shares_epochs() => Keeps::Followed,
        MAIN_GROUP => Keeps::Replayed,
        _ if setting.marks_order() => Keeps::Followed,
        _ => Keeps::Nothing,
    };
    let partitions = partitions(&*setting.changelog, plan)?;
    TaskInput::open(setting, &partitions, position, keeps)
}

/// All partitions of the topics that `plan` reads, each with the number of its topic in the plan: one task has all of them.
fn partitions(changelog: &dyn Changelog, plan: &Plan) -> Result<Vec<(TopicPartition, usize)>> {
    let there: BTreeMap<Arc<str>, u32> = changelog.topics()?.into_iter().collect();
    let mut partitions: Vec<(TopicPartition, usize)> = Vec::new();
    for (number, (topic, _)) in plan.sources.iter().enumerate() {
        for partition in 0..there.get(topic).copied().unwrap_or(0) {
            partitions.push((TopicPartition::new(Arc::clone(topic), partition), number));
        }
    }
    Ok(partitions)
}

pub(super) fn consumer(setting: &Setting, number: u16) -> Consumer {
    if number == MAIN_GROUP { setting.consumer() } else { setting.build_consumer() }
}

/// How far a group has come in the store; none if nothing of it is stored.
pub(super) fn stored_reached(store: &dyn StateStore, number: u16) -> Result<Option<Reached>> {
    let mut stored = Ok(None);
    store.read(&layout::position_key(number), &mut |row| {
        stored = row.map(layout::decode_reached).transpose();
    })?;
    stored
}

/// What the groups have read.
fn read_so_far(main: &TaskGroup, build: Option<&TaskGroup>) -> Vec<Position> {
    [Some(main), build].into_iter().flatten().map(|group| group.reached.position.clone()).collect()
}

/// What is kept under `key`; none if the state is new, or of a release that did not keep it.
fn read_text(
    store: &dyn StateStore,
    key: &[u8],
    decode: fn(&[u8]) -> Result<String>,
) -> Result<Option<String>> {
    let mut text = Ok(None);
    store.read(key, &mut |stored| text = stored.map(decode).transpose())?;
    text
}

fn create_topics(setting: &Setting, there: &BTreeMap<Arc<str>, u32>) -> Result<()> {
    for topic in setting.graph.topics.iter() {
        // Without a retention of its own the handle does not know what was decided for the topic.
        let decides = topic.config.retention_age.is_some() || topic.config.retention_bytes.is_some();
        let takes_it = setting.abilities.sets_retention || !there.contains_key(&topic.name);
        if decides && !takes_it {
            tracing::warn!(
                topic = &*topic.name,
                "the retention that the graph sets for the topic is not taken: the changelog leaves that to whoever looks after the topic"
            );
        }
        if decides && takes_it {
            setting.changelog.create_topic(&topic.name, &topic.config)?;
        } else {
            setting.changelog.ensure_topic(&topic.name, &topic.config)?;
        }
        setting.changelog.declare_type(&topic.name, &topic.holds)?;
    }
    if setting.graph.ticks() {
        setting.ensure_ticks()?;
    }
    if let FailurePolicy::DeadLetter(topic) = &setting.policy {
        if !there.contains_key(topic) {
            setting.changelog.ensure_topic(topic, &TopicConfig::default())?;
        }
        setting.changelog.declare_type(topic, &TopicType::mixed())?;
    }
    Ok(())
}
