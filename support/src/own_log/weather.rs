//! What becomes of a log while nobody, or somebody, reads it: topics that are trimmed, deleted, compacted, or grow.

use super::{OwnLog, Partition};
use crate::waiting::Weir;
use millpond::TopicPartition;
use millpond::changelog::backend::Compaction;
use std::sync::Arc;
use std::time::Duration;

impl OwnLog {
    /// Drops what lies below `offset` of `partition`, whoever has not read it yet.
    pub fn trim(&self, partition: &TopicPartition, offset: u64) {
        let mut contents = self.contents().unwrap();
        let there = contents.partitions.get_mut(partition).unwrap();
        there.start = there.start.max(offset.min(there.end));
        there.batches.retain(|batch| batch.end > there.start);
    }

    /// Deletes `topic`, which nobody may be reading. Whoever creates it again makes another one.
    pub fn delete_topic(&self, topic: &str) {
        let mut contents = self.contents().unwrap();
        contents.topics.remove(topic).unwrap();
        contents.partitions.retain(|id, _| *id.topic != *topic);
    }

    /// Gives `topic` so many partitions instead of those it has, which are fewer. The new ones are empty.
    pub fn grow(&self, topic: &str, partitions: u32) {
        let mut contents = self.contents().unwrap();
        let (name, (count, _)) = contents.topics.iter_mut().find(|(name, _)| ***name == *topic).unwrap();
        let (name, before) = (Arc::clone(name), std::mem::replace(count, partitions));
        for number in before..partitions {
            contents.partitions.insert(TopicPartition::new(name.clone(), number), Partition::default());
        }
        contents.wake();
    }

    /// Says of `topic` that it is compacted, and tombstones stay for so long. Nothing is compacted by that.
    pub fn compact(&self, topic: &str, delete_retention: Duration) {
        self.contents().unwrap().compacted.insert(topic.into(), Compaction::new(delete_retention));
    }

    /// Tells nothing of topics from now on, as brokers that are away, or tells of them again.
    pub fn be_silent(&self, yes: bool) {
        self.contents().unwrap().is_silent = yes;
    }

    /// Lets whoever asks where partitions end stand at `weir` until it is open, as brokers that were halted.
    pub fn tell_ends_behind(&self, weir: &Weir) {
        self.contents().unwrap().weir = Some(weir.clone());
    }

    /// Says that something is wrong, or nothing any more, and wakes whoever watches.
    pub fn in_trouble(&self, trouble: Option<&str>) {
        let mut contents = self.contents().unwrap();
        contents.trouble = trouble.map(str::to_owned);
        contents.wake();
    }
}
