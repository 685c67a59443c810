//! What `in_time_order` lets go, when and in which order, is a function of the log: the same for every way to cut epochs, every number
//! of shards, every crash and rebuild; and nothing behind it comes late.
//!
//! Method: random records of three partitions out of order, with equal and negative timestamps, of keys that the partitions share. What
//! is let go is appended to a topic and folded by another key in a way that does not commute, and counted by windows without a grace.
//! Random epochs, drains, crashes and fresh states, on a log that is one sequence and on one with gaps. The oracle sorts the records
//! that are not late, up to where all partitions have come.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog};
use millpond::store::MemoryStore;
use millpond::stream::Tumbling;
use millpond::{
    Engine, ErrorKind, Graph, GraphBuilder, StoredTable, TableOptions, Topic, TopicPartition, Windowed,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::life::Life;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use millpond_support::timed::{self, Appending, TimedRecord};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Short, so that windows end where the watermark stands.
const SIZE_MS: i64 = 3;

fn readings() -> Topic<u8, u64> {
    Topic::new("readings")
}

fn told() -> Topic<u8, u64> {
    Topic::new("told").partitions(1)
}

/// The key by which what is in order is folded: records of all partitions.
fn parity(value: u64) -> u8 {
    u8::try_from(value % 2).unwrap()
}

struct Case {
    graph: Graph,
    lists: StoredTable<u8, Vec<u64>>,
    finals: StoredTable<Windowed<u8>, u64>,
    late: StoredTable<u8, Vec<u64>>,
    late_behind: StoredTable<u8, u64>,
}

fn case(grace_ms: u64) -> Case {
    let graph = GraphBuilder::new();
    // By a key that the partitions share, so that they have to be brought together.
    let shared = graph.stream(&readings()).re_key(|key, _| key % 4);
    let ordered = shared.in_time_order("waiting", Duration::from_millis(grace_ms));
    ordered.to(&told());
    let by_parity = ordered.group_by(|_, value| parity(*value));
    let lists = by_parity.fold("lists", Vec::new, |list, _, value| list.push(value));
    let tumbling = Tumbling::of(Duration::from_millis(SIZE_MS as u64)).grace(Duration::ZERO);
    let windows = by_parity.windowed(tumbling);
    let finals = windows.count("counts").on_close().to_table("finals");
    let late_behind = windows.late().group_by_key().count("late_behind");
    let sorted = |list: &mut Vec<u64>, _: &u8, value| {
        list.push(value);
        list.sort_unstable();
    };
    let late = ordered.late().group_by_key().fold("late", Vec::new, sorted);
    Case { graph: graph.build().unwrap(), lists, finals, late, late_behind }
}

#[derive(Debug, Default, PartialEq)]
struct Expected {
    /// Times and values, in the order in which they are let go.
    told: Vec<(i64, u64)>,
    lists: BTreeMap<u8, Vec<u64>>,
    finals: BTreeMap<Windowed<u8>, u64>,
    late: BTreeMap<u8, Vec<u64>>,
    /// How many rows wait.
    waiting: u64,
}

fn expected(log: &dyn Changelog, grace_ms: i64) -> Expected {
    let (records, watermark) = timed::read(log, &readings()).unwrap();
    let mut expected = Expected::default();
    for TimedRecord { timestamp_ms, stream_time_ms, key, value, .. } in records {
        let (value, close) = (value.unwrap(), timestamp_ms + 1 + grace_ms);
        if stream_time_ms >= close {
            expected.late.entry(key % 4).or_default().push(value);
        } else if close <= watermark {
            expected.told.push((timestamp_ms, value));
        } else {
            expected.waiting += 1;
        }
    }
    // Values are numbered as they are appended.
    expected.told.sort_unstable();
    for list in expected.late.values_mut() {
        list.sort_unstable();
    }
    for &(timestamp_ms, value) in &expected.told {
        expected.lists.entry(parity(value)).or_default().push(value);
        let start = timestamp_ms.div_euclid(SIZE_MS) * SIZE_MS;
        if start + SIZE_MS <= watermark.saturating_sub(grace_ms) {
            *expected.finals.entry(Windowed::new(start, start + SIZE_MS, parity(value))).or_default() += 1;
        }
    }
    expected
}

fn found(life: &mut Life<Case>) -> Expected {
    let (stepper, case) = life.fold_all();
    let lists = stepper.view(&case.lists).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let finals = stepper.view(&case.finals).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let late = stepper.view(&case.late).unwrap().scan().unwrap().map(Result::unwrap).collect();
    assert_eq!(stepper.view(&case.late_behind).unwrap().count().unwrap(), 0, "nothing behind it is late");
    let waiting = stepper.stats().tables["waiting"].rows;
    let told = records::read(&*life.log, &TopicPartition::new("told", 0)).unwrap();
    let told =
        told.iter().map(|record| (record.timestamp_ms, told_value(record.value.as_ref().unwrap()))).collect();
    Expected { told, lists, finals, late, waiting }
}

fn told_value(bytes: &[u8]) -> u64 {
    told().codec().decode(bytes).unwrap()
}

#[test]
fn records_in_time_order_are_a_function_of_the_log() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    let mut most = 0;
    for round in 0..rounds(80) {
        let is_sequence = random.below(2) == 0;
        let log: Arc<dyn Changelog> =
            if is_sequence { Arc::new(MemoryChangelog::new()) } else { OwnLog::with_gaps(random.number()) };
        Appending::create(&*log, &readings());
        let grace_ms = random.pick(&[0, 5, 40, 300]);
        let mut life = Life::new(log, move || {
            let case = case(grace_ms);
            (case.graph.clone(), case)
        });
        let mut appending = Appending::new(false, random.pick(&[4, 40]));
        for _ in 0..150 {
            if random.below(14) < 8 {
                life.step(&mut random);
            } else {
                appending.append(&*life.log.clone(), &readings(), &mut random);
            }
        }
        let mut expected = expected(&*life.log, i64::try_from(grace_ms).unwrap());
        let mut found = found(&mut life);
        most = most.max(found.told.len());
        if !is_sequence {
            // How records of one time and of several partitions follow each other is decided where epochs are cut, and marked.
            assert!(found.told.is_sorted_by_key(|(timestamp_ms, _)| *timestamp_ms), "round {round}");
            let in_told = |key| found.told.iter().map(|told| told.1).filter(move |told| parity(*told) == key);
            for (key, list) in &found.lists {
                assert!(in_told(*key).eq(list.iter().copied()), "round {round}: the same order everywhere");
            }
            found.told.sort_unstable();
            for list in found.lists.values_mut().chain(expected.lists.values_mut()) {
                list.sort_unstable();
            }
        }
        assert_eq!(found, expected, "round {round}");
    }
    assert!(most > 100, "records are let go: {most}");
}

/// Where keys are those of one partition, how records of a key follow each other is a function of the log, whatever log it is.
#[test]
fn keys_of_one_partition_keep_the_order_of_equal_times() {
    let mut random = Random::new(seed());
    for round in 0..rounds(20) {
        let log: Arc<dyn Changelog> = OwnLog::with_gaps(random.number());
        Appending::create(&*log, &readings());
        let mut life = Life::new(log, || {
            let graph = GraphBuilder::new();
            let ordered = graph.stream(&readings()).in_time_order("waiting", Duration::from_millis(20));
            let lists = ordered.group_by_key().fold("lists", Vec::new, |list, _, value| list.push(value));
            (graph.build().unwrap(), lists)
        });
        let mut appending = Appending::new(true, 3);
        for _ in 0..100 {
            life.step(&mut random);
            appending.append(&*life.log.clone(), &readings(), &mut random);
        }
        let (records, watermark) = timed::read(&*life.log, &readings()).unwrap();
        let mut expected: BTreeMap<u8, Vec<(i64, u64)>> = BTreeMap::new();
        for record in records {
            let close = record.timestamp_ms + 21;
            if record.stream_time_ms < close && close <= watermark {
                let list = expected.entry(record.key).or_default();
                list.push((record.timestamp_ms, record.value.unwrap()));
            }
        }
        for list in expected.values_mut() {
            list.sort_unstable();
        }
        let (stepper, lists) = life.fold_all();
        let found: BTreeMap<u8, Vec<u64>> =
            stepper.view(lists).unwrap().scan().unwrap().map(Result::unwrap).collect();
        let expected: BTreeMap<u8, Vec<u64>> = expected
            .into_iter()
            .map(|(key, list)| (key, list.iter().map(|(_, value)| *value).collect()))
            .collect();
        assert_eq!(found, expected, "round {round}");
    }
}

#[test]
fn with_another_grace_it_is_another_table() {
    let (log, store): (Arc<MemoryChangelog>, Arc<MemoryStore>) = Default::default();
    let open = |grace_ms, version| {
        let graph = GraphBuilder::new();
        let waiting = TableOptions::from("waiting").version(version);
        graph.stream(&readings()).in_time_order(waiting, Duration::from_millis(grace_ms)).to(&told());
        Engine::builder(&graph.build().unwrap()).store(store.clone()).changelog(log.clone()).stepper()
    };
    drop(open(10, 1).unwrap());
    refused(open(11, 1), ErrorKind::Invalid, &["waiting", "in_time_order(grace 10 ms)", "version"]);
    open(11, 2).unwrap();
}
