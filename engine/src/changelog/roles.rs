//! Roles: who appends the epochs of a name, where several processes use it at once.
//!
//! Where names are not [exclusive](super::Abilities::exclusive_names), every process of a service folds everything, and one of
//! them, the *holder*, appends what epochs produce, with a mark for each. The others are *followers*: they cut the epochs that
//! are marked, and nothing beyond, so that any of them can go on where the holder has stopped. It is what leaders and followers
//! of replicated logs do; who may append is decided by the log, which fences whoever was holder before (as Kafka does with
//! transactional producers, KIP-98).

use crate::Result;
use serde::Serialize;
use std::ops::Range;
use std::time::Duration;

/// What an engine is among those of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// It cuts epochs and appends what they produce.
    Holder,
    /// Another one does, or nobody yet: it cuts the epochs that are marked.
    Follower,
    /// Another one has taken over before all that it had appended was committed: it takes back what was not, and
    /// [follows](RoleLog::follow).
    Fenced,
}

/// What came of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Commit {
    /// All of it is there.
    Done,
    /// That is not known yet: ask again.
    Pending,
    /// It will not be there, as another engine has taken over: see [`Role::Fenced`].
    Fenced,
}

/// Roles: which engine of a name appends its epochs. A log whose names are exclusive needs nothing of it: whoever has the name
/// is the holder.
pub trait RoleLog: Send + Sync {
    /// Takes part as an engine that appends epochs of `producer`, or will: from now on the log may make it the holder, and
    /// wakes whoever [watches](super::ReadLog::watch) it when its role has changed. Calling it again does nothing.
    ///
    /// # Errors
    /// `Invalid` if the log does not let it; `Unavailable` if the log cannot be reached.
    fn join(&self, producer: &str) -> Result<()> {
        let _ = producer;
        Ok(())
    }

    /// What it is now. As long as the answer is [`Role::Holder`], every mark of another one is among
    /// [`epochs_after`](super::EpochLog::epochs_after). Asked before each epoch, so it must cost nothing.
    fn role(&self, producer: &str) -> Role {
        let _ = producer;
        Role::Holder
    }

    /// Says that the engine does as it was `told` by [`role`](Self::role): a [follower](Role::Follower) cuts what is marked from now
    /// on; one that was [fenced](Role::Fenced) has taken back what was not committed, and does so, too. Before that it must not be
    /// made the holder again, or it might go on with what it cut as the holder it was. One that was fenced after it was told that
    /// it is a follower has taken back nothing: it stays fenced. Called often.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close).
    fn follow(&self, producer: &str, told: Role) -> Result<()> {
        let _ = (producer, told);
        Ok(())
    }

    /// Takes no part any more: another one may be the holder at once. What was appended is committed first, if it can be.
    fn leave(&self, producer: &str) {
        let _ = producer;
    }

    /// Whether another epoch may be appended now, or too much waits to be committed. Whoever watches the log is woken when
    /// there is room. Asked of followers, too, whose builds append dead letters.
    fn has_room(&self, producer: &str) -> bool {
        let _ = producer;
        true
    }

    /// Commits all that epochs of `producer` have appended so far, so that it is there whatever happens, and the dead letters that its
    /// engine has appended beside them.
    ///
    /// # Errors
    /// If it never will be, and the engine must stop.
    fn commit(&self, producer: &str, patience: Duration) -> Result<Commit> {
        let _ = (producer, patience);
        Ok(Commit::Done)
    }

    /// How many epochs of `producer` this engine has appended that are committed, and how many in all.
    fn committed(&self, producer: &str) -> Range<u64> {
        let _ = producer;
        0..0
    }
}
