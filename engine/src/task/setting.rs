//! The setting: what an engine was opened with. Nothing of it changes while its tasks run.

use super::{Consumer, EpochLimit, FailurePolicy};
use crate::changelog::{Abilities, Changelog, Role, TopicType};
use crate::flow::Router;
use crate::graph::Graph;
use crate::state::Host;
use crate::time::Moved;
use crate::{Clock, Error, Result, TopicPartition};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Counters of an engine.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records_in: AtomicU64,
    pub(crate) records_out: AtomicU64,
    pub(crate) epochs: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) drains: AtomicU64,
}

/// Who is answered before a state has caught up with what was in the changelog when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Nobody.
    Current,
    /// Everyone, but [`is_behind`](crate::state::TaskState::is_behind) tells.
    Stale,
    /// Everyone: whoever moves the engine by hand knows where it stands.
    Stepped,
}

/// What an engine was opened with.
pub(crate) struct Setting {
    pub(crate) graph: Graph,
    pub(crate) changelog: Arc<dyn Changelog>,
    /// What the changelog can do.
    pub(crate) abilities: Abilities,
    pub(crate) clock: Arc<dyn Clock>,
    /// The name under which epochs are marked and the changelog is held.
    pub(crate) name: Arc<str>,
    /// Where it notes how it takes silent partitions on in time.
    pub(crate) ticks: TopicPartition,
    /// The directory of the state, for whoever reads what is logged: `memory` if there is none.
    pub(crate) place: String,
    pub(crate) pool: rayon::ThreadPool,
    pub(crate) router: Router,
    pub(crate) policy: FailurePolicy,
    pub(crate) from_oldest_kept: bool,
    pub(crate) reads: Reads,
    pub(crate) limit: EpochLimit,
    pub(crate) hot_bytes: usize,
    /// What an epoch may become beyond what it takes from the changelog.
    pub(crate) growth_bytes: usize,
    pub(crate) counters: Counters,
    pub(crate) moved: Moved,
    pub(crate) host: Arc<Host>,
}

impl Setting {
    /// As whom the main task reads.
    pub(crate) fn consumer(&self) -> Consumer {
        self.consumer_named(Arc::clone(&self.name))
    }

    /// As whom a task that builds tables reads.
    pub(crate) fn build_consumer(&self) -> Consumer {
        self.consumer_named(format!("{}.build", self.name).into())
    }

    fn consumer_named(&self, name: Arc<str>) -> Consumer {
        Consumer { changelog: Arc::clone(&self.changelog), name, graph: self.graph.clone() }
    }

    /// Whether epochs append to the changelog: outputs, dead letters, ticks or their own marks.
    pub(crate) fn produces(&self) -> bool {
        self.graph.has_sinks() || self.sets_aside() || self.marks_order() || self.graph.ticks()
    }

    /// Whether its epochs are appended by one of several engines of its name, which the others follow.
    pub(crate) fn shares_epochs(&self) -> bool {
        !self.abilities.exclusive_names && self.produces()
    }

    /// Sees to it that there is where ticks go.
    ///
    /// # Errors
    /// Those of the changelog; `Invalid` if the name of the engine does not do for a topic.
    pub(crate) fn ensure_ticks(&self) -> Result<()> {
        let topic = &self.ticks.topic;
        self.changelog.ensure_own_topic(topic)?;
        self.changelog.declare_type(topic, &TopicType::mixed())
    }

    /// What this engine is among those.
    pub(crate) fn role(&self) -> Role {
        if self.shares_epochs() { self.changelog.role(&self.name) } else { Role::Holder }
    }

    /// Whether where an epoch was cut decides how records of several partitions followed each other, and the graph can tell the
    /// difference.
    pub(crate) fn marks_order(&self) -> bool {
        !self.abilities.one_sequence && self.graph.interleaves
    }

    /// Whether each epoch is marked, also those that append nothing else: the marks decide the order of records, or others
    /// follow them.
    pub(crate) fn marks_all(&self) -> bool {
        self.marks_order() || self.shares_epochs()
    }

    /// Whether there are dead letters.
    pub(crate) fn sets_aside(&self) -> bool {
        matches!(self.policy, FailurePolicy::DeadLetter(_))
    }

    /// Whether the first epochs are short, as nothing is known of what records become.
    pub(crate) fn starts_small(&self) -> bool {
        self.reads != Reads::Stepped
    }
}

/// The stack of a thread that runs code of the graph. Values may be nested deeply, and what reads one may need tens of KiB for
/// each level where nothing is optimised; memory is taken only as far as it is needed.
pub(crate) const STACK_BYTES: usize = 32 << 20;

/// The threads on which shards run.
///
/// # Errors
/// `Internal` if the system does not let them start.
pub(crate) fn pool(shards: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(shards)
        .thread_name(|index| format!("millpond-shard-{index}"))
        .stack_size(STACK_BYTES)
        .build()
        .map_err(|error| Error::internal("cannot start the threads of the shards").with_source(error))
}
