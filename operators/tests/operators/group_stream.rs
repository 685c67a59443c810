//! Folds over the groups of a stream are those of a loop over its records.

use crate::support::*;
use millpond_engine::Topic;
use millpond_operators::GraphBuilder;
use millpond_operators::aggregate::{distinct_count, last_n, max, mean, min, sum, top_k};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn groups(records: &[(u8, Option<i32>)], key: impl Fn(u8, i32) -> u8) -> BTreeMap<u8, Vec<i32>> {
    let mut groups: BTreeMap<u8, Vec<i32>> = BTreeMap::new();
    for (of, value) in records {
        if let Some(value) = value {
            groups.entry(key(*of, *value)).or_default().push(*value);
        }
    }
    groups
}

fn each<T>(groups: &BTreeMap<u8, Vec<i32>>, fold: impl Fn(&[i32]) -> T) -> BTreeMap<u8, T> {
    groups.iter().map(|(group, values)| (*group, fold(values))).collect()
}

proptest! {
    #[test]
    fn folds_are_those_of_a_loop(records in upserts(-5..9_i32), run in runs()) {
        let topic = Topic::<u8, i32>::new("records").partitions(3);
        let graph = GraphBuilder::new();
        let grouped = graph.stream(&topic).group_by_key();
        let counts = grouped.count("counts");
        let listed = grouped.fold("listed", Vec::new, |all: &mut Vec<i32>, _, value| all.push(value));
        let reduced = grouped.reduce("reduced", |so_far, value| so_far.wrapping_mul(31).wrapping_add(value));
        let sums = grouped.aggregate("sums", sum(|value: &i32| *value));
        let means = grouped.aggregate("means", mean(|value: &i32| *value));
        let least = grouped.aggregate("least", min(|value: &i32| *value));
        let most = grouped.aggregate("most", max(|value: &i32| *value));
        let top = grouped.aggregate("top", top_k(3, |value: &i32| *value));
        let distinct = grouped.aggregate("distinct", distinct_count(|value: &i32| *value));
        let recent = grouped.aggregate("recent", last_n(2, |value: &i32| *value));
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);

        let groups = groups(&records, |key, _| key);
        prop_assert_eq!(pond.rows(&counts), each(&groups, |values| values.len() as u64));
        prop_assert_eq!(&pond.rows(&listed), &groups);
        let reduce = |values: &[i32]| values.iter().copied().reduce(|a, b| a.wrapping_mul(31).wrapping_add(b)).unwrap();
        prop_assert_eq!(pond.rows(&reduced), each(&groups, reduce));
        let total = |values: &[i32]| values.iter().copied().map(i128::from).sum::<i128>();
        prop_assert_eq!(pond.rows(&sums), each(&groups, total));
        prop_assert_eq!(pond.rows(&least), each(&groups, |values| values.iter().copied().min()));
        prop_assert_eq!(pond.rows(&most), each(&groups, |values| values.iter().copied().max()));
        prop_assert_eq!(pond.rows(&recent), each(&groups, |values| values[values.len().saturating_sub(2)..].to_vec().into()));
        for (group, values) in &groups {
            let mut sorted = values.clone();
            sorted.sort_unstable();
            prop_assert_eq!(*pond.rows(&means)[group].total(), total(values));
            prop_assert_eq!(pond.rows(&means)[group].count(), values.len() as u64);
            prop_assert!(pond.rows(&top)[group].iter().eq(sorted.iter().rev().take(3)));
            sorted.dedup();
            prop_assert_eq!(pond.rows(&distinct)[group].distinct(), sorted.len());
        }
    }

    #[test]
    fn extremes_are_those_of_a_loop(records in upserts(-5..9_i32), k in 0..4_usize, run in runs()) {
        let topic = Topic::<u8, i32>::new("records").partitions(3);
        let graph = GraphBuilder::new();
        let grouped = graph.stream(&topic).group_by_key();
        let least = grouped.min("least", |value| *value);
        let most = grouped.max("most", |value| *value);
        let top = grouped.top_k("top", k, |value| *value);
        let distinct = grouped.distinct_count("distinct", |value| *value);
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);
        let mut groups = groups(&records, |key, _| key);
        for values in groups.values_mut() {
            values.sort_unstable();
        }
        prop_assert_eq!(pond.rows(&least), each(&groups, |values| values[0]));
        prop_assert_eq!(pond.rows(&most), each(&groups, |values| *values.last().unwrap()));
        let mut tops = each(&groups, |values| values.iter().rev().take(k).copied().collect::<Vec<_>>());
        tops.retain(|_, top| !top.is_empty());
        prop_assert_eq!(pond.rows(&top), tops);
        let different = |values: &[i32]| values.chunk_by(|a, b| a == b).count() as u64;
        prop_assert_eq!(pond.rows(&distinct), each(&groups, different));
    }

    /// Records of several partitions meet under one key in the order of their timestamps.
    #[test]
    fn a_new_key_brings_partitions_together_by_timestamp(records in upserts(-5..9_i32), run in runs()) {
        let topic = Topic::<u8, i32>::new("records").partitions(3);
        let graph = GraphBuilder::new();
        let stream = graph.stream(&topic);
        let by_value = stream.group_by(|_, value| u8::from(*value > 0));
        let listed = by_value.fold("listed", Vec::new, |all: &mut Vec<i32>, _, value| all.push(value));
        let step = |a: i32, b: i32| a.wrapping_mul(2).wrapping_sub(b);
        let joined = by_value.reduce("joined", step);
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);
        let groups = groups(&records, |_, value| u8::from(value > 0));
        prop_assert_eq!(&pond.rows(&listed), &groups);
        let expected = |values: &[i32]| values.iter().copied().reduce(step).unwrap();
        prop_assert_eq!(pond.rows(&joined), each(&groups, expected));
    }
}

#[test]
fn a_group_emits_one_change_for_all_its_records_and_none_for_no_record() -> millpond_engine::Result<()> {
    let (topic, other) = (Topic::<u8, i32>::new("records"), Topic::<u8, i32>::new("other"));
    let out = Topic::<u8, u64>::new("out");
    let graph = GraphBuilder::new();
    let counts = graph.stream(&topic).group_by_key().count("counts");
    counts.to_stream().to_upserts(&out);
    let _others = graph.stream(&other).group_by_key().count("others");
    let mut pond = Pond::new(&graph.build()?, 2);
    pond.step(&[put(&topic, &1, &0, 7), put(&topic, &1, &0, 5), put(&topic, &1, &0, 6)]);
    pond.step(&[put(&other, &1, &0, 9)]);
    pond.step(&[put(&topic, &1, &0, 1), upsert(&topic, &1, None, 2)]);
    assert_eq!(pond.written(&out), [[(1, Some(3), 6), (1, Some(4), 1)]]);
    Ok(())
}
