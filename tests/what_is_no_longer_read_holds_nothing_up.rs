//! A topic that the graph of a service no longer reads is forgotten for good: nothing waits for it.
//!
//! Property: it has no lag, appends to it are acknowledged however many there are, waiting for it is refused, and
//! retention drops its records.
//!
//! Method: a service reads two topics and is opened again with a graph that reads one. This once failed: the position
//! goes on naming the other topic, and lag, gate and hold all took it for one that is read.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::backend::{ReadLog, RetentionLog};
use millpond::changelog::{Changelog, MemoryChangelog, Record, TopicConfig};
use millpond::store::{MemoryStore, StateStore};
use millpond::{Engine, EngineBuilder, ErrorKind, Graph, GraphBuilder, Topic, TopicPartition};
use millpond_support::records::append;
use std::sync::Arc;

fn kept() -> Topic<u32, u64> {
    Topic::new("kept")
}

fn left() -> Topic<u32, u64> {
    Topic::new("left").config(TopicConfig::default().retention_bytes(1))
}

fn both() -> Graph {
    let graph = GraphBuilder::new();
    graph.table(&kept(), "kept");
    graph.table(&left(), "left");
    graph.build().unwrap()
}

fn only_kept() -> Graph {
    let graph = GraphBuilder::new();
    graph.table(&kept(), "kept");
    graph.build().unwrap()
}

fn open(graph: &Graph, log: &Arc<MemoryChangelog>, store: &Arc<dyn StateStore>) -> EngineBuilder {
    let log: Arc<dyn Changelog> = log.clone();
    Engine::builder(graph).changelog(log).store(Arc::clone(store)).max_lag(10)
}

#[test]
fn a_topic_that_is_no_longer_read_holds_nothing_up() {
    let log = Arc::new(MemoryChangelog::new());
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let engine = open(&both(), &log, &store).start().unwrap();
    for key in 0..5 {
        engine.append(&kept(), &key, &1).wait_blocking().unwrap();
        engine.append(&left(), &key, &1).wait_blocking().unwrap();
    }
    engine.catch_up_blocking().unwrap();
    engine.close_blocking().unwrap();

    let id = TopicPartition::new("left", 0);
    let engine = open(&only_kept(), &log, &store).start().unwrap();
    // More than the engine may lag behind. Past the gate of a producer, so that nothing hangs if it is closed.
    let records = (0..100).map(|_| Record::new(vec![1], vec![2])).collect();
    append(&*log, id.clone(), records).unwrap();
    let position = engine.append(&kept(), &9, &1).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    let stats = engine.stats();
    assert_eq!(stats.position.offset(&id), 5, "the position remembers it");
    assert_eq!(stats.lag.keys().map(|id| &*id.topic).collect::<Vec<_>>(), ["kept"]);

    let error = engine.wait_for_blocking(&[(id.clone(), 105)].into_iter().collect()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    engine.catch_up_blocking().unwrap();

    engine.drain_blocking().unwrap();
    log.enforce_retention().unwrap();
    assert!(log.offsets(&id).unwrap().start > 5, "nobody needs what is left");
    // Durable state, too, remembers where it was.
    engine.close_blocking().unwrap();
    let again = open(&only_kept(), &log, &store).start().unwrap();
    assert_eq!(again.position().offset(&id), 5);
}
