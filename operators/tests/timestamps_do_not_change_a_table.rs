//! Property: a table that is joined by primary or foreign key, or grouped from another, ends as the same facts end in any
//! order of their timestamps; and a `Process` sees the records of a partition in offset order, late or not.
//!
//! Method: one history per operator, written with timestamps in order, backwards, all equal, and with one that runs far
//! ahead; cut into one epoch or one for each record, over one shard or three; always the same result.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use millpond_engine::Topic;
use millpond_operators::aggregate::max;
use millpond_operators::stream::{Emit, Process};
use millpond_operators::testing::{Driver, Settings};
use millpond_operators::{GraphBuilder, GroupedTable, StoredTable};
use std::fmt::Debug;

type Row = (u8, i64);

fn topic(name: &str) -> Topic<u8, Row> {
    Topic::new(name)
}

/// A record of the topic `left` or `right`: a key, and its row or a deletion.
type Fact = (&'static str, u8, Option<Row>);

/// Rows on both sides that come, change, change their group or partner, and go.
const HISTORY: [Fact; 10] = [
    ("left", 1, Some((7, 10))),
    ("right", 7, Some((0, 100))),
    ("left", 2, Some((7, 20))),
    ("right", 1, Some((0, 5))),
    ("left", 1, Some((8, 30))),
    ("left", 3, Some((8, 40))),
    ("right", 8, Some((0, 200))),
    ("left", 2, None),
    ("right", 7, None),
    ("left", 3, Some((7, 50))),
];

const TIMES: [fn(i64) -> i64; 4] =
    [|index| index, |index| -index, |_| 3, |index| if index == 2 { 1_000 } else { index }];

/// What `read` finds once the history has been folded under each of the timestamps.
#[track_caller]
fn always<R: PartialEq + Debug>(graph: &GraphBuilder, read: impl Fn(&Driver) -> R, expected: &R) {
    let graph = graph.build().unwrap();
    for (order, time) in TIMES.iter().enumerate() {
        for (is_cut, shards) in [(false, 1), (false, 3), (true, 1), (true, 3)] {
            let settings = Settings { shards, ..Settings::default() };
            let mut driver = Driver::with_settings(&graph, settings).unwrap();
            for ((name, key, row), index) in HISTORY.into_iter().zip(0..) {
                match row {
                    Some(row) => driver.put(&topic(name), key, row, time(index)).unwrap(),
                    None => driver.delete(&topic(name), key, time(index)).unwrap(),
                };
                if is_cut {
                    driver.run().unwrap();
                }
            }
            driver.run().unwrap();
            assert_eq!(read(&driver), *expected, "timestamps {order}, cut {is_cut}, {shards} shards");
        }
    }
}

#[track_caller]
fn always_rows<V>(graph: &GraphBuilder, table: &StoredTable<u8, V>, expected: &[(u8, V)])
where
    V: Clone + PartialEq + Debug + Send + Sync + 'static,
{
    always(graph, |driver| driver.table(table).unwrap().into_iter().collect(), &expected.to_vec());
}

#[test]
fn a_primary_key_join_has_the_last_rows() {
    let graph = GraphBuilder::new();
    let [left, right] = ["left", "right"].map(|name| graph.table(&topic(name), name));
    let sum =
        |_: &u8, left: Option<&Row>, right: Option<&Row>| left.map(|row| row.1).max(right.map(|row| row.1));
    let joined = left.outer_join(&right, sum).materialize("joined");
    always_rows(&graph, &joined, &[(1, Some(30)), (3, Some(50)), (8, Some(200))]);
}

#[test]
fn a_foreign_key_join_has_the_last_rows_and_partners() {
    let graph = GraphBuilder::new();
    let [left, right] = ["left", "right"].map(|name| graph.table(&topic(name), name));
    let joined = left.foreign_left_join(
        &right,
        "joined",
        |_, row| row.0,
        |_, row, partner: Option<&Row>| (row.1, partner.map(|partner| partner.1)),
    );
    always_rows(&graph, &joined, &[(1, (30, Some(200))), (3, (50, None))]);
}

/// The rows of the left topic by their first field.
fn groups() -> (GraphBuilder, GroupedTable<u8, i64>) {
    let graph = GraphBuilder::new();
    let groups = graph.table(&topic("left"), "left").group_by(|_, row| *row);
    // The right topic is read so that its records are there to be folded.
    graph.table(&topic("right"), "right");
    (graph, groups)
}

#[test]
fn a_grouped_table_has_the_last_members() {
    let (graph, groups) = groups();
    let sums = groups.reduce("sums", |a, b| a + b, |a, b| a - b);
    always_rows(&graph, &sums, &[(7, 50), (8, 30)]);

    let (graph, groups) = self::groups();
    let best = groups.aggregate("best", max(|amount: &i64| *amount).retractable());
    let rows = best.map_values(|_, group| group.max().copied()).materialize("rows");
    always_rows(&graph, &rows, &[(7, Some(50)), (8, Some(30))]);
}

/// Remembers every value of its key, and puts out what it remembers.
struct Remember;

impl Process<u8, Row> for Remember {
    type State = Vec<i64>;
    type OutKey = u8;
    type OutValue = Row;

    fn process(&self, key: &u8, row: Row, state: &mut Option<Vec<i64>>, emit: &mut Emit<u8, Row>) {
        let seen = state.get_or_insert_default();
        seen.push(row.1);
        emit.push(*key, (u8::try_from(seen.len()).unwrap(), row.1));
    }
}

#[test]
fn a_process_sees_a_partition_in_offset_order() {
    let graph = GraphBuilder::new();
    let seen = topic("seen");
    let records = graph.stream(&topic("left")).re_key(|_, _| 0);
    records.process("remembered", Remember).0.to(&seen);
    graph.table(&topic("right"), "right");
    let in_offset_order: Vec<Row> = vec![(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)];
    let read = |driver: &Driver| {
        let records = driver.records(&seen).unwrap();
        records.into_iter().filter_map(|record| record.value).collect()
    };
    always(&graph, read, &in_offset_order);
}
