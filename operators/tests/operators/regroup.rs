//! Grouping a table: a group is folded from the rows that are in it now, and goes with its last one.

use crate::support::*;
use millpond_engine::Topic;
use millpond_operators::GraphBuilder;
use millpond_operators::aggregate::{distinct_count, max, mean, min, sum, top_k};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A row: which group, how much.
type Row = (u8, i32);

fn rows() -> impl Strategy<Value = Vec<(u8, Option<Row>)>> {
    upserts((0..3_u8, -5..5_i32))
}

/// The members of each group, ascending.
fn groups(rows: &[(u8, Option<Row>)]) -> BTreeMap<u8, Vec<i32>> {
    let mut groups: BTreeMap<u8, Vec<i32>> = BTreeMap::new();
    for (group, amount) in table_of(rows).into_values() {
        groups.entry(group).or_default().push(amount);
    }
    for members in groups.values_mut() {
        members.sort_unstable();
    }
    groups
}

fn each<T>(groups: &BTreeMap<u8, Vec<i32>>, fold: impl Fn(&[i32]) -> T) -> BTreeMap<u8, T> {
    groups.iter().map(|(group, members)| (*group, fold(members))).collect()
}

proptest! {
    #[test]
    fn a_group_is_folded_from_the_rows_in_it_now(rows in rows(), run in runs()) {
        let topic = Topic::<u8, Row>::new("rows").partitions(3);
        let graph = GraphBuilder::new();
        let grouped = graph.table(&topic, "rows").group_by(|_, row| *row);
        let counts = grouped.count("counts");
        let sums = grouped.aggregate("sums", sum(|amount: &i32| *amount));
        let means = grouped.aggregate("means", mean(|amount: &i32| *amount));
        let least = grouped.aggregate("least", min(|amount: &i32| *amount).retractable());
        let most = grouped.aggregate("most", max(|amount: &i32| *amount).retractable());
        let top = grouped.aggregate("top", top_k(2, |amount: &i32| *amount).retractable());
        let distinct = grouped.aggregate("distinct", distinct_count(|amount: &i32| *amount));
        let reduced = grouped.reduce("reduced", |a, b| a + b, |a, b| a - b);
        let folded = grouped.fold("folded", || 100_i64, |acc, _, v| *acc += i64::from(v), |acc, _, v| *acc -= i64::from(v));
        let graph = graph.build()?;

        let pond = Pond::fed(&graph, &inputs(&topic, &rows), &run);
        let groups = groups(&rows);
        let len = |members: &[i32]| members.len() as u64;
        let total = |members: &[i32]| members.iter().sum::<i32>();
        prop_assert_eq!(pond.rows(&counts), each(&groups, len));
        prop_assert_eq!(pond.rows(&sums), each(&groups, |m| i128::from(total(m))));
        prop_assert_eq!(pond.rows(&reduced), each(&groups, total));
        prop_assert_eq!(pond.rows(&folded), each(&groups, |m| 100 + i64::from(total(m))));
        for (group, members) in &groups {
            let read = |what: &str| panic!("group {group} is missing in {what}");
            let mean = pond.rows(&means).remove(group).unwrap_or_else(|| read("means"));
            prop_assert_eq!(mean.mean(), Some(f64::from(total(members)) / f64::from(u32::try_from(members.len())?)));
            prop_assert_eq!(pond.rows(&least)[group].min().copied(), members.first().copied());
            prop_assert_eq!(pond.rows(&most)[group].max().copied(), members.last().copied());
            prop_assert!(pond.rows(&top)[group].largest(2).eq(members.iter().rev().take(2)));
            let mut different = members.clone();
            different.dedup();
            prop_assert_eq!(pond.rows(&distinct)[group].distinct(), different.len());
        }
        for rows in [pond.rows(&least).len(), pond.rows(&most).len(), pond.rows(&top).len(), pond.rows(&distinct).len()] {
            prop_assert_eq!(rows, groups.len());
        }
    }

    /// With a row for each value, as with all members in one value; read in the way of every cut, and joined by a stream,
    /// which has every step carried through.
    #[test]
    fn rows_for_each_value_tell_the_extremes(rows in rows(), k in 0..4_usize, run in runs()) {
        let topic = Topic::<u8, Row>::new("rows").partitions(3);
        let graph = GraphBuilder::new();
        let grouped = graph.table(&topic, "rows").group_by(|_, row| *row);
        let least = grouped.min("least", |amount| *amount);
        let most = grouped.max("most", |amount| *amount);
        let top = grouped.top_k("top", k, |amount| *amount);
        let distinct = grouped.distinct_count("distinct", |amount| *amount);
        let followed = graph.table(&topic, "followed").group_by(|_, row| *row);
        let followed_least = followed.min("followed_least", |amount| *amount);
        let followed_top = followed.top_k("followed_top", k, |amount| *amount);
        let followed_distinct = followed.distinct_count("followed_distinct", |amount| *amount);
        let stream = graph.stream(&topic);
        let _met = stream.left_join(&followed_least, |_, _, row| row.is_some());
        let _met = stream.left_join(&followed_top, |_, _, row| row.is_some());
        let _met = stream.left_join(&followed_distinct, |_, _, row| row.is_some());
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &rows), &run);

        let groups = groups(&rows);
        let first = each(&groups, |members| members[0]);
        prop_assert_eq!(&pond.rows(&least), &first);
        prop_assert_eq!(&pond.rows(&followed_least), &first);
        prop_assert_eq!(pond.rows(&most), each(&groups, |members| *members.last().unwrap()));
        let mut tops = each(&groups, |members| members.iter().rev().take(k).copied().collect::<Vec<_>>());
        tops.retain(|_, top| !top.is_empty());
        prop_assert_eq!(&pond.rows(&top), &tops);
        prop_assert_eq!(&pond.rows(&followed_top), &tops);
        let different = each(&groups, |members| members.chunk_by(|a, b| a == b).count() as u64);
        prop_assert_eq!(&pond.rows(&distinct), &different);
        prop_assert_eq!(&pond.rows(&followed_distinct), &different);
    }

    /// What a stream that joins an extreme meets is the extreme of that moment, wherever epochs are cut.
    #[test]
    fn every_step_of_an_extreme_is_that_of_its_record(rows in rows(), run in runs()) {
        let topic = Topic::<u8, Row>::new("rows").partitions(3);
        let met = Topic::<u8, (Option<i32>, Option<Vec<i32>>, Option<u64>)>::new("met");
        let graph = GraphBuilder::new();
        let grouped = graph.table(&topic, "rows").group_by(|_, row| *row);
        let least = grouped.min("least", |amount| *amount);
        let top = grouped.top_k("top", 2, |amount| *amount);
        let distinct = grouped.distinct_count("distinct", |amount| *amount);
        let by_group = graph.stream(&topic).re_key(|_, row| row.0);
        by_group
            .left_join(&least, |_, _, least| least.copied())
            .left_join(&top, |_, least, top| (least, top.cloned()))
            .left_join(&distinct, |_, (least, top), distinct| (least, top, distinct.copied()))
            .to(&met);
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &rows), &run);
        let expected: Vec<_> = (1..=rows.len())
            .filter_map(|length| {
                let (group, _) = rows[length - 1].1?;
                let members = self::groups(&rows[..length]).remove(&group)?;
                let top: Vec<i32> = members.iter().rev().take(2).copied().collect();
                let different = members.chunk_by(|a, b| a == b).count() as u64;
                Some((group, Some((members.first().copied(), Some(top), Some(different)))))
            })
            .collect();
        let written: Vec<_> = pond.written(&met).remove(0).into_iter().map(|(key, value, _)| (key, value)).collect();
        prop_assert_eq!(written, expected);
    }

    /// A grouping of a grouping: how many groups have each size.
    #[test]
    fn groups_can_be_grouped_again(rows in rows(), run in runs()) {
        let topic = Topic::<u8, Row>::new("rows").partitions(2);
        let graph = GraphBuilder::new();
        let sizes = graph.table(&topic, "rows").group_by(|_, row| *row).count("sizes");
        let of_size = sizes.group_by(|_, size| (*size, ())).count("of_size");
        let graph = graph.build()?;
        let pond = Pond::fed(&graph, &inputs(&topic, &rows), &run);
        let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
        for members in groups(&rows).values() {
            *expected.entry(members.len() as u64).or_default() += 1;
        }
        let found: BTreeMap<u64, u64> = pond.rows(&of_size);
        prop_assert_eq!(found, expected);
    }

    /// Every step of a group is carried through if a stream joins it; the table stays the same.
    #[test]
    fn a_joined_group_ends_as_any_other(rows in rows(), run in runs()) {
        let topic = Topic::<u8, Row>::new("rows").partitions(3);
        let graph = GraphBuilder::new();
        let sums = graph.table(&topic, "rows").group_by(|_, row| *row).aggregate("sums", sum(|amount: &i32| *amount));
        let _met = graph.stream(&topic).left_join(&sums, |_, _, group| group.is_some());
        let graph = graph.build()?;
        let pond = Pond::fed(&graph, &inputs(&topic, &rows), &run);
        let expected = each(&groups(&rows), |m| m.iter().copied().map(i128::from).sum::<i128>());
        prop_assert_eq!(pond.rows(&sums), expected);
    }
}

#[test]
fn the_next_extreme_is_known_when_the_extreme_leaves() -> millpond_engine::Result<()> {
    let topic = Topic::<u8, Row>::new("rows");
    let graph = GraphBuilder::new();
    let grouped = graph.table(&topic, "rows").group_by(|_, row| *row);
    let most = grouped.aggregate("most", max(|amount: &i32| *amount).retractable());
    let mut pond = Pond::new(&graph.build()?, 2);
    pond.step(&[put(&topic, &1, &(0, 7), 0), put(&topic, &2, &(0, 9), 1), put(&topic, &3, &(0, 9), 2)]);
    assert_eq!(pond.rows(&most)[&0].max(), Some(&9));
    pond.step(&[upsert(&topic, &2, None, 3)]);
    assert_eq!(pond.rows(&most)[&0].max(), Some(&9), "the other 9 is still there");
    pond.step(&[put(&topic, &3, &(1, 9), 4)]);
    assert_eq!(pond.rows(&most)[&0].max(), Some(&7));
    pond.step(&[upsert(&topic, &1, None, 5)]);
    assert_eq!(pond.rows(&most).into_keys().collect::<Vec<_>>(), [1], "a group goes with its last member");
    Ok(())
}

#[test]
fn a_sum_of_zero_with_members_is_a_group() -> millpond_engine::Result<()> {
    let topic = Topic::<u8, Row>::new("rows");
    let graph = GraphBuilder::new();
    let sums =
        graph.table(&topic, "rows").group_by(|_, row| *row).aggregate("sums", sum(|amount: &i32| *amount));
    let mut pond = Pond::new(&graph.build()?, 1);
    pond.step(&[put(&topic, &1, &(0, 5), 0), put(&topic, &2, &(0, -5), 1)]);
    assert_eq!(pond.rows(&sums), BTreeMap::from([(0, 0)]));
    Ok(())
}
