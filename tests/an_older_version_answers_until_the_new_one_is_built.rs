//! A table whose version was raised is answered from the rows of its older version until it is rebuilt, also when
//! another operator keeps it now.
//!
//! Method: an engine moved by hand folds the sum of each key; it is opened again with a graph in which the same table
//! is something else (first another fold, then a join that is stored), and asked before and after it has caught up.
//! This once failed for the join: what a table was *for* was taken for a part of its type. And the rows of an older
//! version once claimed, after a restart in the midst of the rebuild, to stand where the other tables stood by then.

use millpond::TableOptions;
use millpond::changelog::MemoryChangelog;
use millpond::{Engine, ErrorKind, GraphBuilder, Position, Result, StoredTable, Topic, TopicPartition};
use millpond_support::in_memory::InMemory;
use std::sync::Arc;

fn topic() -> Topic<String, u64> {
    Topic::new("payments")
}

fn sums(graph: &GraphBuilder) -> StoredTable<String, u64> {
    graph.stream(&topic()).group_by_key().fold("paid", || 0, |sum, _, value: u64| *sum += value)
}

fn counts(graph: &GraphBuilder) -> StoredTable<String, u64> {
    let store = TableOptions::named("paid").version(1);
    graph.stream(&topic()).group_by_key().fold(store, || 0, |count, _, _: u64| *count += 1)
}

fn last_twice(graph: &GraphBuilder) -> StoredTable<String, u64> {
    let last = graph.table(&topic(), "last");
    last.join(&last, |_, a, b| a + b).materialize(TableOptions::named("paid").version(2))
}

#[test]
fn the_older_version_answers_until_the_new_one_is_built() -> Result<()> {
    let service = InMemory::new();
    let producer = service.producer(&topic())?;
    let alice = "alice".to_owned();
    producer.put(&alice, &30).wait_blocking()?;
    producer.put(&alice, &12).wait_blocking()?;

    let mut before = None;
    for (table, expected) in [(sums as fn(&GraphBuilder) -> _, 42), (counts, 2), (last_twice, 24)] {
        let graph = GraphBuilder::new();
        let table = table(&graph);
        let mut stepper = service.stepper(&graph.build()?)?;
        let view = stepper.view(&table)?;
        assert_eq!(view.is_former(), before.is_some());
        assert_eq!(view.get(&alice)?, before);
        while stepper.epoch(1)? {}
        assert!(view.is_live());
        assert_eq!(view.get(&alice)?, Some(expected));
        stepper.drain()?;
        before = Some(expected);
    }
    Ok(())
}

/// The sums beside a table that is never rebuilt.
fn with_largest(version: u32) -> (GraphBuilder, StoredTable<String, u64>, StoredTable<String, u64>) {
    let graph = GraphBuilder::new();
    let grouped = graph.stream(&topic()).group_by_key();
    let store = TableOptions::named("paid").version(version);
    let paid = grouped.fold(store, || 0, |sum, _, value: u64| *sum += value);
    let largest = grouped.fold("largest", || 0, |most, _, value: u64| *most = value.max(*most));
    (graph, paid, largest)
}

#[test]
fn the_rows_of_an_older_version_say_where_they_stand() -> Result<()> {
    let service = InMemory::new();
    let producer = service.producer(&topic())?;
    let alice = "alice".to_owned();
    for value in [1, 2, 3] {
        producer.put(&alice, &value).wait_blocking()?;
    }
    let at =
        |offset: u64| -> Position { [(TopicPartition::new("payments", 0), offset)].into_iter().collect() };
    let (graph, _, _) = with_largest(0);
    let mut first = service.stepper(&graph.build()?)?;
    while first.epoch(1)? {}
    first.drain()?;
    drop(first);

    // The others go on while the rebuild has only begun, again and again.
    for (restart, value) in [(0, 4), (1, 5), (2, 6)] {
        producer.put(&alice, &value).wait_blocking()?;
        let (graph, paid, largest) = with_largest(1);
        let mut stepper = service.stepper(&graph.build()?)?;
        let (paid, largest) = (stepper.view(&paid)?, stepper.view(&largest)?);
        stepper.epoch(1)?;
        assert!(paid.is_former(), "restart {restart}");
        let snapshot = stepper.snapshot()?;
        let (paid, largest) = (snapshot.of(&paid)?, snapshot.of(&largest)?);
        assert_eq!((paid.get(&alice)?, paid.position()), (Some(6), &at(3)), "restart {restart}");
        assert_eq!(paid.count(), 1);
        assert_eq!(
            (largest.get(&alice)?, largest.position()),
            (Some(value), &at(value)),
            "restart {restart}"
        );
        stepper.drain()?;
    }
    Ok(())
}

#[test]
fn a_snapshot_from_before_a_table_was_built_does_not_show_half_of_it() -> Result<()> {
    let service = InMemory::new();
    let producer = service.producer(&topic())?;
    for (key, value) in [("alice", 1), ("bob", 2), ("carol", 3)] {
        producer.put(&key.to_owned(), &value).wait_blocking()?;
    }
    let graph = GraphBuilder::new();
    sums(&graph);
    let mut first = service.stepper(&graph.build()?)?;
    while first.epoch(10)? {}
    first.drain()?;
    drop(first);

    let graph = GraphBuilder::new();
    sums(&graph);
    let copy = graph.table(&topic(), "copy");
    let mut stepper = service.stepper(&graph.build()?)?;
    let view = stepper.view(&copy)?;
    stepper.epoch(1)?;
    stepper.drain()?;
    let early = stepper.snapshot()?;
    assert_eq!(early.of(&view).err().map(|error| error.kind()), Some(ErrorKind::Unavailable));
    while stepper.epoch(1)? {}
    assert!(view.is_live());
    let error = early.of(&view).expect_err("the snapshot is older than the table");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("`copy`"), "{error}");
    assert_eq!(stepper.snapshot()?.of(&view)?.count(), 3);

    // And a view means nothing to the snapshots of another engine.
    let graph = GraphBuilder::new();
    sums(&graph);
    let other =
        Engine::builder(&graph.build()?).in_memory().changelog(Arc::new(MemoryChangelog::new())).stepper()?;
    assert_eq!(other.snapshot()?.of(&view).err().map(|error| error.kind()), Some(ErrorKind::Invalid));
    Ok(())
}
