//! Rows of tables that were replaced or given up are deleted, wherever the deletion was cut short.
//!
//! Property: once a build is complete and the engine was opened again, the store holds the rows of the tables that answer
//! and nothing else: no row, no count and no position of a table that was retired.
//!
//! Method: a table is rebuilt under a raised version while each step of its completion fails in turn, the engine is
//! opened again, and every key of the store is looked at. The rows once stayed for ever where the engine ended between
//! the new catalogue and the deletion: nobody looked at tables that were retired already.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::fault::{self, Action};
use millpond::{Graph, GraphBuilder, Stepper, StoredTable, TableOptions, Topic};
use millpond_support::in_memory::{InMemory, catch_up};
use std::collections::BTreeMap;

fn numbers() -> Topic<u32, u64> {
    Topic::new("numbers")
}

/// Two tables, of which one has a version, and its groups.
fn graph(version: u32) -> (Graph, [StoredTable<u32, u64>; 2]) {
    let graph = GraphBuilder::new();
    let grouped = graph.stream(&numbers()).group_by_key();
    let count = grouped.count("count");
    let sum = grouped.reduce(TableOptions::named("sum").version(version), |a, b| a + b);
    sum.group_by(|key, sum| (key % 3, *sum)).count(TableOptions::named("groups").version(version));
    (graph.build().unwrap(), [count, sum])
}

fn open(version: u32, kept: &InMemory) -> (Stepper, [StoredTable<u32, u64>; 2]) {
    let (graph, tables) = graph(version);
    (kept.engine(&graph).name("sums").stepper().unwrap(), tables)
}

/// How many keys begin alike: those of the engine's own by their kind, rows by their table.
fn kinds(kept: &InMemory) -> BTreeMap<Vec<u8>, usize> {
    let mut kinds = BTreeMap::new();
    for (key, _) in kept.rows() {
        let kind = if key[..2] == [0, 0] { &key[..3] } else { &key[..2] };
        *kinds.entry(kind.to_vec()).or_default() += 1;
    }
    kinds
}

fn check(kept: &InMemory, context: &str) {
    let kinds = kinds(kept);
    let rows: Vec<usize> = kinds.iter().filter(|(kind, _)| kind.len() == 2).map(|(_, rows)| *rows).collect();
    let mut sorted = rows.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [3, 20, 20], "{context}: the rows of three tables");
    assert_eq!(kinds[&vec![0, 0, 1]], 1, "{context}: one position");
    assert_eq!(kinds[&vec![0, 0, 3]], 3, "{context}: a count for each table");
}

fn run(point: &str, hit: u64) {
    let context = format!("{point} at hit {hit}");
    let kept = InMemory::new();
    let producer = kept.producer(&numbers()).unwrap();
    for number in 0..60_u64 {
        producer.put(&(number as u32 % 20), &number).wait_blocking().unwrap();
    }
    let (mut stepper, _) = open(0, &kept);
    catch_up(&mut stepper, 10).unwrap();
    drop(stepper);
    check(&kept, &context);

    let (mut stepper, _) = open(1, &kept);
    fault::arm(point, hit, Action::Error).unwrap();
    let failed = catch_up(&mut stepper, 10);
    assert!(fault::fired(point) && failed.is_err(), "{context}: the build does not pass it: {failed:?}");
    fault::disarm();
    drop(stepper);
    // Twice: what is deleted now is not looked at again.
    for _ in 0..2 {
        let (mut stepper, [count, sum]) = open(1, &kept);
        catch_up(&mut stepper, 10).unwrap();
        assert!(!stepper.is_building());
        assert_eq!(stepper.view(&count).unwrap().get(&7).unwrap(), Some(3));
        assert_eq!(stepper.view(&sum).unwrap().get(&7).unwrap(), Some(7 + 27 + 47));
        drop(stepper);
        check(&kept, &context);
    }
}

#[test]
fn a_completed_build_leaves_no_rows_behind() {
    let points =
        ["build.before_complete", "catalogue.before_write", "catalogue.after_write", "build.after_complete"];
    for point in points {
        run(point, 1);
    }
    // One after the other, for each of the tables that go.
    for hit in [1, 2] {
        run("catalogue.before_retire", hit);
        run("catalogue.after_retire", hit);
    }
}
