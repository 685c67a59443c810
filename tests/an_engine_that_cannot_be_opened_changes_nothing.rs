//! An engine that is refused leaves the state as it was, whatever it meant to do with it.
//!
//! Property: after a refusal every row of the state, also those of the engine itself, and every topic and record of the
//! changelog is what it was before; the graph that the state was made by goes on with the same rows at the same position
//! and builds nothing. The same holds for a rebuild that was given up before any input was consumed.
//!
//! Method: every way to be refused, each by a graph that would also create topics (one that sorts before and one that
//! sorts after the one it is refused for), add a table and drop one; state and changelog are compared as a whole. This
//! once failed: what was to become of the tables was written down before the changelog was asked, and the rows of a
//! table that could not be rebuilt were never taken up again; and topics were created before the changelog was asked for
//! what is to be built.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use millpond::changelog::TopicConfig;
use millpond::changelog::backend::{ReadLog, RetentionLog, TopicLog};
use millpond::{
    EngineBuilder, ErrorKind, FailurePolicy, Graph, GraphBuilder, Result, Stepper, StoredTable, TableOptions,
    Topic, TopicPartition,
};
use millpond_support::expect::refused;
use millpond_support::in_memory::{InMemory, catch_up};
use std::sync::Arc;

fn events() -> Topic<u32, u64> {
    Topic::new("events").config(TopicConfig::default().retention_bytes(1))
}

/// Counts of `version`, and their largest value if it is `wanted`.
fn counting(version: u32, wanted: bool) -> (Graph, StoredTable<u32, u64>) {
    let graph = GraphBuilder::new();
    let grouped = graph.stream(&events()).group_by_key();
    let counts = grouped.count(TableOptions::named("counts").version(version));
    if wanted {
        grouped.reduce("largest", u64::max);
    }
    (graph.build().unwrap(), counts)
}

type Everything = (Vec<(Vec<u8>, Vec<u8>)>, Vec<(String, std::ops::Range<u64>)>);

struct Service(InMemory);

impl Service {
    fn open(&self, graph: &Graph) -> Result<Stepper> {
        self.0.engine(graph).stepper()
    }

    /// Everything there is: rows, and topics with their records.
    fn everything(&self) -> Everything {
        let mut topics = Vec::new();
        for (topic, partitions) in self.0.log.topics().unwrap() {
            for partition in 0..partitions {
                let id = TopicPartition::new(Arc::clone(&topic), partition);
                topics.push((id.to_string(), self.0.log.offsets(&id).unwrap()));
            }
        }
        (self.0.rows(), topics)
    }

    /// Folds ten records one by one and makes that durable.
    fn fold_ten(&self) {
        let producer = self.0.producer(&events()).unwrap();
        for number in 0..10 {
            producer.put(&(number % 2), &u64::from(number)).wait_blocking().unwrap();
        }
        catch_up(&mut self.open(&counting(0, true).0).unwrap(), 100).unwrap();
    }

    /// Checks that the first graph goes on with `times` of each key, without building anything.
    fn goes_on(&self, times: u64) {
        let (graph, counts) = counting(0, true);
        let stepper = self.open(&graph).unwrap();
        assert!(!stepper.is_building());
        assert_eq!(stepper.view(&counts).unwrap().multi_get(&[0, 1]).unwrap(), [Some(times), Some(times)]);
        assert_eq!(stepper.stats().tables["largest"].rows, 2);
    }
}

#[test]
fn a_rebuild_of_which_the_changelog_lacks_the_beginning() {
    let service = Service(InMemory::new());
    service.fold_ten();
    service.fold_ten();
    assert!(service.0.log.enforce_retention().unwrap() > 0);
    refused(service.open(&counting(1, true).0), ErrorKind::BehindChangelog, &[]);
    service.goes_on(10);
}

#[test]
fn a_table_less_on_the_wrong_changelog() {
    let service = Service(InMemory::new());
    service.fold_ten();
    let wrong = Service(InMemory { log: Arc::default(), store: Arc::clone(&service.0.store) });
    refused(wrong.open(&counting(0, false).0), ErrorKind::AheadOfChangelog, &[]);
    assert!(wrong.0.log.topics().unwrap().is_empty(), "the changelog has no topic more than before");
    service.goes_on(5);
}

#[test]
fn a_topic_that_is_there_with_other_partitions() {
    let service = Service(InMemory::new());
    service.fold_ten();
    let graph = GraphBuilder::new();
    graph.table(&Topic::<u32, u32>::new("another"), "another");
    graph.table(&Topic::<u32, u64>::new("events").partitions(2), "largest");
    refused(service.open(&graph.build().unwrap()), ErrorKind::Invalid, &[]);
    assert_eq!(service.0.log.topics().unwrap().len(), 1, "not even the first of the topics was created");
    service.goes_on(5);
}

#[test]
fn a_rebuild_that_is_given_up_at_once() {
    let service = Service(InMemory::new());
    service.fold_ten();
    let (graph, counts) = counting(1, true);
    let stepper = service.open(&graph).unwrap();
    assert!(stepper.is_building());
    assert!(stepper.view(&counts).unwrap().is_former());
    drop(stepper);
    service.goes_on(5);
}

/// The table of [`counting`] beside others, over topics that are not there.
fn with_more(counts: impl Fn(&GraphBuilder)) -> Graph {
    let graph = GraphBuilder::new();
    graph.table(&Topic::<u32, u32>::new("aaa"), "first of all");
    counts(&graph);
    graph.table(&Topic::<u32, u32>::new("zzz"), "last of all");
    graph.build().unwrap()
}

fn counts(version: u32) -> impl Fn(&GraphBuilder) {
    move |graph| {
        graph.stream(&events()).group_by_key().count(TableOptions::named("counts").version(version));
    }
}

#[test]
fn every_way_to_be_refused() {
    let service = Service(InMemory::new());
    service.fold_ten();
    service.fold_ten();
    assert!(service.0.log.enforce_retention().unwrap() > 0);
    let wrong_log = Service(InMemory { log: Arc::default(), store: Arc::clone(&service.0.store) });
    let no_state = Service(InMemory { log: service.0.log.clone(), store: Arc::default() });
    let other_type = |graph: &GraphBuilder| {
        graph.stream(&events()).group_by_key().fold("counts", String::new, |_, _, _| ());
    };
    let other_partitions = |graph: &GraphBuilder| {
        graph.table(&Topic::<u32, u64>::new("events").partitions(2), "counts of all");
    };
    let same = with_more(counts(0));
    let dead = |topic: &str| FailurePolicy::DeadLetter(topic.into());
    let ways: Vec<(&str, &Service, EngineBuilder, ErrorKind)> = vec![
        ("a rebuild", &service, service.0.engine(&with_more(counts(1))), ErrorKind::BehindChangelog),
        ("a state that begins", &no_state, no_state.0.engine(&same), ErrorKind::BehindChangelog),
        ("another changelog", &wrong_log, wrong_log.0.engine(&same), ErrorKind::AheadOfChangelog),
        ("another type", &service, service.0.engine(&with_more(other_type)), ErrorKind::Invalid),
        ("other partitions", &service, service.0.engine(&with_more(other_partitions)), ErrorKind::Invalid),
        ("no shards", &service, service.0.engine(&same).shards(0), ErrorKind::Invalid),
        (
            "letters that are read",
            &service,
            service.0.engine(&same).on_failure(dead("zzz")),
            ErrorKind::Invalid,
        ),
        (
            "letters without a name",
            &service,
            service.0.engine(&same).on_failure(dead("")),
            ErrorKind::Invalid,
        ),
    ];
    for (way, service, builder, kind) in ways {
        let before = service.everything();
        let error = builder.stepper().expect_err(way);
        assert_eq!(error.kind(), kind, "{way}: {error}");
        let (rows, topics) = service.everything();
        assert_eq!(topics, before.1, "{way}: the changelog has changed");
        // An empty state may learn what format it has.
        if !before.0.is_empty() {
            assert_eq!(rows, before.0, "{way}: the state has changed");
        }
    }
    service.goes_on(10);
}
