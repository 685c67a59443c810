//! A table under other keys has, of each of them, the row with the least old key that claims it.

use crate::support::*;
use millpond_engine::Topic;
use millpond_operators::GraphBuilder;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A row: which key it claims, and what else is in it.
type Row = (u8, i32);

/// The row that each new key has.
fn re_keyed(rows: &[(u8, Option<Row>)]) -> BTreeMap<u8, Row> {
    // Later ones replace earlier ones, so the least old key comes last.
    table_of(rows).into_values().rev().map(|row| (row.0, row)).collect()
}

proptest! {
    #[test]
    fn the_least_old_key_has_the_new_one(rows in upserts((0..4_u8, 0..9_i32)), run in runs()) {
        let topic = Topic::<u8, Row>::new("rows").partitions(3);
        let graph = GraphBuilder::new();
        let table = graph.table(&topic, "rows");
        let re_keyed = table.re_key("re_keyed", |_, row| row.0);
        let back = re_keyed.re_key("back", |_, row| row.1 % 3);
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &rows), &run);
        let expected = self::re_keyed(&rows);
        prop_assert_eq!(&pond.rows(&re_keyed), &expected);
        let back_expected: BTreeMap<i32, Row> = expected.into_values().rev().map(|row| (row.1 % 3, row)).collect();
        prop_assert_eq!(pond.rows(&back), back_expected);
    }

    /// What a stream that joins the result meets is the row of that moment, wherever epochs are cut.
    #[test]
    fn every_step_is_that_of_its_record(rows in upserts((0..4_u8, 0..9_i32)), run in runs()) {
        let topic = Topic::<u8, Row>::new("rows").partitions(3);
        let met = Topic::<u8, Row>::new("met");
        let graph = GraphBuilder::new();
        let re_keyed = graph.table(&topic, "rows").re_key("re_keyed", |_, row| row.0);
        graph.stream(&topic).re_key(|_, row| row.0).join(&re_keyed, |_, _, row| *row).to(&met);
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &rows), &run);
        let expected: Vec<_> = (1..=rows.len())
            .filter_map(|length| {
                let (wanted, _) = rows[length - 1].1?;
                Some((wanted, Some(self::re_keyed(&rows[..length])[&wanted])))
            })
            .collect();
        let written: Vec<_> = pond.written(&met).remove(0).into_iter().map(|(key, value, _)| (key, value)).collect();
        prop_assert_eq!(written, expected);
    }
}

#[test]
fn the_next_claim_is_seen_when_the_first_is_given_up() -> millpond_engine::Result<()> {
    let topic = Topic::<u8, Row>::new("rows");
    let graph = GraphBuilder::new();
    let re_keyed = graph.table(&topic, "rows").re_key("re_keyed", |_, row| row.0);
    let mut pond = Pond::new(&graph.build()?, 2);
    pond.step(&[put(&topic, &1, &(7, 10), 0), put(&topic, &2, &(7, 20), 1), put(&topic, &3, &(7, 30), 2)]);
    assert_eq!(pond.rows(&re_keyed)[&7], (7, 10));
    pond.step(&[upsert(&topic, &1, None, 3)]);
    assert_eq!(pond.rows(&re_keyed)[&7], (7, 20), "read from before the epoch");
    pond.step(&[put(&topic, &2, &(8, 20), 4)]);
    assert_eq!(pond.rows(&re_keyed), BTreeMap::from([(7, (7, 30)), (8, (8, 20))]));
    pond.step(&[put(&topic, &1, &(8, 11), 5), upsert(&topic, &3, None, 6)]);
    assert_eq!(pond.rows(&re_keyed), BTreeMap::from([(8, (8, 11))]));
    Ok(())
}
