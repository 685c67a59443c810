//! What is in a window, when it is told and in which order is a function of the log: the same for every way to cut epochs, every number
//! of shards, every crash and rebuild, and however far partitions are apart.
//!
//! Method: random records of several partitions out of order, with equal and negative timestamps and some far ahead; finals are
//! appended to a topic and kept in a table. Random epochs, drains, crashes and fresh states, on a log that is one sequence and on one
//! with gaps. The oracle folds one partition after the other: a record counts if its partition had not come to the close of its
//! window, and a window is closed once all partitions have come to its close.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::prelude::*;
use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::store::MemoryStore;
use millpond::stream::Tumbling;
use millpond::{
    Engine, ErrorKind, FailurePolicy, Graph, GraphBuilder, StoredTable, TableOptions, Topic, TopicPartition,
    Windowed,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::life::Life;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use millpond_support::timed::{self, Appending, TimedRecord, any_log};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const SIZE_MS: i64 = 100;

fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks")
}

/// Told once each: a window of a key, and what was in it.
fn told() -> Topic<Windowed<u8>, Vec<u64>> {
    Topic::new("told").partitions(1)
}

type Rows = BTreeMap<Windowed<u8>, Vec<u64>>;

struct Case {
    graph: Graph,
    all: StoredTable<Windowed<u8>, Vec<u64>>,
    finals: StoredTable<Windowed<u8>, Vec<u64>>,
    late: StoredTable<u8, Vec<u64>>,
}

fn case(grace_ms: u64) -> Case {
    let graph = GraphBuilder::new();
    let tumbling = Tumbling::of(Duration::from_millis(SIZE_MS as u64)).grace(Duration::from_millis(grace_ms));
    let windows = graph.stream(&clicks()).group_by_key().windowed(tumbling);
    let list = |list: &mut Vec<u64>, _: &u8, number| {
        list.push(number);
        list.sort_unstable();
    };
    let all = windows.fold("all", Vec::new, list);
    let closed = all.on_close();
    closed.to(&told());
    let finals = closed.group_by_key().fold("finals", Vec::new, |all, _, list| all.extend(list));
    let late = windows.late().group_by_key().fold("late", Vec::new, list);
    let all = all.table().clone();
    Case { graph: graph.build().unwrap(), all, finals, late }
}

/// What must be there once everything is folded.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    all: Rows,
    /// In the order in which they are told.
    finals: Vec<(Windowed<u8>, Vec<u64>)>,
    late: BTreeMap<u8, Vec<u64>>,
}

fn expected(log: &dyn Changelog, grace_ms: i64) -> Expected {
    let mut expected = Expected::default();
    let (records, watermark) = timed::read(log, &clicks()).unwrap();
    for TimedRecord { timestamp_ms, stream_time_ms, key, number, .. } in records {
        let start = timestamp_ms.div_euclid(SIZE_MS) * SIZE_MS;
        let windowed = Windowed::new(start, start + SIZE_MS, key);
        if stream_time_ms < windowed.end_ms.saturating_add(grace_ms) {
            expected.all.entry(windowed).or_default().push(number);
        } else {
            expected.late.entry(key).or_default().push(number);
        }
    }
    expected.all.values_mut().chain(expected.late.values_mut()).for_each(|list| list.sort_unstable());
    let is_closed =
        |(windowed, _): &(&Windowed<u8>, _)| windowed.end_ms.saturating_add(grace_ms) <= watermark;
    let finals = expected.all.iter().filter(is_closed).map(|(windowed, list)| (*windowed, list.clone()));
    expected.finals = finals.collect();
    expected
}

fn life(log: Arc<dyn Changelog>, grace_ms: u64) -> Life<Case> {
    Life::new(log, move || {
        let case = case(grace_ms);
        (case.graph.clone(), case)
    })
}

fn found(life: &mut Life<Case>) -> Expected {
    let (stepper, case) = life.fold_all();
    let all = stepper.view(&case.all).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let late = stepper.view(&case.late).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let kept: Rows = stepper.view(&case.finals).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let records = timed::told(&*life.log, &told()).unwrap();
    assert!(records.iter().all(|(at, windowed, _)| *at == windowed.end_ms - 1));
    let finals: Vec<_> = records.into_iter().map(|(_, windowed, list)| (windowed, list)).collect();
    assert_eq!(kept, finals.iter().cloned().collect(), "each is told once, and kept as it was told");
    Expected { all, finals, late }
}

#[test]
fn windows_are_a_function_of_the_log() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    let mut closed = BTreeSet::new();
    for round in 0..rounds(80) {
        let log = any_log(&mut random, &clicks());
        let grace_ms = random.pick(&[0, 30, 250]);
        let mut life = life(log, grace_ms);
        // The keys of a partition are its own.
        let mut appending = Appending::new(true, 40);
        for _ in 0..200 {
            if random.below(14) < 8 {
                life.step(&mut random);
            } else {
                appending.append(&*life.log, &clicks(), &mut random);
            }
        }
        let expected = expected(&*life.log, i64::try_from(grace_ms).unwrap());
        assert_eq!(found(&mut life), expected, "round {round}");
        closed.insert(expected.finals.len());
    }
    assert!(closed.last() > Some(&20), "windows close");
}

#[test]
fn windows_without_a_size_are_refused() {
    let graph = GraphBuilder::new();
    let tumbling = Tumbling::of(Duration::from_micros(999)).grace(Duration::ZERO);
    graph.stream(&clicks()).group_by_key().windowed(tumbling).count("counts");
    refused(graph.build(), ErrorKind::Invalid, &["at least a millisecond"]);
}

#[test]
fn with_other_windows_it_is_another_table() {
    let (log, store): (Arc<MemoryChangelog>, Arc<MemoryStore>) = Default::default();
    let open = |grace_ms, size_ms, version| {
        let graph = GraphBuilder::new();
        let tumbling = Tumbling::of(Duration::from_millis(size_ms)).grace(Duration::from_millis(grace_ms));
        let counts = TableOptions::from("counts").version(version);
        graph.stream(&clicks()).group_by_key().windowed(tumbling).count(counts);
        Engine::builder(&graph.build().unwrap()).store(store.clone()).changelog(log.clone()).stepper()
    };
    drop(open(10, 100, 1).unwrap());
    refused(open(10, 101, 1), ErrorKind::Invalid, &["counts", "tumbling(100 ms, grace 10 ms)", "version"]);
    refused(open(11, 100, 1), ErrorKind::Invalid, &["counts", "version"]);
    drop(open(10, 100, 1).unwrap());
    open(11, 100, 2).unwrap();
}

/// A partition that is added has shown nothing, and would take time back: what was told would be told again. It begins where its
/// topic stands.
#[test]
fn what_is_final_stays_final_where_partitions_are_added() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    let mut closed = 0;
    for round in 0..rounds(60) {
        let log = OwnLog::with_gaps(random.number());
        log.create_topic("clicks", &TopicConfig::default().partitions(1)).unwrap();
        let mut life = life(log.clone(), 30);
        let mut reached = vec![0_i64];
        for number in 0..150 {
            match random.below(14) {
                0 if reached.len() < 4 && random.below(3) == 0 => {
                    reached.push(reached[0] - i64::try_from(random.below(500)).unwrap());
                    log.grow("clicks", u32::try_from(reached.len()).unwrap());
                }
                0..8 => life.step(&mut random),
                _ => {
                    let partition = random.index(reached.len());
                    let id = records::partition(&clicks(), u32::try_from(partition).unwrap());
                    reached[partition] += i64::try_from(random.below(90)).unwrap();
                    let key = u8::try_from(random.below(3) * 4 + partition as u64).unwrap();
                    let record = records::record(&clicks(), &key, Some(&number)).at(reached[partition]);
                    records::append(&*life.log, id, vec![record]).unwrap();
                }
            }
        }
        let Expected { all, finals, .. } = found(&mut life);
        let told: BTreeMap<_, _> = finals.iter().cloned().collect();
        assert_eq!(told.len(), finals.len(), "round {round}: each is told once");
        for (windowed, list) in &told {
            assert_eq!(all.get(windowed), Some(list), "round {round}: {windowed:?} was final");
        }
        // They close in order, so that nothing that is closed was passed over.
        let last = told.keys().map(|windowed| windowed.end_ms).max().unwrap_or(i64::MIN);
        let missed = all.keys().find(|windowed| windowed.end_ms <= last && !told.contains_key(windowed));
        assert_eq!(missed, None, "round {round}: it is closed, and was not told");
        closed += finals.len();
    }
    assert!(closed > 100, "windows close: {closed}");
}

/// What is made where a window closes can fail as any code of the user's. No record is to blame: none is left out.
#[test]
fn code_that_fails_where_a_window_closes_stops_the_engine_and_loses_nothing() {
    let log = Arc::new(MemoryChangelog::new());
    log.create_topic("clicks", &TopicConfig::default()).unwrap();
    let case = |fails: bool| {
        let graph = GraphBuilder::new();
        let tumbling = Tumbling::of(Duration::from_millis(100)).grace(Duration::ZERO);
        let counts = graph.stream(&clicks()).group_by_key().windowed(tumbling).count("counts");
        let finals =
            counts.on_close().try_map_values(move |_, count| if fails { Err("bad luck") } else { Ok(count) });
        let finals = finals.to_table("finals");
        (graph.build().unwrap(), finals)
    };
    let store: Arc<MemoryStore> = Arc::default();
    let open = |graph: &Graph| {
        let builder = Engine::builder(graph).store(store.clone()).changelog(log.clone());
        builder.on_failure(FailurePolicy::Stop).stepper().unwrap()
    };
    for (number, at) in [(1, 10), (2, 60), (3, 150)] {
        let record = records::record(&clicks(), &7, Some(&number)).at(at);
        records::append(&*log, records::partition(&clicks(), 0), vec![record]).unwrap();
    }
    let mut stepper = open(&case(true).0);
    let error = loop {
        match stepper.epoch(10) {
            Ok(more) => assert!(more, "it has not failed"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::User);
    let told = error.to_string();
    assert!(
        told.contains("bad luck") && told.contains("closed") && told.contains("no record is to blame"),
        "{told}"
    );
    drop(stepper);
    let (graph, finals) = case(false);
    let mut stepper = open(&graph);
    while stepper.epoch(10).unwrap() {}
    let rows: Vec<_> = stepper.view(&finals).unwrap().scan().unwrap().map(Result::unwrap).collect();
    assert_eq!(rows, [(Windowed::new(0, 100, 7), 2)]);
}

/// The first bytes of integers of eight bytes are all alike, and so are those of many texts: what closes together was once told in the
/// order of a hash.
#[test]
fn what_closes_together_is_told_in_the_order_of_keys_however_they_begin() {
    let log = Arc::new(MemoryChangelog::new());
    let (visits, told) = (Topic::<(String, u64), u64>::new("visits"), Topic::new("told").partitions(1));
    let graph = GraphBuilder::new();
    let tumbling = Tumbling::of(Duration::from_millis(100)).grace(Duration::ZERO);
    let counts = graph.stream(&visits).group_by_key().windowed(tumbling).count("counts");
    counts.on_close().to(&told);
    let builder = Engine::builder(&graph.build().unwrap()).in_memory().changelog(log.clone());
    let mut stepper = builder.shards(3).stepper().unwrap();
    let keys: Vec<(String, u64)> =
        (0..40).map(|number| (format!("a visitor of {}", number % 3), number * number % 41)).collect();
    let records = keys.iter().map(|key| records::record(&visits, key, Some(&1)).at(10));
    let last = records::record(&visits, &keys[0], Some(&1)).at(200);
    records::append(&*log, records::partition(&visits, 0), records.chain([last]).collect()).unwrap();
    while stepper.epoch(7).unwrap() {}
    let told = records::read(&*log, &TopicPartition::new("told", 0)).unwrap();
    let found: Vec<_> = told.iter().map(|record| record.key.clone().unwrap()).collect();
    let distinct: BTreeSet<_> = keys.into_iter().collect();
    assert_eq!(found.len(), distinct.len());
    assert!(found.is_sorted(), "{found:?}");
}
