//! Property: an operator without input puts out nothing, and what it keeps stays as it is; a join of which one side has no
//! input meets the rows that the other side has.
//!
//! Method: a graph with every operator in it is run over records that none of them reads, before and after it has rows; for
//! joins, one side at a time.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use millpond_engine::Topic;
use millpond_operators::aggregate::{max, sum};
use millpond_operators::stream::{Emit, Process};
use millpond_operators::testing::Driver;
use millpond_operators::{GraphBuilder, Latest, StoredTable, Stream};
use std::collections::BTreeMap;
use std::fmt::Debug;

fn topic(name: &str) -> Topic<u8, i64> {
    Topic::new(name)
}

/// Emits the sum of its key so far.
struct RunningSum;

impl Process<u8, i64> for RunningSum {
    type State = i64;
    type OutKey = u8;
    type OutValue = i64;

    fn process(&self, key: &u8, value: i64, state: &mut Option<i64>, emit: &mut Emit<u8, i64>) {
        let sum = state.get_or_insert_default();
        *sum += value;
        emit.push(*key, *sum);
    }
}

type Reading = Box<dyn Fn(&Driver) -> Vec<String>>;

/// What the operators of a graph keep and put out, by name.
struct Results {
    graph: GraphBuilder,
    readings: BTreeMap<&'static str, Reading>,
}

impl Results {
    fn new() -> Self {
        Self { graph: GraphBuilder::new(), readings: BTreeMap::new() }
    }

    fn table<V: Clone + Debug + Send + Sync + 'static>(
        &mut self,
        name: &'static str,
        table: &StoredTable<u8, V>,
    ) {
        let table = table.clone();
        let read = move |driver: &Driver| {
            driver.table(&table).unwrap().into_iter().map(|row| format!("{row:?}")).collect()
        };
        self.readings.insert(name, Box::new(read));
    }

    fn stream(&mut self, name: &'static str, stream: &Stream<u8, i64>) {
        stream.to(&topic(name));
        let read = move |driver: &Driver| {
            driver.records(&topic(name)).unwrap().into_iter().map(|record| format!("{record:?}")).collect()
        };
        self.readings.insert(name, Box::new(read));
    }

    fn read(&self, driver: &Driver) -> BTreeMap<&'static str, Vec<String>> {
        self.readings.iter().map(|(name, read)| (*name, read(driver))).collect()
    }
}

fn streams(results: &mut Results) {
    let stream = results.graph.stream(&topic("left"));
    let right = results.graph.table(&topic("right"), "row_of_stream");
    results.stream("filter", &stream.filter(|_, _| true));
    results.stream("map_values", &stream.map_values(|_, value| value));
    results.stream("map", &stream.map(|key, value| (key, value)));
    results.stream("flat_map", &stream.flat_map(|key, value| [(key, value), (key, value)]));
    results.stream("re_key", &stream.re_key(|key, _| key + 1));
    results.stream("inspect", &stream.inspect(|_, _| {}));
    results.stream("merge", &stream.merge(&stream));
    results.stream("stream_join", &stream.join(&right, |_, value, row| value + row));
    results.stream("stream_left_join", &stream.left_join(&right, |_, value, row| value + row.unwrap_or(&0)));
    results.stream("process", &stream.process("process_state", RunningSum).0);
    let groups = stream.group_by(|key, _| *key);
    results.table("count", &groups.count("count"));
    results.table("fold", &groups.fold("fold", || 0, |acc: &mut i64, _, value| *acc += value));
    results.table("reduce", &groups.reduce("reduce", i64::max));
    results.table("aggregate", &groups.aggregate("aggregate", sum(|value: &i64| *value)));
    results.table("to_table", &stream.to_table("to_table"));
    results.table("upsert_table", &results.graph.upserts(&topic("left")).upsert_table("upsert_table"));
}

fn tables(results: &mut Results) {
    let [left, right] = ["left", "right"].map(|name| results.graph.table(&topic(name), name));
    let changes = left.to_stream().map_values(|_, change| change.into_option().unwrap_or(-1));
    results.stream("to_stream", &changes);
    results.table("table", &left);
    let by_time = results.graph.table_by(&topic("left"), "table_by", Latest::Timestamp);
    results.table("table_by", &by_time);
    results.table("table_filter", &left.filter(|_, _| true).materialize("table_filter"));
    results.table("table_map_values", &left.map_values(|_, row| row + 1).materialize("table_map_values"));
    results.table("join", &left.join(&right, |_, left, right| left + right).materialize("join"));
    let left_join = left.left_join(&right, |_, left, right| (*left, right.copied()));
    results.table("left_join", &left_join.materialize("left_join"));
    let outer_join = left.outer_join(&right, |_, left, right| (left.copied(), right.copied()));
    results.table("outer_join", &outer_join.materialize("outer_join"));
    let groups = left.group_by(|key, row| (key % 2, *row));
    results.table("table_count", &groups.count("table_count"));
    results.table("table_reduce", &groups.reduce("table_reduce", |a, b| a + b, |a, b| a - b));
    results.table("table_max", &groups.aggregate("table_max", max(|row: &i64| *row).retractable()));
    let foreign = left.foreign_join(&right, "foreign", |key, _| *key, |_, row, partner| row + partner);
    results.table("foreign", &foreign);
    let join = |_: &u8, row: &i64, partner: Option<&i64>| (*row, partner.copied());
    results.table("foreign_left", &left.foreign_left_join(&right, "foreign_left", |key, _| *key, join));
}

#[test]
fn every_operator_is_still_while_others_run() {
    let mut results = Results::new();
    streams(&mut results);
    tables(&mut results);
    let others = results.graph.stream(&topic("others")).group_by_key().count("others");
    let mut driver = Driver::new(&results.graph.build().unwrap()).unwrap();

    driver.put(&topic("others"), 1, 1, 0).unwrap();
    driver.run().unwrap();
    for (name, rows) in results.read(&driver) {
        assert!(rows.is_empty(), "{name} made {rows:?} out of nothing");
    }

    for (name, key, value) in [("right", 1, 5), ("left", 1, 10), ("left", 2, 20), ("left", 1, 30)] {
        driver.put(&topic(name), key, value, 0).unwrap();
    }
    driver.run().unwrap();
    let before = results.read(&driver);
    for (name, rows) in &before {
        assert!(!rows.is_empty(), "{name} does nothing, so that nothing is shown of it");
    }

    driver.put(&topic("others"), 1, 1, 0).unwrap();
    assert!(driver.epoch(usize::MAX).unwrap());
    assert_eq!(driver.table(&others).unwrap(), [(1, 2)].into());
    assert_eq!(results.read(&driver), before);
}

/// What the operators show after records on one side, then on the other, each in an epoch of its own.
fn one_side_at_a_time(
    make: fn(&mut Results),
    facts: &[(&'static str, u8, i64)],
) -> BTreeMap<&'static str, Vec<String>> {
    let mut results = Results::new();
    make(&mut results);
    let mut driver = Driver::new(&results.graph.build().unwrap()).unwrap();
    for (name, key, value) in facts {
        driver.put(&topic(name), *key, *value, 0).unwrap();
        assert!(driver.epoch(usize::MAX).unwrap());
    }
    results.read(&driver)
}

#[test]
fn a_table_join_meets_the_rows_of_a_side_without_input() {
    let left_only = one_side_at_a_time(tables, &[("left", 1, 10)]);
    for (name, rows) in [
        ("join", vec![]),
        ("foreign", vec![]),
        ("left_join", vec!["(1, (10, None))"]),
        ("foreign_left", vec!["(1, (10, None))"]),
    ] {
        assert_eq!(left_only[name], rows, "{name}");
    }
    assert_eq!(left_only["outer_join"], ["(1, (Some(10), None))"]);
    let right_only = one_side_at_a_time(tables, &[("right", 1, 5)]);
    for name in ["join", "left_join", "foreign", "foreign_left"] {
        assert!(right_only[name].is_empty(), "{name}: {:?}", right_only[name]);
    }
    assert_eq!(right_only["outer_join"], ["(1, (None, Some(5)))"]);
    for facts in [[("left", 1, 10), ("right", 1, 5)], [("right", 1, 5), ("left", 1, 10)]] {
        let both = one_side_at_a_time(tables, &facts);
        for name in ["join", "foreign"] {
            assert_eq!(both[name], ["(1, 15)"], "{name} after {facts:?}");
        }
        for name in ["left_join", "foreign_left"] {
            assert_eq!(both[name], ["(1, (10, Some(5)))"], "{name} after {facts:?}");
        }
        assert_eq!(both["outer_join"], ["(1, (Some(10), Some(5)))"], "after {facts:?}");
    }
}

#[test]
fn a_stream_join_meets_the_row_that_is_there_and_changes_no_record_that_went_by() {
    let after = one_side_at_a_time(streams, &[("left", 1, 10), ("right", 1, 5), ("left", 1, 20)]);
    assert_eq!(after["stream_join"].len(), 1, "{:?}", after["stream_join"]);
    assert!(after["stream_join"][0].contains("Some(25)"), "{:?}", after["stream_join"]);
    let left: Vec<bool> =
        after["stream_left_join"].iter().map(|record| record.contains("Some(10)")).collect();
    assert_eq!(left, [true, false], "{:?}", after["stream_left_join"]);
}
