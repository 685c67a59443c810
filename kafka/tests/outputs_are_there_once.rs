//! What a graph appends to Kafka is there once, whoever of a service holds: outputs and the marks of their epochs are committed
//! together, followers go on where the holder has stopped, and a holder that was fenced steps back.
//!
//! Method: a real broker and several engines of one service, each with a state of its own; outputs are read as strangers read
//! them, committed only, and compared with what was appended, key by key and in order; tables with each other.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use millpond::changelog::Role;
use millpond::changelog::prelude::*;
use millpond::{Engine, Health, TopicPartition};
use millpond_kafka::KafkaChangelog;
use millpond_support::broker::Broker;
use service::{case, check, kafka, rows, start};
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn a_holder_commits_and_a_follower_takes_over() {
    let Some(broker) = Broker::shared() else { return };
    let case = case(broker, "takes-over");
    let log: KafkaChangelog = kafka(&broker.bootstrap(), "reader").open().unwrap();
    let mut appended: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let mut number = 0;
    let mut append = |engine: &Engine, count: u64| {
        let mut last = millpond::Position::new();
        for _ in 0..count {
            number += 1;
            let key = u32::try_from(number % 7).unwrap();
            last.advance_to(&engine.append(&case.input, &key, &number).wait_blocking().unwrap());
            appended.entry(key).or_default().push(number);
        }
        (last, appended.clone())
    };
    let first = start(&case, kafka(&broker.bootstrap(), "takes-over"));
    let (position, so_far) = append(&first, 20);
    first.wait_for_blocking(&position).unwrap();
    first.drain_blocking().unwrap();
    check(&case, &log, &so_far);
    // A second one follows.
    let second = start(&case, kafka(&broker.bootstrap(), "takes-over"));
    let (position, so_far) = append(&first, 20);
    second.wait_for_blocking(&position).unwrap();
    check(&case, &log, &so_far);
    first.wait_for_blocking(&position).unwrap();
    assert_eq!(rows(&case, &first), rows(&case, &second));
    // The first one ends, and the second one takes over.
    first.close_blocking().unwrap();
    let (position, so_far) = append(&second, 20);
    second.wait_for_blocking(&position).unwrap();
    second.drain_blocking().unwrap();
    check(&case, &log, &so_far);
    assert_eq!(second.health(), Health::Running);
    second.close_blocking().unwrap();
    // And whoever comes later finds all of it.
    let third = start(&case, kafka(&broker.bootstrap(), "takes-over"));
    assert_eq!(rows(&case, &third).values().sum::<u64>(), 60);
    third.close_blocking().unwrap();
    check(&case, &log, &so_far);
}

/// An output without transactions is there before its epoch is committed, and in the same order.
#[test]
fn an_output_at_least_once_does_not_wait_for_a_commit() {
    let Some(broker) = Broker::shared() else { return };
    let case = case(broker, "loose");
    let hour = Duration::from_secs(3600);
    let kafka = kafka(&broker.bootstrap(), "loose").commit_interval(hour).at_least_once(case.output.name());
    let builder = Engine::builder(&case.graph).in_memory().changelog(kafka);
    let engine = builder.drain_interval(hour).start().unwrap();
    engine.ready_blocking().unwrap();
    let mut appended: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for number in 1..=20 {
        let key = u32::try_from(number % 3).unwrap();
        engine.append_blocking(&case.input, &key, &number).unwrap();
        appended.entry(key).or_default().push(number);
    }
    let log = service::kafka(&broker.bootstrap(), "outside").open().unwrap();
    check(&case, &log, &appended);
    let marks = TopicPartition::new("loose.epochs", 0);
    assert_eq!(log.offsets(&marks).unwrap().end, 0, "nothing is committed");
    engine.drain_blocking().unwrap();
    engine.close_blocking().unwrap();
    check(&case, &log, &appended);
}

/// A follower whose table is of another version builds it of the marks that the holder has left, while both go on.
#[test]
fn a_follower_builds_tables_in_the_order_that_was_decided() {
    let Some(broker) = Broker::shared() else { return };
    let (input, output) = (broker.create_topic("built-in", 3, &[]), broker.create_topic("built-out", 1, &[]));
    let [case, raised] = [1, 2].map(|version| service::telling_of_version(&input, &output, version));
    let dir = tempfile::tempdir().unwrap();
    let durable = |case: &service::Case| {
        let builder = Engine::builder(&case.graph).state_dir(dir.path());
        builder.changelog(kafka(&broker.bootstrap(), "built")).memory(64 << 20).start().unwrap()
    };
    let holder = start(&case, kafka(&broker.bootstrap(), "built"));
    let mut number = 0;
    let mut append = |count: u64| {
        let mut position = millpond::Position::new();
        for _ in 0..count {
            number += 1;
            let key = u32::try_from(number % 17).unwrap();
            position.advance_to(&holder.append_blocking(&case.input, &key, &number).unwrap());
        }
        position
    };
    let follower = durable(&case);
    // The group may have made either of them the holder.
    let position = append(300);
    holder.wait_for_blocking(&position).unwrap();
    follower.wait_for_blocking(&position).unwrap();
    assert_eq!(rows(&case, &follower), rows(&case, &holder));
    follower.close_blocking().unwrap();
    let follower = durable(&raised);
    let position = append(300);
    follower.ready_blocking().unwrap();
    follower.wait_for_blocking(&position).unwrap();
    holder.wait_for_blocking(&position).unwrap();
    assert_eq!(rows(&raised, &follower), rows(&case, &holder));
    follower.close_blocking().unwrap();
    holder.close_blocking().unwrap();
}

/// The group gave each of them a partition, and each of them took over from the other, again and again.
#[test]
fn one_process_holds_however_many_partitions_the_marks_have() {
    let Some(broker) = Broker::shared() else { return };
    let (name, case) = (broker.topic("several"), case(broker, "several"));
    broker.tool("topics", &["--create", "--topic", &format!("{name}.epochs"), "--partitions", "3"], "");
    let engines = [(); 2].map(|()| start(&case, kafka(&broker.bootstrap(), &name)));
    let mut appended: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for number in 0..200 {
        let key = u32::try_from(number % 7).unwrap();
        let position = engines[0].append_blocking(&case.input, &key, &number).unwrap();
        appended.entry(key).or_default().push(number);
        for engine in &engines {
            engine.wait_for_blocking(&position).unwrap();
        }
        let holders = engines.iter().filter(|engine| engine.stats().role == Some(Role::Holder)).count();
        assert!(holders <= 1, "{holders} hold at record {number}");
    }
    check(&case, &kafka(&broker.bootstrap(), "outside").open().unwrap(), &appended);
    for engine in engines {
        engine.close_blocking().unwrap();
    }
}
