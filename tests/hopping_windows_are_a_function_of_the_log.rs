//! What is in a hopping window, when it is told and in which order is a function of the log, though a record is folded into one slice of
//! time only and windows are put together of slices and of what the windows before them left: the same for every way to cut epochs,
//! every number of shards, every crash and rebuild, and however far partitions are apart.
//!
//! Method: random records of several partitions out of order, with equal and negative timestamps and some far ahead, keys shared between
//! partitions; finals are appended to a topic and kept in a table. Random epochs, drains, crashes and fresh states, on a log that is one
//! sequence and on one with gaps; sizes and hops with many, few and no common divisors. The oracle folds one partition after the other into
//! every window: a record counts to it if its partition had not come to the close of the window. The same windows are compared as a
//! table with updates, and as they are asked for while they are open.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::prelude::*;
use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::store::MemoryStore;
use millpond::stream::{Hopping, HoppingTable};
use millpond::{
    Engine, ErrorKind, FailurePolicy, Graph, GraphBuilder, StoredTable, TableOptions, Topic, TopicPartition,
    Windowed,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::life::Life;
use millpond_support::random::Random;
use millpond_support::records;
use millpond_support::timed::{self, Appending, PARTITIONS, TimedRecord, any_log};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
    windows: HoppingTable<u8, u64, Vec<u64>>,
    most: HoppingTable<u8, u64, u64>,
    all: StoredTable<Windowed<u8>, Vec<u64>>,
    finals: StoredTable<Windowed<u8>, Vec<u64>>,
    final_counts: StoredTable<Windowed<u8>, u64>,
    late: StoredTable<u8, Vec<u64>>,
}

/// Sizes, hops and graces, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    size: i64,
    hop: i64,
    grace: i64,
}

impl Times {
    fn windows(self) -> Hopping {
        let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        Hopping::of(ms(self.size)).every(ms(self.hop)).grace(ms(self.grace))
    }
}

fn list(list: &mut Vec<u64>, number: u64) {
    list.push(number);
    list.sort_unstable();
}

fn case(times: Times) -> Case {
    let graph = GraphBuilder::new();
    let grouped = graph.stream(&clicks()).group_by_key().windowed(times.windows());
    let merge = |one: &mut Vec<u64>, other: Vec<u64>| {
        one.extend(other);
        one.sort_unstable();
    };
    let windows = grouped.fold("windows", Vec::new, |all, _, number| list(all, number), merge);
    let most = grouped.reduce("most", u64::max);
    let closed = windows.on_close();
    closed.to(&told());
    let finals = closed.group_by_key().fold("finals", Vec::new, |all, _, list| all.extend(list));
    let counts = grouped.count("counts");
    let final_counts = counts.on_close().to_table("final_counts");
    let late = grouped.late().group_by_key().fold("late", Vec::new, |all, _, number| list(all, number));
    let all = windows.table("all");
    Case { graph: graph.build().unwrap(), windows, most, all, finals, final_counts, late }
}

/// What must be there once everything is folded.
#[derive(Debug, PartialEq)]
struct Expected {
    watermark: i64,
    all: Rows,
    /// In the order in which they are told.
    finals: Vec<(Windowed<u8>, Vec<u64>)>,
    late: BTreeMap<u8, Vec<u64>>,
}

fn expected(log: &dyn Changelog, Times { size, hop, grace }: Times) -> Expected {
    let (records, watermark) = timed::read(log, &clicks()).unwrap();
    let (mut all, mut late) = (Rows::new(), BTreeMap::<u8, Vec<u64>>::new());
    for TimedRecord { timestamp_ms: at, stream_time_ms, key, number, .. } in records {
        let mut counts = false;
        let mut start = at.div_euclid(hop) * hop;
        while start + size > at {
            if stream_time_ms < start + size + grace {
                counts = true;
                list(all.entry(Windowed::new(start, start + size, key)).or_default(), number);
            }
            start -= hop;
        }
        if !counts {
            list(late.entry(key).or_default(), number);
        }
    }
    let is_closed = |(windowed, _): &(&Windowed<u8>, _)| windowed.end_ms.saturating_add(grace) <= watermark;
    let finals = all.iter().filter(is_closed).map(|(windowed, list)| (*windowed, list.clone())).collect();
    Expected { watermark, all, finals, late }
}

fn life(log: Arc<dyn Changelog>, times: Times) -> Life<Case> {
    Life::new(log, move || {
        let case = case(times);
        (case.graph.clone(), case)
    })
}

fn found(life: &mut Life<Case>, watermark: i64) -> Expected {
    let (stepper, case) = life.fold_all();
    let all: Rows = stepper.view(&case.all).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let late = stepper.view(&case.late).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let kept: Rows = stepper.view(&case.finals).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let counts = stepper.view(&case.final_counts).unwrap();
    let counts: BTreeMap<_, _> = counts.scan().unwrap().map(Result::unwrap).collect();
    let records = timed::told(&*life.log, &told()).unwrap();
    assert!(records.iter().all(|(at, windowed, _)| *at == windowed.end_ms - 1));
    let finals: Vec<_> = records.into_iter().map(|(_, windowed, list)| (windowed, list)).collect();
    assert_eq!(kept, finals.iter().cloned().collect(), "each is told once, and kept as it was told");
    assert_eq!(counts, kept.iter().map(|(windowed, list)| (*windowed, list.len() as u64)).collect());
    Expected { watermark, all, finals, late }
}

/// Windows as they are asked for, closed or not.
fn asked(life: &mut Life<Case>, times: Times, expected: &Expected, random: &mut Random) {
    let (stepper, case) = life.alive();
    let windows = case.windows.windows_of(&stepper.view(&case.windows).unwrap());
    let most = case.most.windows_of(&stepper.view(&case.most).unwrap().snapshot().unwrap());
    assert_eq!(windows.watermark().unwrap().unwrap_or(i64::MIN), expected.watermark);
    let rows = |is_wanted: &dyn Fn(&Windowed<u8>) -> bool| -> Rows {
        let rows = expected.all.iter().filter(|(windowed, _)| is_wanted(windowed));
        rows.map(|(windowed, list)| (*windowed, list.clone())).collect()
    };
    for key in 0..8 {
        let of_key = rows(&|windowed| windowed.key == key);
        let all: Rows = windows.windows(&key, ..).unwrap().map(Result::unwrap).collect();
        assert_eq!(all, of_key, "key {key}");
        let back: Rows = windows.windows(&key, ..).unwrap().rev().map(Result::unwrap).collect();
        assert_eq!(back, of_key);
        let greatest: Vec<_> = most.windows(&key, ..).unwrap().map(|row| row.unwrap().1).collect();
        assert_eq!(greatest, of_key.values().map(|list| *list.last().unwrap()).collect::<Vec<_>>());
        let last = of_key.last_key_value().map(|(windowed, list)| (*windowed, list.clone()));
        assert_eq!(windows.latest(&key).unwrap(), last);
        let open: Rows = windows.open(&key).unwrap().map(Result::unwrap).collect();
        let is_open = |windowed: &Windowed<u8>| windowed.end_ms + times.grace > expected.watermark;
        assert_eq!(open, rows(&|windowed| windowed.key == key && is_open(windowed)), "key {key}, open");
        let starts: Vec<i64> = of_key.keys().map(|windowed| windowed.start_ms).collect();
        if starts.is_empty() {
            continue;
        }
        let start = random.pick(&starts);
        assert_eq!(
            windows.get(&key, start).unwrap().as_ref(),
            of_key.get(&Windowed::new(start, start + times.size, key))
        );
        let before: Rows = windows.windows(&key, ..start).unwrap().map(Result::unwrap).collect();
        assert_eq!(before, rows(&|windowed| windowed.key == key && windowed.start_ms < start));
        let at: Rows = windows.at(start + times.hop - 1).unwrap().map(Result::unwrap).collect();
        assert_eq!(at, rows(&|windowed| windowed.start_ms == start));
    }
}

#[test]
fn hopping_windows_are_a_function_of_the_log() {
    let seed = seed();
    let mut random = Random::new(seed);
    let mut closed = 0;
    for round in 0..rounds(25) {
        let log = any_log(&mut random, &clicks());
        let (size, hop) =
            random.pick(&[(100, 100), (100, 50), (100, 30), (240, 10), (240, 40), (60, 7), (300, 70)]);
        let times = Times { size, hop, grace: random.pick(&[0, 30, 250]) };
        let mut life = life(log, times);
        let mut appending = Appending::new(false, 40).with_keys(1 + random.below(8)).with_leaps(1_500);
        for _ in 0..160 {
            match random.below(14) {
                0 if random.below(40) == 0 => life.forget(),
                0..8 => life.step(&mut random),
                _ => appending.append(&*life.log, &clicks(), &mut random),
            }
        }
        let expected = expected(&*life.log, times);
        assert_eq!(found(&mut life, expected.watermark), expected, "round {round}, {times:?}, seed {seed}");
        asked(&mut life, times, &expected, &mut random);
        closed += expected.finals.len();
    }
    assert!(closed > 300, "windows close: {closed}");
}

/// Epochs of few records and of many, one after the other, of a window that is made of a thousand slices.
#[test]
fn a_window_of_many_slices_is_what_it_is_made_of() {
    let mut random = Random::new(seed());
    let times = Times { size: 1_000, hop: 1, grace: 20 };
    let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
    log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
    let mut life = life(log, times);
    for number in 0..400 {
        let at = i64::try_from(number * 7 + random.below(60)).unwrap();
        let partition = records::partition(&clicks(), u32::try_from(number % 3).unwrap());
        let key = u8::try_from(random.below(2)).unwrap();
        records::append(&*life.log, partition, vec![records::record(&clicks(), &key, Some(&number)).at(at)])
            .unwrap();
        if random.below(3) == 0 {
            life.step(&mut random);
        }
    }
    let expected = expected(&*life.log, times);
    assert_eq!(found(&mut life, expected.watermark), expected);
    assert!(expected.finals.len() > 1_000);
}

/// What is carried from window to window goes with the last of them.
#[test]
fn nothing_is_under_way_once_all_windows_are_closed() {
    let (mut random, mut fronts) = (Random::new(seed()), 0);
    for _ in 0..rounds(5).max(5) {
        let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
        log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
        let mut life = life(log, Times { size: 240, hop: 10, grace: 20 });
        let put = |life: &mut Life<Case>, partition, key: u8, at: i64| {
            let record = records::record(&clicks(), &key, Some(&1)).at(at);
            records::append(&*life.log, records::partition(&clicks(), partition), vec![record]).unwrap();
        };
        for number in 0..300_u32 {
            let at = i64::from(number) * 4 - i64::try_from(random.below(60)).unwrap();
            put(&mut life, number % PARTITIONS, u8::try_from(random.below(2)).unwrap(), at);
            life.step(&mut random);
            fronts += life.alive().0.stats().tables["windows.fronts"].rows;
        }
        (0..PARTITIONS).for_each(|partition| put(&mut life, partition, 9, 1_000_000));
        let stats = life.fold_all().0.stats();
        assert_eq!(stats.tables["windows.fronts"].rows, 0);
        assert_eq!(stats.tables["windows.open"].rows, 1, "of the last record");
    }
    assert!(fronts > 0, "some were carried");
}

/// Code that merges where a window closes can fail as any code of the user's. No record is to blame: none is left out.
#[test]
fn code_that_fails_where_a_hopping_window_closes_stops_the_engine_and_loses_nothing() {
    let log = Arc::new(MemoryChangelog::new());
    log.create_topic("clicks", &TopicConfig::default()).unwrap();
    let case = |fails: bool| {
        let graph = GraphBuilder::new();
        let windows = Times { size: 100, hop: 50, grace: 0 }.windows();
        let merge = move |sum: &mut u64, other| {
            assert!(!fails, "bad luck");
            *sum += other;
        };
        let sums = graph.stream(&clicks()).group_by_key().windowed(windows);
        let sums = sums.fold("sums", || 0, |sum, _, number| *sum += number, merge);
        let finals = sums.on_close().to_table("finals");
        (graph.build().unwrap(), finals)
    };
    let store: Arc<MemoryStore> = Arc::default();
    let open = |graph: &Graph| {
        let builder = Engine::builder(graph).store(store.clone()).changelog(log.clone());
        builder.on_failure(FailurePolicy::DeadLetter("letters".into())).stepper().unwrap()
    };
    for (number, at) in [(1, 10), (2, 60), (4, 150)] {
        let record = records::record(&clicks(), &7, Some(&number)).at(at);
        records::append(&*log, records::partition(&clicks(), 0), vec![record]).unwrap();
    }
    let mut stepper = open(&case(true).0);
    let error = loop {
        if let Err(error) = stepper.epoch(10) {
            break error;
        }
    };
    let told = error.to_string();
    assert_eq!(error.kind(), ErrorKind::User, "{told}");
    assert!(told.contains("bad luck") && told.contains("no record is to blame"), "{told}");
    drop(stepper);
    let (graph, finals) = case(false);
    let mut stepper = open(&graph);
    while stepper.epoch(10).unwrap() {}
    let rows: Vec<_> = stepper.view(&finals).unwrap().scan().unwrap().map(Result::unwrap).collect();
    assert_eq!(
        rows,
        [(Windowed::new(-50, 50, 7), 1), (Windowed::new(0, 100, 7), 3), (Windowed::new(50, 150, 7), 2)]
    );
    assert_eq!(log.offsets(&TopicPartition::new("letters", 0)).unwrap().end, 0);
}

#[test]
fn hopping_windows_that_cannot_be_are_refused() {
    let refuse = |size, hop, why: &str| {
        let graph = GraphBuilder::new();
        let windows =
            Hopping::of(Duration::from_micros(size)).every(Duration::from_micros(hop)).grace(Duration::ZERO);
        graph.stream(&clicks()).group_by_key().windowed(windows).count("counts");
        refused(graph.build(), ErrorKind::Invalid, &[why]);
    };
    refuse(999, 1_000, "at least a millisecond");
    refuse(1_000, 999, "at least a millisecond");
    refuse(1_000, 2_000, "no longer than a window");
    refuse(3_600_001_000, 7_000, "common divisor");
}

#[test]
fn with_other_hopping_windows_it_is_another_table() {
    let (log, store): (Arc<MemoryChangelog>, Arc<MemoryStore>) = Default::default();
    let open = |size, hop, grace, version| {
        let graph = GraphBuilder::new();
        let counts = TableOptions::from("counts").version(version);
        let windows = Times { size, hop, grace }.windows();
        let _closed = graph.stream(&clicks()).group_by_key().windowed(windows).count(counts).on_close();
        Engine::builder(&graph.build().unwrap()).store(store.clone()).changelog(log.clone()).stepper()
    };
    drop(open(100, 50, 10, 1).unwrap());
    refused(
        open(100, 25, 10, 1),
        ErrorKind::Invalid,
        &["counts", "hopping(100 ms every 25 ms, grace 10 ms)"],
    );
    refused(open(100, 50, 11, 1), ErrorKind::Invalid, &["counts", "version"]);
    drop(open(100, 50, 10, 1).unwrap());
    open(100, 50, 11, 2).unwrap();
}
