//! A checkpoint of a service on Kafka, saved to an object store, goes on elsewhere: as a new process, as a clone, or in the place of
//! a state that was lost.
//!
//! Property: rows and position are all that there is of a state; restored, it folds the tail and equals the engine that ran on. What
//! was written before is not written again, although the state that is restored is older than that. Under another name it is
//! another state.
//!
//! Method: a real broker; a store in memory; outputs are read as strangers read them, committed only.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use millpond::{Engine, ErrorKind, Graph, GraphBuilder, Position, StateInfo, StoredTable, Topic};
use millpond_checkpoints::Checkpoints;
use millpond_checkpoints::object_store::memory::InMemory;
use millpond_kafka::KafkaChangelog;
use millpond_support::broker::Broker;
use service::{Case, case, check, kafka, rows};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn start(graph: &Graph, broker: &Broker, name: &str, state: &Path) -> Engine {
    let builder = Engine::builder(graph).changelog(kafka(&broker.bootstrap(), name)).memory(64 << 20);
    let engine = builder.state_dir(state).start().unwrap();
    engine.ready_blocking().unwrap();
    engine
}

fn sums(topic: &Topic<u32, u64>) -> (Graph, StoredTable<u32, u64>) {
    let graph = GraphBuilder::new();
    let sums = graph.stream(topic).group_by_key().fold("sums", || 0_u64, |sum, _, number| *sum += number);
    (graph.build().unwrap(), sums)
}

#[test]
fn a_new_process_and_a_clone_fold_the_tail() {
    let Some(broker) = Broker::shared() else { return };
    let topic = Topic::<u32, u64>::new(&broker.create_topic("restored", 2, &[]));
    let (graph, table) = sums(&topic);
    let dir = tempfile::tempdir().unwrap();
    let [state, seeded, clone] = ["state", "seeded", "clone"].map(|name| dir.path().join(name));
    let checkpoints = Checkpoints::new(Arc::new(InMemory::new()), "restored").unwrap();
    let engine = start(&graph, broker, "restored", &state);
    let mut expected = BTreeMap::new();
    let mut append = |engine: &Engine| {
        let mut last = Position::new();
        for number in 0..50_u64 {
            let key = u32::try_from(number % 9).unwrap();
            last.advance_to(&engine.append_blocking(&topic, &key, &number).unwrap());
            *expected.entry(key).or_default() += number;
        }
        (last, expected.clone())
    };
    let read = |engine: &Engine, position: &Position| -> BTreeMap<u32, u64> {
        engine.wait_for_blocking(position).unwrap();
        engine.view(&table).unwrap().scan().unwrap().map(Result::unwrap).collect()
    };
    let (position, _) = append(&engine);
    engine.wait_for_blocking(&position).unwrap();
    let error = engine.hold("backup").unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.message().contains("retention"), "{error}");
    let saved = checkpoints.save_blocking(&engine).unwrap();
    assert!(saved.position.includes(&position));
    let (position, all) = append(&engine);

    assert_eq!(checkpoints.seed_blocking(&seeded).unwrap().unwrap(), saved);
    let second = start(&graph, broker, "restored", &seeded);
    checkpoints.restore_blocking(&clone).unwrap();
    let other = start(&graph, broker, "other", &clone);
    for engine in [&engine, &second, &other] {
        assert_eq!(read(engine, &position), all);
    }
    assert!(second.stats().records_in <= 50 && other.stats().records_in <= 50, "only the tail");
    for engine in [engine, second, other] {
        engine.close_blocking().unwrap();
    }
    let [of_first, of_second, of_clone] = [&state, &seeded, &clone].map(|dir| StateInfo::read(dir).unwrap());
    assert!(of_first.identity == of_second.identity && of_first.identity != of_clone.identity);
    assert_eq!(
        (of_second.service.as_deref(), of_clone.service.as_deref()),
        (Some("restored"), Some("other"))
    );
}

#[test]
fn a_state_that_was_lost_comes_back_and_writes_nothing_twice() {
    let Some(broker) = Broker::shared() else { return };
    let case = case(broker, "lost");
    let log: KafkaChangelog = kafka(&broker.bootstrap(), "reader").open().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(Arc::new(InMemory::new()), "lost").unwrap();
    let mut appended: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let mut append = |engine: &Engine, case: &Case, from: u64| {
        let mut last = Position::new();
        for number in from..from + 30 {
            let key = u32::try_from(number % 7).unwrap();
            last.advance_to(&engine.append_blocking(&case.input, &key, &number).unwrap());
            appended.entry(key).or_default().push(number);
        }
        engine.wait_for_blocking(&last).unwrap();
        appended.clone()
    };
    let engine = start(&case.graph, broker, "lost", &dir.path().join("state"));
    append(&engine, &case, 0);
    let saved = checkpoints.save_blocking(&engine).unwrap();
    let all = append(&engine, &case, 100);
    // What it has written since is committed, and its state is gone.
    engine.drain_blocking().unwrap();
    check(&case, &log, &all);
    engine.close_blocking().unwrap();
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();

    let state = dir.path().join("elsewhere/state");
    assert_eq!(checkpoints.restore_blocking(&state).unwrap(), saved);
    let engine = start(&case.graph, broker, "lost", &state);
    let all = append(&engine, &case, 200);
    engine.drain_blocking().unwrap();
    check(&case, &log, &all);
    assert_eq!(rows(&case, &engine).values().sum::<u64>(), 90);
    engine.close_blocking().unwrap();
}
