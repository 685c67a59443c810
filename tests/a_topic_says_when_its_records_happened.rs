//! A topic says when its records happened, whoever wrote them.
//!
//! Property: with `Topic::timestamps_from` the timestamp of a record is what its key and value say: in the log, if a producer,
//! an engine or a graph of ours wrote it, and everywhere in the graph, whatever the record says itself; a tombstone keeps its
//! own. Without it the record's timestamp goes through unchanged. Every number is a time, also -1.
//!
//! Method: records with wrong timestamps by hand, beside ours; every place in a graph that shows a timestamp.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use millpond::changelog::{Changelog, ProducerRecord, Timestamps};
use millpond::stream::Emit;
use millpond::testing::Driver;
use millpond::{Engine, ErrorKind, GraphBuilder, Latest, Process, Topic};
use millpond_support::expect::refused;
use millpond_support::records::{append, partition, read, record};

/// When, and something else.
type Reading = (i64, u64);

fn readings() -> Topic<u32, Reading> {
    Topic::new("readings").timestamps_from(|key, (at, _)| at + i64::from(*key))
}

/// What a process is told.
struct Seen;

impl Process<u32, Reading> for Seen {
    type State = i64;
    type OutKey = u32;
    type OutValue = i64;

    fn process(&self, _: &u32, _: Reading, state: &mut Option<i64>, emit: &mut Emit<u32, i64>) {
        *state = Some(emit.timestamp_ms());
    }
}

#[test]
fn everywhere_in_a_graph() {
    let topic = readings();
    let (copies, sums) = (Topic::new("copies"), Topic::new("sums").timestamps_from(|_, sum: &i64| sum * 10));
    let graph = GraphBuilder::new();
    let stream = graph.stream(&topic);
    let timed = stream.with_timestamps().map_values(|_, (_, at)| at).to_table("timed");
    let (_, processed) = stream.process("processed", Seen);
    let whole = graph.records(&topic).map_values(|_, reading| reading.timestamp_ms).to_table("whole");
    let latest = graph.table_by(&topic, "latest", Latest::Timestamp);
    stream.to(&copies);
    stream.map_values(|_, (at, _)| at).to_records(&sums, |_, at| match at {
        13 => ProducerRecord::tombstone().at(5),
        at => ProducerRecord::new(at).at(999),
    });
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    driver.put(&topic, 1, (100, 7), 4).unwrap();
    // Another one writes what it likes: an older value, with a newer timestamp.
    append(&**driver.changelog(), partition(&topic, 0), vec![record(&topic, &1, Some(&(50, 8))).at(1_000)])
        .unwrap();
    append(&**driver.changelog(), partition(&topic, 0), vec![record(&topic, &2, Some(&(-3, 9))).at(1_000)])
        .unwrap();
    append(&**driver.changelog(), partition(&topic, 0), vec![record(&topic, &3, Some(&(10, 0)))]).unwrap();
    append(&**driver.changelog(), partition(&topic, 0), vec![record(&topic, &3, None).at(-1)]).unwrap();
    append(&**driver.changelog(), partition(&topic, 0), vec![record(&topic, &3, Some(&(13, 1)))]).unwrap();
    driver.run().unwrap();
    let stamps = [(1, 51), (2, -1), (3, 16)];
    assert_eq!(driver.table(&timed).unwrap(), stamps.into());
    assert_eq!(driver.table(&processed).unwrap(), stamps.into());
    assert_eq!(driver.table(&whole).unwrap(), stamps.into());
    assert_eq!(driver.table(&latest).unwrap(), [(1, (100, 7)), (2, (-3, 9)), (3, (13, 1))].into());
    let written = |topic: &str| -> Vec<i64> {
        let records = read(&**driver.changelog(), &millpond::TopicPartition::new(topic, 0)).unwrap();
        records.iter().map(|record| record.timestamp_ms).collect()
    };
    assert_eq!(written("readings"), [101, 1_000, 1_000, 0, -1, 0], "what others wrote stays as it is");
    assert_eq!(written("copies"), [101, 51, -1, 13, 16], "of what they were made from");
    assert_eq!(written("sums"), [1_000, 500, -30, 100, 5], "the topic that is written to says when");
}

#[test]
fn tombstones_keep_their_own() {
    // Also where their keys do not decode, which a stream does not look at: time is the same for all that read the topic.
    for reads_table in [false, true] {
        let graph = GraphBuilder::new();
        let waits = graph.stream(&readings()).in_time_order("waiting", std::time::Duration::ZERO);
        waits.group_by_key().count("count");
        if reads_table {
            graph.table(&readings(), "rows");
        }
        let policy = millpond::FailurePolicy::DeadLetter("dead".into());
        let settings = millpond::testing::Settings { policy, ..Default::default() };
        let mut driver = Driver::with_settings(&graph.build().unwrap(), settings).unwrap();
        let tombstone = millpond::changelog::Record::tombstone("no key").at(77);
        driver.append(millpond::TopicPartition::new("readings", 0), vec![tombstone]).unwrap();
        driver.run().unwrap();
        let stats = driver.stats().unwrap();
        assert_eq!(stats.dead_letters, u64::from(reads_table));
        assert_eq!(stats.stream_times.into_values().collect::<Vec<_>>(), [77], "{reads_table}");
    }

    let graph = GraphBuilder::new();
    let deleted =
        graph.records(&readings()).map_values(|_, reading| reading.timestamp_ms).to_table("deleted");
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    driver.delete(&readings(), 1, 70).unwrap();
    driver.run().unwrap();
    assert_eq!(driver.table(&deleted).unwrap(), [(1, 70)].into());
}

#[test]
fn whatever_writes_it() {
    let topic = readings();
    let graph = GraphBuilder::new();
    graph.table(&topic, "latest");
    let engine = Engine::builder(&graph.build().unwrap()).in_memory().start().unwrap();
    engine.append_blocking(&topic, &1, &(10, 0)).unwrap();
    let producer = engine.producer(&topic).unwrap();
    producer.put_blocking(&2, &(20, 0)).unwrap();
    producer.send_blocking([(&3, Some(&(30, 0)), 7), (&4, None, 8)]).unwrap();
    producer.send_records_blocking([(&5, ProducerRecord::new((50, 0)).at(9))]).unwrap();
    let log: &dyn Changelog = &**engine.changelog();
    let records = read(log, &partition(&topic, 0)).unwrap();
    let times: Vec<i64> = records.iter().map(|record| record.timestamp_ms).collect();
    assert_eq!(times, [11, 22, 33, 8, 55]);
}

#[test]
fn a_panic_where_a_timestamp_is_made_is_the_failure_of_the_record() {
    let topic = Topic::<u32, Reading>::new("readings").timestamps_from(|_, (at, _)| {
        assert!(*at < 100, "no time");
        *at
    });
    let graph = GraphBuilder::new();
    let counts = graph.stream(&topic).group_by_key().count("counts");
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    driver.put(&topic, 1, (1, 0), 0).unwrap();
    append(&**driver.changelog(), partition(&topic, 0), vec![record(&topic, &1, Some(&(100, 0)))]).unwrap();
    refused(driver.run(), ErrorKind::User, &["readings/0 offset 1", "no time"]);
    assert_eq!(driver.table(&counts).unwrap(), [(1, 1)].into());
}

/// The log says when, and a graph sees that; a topic that says it by its values has the last word.
#[test]
fn when_the_log_appended_it() {
    let readings = Topic::<u32, Reading>::new("readings").timestamps(Timestamps::Appended);
    let by_value = readings.clone().timestamps_from(|_, (at, _)| *at);
    let copies = Topic::new("copies").timestamps(Timestamps::Appended);
    let graph = GraphBuilder::new();
    let dated = |topic| graph.records(topic).map_values(|_, reading| reading.timestamp_ms);
    let (appended, said) = (dated(&readings).to_table("appended"), dated(&by_value).to_table("said"));
    graph.stream(&readings).to(&copies);
    let written = Topic::<u32, Reading>::new("copies");
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    driver.advance(5_000);
    driver.put(&readings, 1, (100, 0), 4).unwrap();
    driver.advance(1_000);
    driver.delete(&readings, 1, 4).unwrap();
    driver.put(&readings, 2, (200, 0), 4).unwrap();
    driver.advance(1_000);
    driver.run().unwrap();
    assert_eq!(driver.table(&appended).unwrap(), [(1, 6_000), (2, 6_000)].into());
    assert_eq!(driver.table(&said).unwrap(), [(1, 6_000), (2, 200)].into(), "a tombstone has no value");
    let times: Vec<_> = driver.records(&written).unwrap().iter().map(|copy| copy.timestamp_ms).collect();
    assert_eq!(times, [7_000, 7_000], "the topic that is written to says when");

    let graph = GraphBuilder::new();
    graph.stream(&readings).group_by_key().count("one");
    graph
        .stream(&Topic::<u32, Reading>::new("readings").timestamps(Timestamps::Created))
        .group_by_key()
        .count("other");
    refused(
        graph.build(),
        ErrorKind::Invalid,
        &["`readings`", "when they are appended", "when its producer says"],
    );
}
