//! What not every log can do.
//!
//! An engine asks once, when it is opened: what it cannot do without is refused there, what it can do otherwise is decided
//! there (`task/abilities.rs`).

/// What a changelog can do, of what not every log can.
///
/// # Examples
/// ```
/// use millpond::changelog::prelude::*;
/// use millpond::changelog::MemoryChangelog;
/// use millpond::changelog::backend::Abilities;
///
/// assert_eq!(MemoryChangelog::new().abilities(), Abilities::all());
///
/// // A log of one's own, whose partitions have nothing to do with each other.
/// let mut abilities = Abilities::all();
/// abilities.one_sequence = false;
/// abilities.atomic_appends = false;
/// assert_eq!(abilities.missing(), ["one_sequence", "atomic_appends"]);
/// ```
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own, with any other answered either way"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// Every record has a place in one order of all records, and [`ReadLog::appended`](super::ReadLog::appended) tells of it.
    ///
    /// Without it, an epoch takes what has arrived of each partition, and its records follow each other by stream time (the
    /// greatest timestamp of the partition so far in the epoch), topic, partition and offset;
    /// [`LogBatch::runs`](super::LogBatch::runs) and `appended` are not asked. So how records of several partitions follow each
    /// other is decided by the engine that cuts the epoch. Where its graph can tell the difference, each epoch is marked, so
    /// that it is decided once, which takes [`atomic_epochs`](Self::atomic_epochs): a stream that is joined with a table can, and
    /// so can a fold of several topics, or by other keys than theirs, unless its
    /// [aggregate commutes](https://docs.rs/millpond/latest/millpond/aggregate/trait.Aggregate.html#method.commutes). A table of such a
    /// graph that is built later decides anew, and the engine warns.
    pub one_sequence: bool,
    /// An append is all or nothing, also across partitions. No engine needs it; without it, a [`Producer`](super::Producer) refuses
    /// to send records of several partitions at once.
    pub atomic_appends: bool,
    /// What an epoch appends and its mark are there together or not at all, whatever happens:
    /// [`EpochLog::append_epoch`](super::EpochLog::append_epoch). Without it, no engine runs a graph that appends to topics, or
    /// sets records aside: after a crash it could not tell what it had appended.
    pub atomic_epochs: bool,
    /// The offsets of a partition begin at 0 and have no gaps: the one after a record is that of the next. A log that is one
    /// sequence has it.
    pub dense_offsets: bool,
    /// A name belongs to one engine at a time, wherever the others run. Without it, several engines of one name may use the log
    /// at once: each folds everything, and if they append anything, one of them does and the others follow the epochs that it
    /// marks ([`RoleLog`](super::RoleLog)).
    pub exclusive_names: bool,
    /// Nothing at or above a [hold](super::RetentionLog::hold) is dropped. Without it an engine warns when it is opened: if
    /// what it has not folded is dropped meanwhile, it stops with `BehindChangelog`.
    pub keeps_holds: bool,
    /// It takes the retention of a topic that is there. Without it that is a matter of whoever looks after the log:
    /// [`Admin::set_retention`](super::Admin::set_retention) refuses, and an engine whose graph sets one warns.
    pub sets_retention: bool,
    /// It knows where its partitions end, and answers at once. Without it,
    /// [`ReadLog::latest_offsets`](super::ReadLog::latest_offsets) and
    /// [`ReadLog::undecided_end`](super::ReadLog::undecided_end) ask others, who may take long to answer: an engine then calls them
    /// on a thread of its own, so that whoever awaits the answer is not held up.
    pub knows_ends: bool,
}

impl Abilities {
    /// All of them: those of the changelogs here.
    #[must_use]
    pub fn all() -> Self {
        Self {
            one_sequence: true,
            atomic_appends: true,
            atomic_epochs: true,
            dense_offsets: true,
            exclusive_names: true,
            keeps_holds: true,
            sets_retention: true,
            knows_ends: true,
        }
    }

    /// None of them, to begin with what a log of one's own can do.
    #[must_use]
    pub fn none() -> Self {
        Self {
            one_sequence: false,
            atomic_appends: false,
            atomic_epochs: false,
            dense_offsets: false,
            exclusive_names: false,
            keeps_holds: false,
            sets_retention: false,
            knows_ends: false,
        }
    }

    /// The names of those that the log does not have.
    #[must_use]
    pub fn missing(self) -> Vec<&'static str> {
        let Self {
            one_sequence,
            atomic_appends,
            atomic_epochs,
            dense_offsets,
            exclusive_names,
            keeps_holds,
            sets_retention,
            knows_ends,
        } = self;
        let all = [
            ("one_sequence", one_sequence),
            ("atomic_appends", atomic_appends),
            ("atomic_epochs", atomic_epochs),
            ("dense_offsets", dense_offsets),
            ("exclusive_names", exclusive_names),
            ("keeps_holds", keeps_holds),
            ("sets_retention", sets_retention),
            ("knows_ends", knows_ends),
        ];
        all.into_iter().filter(|(_, has)| !has).map(|(name, _)| name).collect()
    }
}
