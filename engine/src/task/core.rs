//! The core of an engine, without threads: open, step, drain, complete a build.
//!
//! The background engine and the step-by-step driver of the test kit both stand on it, so that what is tested is what
//! runs.

use super::build::Build;
use super::catalogue::{Assignment, BUILD_GROUP, Catalogue, Group};
use super::input::first_to_read;
use super::opening::Opening;
use super::owner::Owner;
use super::{Counters, EpochLimit, FailurePolicy, Plan, Setting, Task};
use crate::changelog::{Changelog, Lease, Misfit, TopicConfig, TopicType};
use crate::flow::Router;
use crate::drain::Drain;
use crate::graph::Graph;
use crate::identity::new_identity;
use crate::query::{Cell, Serving};
use crate::state::{AnyTable, Host};
use crate::store::StateStore;
use crate::store::layout::{self, MAIN_GROUP};
use crate::{Error, ErrorKind, Position, Result, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What every epoch may become, however small the memory budget is.
const LEAST_GROWTH_BYTES: usize = 1 << 20;

/// What an engine runs with.
pub(crate) struct CoreOptions {
    pub(crate) graph: Graph,
    pub(crate) changelog: Arc<dyn Changelog>,
    pub(crate) store: Arc<dyn StateStore>,
    /// The name of this service among the consumers of the changelog.
    pub(crate) name: Arc<str>,
    pub(crate) shards: usize,
    pub(crate) hot_bytes: usize,
    /// What an epoch may become beyond what it takes from the changelog.
    pub(crate) input_bytes: usize,
    pub(crate) limit: EpochLimit,
    pub(crate) policy: FailurePolicy,
    pub(crate) from_oldest_kept: bool,
    /// How many bytes of changes may wait for subscribers.
    pub(crate) subscriber_bytes: usize,
    pub(crate) reads: Reads,
}

/// Who is answered before a state has caught up with what was in the changelog when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Nobody.
    Current,
    /// Everyone, but [`is_behind`](crate::state::Shared::is_behind) tells.
    Stale,
    /// Everyone: whoever moves the engine by hand knows where it stands.
    Stepped,
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
    /// Kept as long as anything is appended or held in this engine's name.
    lease: Arc<Lease>,
}

impl Core {
    /// Opens the state and takes up where it stands.
    ///
    /// # Errors
    /// Every error of recovery; see [`EngineBuilder::start`](crate::EngineBuilder::start).
    pub(crate) fn open(options: CoreOptions) -> Result<Self> {
        let CoreOptions {
            graph, changelog, store, name, shards, hot_bytes, input_bytes, limit, policy, ..
        } = options;
        let CoreOptions { from_oldest_kept, subscriber_bytes, reads, .. } = options;
        let span = tracing::info_span!("open", name = &*name, tables = graph.tables.len(), shards);
        let _entered = span.enter();
        let setting = Setting {
            graph,
            changelog,
            pool: Arc::new(pool(shards)?),
            router: Router::new(shards),
            policy,
            producer: name,
            hot_bytes,
            starts_small: options.reads != Reads::Stepped,
            growth_bytes: input_bytes.max(LEAST_GROWTH_BYTES),
            counters: Arc::new(Counters::default()),
            host: Host::new(subscriber_bytes),
            drain_turn: Arc::default(),
        };
        // First of all, so that two engines of one name never look at the same things.
        let lease = setting.changelog.lease(&setting.producer)?;
        let mut catalogue = Catalogue::open(&*store)?;
        // Whatever can be refused is refused before anything is written, to the state or to the changelog.
        let Assignment { mut main, build, former } = catalogue.assign(&*store, &setting.graph)?;
        let there = setting.changelog.topics()?.into_iter().collect();
        let groups = [Some(&main), build.as_ref()].into_iter().flatten();
        let read: Vec<Position> = groups.map(|group| group.position.clone()).collect();
        pass_what_is_gone(&setting, &there, &mut main, from_oldest_kept)?;
        check_changelog(&setting, &there, (&main, build.as_ref()), from_oldest_kept)?;
        check_term(&setting, &*store, &read)?;
        let (owner, is_new) = owner_of(&setting, &*store)?;
        owner.check(&*setting.changelog, &setting.producer, &main.position)?;
        create_topics(&setting, &there)?;
        let main = Opening::new(&setting, main, MAIN_GROUP, from_oldest_kept)?;
        let build =
            build.map(|group| Opening::new(&setting, group, BUILD_GROUP, from_oldest_kept)).transpose()?;
        if is_new {
            write_row(&*store, layout::IDENTITY_KEY, &layout::encode_identity(&owner.state))?;
        }
        owner.claim(&*setting.changelog, &setting.producer)?;
        catalogue.carry_out(&*store)?;
        let sinks = setting.graph.nodes.iter().enumerate().filter(|(_, node)| node.sink.is_some());
        let holds_main = sinks.map(|(id, _)| id).any(|id| !main.runs(id));
        let drains = Arc::new(Mutex::new(Vec::new()));
        let cells = empty_cells(&setting.graph);
        let (main, drain) = main.start(&setting, &store)?;
        serve(&cells, main.tables());
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
            lease: Arc::new(lease),
        };
        match build {
            Some(opening) => core.begin_build(opening, former, holds_main)?,
            None => core.setting.build_consumer().release()?,
        }
        if reads != Reads::Stepped {
            core.main.shared().catch_up_to(core.end_of_changelog()?, reads == Reads::Stale);
        }
        Ok(core)
    }

    /// Where the changelog ends now, as far as the main task reads it.
    fn end_of_changelog(&self) -> Result<Position> {
        let setting = &self.setting;
        let read = self.main.position().iter().filter(|(id, _)| setting.graph.reads(&id.topic));
        read.map(|(id, _)| Ok((id.clone(), setting.changelog.offsets(id)?.end))).collect()
    }

    /// Refuses options that no state and no changelog could make right, before either is opened.
    ///
    /// # Errors
    /// `Invalid`.
    pub(crate) fn check_policy(graph: &Graph, policy: &FailurePolicy) -> Result<()> {
        if let FailurePolicy::DeadLetter(topic) = policy
            && graph.topics.iter().any(|used| used.name == *topic)
        {
            return Err(Error::invalid(format!(
                "dead letters would go to topic `{topic}`, which the graph reads or writes: a record that fails would fail for \
                 ever, or stand among others of another type; give them a topic of their own"
            )));
        }
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
        // An older version goes on answering until the tables that take its place can.
        let answers = build.holds_main || !self.main.shared().is_behind();
        let mut advanced = false;
        for _ in 0..build.epochs(ran, self.main.position()) {
            let more = build.task.step(limit, Some(self.main.position()))?;
            advanced |= more;
            if answers && build.has_caught_up(self.main.position(), !more) {
                self.complete_build()?;
                break;
            }
            if !more {
                break;
            }
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

    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.lease
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

/// Goes on behind what retention has dropped of topics on which no row depends: a graph before this one had given them up,
/// or only streams read them.
///
/// # Errors
/// `BehindChangelog` unless that is allowed.
fn pass_what_is_gone(
    setting: &Setting,
    there: &BTreeMap<Arc<str>, u32>,
    main: &mut Group,
    allowed: bool,
) -> Result<()> {
    let depends_on = main.depends_on(&setting.graph);
    let read = |topic: &str| setting.graph.reads(topic) && there.contains_key(topic);
    for (id, next) in main.position.clone().iter().filter(|(id, next)| *next > 0 && read(&id.topic)) {
        let begin = setting.changelog.offsets(id)?.start;
        if next >= begin || depends_on.contains(&*id.topic) {
            continue;
        }
        if !allowed {
            return Err(Error::new(
                ErrorKind::BehindChangelog,
                format!(
                    "the graph reads {id} again, of which it has seen what lies below offset {next}, and the changelog \
                     begins at {begin}; no table that is there depends on the records that are gone: open with \
                     `from_oldest_kept` to begin with what is left, or restore a copy of the changelog that reaches back"
                ),
            ));
        }
        tracing::warn!(partition = %id, next, begin, "going on behind records that retention has dropped");
        main.position.set(id.clone(), begin);
    }
    Ok(())
}

/// Refuses a state that was not folded from this changelog, or has read what the changelog has given up since: other records
/// have the offsets of those now. `read` is what its groups have read, as it is stored.
fn check_term(setting: &Setting, store: &dyn StateStore, read: &[Position]) -> Result<()> {
    let mut term = Ok(None);
    store.read(layout::TERM_KEY, &mut |stored| term = stored.map(layout::decode_term).transpose())?;
    let Some(term) = term? else { return Ok(()) };
    // Also of topics that the graph does not read now: a later one may, and takes up where they were left.
    let message = match term.check(&setting.changelog.terms()?, read.iter().flat_map(Position::iter)) {
        Ok(()) => return Ok(()),
        Err(Misfit::Foreign) => {
            "the state was folded from another changelog, or from a later copy of this one: put that back, or delete the \
             state directory, and it is folded again from this one"
                .to_owned()
        }
        Err(Misfit::GivenUp { partition, read, kept }) => format!(
            "the state includes {partition} up to offset {read}, but this changelog ended at {kept} before other records were \
             appended: it was opened with `salvage`, or put back as an older copy; delete the state directory, and it is \
             folded again from what the changelog has"
        ),
    };
    Err(Error::new(ErrorKind::AheadOfChangelog, message))
}

/// This engine as the owner of its name, and whether its state gets an identity only now.
fn owner_of(setting: &Setting, store: &dyn StateStore) -> Result<(Owner, bool)> {
    let stored = read_identity(store)?;
    let is_new = stored.is_none();
    Ok((Owner::new(stored.unwrap_or_else(new_identity), &setting.graph), is_new))
}

/// The identity of the state; none if it is new or of 0.1.
fn read_identity(store: &dyn StateStore) -> Result<Option<String>> {
    let mut identity = Ok(None);
    store.read(layout::IDENTITY_KEY, &mut |stored| {
        identity = stored.map(layout::decode_identity).transpose();
    })?;
    identity
}

fn write_row(store: &dyn StateStore, key: &[u8], stored: &[u8]) -> Result<()> {
    store.ingest(&mut std::iter::once((key, Some(stored))))
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
    if let FailurePolicy::DeadLetter(topic) = &setting.policy {
        TopicConfig::default().check(topic)?;
        check_letters(setting, topic, there.get(topic).copied().unwrap_or(0))?;
    }
    for (id, next) in position.iter().filter(|(id, _)| setting.graph.reads(&id.topic)) {
        let kept =
            if there.contains_key(&id.topic) { setting.changelog.offsets(id)? } else { Range::default() };
        first_to_read(id, &kept, next, from_oldest)?;
    }
    Ok(())
}

/// Refuses to put dead letters among the records of others: into a topic of so many partitions that holds one type, and has
/// some. Whoever declared it and wrote nothing is a reader of dead letters.
fn check_letters(setting: &Setting, topic: &Arc<str>, partitions: u32) -> Result<()> {
    let holds_one = partitions > 0
        && setting.changelog.topic_type(topic)?.is_some_and(|holds| holds != TopicType::mixed());
    for partition in 0..if holds_one { partitions } else { 0 } {
        if setting.changelog.offsets(&TopicPartition::new(Arc::clone(topic), partition))?.end > 0 {
            return Err(Error::invalid(format!(
                "dead letters would go to topic `{topic}`, which holds records of one type: records of every kind would be put \
                 among them; give dead letters a topic of their own"
            )));
        }
    }
    Ok(())
}

/// The threads on which shards run.
fn pool(shards: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(shards)
        .thread_name(|index| format!("millpond-shard-{index}"))
        .build()
        .map_err(|error| Error::internal("cannot start the threads of the shards").with_source(error))
}

/// Checks that the changelog fits both groups, as far as that can be told without writing to it.
fn check_changelog(
    setting: &Setting,
    there: &BTreeMap<Arc<str>, u32>,
    (main, build): (&Group, Option<&Group>),
    from_oldest: bool,
) -> Result<()> {
    check_topics(setting, there, &main.position, from_oldest)?;
    check_input(setting, there, main, from_oldest)?;
    setting.changelog.epochs_after(&setting.producer, &main.position)?;
    build.map_or(Ok(()), |build| check_input(setting, there, build, from_oldest))
}

/// Checks that the changelog holds what `group` has to read, from where it stands. A topic that is not there yet holds
/// nothing.
fn check_input(
    setting: &Setting,
    there: &BTreeMap<Arc<str>, u32>,
    group: &Group,
    from_oldest: bool,
) -> Result<()> {
    for (topic, _) in Plan::new(&setting.graph, &group.nodes)?.sources {
        for partition in 0..there.get(&topic).copied().unwrap_or(0) {
            let id = TopicPartition::new(Arc::clone(&topic), partition);
            first_to_read(&id, &setting.changelog.offsets(&id)?, group.position.offset(&id), from_oldest)?;
        }
    }
    Ok(())
}

fn create_topics(setting: &Setting, there: &BTreeMap<Arc<str>, u32>) -> Result<()> {
    for topic in setting.graph.topics.iter() {
        // Without a retention of its own the handle does not know what was decided for the topic.
        let decides = topic.config.retention_age.is_some() || topic.config.retention_bytes.is_some();
        if decides {
            setting.changelog.create_topic(&topic.name, &topic.config)?;
        } else {
            setting.changelog.ensure_topic(&topic.name, &topic.config)?;
        }
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

/// Lets `tables` answer.
pub(super) fn serve(cells: &[Arc<Cell>], tables: &[Option<Arc<dyn AnyTable>>]) {
    for (cell, table) in cells.iter().zip(tables) {
        if let Some(table) = table {
            cell.serve(Serving::Live(Arc::clone(table)));
        }
    }
}
