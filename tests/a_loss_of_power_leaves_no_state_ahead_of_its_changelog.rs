//! What a state includes is durable in the changelog, also if others have appended it and nobody waited for it.
//!
//! Property: after a loss of power the state of a service fits its changelog. What an epoch of one service appends to a
//! derived topic is not synced at once; a second service that has folded and drained it must find it again.
//!
//! Method: two services on one changelog, one of which reads what the other derives. The machine goes down after the
//! second has drained and before the first has. This once failed: only a service that appended synced the changelog
//! before its drain.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog};
use millpond::store::{MemoryStore, StateStore};
use millpond::{Engine, Graph, GraphBuilder, Result, Stepper, StoredTable, Topic};
use millpond_support::records::producer;
use std::sync::Arc;

fn numbers() -> Topic<u32, u64> {
    Topic::new("numbers")
}

fn doubled() -> Topic<u32, u64> {
    Topic::new("doubled")
}

fn deriving() -> Graph {
    let graph = GraphBuilder::new();
    graph.stream(&numbers()).map_values(|_, number| number * 2).to(&doubled());
    graph.build().unwrap()
}

fn summing() -> (Graph, StoredTable<u32, u64>) {
    let graph = GraphBuilder::new();
    let sums = graph.stream(&doubled()).group_by_key().reduce("sums", |a, b| a + b);
    (graph.build().unwrap(), sums)
}

fn open(name: &str, graph: &Graph, log: &MemoryChangelog, store: &Arc<dyn StateStore>) -> Result<Stepper> {
    let log: Arc<dyn Changelog> = Arc::new(log.reopen());
    Engine::builder(graph).name(name).changelog(log).store(Arc::clone(store)).stepper()
}

#[test]
fn a_loss_of_power_leaves_no_state_ahead_of_its_changelog() {
    let log = MemoryChangelog::new();
    let producer = producer(Arc::new(log.reopen()), &numbers()).unwrap();
    producer.send([(&1, Some(&5), 0), (&1, Some(&6), 0)]).wait_blocking().unwrap();
    let stores: [Arc<dyn StateStore>; 2] = [Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new())];

    let (sum_graph, sums) = summing();
    let mut derive = open("derive", &deriving(), &log, &stores[0]).unwrap();
    let mut sum = open("sum", &sum_graph, &log, &stores[1]).unwrap();
    assert!(derive.epoch(10).unwrap());
    assert!(sum.epoch(10).unwrap());
    sum.drain().unwrap();

    let log = log.crash();
    drop((derive, sum));
    let mut sum = open("sum", &sum_graph, &log, &stores[1]).unwrap();
    // The first folds its epoch once more, and the second has it already.
    let mut derive = open("derive", &deriving(), &log, &stores[0]).unwrap();
    assert!(derive.epoch(10).unwrap());
    assert!(!sum.epoch(10).unwrap());
    assert_eq!(sum.view(&sums).unwrap().get(&1).unwrap(), Some(22));
}
