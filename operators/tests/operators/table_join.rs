//! Joins by primary key equal the joins of two maps: inner, left, outer, with themselves, and of what is computed.

use crate::support::*;
use millpond_engine::Topic;
use millpond_operators::{GraphBuilder, Table};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Sides = (Option<i32>, Option<i32>);

fn joined(
    left: &BTreeMap<u8, i32>,
    right: &BTreeMap<u8, i32>,
    keep: impl Fn(&Sides) -> bool,
) -> BTreeMap<u8, Sides> {
    let keys: BTreeSet<u8> = left.keys().chain(right.keys()).copied().collect();
    let sides = keys.into_iter().map(|key| (key, (left.get(&key).copied(), right.get(&key).copied())));
    sides.filter(|(_, sides)| keep(sides)).collect()
}

fn pair(left: Option<&i32>, right: Option<&i32>) -> Sides {
    (left.copied(), right.copied())
}

proptest! {
    #[test]
    fn a_join_of_tables_is_the_join_of_their_maps(records in two_sides(), run in runs()) {
        let (lefts, rights) = (Topic::<u8, i32>::new("left").partitions(2), Topic::<u8, i32>::new("right").partitions(3));
        let graph = GraphBuilder::new();
        let (left, right) = (graph.table(&lefts, "lefts"), graph.table(&rights, "rights"));
        let inner = left.join(&right, |_, l, r| pair(Some(l), Some(r))).materialize("inner");
        let outer_left = left.left_join(&right, |_, l, r| pair(Some(l), r)).materialize("outer_left");
        let outer = left.outer_join(&right, |_, l, r| pair(l, r)).materialize("outer");
        let doubled = left.join(&left, |_, l, r| l + r).materialize("doubled");
        let graph = graph.build()?;

        let pond = Pond::fed(&graph, &two_inputs(&lefts, &rights, &records), &run);
        let (left, right) = (table_of(&side(&records, false)), table_of(&side(&records, true)));
        prop_assert_eq!(pond.rows(&inner), joined(&left, &right, |(l, r)| l.is_some() && r.is_some()));
        prop_assert_eq!(pond.rows(&outer_left), joined(&left, &right, |(l, _)| l.is_some()));
        prop_assert_eq!(pond.rows(&outer), joined(&left, &right, |_| true));
        prop_assert_eq!(pond.rows(&doubled), left.iter().map(|(key, value)| (*key, value * 2)).collect());
    }

    /// Filters and maps below, above and between joins; rows come and go by what they hold.
    #[test]
    fn computed_tables_join_as_stored_ones_do(records in two_sides(), run in runs()) {
        let (lefts, rights) = (Topic::<u8, i32>::new("left"), Topic::<u8, i32>::new("right"));
        let graph = GraphBuilder::new();
        let even = graph.table(&lefts, "lefts").filter(|_, value| value % 2 == 0);
        let right = graph.table(&rights, "rights").map_values(|key, value| value + i32::from(*key));
        let sums: Table<u8, i32> = even.outer_join(&right, |_, l, r| l.unwrap_or(&100) + r.unwrap_or(&1000));
        let high = sums.filter(|_, sum| *sum > 5).join(&even, |_, sum, even| sum * even).materialize("high");
        let kept = even.materialize("even");
        let graph = graph.build()?;

        let pond = Pond::fed(&graph, &two_inputs(&lefts, &rights, &records), &run);
        let mut left = table_of(&side(&records, false));
        left.retain(|_, value| *value % 2 == 0);
        let mut right = table_of(&side(&records, true));
        for (key, value) in &mut right {
            *value += i32::from(*key);
        }
        let sum = |key: &u8, value: &i32| (value + right.get(key).unwrap_or(&1000), *value);
        let products = left.iter().map(|(key, value)| (*key, sum(key, value)));
        let expected = products.filter(|(_, (sum, _))| *sum > 5).map(|(key, (sum, even))| (key, sum * even)).collect();
        prop_assert_eq!(pond.rows(&kept), left.clone());
        prop_assert_eq!(pond.rows(&high), expected);
    }

    /// One record per changed key and epoch, and nothing that was only true in between.
    #[test]
    fn a_join_emits_one_change_for_both_sides(records in two_sides(), run in runs()) {
        let (lefts, rights) = (Topic::<u8, i32>::new("left"), Topic::<u8, i32>::new("right"));
        let out = Topic::<u8, Sides>::new("out");
        let graph = GraphBuilder::new();
        let (left, right) = (graph.table(&lefts, "lefts"), graph.table(&rights, "rights"));
        left.outer_join(&right, |_, l, r| pair(l, r)).to_stream().to_upserts(&out);
        let graph = graph.build()?;

        let mut pond = Pond::new(&graph, run.shards);
        let mut fed = 0;
        for &size in run.epochs.iter().cycle() {
            if fed == records.len() {
                break;
            }
            let before = pond.written(&out).concat().len();
            let upto = records.len().min(fed.saturating_add(size));
            pond.step(&two_inputs(&lefts, &rights, &records)[fed..upto]);
            let written = &pond.written(&out).concat()[before..];
            let keys: BTreeSet<u8> = written.iter().map(|(key, ..)| *key).collect();
            prop_assert_eq!(keys.len(), written.len(), "a key twice in one epoch");
            let (left, right) =
                (table_of(&side(&records[..upto], false)), table_of(&side(&records[..upto], true)));
            for (key, value, _) in written {
                let now = (left.get(key).copied(), right.get(key).copied());
                prop_assert_eq!(*value, (now != (None, None)).then_some(now));
            }
            fed = upto;
        }
    }
}

#[test]
fn a_row_that_comes_and_goes_within_an_epoch_leaves_nothing() -> millpond_engine::Result<()> {
    let (lefts, rights) = (Topic::<u8, i32>::new("left"), Topic::<u8, i32>::new("right"));
    let out = Topic::<u8, Sides>::new("out");
    let graph = GraphBuilder::new();
    let (left, right) = (graph.table(&lefts, "lefts"), graph.table(&rights, "rights"));
    let outer = left.outer_join(&right, |_, l, r| pair(l, r)).materialize("outer");
    outer.to_stream().to_upserts(&out);
    let mut pond = Pond::new(&graph.build()?, 2);
    pond.step(&[put(&lefts, &1, &7, 0), upsert(&lefts, &1, None, 1)]);
    assert!(pond.rows(&outer).is_empty());
    assert_eq!(pond.written(&out), [[]]);
    Ok(())
}
