//! Random steps, and the input that they append.

use super::grammar::{Draw, Spec, TOPICS, draw, draw_in_time};
use super::interpreter::Arrival;
use super::probe::{Probe, key, probe};
use super::time::{NEVER, Reached};
use super::{K, V, graph};
use millpond::Position;
use millpond::TopicPartition;
use millpond::testing::{Driver, Settings};
use millpond_support::records::{self, partition_of};
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
    /// All partitions are taken on to this time, less how far records have come.
    AdvanceTime(i64),
    /// The clock goes on by so many milliseconds, by which partitions are silent.
    AdvanceClock(i64),
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

/// A record of a time that goes on: out of order, equal, before 1970 and now and then far ahead.
fn record_in_time() -> impl Strategy<Value = Record> {
    let moment =
        prop_oneof![60 => -15..15_i64, 20 => Just(0), 20 => -80..0_i64, 10 => 0..60_i64, 1 => Just(3_000)];
    (record(), moment).prop_map(|(record, timestamp_ms)| Record { timestamp_ms, ..record })
}

/// The records at the time at which so many have been before; partitions are apart.
pub fn moved_on(records: &[Record], so_far: usize, partitions: &[u32]) -> Vec<Record> {
    let moved = records.iter().enumerate().map(|(number, record)| {
        let now = (so_far + number) as i64 * 2 + 20 * i64::from(record.partition(partitions)) - 60;
        Record { timestamp_ms: record.timestamp_ms + now, ..*record }
    });
    moved.collect()
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

/// As [`step`], where time goes on.
pub fn step_in_time() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(record_in_time(), 1..12).prop_map(Step::Append),
        20 => step().prop_filter("its records are of one time", |step| !matches!(step, Step::Append(_))),
        2 => (-60..60_i64).prop_map(Step::AdvanceTime),
        3 => (0..3_000_i64).prop_map(Step::AdvanceClock),
    ]
}

pub fn evolution() -> impl Strategy<Value = Evolution> {
    evolution_by(draw().boxed())
}

/// As [`evolution`], with operators that look at time.
pub fn evolution_in_time() -> impl Strategy<Value = Evolution> {
    evolution_by(draw_in_time().boxed())
}

fn evolution_by(draw: BoxedStrategy<Draw>) -> impl Strategy<Value = Evolution> {
    prop_oneof![
        2 => (vec(draw, 1..5), any::<bool>()).prop_map(|(draws, crash)| Evolution::Add { draws, crash }),
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
pub struct Appended {
    places: BTreeMap<(usize, u32, u64), u64>,
    ends: BTreeMap<(usize, u32), u64>,
}

impl Appended {
    /// How many records were appended.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Where each partition of the topics ends.
    pub fn ends(&self) -> impl Iterator<Item = (usize, TopicPartition, u64)> {
        let id = |topic: usize, partition| TopicPartition::new(format!("in{topic}"), partition);
        self.ends.iter().map(move |((topic, partition), end)| (*topic, id(*topic, *partition), *end))
    }

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
    appended: &Appended,
    from: &Position,
    to: &Position,
) -> Vec<Arrival> {
    let noted = noted(driver, u64::MAX);
    let mut arrivals = Vec::new();
    for topic in 0..TOPICS {
        let typed = graph::topic(topic, partitions);
        let Ok(records) = driver.records(&typed) else { continue };
        for run in records.chunk_by(|a, b| a.partition == b.partition) {
            let id = TopicPartition::new(typed.name().clone(), run[0].partition);
            let included = from.offset(&id)..to.offset(&id);
            let mut reached = NEVER;
            let timed = (0..).zip(run).map(|(offset, record)| {
                let before = noted.iter().filter(|(from, at, _)| {
                    (at.topic, at.partition) == (topic, record.partition) && *from <= offset
                });
                let before = before.map(|(_, at, _)| at.time_ms).max().unwrap_or(NEVER);
                reached = reached.max(record.timestamp_ms).max(before);
                (offset, record, reached)
            });
            arrivals.extend(timed.filter(|(offset, ..)| included.contains(offset)).map(
                |(offset, record, stream_time_ms)| Arrival {
                    topic,
                    stream_time_ms,
                    partition: record.partition,
                    offset,
                    place: appended.places[&(topic, record.partition, offset)],
                    key: record.key,
                    value: record.value,
                    timestamp_ms: record.timestamp_ms,
                },
            ));
        }
    }
    arrivals
}

/// The topic with what was noted of silent partitions.
pub fn time() -> TopicPartition {
    TopicPartition::new("millpond.time", 0)
}

/// Below which of its records what was noted of silent partitions is in a state.
pub fn taken(position: &Position) -> u64 {
    position.offset(&time())
}

/// What was noted of silent partitions by the first so many notes: from which offset on, and by which note.
pub fn noted(driver: &Driver, taken: u64) -> Vec<(u64, Reached, u64)> {
    // Nothing was noted as long as there is no such topic.
    let notes = records::read(&**driver.changelog(), &time()).unwrap_or_default();
    let mut all = Vec::new();
    for note in notes {
        let note: serde_json::Value = serde_json::from_slice(note.value.as_deref().unwrap()).unwrap();
        let number = note["number"].as_u64().unwrap();
        let of_it = note["partitions"].as_array().unwrap().iter().filter(|_| number < taken);
        all.extend(of_it.map(|at| {
            let topic = at["topic"].as_str().unwrap().trim_start_matches("in").parse().unwrap();
            let partition = at["partition"].as_u64().unwrap() as u32;
            let time_ms = at["time_ms"].as_i64().unwrap();
            (at["offset"].as_u64().unwrap(), Reached { topic, partition, time_ms }, number)
        }));
    }
    all
}

/// How many notes there are.
pub fn notes(driver: &Driver) -> u64 {
    records::read(&**driver.changelog(), &time()).map_or(0, |notes| notes.len() as u64)
}
