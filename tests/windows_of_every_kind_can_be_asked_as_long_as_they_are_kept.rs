//! Which windows can be asked for, and what is in them, is a function of the log for every kind of windows, be they kept for ever or for a
//! while: also where a row is part of windows that are forgotten and of others that are not.
//!
//! Property: at each position exactly those windows are found that were closed for less long than they are kept, each with all that counted
//! to it, in every way to ask: one window, a key over time from either end, all keys of a moment, the last one, open ones. Of rows there
//! are as many as it takes, and the space of others is given back. Who keeps windows for less long loses some at once, and who keeps them for
//! longer gets none back.
//!
//! Method: random records of several partitions, out of order and apart; random epochs, drains, compactions, crashes, fresh states and
//! raised versions, with snapshots and readers that are held meanwhile, on RocksDB and in memory, on a log that is one sequence and on one
//! with gaps. The oracle puts windows together of the records below the position.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod asked;

use asked::{Case, Kind, Lives, Seen};
use millpond::changelog::{Changelog, MemoryChangelog};
use millpond_support::any_store::AnyStore;
use millpond_support::environment::{rounds, seed};
use millpond_support::random::Random;
use millpond_support::timed::{Appending, any_log};
use std::sync::Arc;

fn can_be_asked_as_long_as_they_are_kept(kind: Kind) {
    let mut random = Random::new(seed());
    let mut seen = Seen::default();
    for round in 0..rounds(5) {
        let windows = kind.any(&mut random);
        let keep_ms = random.pick(&[None, Some(0), Some(70), Some(350), Some(1_000)]);
        let what = format!("{windows:?}, kept {keep_ms:?}, round {round}");
        let mut lives = Lives::new(&mut random, windows, keep_ms, seen);
        for step in 0..140 {
            lives.step(&mut random, &format!("{what}, step {step}"));
        }
        lives.check_the_end(&mut random, &format!("{what}, the end"));
        seen = lives.seen;
    }
    println!("{kind:?}: {seen:?}");
    assert!(seen.kept > 200, "{kind:?}: {seen:?}");
}

#[test]
fn tumbling_windows_can_be_asked_as_long_as_they_are_kept() {
    can_be_asked_as_long_as_they_are_kept(Kind::Tumbling);
}

#[test]
fn hopping_windows_can_be_asked_as_long_as_they_are_kept() {
    can_be_asked_as_long_as_they_are_kept(Kind::Hopping);
}

#[test]
fn sliding_windows_can_be_asked_as_long_as_they_are_kept() {
    can_be_asked_as_long_as_they_are_kept(Kind::Sliding);
}

#[test]
fn sessions_can_be_asked_as_long_as_they_are_kept() {
    can_be_asked_as_long_as_they_are_kept(Kind::Session);
}

/// Whoever keeps windows for less long loses them at once, and whoever keeps them for longer gets none back.
#[test]
fn windows_that_were_forgotten_stay_so_whatever_is_said_later() {
    let mut random = Random::new(seed());
    let (mut raised, mut lasted) = (0, 0);
    for round in 0..rounds(8) {
        let windows = Kind::ALL[round % Kind::ALL.len()].any(&mut random);
        let (log, store) = (any_log(&mut random, &asked::clicks()), AnyStore::any(&mut random));
        let mut appending = Appending::new(true, 60);
        // What was closed up to then is forgotten, by what is stored.
        let mut durable = i64::MIN;
        for life in 0..6 {
            let keep_ms = random.pick(&[None, Some(0), Some(200), Some(600), Some(2_000)]);
            let case = Case::new(windows, keep_ms, 0);
            let mut stepper = store.stepper(&case.graph, &log, 1 + random.index(3));
            let mut until = durable;
            for step in 0..16 {
                let what = format!("{windows:?}, round {round}, life {life}, step {step}, kept {keep_ms:?}");
                let sight = case.look(&stepper).unwrap();
                let now = sight.forgets_until(&*log, keep_ms);
                raised += usize::from(step == 0 && now > until);
                lasted += usize::from(now < until);
                until = until.max(now);
                if step == 0 {
                    // What is forgotten by opening is noted at once.
                    durable = until;
                }
                sight.check_until(&*log, windows, until, &mut random, &what);
                match random.below(10) {
                    0 | 1 => {
                        stepper.drain().unwrap();
                        durable = until;
                        if random.below(3) == 0 {
                            store.compact();
                        }
                    }
                    2..5 => drop(stepper.epoch(1 + random.index(9)).unwrap()),
                    _ => appending.append(&*log, &asked::clicks(), &mut random),
                }
            }
        }
    }
    assert!(raised > 0 && lasted > 0, "{raised} {lasted}");
}

/// What is left where rows of many windows came and went: the files, and the most that there was of rows meanwhile.
fn run_through(kind: Kind, on_disk: bool, keep_ms: Option<i64>) -> (u64, u64, u64) {
    let (store, windows) = (AnyStore::new(on_disk), kind.usual());
    let case = Case::alone(windows, keep_ms);
    let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
    Appending::create(&*log, &asked::clicks());
    let mut stepper = store.stepper(&case.graph, &log, 1);
    let (mut random, mut most_bytes) = (Random::new(1), 0);
    let mut appending = Appending::new(true, 60).with_keys(40);
    for step in 0..1_500 {
        appending.append(&*log, &asked::clicks(), &mut random);
        if step % 25 > 0 {
            continue;
        }
        while stepper.epoch(1_000).unwrap() {}
        stepper.drain().unwrap();
        if step % 100 == 0 {
            store.compact();
        }
        if step > 300 {
            most_bytes = most_bytes.max(store.store.stats().state_bytes);
        }
    }
    store.compact();
    // Nothing is to be drained: what is left to be given back is.
    stepper.drain().unwrap();
    let rows = case.look(&stepper).unwrap().count;
    (store.file_bytes(), most_bytes, rows)
}

#[test]
fn the_space_of_windows_that_are_forgotten_is_given_back() {
    for (kind, on_disk) in Kind::ALL.into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
        let (some, all) = (run_through(kind, on_disk, Some(200)), run_through(kind, on_disk, None));
        println!("{kind:?}, on disk {on_disk}: files, most bytes and rows {some:?}, without `keep` {all:?}");
        assert!(
            some.2 * 8 < all.2 && some.1 * 2 < all.1 && some.0 * 2 <= all.0,
            "{kind:?}: {some:?} of {all:?}"
        );
    }
}
