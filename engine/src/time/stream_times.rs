//! Stream times: how far each partition has come.

use super::NEVER;
use crate::TopicPartition;
use rpds::RedBlackTreeMapSync;

/// The greatest timestamp of each partition below a position. One that is absent has shown no record.
///
/// Copies share what they have in common, as those of a [`Position`](crate::Position) do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StreamTimes(RedBlackTreeMapSync<TopicPartition, i64>);

impl StreamTimes {
    /// How far `partition` has come.
    pub(crate) fn of(&self, partition: &TopicPartition) -> i64 {
        self.shown_by(partition).unwrap_or(NEVER)
    }

    /// The greatest timestamp that `partition` has shown.
    pub(crate) fn shown_by(&self, partition: &TopicPartition) -> Option<i64> {
        self.0.get(partition).copied()
    }

    /// Notes that `partition` has shown `time_ms`.
    pub(crate) fn raise(&mut self, partition: &TopicPartition, time_ms: i64) {
        if self.shown_by(partition).is_none_or(|shown| shown < time_ms) {
            self.0.insert_mut(partition.clone(), time_ms);
        }
    }

    /// Raises every partition to at least where it is in `others`.
    pub(crate) fn advance_to(&mut self, others: &Self) {
        others.iter().for_each(|(partition, time_ms)| self.raise(partition, time_ms));
    }

    /// The partitions that have shown a record, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.0.iter().map(|(partition, &time_ms)| (partition, time_ms))
    }
}
