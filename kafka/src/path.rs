//! The two paths by which records are read, as the changelog sees them.

use crate::fetch::{Fetcher, TopicMetadata};
use millpond_engine::changelog::PartitionReader;
use millpond_engine::{Result, TopicPartition};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// By which path records are read: [`Kafka::fetch`](crate::Kafka::fetch). Both read the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fetch {
    /// The direct path to the brokers: a twentieth of what the other one costs. It logs in by SASL with PLAIN and SCRAM.
    #[default]
    Direct,
    /// librdkafka's consumer: with whatever it can log in by, such as Kerberos (GSSAPI) and OAuth (OAUTHBEARER), where it was built
    /// with that.
    Librdkafka,
}

/// What reading takes.
pub(crate) trait FetchPath: fmt::Debug + Send + Sync {
    /// What the brokers call their cluster, if they have a name for it.
    fn cluster_id(&self) -> Option<Arc<str>>;

    /// The topic of this name as the brokers describe it now; none if there is none.
    fn find_topic(&self, name: &str) -> Result<Option<TopicMetadata>>;

    /// The topic of this name once the brokers know it.
    fn await_topic(&self, name: &str) -> Result<TopicMetadata>;

    /// Those of these topics that are there as the brokers describe them now, as far as they do.
    fn topics(&self, names: &[&str]) -> Vec<TopicMetadata> {
        names.iter().filter_map(|name| self.find_topic(name).ok().flatten()).collect()
    }

    /// All topics that the user may see.
    fn all_topics(&self) -> Result<Vec<TopicMetadata>>;

    /// Where a partition begins and ends, as it was heard a moment ago.
    fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>>;

    /// The same as it was heard last, and when that was; none if nothing was heard. Nobody is asked.
    fn heard_offsets(&self, partition: &TopicPartition) -> Option<(Range<u64>, Instant)> {
        let _ = partition;
        None
    }

    /// The same, asked now.
    fn latest_offsets(&self, partition: &TopicPartition) -> Result<Range<u64>>;

    /// Where a partition ends, with what belongs to transactions that have not ended; asked now.
    fn high_watermark(&self, partition: &TopicPartition) -> Result<u64>;

    /// The offset of the first record that is dated so late or later; none if there is none, or that is not told.
    fn offset_for_time(&self, partition: &TopicPartition, timestamp_ms: i64) -> Result<Option<u64>> {
        let _ = (partition, timestamp_ms);
        Ok(None)
    }

    /// Begins to read `partition` from `offset` on.
    fn reader(&self, partition: &TopicPartition, offset: u64) -> Result<Box<dyn PartitionReader>>;

    /// Calls `waker` whenever records may have come, something has failed, and on close.
    fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>);

    /// What is wrong at the moment, since when and why.
    fn trouble(&self) -> Option<String>;

    /// The same, of what has lasted so long that somebody should be told.
    fn lasting_trouble(&self) -> Option<String> {
        self.trouble()
    }

    /// How many partitions a topic that is read has, as it was heard last; none if that is not heard by the way.
    fn partitions(&self, name: &str) -> Option<usize> {
        let _ = name;
        None
    }

    /// What tells the topic of this name from another one of that name; none if it does not exist, or that is not known.
    fn topic_id(&self, name: &str) -> Result<Option<String>> {
        let _ = name;
        Ok(None)
    }

    /// Ends all connections.
    fn close(&self);
}

/// So many times as long as a broker may take to answer, it may be away before that is told: half a minute, unless it is set.
pub(crate) const LASTING: u32 = 3;

impl FetchPath for Fetcher {
    fn cluster_id(&self) -> Option<Arc<str>> {
        self.cluster_id()
    }

    fn find_topic(&self, name: &str) -> Result<Option<TopicMetadata>> {
        self.find_topic(name)
    }

    fn await_topic(&self, name: &str) -> Result<TopicMetadata> {
        self.await_topic(name)
    }

    fn topics(&self, names: &[&str]) -> Vec<TopicMetadata> {
        let answers = self.topics(names).unwrap_or_default();
        answers.into_iter().filter_map(Result::ok).collect()
    }

    fn all_topics(&self) -> Result<Vec<TopicMetadata>> {
        self.all_topics()
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.offsets(partition)
    }

    fn heard_offsets(&self, partition: &TopicPartition) -> Option<(Range<u64>, Instant)> {
        self.heard_offsets(partition)
    }

    fn latest_offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.latest_offsets(partition)
    }

    fn high_watermark(&self, partition: &TopicPartition) -> Result<u64> {
        self.high_watermark(partition)
    }

    fn reader(&self, partition: &TopicPartition, offset: u64) -> Result<Box<dyn PartitionReader>> {
        Ok(Box::new(self.reader(partition, offset)?))
    }

    fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.watch(waker);
    }

    fn trouble(&self) -> Option<String> {
        self.trouble()
    }

    fn offset_for_time(&self, partition: &TopicPartition, timestamp_ms: i64) -> Result<Option<u64>> {
        self.offset_for_time(partition, timestamp_ms)
    }

    fn lasting_trouble(&self) -> Option<String> {
        self.trouble_since(self.request_timeout() * LASTING)
    }

    fn partitions(&self, name: &str) -> Option<usize> {
        self.partitions(name)
    }

    fn topic_id(&self, name: &str) -> Result<Option<String>> {
        Ok(self.topic_id(name)?.map(|id| id.to_string()))
    }

    fn close(&self) {
        self.close();
    }
}
