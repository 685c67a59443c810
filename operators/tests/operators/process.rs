//! An operator of one's own sees the records of a key one after the other, with the state that the one before has left,
//! and what it emits comes in the order of the records.

use crate::support::*;
use millpond_engine::Topic;
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
        let emitted = graph.stream(&topic).process("sums", Sums);
        emitted.to(&out);
        let by_sum = emitted.group_by_key().count("by_sum");
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);

        let mut sums: BTreeMap<u8, u32> = BTreeMap::new();
        let mut expected = Vec::new();
        for ((key, value), now_ms) in records.iter().zip(0..) {
            let Some(value) = value else { continue };
            let sum = sums.remove(key).unwrap_or(0) + value;
            expected.extend((0..sum).map(|index| (sum, Some((*key, index)), now_ms)));
            if sum < 7 {
                sums.insert(*key, sum);
            }
        }
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
