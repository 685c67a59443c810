//! Property: a table is the same whether or not a stream joins it or what derives from it.
//!
//! Method: one record takes a row out of a group and puts it back with another value, so that the group is updated twice; the
//! groups are then grouped again, or joined by foreign key, and followed step by step because a stream joins the result. With
//! many keys, for the order of the two updates was once left to a hash of the key: the result then stayed as the
//! first of them had left it.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use millpond_engine::Topic;
use millpond_operators::testing::Driver;
use millpond_operators::{GraphBuilder, StoredTable};
use std::collections::BTreeMap;

/// Member -> (group, amount).
fn members() -> Topic<u16, (u16, i64)> {
    Topic::new("members")
}

const GROUPS: u16 = 64;

fn sums(graph: &GraphBuilder) -> StoredTable<u16, i64> {
    let by_group = graph.table(&members(), "members").group_by(|_, row| *row);
    by_group.reduce("sums", |a, b| a + b, |a, b| a - b)
}

/// The rows of the table that `make` makes once both members of every group are there and one of them has changed.
fn rows(make: impl Fn(&GraphBuilder) -> StoredTable<u16, i64>, is_joined: bool) -> BTreeMap<u16, i64> {
    let graph = GraphBuilder::new();
    let table = make(&graph);
    if is_joined {
        let asked = graph.stream(&Topic::<u16, i64>::new("asked"));
        asked.join(&table, |_, _, row| *row).to(&Topic::new("answers"));
    }
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    for group in 0..GROUPS {
        driver.put(&members(), group, (group, 10), 0).unwrap();
        driver.put(&members(), group + GROUPS, (group, 1), 0).unwrap();
    }
    driver.run().unwrap();
    for group in 0..GROUPS {
        driver.put(&members(), group, (group, 20), 0).unwrap();
    }
    driver.run().unwrap();
    driver.table(&table).unwrap()
}

#[test]
fn groups_of_groups_end_as_their_groups() {
    let totals = |graph: &GraphBuilder| {
        let groups = sums(graph).group_by(|group, sum| (*group, *sum));
        let again = groups.reduce("again", |a, b| a + b, |a, b| a - b);
        again.map_values(|_, total| total).materialize("totals")
    };
    let expected: BTreeMap<u16, i64> = (0..GROUPS).map(|group| (group, 21)).collect();
    assert_eq!(rows(totals, false), expected);
    assert_eq!(rows(totals, true), expected);
}

#[test]
fn partners_by_foreign_key_are_met_as_they_end() {
    let second_members = |graph: &GraphBuilder| {
        let sums = sums(graph);
        let names = graph.table(&members(), "names");
        let joined = names.foreign_join(&sums, "joined", |_, row| row.0, |_, _, sum| *sum);
        joined.filter(|member, _| *member >= GROUPS).materialize("second_members")
    };
    let expected: BTreeMap<u16, i64> = (GROUPS..2 * GROUPS).map(|member| (member, 21)).collect();
    assert_eq!(rows(second_members, false), expected);
    assert_eq!(rows(second_members, true), expected);
}
