//! Tables of upserts keep the last one of each key: the last by offset, or the one with the greatest timestamp.

use crate::support::*;
use millpond_engine::Topic;
use millpond_operators::{GraphBuilder, Latest};
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #[test]
    fn the_last_upsert_of_each_key_stays(records in upserts(0..9_i32), run in runs()) {
        let topic = Topic::<u8, i32>::new("records").partitions(3);
        let graph = GraphBuilder::new();
        let table = graph.table(&topic, "table");
        let odd = table.filter(|_, value| value % 2 == 1).map_values(|key, value| value * 10 + i32::from(key % 2));
        let odd = odd.materialize("odd");
        let puts = graph.stream(&topic).to_table("puts");
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);
        let expected = table_of(&records);
        prop_assert_eq!(&pond.rows(&table), &expected);
        let odds = expected.iter().filter(|(_, value)| *value % 2 == 1);
        prop_assert_eq!(pond.rows(&odd), odds.map(|(key, value)| (*key, value * 10 + i32::from(key % 2))).collect());
        let only_puts: Vec<_> = records.iter().copied().filter(|(_, value)| value.is_some()).collect();
        prop_assert_eq!(pond.rows(&puts), table_of(&only_puts), "a stream has no deletions");
    }

    /// Late upserts and late deletions change nothing; of equal timestamps the later record wins; a deletion is
    /// remembered.
    #[test]
    fn the_greatest_timestamp_wins(
        records in prop::collection::vec((0..5_u8, prop::option::weighted(0.7, 0..9_i32), 0..12_i64), 0..60),
        run in runs(),
    ) {
        let topic = Topic::<u8, i32>::new("records").partitions(2);
        let graph = GraphBuilder::new();
        let table = graph.table_by(&topic, "table", Latest::Timestamp);
        let by_offset = graph.table_by(&topic, "by_offset", Latest::Offset);
        let inputs: Vec<Input> = records.iter().map(|(key, value, ms)| upsert(&topic, key, value.as_ref(), *ms)).collect();
        let pond = Pond::fed(&graph.build()?, &inputs, &run);
        let mut newest: BTreeMap<u8, (i64, Option<i32>)> = BTreeMap::new();
        for &(key, value, ms) in &records {
            let kept = newest.entry(key).or_insert((ms, value));
            if kept.0 <= ms {
                *kept = (ms, value);
            }
        }
        let expected: BTreeMap<u8, i32> = newest.iter().filter_map(|(key, (_, value))| Some((*key, (*value)?))).collect();
        prop_assert_eq!(pond.rows(&table), expected);
        let plain: Vec<_> = records.iter().map(|&(key, value, _)| (key, value)).collect();
        prop_assert_eq!(pond.rows(&by_offset), table_of(&plain));
        prop_assert_eq!(pond.stepper.stats().tables["table.timestamps"].rows, newest.len() as u64);
    }
}

proptest! {
    /// A filter dropped what came and went below it, but once a stream noted every update it passed each on as a deletion.
    #[test]
    fn a_filtered_table_deletes_only_what_was_there(records in upserts(0..9_i32), run in runs(), folded: bool) {
        let topic = Topic::<u8, i32>::new("records").partitions(3);
        let (out, joined) = (Topic::<u8, i32>::new("out"), Topic::<u8, i32>::new("joined"));
        let graph = GraphBuilder::new();
        let table = graph.table(&topic, "table");
        let odd = table.filter(|_, value| value % 2 == 1);
        let both = odd.join(&table.filter(|_, value| *value > 3), |_, odd, _| *odd);
        for (name, table, out) in [("odd", &odd, &out), ("both", &both, &joined)] {
            let changes = table.to_stream();
            changes.to_upserts(out);
            if folded {
                changes.map_values(|_, _| 1).group_by_key().count(name);
            }
        }
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);
        for (topic, above) in [(&out, -1), (&joined, 3)] {
            let mut rows: BTreeMap<u8, i32> = BTreeMap::new();
            for (key, value, _) in pond.written(topic).into_iter().flatten() {
                match value {
                    Some(value) => _ = rows.insert(key, value),
                    None => prop_assert!(rows.remove(&key).is_some(), "{} was not there", key),
                }
            }
            let expected = table_of(&records).into_iter().filter(|(_, value)| value % 2 == 1 && *value > above);
            prop_assert_eq!(rows, expected.collect());
        }
    }
}

#[test]
fn deleting_an_absent_key_changes_nothing() -> millpond_engine::Result<()> {
    let (topic, out) = (Topic::<u8, i32>::new("records"), Topic::<u8, i32>::new("out"));
    let graph = GraphBuilder::new();
    let table = graph.table(&topic, "table");
    table.to_stream().to_upserts(&out);
    let filtered = table.filter(|_, value| *value > 5).materialize("filtered");
    let mut pond = Pond::new(&graph.build()?, 2);
    pond.step(&[upsert(&topic, &1, None, 0), put(&topic, &2, &6, 1)]);
    pond.step(&[put(&topic, &2, &5, 2), upsert(&topic, &1, None, 3)]);
    assert_eq!(pond.written(&out), [[(2, Some(6), 1), (2, Some(5), 2)]]);
    assert!(pond.rows(&filtered).is_empty(), "a row that the filter no longer keeps is deleted");
    Ok(())
}
