//! Reading, by the path that was chosen.

use super::KafkaChangelog;
use millpond_engine::changelog::{PartitionReader, ReadLog};
use millpond_engine::{Result, TopicPartition};
use std::ops::Range;
use std::sync::Weak;

impl ReadLog for KafkaChangelog {
    fn reader(&self, partition: &TopicPartition, offset: u64) -> Result<Box<dyn PartitionReader>> {
        self.fetcher.reader(partition, offset)
    }

    /// Up to the last stable offset: what lies behind it belongs to transactions that have not ended.
    fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.fetcher.offsets(partition)
    }

    fn heard_offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.check_open()?;
        self.listening.heard(partition)
    }

    fn latest_offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.check_open()?;
        self.fetcher.latest_offsets(partition)
    }

    fn undecided_end(&self, partition: &TopicPartition) -> Result<u64> {
        self.check_open()?;
        self.fetcher.high_watermark(partition)
    }

    /// What has lasted for three times `socket.timeout.ms`: half a minute, unless that is set.
    fn trouble(&self) -> Option<String> {
        let troubles = self.fetcher.lasting_trouble().into_iter().chain(self.holders.lasting_trouble());
        troubles.reduce(|troubles, another| format!("{troubles}; {another}"))
    }

    fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.fetcher.watch(waker.clone());
        self.holders.watch(waker);
    }
}
