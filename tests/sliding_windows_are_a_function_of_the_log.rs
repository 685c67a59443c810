//! Which sliding windows there are, what is in them, when they are told and in which order is a function of the log: the same for every
//! way to cut epochs, every number of shards, every crash and rebuild, and however far partitions are apart.
//!
//! Method: random records of several partitions out of order, with equal and negative timestamps and some far ahead, keys shared between
//! partitions; finals are appended to a topic and kept in a table. Random epochs, drains, crashes and fresh states, on a log that is one
//! sequence and on one with gaps. The oracle takes one partition after the other: each record defines the window that ends with it and the
//! one that begins behind it, and is in each that has it, if its partition had not come to the close of that window; one that counts to none
//! defines none, and what is empty is not told.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog};
use millpond::store::MemoryStore;
use millpond::stream::Sliding;
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, StoredTable, TableOptions, Topic, Windowed};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::life::Life;
use millpond_support::random::Random;
use millpond_support::timed::{self, Appending, TimedRecord, any_log};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks")
}

/// Told once each: a window of a key, and what was in it.
fn told() -> Topic<Windowed<u8>, Vec<u64>> {
    Topic::new("told").partitions(1)
}

/// Differences and graces, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    difference: i64,
    grace: i64,
}

impl Times {
    fn windows(self) -> Sliding {
        let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        Sliding::of(ms(self.difference)).grace(ms(self.grace))
    }

    fn close_of(self, start: i64) -> i64 {
        start + self.difference + 1 + self.grace
    }
}

type Finals = Vec<(Windowed<u8>, Vec<u64>)>;

struct Case {
    graph: Graph,
    finals: StoredTable<Windowed<u8>, Vec<u64>>,
    least: StoredTable<Windowed<u8>, u64>,
    late: StoredTable<u8, Vec<u64>>,
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
    let closed = grouped.fold("windows", Vec::new, |all, _, number| list(all, number), merge).on_close();
    closed.to(&told());
    let finals = closed.group_by_key().fold("finals", Vec::new, |all, _, list| all.extend(list));
    let least = grouped.reduce("least", u64::min).on_close().to_table("final_least");
    let late = grouped.late().group_by_key().fold("late", Vec::new, |all, _, number| list(all, number));
    Case { graph: graph.build().unwrap(), finals, least, late }
}

#[derive(Debug, PartialEq)]
struct Expected {
    /// In the order in which they are told.
    finals: Finals,
    late: BTreeMap<u8, Vec<u64>>,
}

fn expected(log: &dyn Changelog, times: Times) -> Expected {
    let (all, watermark) = timed::read(log, &clicks()).unwrap();
    let counts = |record: &TimedRecord, start: i64| record.stream_time_ms < times.close_of(start);
    let mut windows: BTreeSet<(i64, u8)> = BTreeSet::new();
    let mut late = BTreeMap::<u8, Vec<u64>>::new();
    for record in &all {
        // The last window that could have it begins with it. What counts to none defines none.
        if !counts(record, record.timestamp_ms) {
            list(late.entry(record.key).or_default(), record.number);
            continue;
        }
        let defined = [record.timestamp_ms - times.difference, record.timestamp_ms + 1];
        windows.extend(
            defined.into_iter().filter(|start| counts(record, *start)).map(|start| (start, record.key)),
        );
    }
    let closed = windows.into_iter().filter(|(start, _)| times.close_of(*start) <= watermark);
    let contents = closed.map(|(start, key)| {
        let end = start + times.difference + 1;
        let within =
            all.iter().filter(|record| record.key == key && (start..end).contains(&record.timestamp_ms));
        let mut list: Vec<u64> =
            within.filter(|record| counts(record, start)).map(|record| record.number).collect();
        list.sort_unstable();
        (Windowed::new(start, end, key), list)
    });
    Expected { finals: contents.filter(|(_, list)| !list.is_empty()).collect(), late }
}

fn found(life: &mut Life<Case>) -> Expected {
    let (stepper, case) = life.fold_all();
    let late = stepper.view(&case.late).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let kept: Finals = stepper.view(&case.finals).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let least = stepper.view(&case.least).unwrap().scan().unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let records = timed::told(&*life.log, &told()).unwrap();
    assert!(records.iter().all(|(at, windowed, _)| *at == windowed.end_ms - 1));
    let finals: Finals = records.into_iter().map(|(_, windowed, list)| (windowed, list)).collect();
    assert_eq!(kept, finals, "each is told once, and kept as it was told");
    assert_eq!(least, kept.iter().map(|(windowed, list)| (*windowed, list[0])).collect::<Vec<_>>());
    Expected { finals, late }
}

#[test]
fn sliding_windows_are_a_function_of_the_log() {
    let seed = seed();
    let mut random = Random::new(seed);
    let mut closed = 0;
    for round in 0..rounds(40) {
        let log = any_log(&mut random, &clicks());
        let times = Times { difference: random.pick(&[0, 1, 10, 100]), grace: random.pick(&[0, 30, 250]) };
        let mut life = Life::new(log, move || {
            let case = case(times);
            (case.graph.clone(), case)
        });
        let mut appending = Appending::new(false, 25).with_keys(1 + random.below(6)).with_leaps(1_500);
        for _ in 0..160 {
            match random.below(14) {
                0 if random.below(40) == 0 => life.forget(),
                0..8 => life.step(&mut random),
                _ => appending.append(&*life.log, &clicks(), &mut random),
            }
        }
        let expected = expected(&*life.log, times);
        assert_eq!(found(&mut life), expected, "round {round}, {times:?}, seed {seed}");
        closed += expected.finals.len();
    }
    assert!(closed > 1_000, "windows close: {closed}");
}

#[test]
fn with_other_sliding_windows_it_is_another_table() {
    let (log, store): (Arc<MemoryChangelog>, Arc<MemoryStore>) = Default::default();
    let open = |difference, grace, version| {
        let graph = GraphBuilder::new();
        let counts = TableOptions::from("counts").version(version);
        let windows = Times { difference, grace }.windows();
        let _closed = graph.stream(&clicks()).group_by_key().windowed(windows).count(counts).on_close();
        Engine::builder(&graph.build().unwrap()).store(store.clone()).changelog(log.clone()).stepper()
    };
    drop(open(100, 10, 1).unwrap());
    refused(open(99, 10, 1), ErrorKind::Invalid, &["counts", "sliding(99 ms, grace 10 ms)", "version"]);
    drop(open(100, 10, 1).unwrap());
    open(100, 11, 2).unwrap();
}

#[test]
fn sliding_windows_that_never_end_are_refused() {
    let graph = GraphBuilder::new();
    let windows = Sliding::of(Duration::MAX).grace(Duration::ZERO);
    graph.stream(&clicks()).group_by_key().windowed(windows).count("counts");
    refused(graph.build(), ErrorKind::Invalid, &["shorter than all of time"]);
}
