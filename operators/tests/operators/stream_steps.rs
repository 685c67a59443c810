//! The steps over single records, merge and split: what is written to a topic behind them is what a loop would write, in
//! the same order, for every number of shards and every cut.

use crate::support::*;
use millpond_engine::{FailurePolicy, Topic};
use millpond_operators::stream::Emit;
use millpond_operators::{GraphBuilder, Process};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn plain<K: Clone, V: Clone>(written: &[Written<K, V>]) -> Vec<(K, V)> {
    written.iter().filter_map(|(key, value, _)| Some((key.clone(), value.clone()?))).collect()
}

proptest! {
    #[test]
    fn steps_are_those_of_a_loop(records in upserts(0..9_i32), run in runs()) {
        let topic = Topic::<u8, i32>::new("records").partitions(3);
        let [filtered, mapped, swapped] = ["filtered", "mapped", "swapped"].map(Topic::<u8, i32>::new);
        let (many, keyed) = (Topic::<i32, u8>::new("many"), Topic::<i32, i32>::new("keyed"));
        let graph = GraphBuilder::new();
        let stream = graph.stream(&topic);
        let seen = Arc::new(AtomicU64::new(0));
        let look = Arc::clone(&seen);
        stream.inspect(move |_, _| { look.fetch_add(1, Ordering::Relaxed); }).filter(|key, value| i32::from(*key) < *value).to(&filtered);
        stream.map_values(|key, value| value * 10 + i32::from(key % 2)).to(&mapped);
        stream.map(|key, value| (u8::try_from(value).unwrap_or(0), i32::from(key))).to(&swapped);
        stream.flat_map(|key, value| (0..value).map(move |index| (index, key))).to(&many);
        stream.re_key(|key, value| i32::from(*key) + value).to(&keyed);
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);

        let records: Vec<(u8, i32)> = records.iter().filter_map(|&(key, value)| Some((key, value?))).collect();
        let of = |topic: &Topic<u8, i32>| plain(&pond.written(topic).concat());
        prop_assert_eq!(of(&filtered), records.iter().copied().filter(|(k, v)| i32::from(*k) < *v).collect::<Vec<_>>());
        prop_assert_eq!(of(&mapped), records.iter().map(|(k, v)| (*k, v * 10 + i32::from(k % 2))).collect::<Vec<_>>());
        prop_assert_eq!(of(&swapped), records.iter().map(|(k, v)| (u8::try_from(*v).unwrap(), i32::from(*k))).collect::<Vec<_>>());
        let all: Vec<(i32, u8)> = records.iter().flat_map(|(k, v)| (0..*v).map(|index| (index, *k))).collect();
        prop_assert_eq!(plain(&pond.written(&many).concat()), all);
        let sums: Vec<(i32, i32)> = records.iter().map(|(k, v)| (i32::from(*k) + v, *v)).collect();
        prop_assert_eq!(plain(&pond.written(&keyed).concat()), sums);
        prop_assert_eq!(seen.load(Ordering::Relaxed), records.len() as u64);
    }

    #[test]
    fn merged_records_come_in_the_order_of_their_timestamps(records in two_sides(), run in runs()) {
        let (first, second) = (Topic::<u8, i32>::new("first").partitions(2), Topic::<u8, i32>::new("second").partitions(3));
        let out = Topic::<u8, i32>::new("out");
        let last = Topic::<u8, i32>::new("last");
        let graph = GraphBuilder::new();
        let merged = graph.stream(&second).merge(&graph.stream(&first));
        merged.to(&out);
        let kept = merged.group_by_key().fold("kept", Vec::new, |all: &mut Vec<i32>, _, value| all.push(value));
        merged.to_table("last").to_stream().to_upserts(&last);
        let pond = Pond::fed(&graph.build()?, &two_inputs(&first, &second, &records), &run);
        let records: Vec<(u8, i32)> = records.iter().filter_map(|&(_, key, value)| Some((key, value?))).collect();
        prop_assert_eq!(plain(&pond.written(&out).concat()), records.clone());
        for (key, all) in pond.rows(&kept) {
            prop_assert_eq!(all, records.iter().filter(|record| record.0 == key).map(|record| record.1).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_split_sends_every_record_one_way(records in upserts(0..9_i32), run in runs()) {
        let topic = Topic::<u8, i32>::new("records").partitions(2);
        let [even, odd] = ["even", "odd"].map(Topic::<u8, i32>::new);
        let graph = GraphBuilder::new();
        let (evens, odds) = graph.stream(&topic).split(|_, value| value % 2 == 0);
        evens.to(&even);
        odds.to(&odd);
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);
        let puts = records.iter().filter_map(|&(key, value)| Some((key, value?)));
        let (evens, odds): (Vec<_>, Vec<_>) = puts.partition(|(_, value)| value % 2 == 0);
        prop_assert_eq!(plain(&pond.written(&even).concat()), evens);
        prop_assert_eq!(plain(&pond.written(&odd).concat()), odds);
    }

    /// One record comes to the same place on two ways, one of which leads over another shard, and two sinks write to one
    /// topic. Nothing of it may depend on which shard was where.
    #[test]
    fn two_ways_for_one_record_do_not_depend_on_shards(
        records in prop::collection::vec((0..3_u32, any::<u8>(), any::<u8>(), 0..4_i64), 0..60),
        shards in 2..=8_usize,
    ) {
        let topic = Topic::<u8, u8>::new("records").partitions(3);
        let (merged, both) = (Topic::<u8, u8>::new("merged"), Topic::<u8, u8>::new("both"));
        let graph = GraphBuilder::new();
        let stream = graph.stream(&topic);
        let around = stream.re_key(|_, value| *value).process("around", PassOn);
        let ways = stream.merge(&around);
        ways.to(&merged);
        let folded = ways.group_by(|key, _| key % 4).fold("folded", Vec::new, |all: &mut Vec<u8>, _, value| all.push(value));
        // The keys are on several partitions, and the other side of the merge is empty on some shards only.
        let rare = graph.stream(&Topic::<u8, u8>::new("rare"));
        let partly = stream.merge(&rare).group_by_key().fold("partly", Vec::new, |all: &mut Vec<u8>, _, value| all.push(value));
        around.to(&both);
        stream.to(&both);
        let graph = graph.build()?;

        let mut now_ms = 0;
        let mut inputs: Vec<Input> = Vec::new();
        for (partition, key, value, step_ms) in &records {
            now_ms += step_ms;
            inputs.push(at(&topic, *partition, key, Some(value), now_ms));
        }
        inputs.push(at(&Topic::<u8, u8>::new("rare"), 0, &0, Some(&0), 0));
        let everything = |shards| Pond::fed(&graph, &inputs, &Run { shards, epochs: vec![usize::MAX] });
        let (one, several) = (everything(1), everything(shards));
        prop_assert_eq!(one.written(&merged), several.written(&merged));
        prop_assert_eq!(one.written(&both), several.written(&both));
        prop_assert_eq!(one.rows(&folded), several.rows(&folded));
        prop_assert_eq!(one.rows(&partly), several.rows(&partly));
    }
}

/// Passes every record on, from the shard where it is.
struct PassOn;

impl Process<u8, u8> for PassOn {
    type State = u8;
    type OutKey = u8;
    type OutValue = u8;

    fn process(&self, key: &u8, value: u8, _: &mut Option<u8>, emit: &mut Emit<u8, u8>) {
        emit.push(*key, value.wrapping_add(1));
    }
}

#[test]
fn late_records_keep_their_place_and_their_timestamp() -> millpond_engine::Result<()> {
    let (topic, out) = (Topic::<u8, i32>::new("records"), Topic::<u8, i32>::new("out"));
    let graph = GraphBuilder::new();
    graph.stream(&topic).filter(|_, value| *value != 3).map_values(|_, value| -value).to(&out);
    let mut pond = Pond::new(&graph.build()?, 3);
    pond.step(&[
        put(&topic, &1, &1, 50),
        put(&topic, &2, &2, 10),
        put(&topic, &1, &3, 60),
        put(&topic, &1, &4, 5),
    ]);
    assert_eq!(pond.written(&out), [[(1, Some(-1), 50), (2, Some(-2), 10), (1, Some(-4), 5)]]);
    Ok(())
}

#[test]
fn a_panic_in_a_step_is_the_failure_of_its_record() -> millpond_engine::Result<()> {
    let (topic, out) = (Topic::<u8, i32>::new("records"), Topic::<u8, i32>::new("out"));
    let graph = GraphBuilder::new();
    graph.stream(&topic).map_values(|_, value| 12_i32.checked_div(value).expect("no zeros")).to(&out);
    let graph = graph.build()?;
    let inputs = [put(&topic, &1, &4, 0), put(&topic, &2, &0, 1), put(&topic, &3, &3, 2)];

    let mut lenient = Pond::with_policy(&graph, 2, FailurePolicy::DeadLetter("dead".into()));
    lenient.step(&inputs);
    assert_eq!(lenient.written(&out), [[(1, Some(3), 0), (3, Some(4), 2)]]);
    assert_eq!(lenient.written(&Topic::<u8, i32>::new("dead")), [[(2, Some(0), 1)]]);

    let mut strict = Pond::new(&graph, 2);
    strict.append(&inputs);
    let error = strict.stepper.epoch(100).expect_err("the record fails").to_string();
    assert!(error.contains("records/0 offset 1") && error.contains("no zeros"), "{error}");
    assert_eq!(strict.written(&out), [[(1, Some(3), 0)]], "what stands before it is applied");
    Ok(())
}
