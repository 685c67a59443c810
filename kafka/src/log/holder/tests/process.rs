//! A process: its tenure, the thread that writes for it, and a pretended engine that does with roles what an engine does.
//!
//! The engine folds offsets of one partition, of which there are always more. What it has published stands in `published`, and
//! what is durable in `drained`. A build folds the same beside it, behind it, and keeps to the same epochs.

use super::super::mark::Mark;
use super::super::state::Stage;
use super::super::tenure::{Setup, Tenure};
use super::super::writer::{Writer, todo};
use super::brokers::{Brokers, Committed, MARKS};
use super::client::Client;
use super::world::World;
use millpond_engine::changelog::{Append, Commit, EpochMark, Record, Role};
use millpond_engine::{ErrorKind, Position, TopicPartition};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3600);

pub(super) struct Process {
    pub(super) tenure: Arc<Tenure>,
    pub(super) client: Client,
    writer: Mutex<Writer>,
    engine: Mutex<Engine>,
    /// As `Tasks::turn`: whoever steps back waits for the drain that runs.
    turn: Mutex<()>,
    published: AtomicU64,
    pub(super) drained: AtomicU64,
    /// The same of a build.
    built: AtomicU64,
    built_drained: AtomicU64,
    /// The engine has stopped with an error.
    pub(super) is_stopped: AtomicBool,
    /// The writer has.
    pub(super) has_ended: AtomicBool,
    /// A transaction is open until somebody waits for its end.
    waits: bool,
}

#[derive(Default)]
struct Engine {
    follows: bool,
    ahead: VecDeque<EpochMark>,
    builds: bool,
    ahead_of_build: VecDeque<EpochMark>,
}

pub(super) fn at(offset: u64) -> Position {
    [(TopicPartition::new("in", 0), offset)].into_iter().collect()
}

pub(super) fn offset(position: &Position) -> u64 {
    position.offset(&TopicPartition::new("in", 0))
}

/// What the epoch appends for the record at this offset.
pub(super) fn output(holder: &str, (from, to): (u64, u64), record: u64) -> String {
    format!("{holder} {from}..{to} {record}")
}

impl Process {
    pub(super) fn start(world: &Arc<World>, drained: u64, built: u64) -> Arc<Self> {
        let client = Client::new(Arc::downgrade(world));
        let waits = world.draw() % 2 == 1;
        let builds = built > 0 || world.draw() % 3 == 2;
        let setup = Setup {
            name: "service".into(),
            fetcher: Arc::new(client.clone()),
            topic: TopicPartition::new("service.epochs", 0),
            producers: Box::new(client.clone()),
            commit_every: if waits { LONG } else { Duration::ZERO },
            back_off: Duration::ZERO,
            loose: if world.sends_loose { ["loose".to_owned()].into() } else { [].into() },
            appender: Arc::new(client.clone()),
            wake: Box::new(|| ()),
        };
        // What was committed before it has begun can be read until then.
        world.brokers().mark_ends();
        let end = world.brokers().stable(MARKS);
        let tenure = Arc::new(Tenure::new(setup, end));
        tenure.hold(false, &at(drained));
        tenure.hold(true, &if builds { at(built) } else { Position::new() });
        Arc::new(Self {
            writer: Mutex::new(Writer::new(Arc::clone(&tenure))),
            tenure,
            client,
            engine: Mutex::new(Engine { builds, ..Engine::default() }),
            turn: Mutex::default(),
            published: drained.into(),
            drained: drained.into(),
            built: built.into(),
            built_drained: built.into(),
            is_stopped: false.into(),
            has_ended: false.into(),
            waits,
        })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.client.is_dead.load(Ordering::Relaxed)
    }

    /// It is killed, wherever it is.
    pub(super) fn kill(&self) {
        self.client.is_dead.store(true, Ordering::Relaxed);
        self.assign(false);
        self.tenure.leave();
    }

    pub(super) fn assign(&self, is_assigned: bool) {
        self.tenure.state().assigned = is_assigned;
    }

    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    pub(super) fn drained(&self) -> (u64, u64) {
        (self.drained.load(Ordering::Relaxed), self.built_drained.load(Ordering::Relaxed))
    }

    /// What the thread that writes does next.
    pub(super) fn write(&self) {
        let Ok(mut writer) = self.writer.try_lock() else { return };
        if self.has_ended.load(Ordering::Relaxed) {
            return;
        }
        if self.waits {
            // Or it would.
            self.tenure.state().wanted = u64::MAX;
        }
        let todo = todo(&self.tenure.state());
        if let Some(todo) = todo
            && !writer.act(&todo)
        {
            self.has_ended.store(true, Ordering::Relaxed);
        }
    }

    /// What the thread that folds does next.
    pub(super) fn step(&self, world: &World) {
        let Ok(mut engine) = self.engine.try_lock() else { return };
        if self.is_stopped.load(Ordering::Relaxed) {
            return;
        }
        if self.take_role(world, &mut engine) && self.fold(world, &mut engine) && engine.builds {
            self.build(world, &mut engine);
        }
    }

    /// As `Core::take_role`.
    fn take_role(&self, world: &World, engine: &mut Engine) -> bool {
        let role = self.tenure.role();
        world.meanwhile();
        match role {
            Role::Fenced => {
                let Ok(_still) = self.turn.try_lock() else { return false };
                world.meanwhile();
                let (drained, built) = self.drained();
                self.published.store(drained, Ordering::Relaxed);
                self.built.store(built, Ordering::Relaxed);
                engine.ahead.clear();
                engine.ahead_of_build.clear();
                engine.follows = true;
                self.tenure.follow(role);
                true
            }
            Role::Follower => {
                engine.follows = true;
                world.meanwhile();
                self.tenure.follow(role);
                true
            }
            _ => {
                engine.follows = false;
                self.tenure.state().has_room()
            }
        }
    }

    /// One epoch. `false` if the step is over.
    fn fold(&self, world: &World, engine: &mut Engine) -> bool {
        let position = self.published();
        if !self.look_ahead(world, position, &mut engine.ahead) {
            return false;
        }
        let to = match engine.ahead.front() {
            Some(mark) if offset(&mark.from) > position => offset(&mark.from),
            Some(mark) => offset(&mark.to),
            None if engine.follows => return true,
            None => position + 1 + u64::from(world.way(4)),
        };
        world.meanwhile();
        let mark = EpochMark::new(at(position), at(to));
        let records = (position..to)
            .map(|record| Record::new("", output(&self.tenure.identity, (position, to), record)));
        let mut appends =
            vec![Append { partition: TopicPartition::new("out", 0), records: records.collect() }];
        if world.sends_loose {
            let partition = TopicPartition::new("loose", 0);
            appends.push(Append { partition, records: appends[0].records.clone() });
        }
        match self.tenure.append(&mark, appends) {
            Ok(_) => {
                world.meanwhile();
                self.published.store(to, Ordering::Relaxed);
                true
            }
            Err(_) if self.tenure.role() == Role::Fenced => false,
            Err(error) => {
                self.stop(&error);
                false
            }
        }
    }

    /// As `TaskInput::look_at_marks`.
    fn look_ahead(&self, world: &World, position: u64, ahead: &mut VecDeque<EpochMark>) -> bool {
        let pass = |ahead: &mut VecDeque<EpochMark>| {
            while ahead.front().is_some_and(|mark| offset(&mark.to) <= position) {
                ahead.pop_front();
            }
        };
        pass(ahead);
        if !ahead.is_empty() {
            return true;
        }
        let before = self.standing();
        match self.tenure.epochs_after(&at(position)) {
            Ok(marks) => {
                if !self.is_dead() {
                    self.check_marks(&world.brokers(), before, position, &marks);
                }
                ahead.extend(marks);
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => return false,
            Err(error) => {
                self.stop(&error);
                return false;
            }
        }
        pass(ahead);
        true
    }

    /// What it is, and since when.
    fn standing(&self) -> (Stage, u64) {
        self.tenure.state().standing()
    }

    /// Whether a mark is for it to know: a holder that another one has taken over from does not know it yet.
    fn may_know(&self, (stage, end): (Stage, u64), committed: &Committed) -> bool {
        stage != Stage::Holding || committed.offset < end || committed.mark.holder == self.tenure.identity
    }

    /// Marks are handed out in the order of the log, from the first one behind the position on, and none is left out but what
    /// was deleted. Whoever was a holder before gets all that there are, if it still is one.
    fn check_marks(&self, brokers: &Brokers, before: (Stage, u64), position: u64, given: &[EpochMark]) {
        let start = brokers.start(MARKS);
        let now = self.standing();
        let is_there = |committed: &&Committed| {
            let is_kept = committed.offset >= start && self.may_know(now, committed);
            is_kept || given.contains(&committed.mark.epoch)
        };
        let there: Vec<_> = brokers.marks.iter().filter(is_there).map(|there| &there.mark.epoch).collect();
        let state = self.tenure.state();
        let own = state.outbox.iter().map(|entry| &entry.mark).filter(|own| !there.contains(own));
        let all = there.iter().copied().chain(own);
        let behind: Vec<_> = all.filter(|mark| offset(&mark.to) > position).cloned().collect();
        assert!(
            behind.starts_with(given) || now.0 == Stage::Fenced,
            "behind {position} there are {behind:?}, and {given:?} were given to one that is {now:?}"
        );
        assert!(
            !given.is_empty() || behind.is_empty() || now.0 != Stage::Holding || before != now,
            "behind {position} there are {behind:?}, and a holder was given none"
        );
    }

    fn stop(&self, error: &millpond_engine::Error) {
        let has_failed = self.tenure.state().failed.is_some();
        assert!(has_failed || self.is_dead(), "the engine stopped: {error}");
        self.is_stopped.store(true, Ordering::Relaxed);
        self.tenure.leave();
    }

    /// An epoch of the build, as `Core::step_tasks` and `open_input` have it where marks decide the order of records.
    fn build(&self, world: &World, engine: &mut Engine) {
        let (position, until) = (self.built.load(Ordering::Relaxed), self.published());
        if position == until {
            // It is complete.
            let Ok(_turn) = self.turn.try_lock() else { return };
            engine.builds = false;
            self.built.store(0, Ordering::Relaxed);
            self.built_drained.store(0, Ordering::Relaxed);
            self.tenure.hold(true, &Position::new());
            return;
        }
        if !self.look_ahead(world, position, &mut engine.ahead_of_build) {
            return;
        }
        let to = match engine.ahead_of_build.front() {
            Some(mark) if offset(&mark.from) > position => offset(&mark.from).min(until),
            Some(mark) if offset(&mark.to) <= until => offset(&mark.to),
            Some(_) => return,
            None => until,
        };
        let is_marked = engine.ahead_of_build.front().is_some_and(|mark| offset(&mark.from) <= position);
        if !is_marked && !self.was_fenced_since(until) {
            let (brokers, standing) = (world.brokers(), self.standing());
            let start = brokers.start(MARKS);
            let within = |committed: &&Committed| {
                let Mark { epoch, .. } = &committed.mark;
                self.may_know(standing, committed)
                    && committed.offset >= start
                    && offset(&epoch.from) < to
                    && offset(&epoch.to) > position
            };
            let missed: Vec<_> = brokers.marks.iter().filter(within).collect();
            assert!(missed.is_empty(), "a build cut {position}..{to}, in which there is {missed:?}");
        }
        self.built.store(to, Ordering::Relaxed);
    }

    /// As `KafkaChangelog::forget_marks`, of what stands below an offset that a time has told.
    pub(super) fn forget(&self, world: &World, old: u64) {
        if self.standing().0 == Stage::Holding
            && let Ok(before) = self.tenure.forgettable(old)
            && !self.is_dead()
        {
            world.brokers().delete_marks(before);
        }
    }

    /// Whether what the main task has published up to here will be taken back.
    fn was_fenced_since(&self, published: u64) -> bool {
        self.tenure.role() == Role::Fenced || self.published() < published || self.is_dead()
    }

    /// As `Tasks::drain`.
    pub(super) fn drain(&self, world: &World) {
        let Ok(_turn) = self.turn.try_lock() else { return };
        if self.is_stopped.load(Ordering::Relaxed) {
            return;
        }
        for (published, drained, builds) in
            [(&self.published, &self.drained, false), (&self.built, &self.built_drained, true)]
        {
            let captured = published.load(Ordering::Relaxed);
            world.meanwhile();
            if self.is_dead() || !matches!(self.tenure.commit(Duration::ZERO), Ok(Commit::Done)) {
                return;
            }
            world.meanwhile();
            if captured <= drained.load(Ordering::Relaxed) {
                continue;
            }
            world.check_durable(captured);
            drained.store(captured, Ordering::Relaxed);
            world.meanwhile();
            self.tenure.hold(builds, &at(captured));
        }
    }
}
