//! A service with outputs, of which several processes may run: it numbers the records of each key, and says so in a topic.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod processes;

use millpond::changelog::Changelog;
use millpond::stream::Emit;
use millpond::{Engine, Graph, GraphBuilder, Process, StoredTable, TableOptions, Topic, TopicPartition};
use millpond_kafka::Kafka;
use millpond_support::broker::Broker;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(crate) fn kafka(bootstrap: &str, service: &str) -> Kafka {
    let kafka = Kafka::new(service).bootstrap(bootstrap);
    kafka.property("session.timeout.ms", "2000").property("heartbeat.interval.ms", "300")
}

/// Numbers what it comes upon of each key.
pub(crate) struct Numbered;

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

pub(crate) struct Case {
    pub(crate) input: Topic<u32, u64>,
    pub(crate) output: Topic<u32, (u64, u64)>,
    pub(crate) graph: Graph,
    pub(crate) numbers: StoredTable<u32, u64>,
}

pub(crate) fn case(broker: &Broker, name: &str) -> Case {
    let input = broker.create_topic(&format!("{name}-in"), 2, &[]);
    case_of(&input, &broker.create_topic(&format!("{name}-out"), 3, &[]))
}

/// The same, of topics that are there.
pub(crate) fn case_of(input: &str, output: &str) -> Case {
    let (input, output) = (Topic::new(input), Topic::new(output));
    let graph = GraphBuilder::new();
    let (numbered, numbers) = graph.stream(&input).process("numbers", Numbered);
    numbered.to(&output);
    Case { input, output, graph: graph.build().unwrap(), numbers }
}

pub(crate) fn start(case: &Case, kafka: Kafka) -> Engine {
    let engine = Engine::builder(&case.graph).in_memory().changelog(kafka).memory(64 << 20).start().unwrap();
    engine.ready_blocking().unwrap();
    engine
}

/// What strangers read, at the latest when they have waited for it: `count` records, and whatever is there beside.
pub(crate) fn outputs(case: &Case, log: &dyn Changelog, count: usize) -> BTreeMap<u32, Vec<(u64, u64)>> {
    let mut outputs: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
    let ids = (0..3).map(|partition| TopicPartition::new(case.output.name().clone(), partition));
    let mut readers: Vec<_> = ids.map(|id| log.reader(&id, 0).unwrap()).collect();
    let began = Instant::now();
    while outputs.values().map(Vec::len).sum::<usize>() < count && began.elapsed() < Duration::from_secs(30) {
        for reader in &mut readers {
            for batch in reader.poll(1 << 20).unwrap() {
                for record in &batch.decode().unwrap() {
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

pub(crate) fn check(case: &Case, log: &dyn Changelog, appended: &BTreeMap<u32, Vec<u64>>) {
    let count = appended.values().map(Vec::len).sum();
    let expected: BTreeMap<u32, Vec<(u64, u64)>> =
        appended.iter().map(|(key, values)| (*key, (0..).zip(values.iter().copied()).collect())).collect();
    assert_eq!(outputs(case, log, count), expected);
}

/// One that can tell how records of several partitions follow each other: it numbers all of them, and keeps what comes of
/// them in this order.
pub(crate) fn telling_of(input: &str, output: &str) -> Case {
    telling_of_version(input, output, 1)
}

/// The same, with a version of the table of what comes of them.
pub(crate) fn telling_of_version(input: &str, output: &str, version: u32) -> Case {
    let (input, output) = (Topic::new(input), Topic::new(output));
    let graph = GraphBuilder::new();
    let (numbered, _) = graph.stream(&input).re_key(|_, _| 0).process("numbers", Numbered);
    numbered.to(&output);
    let digest = numbered.group_by_key().fold(
        TableOptions::from("digest").version(version),
        || 0,
        |digest, _, (_, value)| *digest = digested(*digest, value),
    );
    Case { input, output, graph: graph.build().unwrap(), numbers: digest }
}

fn digested(digest: u64, value: u64) -> u64 {
    (digest ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(17)
}

/// Checks the outputs of one that tells, and returns the rows that come of their order.
pub(crate) fn check_telling(
    case: &Case,
    log: &dyn Changelog,
    appended: &BTreeMap<u32, Vec<u64>>,
) -> BTreeMap<u32, u64> {
    let mut all: Vec<u64> = appended.values().flatten().copied().collect();
    all.sort_unstable();
    let outputs = outputs(case, log, all.len()).remove(&0).unwrap_or_default();
    let numbers: Vec<u64> = outputs.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..all.len() as u64).collect::<Vec<_>>());
    let digest = outputs.iter().fold(0, |digest, (_, value)| digested(digest, *value));
    let mut values: Vec<u64> = outputs.into_iter().map(|(_, value)| value).collect();
    values.sort_unstable();
    assert_eq!(values, all);
    [(0, digest)].into()
}

pub(crate) fn rows(case: &Case, engine: &Engine) -> BTreeMap<u32, u64> {
    let scan = engine.view(&case.numbers).unwrap().scan();
    scan.unwrap_or_else(|error| panic!("{error}: {:?}", engine.stats())).map(Result::unwrap).collect()
}
