//! What happens to a graph that is checked.

use super::expected::failed;
use crate::testing::Driver;
use millpond_engine::TopicPartition;
use millpond_engine::changelog::Record;
use proptest::collection::vec;
use proptest::prop_oneof;
use proptest::strategy::{Just, Strategy};
use std::fmt::{self, Debug};

/// A record that was made for an input topic, and how it looks.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) partition: TopicPartition,
    pub(super) record: Record,
    pub(super) shown: String,
}

impl Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Something that can happen to a running graph.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// The next records of one of the inputs arrive.
    Append { input: usize, records: usize },
    /// An epoch of about so many records.
    Epoch(usize),
    /// What is published becomes durable.
    Drain,
    /// The process dies and comes back.
    Crash,
    /// The machine does.
    PowerCut,
    /// Time goes on by hand, so much behind where it is the farthest.
    AdvanceTime { by_ms: i64 },
    /// The clock goes on, by which partitions are silent.
    AdvanceClock { by_ms: i64 },
    /// A clean restart with other settings.
    Restart { shards: usize, memory_bytes: usize },
}

/// Appends the next `records` of `left`.
pub(super) fn append(driver: &Driver, left: &mut &[Made], records: usize) -> Result<(), String> {
    let (now, later) = left.split_at(records.min(left.len()));
    *left = later;
    // One append for the run of each partition, so that batches of all sizes come about.
    for run in now.chunk_by(|a, b| a.partition == b.partition) {
        let Some(first) = run.first() else { continue };
        let records = run.iter().map(|made| made.record.clone()).collect();
        driver.append(first.partition.clone(), records).map_err(failed)?;
    }
    Ok(())
}

/// Any steps of a graph that has so many inputs.
pub(super) fn steps(inputs: usize) -> impl Strategy<Value = Vec<Step>> {
    let size = || prop_oneof![3 => 1..=8_usize, 1 => Just(1 << 20)];
    let step = prop_oneof![
        6 => (0..inputs.max(1), 1..=30_usize).prop_map(|(input, records)| Step::Append { input, records }),
        6 => size().prop_map(Step::Epoch),
        3 => Just(Step::Drain),
        1 => (-60_000..60_000_i64).prop_map(|by_ms| Step::AdvanceTime { by_ms }),
        1 => (0..10_000_i64).prop_map(|by_ms| Step::AdvanceClock { by_ms }),
        2 => Just(Step::Crash),
        1 => Just(Step::PowerCut),
        1 => (1..=8_usize, prop_oneof![Just(0), Just(2_000), Just(64 << 20)])
            .prop_map(|(shards, memory_bytes)| Step::Restart { shards, memory_bytes }),
    ];
    vec(step, 0..30)
}
