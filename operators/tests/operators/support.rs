//! A graph in memory, moved by hand, and the ways to move it.

use millpond_engine::changelog::{Changelog, MemoryChangelog, ReadLog, Record};
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::Graph;
use millpond_engine::query::Stored;
use millpond_engine::{Engine, FailurePolicy, Stepper, Topic, TopicPartition};
use millpond_support::records::{self, append, partition_of, read, record};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// More than any test appends.
const ALL: usize = 1 << 30;

/// A record and where it goes.
pub(crate) type Input = (TopicPartition, Record);

/// A record of `topic` on the partition of its key.
pub(crate) fn put<K: Key, V: Value>(topic: &Topic<K, V>, key: &K, value: &V, timestamp_ms: i64) -> Input {
    upsert(topic, key, Some(value), timestamp_ms)
}

/// As [`put`]; `None` is a tombstone.
pub(crate) fn upsert<K: Key, V: Value>(
    topic: &Topic<K, V>,
    key: &K,
    value: Option<&V>,
    timestamp_ms: i64,
) -> Input {
    let TopicPartition { partition, .. } = partition_of(topic, key);
    at(topic, partition, key, value, timestamp_ms)
}

/// A record on a partition of one's choice.
pub(crate) fn at<K: Key, V: Value>(
    topic: &Topic<K, V>,
    partition: u32,
    key: &K,
    value: Option<&V>,
    timestamp_ms: i64,
) -> Input {
    (records::partition(topic, partition), record(topic, key, value).at(timestamp_ms))
}

/// How a graph is run: over how many shards, and how many records are appended before each epoch is cut.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) shards: usize,
    /// Used in turn, over and over.
    pub(crate) epochs: Vec<usize>,
}

impl Run {
    /// One shard, one record at a time: what every other run must agree with.
    pub(crate) fn plain() -> Self {
        Self { shards: 1, epochs: vec![1] }
    }
}

/// Any number of shards up to 8, epochs from single records to everything at once.
pub(crate) fn runs() -> impl Strategy<Value = Run> {
    let epochs = prop_oneof![
        1 => Just(vec![1]),
        2 => Just(vec![ALL]),
        5 => prop::collection::vec(1..12_usize, 1..6),
    ];
    (1..=8_usize, epochs).prop_map(|(shards, epochs)| Run { shards, epochs })
}

/// A record as it was read back from a topic: key, value, timestamp.
pub(crate) type Written<K, V> = (K, Option<V>, i64);

/// A graph at work.
pub(crate) struct Pond {
    pub(crate) stepper: Stepper,
    log: Arc<MemoryChangelog>,
}

impl Pond {
    pub(crate) fn new(graph: &Graph, shards: usize) -> Self {
        Self::with_policy(graph, shards, FailurePolicy::Stop)
    }

    pub(crate) fn with_policy(graph: &Graph, shards: usize, policy: FailurePolicy) -> Self {
        let log = Arc::new(MemoryChangelog::new());
        let changelog: Arc<dyn Changelog> = log.clone();
        let builder =
            Engine::builder(graph).in_memory().changelog(changelog).shards(shards).on_failure(policy);
        Self { stepper: builder.stepper().expect("the graph runs"), log }
    }

    /// The same records, fed as `run` says.
    pub(crate) fn fed(graph: &Graph, inputs: &[Input], run: &Run) -> Self {
        let mut pond = Self::new(graph, run.shards);
        let mut rest = inputs;
        for &records in run.epochs.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(records.min(rest.len()));
            pond.append(now);
            pond.epoch();
            rest = later;
        }
        pond
    }

    pub(crate) fn append(&self, inputs: &[Input]) {
        for (partition, record) in inputs {
            append(&*self.log, partition.clone(), vec![record.clone()]).expect("the record is appended");
        }
    }

    /// Everything that is there, in one epoch.
    pub(crate) fn epoch(&mut self) {
        assert!(self.stepper.epoch(ALL).expect("the epoch is folded"), "there was nothing to read");
    }

    pub(crate) fn step(&mut self, inputs: &[Input]) {
        self.append(inputs);
        self.epoch();
    }

    pub(crate) fn rows<T: Stored>(&self, table: &T) -> BTreeMap<T::Key, T::Value>
    where
        T::Key: Key,
        T::Value: Value,
    {
        let view = self.stepper.view(table).expect("the table can be asked");
        let rows: BTreeMap<_, _> = view.scan().expect("a scan").map(|row| row.expect("a row")).collect();
        assert_eq!(view.count().expect("a count"), rows.len() as u64, "the count is that of the rows");
        rows
    }

    /// What is in `topic`, partition by partition.
    pub(crate) fn written<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Vec<Vec<Written<K, V>>> {
        (0..topic.topic_config().partitions_or_default())
            .map(|partition| self.partition(topic, partition))
            .collect()
    }

    /// The records of `topic`, which has one partition, as they are stored.
    pub(crate) fn stored<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Vec<Record> {
        let id = TopicPartition::new(Arc::clone(topic.name()), 0);
        let mut reader = self.log.reader(&id, 0).expect("a reader");
        let mut all = Vec::new();
        loop {
            let batches = reader.poll(ALL).expect("batches");
            if batches.is_empty() {
                return all;
            }
            for batch in batches {
                all.extend(batch.decode().expect("a batch").iter().map(|record| record.to_record()));
            }
        }
    }

    fn partition<K: Key, V: Value>(&self, topic: &Topic<K, V>, partition: u32) -> Vec<Written<K, V>> {
        let written = |record: Record| {
            let key = K::decode_whole_key(&record.key.expect("a key")).expect("a key");
            let value = record.value.map(|bytes| topic.codec().decode(&bytes).expect("a value"));
            (key, value, record.timestamp_ms)
        };
        let records = read(&*self.log, &records::partition(topic, partition)).expect("the records");
        records.into_iter().map(written).collect()
    }
}

/// A changelog of upserts and deletions of few keys: (key, value).
pub(crate) fn upserts<V: Strategy>(values: V) -> impl Strategy<Value = Vec<(u8, Option<V::Value>)>> {
    prop::collection::vec((0..8_u8, prop::option::weighted(0.75, values)), 0..60)
}

/// The table that `upserts` fold to.
pub(crate) fn table_of<K: Ord + Clone, V: Clone>(upserts: &[(K, Option<V>)]) -> BTreeMap<K, V> {
    let mut table = BTreeMap::new();
    for (key, value) in upserts {
        match value {
            Some(value) => table.insert(key.clone(), value.clone()),
            None => table.remove(key),
        };
    }
    table
}

/// `upserts` as records of `topic`, one millisecond after the other.
pub(crate) fn inputs<V: Value>(topic: &Topic<u8, V>, upserts: &[(u8, Option<V>)]) -> Vec<Input> {
    let stamped = upserts.iter().zip(0..);
    stamped.map(|((key, value), now_ms)| upsert(topic, key, value.as_ref(), now_ms)).collect()
}

/// Two tables' upserts, mixed: which table, key, value.
pub(crate) fn two_sides() -> impl Strategy<Value = Vec<(bool, u8, Option<i32>)>> {
    let record = (any::<bool>(), 0..6_u8, prop::option::weighted(0.7, 0..9_i32));
    prop::collection::vec(record, 0..60)
}

/// One side of [`two_sides`].
pub(crate) fn side(records: &[(bool, u8, Option<i32>)], second: bool) -> Vec<(u8, Option<i32>)> {
    records.iter().filter(|record| record.0 == second).map(|&(_, key, value)| (key, value)).collect()
}

/// [`two_sides`] as records of two topics, one millisecond after the other.
pub(crate) fn two_inputs(
    first: &Topic<u8, i32>,
    second: &Topic<u8, i32>,
    records: &[(bool, u8, Option<i32>)],
) -> Vec<Input> {
    let input = |(&(is_second, key, value), now_ms): (&(bool, u8, Option<i32>), i64)| {
        upsert(if is_second { second } else { first }, &key, value.as_ref(), now_ms)
    };
    records.iter().zip(0..).map(input).collect()
}
