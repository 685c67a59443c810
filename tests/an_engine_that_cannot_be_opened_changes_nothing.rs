//! An engine that is refused leaves the state as it was, whatever it meant to do with it.
//!
//! Property: after a refusal the graph that the state was made by goes on with the same rows at the same position and
//! builds nothing. The same holds for a rebuild that was given up before any input was consumed.
//!
//! Method: a graph that raises a table's version, or drops a table, is opened on a changelog that does not fit it. This
//! once failed: what was to become of the tables was written down before the changelog was asked, and the rows of a
//! table that could not be rebuilt were never taken up again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use millpond::changelog::{Changelog, MemoryChangelog, Producer, TopicConfig};
use millpond::store::MemoryStore;
use millpond::{
    Engine, ErrorKind, Graph, GraphBuilder, ManualClock, Result, Stepper, StoreOptions, Table, Topic,
};
use std::sync::Arc;

fn events() -> Topic<u32, u64> {
    Topic::new("events").config(TopicConfig { retention_bytes: Some(1), ..TopicConfig::default() })
}

/// Counts of `version`, and their largest value if it is `wanted`.
fn counting(version: u32, wanted: bool) -> (Graph, Table<u32, u64>) {
    let graph = GraphBuilder::new();
    let grouped = graph.stream(&events()).group_by_key();
    let counts = grouped.count(StoreOptions::named("counts").version(version));
    if wanted {
        grouped.reduce("largest", u64::max);
    }
    (graph.build().unwrap(), counts)
}

struct Service {
    changelog: Arc<MemoryChangelog>,
    store: Arc<MemoryStore>,
}

impl Service {
    fn new() -> Self {
        Self { changelog: Arc::new(MemoryChangelog::new()), store: Arc::new(MemoryStore::new()) }
    }

    fn open(&self, graph: &Graph) -> Result<Stepper> {
        let changelog: Arc<dyn Changelog> = self.changelog.clone();
        Engine::builder(graph).changelog(changelog).store(self.store.clone()).stepper()
    }

    /// Folds ten records one by one and makes that durable.
    fn fold_ten(&self) {
        let clock = Arc::new(ManualClock::new(0));
        let producer = Producer::new(self.changelog.clone(), &events(), clock).unwrap();
        for number in 0..10 {
            producer.put(&(number % 2), &u64::from(number)).wait().unwrap();
        }
        let mut stepper = self.open(&counting(0, true).0).unwrap();
        while stepper.epoch(100).unwrap() {}
        stepper.drain().unwrap();
    }

    /// Checks that the first graph goes on with `times` of each key, without building anything.
    fn goes_on(&self, times: u64) {
        let (graph, counts) = counting(0, true);
        let stepper = self.open(&graph).unwrap();
        assert!(!stepper.is_building());
        assert_eq!(stepper.view(&counts).unwrap().multi_get(&[0, 1]).unwrap(), [Some(times), Some(times)]);
        assert_eq!(stepper.stats().unwrap().tables["largest"].rows, 2);
    }
}

fn refused(opened: Result<Stepper>, kind: ErrorKind) {
    let error = opened.err().expect("this cannot be opened");
    assert_eq!(error.kind(), kind, "{error}");
}

#[test]
fn a_rebuild_of_which_the_changelog_lacks_the_beginning() {
    let service = Service::new();
    service.fold_ten();
    service.fold_ten();
    assert!(service.changelog.enforce_retention().unwrap() > 0);
    refused(service.open(&counting(1, true).0), ErrorKind::BehindChangelog);
    service.goes_on(10);
}

#[test]
fn a_table_less_on_the_wrong_changelog() {
    let service = Service::new();
    service.fold_ten();
    let wrong = Service { changelog: Arc::new(MemoryChangelog::new()), store: Arc::clone(&service.store) };
    refused(wrong.open(&counting(0, false).0), ErrorKind::AheadOfChangelog);
    assert!(wrong.changelog.topics().unwrap().is_empty(), "the changelog has no topic more than before");
    service.goes_on(5);
}

#[test]
fn a_topic_that_is_there_with_other_partitions() {
    let service = Service::new();
    service.fold_ten();
    let graph = GraphBuilder::new();
    graph.table(&Topic::<u32, u32>::new("another"), "another");
    graph.table(&Topic::<u32, u64>::new("events").partitions(2), "largest");
    refused(service.open(&graph.build().unwrap()), ErrorKind::Invalid);
    assert_eq!(service.changelog.topics().unwrap().len(), 1, "not even the first of the topics was created");
    service.goes_on(5);
}

#[test]
fn a_rebuild_that_is_given_up_at_once() {
    let service = Service::new();
    service.fold_ten();
    let (graph, counts) = counting(1, true);
    let stepper = service.open(&graph).unwrap();
    assert!(stepper.is_building());
    assert!(stepper.view(&counts).unwrap().is_former());
    drop(stepper);
    service.goes_on(5);
}
