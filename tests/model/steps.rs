//! Random steps, and the input that they append.

use super::grammar::{Draw, Spec, TOPICS, draw};
use super::interpreter::Arrival;
use super::probe::{Probe, key, probe};
use super::{K, V, graph};
use millpond::Position;
use millpond::TopicPartition;
use millpond::testing::{Driver, Settings};
use millpond_support::records::partition_of;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A record to append.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    pub topic: usize,
    pub key: K,
    pub value: Option<V>,
    pub timestamp_ms: i64,
}

impl Record {
    /// The partition that it is appended to.
    pub fn partition(&self, partitions: &[u32]) -> u32 {
        partition_of(&graph::topic(self.topic, partitions), &self.key).partition
    }
}

/// Something that can happen.
#[derive(Debug, Clone)]
pub enum Step {
    /// Records arrive; those of one topic in one batch per partition.
    Append(Vec<Record>),
    Epoch(usize),
    Drain,
    Crash,
    PowerCut,
    Restart {
        shards: usize,
        memory_bytes: usize,
    },
    /// Every table is asked.
    Query(Probe),
    /// A snapshot is taken, and compared again after every later step.
    Hold,
}

/// Something that happens to the graph itself.
#[derive(Debug, Clone)]
pub enum Evolution {
    /// Operators are added; with a crash in place of a clean restart.
    Add { draws: Vec<Draw>, crash: bool },
    /// The fold of a table changes and its version is raised.
    Raise { which: usize, crash: bool },
    /// The last operators are removed.
    Remove { draws: usize, crash: bool },
}

pub fn settings(shards: usize, memory_bytes: usize) -> Settings {
    Settings { shards, memory_bytes, ..Settings::default() }
}

fn record() -> impl Strategy<Value = Record> {
    // One key is hot, timestamps go back and forth or are all the same, and some records delete.
    let keys = prop_oneof![1 => Just((0, 0)), 3 => key()];
    let value = prop_oneof![3 => (-4..5_i64).prop_map(Some), 1 => Just(None)];
    let timestamp_ms = prop_oneof![1 => Just(7_i64), 1 => 0..20_i64];
    (0..TOPICS, keys, value, timestamp_ms).prop_map(|(topic, key, value, timestamp_ms)| Record {
        topic,
        key,
        value,
        timestamp_ms,
    })
}

fn memory_bytes() -> impl Strategy<Value = usize> {
    // Nothing stays in memory, some does, everything does.
    prop_oneof![Just(0), Just(1_500), Just(64 << 20)]
}

pub fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![3 => 1..12_usize, 1 => Just(1 << 20)];
    prop_oneof![
        8 => vec(record(), 1..12).prop_map(Step::Append),
        8 => size.prop_map(Step::Epoch),
        3 => Just(Step::Drain),
        2 => Just(Step::Crash),
        1 => Just(Step::PowerCut),
        1 => (1..=8_usize, memory_bytes())
            .prop_map(|(shards, memory_bytes)| Step::Restart { shards, memory_bytes }),
        4 => probe().prop_map(Step::Query),
        1 => Just(Step::Hold),
    ]
}

pub fn evolution() -> impl Strategy<Value = Evolution> {
    prop_oneof![
        2 => (vec(draw(), 1..5), any::<bool>()).prop_map(|(draws, crash)| Evolution::Add { draws, crash }),
        2 => (0..8_usize, any::<bool>()).prop_map(|(which, crash)| Evolution::Raise { which, crash }),
        1 => (1..4_usize, any::<bool>()).prop_map(|(draws, crash)| Evolution::Remove { draws, crash }),
    ]
}

impl Evolution {
    /// The graph that comes next.
    pub fn apply(&self, spec: &mut Spec) {
        match self {
            Self::Add { draws, .. } => spec.draws.extend(draws),
            Self::Raise { .. } => {
                let raised = self.raises(spec).unwrap();
                spec.draws[raised] = spec.draws[raised].raised();
            }
            // The first two stay, so that there is a source.
            Self::Remove { draws, .. } => {
                spec.draws.truncate((spec.draws.len() - 2).saturating_sub(*draws) + 2);
            }
        }
    }

    /// The number of the draw whose table gets another closure, in the graph before.
    pub fn raises(&self, spec: &Spec) -> Option<usize> {
        let Self::Raise { which, .. } = self else { return None };
        let raisable = spec.raisable();
        Some(raisable[which % raisable.len()])
    }

    pub fn is_crash(&self) -> bool {
        match self {
            Self::Add { crash, .. } | Self::Raise { crash, .. } | Self::Remove { crash, .. } => *crash,
        }
    }
}

pub fn started() -> impl Strategy<Value = (usize, usize)> {
    (1..=8_usize, memory_bytes())
}

/// Appends records, each run of one topic in one step.
pub fn append(driver: &Driver, records: &[Record], partitions: &[u32]) -> Result<(), String> {
    for run in records.chunk_by(|a, b| a.topic == b.topic) {
        let topic = graph::topic(run[0].topic, partitions);
        let producer = driver.producer(&topic).map_err(|error| error.to_string())?;
        let sent = producer.send(run.iter().map(|r| (&r.key, r.value.as_ref(), r.timestamp_ms)));
        sent.wait_blocking().map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The order in which records were appended, over all topics and partitions.
#[derive(Debug, Clone, Default)]
pub struct Order {
    places: BTreeMap<(usize, u32, u64), u64>,
    ends: BTreeMap<(usize, u32), u64>,
}

impl Order {
    /// Notes records that were appended.
    pub fn append(&mut self, records: &[Record], partitions: &[u32]) {
        for record in records {
            let partition = record.partition(partitions);
            let end = self.ends.entry((record.topic, partition)).or_default();
            let place = self.places.len() as u64;
            self.places.insert((record.topic, partition, *end), place);
            *end += 1;
        }
    }
}

/// What was appended at and above `from` and below `to`.
pub fn arrivals(
    driver: &Driver,
    partitions: &[u32],
    order: &Order,
    from: &Position,
    to: &Position,
) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    for topic in 0..TOPICS {
        let typed = graph::topic(topic, partitions);
        let Ok(records) = driver.records(&typed) else { continue };
        for run in records.chunk_by(|a, b| a.partition == b.partition) {
            let id = TopicPartition::new(typed.name().clone(), run[0].partition);
            let included = from.offset(&id)..to.offset(&id);
            arrivals.extend((0..).zip(run).filter(|(offset, _)| included.contains(offset)).map(
                |(offset, record)| Arrival {
                    topic,
                    partition: record.partition,
                    offset,
                    place: order.places[&(topic, record.partition, offset)],
                    key: record.key,
                    value: record.value,
                    timestamp_ms: record.timestamp_ms,
                },
            ));
        }
    }
    arrivals
}
