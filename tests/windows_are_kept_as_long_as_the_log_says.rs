//! Which rows of windows a table has is a function of the log, also of those that it forgets: the same for every way to cut epochs, every
//! number of shards, every crash, drain, compaction and rebuild, and for every way to ask.
//!
//! Property: at each position a table that keeps its windows for so long has exactly the rows of those that begin no earlier than the
//! window of the watermark, less the grace, less that. What is forgotten does not come back, a snapshot goes on showing what it showed,
//! nobody is told that anything was forgotten, and nothing that derives from the table misses it. Space and memory are given back.
//!
//! Method: random records of several partitions, out of order and some far ahead; random epochs, drains, compactions, crashes, fresh
//! states and raised versions, with snapshots and readers that are held meanwhile, on RocksDB and in memory. The oracle folds what is below
//! the position, one partition after the other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod kept;

use kept::{Expected, Held, Lives, PARTITIONS, SIZE_MS, Seen, any_log, append, case, check_view, clicks, ms};
use millpond::changelog::prelude::*;
use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::store::MemoryStore;
use millpond::stream::{Calendar, Tumbling};
use millpond::testing::Driver;
use millpond::{Engine, ErrorKind, GraphBuilder, Topic, Windowed};
use millpond_support::any_store::AnyStore;
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::random::Random;
use millpond_support::records;
use millpond_support::waiting::resolves_at_once;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn windows_are_kept_as_long_as_the_log_says() {
    let mut random = Random::new(seed());
    let mut seen = Seen::default();
    for round in 0..rounds(16) {
        let mut lives = Lives::new(&mut random, seen);
        let mut reached = [0_i64, -200, 350];
        for step in 0..220 {
            let what = format!("round {round}, step {step}");
            match random.below(30) {
                0 => drop(lives.stepper().drain().unwrap()),
                1 => {
                    lives.stepper().drain().unwrap();
                    lives.medium.compact();
                }
                2 => lives.crash(&mut random),
                3 => lives.read_beside(&mut random, &what),
                4..18 => drop(lives.stepper().epoch(1 + random.index(9)).unwrap()),
                _ => append(&*lives.log, &mut random, &mut reached, step),
            }
            lives.look(&mut random, &what);
        }
        lives.check_the_end(&format!("round {round}, the end"));
        seen = lives.seen;
    }
    assert!(seen.forgotten > 1_000 && seen.kept > 1_000 && seen.builds > 0 && seen.readers > 0, "{seen:?}");
}

/// Whoever keeps rows for less long loses them at once, and whoever keeps them for longer gets none back.
#[test]
fn what_was_forgotten_stays_so_whatever_is_said_later() {
    let seed = seed();
    let mut random = Random::new(seed);
    let (mut raised, mut lasted) = (0, 0);
    for round in 0..rounds(20) {
        let log = any_log(&mut random);
        let mut medium = AnyStore::any(&mut random);
        let mut reached = [0_i64, -200, 350];
        let mut durable = i64::MIN;
        for life in 0..10 {
            let keep = random.pick(&[None, Some(0), Some(200), Some(600), Some(2_000)]);
            let case = case(keep, 0);
            let mut stepper = medium.stepper(&case.graph, &log, 1 + random.index(3));
            let view = stepper.view(&case.all).unwrap();
            let mut first = durable;
            for step in 0..24 {
                let what = format!("round {round}, life {life}, step {step}, keep {keep:?}");
                let rows = view.snapshot().unwrap();
                let expected = Expected::at(&*log, rows.position());
                let computed = expected.first_kept(keep);
                raised += usize::from(step == 0 && computed > first);
                lasted += usize::from(computed < first);
                first = first.max(computed);
                if step == 0 {
                    // What is forgotten by opening is noted at once.
                    durable = first;
                }
                let now = Held { rows, all: expected.all, first };
                now.check(&what);
                check_view(&view, &now, &what);
                match random.below(10) {
                    0 | 1 => {
                        stepper.drain().unwrap();
                        durable = first;
                        if random.below(3) == 0 {
                            medium.compact();
                        }
                    }
                    2..5 => drop(stepper.epoch(1 + random.index(9)).unwrap()),
                    _ => append(&*log, &mut random, &mut reached, life * 100 + step),
                }
                // The next look is one epoch later at the most.
                first = first.max(Expected::at(&*log, &stepper.position()).first_kept(keep));
            }
        }
        if let Some(dir) = medium.dir.take() {
            drop(medium);
            drop(dir);
        }
    }
    assert!(raised > 0 && lasted > 0, "{raised} {lasted}");
}

/// What is left where rows of many windows came and went.
struct Left {
    directory_bytes: u64,
    most_bytes: u64,
    hot_entries: usize,
    rows: u64,
}

/// Runs through `windows` windows of `keys` keys each, and keeps four.
fn run_through(medium: &AnyStore, keep: bool, windows: i64, keys: u32) -> Left {
    let visits = Topic::<u32, Vec<u64>>::new("visits").partitions(1);
    let graph = GraphBuilder::new();
    let tumbling = Tumbling::of(ms(SIZE_MS)).grace(Duration::ZERO);
    let mut grouped = graph.stream(&visits).group_by_key().windowed(tumbling);
    if keep {
        grouped = grouped.keep(ms(4 * SIZE_MS));
    }
    let all = grouped.reduce("all", |_, list| list);
    let log = Arc::new(MemoryChangelog::new());
    log.create_topic("visits", &TopicConfig::default()).unwrap();
    let builder = Engine::builder(&graph.build().unwrap()).store(medium.store.clone()).changelog(log.clone());
    let mut stepper = builder.stepper().unwrap();
    let view = stepper.view(all.table()).unwrap();
    let mut random = Random::new(1);
    let mut most_bytes = 0;
    for window in 0..windows {
        let value = |random: &mut Random| (0..8).map(|_| random.number()).collect::<Vec<u64>>();
        let batch = (0..keys).map(|key| {
            records::record(&visits, &key, Some(&value(&mut random)))
                .at(window * SIZE_MS + i64::from(key % 100))
        });
        records::append(&*log, records::partition(&visits, 0), batch.collect()).unwrap();
        while stepper.epoch(1_000).unwrap() {}
        stepper.drain().unwrap();
        if window % 8 == 0 {
            medium.compact();
        }
        if window > windows / 10 {
            most_bytes = most_bytes.max(medium.store.stats().state_bytes);
        }
    }
    medium.compact();
    // Nothing is to be drained: what is left to be given back is.
    stepper.drain().unwrap();
    let directory_bytes = medium.file_bytes();
    let hot_entries = stepper.stats().tables["all"].hot_entries;
    Left { directory_bytes, most_bytes, hot_entries, rows: view.count().unwrap() }
}

#[test]
fn the_space_of_what_is_forgotten_is_given_back() {
    for on_disk in [true, false] {
        let (some, all) = (AnyStore::new(on_disk), AnyStore::new(on_disk));
        let (left, without) = (run_through(&some, true, 200, 60), run_through(&all, false, 200, 60));
        assert_eq!((left.rows, without.rows), (5 * 60 + if left.rows > 300 { 60 } else { 0 }, 200 * 60));
        assert!(left.hot_entries as u64 <= left.rows, "{} of {} in memory", left.hot_entries, left.rows);
        assert_eq!(without.hot_entries, 200 * 60);
        println!(
            "on disk {on_disk}: at most {} bytes, without `keep` {}; the files {} and {}",
            left.most_bytes, without.most_bytes, left.directory_bytes, without.directory_bytes
        );
        assert!(left.most_bytes * 5 < without.most_bytes, "{} of {}", left.most_bytes, without.most_bytes);
        assert!(left.directory_bytes * 5 <= without.directory_bytes);
    }
}

/// Snapshots that are held keep what they show, and what they held up goes once they are gone.
#[test]
fn a_snapshot_that_is_held_keeps_its_rows_through_drains_and_compactions() {
    let medium = AnyStore::new(true);
    let case = case(Some(0), 0);
    let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
    log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
    let mut stepper = medium.stepper(&case.graph, &log, 1);
    let put = |at: i64| {
        for number in 0..PARTITIONS {
            let records = (0..2).map(|key| {
                records::record(&clicks(), &((key * 3 + number) as u8), Some(&(at as u64))).at(at)
            });
            records::append(&*log, records::partition(&clicks(), number), records.collect()).unwrap();
        }
    };
    put(0);
    put(50);
    while stepper.epoch(9).unwrap() {}
    stepper.drain().unwrap();
    let view = stepper.view(&case.all).unwrap();
    let rows = view.snapshot().unwrap();
    let expected = Expected::at(&*log, rows.position());
    let held = Held { first: expected.first_kept(Some(0)), all: expected.all, rows };
    assert_eq!(held.rows.count(), 6);
    for window in 1..40 {
        put(window * SIZE_MS + 30);
        while stepper.epoch(9).unwrap() {}
        stepper.drain().unwrap();
        medium.compact();
        held.check("while rows that it shows are forgotten");
        assert_eq!(view.get(&Windowed::new(0, 100, 0)).unwrap(), None, "it is closed");
    }
    let with = medium.store.stats().rows_estimate;
    drop(held);
    put(4_100);
    while stepper.epoch(9).unwrap() {}
    stepper.drain().unwrap();
    put(4_200);
    while stepper.epoch(9).unwrap() {}
    stepper.drain().unwrap();
    medium.compact();
    assert!(medium.store.stats().rows_estimate + 100 < with, "{with} rows, of which few are left");
}

#[test]
fn nobody_who_waits_for_a_key_is_told_that_it_is_forgotten() {
    let medium = AnyStore::new(false);
    let case = case(Some(100), 0);
    let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
    log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
    let mut stepper = medium.stepper(&case.graph, &log, 1);
    let mut put = |times: &[i64]| {
        for (at, number) in times.iter().flat_map(|at| (0..PARTITIONS).map(move |number| (*at, number))) {
            let record = records::record(&clicks(), &(number as u8), Some(&7)).at(at);
            records::append(&*log, records::partition(&clicks(), number), vec![record]).unwrap();
        }
        while stepper.epoch(9).unwrap() {}
        stepper.view(&case.all).unwrap()
    };
    let view = put(&[10]);
    let mut stream = view.subscribe(&Windowed::new(0, 100, 1)).unwrap();
    assert_eq!(stream.current(), Some(&vec![7]));
    let (_, mut changes) = view.changes().unwrap();
    // In one epoch the row is changed, and forgotten.
    let view = put(&[60, 1_000]);
    assert_eq!(view.get(&Windowed::new(0, 100, 1)).unwrap(), None, "it is forgotten");
    let epoch = changes.try_next().unwrap().expect("windows at 1,000 are new");
    assert!(epoch.changes().iter().all(|change| change.key.start_ms == 1_000 && change.old.is_none()));
    assert!(changes.try_next().unwrap().is_none());
    assert!(!resolves_at_once(stream.next()), "there is nothing to tell");
}

#[test]
fn days_of_a_calendar_are_kept_as_windows_of_one_size_are() {
    let hour = 3_600_000;
    let graph = GraphBuilder::new();
    let days = Calendar::days("Europe/Zurich").grace(Duration::ZERO);
    let all = graph.stream(&clicks()).group_by_key().windowed(days).keep(ms(24 * hour)).count("all");
    let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
    log.create_topic("clicks", &TopicConfig::default().partitions(1)).unwrap();
    let builder =
        Engine::builder(&graph.build().unwrap()).store(Arc::new(MemoryStore::new())).changelog(log.clone());
    let mut stepper = builder.stepper().unwrap();
    // From the 30th of March 2025, a day of 23 hours that began at 23 o'clock of the day before in UTC.
    let start = 1_743_289_200_000;
    let view = stepper.view(all.table()).unwrap();
    for (hours, first) in [(0, 0), (22, 0), (23, 0), (46, 0), (47, 23), (70, 23), (71, 47)] {
        let record = records::record(&clicks(), &1, Some(&1)).at(start + hours * hour);
        records::append(&*log, records::partition(&clicks(), 0), vec![record]).unwrap();
        while stepper.epoch(9).unwrap() {}
        let (key, _) = view.scan().unwrap().next().unwrap().unwrap();
        assert_eq!((key.start_ms - start) / hour, first, "{hours} hours later");
    }
}

/// What a look-up would find depends on how far the table has come, which is for another part of the log to decide.
#[test]
fn a_table_that_forgets_is_not_looked_into() {
    let joined = |keep: bool| {
        let graph = GraphBuilder::new();
        let tumbling = || Tumbling::of(ms(SIZE_MS)).grace(Duration::ZERO);
        let windows = graph.stream(&clicks()).group_by_key().windowed(tumbling());
        let windows = if keep { windows.keep(ms(500)) } else { windows };
        let (one, other) = (windows.count("one"), windows.reduce("other", |a, b| a + b));
        let _both = one.table().join(other.table(), |_, one, other| one + other).materialize("both");
        graph.build()
    };
    refused(joined(true), ErrorKind::Invalid, &["looks rows of table `one`", "`keep`", "on_close"]);
    joined(false).unwrap();
}

/// What is made of a table under the same keys is a table of its own. Its rows go when it is said of them.
#[test]
fn a_table_that_is_made_of_one_that_forgets_keeps_what_it_has() {
    let graph = GraphBuilder::new();
    let tumbling = Tumbling::of(ms(SIZE_MS)).grace(Duration::ZERO);
    let all = graph.stream(&clicks()).group_by_key().windowed(tumbling).keep(ms(100)).count("all");
    let doubled = all.table().map_values(|_, count| count * 2);
    let kept = doubled.materialize("kept");
    let expiring = doubled.expire_at("expiring", |windowed, _| windowed.end_ms + 100);
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    for at in [10, 20, 110, 210, 320] {
        driver.put(&clicks(), 1, 1, at).unwrap();
    }
    driver.run().unwrap();
    let rows = |counts: &[u64], first: i64| -> BTreeMap<Windowed<u8>, u64> {
        let starts = (first..).step_by(100);
        starts.zip(counts).map(|(start, count)| (Windowed::new(start, start + 100, 1), *count)).collect()
    };
    assert_eq!(driver.table(all.table()).unwrap(), rows(&[1, 1], 200));
    assert_eq!(driver.table(&kept).unwrap(), rows(&[4, 2, 2, 2], 0));
    assert_eq!(driver.table(&expiring).unwrap(), rows(&[2, 2], 200));
}
