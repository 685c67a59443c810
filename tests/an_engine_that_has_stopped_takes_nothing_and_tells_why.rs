//! An engine that has stopped or was closed appends nothing and says so; its statistics and its health answer.
//!
//! Property: after a stop every append through the engine, in whichever way, is an error with the reason, and the
//! changelog stays as it is, also the list of its topics; what was appended before the stop is acknowledged. Whoever
//! else appends to the changelog goes on. `stats` and `health` answer before, after and with the same figures.
//!
//! Method: an engine that stops at a bad record, and one that is closed, on a changelog that others share. Once
//! appends were acknowledged as if they would be folded, and `stats` was an error.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use millpond::changelog::backend::{ReadLog, TopicLog};
use millpond::changelog::{Ack, Changelog, MemoryChangelog, Record};
use millpond::{Engine, ErrorKind, GraphBuilder, Health, Topic, TopicPartition};
use millpond_support::records;
use std::sync::Arc;

fn events() -> Topic<u32, u64> {
    Topic::new("events")
}

fn engine(log: &Arc<MemoryChangelog>) -> Engine {
    let graph = GraphBuilder::new();
    graph.stream(&events()).group_by_key().fold("shares", || 0, |sum, _, value: u64| *sum += 100 / value);
    Engine::builder(&graph.build().unwrap()).changelog(log.clone()).in_memory().start().unwrap()
}

/// What can be seen of the changelog.
fn seen(log: &MemoryChangelog) -> Vec<(String, u64)> {
    let topics = log.topics().unwrap();
    let end = |topic: &Arc<str>| log.offsets(&TopicPartition::new(Arc::clone(topic), 0)).unwrap().end;
    topics.iter().map(|(topic, _)| (topic.to_string(), end(topic))).collect()
}

fn refused(way: &str, ack: Ack, kind: ErrorKind, reason: &str) {
    let error = ack.wait_blocking().expect_err(way);
    assert_eq!(error.kind(), kind, "{way}: {error}");
    assert!(error.to_string().contains(reason), "{way}: {error}");
    assert!(error.to_string().contains("nothing was appended"), "{way}: {error}");
}

fn raw() -> Vec<Record> {
    vec![Record::new(1_u32.to_be_bytes().to_vec(), vec![1])]
}

#[test]
fn an_engine_that_has_stopped() {
    let log = Arc::new(MemoryChangelog::new());
    let engine = engine(&log);
    let producer = engine.producer(&events()).unwrap();
    let position = producer.put(&1, &5).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    let before = engine.stats();
    assert_eq!((before.records_in, &before.health), (1, &Health::Running));
    // What is in the changelog is acknowledged, whether or not it stops the engine.
    let bad = producer.put(&1, &0).wait_blocking().unwrap();
    engine.wait_for_blocking(&bad).unwrap_err();

    let there = seen(&log);
    let (kind, reason) = (ErrorKind::User, "events/0 offset 1");
    refused("Producer::put", producer.put(&1, &1), kind, reason);
    refused("Producer::delete", producer.delete(&1), kind, reason);
    refused("Producer::send", producer.send([(&1, Some(&1), 0)]), kind, reason);
    refused("Engine::append", engine.append(&events(), &1, &1), kind, reason);
    refused("Engine::delete", engine.delete(&events(), &1), kind, reason);
    refused(
        "a topic that is not there",
        engine.append(&Topic::<u32, u64>::new("other"), &1, &1),
        kind,
        reason,
    );
    let partition = TopicPartition::new("events", 0);
    refused("Engine::append_records", engine.append_records(partition, raw()), kind, reason);
    producer.ready_blocking();
    assert_eq!(seen(&log), there, "the changelog is as it was");

    let after = engine.stats();
    assert_eq!((after.records_in, after.epochs, &after.position), (1, 1, &before.position));
    assert_eq!(after.tables["shares"].rows, 1);
    assert_eq!(after.lag[&TopicPartition::new("events", 0)], 1);
    assert_eq!(after.health, engine.health());
    let Health::Stopped { kind, reason } = engine.health() else { panic!("{:?}", engine.health()) };
    assert_eq!(kind, ErrorKind::User);
    assert!(reason.contains("events/0 offset 1"), "{reason}");

    // Others are not concerned.
    let own = records::producer(log.clone(), &events()).unwrap();
    own.put(&2, &2).wait_blocking().unwrap();
    assert_eq!(seen(&log), [("events".to_owned(), 3)]);
}

#[test]
fn an_engine_that_was_closed() {
    let log = Arc::new(MemoryChangelog::new());
    let engine = engine(&log);
    let producer = engine.producer(&events()).unwrap();
    producer.put(&1, &5).wait_blocking().unwrap();
    engine.close_blocking().unwrap();
    let there = seen(&log);
    refused("Producer::put", producer.put(&1, &1), ErrorKind::Closed, "closed");
    refused("Producer::send", producer.send([(&1, Some(&1), 0)]), ErrorKind::Closed, "closed");
    producer.ready_blocking();
    assert_eq!(seen(&log), there);
}

#[test]
fn an_engine_whose_changelog_was_closed() {
    let log = Arc::new(MemoryChangelog::new());
    let engine = engine(&log);
    let position = engine.append(&events(), &1, &5).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    log.close().unwrap();
    drop(engine.ready_blocking());
    while engine.health() == Health::Running {
        std::thread::yield_now();
    }
    let stats = engine.stats();
    assert_eq!((stats.records_in, stats.changelog_bytes), (1, None), "what is known is told");
    assert!(stats.lag.is_empty(), "and what is not is left out");
    assert!(matches!(stats.health, Health::Stopped { kind: ErrorKind::Closed, .. }), "{:?}", stats.health);
}
