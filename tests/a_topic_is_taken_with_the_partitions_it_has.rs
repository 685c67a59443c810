//! A topic without a number of partitions is taken as it is found: all of its partitions are read, and whoever appends, be it a
//! producer or a graph, places records by the number that the changelog really has, as one does who names it.
//!
//! Method: logs in memory, embedded, and of one's own with gaps, whose topics were created by somebody else; tables and partitions
//! beside what is computed by hand. A number that is given and is not the one that is there is refused with both.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::prelude::*;
use millpond::changelog::{
    EmbeddedChangelog, EmbeddedOptions, MemoryChangelog, Producer, TopicConfig, partition_for_key,
};
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, StoredTable, SystemClock, Topic};
use millpond_support::expect::refused;
use millpond_support::own_log::OwnLog;
use millpond_support::records;
use std::collections::BTreeMap;
use std::sync::Arc;

const KEYS: u64 = 200;

fn graph(
    events: &Topic<u64, u64>,
    copies: &Topic<u64, u64>,
) -> (millpond::Result<Graph>, StoredTable<u64, u64>) {
    let graph = GraphBuilder::new();
    let events = graph.stream(events);
    events.filter(|key, _| key % 2 == 0).to(copies);
    let counts = events.group_by_key().count("counts");
    (graph.build(), counts)
}

/// The keys of each partition of `topic`, as they are placed.
fn placed(log: &dyn Changelog, topic: &Topic<u64, u64>, partitions: u32) -> BTreeMap<u64, u32> {
    let mut found = BTreeMap::new();
    for number in 0..partitions {
        for record in records::read(log, &records::partition(topic, number)).unwrap() {
            found.insert(topic.decode_key(&record.key.unwrap()).unwrap(), number);
        }
    }
    found
}

fn expected(topic: &Topic<u64, u64>, partitions: u32, keys: impl Iterator<Item = u64>) -> BTreeMap<u64, u32> {
    let place = |key| partition_for_key(&records::key_bytes_of(topic, &key), partitions);
    keys.map(|key| (key, place(key))).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "whoever calls has one that becomes this")]
fn check(log: Arc<dyn Changelog>) {
    let (events, copies) = (Topic::new("events"), Topic::new("copies"));
    log.create_topic("events", &TopicConfig::default().partitions(3)).unwrap();
    log.create_topic("copies", &TopicConfig::default().partitions(5)).unwrap();
    let (graph, counts) = graph(&events, &copies);
    let graph = graph.unwrap();
    let engine = Engine::builder(&graph).name("counts").in_memory().changelog(log.clone()).start().unwrap();
    let of_the_engine = engine.producer(&events).unwrap();
    let of_nobody = Producer::new(log.clone(), &events, Arc::new(SystemClock)).unwrap();
    for key in 0..KEYS {
        let producer = if key % 3 == 0 { &of_nobody } else { &of_the_engine };
        producer.put(&key, &key).wait_blocking().unwrap();
    }
    engine.catch_up_blocking().unwrap();
    let counted: Vec<_> = engine.view(&counts).unwrap().scan().unwrap().map(Result::unwrap).collect();
    assert_eq!(counted, (0..KEYS).map(|key| (key, 1)).collect::<Vec<_>>());
    engine.close_blocking().unwrap();
    assert_eq!(placed(&*log, &events, 3), expected(&events, 3, 0..KEYS));
    assert_eq!(placed(&*log, &copies, 5), expected(&copies, 5, (0..KEYS).step_by(2)));
    assert_eq!([log.partitions("events").unwrap(), log.partitions("nowhere").unwrap()], [Some(3), None]);

    // A number that is right changes nothing, and one that is wrong says which is.
    let open =
        |graph: &Graph| Engine::builder(graph).name("counts").in_memory().changelog(log.clone()).start();
    for (events, copies, says) in [
        (Some(2), None, ["events", "has 3 partitions, not 2"]),
        (Some(3), Some(1), ["copies", "has 5 partitions, not 1"]),
    ] {
        let topic = |name, partitions: Option<u32>| {
            Topic::new(name).config(TopicConfig::default().partitions(partitions))
        };
        let (graph, _) = self::graph(&topic("events", events), &topic("copies", copies));
        refused(open(&graph.unwrap()), ErrorKind::Invalid, &says);
    }
    let wrong = Producer::new(log.clone(), &events.clone().partitions(4), Arc::new(SystemClock));
    refused(wrong, ErrorKind::Invalid, &["has 3 partitions, not 4"]);
    Producer::new(log.clone(), &events.partitions(3), Arc::new(SystemClock)).unwrap();
}

#[test]
fn in_memory() {
    check(Arc::new(MemoryChangelog::new()));
}

#[test]
fn embedded() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Arc::new(EmbeddedChangelog::open(dir.path(), EmbeddedOptions::default()).unwrap());
    let log = open();
    check(log.clone());
    // What decides nothing but the retention leaves the number as it is.
    log.create_topic("copies", &TopicConfig::default().retention_bytes(1 << 30)).unwrap();
    log.close().unwrap();
    drop(log);
    let kept = open().topic_config("copies").unwrap().unwrap();
    assert_eq!((kept.partitions, kept.retention_bytes), (Some(5), Some(1 << 30)));
}

#[test]
fn of_ones_own() {
    check(OwnLog::new());
    check(OwnLog::with_gaps(7));
}

/// One handle of a graph may name the number for all others of the topic.
#[test]
fn one_number_in_a_graph_is_enough() {
    let log = Arc::new(MemoryChangelog::new());
    let graph = GraphBuilder::new();
    graph.stream(&Topic::<u64, u64>::new("events")).group_by_key().count("one");
    graph.stream(&Topic::<u64, u64>::new("events").partitions(4)).group_by_key().count("other");
    graph.stream(&Topic::<u64, u64>::new("events")).group_by_key().count("third");
    let graph = graph.build().unwrap();
    Engine::builder(&graph).in_memory().changelog(log.clone()).start().unwrap().close_blocking().unwrap();
    assert_eq!(log.topics().unwrap(), [("events".into(), 4)]);
}
