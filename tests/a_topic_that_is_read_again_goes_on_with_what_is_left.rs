//! A topic that was no longer read, and lost records to retention meanwhile, can be read again.
//!
//! Property: where no row that is kept depends on what is gone, an engine that may begin with the oldest record kept
//! does; one that may not says so, and what to do, and changes nothing. Where a row does depend on it, the engine is
//! refused in any case. Once it has gone on, nothing needs to be allowed any more.
//!
//! Method: a service reads two topics, then one, then two again, while the log drops what nobody holds. This was once
//! refused for ever: the position still named the topic, and was taken for one that rows stand at.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::TopicConfig;
use millpond::changelog::backend::{ReadLog, RetentionLog, TopicLog};
use millpond::{
    ErrorKind, Graph, GraphBuilder, Position, Result, Stepper, StoredTable, Topic, TopicPartition,
};
use millpond_support::in_memory::{InMemory, catch_up};
use millpond_support::records::{append, partition, record};
use std::collections::BTreeMap;

struct Service(InMemory);

impl Service {
    fn open(&self, graph: &Graph, from_oldest_kept: bool) -> Result<Stepper> {
        self.0.engine(graph).name("service").from_oldest_kept(from_oldest_kept).stepper()
    }

    /// Opens, folds everything, makes it durable and ends.
    fn run(&self, graph: &Graph) {
        catch_up(&mut self.open(graph, false).unwrap(), 3).unwrap();
    }

    fn put(&self, topic: &Topic<u32, u64>, key: u32, value: u64) {
        self.0.log.ensure_topic(topic.name(), topic.topic_config()).unwrap();
        let records = vec![record(topic, &key, Some(&value)).at(7)];
        append(&*self.0.log, partition(topic, 0), records).unwrap();
    }

    fn start_of_left(&self) -> u64 {
        self.0.log.offsets(&TopicPartition::new("left", 0)).unwrap().start
    }
}

fn kept() -> Topic<u32, u64> {
    Topic::new("kept")
}

fn left() -> Topic<u32, u64> {
    Topic::new("left").config(TopicConfig::default().retention_bytes(120))
}

fn sums(graph: &GraphBuilder, topic: &Topic<u32, u64>) -> StoredTable<u32, u64> {
    graph.stream(topic).group_by_key().reduce(&**topic.name(), |a, b| a + b)
}

fn only_kept() -> Graph {
    let graph = GraphBuilder::new();
    sums(&graph, &kept());
    graph.build().unwrap()
}

fn all<K: millpond::codec::Key, V: millpond::codec::Value>(
    stepper: &Stepper,
    table: &StoredTable<K, V>,
) -> BTreeMap<K, V> {
    stepper.view(table).unwrap().scan().unwrap().map(Result::unwrap).collect()
}

/// A service that read both topics, then one while the other lost some of what it had read and some that it had not.
fn trimmed(both: &Graph) -> Service {
    let service = Service(InMemory::new());
    for key in 0..5 {
        service.put(&kept(), key, 1);
        service.put(&left(), key, 1);
    }
    service.run(both);
    service.run(&only_kept());
    for key in 0..20 {
        service.put(&kept(), key % 7, 10);
        service.put(&left(), key % 7, 10);
    }
    service.run(&only_kept());
    service.0.log.enforce_retention().unwrap();
    assert!((6..25).contains(&service.start_of_left()), "begins at {}", service.start_of_left());
    service
}

fn refused(service: &Service, graph: &Graph, from_oldest_kept: bool, says: &str) {
    let before = service.0.rows();
    let error = service.open(graph, from_oldest_kept).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::BehindChangelog, "{error}");
    let message = error.message();
    assert!(message.contains("left/0") && message.contains(says), "{message}");
    assert_eq!(service.0.rows(), before, "a refused engine changed something");
}

#[test]
fn a_table_is_made_of_what_is_left() {
    let build = || {
        let graph = GraphBuilder::new();
        let tables = (sums(&graph, &kept()), sums(&graph, &left()));
        (graph.build().unwrap(), tables.0, tables.1)
    };
    let (both, ..) = build();
    let service = trimmed(&both);
    refused(&service, &both, false, "`from_oldest_kept`");

    let (both, kept_sums, left_sums) = build();
    let mut stepper = service.open(&both, true).unwrap();
    while stepper.epoch(3).unwrap() {}
    let mut expected = BTreeMap::<u32, u64>::new();
    for offset in service.start_of_left()..25 {
        *expected.entry(u32::try_from((offset - 5) % 7).unwrap()).or_default() += 10;
    }
    assert_eq!(all(&stepper, &left_sums), expected);
    service.put(&left(), 100, 3);
    while stepper.epoch(3).unwrap() {}
    expected.insert(100, 3);
    assert_eq!(all(&stepper, &left_sums), expected);
    assert_eq!(all(&stepper, &kept_sums).values().sum::<u64>(), 205, "the others are not touched");
    stepper.drain().unwrap();
    drop(stepper);

    let (both, _, left_sums) = build();
    let stepper = service.open(&both, false).unwrap();
    assert_eq!(all(&stepper, &left_sums), expected, "nothing needs to be allowed any more");
}

#[test]
fn a_derived_topic_goes_on_with_what_is_left() {
    let out = Topic::<u32, u64>::new("out");
    let both = || {
        let graph = GraphBuilder::new();
        sums(&graph, &kept());
        graph.stream(&left()).to(&out);
        graph.build().unwrap()
    };
    let service = trimmed(&both());
    let of_out = |service: &Service| service.0.log.offsets(&TopicPartition::new("out", 0)).unwrap().end;
    assert_eq!(of_out(&service), 5);
    refused(&service, &both(), false, "`from_oldest_kept`");

    let mut stepper = service.open(&both(), true).unwrap();
    while stepper.epoch(3).unwrap() {}
    assert_eq!(of_out(&service), 5 + 25 - service.start_of_left());
    stepper.drain().unwrap();
    drop(stepper);
    service.run(&both());
    assert_eq!(of_out(&service), 5 + 25 - service.start_of_left(), "nothing is written twice");
}

#[test]
fn rows_that_depend_on_what_is_gone_are_refused_in_any_case() {
    let both = || {
        let graph = GraphBuilder::new();
        sums(&graph, &kept());
        sums(&graph, &left());
        graph.build().unwrap()
    };
    let service = Service(InMemory::new());
    for key in 0..5 {
        service.put(&left(), key, 1);
    }
    service.run(&both());
    for key in 0..20 {
        service.put(&left(), key, 10);
    }
    // Someone gives up its hold, and the log forgets what it has not read.
    service.0.log.hold("service", &Position::new()).unwrap();
    service.0.log.enforce_retention().unwrap();
    assert!(service.start_of_left() > 5);
    for from_oldest_kept in [false, true] {
        refused(&service, &both(), from_oldest_kept, "restore a copy of the changelog");
    }
}
