//! A changelog whose topics have a prefix at the broker, of which whoever uses it knows nothing: so that the topics of one test
//! have nothing to do with those of another.

use millpond_engine::changelog::{
    Abilities, Ack, Append, AppendLog, Appended, Changelog, EpochLog, EpochMark, Lease, NameInUse, NameLog,
    PartitionReader, ReadLog, RetentionLog, Role, RoleLog, Room, Term, TermLog, TopicConfig, TopicLog,
    TopicType,
};
use millpond_engine::{Position, Result, TopicPartition};
use std::ops::Range;
use std::sync::{Arc, Weak};

/// Topics of `log` that begin with `prefix`, without it.
#[derive(Debug)]
pub(crate) struct Prefixed<C> {
    prefix: String,
    log: C,
}

impl<C> Prefixed<C> {
    pub(crate) fn new(prefix: String, log: C) -> Self {
        Self { prefix, log }
    }

    fn topic(&self, name: &str) -> String {
        if name.is_empty() { String::new() } else { format!("{}{name}", self.prefix) }
    }

    fn to(&self, id: &TopicPartition) -> TopicPartition {
        TopicPartition::new(self.topic(&id.topic), id.partition)
    }

    fn all_to(&self, position: &Position) -> Position {
        position.iter().map(|(id, offset)| (self.to(id), offset)).collect()
    }

    fn back(&self, position: &Position) -> Position {
        let back = |id: &TopicPartition| {
            TopicPartition::new(id.topic.strip_prefix(&self.prefix).unwrap_or(&id.topic), id.partition)
        };
        position.iter().map(|(id, offset)| (back(id), offset)).collect()
    }

    fn appends(&self, appends: Vec<Append>) -> Vec<Append> {
        appends.into_iter().map(|append| Append { partition: self.to(&append.partition), ..append }).collect()
    }

    fn mark(&self, mark: &EpochMark) -> EpochMark {
        EpochMark::new(self.all_to(&mark.from), self.all_to(&mark.to))
    }
}

impl<C: Changelog> TopicLog for Prefixed<C> {
    fn create_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.log.create_topic(&self.topic(topic), config)
    }

    fn ensure_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.log.ensure_topic(&self.topic(topic), config)
    }

    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>> {
        let topics = self.log.topics()?.into_iter();
        Ok(topics
            .filter_map(|(name, count)| Some((name.strip_prefix(&self.prefix)?.into(), count)))
            .collect())
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        self.log.partitions(&self.topic(topic))
    }

    fn topic_config(&self, topic: &str) -> Result<Option<TopicConfig>> {
        self.log.topic_config(&self.topic(topic))
    }

    fn topic_type(&self, topic: &str) -> Result<Option<TopicType>> {
        self.log.topic_type(&self.topic(topic))
    }

    fn declare_type(&self, topic: &str, declared: &TopicType) -> Result<()> {
        self.log.declare_type(&self.topic(topic), declared)
    }
}

impl<C: Changelog> AppendLog for Prefixed<C> {
    fn append(&self, appends: Vec<Append>) -> Ack {
        let after = self.log.append(self.appends(appends)).wait_blocking();
        Ack::ready(after.map(|after| self.back(&after)))
    }

    fn room(&self) -> Room {
        self.log.room()
    }

    fn sync(&self) -> Result<()> {
        self.log.sync()
    }
}

impl<C: Changelog> ReadLog for Prefixed<C> {
    fn reader(&self, partition: &TopicPartition, offset: u64) -> Result<Box<dyn PartitionReader>> {
        self.log.reader(&self.to(partition), offset)
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.log.offsets(&self.to(partition))
    }

    fn latest_offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.log.latest_offsets(&self.to(partition))
    }

    fn appended(&self, since: u64) -> Result<Option<Appended>> {
        self.log.appended(since)
    }

    fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.log.watch(waker);
    }
}

impl<C: Changelog> EpochLog for Prefixed<C> {
    fn append_epoch(&self, producer: &str, mark: &EpochMark, appends: Vec<Append>) -> Result<bool> {
        self.log.append_epoch(&self.topic(producer), &self.mark(mark), self.appends(appends))
    }

    fn epochs_after(&self, producer: &str, position: &Position) -> Result<Vec<EpochMark>> {
        let marks = self.log.epochs_after(&self.topic(producer), &self.all_to(position))?;
        Ok(marks.iter().map(|mark| EpochMark::new(self.back(&mark.from), self.back(&mark.to))).collect())
    }
}

impl<C: Changelog> RoleLog for Prefixed<C> {
    fn join(&self, producer: &str) -> Result<()> {
        self.log.join(&self.topic(producer))
    }

    fn role(&self, producer: &str) -> Role {
        self.log.role(&self.topic(producer))
    }
}

impl<C: Changelog> RetentionLog for Prefixed<C> {
    fn hold(&self, consumer: &str, position: &Position) -> Result<()> {
        self.log.hold(&self.topic(consumer), &self.all_to(position))
    }

    fn enforce_retention(&self) -> Result<u64> {
        self.log.enforce_retention()
    }
}

impl<C: Changelog> NameLog for Prefixed<C> {
    fn lease(&self, name: &str) -> Result<Lease> {
        self.log.lease(&self.topic(name))
    }

    fn owner(&self, name: &str) -> Result<Option<String>> {
        self.log.owner(&self.topic(name))
    }

    fn set_owner(&self, name: &str, owner: &str) -> Result<()> {
        self.log.set_owner(&self.topic(name), owner)
    }

    fn names(&self) -> Result<Vec<NameInUse>> {
        self.log.names()
    }

    fn release(&self, name: &str) -> Result<()> {
        self.log.release(&self.topic(name))
    }
}

impl<C: Changelog> TermLog for Prefixed<C> {
    fn terms(&self) -> Result<Vec<Term>> {
        self.log.terms()
    }
}

impl<C: Changelog> Changelog for Prefixed<C> {
    fn abilities(&self) -> Abilities {
        self.log.abilities()
    }

    fn description(&self) -> String {
        self.log.description()
    }

    fn close(&self) -> Result<()> {
        self.log.close()
    }
}
