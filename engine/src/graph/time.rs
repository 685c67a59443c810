//! What a graph has to do with time.

use super::{Graph, Step};
use crate::TopicPartition;
use crate::time::{Idle, Period};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a node has to do with time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TimeUse {
    /// Whether it looks at how far time has come.
    pub(crate) looks: bool,
    /// So much earlier than it has come may what it puts out be dated.
    pub(crate) delay_ms: i64,
    /// The inputs that take it on in time; all of them if none are named.
    pub(crate) fed_by: Vec<usize>,
    /// Whether it looks for no rows that tables have forgotten.
    pub(crate) reads_kept: bool,
}

impl Graph {
    /// Whether any of its nodes looks at how far time has come, as windows do.
    #[must_use]
    pub fn looks_at_time(&self) -> bool {
        self.nodes.iter().any(|node| node.time.looks)
    }

    /// Whether its engine makes ticks: for silent partitions, or for periods.
    pub(crate) fn ticks(&self) -> bool {
        let follows = |topic: &Arc<str>| self.idle(topic).after().is_some();
        self.periods().next().is_some() || self.time_groups().iter().flatten().any(follows)
    }

    /// What stands for the partitions of its streams of periods, with the periods.
    pub(crate) fn periods(&self) -> impl Iterator<Item = (&TopicPartition, Period)> {
        self.nodes.iter().filter_map(|node| match &node.step {
            Step::Ticks { id, period, .. } => Some((id, *period)),
            Step::Source { .. } | Step::Operator(_) => None,
        })
    }

    /// What becomes of the silent partitions of `topic`.
    pub(crate) fn idle(&self, topic: &str) -> Idle {
        let known = self.topics.iter().find(|known| *known.name == *topic);
        known.map_or_else(Idle::never, super::TopicSpec::idle)
    }

    /// The topics that wait for each other in time, as they take the same nodes on in it.
    pub(crate) fn time_groups(&self) -> Vec<BTreeSet<Arc<str>>> {
        let mut feeding: Vec<BTreeSet<Arc<str>>> = Vec::with_capacity(self.nodes.len());
        let mut groups: Vec<BTreeSet<Arc<str>>> = Vec::new();
        for node in self.nodes.iter() {
            let topics = match &node.step {
                Step::Source { topic, .. } => BTreeSet::from([Arc::clone(topic)]),
                Step::Ticks { .. } | Step::Operator(_) => {
                    let fed = node.inputs.iter().enumerate().filter(|(input, _)| node.is_fed_by(*input));
                    fed.filter_map(|(_, &input)| feeding.get(input)).flatten().cloned().collect()
                }
            };
            if node.time.looks && !topics.is_empty() {
                let (meeting, mut others): (Vec<_>, Vec<_>) =
                    groups.into_iter().partition(|group: &BTreeSet<_>| !group.is_disjoint(&topics));
                others.push(meeting.into_iter().flatten().chain(topics.iter().cloned()).collect());
                groups = others;
            }
            feeding.push(topics);
        }
        groups
    }
}
