//! What a graph appends to Kafka is there once, whoever of a service holds: outputs and the marks of their epochs are committed
//! together, followers go on where the holder has stopped, and a holder that was fenced steps back.
//!
//! Method: a real broker and several engines of one service, each with a state of its own; outputs are read as strangers read
//! them, committed only, and compared with what was appended, key by key and in order; tables with each other.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use millpond::changelog::Role;
use millpond::changelog::prelude::*;
use millpond::codec::KeyCodec;
use millpond::stream::Tumbling;
use millpond::{Engine, GraphBuilder, Health, Idle, Topic, TopicPartition, Windowed};
use millpond_kafka::KafkaChangelog;
use millpond_support::broker::Broker;
use millpond_support::records;
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

/// One process after the other is replaced by one of a graph that reads another topic, too.
#[test]
fn a_graph_that_reads_one_more_topic_is_ready_beside_a_holder_that_does_not() {
    let Some(broker) = Broker::shared() else { return };
    let topic = |name: &str| Topic::<u32, u64>::new(&broker.create_topic(name, 2, &[]));
    let (input, more, out, more_out) = (topic("rolled-in"), topic("rolled-more"), topic("out"), topic("out"));
    let graph = |is_new: bool| {
        let graph = GraphBuilder::new();
        graph.stream(&input).to(&out);
        graph.stream(&input).group_by_key().count("counts");
        if is_new {
            graph.stream(&more).to(&more_out);
            graph.stream(&more).group_by_key().count("more");
        }
        graph.build().unwrap()
    };
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let open = |is_new: bool, number: usize| {
        let builder = Engine::builder(&graph(is_new)).state_dir(dirs[number].path()).memory(64 << 20);
        builder.changelog(kafka(&broker.bootstrap(), "rolled")).start().unwrap()
    };
    let within = |wait: millpond::Wait<()>| wait.within(Duration::from_secs(60)).wait_blocking().unwrap();
    let first = open(false, 0);
    let position = first.append_blocking(&input, &1, &1).unwrap();
    first.wait_for_blocking(&position).unwrap();
    first.drain_blocking().unwrap();
    let second = open(false, 1);
    within(second.wait_for(&position));
    second.close_blocking().unwrap();
    let second = open(true, 1);
    let appended = second.append_blocking(&more, &2, &2).unwrap();
    first.append_blocking(&input, &1, &1).unwrap();
    within(second.ready());
    second.catch_up().within(Duration::from_secs(60)).wait_blocking().unwrap();
    assert_eq!(second.stats().unled.len(), 2);
    first.close_blocking().unwrap();
    within(second.wait_for(&appended));
    let first = open(true, 0);
    within(first.ready());
    within(first.wait_for(&appended));
    assert!(first.stats().unled.is_empty());
    second.close_blocking().unwrap();
    let position = first.append_blocking(&more, &2, &3).unwrap();
    within(first.wait_for(&position));
    first.drain_blocking().unwrap();
    let log = kafka(&broker.bootstrap(), "outside").open().unwrap();
    let count = |id: u32| records::read(&log, &records::partition(&more_out, id)).unwrap().len();
    assert_eq!(count(0) + count(1), 2);
    first.close_blocking().unwrap();
}

/// What closes is told once by a service on Kafka, too, while processes take over from each other.
#[test]
fn final_windows_are_told_once() {
    let Some(broker) = Broker::shared() else { return };
    // Records are dated shortly after 1970, and brokers drop by these dates.
    let input: Topic<u32, u64> = Topic::new(&broker.create_topic("clicks-in", 2, &[("retention.ms", "-1")]));
    let output: Topic<Windowed<u32>, u64> =
        Topic::new(&broker.create_topic("clicks-out", 1, &[("retention.ms", "-1")]));
    let graph = GraphBuilder::new();
    let windows = Tumbling::of(Duration::from_millis(100)).grace(Duration::from_millis(50));
    let counts = graph.stream(&input).group_by_key().windowed(windows).count("counts");
    counts.on_close().to(&output);
    let graph = graph.build().unwrap();
    let log = kafka(&broker.bootstrap(), "outside").open().unwrap();
    let start = || {
        let engine =
            Engine::builder(&graph).in_memory().changelog(kafka(&broker.bootstrap(), "clicks")).start();
        let engine = engine.unwrap();
        engine.ready_blocking().unwrap();
        engine
    };
    let mut position = millpond::Position::new();
    // One record of each partition in every tenth of a window, and one that is a little late.
    let mut append = |from: i64, to: i64, partitions: u32| {
        for at in (from..to).step_by(10) {
            for partition in 0..partitions {
                let batch = [at, at - 30].map(|at| records::record(&input, &partition, Some(&1)).at(at));
                let id = records::partition(&input, partition);
                position.advance_to(&records::append(&log, id, batch.to_vec()).unwrap());
            }
        }
        position.clone()
    };
    let (first, second) = (start(), start());
    let so_far = append(100, 400, 2);
    for engine in [&first, &second] {
        engine.wait_for_blocking(&so_far).unwrap();
    }
    first.close_blocking().unwrap();
    let so_far = append(400, 700, 2);
    second.wait_for_blocking(&so_far).unwrap();
    let third = start();
    second.close_blocking().unwrap();
    let so_far = append(700, 1_000, 2);
    third.wait_for_blocking(&so_far).unwrap();
    third.drain_blocking().unwrap();
    // All partitions have come to 990, so that what ends at 900 and its grace is closed.
    let told = |wanted: u64| {
        let mut reader = log.reader(&records::partition(&output, 0), 0).unwrap();
        let (mut rows, mut found) = (BTreeMap::new(), 0);
        while found < wanted {
            for batch in reader.poll(1 << 20).unwrap() {
                for record in &batch.decode().unwrap() {
                    let windowed = Windowed::<u32>::decode_whole_key(record.key.unwrap()).unwrap();
                    let count = output.codec().decode(record.value.unwrap()).unwrap();
                    assert_eq!(
                        rows.insert((windowed.start_ms, windowed.key), count),
                        None,
                        "{windowed:?} is told once"
                    );
                    found += 1;
                }
            }
            reader.wait(Duration::from_millis(50)).unwrap();
        }
        rows
    };
    let rows = told(2 * 9);
    assert_eq!(rows.keys().map(|(start, _)| *start).max(), Some(800));
    for partition in 0..2 {
        assert_eq!(rows[&(0, partition)], 3, "what was late, within the grace");
        assert!((100..800).step_by(100).all(|start| rows[&(start, partition)] == 20));
    }
    third.close_blocking().unwrap();
}

/// Silent partitions are taken on by the clock of whoever holds the name, and what closes by that is told once. A process that begins
/// from nothing comes to the same.
#[test]
fn what_silent_partitions_held_back_is_told_once() {
    let Some(broker) = Broker::shared() else { return };
    let second = Duration::from_secs(1);
    let input: Topic<u32, u64> = Topic::new(&broker.create_topic("visits-in", 2, &[("retention.ms", "-1")]))
        .idle(Idle::clock(second, Duration::ZERO));
    let output: Topic<Windowed<u32>, u64> =
        Topic::new(&broker.create_topic("visits-out", 1, &[("retention.ms", "-1")]));
    let graph = GraphBuilder::new();
    let windows = Tumbling::of(Duration::from_millis(100)).grace(Duration::from_millis(50));
    let counts = graph.stream(&input).group_by_key().windowed(windows).count("counts");
    counts.on_close().to(&output);
    let graph = graph.build().unwrap();
    let log = kafka(&broker.bootstrap(), "outside").open().unwrap();
    let start = || {
        let engine = Engine::builder(&graph)
            .in_memory()
            .changelog(kafka(&broker.bootstrap(), "visits"))
            .start()
            .unwrap();
        engine.ready_blocking().unwrap();
        engine
    };
    let (first, other) = (start(), start());
    let append = |batch: Vec<i64>| {
        let records = batch.iter().map(|at| records::record(&input, &7, Some(&1)).at(*at)).collect();
        records::append(&log, records::partition(&input, 0), records).unwrap()
    };
    let told = |wanted: u64| {
        let mut reader = log.reader(&records::partition(&output, 0), 0).unwrap();
        let mut rows = Vec::new();
        while (rows.len() as u64) < wanted {
            for batch in reader.poll(1 << 20).unwrap() {
                for record in &batch.decode().unwrap() {
                    let windowed = Windowed::<u32>::decode_whole_key(record.key.unwrap()).unwrap();
                    rows.push((windowed.start_ms, output.codec().decode(record.value.unwrap()).unwrap()));
                }
            }
            reader.wait(Duration::from_millis(50)).unwrap();
        }
        rows
    };
    append(vec![10, 20, 150]);
    assert_eq!(told(2), [(0, 2), (100, 1)]);
    // Time has come to now: what is dated before counts for nothing, whoever folds it.
    let late = append(vec![30]);
    first.close_blocking().unwrap();
    other.wait_for_blocking(&late).unwrap();
    let fresh = start();
    fresh.wait_for_blocking(&late).unwrap();
    for engine in [&other, &fresh] {
        let rows: Vec<_> = engine.view(&counts).unwrap().scan().unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, [(Windowed::new(0, 100, 7), 2), (Windowed::new(100, 200, 7), 1)]);
    }
    assert_eq!(told(2), [(0, 2), (100, 1)]);
    other.close_blocking().unwrap();
    fresh.close_blocking().unwrap();
}
