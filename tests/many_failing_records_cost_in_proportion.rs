//! Many records that fail cost in proportion to their number, not to its square.
//!
//! Property: with dead letters, the calls of user code per record are bounded however many records of an epoch fail,
//! whether they do not decode, fail in a step or in a fold, or leave a value that does not encode; the letters and
//! tables are those of epochs of one record. Dense failures, sparse ones and clusters are all paid for alike.
//!
//! Method: user code and codecs that count their calls, one epoch of 10,000 records. Once, every failing record cost
//! two runs of the whole epoch: a thousand of them kept an epoch of a quarter million records busy for hours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::backend::TopicLog;
use millpond::changelog::{MemoryChangelog, Record};
use millpond::codec::{Bincode, CodecError, ValueCodec};
use millpond::store::{MemoryStore, StateStore};
use millpond::{Graph, GraphBuilder, TableOptions, Topic, TopicPartition};
use millpond_support::failing::{Picky, dead_lettering, dead_letters, record};
use millpond_support::records::{append, value_bytes};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const RECORDS: u64 = 10_000;
/// How often user code may see a record, on average. One epoch without failures: once.
const CALLS: u64 = 12;

/// Counts the values that it decodes.
struct Counting(Arc<AtomicU64>);

impl ValueCodec<u64> for Counting {
    fn id(&self) -> &'static str {
        "counting"
    }

    fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        Bincode.encode(value, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64, CodecError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        match Bincode.decode(bytes)? {
            667 => Err(CodecError::new("not this one")),
            value => Ok(value),
        }
    }
}

/// A changelog with the value `bad` at some offsets and 1 at all others.
fn log(partitions: u32, bad: u64, is_bad: fn(u64) -> bool) -> MemoryChangelog {
    let (log, events) = (MemoryChangelog::new(), Topic::<u32, u64>::new("events").partitions(partitions));
    log.create_topic("events", events.topic_config()).unwrap();
    for partition in 0..partitions {
        let of = |offset| record(offset, value_bytes(&events, if is_bad(offset) { &bad } else { &1 }));
        let records: Vec<Record> = (0..RECORDS / u64::from(partitions)).map(of).collect();
        for records in records.chunks(3000) {
            let partition = TopicPartition::new("events", partition);
            append(&log, partition, records.to_vec()).unwrap();
        }
    }
    log
}

/// Folds everything in one call and returns how often user code was called; checks counts and letters.
fn calls(
    graph: &Graph,
    counted: &AtomicU64,
    log: &MemoryChangelog,
    partitions: u32,
    is_bad: fn(u64) -> bool,
) -> u64 {
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let mut stepper = dead_lettering(graph, log, &store, 3);
    assert!(stepper.epoch(RECORDS as usize).unwrap());
    assert!(!stepper.epoch(RECORDS as usize).unwrap(), "one call takes what one epoch would");
    let bad = (0..RECORDS / u64::from(partitions)).filter(|&offset| is_bad(offset)).count() as u64;
    let stats = stepper.stats();
    assert_eq!(stats.dead_letters, bad * u64::from(partitions));
    assert_eq!(dead_letters(log).len() as u64, stats.dead_letters);
    let calls = counted.load(Ordering::Relaxed);
    println!("{calls} calls for {RECORDS} records, {bad} of them bad");
    calls
}

const PATTERNS: [fn(u64) -> bool; 4] = [
    |offset| offset % 100 == 57,
    |offset| offset % 4999 == 2500,
    |offset| (2_000..2_200).contains(&offset),
    |offset| offset * 2_654_435_761 % 1000 < 10,
];

#[test]
fn records_that_do_not_decode() {
    for is_bad in PATTERNS {
        let counted = Arc::new(AtomicU64::new(0));
        let graph = GraphBuilder::new();
        let events = Topic::<u32, u64>::with_codec("events", Counting(Arc::clone(&counted)));
        graph.stream(&events).group_by_key().count("counts");
        let calls = calls(&graph.build().unwrap(), &counted, &log(1, 667, is_bad), 1, is_bad);
        assert!(calls <= 2 * RECORDS, "{calls} calls: one run finds them all");
    }
}

#[test]
fn records_at_which_a_step_fails() {
    for (is_bad, partitions) in PATTERNS.into_iter().flat_map(|is_bad| [(is_bad, 1), (is_bad, 4)]) {
        let counted = Arc::new(AtomicU64::new(0));
        let graph = GraphBuilder::new();
        let counting = Arc::clone(&counted);
        let events = Topic::<u32, u64>::new("events").partitions(partitions);
        let stream = graph.stream(&events).map_values(move |_, value| {
            counting.fetch_add(1, Ordering::Relaxed);
            assert!(value != 666, "the number of the beast");
            value
        });
        stream.re_key(|key, _| key / 2).group_by_key().count("counts");
        let log = log(partitions, 666, is_bad);
        let calls = calls(&graph.build().unwrap(), &counted, &log, partitions, is_bad);
        assert!(calls <= CALLS * RECORDS, "{calls} calls");
    }
}

#[test]
fn records_at_which_a_fold_behind_an_exchange_fails() {
    for is_bad in PATTERNS {
        let counted = Arc::new(AtomicU64::new(0));
        let graph = GraphBuilder::new();
        let counting = Arc::clone(&counted);
        let stream = graph.stream(&Topic::<u32, u64>::new("events")).re_key(|key, _| key / 2);
        stream.group_by_key().fold(
            "sums",
            || 0,
            move |sum, _, value| {
                counting.fetch_add(1, Ordering::Relaxed);
                assert!(value != 666, "the number of the beast");
                *sum += value;
            },
        );
        let calls = calls(&graph.build().unwrap(), &counted, &log(1, 666, is_bad), 1, is_bad);
        assert!(calls <= CALLS * RECORDS, "{calls} calls");
    }
}

#[test]
fn records_that_leave_a_value_which_does_not_encode() {
    for is_bad in PATTERNS {
        let counted = Arc::new(AtomicU64::new(0));
        let graph = GraphBuilder::new();
        let counting = Arc::clone(&counted);
        let stream = graph.stream(&Topic::<u32, u64>::new("events")).inspect(move |_, _| {
            counting.fetch_add(1, Ordering::Relaxed);
        });
        // The greatest value stays, so that it also shows at later records of its key.
        stream.group_by_key().fold(
            TableOptions::with_codec("greatest", Picky),
            || 0,
            |greatest, _, value| *greatest = value.max(*greatest),
        );
        let calls = calls(&graph.build().unwrap(), &counted, &log(1, 666, is_bad), 1, is_bad);
        assert!(calls <= CALLS * RECORDS, "{calls} calls");
    }
}
