//! The core of an engine, without threads: step, and complete a build.
//!
//! The background engine and the step-by-step driver of the test kit both stand on it, so that what is tested is what
//! runs.

use super::build::Build;
use super::catalogue::Catalogue;
use super::grown::Counts;
use super::idleness::Silence;
use super::{Awaiting, EpochLimit, Service, Task};
use crate::changelog::Role;
use crate::store::StateStore;
use crate::{Error, Position, Result, TopicPartition};
use std::sync::Arc;
use std::time::Duration;

/// Silent partitions are looked at so often.
const LOOK: Duration = Duration::from_millis(200);

/// What of an engine moves: its tasks, and the catalogue of its tables.
pub(crate) struct Core {
    pub(super) service: Arc<Service>,
    pub(super) catalogue: Catalogue,
    pub(super) store: Arc<dyn StateStore>,
    pub(super) main: Task,
    pub(super) build: Option<Build>,
    /// What was found of the topics.
    pub(super) partitions: Counts,
    /// Where the changelog ended when it was opened, as far as it was asked then.
    pub(super) ends: Position,
    /// Why a step failed: the input of that epoch was not applied, and must not be passed over.
    failed: Option<Error>,
    /// Whether it takes silent partitions on in time, and how long they were silent.
    pub(super) ticks: bool,
    pub(super) silence: Silence,
}

impl Core {
    pub(super) fn new(
        service: Arc<Service>,
        catalogue: Catalogue,
        store: Arc<dyn StateStore>,
        main: Task,
    ) -> Self {
        let ticks = service.graph.ticks();
        Self {
            service,
            catalogue,
            store,
            main,
            build: None,
            partitions: Counts::new(),
            ends: Position::new(),
            failed: None,
            ticks,
            silence: Silence::default(),
        }
    }

    /// How long at most to wait for something to read before [`step`](Self::step) is called all the same; none if there is nothing else
    /// to do.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.ticks.then_some(LOOK)
    }

    /// Where the changelog ends now, as far as the main task reads it.
    pub(super) fn end_of_changelog(&self) -> Result<Position> {
        let service = &self.service;
        // Where others of its name run, the holder may read less.
        let followed = service.shares_epochs().then(|| self.main.next_mark()).flatten();
        let is_read = |id: &TopicPartition| {
            service.graph.reads(&id.topic) && followed.is_none_or(|mark| mark.to.known(id).is_some())
        };
        let read = self.main.position().iter().filter(|(id, _)| is_read(id));
        read.map(|(id, _)| Ok((id.clone(), service.changelog.latest_offsets(id)?.end))).collect()
    }

    /// Runs one epoch of every task that has input. `false` if none had.
    ///
    /// # Errors
    /// The engine must stop: see [`Task::step`]. Whoever steps on gets the same error again.
    pub(crate) fn step(&mut self) -> Result<bool> {
        let limit = self.service.limit;
        self.step_within(limit)
    }

    /// As [`step`](Self::step), with a limit for this epoch.
    pub(crate) fn step_within(&mut self, limit: EpochLimit) -> Result<bool> {
        if let Some(error) = &self.failed {
            return Err(error.summary());
        }
        let stepped = match self.take_role() {
            Ok(false) => return Ok(false),
            Ok(true) => self.step_tasks(limit),
            Err(error) => {
                self.failed = Some(error.summary());
                return Err(error);
            }
        };
        match &stepped {
            // What another engine has taken over is not this one's failure: the next step steps back.
            Err(_) if self.service.role() == Role::Fenced => return Ok(true),
            Err(error) => self.failed = Some(error.summary()),
            Ok(_) => {}
        }
        stepped
    }

    fn step_tasks(&mut self, limit: EpochLimit) -> Result<bool> {
        self.read_what_was_added()?;
        let held = self.build.as_ref().is_some_and(|build| build.holds_main);
        // Whether there is anything to read or not: periods begin by the clock.
        let ran =
            !held && (self.let_periods_begin()? || self.main.step(limit, None)? || self.let_time_pass()?);
        self.look_who_leads();
        let Some(build) = &mut self.build else { return Ok(ran) };
        // An older version goes on answering until the tables that take its place can.
        let answers = build.holds_main || !self.main.shared().is_behind();
        let mut advanced = false;
        for _ in 0..build.epochs(ran, self.main.position()) {
            let more = build.task.step(limit, Some(self.main.position()))?;
            advanced |= more;
            if build.task.awaiting().is_some() || build.task.awaits_letters() {
                break;
            }
            if answers && build.has_caught_up(self.main.position(), !more) {
                build.come_as_far(self.main.shared())?;
                self.complete_build()?;
                break;
            }
            if !more {
                break;
            }
        }
        Ok(ran || advanced || self.build.is_none())
    }

    /// What has to be fetched before the main task and a build can go on.
    pub(crate) fn awaiting(&self) -> [Option<&Arc<Awaiting>>; 2] {
        [self.main.awaiting(), self.build.as_ref().and_then(|build| build.task.awaiting())]
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    pub(super) fn main(&self) -> &Task {
        &self.main
    }

    /// Whether tables are still being built.
    pub(crate) fn is_building(&self) -> bool {
        self.build.is_some()
    }
}
