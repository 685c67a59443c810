//! A record meets the row that the table has at its place in the log, wherever epochs are cut and whatever the timestamps are:
//! what it has itself made of the table is there already.
//!
//! It once failed for rows that came and went within one epoch below an outer join, and for tables that are grouped or
//! joined by foreign key, which passed on only where a row stood at the end of the epoch.

use crate::support::*;
use millpond_engine::Topic;
use millpond_operators::{GraphBuilder, Latest, Stream, Table};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What happens: a row of one of two tables is put or deleted, or a record of the stream comes.
#[derive(Debug, Clone)]
enum Step {
    Left(u8, Option<u8>),
    Right(u8, Option<u8>),
    Record(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = || prop::option::weighted(0.65, 0..4_u8);
    let step = prop_oneof![
        (0..4_u8, value()).prop_map(|(key, value)| Step::Left(key, value)),
        (0..4_u8, value()).prop_map(|(key, value)| Step::Right(key, value)),
        (0..4_u8).prop_map(Step::Record),
    ];
    prop::collection::vec(step, 0..80)
}

struct Topics {
    lefts: Topic<u8, u8>,
    rights: Topic<u8, u8>,
    records: Topic<u8, u64>,
    met: Topic<u8, (u64, Option<u64>)>,
}

fn topics() -> Topics {
    Topics {
        lefts: Topic::new("left").partitions(3),
        rights: Topic::new("right").partitions(2),
        records: Topic::new("records").partitions(3),
        met: Topic::new("met"),
    }
}

/// Two steps share each millisecond if the table's comes first, so that ties are met too.
fn feed(topics: &Topics, steps: &[Step]) -> Vec<Input> {
    let mut now_ms = 0;
    let mut after_record = false;
    let mut inputs = Vec::new();
    for (step, number) in steps.iter().zip(0_u64..) {
        let is_record = matches!(step, Step::Record(_));
        now_ms += i64::from(after_record || !is_record);
        after_record = is_record;
        inputs.push(match step {
            Step::Left(key, value) => upsert(&topics.lefts, key, value.as_ref(), now_ms),
            Step::Right(key, value) => upsert(&topics.rights, key, value.as_ref(), now_ms),
            Step::Record(key) => put(&topics.records, key, &number, now_ms),
        });
    }
    inputs
}

/// A record and the row that it met.
type Met = Written<u8, (u64, Option<u64>)>;

/// What the records met, when `table` is what they join.
fn met(
    steps: &[Step],
    run: &Run,
    table: impl Fn(&Topics, &GraphBuilder, &Stream<u8, u64>) -> Table<u8, u64>,
) -> Result<Vec<Met>, TestCaseError> {
    let topics = topics();
    let graph = GraphBuilder::new();
    let _all = (graph.upserts(&topics.lefts), graph.upserts(&topics.rights));
    let records = graph.stream(&topics.records);
    let table = table(&topics, &graph, &records);
    records.left_join(&table, |_, number, row| (number, row.copied())).to(&topics.met);
    let pond = Pond::fed(&graph.build()?, &feed(&topics, steps), run);
    let mut met = pond.written(&topics.met).concat();
    // Records of one epoch are written in the order they came in.
    prop_assert!(met.is_sorted_by_key(|(_, value, _)| value.map(|(number, _)| number)));
    met.sort();
    Ok(met)
}

fn source(topics: &Topics, graph: &GraphBuilder) -> (Table<u8, u64>, Table<u8, u64>) {
    let left = graph.table(&topics.lefts, "lefts").map_values(|_, value| u64::from(value));
    (left, graph.table(&topics.rights, "rights").map_values(|_, value| 10 * u64::from(value)))
}

macro_rules! meets {
    ($($(#[$doc:meta])* $name:ident: |$topics:ident, $graph:ident, $records:ident| $table:expr;)*) => {
        proptest! {
            $($(#[$doc])* #[test]
            fn $name(steps in steps(), run in runs()) {
                let table = |$topics: &Topics, $graph: &GraphBuilder, $records: &Stream<u8, u64>| Table::from($table);
                prop_assert_eq!(met(&steps, &run, table)?, met(&steps, &Run::plain(), table)?);
            })*
        }
    };
}

meets! {
    what_a_source_table_shows: |topics, graph, _records| source(topics, graph).0;

    what_a_table_by_timestamp_shows: |topics, graph, _records| {
        graph.table_by(&topics.lefts, "lefts", Latest::Timestamp).map_values(|_, value| u64::from(value))
    };

    what_a_filter_shows: |topics, graph, _records| source(topics, graph).0.filter(|_, value| value % 2 == 0);

    what_a_fold_of_the_same_records_shows: |_topics, _graph, records| records.group_by_key().count("counts");

    what_an_inner_join_shows: |topics, graph, _records| {
        let (left, right) = source(topics, graph);
        left.join(&right, |_, l, r| l + r)
    };

    what_an_outer_join_shows: |topics, graph, _records| {
        let (left, right) = source(topics, graph);
        left.outer_join(&right, |_, l, r| l.unwrap_or(&100) + r.unwrap_or(&1000))
    };

    what_a_stored_join_shows: |topics, graph, _records| {
        let (left, right) = source(topics, graph);
        left.left_join(&right, |_, l, r| l + r.unwrap_or(&1000)).materialize("joined")
    };

    what_a_grouping_shows: |topics, graph, _records| {
        let sums = source(topics, graph).0.group_by(|_, value| (u8::try_from(*value).unwrap_or(0), *value));
        sums.count("counts")
    };

    what_a_grouping_of_a_join_shows: |topics, graph, _records| {
        let (left, right) = source(topics, graph);
        let joined = left.outer_join(&right, |_, l, r| l.unwrap_or(&0) + r.unwrap_or(&0));
        joined.group_by(|key, value| (key % 2, *value)).reduce("sums", |a, b| a + b, |a, b| a - b)
    };

    what_a_foreign_join_shows: |topics, graph, _records| {
        let (left, right) = source(topics, graph);
        left.foreign_left_join(
            &right,
            "joined",
            |_, value| u8::try_from(*value).unwrap_or(0),
            |_, l, r| l + r.unwrap_or(&1000),
        )
    };

    what_a_grouping_of_a_foreign_join_shows: |topics, graph, _records| {
        let (left, right) = source(topics, graph);
        let joined = left.foreign_join(&right, "joined", |key, value| key ^ u8::try_from(*value).unwrap_or(0), |_, l, r| l + r);
        joined.group_by(|key, value| (key % 2, *value)).count("counts")
    };
}

proptest! {
    #[test]
    fn a_record_meets_the_row_of_its_moment(steps in steps(), run in runs()) {
        let topics = topics();
        let inner = Topic::<u8, (u64, u8)>::new("inner");
        let graph = GraphBuilder::new();
        let table = graph.table(&topics.lefts, "lefts");
        let _others = graph.upserts(&topics.rights);
        let records = graph.stream(&topics.records);
        records.join(&table, |_, number, row| (number, *row)).to(&inner);
        records.left_join(&table, |_, number, row| (number, row.map(|row| u64::from(*row)))).to(&topics.met);
        let pond = Pond::fed(&graph.build()?, &feed(&topics, &steps), &run);

        let mut rows: BTreeMap<u8, u8> = BTreeMap::new();
        let (mut inners, mut lefts) = (Vec::new(), Vec::new());
        for (step, number) in steps.iter().zip(0_u64..) {
            match step {
                Step::Left(key, Some(value)) => drop(rows.insert(*key, *value)),
                Step::Left(key, None) => drop(rows.remove(key)),
                Step::Right(..) => {}
                Step::Record(key) => {
                    let row = rows.get(key).copied();
                    inners.extend(row.map(|row| (*key, (number, row))));
                    lefts.push((*key, (number, row.map(u64::from))));
                }
            }
        }
        let plain = |(key, value, _): Written<u8, (u64, u8)>| Some((key, value?));
        prop_assert_eq!(pond.written(&inner).concat().into_iter().filter_map(plain).collect::<Vec<_>>(), inners);
        let plain = |(key, value, _): Written<u8, (u64, Option<u64>)>| Some((key, value?));
        prop_assert_eq!(pond.written(&topics.met).concat().into_iter().filter_map(plain).collect::<Vec<_>>(), lefts);
    }
}

#[test]
fn a_record_meets_the_row_of_its_place_in_the_log_however_late_it_is() -> millpond_engine::Result<()> {
    let topics = topics();
    let graph = GraphBuilder::new();
    let table = graph.table(&topics.lefts, "lefts").map_values(|_, value| u64::from(value));
    let records = graph.stream(&topics.records);
    records.left_join(&table, |_, number, row| (number, row.copied())).to(&topics.met);
    let mut pond = Pond::new(&graph.build()?, 2);
    pond.step(&[
        put(&topics.lefts, &1, &5, 10),
        put(&topics.records, &1, &0, 9),
        put(&topics.records, &1, &1, 10),
        put(&topics.records, &1, &2, 3),
    ]);
    pond.step(&[put(&topics.records, &1, &3, 1)]);
    let met: Vec<_> =
        pond.written(&topics.met).concat().into_iter().filter_map(|(_, met, ms)| Some((met?, ms))).collect();
    assert_eq!(met, [((0, Some(5)), 9), ((1, Some(5)), 10), ((2, Some(5)), 3), ((3, Some(5)), 1)]);
    Ok(())
}
