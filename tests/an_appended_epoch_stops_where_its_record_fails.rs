//! An epoch whose output was appended before a crash, and in which a record fails when it is run again, stops the engine
//! exactly there; mended, it goes on, and the derived topic has every record once.
//!
//! Method: an epoch is appended and not drained; the graph is opened again with code that fails at each of its records
//! in turn, with one partition and with two, whatever the epochs asked for; then with code that does not fail. In
//! between the process crashes with and without a drain, and the machine once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::MemoryChangelog;
use millpond::changelog::backend::TopicLog;
use millpond::store::{MemoryStore, StateStore};
use millpond::{ErrorKind, Graph, GraphBuilder, StoredTable, Topic, TopicPartition};
use millpond_support::failing::{engine, record};
use millpond_support::records::{append, read, value_bytes};
use std::collections::BTreeMap;
use std::sync::Arc;

const RECORDS: u64 = 24;

fn events(partitions: u32) -> Topic<u32, u64> {
    Topic::new("events").partitions(partitions)
}

/// Passes every value on and counts it; fails at `bad`.
fn passing(partitions: u32, bad: u64) -> (Graph, StoredTable<u64, u64>) {
    let graph = GraphBuilder::new();
    let stream = graph.stream(&events(partitions)).re_key(move |_, value| {
        assert!(*value != bad, "a bad record");
        *value
    });
    stream.to(&Topic::new("out"));
    let counts = stream.group_by_key().count("counts");
    (graph.build().unwrap(), counts)
}

/// The values 0 to 23, dealt out to the partitions.
fn numbers(partitions: u32) -> MemoryChangelog {
    let log = MemoryChangelog::new();
    log.create_topic("events", events(partitions).topic_config()).unwrap();
    for value in 0..RECORDS {
        let partition = TopicPartition::new("events", value as u32 % partitions);
        append(&log, partition, vec![record(value, value_bytes(&events(partitions), &value))]).unwrap();
    }
    log
}

/// How often each value is in the derived topic.
fn passed_on(log: &MemoryChangelog) -> BTreeMap<u64, u64> {
    let out = Topic::<u64, u64>::new("out");
    let mut values = BTreeMap::new();
    for record in read(log, &TopicPartition::new("out", 0)).unwrap() {
        *values.entry(out.codec().decode(&record.value.unwrap()).unwrap()).or_default() += 1;
    }
    values
}

fn once_each() -> BTreeMap<u64, u64> {
    (0..RECORDS).map(|value| (value, 1)).collect()
}

fn run(partitions: u32, bad: u64, epoch: usize, drained: bool) {
    let context = format!("{partitions} partitions, fails at {bad}, epochs of {epoch}, drained: {drained}");
    let (log, store) = (numbers(partitions), Arc::new(MemoryStore::new()) as Arc<dyn StateStore>);
    let (good, counts) = passing(partitions, u64::MAX);
    let mut stepper = engine(&good, &log, &store, 2).stepper().unwrap();
    stepper.epoch(4).unwrap();
    stepper.drain().unwrap();
    stepper.epoch(16).unwrap();
    stepper.epoch(16).unwrap();
    assert_eq!(passed_on(&log), once_each());
    drop(stepper);

    let (failing, failing_counts) = passing(partitions, bad);
    for _ in 0..2 {
        let mut stepper = engine(&failing, &log, &store, 3).stepper().unwrap();
        let error = loop {
            match stepper.epoch(epoch) {
                Ok(more) => assert!(more, "the bad record was passed over: {context}"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::User, "{error}: {context}");
        let (partition, offset) = (bad % u64::from(partitions), bad / u64::from(partitions));
        let at = TopicPartition::new("events", partition as u32);
        assert!(error.to_string().contains(&format!("{at} offset {offset}: ")), "{error}: {context}");
        assert_eq!(stepper.position().offset(&at), offset, "{context}");
        let view = stepper.view(&failing_counts).unwrap();
        for value in (0..RECORDS).filter(|value| value % u64::from(partitions) == partition) {
            assert_eq!(view.get(&value).unwrap(), (value < bad).then_some(1), "value {value}: {context}");
        }
        if drained {
            stepper.drain().unwrap();
        }
    }
    let log = if drained { log } else { log.crash() };
    let mut stepper = engine(&good, &log, &store, 1).stepper().unwrap();
    while stepper.epoch(epoch).unwrap() {}
    assert_eq!(passed_on(&log), once_each(), "{context}");
    let view = stepper.view(&counts).unwrap();
    assert!((0..RECORDS).all(|value| view.get(&value).unwrap() == Some(1)), "{context}");
}

#[test]
fn an_appended_epoch_stops_where_its_record_fails() {
    for (partitions, epoch) in [(1, 1), (1, 3), (1, 100), (2, 1), (2, 100)] {
        for bad in 4..RECORDS {
            run(partitions, bad, epoch, false);
            run(partitions, bad, epoch, true);
        }
    }
}
