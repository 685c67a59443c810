//! What is folded and told does not depend on when it is made durable, nor on what the fold does meanwhile.
//!
//! Property: an engine that drains all the time, on threads of its own, comes to the same tables, counts and records as one that never
//! does, whatever the number of its shards; and what it has stored is the same when it is opened again.
//!
//! Method: random logs, in which rows come and soon go again, and in which things close in small epochs, beside a drain interval of a
//! millisecond, in memory and on disk. Tests that drain between two epochs cannot reach this: merges of generations while one of them is
//! being stored, and shards that look at the store before and after it has changed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::backend::TopicLog;
use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::codec::Value;
use millpond::stream::{Hopping, Session, Sliding, Stream, Tumbling, Within};
use millpond::{Engine, EngineBuilder, Graph, GraphBuilder, StoredTable, Topic, Windowed};
use millpond_support::any_store::AnyStore;
use millpond_support::environment::{rounds, seed};
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const PARTITIONS: u32 = 3;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn draining(graph: &Graph, medium: &AnyStore, log: &Arc<MemoryChangelog>) -> EngineBuilder {
    let changelog = Arc::clone(log) as Arc<dyn Changelog>;
    Engine::builder(graph).store(medium.store.clone()).changelog(changelog).drain_interval(ms(1))
}

#[test]
fn rows_that_go_while_a_drain_runs_are_gone() {
    let mut random = Random::new(seed());
    let topic = Topic::<u32, u64>::new("rows").partitions(1);
    for round in 0..rounds(6) {
        let medium = AnyStore::new(round % 2 == 1);
        let graph = GraphBuilder::new();
        let table = graph.table(&topic, "rows");
        let graph = graph.build().unwrap();
        let log = Arc::new(MemoryChangelog::new());
        log.create_topic("rows", &TopicConfig::default().partitions(1)).unwrap();
        let engine = draining(&graph, &medium, &log).epoch_records(20).start().unwrap();
        let mut expected = BTreeMap::new();
        for number in 0..4_000_u64 {
            let batch = (0..5).map(|_| {
                // A key comes, and goes soon after.
                let key = (number / 3) as u32 * 4 + random.below(4) as u32;
                let value = if expected.remove(&key).is_some() { None } else { Some(number) };
                expected.extend(value.map(|value| (key, value)));
                records::record(&topic, &key, value.as_ref())
            });
            let batch = batch.collect();
            records::append(&*log, records::partition(&topic, 0), batch).unwrap();
        }
        engine.catch_up_blocking().unwrap();
        let view = engine.view(&table).unwrap();
        assert_eq!(view.scan().unwrap().collect::<Result<BTreeMap<_, _>, _>>().unwrap(), expected);
        assert_eq!(view.count().unwrap(), expected.len() as u64);
        engine.drain_blocking().unwrap();
        engine.close_blocking().unwrap();
        drop(engine);
        let stepper = draining(&graph, &medium, &log).stepper().unwrap();
        let view = stepper.view(&table).unwrap();
        assert_eq!(view.scan().unwrap().collect::<Result<BTreeMap<_, _>, _>>().unwrap(), expected, "stored");
    }
}

/// All that was told of a key, in order of its text: each text as often as it was told.
type Told = StoredTable<String, u64>;

fn told<V: Value + std::fmt::Debug>(name: &str, stream: &Stream<Windowed<u8>, V>) -> Told {
    stream.group_by(|windowed, value| format!("{windowed:?} {value:?}")).count(name)
}

/// Something of everything that closes.
fn closing() -> (Graph, Vec<Told>) {
    let graph = GraphBuilder::new();
    let [clicks, others] = topics().map(|topic| graph.stream(&topic));
    let grouped = clicks.group_by_key();
    let sum = |sum: &mut u64, _: &u8, value: u64| *sum += value;
    let merge = |sum: &mut u64, more: u64| *sum += more;
    let hopping = Hopping::of(ms(60)).every(ms(20)).grace(ms(30));
    let sliding = Sliding::of(ms(30)).grace(ms(30));
    let hopping = grouped.windowed(hopping).keep(ms(100)).fold("hopping", || 0, sum, merge);
    let sliding = grouped.windowed(sliding).fold("sliding", || 0, sum, merge);
    let sessions = grouped.windowed(Session::gap(ms(20)).grace(ms(30))).count("sessions");
    let tumbling = grouped.windowed(Tumbling::of(ms(50)).grace(ms(30))).count("tumbling");
    let within = Within::before(ms(10)).grace(ms(30));
    let met = clicks.outer_join_within(&others, within, "met", |_, one, other| format!("{one:?} {other:?}"));
    let in_order = clicks.in_time_order("waiting", ms(40));
    let counted = vec![
        told("told of hopping", &hopping.on_close()),
        told("told of sliding", &sliding.on_close()),
        told("told of sessions", &sessions.on_close()),
        told("told of tumbling", &tumbling.on_close()),
        met.group_by(|key, met| format!("{key} {met}")).count("told of pairs"),
        in_order.group_by(|key, value| format!("{key} {value}")).count("told in order"),
    ];
    (graph.build().unwrap(), counted)
}

fn topics() -> [Topic<u8, u64>; 2] {
    ["clicks", "others"].map(|name| Topic::new(name).partitions(PARTITIONS))
}

#[test]
fn what_closes_beside_a_drain_is_told_once() {
    let mut random = Random::new(seed());
    for round in 0..rounds(12) {
        let log = Arc::new(MemoryChangelog::new());
        for topic in ["clicks", "others"] {
            log.create_topic(topic, &TopicConfig::default().partitions(PARTITIONS)).unwrap();
        }
        let medium = AnyStore::new(round % 2 == 0);
        let (graph, counted) = closing();
        let shards = [1, 2, 8][round % 3];
        let open = || draining(&graph, &medium, &log).shards(shards).epoch_records(10).start().unwrap();
        let mut engine = open();
        let mut reached = [0_i64, -50, 80, 10, 20, -20];
        for number in 0..1_200_u64 {
            let place = random.index(6);
            reached[place] += random.below(12) as i64;
            let (topic, partition) = (&topics()[place / 3], place % 3);
            let behind = if random.below(3) == 0 { random.below(60) as i64 } else { 0 };
            let key = (random.below(3) * 3 + partition as u64) as u8;
            let record = records::record(topic, &key, Some(&number)).at(reached[place] - behind);
            let id = records::partition(topic, partition as u32);
            records::append(&*log, id, vec![record]).unwrap();
            if number % 400 == 399 {
                engine.catch_up_blocking().unwrap();
                engine.close_blocking().unwrap();
                drop(engine);
                engine = open();
            }
        }
        engine.catch_up_blocking().unwrap();
        let (graph, plain) = closing();
        let changelog = Arc::clone(&log) as Arc<dyn Changelog>;
        let mut stepper =
            Engine::builder(&graph).in_memory().name("plain").changelog(changelog).stepper().unwrap();
        while stepper.epoch(100_000).unwrap() {}
        for (counted, plain) in counted.iter().zip(&plain) {
            let (view, plain) = (engine.view(counted).unwrap(), stepper.view(plain).unwrap());
            let rows: BTreeMap<String, u64> = view.scan().unwrap().map(Result::unwrap).collect();
            let expected: BTreeMap<String, u64> = plain.scan().unwrap().map(Result::unwrap).collect();
            assert!(!expected.is_empty());
            assert_eq!(rows, expected, "{} of round {round} on {shards} shards", view.name());
        }
    }
}
