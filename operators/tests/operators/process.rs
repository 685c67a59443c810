//! An operator of one's own sees the records of a key one after the other, with the state that the one before has left,
//! and what it emits comes in the order of the records.

use crate::support::*;
use millpond_engine::{FailurePolicy, Topic};
use millpond_operators::stream::Emit;
use millpond_operators::{GraphBuilder, Process};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Emits the sum so far as often as the sum says, under another key; a sum of 7 or more is forgotten.
struct Sums;

impl Process<u8, u32> for Sums {
    type State = u32;
    type OutKey = u32;
    type OutValue = (u8, u32);

    fn process(&self, key: &u8, value: u32, state: &mut Option<u32>, emit: &mut Emit<u32, (u8, u32)>) {
        let sum = state.unwrap_or(0) + value;
        for index in 0..sum {
            emit.push(sum, (*key, index));
        }
        *state = (sum < 7).then_some(sum);
    }
}

proptest! {
    #[test]
    fn a_process_is_a_loop_with_a_state_per_key(records in upserts(0..5_u32), run in runs()) {
        let topic = Topic::<u8, u32>::new("records").partitions(3);
        let out = Topic::<u32, (u8, u32)>::new("out");
        let graph = GraphBuilder::new();
        let (emitted, states) = graph.stream(&topic).process("sums", Sums);
        emitted.to(&out);
        let by_sum = emitted.group_by_key().count("by_sum");
        // The state is a table like any other: it is joined, grouped, and told of step by step.
        let met = Topic::<u8, Option<u32>>::new("met");
        graph.stream(&topic).left_join(&states, |_, _, sum| sum.copied()).to(&met);
        let grouped = states.group_by(|_, sum| (sum % 2, *sum)).count("grouped").map_values(|_, count| count);
        let grouped = grouped.materialize("grouped_members");
        let steps = states.to_stream().group_by_key().fold("steps", Vec::new, |all: &mut Vec<Option<u32>>, _, step| all.push(step.into_option()));
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);

        let mut sums: BTreeMap<u8, u32> = BTreeMap::new();
        let mut expected = Vec::new();
        let mut expected_met = Vec::new();
        let mut expected_steps: BTreeMap<u8, Vec<Option<u32>>> = BTreeMap::new();
        for ((key, value), now_ms) in records.iter().zip(0..) {
            let Some(value) = value else { continue };
            let before = sums.remove(key);
            let sum = before.unwrap_or(0) + value;
            expected.extend((0..sum).map(|index| (sum, Some((*key, index)), now_ms)));
            if sum < 7 {
                sums.insert(*key, sum);
            }
            let now = sums.get(key).copied();
            expected_met.push((*key, Some(now), now_ms));
            if now != before {
                expected_steps.entry(*key).or_default().push(now);
            }
        }
        prop_assert_eq!(pond.written(&met).concat(), expected_met);
        prop_assert_eq!(pond.rows(&steps), expected_steps);
        prop_assert_eq!(&pond.rows(&states), &sums);
        let mut groups: BTreeMap<u32, u64> = BTreeMap::new();
        for sum in sums.values() {
            *groups.entry(sum % 2).or_default() += 1;
        }
        prop_assert_eq!(pond.rows(&grouped), groups);
        prop_assert_eq!(pond.written(&out).concat(), expected.clone());
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        for (sum, ..) in &expected {
            *counts.entry(*sum).or_default() += 1;
        }
        prop_assert_eq!(pond.rows(&by_sum), counts);
        let stats = pond.stepper.stats();
        prop_assert_eq!(stats.tables["sums"].rows, sums.len() as u64, "a state of None is no row");
    }
}

/// Remembers when a key was last heard of, and fails at what is older.
struct Watch;

impl Process<u8, u32> for Watch {
    type State = i64;
    type OutKey = u8;
    type OutValue = i64;

    fn process(&self, key: &u8, _: u32, last: &mut Option<i64>, emit: &mut Emit<u8, i64>) {
        let now_ms = emit.timestamp_ms();
        emit.push(*key, now_ms);
        if let Some(last_ms) = last.replace(now_ms)
            && last_ms > now_ms
        {
            emit.fail(format!("{now_ms} is before {last_ms}"));
        }
    }
}

proptest! {
    #[test]
    fn a_record_that_a_process_fails_leaves_nothing_behind(
        records in prop::collection::vec((0..3_u8, 0..9_i64), 0..40),
        shards in prop::sample::select(vec![1_usize, 3]),
        epoch in prop::sample::select(vec![1_usize, 2, 7, 1000]),
    ) {
        let (topic, out) = (Topic::<u8, u32>::new("records"), Topic::<u8, i64>::new("out"));
        let graph = GraphBuilder::new();
        let (heard, last) = graph.stream(&topic).process("last", Watch);
        heard.to(&out);
        let mut pond = Pond::with_policy(&graph.build()?, shards, FailurePolicy::DeadLetter("dead".into()));
        let input = |&(key, ms): &(u8, i64)| put(&topic, &key, &0, ms);
        pond.append(&records.iter().map(input).collect::<Vec<_>>());
        while pond.stepper.epoch(epoch)? {}
        let (mut kept, mut expected, mut failed) = (BTreeMap::new(), Vec::new(), Vec::new());
        for &(key, ms) in &records {
            if kept.get(&key).is_some_and(|last| *last > ms) {
                failed.push((key, Some(0), ms));
            } else {
                kept.insert(key, ms);
                expected.push((key, Some(ms), ms));
            }
        }
        prop_assert_eq!(pond.rows(&last), kept);
        prop_assert_eq!(pond.written(&out).concat(), expected);
        let dead = Topic::<u8, u32>::new("dead");
        let letters = if failed.is_empty() { Vec::new() } else { pond.written(&dead).concat() };
        prop_assert_eq!(letters, failed);
    }
}
