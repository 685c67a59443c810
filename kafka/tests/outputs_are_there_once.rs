//! What a graph appends to Kafka is there once, whoever of a service holds: outputs and the marks of their epochs are committed
//! together, followers go on where the holder has stopped, and a holder that was fenced steps back.
//!
//! Method: a real broker and several engines of one service, each with a state of its own; outputs are read as strangers read
//! them, committed only, and compared with what was appended, key by key and in order; tables with each other.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::Changelog;
use millpond::stream::Emit;
use millpond::{Engine, Graph, GraphBuilder, Health, Process, StoredTable, Topic, TopicPartition};
use millpond_kafka::{Kafka, KafkaChangelog};
use millpond_support::broker::Broker;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn kafka(broker: &Broker, service: &str) -> Kafka {
    let kafka = Kafka::new(service).bootstrap(&broker.bootstrap());
    kafka.property("session.timeout.ms", "2000").property("heartbeat.interval.ms", "300")
}

/// Numbers what it comes upon of each key.
struct Numbered;

impl Process<u32, u64> for Numbered {
    type State = u64;
    type OutKey = u32;
    type OutValue = (u64, u64);

    fn process(&self, key: &u32, value: u64, state: &mut Option<u64>, emit: &mut Emit<u32, (u64, u64)>) {
        let number = state.unwrap_or_default();
        *state = Some(number + 1);
        emit.push(*key, (number, value));
    }
}

struct Case {
    input: Topic<u32, u64>,
    output: Topic<u32, (u64, u64)>,
    graph: Graph,
    numbers: StoredTable<u32, u64>,
}

fn case(broker: &Broker, name: &str) -> Case {
    let input = Topic::new(&broker.create_topic(&format!("{name}-in"), 2, &[])).partitions(2);
    let output = Topic::new(&broker.create_topic(&format!("{name}-out"), 3, &[])).partitions(3);
    let graph = GraphBuilder::new();
    let (numbered, numbers) = graph.stream(&input).process("numbers", Numbered);
    numbered.to(&output);
    Case { input, output, graph: graph.build().unwrap(), numbers }
}

fn start(case: &Case, kafka: Kafka) -> Engine {
    let engine = Engine::builder(&case.graph).in_memory().changelog(kafka).memory(64 << 20).start().unwrap();
    engine.ready_blocking().unwrap();
    engine
}

/// What strangers read, at the latest when they have waited for it: `count` records, and whatever is there beside.
fn outputs(case: &Case, log: &dyn Changelog, count: usize) -> BTreeMap<u32, Vec<(u64, u64)>> {
    let mut outputs: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
    let ids = (0..3).map(|partition| TopicPartition::new(case.output.name().clone(), partition));
    let mut readers: Vec<_> = ids.map(|id| log.reader(&id, 0).unwrap()).collect();
    let began = Instant::now();
    while outputs.values().map(Vec::len).sum::<usize>() < count && began.elapsed() < Duration::from_secs(30) {
        for reader in &mut readers {
            for batch in reader.poll(1 << 20).unwrap() {
                for record in batch.decode().unwrap().iter() {
                    let mut key = [0; 4];
                    key.copy_from_slice(record.key.unwrap());
                    let value = case.output.codec().decode(record.value.unwrap()).unwrap();
                    outputs.entry(u32::from_be_bytes(key)).or_default().push(value);
                }
            }
            reader.wait(Duration::from_millis(20)).unwrap();
        }
    }
    outputs
}

fn check(case: &Case, log: &dyn Changelog, appended: &BTreeMap<u32, Vec<u64>>) {
    let count = appended.values().map(Vec::len).sum();
    let expected: BTreeMap<u32, Vec<(u64, u64)>> = appended
        .iter()
        .map(|(key, values)| (*key, (0..).zip(values.iter().copied()).collect()))
        .collect();
    assert_eq!(outputs(case, log, count), expected);
}

#[test]
fn a_holder_commits_and_a_follower_takes_over() {
    let Some(broker) = Broker::shared() else { return };
    let case = case(broker, "takes-over");
    let log: KafkaChangelog = kafka(broker, "reader").open().unwrap();
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
    let first = start(&case, kafka(broker, "takes-over"));
    let (position, so_far) = append(&first, 20);
    first.wait_for_blocking(&position).unwrap();
    first.drain_blocking().unwrap();
    check(&case, &log, &so_far);
    // A second one follows.
    let second = start(&case, kafka(broker, "takes-over"));
    let (position, so_far) = append(&first, 20);
    second.wait_for_blocking(&position).unwrap();
    check(&case, &log, &so_far);
    let rows = |engine: &Engine| -> BTreeMap<u32, u64> {
        engine.view(&case.numbers).unwrap().scan().unwrap().map(Result::unwrap).collect()
    };
    first.wait_for_blocking(&position).unwrap();
    assert_eq!(rows(&first), rows(&second));
    // The first one ends, and the second one takes over.
    first.close_blocking().unwrap();
    let (position, so_far) = append(&second, 20);
    second.wait_for_blocking(&position).unwrap();
    second.drain_blocking().unwrap();
    check(&case, &log, &so_far);
    assert_eq!(second.health(), Health::Running);
    second.close_blocking().unwrap();
    // And whoever comes later finds all of it.
    let third = start(&case, kafka(broker, "takes-over"));
    assert_eq!(rows(&third).values().sum::<u64>(), 60);
    third.close_blocking().unwrap();
    check(&case, &log, &so_far);
}
