//! Stream times: how far each partition has come.

use super::{NEVER, Tick};
use crate::TopicPartition;
use rpds::RedBlackTreeMapSync;

/// The greatest timestamp of each partition below a position; [`NEVER`] of one that has shown no record. One that is absent has no part
/// in time yet: it was added to its topic, and no epoch has taken it in.
///
/// Copies share what they have in common, as those of a [`Position`](crate::Position) do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StreamTimes {
    times: RedBlackTreeMapSync<TopicPartition, i64>,
    /// What [tells](TopicPartition::tell_apart) the partitions of the log that have a part in time from others.
    named: u64,
}

impl StreamTimes {
    /// How far `partition` has come, if it has a part in time.
    pub(crate) fn of(&self, partition: &TopicPartition) -> Option<i64> {
        self.times.get(partition).copied()
    }

    /// Notes that `partition` has shown `time_ms`.
    pub(crate) fn raise(&mut self, partition: &TopicPartition, time_ms: i64) {
        let reached = self.of(partition);
        if reached.is_none_or(|reached| reached < time_ms) {
            self.times.insert_mut(partition.clone(), time_ms);
        }
        if reached.is_none() && !Tick::is_stream(partition) {
            self.named ^= partition.tell_apart();
        }
    }

    /// Raises every partition to at least where it is in `others`.
    pub(crate) fn advance_to(&mut self, others: &Self) {
        others.iter().for_each(|(partition, time_ms)| self.raise(partition, time_ms));
    }

    /// Takes `partitions` in that have no part in time yet. Each begins where its topic stands: what was closed up to there stays
    /// closed, and is told once. Answers with whether there were any.
    pub(crate) fn take_in<'p>(&mut self, partitions: impl Iterator<Item = &'p TopicPartition>) -> bool {
        let new: Vec<&TopicPartition> = partitions.filter(|id| self.of(id).is_none()).collect();
        let entered: Vec<_> =
            new.iter().map(|id| ((*id).clone(), self.least_of(&id.topic).unwrap_or(NEVER))).collect();
        for (id, time_ms) in entered {
            self.raise(&id, time_ms);
        }
        !new.is_empty()
    }

    /// How far the partition of `topic` has come that is behind all others of it.
    pub(crate) fn least_of(&self, topic: &str) -> Option<i64> {
        self.iter().filter(|(id, _)| *id.topic == *topic).map(|(_, time_ms)| time_ms).min()
    }

    /// The partitions that have a part in time, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.times.iter().map(|(partition, &time_ms)| (partition, time_ms))
    }

    /// What [tells](TopicPartition::tell_apart) the partitions of the log that have a part in time from others.
    pub(crate) fn named(&self) -> u64 {
        self.named
    }
}
