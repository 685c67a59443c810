//! Answers are those of taking one record after the other in the order of their appends.
//!
//! Property: what tables answer is the same with one record in each epoch, all in one, random cuts with crashes and drains
//! in between, and after a rebuild under a raised version; whether timestamps are equal, late or in order.
//!
//! Method: the graphs at which 0.1 failed, run in all these ways over scripts of appends. Orders joined with prices that were
//! appended later within the same millisecond changed their price after a crash (1,718 of 2,000) or a rebuild (1,741);
//! two topics merged into "last one wins" turned from one to the other (978 of 1,000); a stream joined with its own sum saw
//! the sum of the epoch; and a join below `to_stream().upsert_table(..)` met what the row became later. Each was seen failing
//! on 0.1. Random graphs are held to the same by `every_published_state_equals_the_model`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::testing::Driver;
use millpond::{Graph, GraphBuilder, StoredTable, TableOptions, Topic};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

type Rows = BTreeMap<u8, i64>;

/// An append to one of the two topics: key, value and timestamp.
type Record = (bool, u8, i64, i64);

/// A graph and the table to be asked, under some version.
type Make = fn(u32) -> (Graph, StoredTable<u8, i64>);

fn topics() -> [Topic<u8, i64>; 2] {
    [Topic::new("left").partitions(2), Topic::new("right").partitions(3)]
}

fn named(version: u32) -> TableOptions<i64> {
    TableOptions::named("answer").version(version)
}

/// Each record of the left meets the row that the right has at that moment; the last answer stays.
fn joined(version: u32) -> (Graph, StoredTable<u8, i64>) {
    let ([left, right], graph) = (topics(), GraphBuilder::new());
    let rows = graph.table(&right, TableOptions::named("rows").version(version));
    let answer =
        graph.stream(&left).left_join(&rows, |_, value, row| value * 1_000 + row.copied().unwrap_or(-1));
    let table = answer.to_table(named(version));
    (graph.build().unwrap(), table)
}

fn merged(version: u32) -> (Graph, StoredTable<u8, i64>) {
    let ([left, right], graph) = (topics(), GraphBuilder::new());
    let table = graph.stream(&left).merge(&graph.stream(&right)).to_table(named(version));
    (graph.build().unwrap(), table)
}

/// A fold over records of several partitions that does not commute.
fn chained(version: u32) -> (Graph, StoredTable<u8, i64>) {
    let ([left, right], graph) = (topics(), GraphBuilder::new());
    let all = graph.stream(&left).merge(&graph.stream(&right)).re_key(|key, _| key % 2);
    let table = all.group_by_key().fold(
        named(version),
        || 0,
        |sum: &mut i64, _, value| *sum = sum.wrapping_mul(31).wrapping_add(value),
    );
    (graph.build().unwrap(), table)
}

fn joined_with_itself(version: u32) -> (Graph, StoredTable<u8, i64>) {
    let ([left, _], graph) = (topics(), GraphBuilder::new());
    let stream = graph.stream(&left);
    let sum = stream.group_by_key().reduce(TableOptions::named("sum").version(version), |a, b| a + b);
    let seen = stream.left_join(&sum, |_, _, sum| sum.copied().unwrap_or(0));
    let table = seen.group_by_key().reduce(named(version), |a, b| a.wrapping_mul(31).wrapping_add(b));
    (graph.build().unwrap(), table)
}

fn joined_below_a_stream_of_changes(version: u32) -> (Graph, StoredTable<u8, i64>) {
    let ([left, right], graph) = (topics(), GraphBuilder::new());
    let rows = graph.table(&right, TableOptions::named("rows").version(version));
    let again = rows.to_stream().upsert_table(TableOptions::named("again").version(version));
    let answer =
        graph.stream(&left).left_join(&again, |_, value, row| value * 1_000 + row.copied().unwrap_or(-1));
    let table = answer.to_table(named(version));
    (graph.build().unwrap(), table)
}

/// How many changes a row has seen is as much an answer as the row.
fn counted_changes(version: u32) -> (Graph, StoredTable<u8, i64>) {
    let ([left, _], graph) = (topics(), GraphBuilder::new());
    let rows = graph.table(&left, TableOptions::named("rows").version(version));
    let changes = rows.to_stream().map_values(|_, _| 1_i64);
    let table = changes.group_by_key().reduce(named(version), |a, b| a + b);
    (graph.build().unwrap(), table)
}

const GRAPHS: [(&str, Make); 6] = [
    ("joined", joined),
    ("merged", merged),
    ("chained", chained),
    ("joined with itself", joined_with_itself),
    ("joined below a stream of changes", joined_below_a_stream_of_changes),
    ("counted changes", counted_changes),
];

fn append(driver: &Driver, (to_right, key, value, timestamp_ms): Record) {
    let topic = &topics()[usize::from(to_right)];
    driver.put(topic, key, value, timestamp_ms).unwrap();
}

/// Every record in an epoch of its own, as soon as it is there.
fn one_by_one(make: Make, script: &[Record]) -> Rows {
    let (graph, table) = make(0);
    let mut driver = Driver::new(&graph).unwrap();
    for record in script {
        append(&driver, *record);
        // Not every graph reads both topics.
        driver.epoch(1).unwrap();
    }
    driver.table(&table).unwrap()
}

/// After each record what `cuts` says: nothing, an epoch of so many records, a drain, or a crash.
fn cut(make: Make, script: &[Record], cuts: &[u8]) -> Rows {
    let (graph, table) = make(0);
    let mut driver = Driver::new(&graph).unwrap();
    for (record, cut) in script.iter().zip(cuts.iter().cycle()) {
        append(&driver, *record);
        match cut % 8 {
            0..=2 => {}
            3 => drop(driver.epoch(1).unwrap()),
            4 => drop(driver.epoch(2).unwrap()),
            5 => drop(driver.epoch(1 << 20).unwrap()),
            6 => drop(driver.drain().unwrap()),
            _ => driver.crash().unwrap(),
        }
    }
    driver.run().unwrap();
    let before = driver.table(&table).unwrap();
    // Whatever was drained was drained in the middle of things.
    driver.crash().unwrap();
    driver.run().unwrap();
    assert_eq!(driver.table(&table).unwrap(), before, "after a crash at the end");
    before
}

fn rebuilt(make: Make, script: &[Record], cuts: &[u8]) -> Rows {
    let mut driver = Driver::new(&make(0).0).unwrap();
    for (record, cut) in script.iter().zip(cuts.iter().cycle()) {
        append(&driver, *record);
        if cut % 2 == 0 {
            driver.epoch(usize::from(*cut) + 1).unwrap();
        }
    }
    driver.run().unwrap();
    let (graph, table) = make(1);
    driver.upgrade(&graph).unwrap();
    driver.run().unwrap();
    assert!(!driver.is_building().unwrap());
    driver.table(&table).unwrap()
}

fn check(script: &[Record], cuts: &[u8]) {
    for (name, make) in GRAPHS {
        let expected = one_by_one(make, script);
        assert_eq!(cut(make, script, &[0]), expected, "{name}, all in one epoch");
        assert_eq!(cut(make, script, cuts), expected, "{name}, cut at {cuts:?}");
        assert_eq!(rebuilt(make, script, cuts), expected, "{name}, rebuilt");
    }
}

#[test]
fn the_cases_of_the_first_release() {
    let same_ms = 7;
    // An order that was appended and waited for, then the price.
    let orders: Vec<Record> =
        (0..100).flat_map(|key| [(false, key, 1, same_ms), (true, key, 2, same_ms)]).collect();
    check(&orders, &[3, 3, 7]);
    let three: Vec<Record> = [10, 20, 30].map(|value| (false, 1, value, same_ms)).into();
    check(&three, &[5]);
    // The row of the right changes after the record of the left, with increasing timestamps.
    check(&[(true, 0, 0, 114), (false, 0, 1, 118), (true, 0, 2, 130)], &[3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_scripts(
        script in prop::collection::vec(
            (any::<bool>(), 0..4_u8, 0..5_i64, prop_oneof![2 => Just(7_i64), 1 => 0..20_i64]),
            1..30,
        ),
        cuts in prop::collection::vec(any::<u8>(), 1..12),
    ) {
        check(&script, &cuts);
    }
}

/// The same set is written in another order each time: whether it had changed was once a matter of chance.
#[test]
fn rows_that_are_hashed_change_with_every_record() {
    let topic = Topic::<u8, HashSet<u8>>::new("sets");
    let graph = |version: u32| {
        let graph = GraphBuilder::new();
        let rows = graph.table(&topic, TableOptions::named("rows").version(version));
        let changes = rows.to_stream().group_by_key().count(TableOptions::named("changes").version(version));
        (graph.build().unwrap(), changes)
    };
    let (first, changes) = graph(0);
    let mut driver = Driver::new(&first).unwrap();
    for _ in 0..40 {
        driver.put(&topic, 1, HashSet::from([1, 2, 3, 4, 5]), 0).unwrap();
        driver.epoch(1).unwrap();
    }
    let mut seen = vec![driver.table(&changes).unwrap()];
    driver.crash().unwrap();
    driver.run().unwrap();
    seen.push(driver.table(&changes).unwrap());
    let (second, changes) = graph(1);
    driver.upgrade(&second).unwrap();
    driver.run().unwrap();
    seen.push(driver.table(&changes).unwrap());
    assert_eq!(seen, vec![BTreeMap::from([(1, 40)]); 3]);
}
