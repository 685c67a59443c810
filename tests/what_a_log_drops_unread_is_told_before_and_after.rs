//! A log that drops records by rules of its own tells how near that is, and what it has dropped unread is never passed over.
//!
//! Property: `Stats::retention_used` is the part of what is kept that is not folded. An engine that has fallen behind the first
//! record stops with `BehindChangelog`, at the partition, with its rows as they were; it is refused with the same when it is
//! opened again, and from another state it begins with what is left, and says so by its position.
//!
//! Method: a log of one's own that is trimmed while the engine is paused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, Producer};
use millpond::{
    Engine, EngineBuilder, ErrorKind, GraphBuilder, Health, ManualClock, StateReader, StoredTable, Topic,
    TopicPartition,
};
use millpond_support::own_log::OwnLog;
use std::path::Path;
use std::sync::Arc;

struct Sums {
    log: Arc<OwnLog>,
    topic: Topic<u64, u64>,
    graph: millpond::Graph,
    table: StoredTable<u64, u64>,
    partition: TopicPartition,
}

impl Sums {
    fn new() -> Self {
        let mut abilities = OwnLog::usual();
        (abilities.dense_offsets, abilities.keeps_holds) = (false, false);
        let topic = Topic::new("numbers");
        let graph = GraphBuilder::new();
        let table =
            graph.stream(&topic).group_by_key().fold("sums", || 0, |sum: &mut u64, _, number| *sum += number);
        let (graph, partition) = (graph.build().unwrap(), TopicPartition::new("numbers", 0));
        Self { log: OwnLog::with(abilities), topic, graph, table, partition }
    }

    fn builder(&self, dir: &Path) -> EngineBuilder {
        Engine::builder(&self.graph).changelog(Arc::clone(&self.log) as Arc<dyn Changelog>).state_dir(dir)
    }

    fn append(&self, records: u64) {
        let clock = Arc::new(ManualClock::new(0));
        let producer = Producer::new(self.log.clone(), &self.topic, clock).unwrap();
        (0..records).for_each(|_| drop(producer.put(&1, &1).wait_blocking().unwrap()));
    }
}

fn used(engine: &Engine, partition: &TopicPartition) -> f64 {
    engine.stats().retention_used[partition]
}

#[test]
fn an_engine_that_falls_behind_is_told_of_it_and_stops_where_it_is() {
    let sums = Sums::new();
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let engine = sums.builder(&state).start().unwrap();
    sums.append(10);
    engine.catch_up_blocking().unwrap();
    assert!(used(&engine, &sums.partition) < 1e-9);
    engine.drain_blocking().unwrap();
    engine.pause();
    sums.append(30);
    assert!((used(&engine, &sums.partition) - 0.75).abs() < 1e-9);
    sums.log.trim(&sums.partition, 10);
    assert!((used(&engine, &sums.partition) - 1.0).abs() < 1e-9);
    assert_eq!(engine.health(), Health::Paused);
    // One more than it has folded.
    sums.log.trim(&sums.partition, 11);
    engine.resume();
    let error = engine.catch_up_blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BehindChangelog, "{error}");
    let Health::Stopped { kind, reason } = engine.health() else { panic!("{:?}", engine.health()) };
    assert!(kind == ErrorKind::BehindChangelog && reason.contains("numbers/0"), "{reason}");
    assert_eq!(engine.position().offset(&sums.partition), 10);
    drop(engine);

    let rows =
        |dir: &Path| StateReader::open(dir, &sums.graph).unwrap().view(&sums.table).unwrap().get(&1).unwrap();
    for from_oldest in [false, true] {
        let error = sums.builder(&state).from_oldest_kept(from_oldest).start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BehindChangelog, "{error}");
        assert!(error.message().contains("numbers/0 from offset 10"), "{error}");
    }
    assert_eq!(rows(&state), Some(10));
    // A state of its own has nothing that could be wrong.
    let other = dir.path().join("other");
    let engine = sums.builder(&other).name("other").start().unwrap();
    engine.catch_up_blocking().unwrap();
    assert_eq!(engine.view(&sums.table).unwrap().get(&1).unwrap(), Some(29));
    assert!(used(&engine, &sums.partition) < 1e-9);
}

#[test]
fn a_log_that_keeps_what_is_needed_uses_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sums = Sums::new();
    let engine = Engine::open(dir.path(), &sums.graph).unwrap();
    assert!(engine.stats().retention_used.is_empty());
}
