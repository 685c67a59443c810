//! A table that is built beside the others agrees with those that it derives from, whatever records are left out.
//!
//! Property: with dead letters, after tables were added, changed and raised in their versions, every derived table is the
//! function of the others that the graph says: what a build has left out, or what only the graph before has, is not in one of
//! them alone.
//!
//! Method: random records, of which the first graph fails at some and the second at others; the graph is changed in between,
//! and the tables are compared with each other when all are built. Once a table that was raised had the row of a record that
//! the tables above it had left out before, for ever, and a group lost a member that it never had.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use millpond::testing::{Driver, Settings};
use millpond::{FailurePolicy, Graph, GraphBuilder, StoredTable, TableOptions, Topic};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// At these the first graph fails, or the second.
const BAD: [i64; 2] = [-1, -2];

type Rows = BTreeMap<u8, i64>;

fn events() -> Topic<u8, i64> {
    Topic::new("events").partitions(2)
}

struct Tables {
    graph: Graph,
    rows: StoredTable<u8, i64>,
    doubled: StoredTable<u8, i64>,
    sums: Option<StoredTable<u8, i64>>,
    counts: Option<StoredTable<u8, u64>>,
}

/// The graph before, and the one after: `doubled` is mended and raised, `sums` and `counts` are new.
fn tables(second: bool) -> Tables {
    let graph = GraphBuilder::new();
    let rows = graph.table(&events(), "rows");
    let version = u32::from(second);
    let doubled = rows
        .try_map_values(move |_, n| if !second && n == BAD[0] { Err("the first") } else { Ok(2 * n) })
        .materialize(TableOptions::named("doubled").version(version));
    let grouped = || rows.group_by(|key, n| (key % 2, *n));
    let sums = second.then(|| {
        let join = |sum: &mut i64, _: &u8, n: i64| {
            *sum += n;
            if n == BAD[1] { Err("the second") } else { Ok(()) }
        };
        let leave = |sum: &mut i64, _: &u8, n: i64| {
            *sum -= n;
            Ok(())
        };
        grouped().try_fold("sums", || 0, join, leave)
    });
    let counts = second.then(|| grouped().count("counts"));
    Tables { graph: graph.build().unwrap(), rows, doubled, sums, counts }
}

fn put(driver: &mut Driver, records: &[(u8, Option<i64>)], epoch: usize) {
    for &(key, value) in records {
        match value {
            Some(value) => driver.put(&events(), key, value, 0).unwrap(),
            None => driver.delete(&events(), key, 0).unwrap(),
        };
        if epoch == 1 {
            driver.epoch(1).unwrap();
        }
    }
    while driver.epoch(epoch).unwrap() {}
}

fn agree(driver: &Driver, tables: &Tables) {
    let rows: Rows = driver.table(&tables.rows).unwrap();
    let doubled: Rows = rows.iter().map(|(key, n)| (*key, 2 * n)).collect();
    assert_eq!(driver.table(&tables.doubled).unwrap(), doubled, "of {rows:?}");
    let (mut sums, mut counts) = (BTreeMap::new(), BTreeMap::new());
    for (key, n) in &rows {
        *sums.entry(key % 2).or_insert(0) += n;
        *counts.entry(key % 2).or_insert(0) += 1;
    }
    assert_eq!(driver.table(tables.sums.as_ref().unwrap()).unwrap(), sums, "of {rows:?}");
    assert_eq!(driver.table(tables.counts.as_ref().unwrap()).unwrap(), counts, "of {rows:?}");
}

/// `built`: whether the build is over before anything comes after it.
fn check(before: &[(u8, Option<i64>)], after: &[(u8, Option<i64>)], epoch: usize, built: bool) {
    let policy = FailurePolicy::DeadLetter("dead".into());
    let mut driver =
        Driver::with_settings(&tables(false).graph, Settings { policy, ..Settings::default() }).unwrap();
    put(&mut driver, before, epoch);
    let second = tables(true);
    driver.upgrade(&second.graph).unwrap();
    while built && driver.epoch(epoch).unwrap() {}
    put(&mut driver, after, epoch);
    assert!(!driver.is_building().unwrap());
    agree(&driver, &second);
}

/// The row of the record that the first graph has left out was in one of the tables only.
#[test]
fn a_record_that_was_left_out_and_is_not_any_more() {
    check(&[(1, Some(5)), (2, Some(-1))], &[(2, None)], 10, true);
}

/// The record that the second graph leaves out was a member that left its group without having joined it.
#[test]
fn a_record_that_was_not_left_out_and_is_now() {
    check(&[(1, Some(5)), (3, Some(-2))], &[(3, None)], 10, true);
    check(&[(1, Some(5)), (3, Some(-2))], &[(3, Some(7))], 1, true);
}

proptest! {
    #[test]
    fn whatever_is_left_out(
        before in proptest::collection::vec((0_u8..5, proptest::option::weighted(0.8, -2_i64..4)), 0..12),
        after in proptest::collection::vec((0_u8..5, proptest::option::weighted(0.8, -2_i64..4)), 0..12),
        epoch in prop_oneof![Just(1), Just(3), Just(100)],
        built in any::<bool>(),
    ) {
        check(&before, &after, epoch, built);
    }
}
