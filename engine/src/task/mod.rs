//! The task: one set of nodes that advances through the changelog together.
//!
//! A task is the unit of atomic commit and of recovery: one position says which input all its tables include. An
//! engine runs one task for the whole graph and, while a new table is being built, a second one for that.
//!
//! One step is one epoch: cut input, run it through the graph, append what it produced, publish. A step that fails
//! leaves the tables as they were before it.

mod abilities;
mod awaiting;
mod beginnings;
mod build;
mod catalogue;
mod checks;
mod closings;
mod compaction;
mod consumer;
mod core;
mod drain;
mod epoch;
mod failures;
mod forgetting;
mod grown;
mod idleness;
mod input;
mod letters;
mod opening;
mod origins;
mod outputs;
mod owner;
mod passage;
mod periods;
mod plan;
mod roles;
mod service;
mod setting;
mod tasks;
mod times;
mod unled;

pub use failures::FailurePolicy;

pub(crate) use abilities::check_abilities;
pub(crate) use awaiting::Awaiting;
pub(crate) use catalogue::BUILD_GROUP;
#[cfg(feature = "rocks")]
pub(crate) use catalogue::Found;
#[cfg(feature = "rocks")]
pub use catalogue::{StateInfo, TableInfo};
pub(crate) use checks::check_policy;
pub(crate) use consumer::Consumer;
pub(crate) use core::Core;
pub(crate) use input::{EpochLimit, TaskInput};
pub(crate) use opening::Decided;
pub(crate) use plan::Plan;
pub(crate) use service::Service;
pub(crate) use setting::{Counters, Reads, STACK_BYTES, Setting, pool};
pub(crate) use tasks::{Tasks, position_of};

use crate::changelog::{Record, Role};
use crate::dataflow::{Skipped, Sunk};
use crate::flow::{Closings, Meter, Stamp};
use crate::state::{AnyTable, Generation, Published, TaskState};
use crate::store::layout::TableId;
use crate::time::{Reached, StreamTimes, Tick, Watermarks};
use crate::{Error, Position, Result, TopicPartition, fault};
use bytes::Bytes;
use closings::LeftOutOfEpoch;
use epoch::{EpochFailure, EpochRun, Sealed};
use failures::{Backoff, EpochOutcome};
use input::{Bound, EpochInput};
use letters::Letters;
use outputs::appends;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Generations below this size are merged as they come, so that a snapshot has few to look through. Larger ones come
/// under load only, where drains follow soon and the folding thread has better things to do.
const MERGE_BYTES: usize = 1 << 20;

/// Nodes that advance together.
pub(crate) struct Task {
    setting: Arc<Setting>,
    plan: Plan,
    tables: Vec<Option<Arc<dyn AnyTable>>>,
    ids: Vec<Option<TableId>>,
    shared: Arc<TaskState>,
    input: TaskInput,
    backoff: Backoff,
    letters: Letters,
    /// Whether outputs go to the changelog; a background build only builds tables, and sets records aside.
    produces: bool,
    /// What has to be fetched before the next epoch can be decoded.
    awaiting: Option<Arc<Awaiting>>,
    /// How often in a row an epoch was cut and had to wait.
    rounds: u32,
}

impl Task {
    pub(crate) fn new(
        setting: Arc<Setting>,
        plan: Plan,
        ids: Vec<Option<TableId>>,
        tables: Vec<Option<Arc<dyn AnyTable>>>,
        shared: Arc<TaskState>,
        input: TaskInput,
        produces: bool,
    ) -> Self {
        let backoff = if setting.starts_small() { Backoff::of_a_beginner() } else { Backoff::default() };
        let letters = Letters::default();
        let (awaiting, rounds) = (None, 0);
        Self { setting, plan, tables, ids, shared, input, backoff, letters, produces, awaiting, rounds }
    }

    pub(crate) fn shared(&self) -> &Arc<TaskState> {
        &self.shared
    }

    pub(crate) fn position(&self) -> &Position {
        self.input.position()
    }

    pub(crate) fn tables(&self) -> &[Option<Arc<dyn AnyTable>>] {
        &self.tables
    }

    pub(crate) fn ids(&self) -> &[Option<TableId>] {
        &self.ids
    }

    pub(crate) fn table(&self, index: usize) -> Option<&Arc<dyn AnyTable>> {
        self.tables.get(index)?.as_ref()
    }

    /// Runs one epoch of at most `limit`, not past `until`, and more than one if a record in it fails. `false` if there was
    /// nothing to read, or what is there has to [wait](Self::awaiting).
    ///
    /// # Errors
    /// The task must not be stepped again after an error: what is published stays right, but the input of the failed
    /// epoch was not applied.
    pub(crate) fn step(&mut self, limit: EpochLimit, until: Option<&Position>) -> Result<bool> {
        if self.has_to_wait()? {
            return Ok(false);
        }
        let _folding = self.setting.host.id.fold();
        let mut end: Option<u64> = None;
        let mut too_much = false;
        loop {
            let (limit, before) = self.backoff.bound(limit, self.setting.growth_bytes);
            let bound = Bound { before: before.or(end), until, ticks: None };
            let Some(input) = self.input.cut(limit, bound, &self.setting.pool)? else {
                if bound.before.is_none() && bound.until.is_none() {
                    self.input.end_of_log().into_iter().for_each(|end| self.shared.pass(end));
                }
                return Ok(end.is_some());
            };
            let span =
                tracing::debug_span!("epoch", number = self.shared.epoch() + 1, records = input.records);
            let _entered = span.enter();
            match self.process(&input)? {
                EpochOutcome::Done => {
                    self.shared.pass(input.end);
                    // Where a record fails the epoch becomes several, up to where it would have ended. Where there is too
                    // much in it, what is left waits: there has to be room first.
                    if too_much || end.is_none_or(|end| input.end >= end) {
                        return Ok(true);
                    }
                }
                EpochOutcome::Failed => _ = end.get_or_insert(input.end),
                EpochOutcome::TooMuch => too_much = true,
                EpochOutcome::Awaits => return Ok(false),
            }
        }
    }

    /// Takes these partitions on in time, by an epoch that has no records. `false` if the graph does not look at time.
    ///
    /// # Errors
    /// As for [`step`](Self::step).
    pub(crate) fn tick(&mut self, times: &BTreeMap<TopicPartition, i64>) -> Result<bool> {
        let _folding = self.setting.host.id.fold();
        let Some(input) = self.input.tick(times)? else { return Ok(false) };
        let span = tracing::debug_span!("tick", number = self.shared.epoch() + 1, partitions = times.len());
        let _entered = span.enter();
        self.pass_time(&input).map(|()| true)
    }

    /// Takes these partitions on in time where it stands, by an epoch that is none of the log's: of a build, which appends nothing.
    ///
    /// # Errors
    /// As for [`step`](Self::step).
    pub(super) fn raise(&mut self, times: &BTreeMap<TopicPartition, i64>) -> Result<()> {
        let _folding = self.setting.host.id.fold();
        let input = self.input.raised(times);
        self.pass_time(&input)
    }

    /// Runs an epoch that has no records: there is nothing to cut smaller, or to wait for.
    fn pass_time(&mut self, input: &EpochInput) -> Result<()> {
        match self.process(input)? {
            EpochOutcome::Done => Ok(()),
            outcome => Err(Error::internal(format!("an epoch without records came to {outcome:?}"))),
        }
    }

    /// A tick on its way to the changelog.
    fn sunk_tick(&self, tick: &Tick) -> Result<Sunk> {
        let TopicPartition { topic, partition } = self.setting.ticks.clone();
        // Of now: a log may refuse, or drop, what is dated otherwise.
        let record = Record::new(Bytes::new(), tick.encode()?).at(self.setting.clock.now_ms());
        Ok(Sunk { topic, partition, stamp: Stamp::default(), record })
    }

    /// Whether anything is due that is not yet, once the partitions have come as far as `times`.
    ///
    /// # Errors
    /// An error of the store; `User` if code of the user's panics.
    pub(super) fn would_close(&self, times: &StreamTimes) -> Result<bool> {
        let setting = &self.setting;
        let before = Watermarks::at(&setting.graph, &self.shared.published().reached.times);
        let after = Watermarks::at(&setting.graph, times);
        let meter = Meter::new(usize::MAX, 0);
        let run = self.run(&meter, times);
        let due = user_code("it was looked what is due", || {
            self.plan.levels.iter().flatten().try_fold(false, |due, &id| {
                Ok(due || (before.of(id) < after.of(id) && run.is_due(id, before.of(id)..after.of(id))?))
            })
        });
        due.and_then(|due| due)
    }

    /// What runs the next epoch.
    fn run<'a>(&'a self, meter: &'a Meter, times: &'a StreamTimes) -> EpochRun<'a> {
        EpochRun {
            graph: &self.setting.graph,
            changelog: &*self.setting.changelog,
            plan: &self.plan,
            tables: &self.tables,
            pool: &self.setting.pool,
            router: self.setting.router,
            epoch: self.shared.epoch() + 1,
            skipped: const { &Skipped::new() },
            closings: None,
            tracing: false,
            again: false,
            meter,
            engine: self.setting.host.id,
            times,
            ticks: &self.setting.ticks,
        }
    }

    /// Runs an epoch and takes it back if it fails. `tracing` notes which record is worked on, after a failure.
    fn attempt(
        &self,
        input: &EpochInput,
        skipped: &Skipped,
        closings: &Closings<'_>,
        tracing: bool,
    ) -> Result<Sealed, EpochFailure> {
        // What cannot be cut smaller may take what it takes.
        let is_whole = input.records <= 1 || input.replayed;
        let most_bytes = if is_whole { usize::MAX } else { self.setting.growth_bytes };
        let record_bytes = input.bytes / usize::try_from(input.records).unwrap_or(usize::MAX).max(1);
        let meter = Meter::new(most_bytes, record_bytes);
        let times = self.shared.published().reached.times.clone();
        let again = tracing || (input.records == 1 && self.backoff.has_told(input.first()));
        let closings = (!closings.is_plain()).then_some(closings);
        let run = EpochRun { skipped, closings, tracing, again, ..self.run(&meter, &times) };
        // What is left over of the epoch is dropped in there, too.
        let run =
            user_code("an epoch was run", || run.carry(input)).unwrap_or_else(|panic| Err(panic.into()));
        match run {
            Ok(sealed) => Ok(Sealed { grown_bytes: meter.used(), ..sealed }),
            Err(failure) => {
                self.roll_back()?;
                Err(failure)
            }
        }
    }

    /// Takes back what the running epoch did to every table.
    ///
    /// # Errors
    /// `User` if a value could not be dropped; everything was taken back all the same.
    fn roll_back(&self) -> Result<()> {
        let mut first = Ok(());
        for table in self.written() {
            for shard in 0..self.setting.router.shards() {
                first = first.and(user_code("an epoch was taken back", || table.roll_back(shard)));
            }
        }
        first
    }

    fn written(&self) -> impl Iterator<Item = &Arc<dyn AnyTable>> {
        self.plan.writes.iter().filter_map(|&table| self.tables.get(table)?.as_ref())
    }

    /// Appends what the epoch produced, then makes it visible. `false` if it has to wait for letters, as in
    /// [`append_missing`](Self::append_missing): it was taken back.
    fn finish(&mut self, input: &EpochInput, sealed: Sealed, left_out: &LeftOutOfEpoch) -> Result<bool> {
        let produced = self.produce(input, sealed.sunk, sealed.passed.takes_in, left_out);
        if !matches!(produced, Ok(true)) {
            self.roll_back()?;
            return produced;
        }
        fault::point("epoch.before_publish")?;
        // Counted first: whoever sees the epoch finds it counted.
        let counters = &self.setting.counters;
        counters.epochs.fetch_add(1, Ordering::Relaxed);
        counters.records_in.fetch_add(input.records, Ordering::Relaxed);
        let held = self.shared.hold_publishing();
        let now = self.shared.published();
        let epoch = now.epoch + 1;
        let mut counts = BTreeMap::clone(&now.counts);
        let shards = 0..self.setting.router.shards();
        for table in self.written() {
            let count = counts.entry(table.id()).or_default();
            let grown = shards.clone().map(|shard| table.grown(shard)).sum();
            count.rows = count.rows.saturating_add_signed(grown);
        }
        let pinned_bytes = self.written().map(|table| table.pins()).sum();
        let reached = Reached::new(input.position.clone(), sealed.passed.times);
        let mut generation =
            Generation::new(epoch, reached.clone(), Arc::clone(&now.counts), pinned_bytes, sealed.parts);
        let mut generations = now.generations.clone();
        let layers: Vec<&Generation> =
            generations.iter().map(|layer| &**layer).chain([&generation]).collect();
        let forgotten =
            user_code("rows were forgotten", || self.forget(&reached.times, &mut counts, &layers))??;
        let counts = Arc::new(counts);
        generation.counts = Arc::clone(&counts);
        stack(&mut generations, Arc::new(generation));
        self.shared.publish(
            &held,
            Published { epoch, reached, generations, drained: now.drained, counts },
            || (),
        );
        // Whoever is told of the epoch finds it published, and whoever subscribes now waits until all were told.
        let told = user_code("its changes were told", || {
            for table in self.written() {
                table.publish(&input.position);
                shards.clone().for_each(|shard| table.commit(shard));
            }
            self.drop_forgotten(&forgotten)
        });
        drop(held);
        if !sealed.passed.moved.is_empty() && self.setting.graph.looks_at_time() {
            self.setting.moved.note(sealed.passed.moved, self.setting.clock.now_ms());
        }
        self.shared.tell(epoch);
        told??;
        fault::point("epoch.after_publish")?;
        user_code("rows were evicted from memory", || self.evict())?;
        Ok(true)
    }

    /// Keeps the hot state under its part of the memory budget, shared by the tables as they need it.
    fn evict(&self) {
        let tables: Vec<_> = self.tables.iter().flatten().map(|table| (table, table.holds_soon())).collect();
        let held: usize = tables.iter().map(|(_, bytes)| bytes).sum();
        if held <= self.setting.hot_bytes {
            return;
        }
        for (table, bytes) in tables {
            // A table gives up in proportion to what it holds.
            let share = bytes as u128 * self.setting.hot_bytes as u128 / held.max(1) as u128;
            let per_shard = usize::try_from(share).unwrap_or(usize::MAX) / self.setting.router.shards();
            (0..self.setting.router.shards()).for_each(|shard| table.evict(shard, per_shard));
        }
    }

    /// Appends the outputs and dead letters of an epoch together with its mark, if there are any. `false` as for
    /// [`append_missing`](Self::append_missing).
    fn produce(
        &mut self,
        input: &EpochInput,
        mut sunk: Vec<Sunk>,
        takes_in: bool,
        left_out: &LeftOutOfEpoch,
    ) -> Result<bool> {
        let letters = self.letters(input, left_out)?;
        if !self.produces && !input.makes_tick {
            return self.append_missing(letters);
        }
        sunk.extend(letters.iter().cloned());
        // Where a partition was taken in decides when things close, and stands nowhere else; so does where a tick was made.
        let decides = (takes_in && self.setting.graph.looks_at_time()) || !input.ticks.is_empty();
        if input.makes_tick {
            sunk.extend(input.ticks.iter().map(|tick| self.sunk_tick(tick)).collect::<Result<Vec<_>>>()?);
        }
        if sunk.is_empty() && !decides && (!self.setting.marks_all() || input.records == 0) {
            // A mark without records would tell a replay nothing, and cost a write and a wait.
            return Ok(true);
        }
        let total = sunk.len() as u64;
        let span = tracing::debug_span!("append", records = total);
        let _entered = span.enter();
        let mark = input.mark();
        fault::point("epoch.before_append")?;
        if self.setting.changelog.append_epoch(&self.setting.name, &mark, appends(sunk))? {
            self.setting.counters.records_out.fetch_add(total, Ordering::Relaxed);
            self.setting.counters.dead_letters.fetch_add(letters.len() as u64, Ordering::Relaxed);
        } else if input.makes_tick {
            // It would be published, and stand nowhere.
            return Err(Error::internal("a tick was made where another one is marked already"));
        } else if self.setting.role() == Role::Holder && !self.append_missing(letters)? {
            return Ok(false);
        }
        fault::point("epoch.after_append")?;
        Ok(true)
    }
}

/// Runs `work` of ours that runs code of the user's types on the way: a `Drop`, a `Clone`, a comparison. `when` says what
/// was going on if it panics.
///
/// # Errors
/// `User`. What `work` was about may be half done: the task must not be stepped again.
pub(crate) fn user_code<T>(when: &str, work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let advice = "look at the `Drop`, `Clone`, `Eq`, `Hash` and `Ord` of its keys and values";
        epoch::panicked(&*panic).context(format!("while {when} ({advice})"))
    })
}

/// Adds a generation, merging small neighbours so that their number stays logarithmic.
fn stack(generations: &mut Vec<Arc<Generation>>, newest: Arc<Generation>) {
    generations.push(newest);
    while let [.., older, newer] = generations.as_slice() {
        if older.bytes() > MERGE_BYTES || newer.bytes() * 2 < older.bytes() {
            break;
        }
        let Some(merged) = Generation::merge(&[Arc::clone(older), Arc::clone(newer)]) else { break };
        generations.truncate(generations.len() - 2);
        generations.push(Arc::new(merged));
    }
}
