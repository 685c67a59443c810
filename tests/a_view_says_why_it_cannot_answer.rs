//! A view that cannot answer says why; it never answers `None` instead.
//!
//! Property: `Closed` after a close, `Unavailable` while a table is built for the first time; whoever waits when the
//! engine ends is woken with the same reason, be it for a position, for changes, for a key, for room, or for a rebuild.
//! A snapshot that was taken before goes on answering.
//!
//! Method: every call of a view on an engine in each of these conditions, with waiters on threads of their own. (An
//! engine that stopped at a bad record is tested beside the failure policies.)
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::MemoryChangelog;
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, StoredTable, Topic, TopicPartition, View};
use millpond_support::in_memory::InMemory;
use millpond_support::waiting::block_on;
use std::sync::Arc;

fn events() -> Topic<u32, u64> {
    Topic::new("events")
}

fn graph() -> (Graph, StoredTable<u32, u64>) {
    let graph = GraphBuilder::new();
    let counts = graph.stream(&events()).group_by_key().count("counts");
    (graph.build().unwrap(), counts)
}

/// Expects an error of this kind from every call there is.
fn every_call_says(view: &View<u32, u64>, kind: ErrorKind) {
    let answers = [
        ("get", view.get(&1).map(drop)),
        ("contains", view.contains(&1).map(drop)),
        ("multi_get", view.multi_get(&[1, 2]).map(drop)),
        ("multi_get of nothing", view.multi_get(&[0; 0]).map(drop)),
        ("range", view.range(1..3).map(drop)),
        ("scan", view.scan().map(drop)),
        ("count", view.count().map(drop)),
        ("snapshot", view.snapshot().map(drop)),
        ("changes", view.changes().map(drop)),
        ("subscribe", view.subscribe(&1).map(drop)),
    ];
    for (call, answer) in answers {
        match answer {
            Err(error) => assert_eq!(error.kind(), kind, "{call}: {error}"),
            Ok(()) => panic!("{call} answered"),
        }
    }
}

#[test]
fn a_closed_engine() {
    let (graph, counts) = graph();
    let log = Arc::new(MemoryChangelog::new());
    let engine = Engine::builder(&graph).changelog(log).in_memory().start().unwrap();
    let position = engine.append(&events(), &1, &5).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    let view = engine.view(&counts).unwrap();
    let snapshot = view.snapshot().unwrap();
    let (mut changes, mut key) = (view.changes().unwrap().1, view.subscribe(&1).unwrap());
    assert_eq!(key.current(), Some(&1));
    let producer = engine.producer(&events()).unwrap();
    let waiters = [
        std::thread::spawn(move || block_on(changes.next()).is_none()),
        std::thread::spawn(move || block_on(key.next()).is_none()),
    ];
    engine.close_blocking().unwrap();
    for waiter in waiters {
        assert!(waiter.join().unwrap(), "a stream does not end with its engine");
    }
    every_call_says(&view, ErrorKind::Closed);
    assert_eq!(snapshot.get(&1).unwrap(), Some(1), "a snapshot holds what it needs");
    producer.ready_blocking();
}

#[test]
fn whoever_waits_for_a_position_is_woken_by_a_close() {
    let (graph, _) = graph();
    let log = Arc::new(MemoryChangelog::new());
    let engine = Arc::new(Engine::builder(&graph).changelog(log).in_memory().start().unwrap());
    let never = [(TopicPartition::new("events", 0), u64::MAX)].into_iter().collect::<millpond::Position>();
    // Nobody can close an engine that others hold; a changelog that is closed under it ends it too.
    let waiters = [
        std::thread::spawn({
            let (engine, never) = (Arc::clone(&engine), never.clone());
            move || engine.wait_for_blocking(&never)
        }),
        std::thread::spawn({
            let engine = Arc::clone(&engine);
            move || block_on(engine.wait_for(&never))
        }),
    ];
    engine.changelog().close().unwrap();
    for waiter in waiters {
        let error = waiter.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
}

#[test]
fn a_table_that_is_being_built() {
    let kept = InMemory::new();
    let producer = kept.producer(&events()).unwrap();
    for key in [1, 2, 1] {
        producer.put(&key, &7).wait_blocking().unwrap();
    }
    kept.fold(&graph().0, 10).unwrap();

    let graph = GraphBuilder::new();
    let stream = graph.stream(&events()).group_by_key();
    let counts = stream.count("counts");
    let sums = stream.fold("sums", || 0_u64, |sum, _, value| *sum += value);
    let graph = graph.build().unwrap();
    let mut stepper = kept.stepper(&graph).unwrap();
    let view = stepper.view(&sums).unwrap();
    every_call_says(&view, ErrorKind::Unavailable);
    let error = stepper.snapshot().unwrap().of(&view).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("`sums`") && error.message().contains("Engine::ready"), "{error}");
    assert_eq!(stepper.view(&counts).unwrap().get(&1).unwrap(), Some(2), "the other table answers meanwhile");
    while stepper.is_building() {
        stepper.epoch(1).unwrap();
    }
    assert_eq!(view.get(&1).unwrap(), Some(14));
    assert_eq!(view.get(&3).unwrap(), None, "and only now is a missing key `None`");
}

#[test]
fn a_view_of_another_graph() {
    let (one, _) = graph();
    let other = GraphBuilder::new();
    let stream = other.stream(&events());
    stream.group_by_key().count("first");
    let second = stream.group_by_key().count("second");
    let mapped = second.map_values(|_, count| count + 1).materialize("mapped");
    other.build().unwrap();
    let log = Arc::new(MemoryChangelog::new());
    let engine = Engine::builder(&one).changelog(log).in_memory().start().unwrap();
    for table in [&second, &mapped] {
        let error = engine.view(table).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

/// It once said that the table was being built, for ever.
#[test]
fn a_table_whose_build_has_ended_the_engine() {
    let kept = InMemory::new();
    kept.producer(&events()).unwrap().put(&1, &7).wait_blocking().unwrap();
    kept.fold(&graph().0, 10).unwrap();

    let graph = GraphBuilder::new();
    let stream = graph.stream(&events()).group_by_key();
    stream.count("counts");
    let never = stream.try_fold("never", || 0_u64, |_, _, _| Err("it is never folded"));
    let engine = kept.engine(&graph.build().unwrap()).start().unwrap();
    let view = engine.view(&never).unwrap();
    assert_eq!(engine.ready_blocking().unwrap_err().kind(), ErrorKind::User);
    every_call_says(&view, ErrorKind::User);
    let error = view.get(&1).unwrap_err();
    assert!(error.message().contains("it is never folded"), "{error}");
}
