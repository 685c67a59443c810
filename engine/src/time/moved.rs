//! When partitions have shown last that time goes on, by the clock: for people to look at, no result depends on it.

use crate::TopicPartition;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// When each partition has last come further in time, in milliseconds since the Unix epoch, as long as the engine runs.
#[derive(Debug, Default)]
pub(crate) struct Moved(Mutex<BTreeMap<TopicPartition, i64>>);

impl Moved {
    fn all(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that these have come further at `now_ms`.
    pub(crate) fn note(&self, partitions: Vec<TopicPartition>, now_ms: i64) {
        self.all().extend(partitions.into_iter().map(|id| (id, now_ms)));
    }

    pub(crate) fn of(&self, partition: &TopicPartition) -> Option<i64> {
        self.all().get(partition).copied()
    }
}
