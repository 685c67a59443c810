//! Roles, where several engines of one name share the epochs of one of them: following, taking over, and stepping back.
//!
//! A holder publishes its epochs at once, and the log commits what they appended, with their marks, a moment later. So a
//! drain waits for that, and what is durable is never ahead of what is committed: a state that is opened again only has to
//! follow the marks. If another engine has taken over before a commit, what was published since the last drain is taken back:
//! the task begins again from its own store, as a follower. What was published goes on answering until the task has come as far
//! again, and nothing is drained before: whoever has seen a row sees it still, however long the log is away. Only where the way
//! there takes more memory than there is, nothing answers for the rest of it.

use super::drain::Drain;
use super::failures::Backoff;
use super::letters::Letters;
use super::opening::{drain_of, make_tables, stored_reached};
use super::{BUILD_GROUP, Core, Reads, Task, forgetting, times};
use crate::changelog::{EpochMark, Role};
use crate::state::{AnyTable, Before, TaskState};
use crate::store::StateStore;
use crate::store::layout::{self, MAIN_GROUP};
use crate::time::Reached;
use crate::{ErrorKind, Position, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Core {
    /// Takes the role that the log gives the engine now. `false` if nothing can be done in it at the moment.
    ///
    /// # Errors
    /// As for [`Task::go_back`].
    pub(super) fn take_role(&mut self) -> Result<bool> {
        let setting = Arc::clone(self.service.setting());
        if !setting.shares_epochs() {
            return Ok(true);
        }
        match setting.role() {
            Role::Fenced => match self.step_back() {
                // Nothing has changed, and nothing is drained as long as it is fenced: again, at the next look.
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tracing::warn!(%error, "what was not committed cannot be taken back yet");
                    Ok(false)
                }
                outcome => outcome.map(|()| true),
            },
            Role::Follower => {
                self.main.follow(true);
                // Before it may be the holder again.
                setting.changelog.follow(&setting.name, Role::Follower)?;
                // Whoever follows appends letters of builds.
                Ok(setting.changelog.has_room(&setting.name))
            }
            Role::Holder => {
                self.main.follow(false);
                Ok(setting.changelog.has_room(&setting.name))
            }
        }
    }

    /// Takes back what was not committed, as another engine has taken over: every task goes on from the store, as a follower.
    ///
    /// # Errors
    /// As for [`Task::go_back`].
    fn step_back(&mut self) -> Result<()> {
        let service = Arc::clone(&self.service);
        let setting = service.setting();
        tracing::warn!(
            name = &*service.name,
            position = %self.main.position(),
            "another engine of this name has taken over: what was not committed is taken back, and the engine follows"
        );
        // No rows become durable between the reading of the store and the end of the old task.
        let _still = service.tasks.wait_for_turn();
        // All that may fail comes first.
        let back = self.main.look_back(&self.store, MAIN_GROUP)?;
        let build =
            self.build.as_ref().map(|build| build.task.look_back(&self.store, BUILD_GROUP)).transpose()?;
        if setting.reads != Reads::Stepped {
            back.shared.catch_up_to(self.main.shared().goal(), setting.reads == Reads::Stale);
        }
        let drain = Arc::clone(&back.drain);
        let before = self.main.go_back(back);
        let leaving = self.answer_meanwhile(before);
        service.tasks.replace_main(&drain);
        leaving.into_iter().for_each(Before::leave);
        if let (Some(running), Some(back)) = (&mut self.build, build) {
            service.tasks.add(Arc::clone(&back.drain));
            running.task.go_back(back).leave();
        }
        service.host.signal();
        // Only now: as long as it is fenced, nothing of what was published is drained.
        setting.changelog.follow(&setting.name, Role::Fenced)
    }

    /// Lets what was published `before` answer until the task has come as far again, however long the log is away. Answers with
    /// what does not answer any more.
    fn answer_meanwhile(&self, before: Before) -> Vec<Before> {
        let shared = self.main.shared();
        let (service, tables) = (Arc::downgrade(&self.service), self.main.tables().to_vec());
        let serve = move || {
            if let Some(service) = service.upgrade() {
                service.serve(&tables);
            }
        };
        // Whoever has not come as far itself has somebody before it.
        let (answers, mut leaving) = match before.shared.predecessor() {
            Some(first) => (first, vec![before]),
            None => (before, Vec::new()),
        };
        if shared.is_behind() && answers.shared.answers() {
            shared.answer_after(answers, serve);
        } else {
            // Whoever finds that the old tables were superseded finds the new ones.
            serve();
            leaving.push(answers);
        }
        leaving
    }
}

/// What a task goes back to.
struct Back {
    position: Position,
    shared: Arc<TaskState>,
    tables: Vec<Option<Arc<dyn AnyTable>>>,
    drain: Arc<Drain>,
}

impl Task {
    /// The next mark to which it keeps, if there is any.
    pub(super) fn next_mark(&self) -> Option<&EpochMark> {
        self.input.next_mark()
    }

    /// Whether marked epochs lie ahead.
    pub(super) fn has_marks_ahead(&mut self) -> Result<bool> {
        self.input.has_marks_ahead()
    }

    /// Where the epoch ended whose mark was passed last, if that is new.
    pub(super) fn take_passed_mark(&mut self) -> Option<Position> {
        self.input.take_passed_mark()
    }

    /// Says whether another engine decides where epochs end.
    fn follow(&mut self, follows: bool) {
        self.input.follow(follows);
    }

    /// Looks what the store has.
    ///
    /// # Errors
    /// `Unavailable` if the log cannot be asked about its topics; `Corrupt` if what the store has does not decode, or another error
    /// of the store. Nothing has changed.
    fn look_back(&self, store: &Arc<dyn StateStore>, group: u16) -> Result<Back> {
        let setting = &self.setting;
        let mut counts = BTreeMap::new();
        for id in self.ids.iter().flatten() {
            let mut count = Ok(None);
            store.read(&layout::count_key(*id), &mut |row| {
                count = row.map(layout::decode_count).transpose();
            })?;
            counts.extend(count?.map(|rows| (*id, rows)));
        }
        let stored = stored_reached(&**store, group)?;
        let position = self.input.back_to(stored.as_ref().map(|stored| &stored.position))?;
        let stored = stored.map(|stored| times::known(setting, stored)).transpose()?.unwrap_or_default();
        let at = Reached::new(position.clone(), stored.times);
        forgetting::at_rest(setting, &**store, &self.ids, &at.times, &mut counts)?;
        let host = Arc::clone(&setting.host);
        let shared = Arc::new(TaskState::new(host, Arc::clone(store), at, Arc::new(counts)));
        let tables = make_tables(setting, &self.ids, &shared);
        let drain = drain_of(setting, store, &self.ids, &shared, group)?;
        Ok(Back { position, shared, tables, drain })
    }

    /// Goes back to it.
    fn go_back(&mut self, back: Back) -> Before {
        let Back { position, shared, tables, .. } = back;
        self.input.go_back(position);
        self.backoff =
            if self.setting.starts_small() { Backoff::of_a_beginner() } else { Backoff::default() };
        self.letters = Letters::default();
        (self.awaiting, self.rounds) = (None, 0);
        self.shared.take_back();
        Before {
            shared: std::mem::replace(&mut self.shared, shared),
            tables: std::mem::replace(&mut self.tables, tables),
        }
    }
}
