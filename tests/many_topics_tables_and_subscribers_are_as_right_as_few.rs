//! Hundreds of topics, partitions, tables and subscribers are answered as rightly as one of each.
//!
//! Property: every table holds the plain fold of its own topic, whatever the others are, also after a restart from disk
//! and for tables that are added and built later; and every subscriber sees its key become what it is in the end.
//!
//! Method: a graph of 120 topics of 1 to 5 partitions with a table each, every third of them joined with its neighbour, on
//! an embedded log of small segments of which half the topics give up old records; 300 subscribers of single keys. The
//! generators of the other tests make graphs of a handful of nodes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::backend::RetentionLog;
use millpond::changelog::{Changelog, EmbeddedChangelog, EmbeddedOptions, TopicConfig};
use millpond::{Engine, Graph, GraphBuilder, Result, StoredTable, Topic};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const TOPICS: usize = 120;
/// So many of them have tables from the beginning.
const FIRST: usize = 100;
const SUBSCRIBERS: usize = 300;
const RECORDS: u64 = 6_000;

fn topic(number: usize) -> Topic<u32, u64> {
    // What has no table yet must stay.
    let retention_bytes = (number.is_multiple_of(2) && number < FIRST).then_some(1 << 10);
    let partitions = 1 + number as u32 % 5;
    Topic::new(&format!("topic-{number}"))
        .config(TopicConfig::default().partitions(partitions).retention_bytes(retention_bytes))
}

type Tables = Vec<StoredTable<u32, u64>>;

/// Sums of each of the first `topics` topics, and every third sum with its neighbour's.
fn graph(topics: usize) -> (Graph, Tables, Tables) {
    let graph = GraphBuilder::new();
    let sum = |number: usize| {
        graph.stream(&topic(number)).group_by_key().reduce(&*format!("sum-{number}"), |a, b| a + b)
    };
    let sums: Vec<_> = (0..topics).map(sum).collect();
    let join = |number: usize| {
        let joined = sums[number].join(&sums[number + 1], |_, a, b| a + b);
        joined.materialize(&*format!("both-{number}"))
    };
    let joined = (0..topics - 1).step_by(3).map(join).collect();
    (graph.build().unwrap(), sums, joined)
}

/// Which topic, key and value a record has.
fn record(number: u64) -> (usize, u32, u64) {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    (mixed as usize % TOPICS, (mixed >> 10) as u32 % 7, number)
}

fn expected(records: u64) -> Vec<BTreeMap<u32, u64>> {
    let mut sums = vec![BTreeMap::new(); TOPICS];
    for number in 0..records {
        let (topic, key, value) = record(number);
        *sums[topic].entry(key).or_default() += value;
    }
    sums
}

fn open(dir: &Path, graph: &Graph) -> (Arc<EmbeddedChangelog>, Engine) {
    let options = EmbeddedOptions::default().segment_bytes(32 << 10);
    let log = Arc::new(EmbeddedChangelog::open(dir.join("changelog"), options).unwrap());
    let builder = Engine::builder(graph).name("many").state_dir(dir.join("state")).memory(64 << 20).shards(3);
    let changelog: Arc<dyn Changelog> = log.clone();
    let engine = builder.changelog(changelog).drain_interval(Duration::from_millis(20)).start().unwrap();
    (log, engine)
}

fn append(engine: &Engine, numbers: std::ops::Range<u64>) {
    let producers: Vec<_> = (0..TOPICS).map(|number| engine.producer(&topic(number)).unwrap()).collect();
    let mut acks = Vec::new();
    for number in numbers {
        let (topic, key, value) = record(number);
        acks.push(producers[topic].send([(&key, Some(&value), (number / 8) as i64)]));
    }
    for ack in acks {
        ack.wait_blocking().unwrap();
    }
    engine.catch_up_blocking().unwrap();
}

fn rows(engine: &Engine, table: &StoredTable<u32, u64>) -> BTreeMap<u32, u64> {
    engine.view(table).unwrap().scan().unwrap().map(Result::unwrap).collect()
}

fn check(engine: &Engine, sums: &[StoredTable<u32, u64>], joined: &[StoredTable<u32, u64>], records: u64) {
    let expected = expected(records);
    for (number, (table, expected)) in sums.iter().zip(&expected).enumerate() {
        assert_eq!(&rows(engine, table), expected, "topic {number} after {records} records");
    }
    for (table, number) in joined.iter().zip((0..).step_by(3)) {
        let both = |(key, a): (&u32, &u64)| Some((*key, a + expected[number + 1].get(key)?));
        let both: BTreeMap<u32, u64> = expected[number].iter().filter_map(both).collect();
        assert_eq!(rows(engine, table), both, "topics {number} and {} after {records} records", number + 1);
    }
}

#[test]
fn many_topics_tables_and_subscribers_are_as_right_as_few() {
    let dir = tempfile::tempdir().unwrap();
    let (few, sums, joined) = graph(FIRST);
    let (log, engine) = open(dir.path(), &few);
    append(&engine, 0..RECORDS / 2);
    check(&engine, &sums, &joined, RECORDS / 2);
    engine.close_blocking().unwrap();
    log.close().unwrap();
    drop(log);

    let (all, sums, joined) = graph(TOPICS);
    let (log, engine) = open(dir.path(), &all);
    engine.ready_blocking().unwrap();
    engine.catch_up_blocking().unwrap();
    check(&engine, &sums, &joined, RECORDS / 2);
    let mut subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|number| {
            let (table, key) = (number % TOPICS, number as u32 % 7);
            (table, key, engine.view(&sums[table]).unwrap().subscribe(&key).unwrap())
        })
        .collect();
    append(&engine, RECORDS / 2..RECORDS);
    check(&engine, &sums, &joined, RECORDS);
    let (before, after) = (expected(RECORDS / 2), expected(RECORDS));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (table, key, subscriber) in &mut subscribers {
        let last = after[*table].get(key);
        let mut seen = subscriber.current().copied();
        assert_eq!(seen.as_ref(), before[*table].get(key), "table {table}, key {key}: where it began");
        while seen.as_ref() != last {
            seen = runtime.block_on(subscriber.next()).unwrap().unwrap();
        }
    }
    engine.drain_blocking().unwrap();
    engine.close_blocking().unwrap();
    log.enforce_retention().unwrap();
    log.close().unwrap();
    drop(log);

    let (all, sums, joined) = graph(TOPICS);
    let (_log, engine) = open(dir.path(), &all);
    engine.catch_up_blocking().unwrap();
    check(&engine, &sums, &joined, RECORDS);
    engine.close_blocking().unwrap();
}
