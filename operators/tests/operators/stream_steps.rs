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
    fn steps_that_leave_out_or_keep_the_key_are_those_of_a_loop(records in upserts(0..9_i32), run in runs()) {
        let topic = Topic::<u8, i32>::new("records").partitions(3);
        let [some, kept, many, timed] = ["some", "kept", "many", "timed"].map(Topic::<u8, i64>::new);
        let tried: Vec<_> = (0..6).map(|index| Topic::<u8, i64>::new(&format!("tried{index}"))).collect();
        let graph = GraphBuilder::new();
        let stream = graph.stream(&topic);
        let odd = |value: i32| (value % 2 == 1).then_some(i64::from(value));
        let parts = |value: i32| (0..value).map(i64::from);
        stream.filter_map(move |key, value| Some((key / 2, odd(value)?))).to(&some);
        stream.filter_map_values(move |_, value| odd(value)).to(&kept);
        stream.flat_map_values(move |_, value| parts(value)).to(&many);
        stream.with_timestamps().map_values(|_, (value, ms)| ms * 10 + i64::from(value)).to(&timed);
        // A step that does not fail is the step that cannot.
        let wide = stream.try_map_values(|_, value| Ok::<_, String>(i64::from(value)));
        wide.try_map(|key, value| Ok::<_, String>((key, value))).to(&tried[0]);
        wide.try_filter(|_, value| Ok::<_, String>(value % 2 == 1)).to(&tried[1]);
        stream.try_filter_map(move |key, value| Ok::<_, String>(odd(value).map(|value| (key / 2, value)))).to(&tried[2]);
        stream.try_flat_map(move |key, value| Ok::<_, String>(parts(value).map(move |part| (key, part)))).to(&tried[3]);
        stream.try_flat_map_values(move |_, value| Ok::<_, String>(parts(value))).to(&tried[4]);
        wide.to(&tried[5]);
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);

        let of = |topic: &Topic<u8, i64>| plain(&pond.written(topic).concat());
        let all: Vec<(u8, i32, i64)> =
            records.iter().zip(0..).filter_map(|(&(key, value), ms)| Some((key, value?, ms))).collect();
        let halves: Vec<_> = all.iter().filter_map(|&(key, value, _)| Some((key / 2, odd(value)?))).collect();
        let odds: Vec<_> = all.iter().filter_map(|&(key, value, _)| Some((key, odd(value)?))).collect();
        let pieces: Vec<_> = all.iter().flat_map(|&(key, value, _)| parts(value).map(move |part| (key, part))).collect();
        let wide: Vec<_> = all.iter().map(|&(key, value, _)| (key, i64::from(value))).collect();
        prop_assert_eq!(&of(&some), &halves);
        prop_assert_eq!(&of(&kept), &odds);
        prop_assert_eq!(&of(&many), &pieces);
        prop_assert_eq!(of(&timed), all.iter().map(|&(key, value, ms)| (key, ms * 10 + i64::from(value))).collect::<Vec<_>>());
        for (tried, expected) in tried.iter().zip([&wide, &odds, &halves, &pieces, &pieces, &wide]) {
            prop_assert_eq!(&of(tried), expected, "{}", tried.name());
        }
    }

    #[test]
    fn a_split_into_many_and_a_topic_per_record_are_those_of_a_loop(records in upserts(0..9_i32), run in runs()) {
        let topic = Topic::<u8, i32>::new("records").partitions(2);
        let (ways, topics) = (["way0", "way1", "way2"].map(Topic::<u8, i32>::new), ["to0", "to1", "to2"].map(Topic::<u8, i32>::new));
        let graph = GraphBuilder::new();
        let way = |key: &u8, value: &i32| usize::from(*key % 2) + usize::from(*value > 4);
        let stream = graph.stream(&topic);
        let [first, second, third] = stream.split(way);
        first.to(&ways[0]);
        second.to(&ways[1]);
        // Two read it, so that it is copied.
        third.to(&ways[2]);
        let counts = third.group_by_key().count("counts");
        // Nobody reads two of these.
        let [_, again, _] = stream.split(way);
        let again = again.group_by_key().count("again");
        stream.to_one_of(&topics, way);
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);
        let all: Vec<(u8, i32)> = records.iter().filter_map(|&(key, value)| Some((key, value?))).collect();
        let mut counted = [std::collections::BTreeMap::new(), std::collections::BTreeMap::new()];
        for (index, (split, chosen)) in ways.iter().zip(&topics).enumerate() {
            let expected: Vec<(u8, i32)> = all.iter().copied().filter(|(key, value)| way(key, value) == index).collect();
            prop_assert_eq!(&plain(&pond.written(split).concat()), &expected);
            prop_assert_eq!(&plain(&pond.written(chosen).concat()), &expected);
            for (key, _) in expected.iter().filter(|_| index > 0) {
                *counted[index - 1].entry(*key).or_insert(0_u64) += 1;
            }
        }
        prop_assert_eq!(pond.rows(&again), std::mem::take(&mut counted[0]));
        prop_assert_eq!(pond.rows(&counts), std::mem::take(&mut counted[1]));
    }

    /// Of one record, all that came on the first way, then on the second, and so on, whatever was made of it on each.
    #[test]
    fn many_merged_streams_keep_the_order_of_their_ways(records in upserts(0..5_i32), run in runs()) {
        let topic = Topic::<u8, i32>::new("records").partitions(3);
        let (out, nested) = (Topic::<u8, i32>::new("out"), Topic::<u8, i32>::new("nested"));
        let graph = GraphBuilder::new();
        let stream = graph.stream(&topic);
        let ways: Vec<_> = (0..5)
            .map(|way| stream.flat_map(move |_, value| (0..value).map(move |part| (0, way * 10 + part)).collect::<Vec<_>>()))
            .collect();
        let around = ways[4].re_key(|_, _| 1).process("around", PassOn).0.map(|_, value| (0, value));
        let merged = ways[0].merge_all([&ways[1], &ways[2], &ways[3], &around]);
        merged.to(&out);
        merged.merge(&stream.map(|_, value| (0, -value))).group_by_key().fold("kept", Vec::new, |all: &mut Vec<i32>, _, value| all.push(value));
        ways[3].merge_all(&ways[..3]).to(&nested);
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);
        let values: Vec<i32> = records.iter().filter_map(|&(_, value)| value).collect();
        let of = |order: &[i32], bonus: i32| -> Vec<(u8, i32)> {
            let made = |value: i32, way: i32| (0..value).map(move |part| (0, way * 10 + part + if way == 4 { bonus } else { 0 }));
            values.iter().flat_map(|&value| order.iter().flat_map(move |&way| made(value, way))).collect()
        };
        prop_assert_eq!(plain(&pond.written(&out).concat()), of(&[0, 1, 2, 3, 4], 1));
        prop_assert_eq!(plain(&pond.written(&nested).concat()), of(&[3, 0, 1, 2], 0));
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
    fn a_branch_sends_every_record_one_way(records in upserts(0..9_i32), run in runs()) {
        let topic = Topic::<u8, i32>::new("records").partitions(2);
        let [even, odd] = ["even", "odd"].map(Topic::<u8, i32>::new);
        let graph = GraphBuilder::new();
        let (evens, odds) = graph.stream(&topic).branch(|_, value| value % 2 == 0);
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
        let (around, _) = stream.re_key(|_, value| *value).process("around", PassOn);
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

impl Process<u8, i32> for PassOn {
    type State = u8;
    type OutKey = u8;
    type OutValue = i32;

    fn process(&self, key: &u8, value: i32, _: &mut Option<u8>, emit: &mut Emit<u8, i32>) {
        emit.push(*key, value + 1);
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
fn a_way_that_is_not_there_is_the_failure_of_its_record() -> millpond_engine::Result<()> {
    let (topic, out) = (Topic::<u8, i32>::new("records"), Topic::<u8, i32>::new("out"));
    let graph = GraphBuilder::new();
    graph.stream(&topic).to_one_of([&out], |_, value| usize::try_from(*value).unwrap_or(0));
    let mut pond = Pond::new(&graph.build()?, 2);
    pond.append(&[put(&topic, &1, &0, 0), put(&topic, &2, &7, 1), put(&topic, &3, &0, 2)]);
    let error = pond.stepper.epoch(100).expect_err("the record fails").to_string();
    for part in ["records/0 offset 1", "`to_one_of` has 1 ways", "number 7"] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    assert_eq!(pond.written(&out), [[(1, Some(0), 0)]], "what stands before it is applied");
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
