//! An append and its epoch look at the partitions that got records, not at all that are read.
//!
//! Method: a changelog that counts how often it is asked about a partition, under an engine that reads 2,000 of them. An
//! append once asked for the end of each (1.4 ms with 4,096 partitions), and so did each epoch.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::backend::{Abilities, Appended, EpochMark, PartitionReader};
use millpond::changelog::prelude::*;
use millpond::changelog::{Ack, Append, Changelog, MemoryChangelog, TopicConfig};
use millpond::{Engine, GraphBuilder, Position, Result, Topic, TopicPartition};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

const PARTITIONS: u32 = 2_000;

/// A changelog in memory, and how often it was asked about a partition.
struct Counting {
    log: MemoryChangelog,
    asked: AtomicU64,
}

impl Counting {
    fn count(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }
}

impl TopicLog for Counting {
    fn create_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.log.create_topic(topic, config)
    }

    fn ensure_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.log.ensure_topic(topic, config)
    }

    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>> {
        self.log.topics()
    }
}

impl AppendLog for Counting {
    fn append(&self, appends: Vec<Append>) -> Ack {
        self.log.append(appends)
    }

    fn sync(&self) -> Result<()> {
        self.log.sync()
    }
}

impl ReadLog for Counting {
    fn reader(&self, partition: &TopicPartition, offset: u64) -> Result<Box<dyn PartitionReader>> {
        self.count();
        self.log.reader(partition, offset)
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.count();
        self.log.offsets(partition)
    }

    fn appended(&self, since: u64) -> Result<Option<Appended>> {
        let appended = self.log.appended(since)?;
        let partitions = appended.as_ref().map_or(0, |appended| appended.partitions.len());
        self.asked.fetch_add(partitions as u64, Ordering::Relaxed);
        Ok(appended)
    }

    fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.log.watch(waker);
    }
}

impl EpochLog for Counting {
    fn append_epoch(&self, producer: &str, mark: &EpochMark, appends: Vec<Append>) -> Result<bool> {
        self.log.append_epoch(producer, mark, appends)
    }

    fn epochs_after(&self, producer: &str, position: &Position) -> Result<Vec<EpochMark>> {
        self.log.epochs_after(producer, position)
    }
}

impl RetentionLog for Counting {
    fn hold(&self, consumer: &str, position: &Position) -> Result<()> {
        self.log.hold(consumer, position)
    }

    fn enforce_retention(&self) -> Result<u64> {
        self.log.enforce_retention()
    }
}

impl NameLog for Counting {}

impl RoleLog for Counting {}

impl TermLog for Counting {}

impl Changelog for Counting {
    fn abilities(&self) -> Abilities {
        self.log.abilities()
    }

    fn close(&self) -> Result<()> {
        self.log.close()
    }
}

#[test]
fn an_append_asks_about_the_partition_it_goes_to() {
    let log = Arc::new(Counting { log: MemoryChangelog::new(), asked: AtomicU64::new(0) });
    let events = Topic::<u64, u64>::new("events").partitions(PARTITIONS);
    let graph = GraphBuilder::new();
    let table = graph.table(&events, "table");
    let engine = Engine::builder(&graph.build().unwrap()).in_memory().changelog(log.clone()).start().unwrap();
    let producer = engine.producer(&events).unwrap();
    let put = |key| {
        let position = producer.put(&key, &key).wait_blocking().unwrap();
        engine.wait_for_blocking(&position).unwrap();
    };
    put(0);
    let before = log.asked.load(Ordering::Relaxed);
    (1..=500).for_each(put);
    let asked = log.asked.load(Ordering::Relaxed) - before;
    // A reader for each partition that has its first record, and where to look.
    assert!(asked <= 500 * 4, "500 appends asked {asked} times about a partition");
    assert_eq!(engine.view(&table).unwrap().count().unwrap(), 501);
}
