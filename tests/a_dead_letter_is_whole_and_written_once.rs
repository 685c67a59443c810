//! A dead letter is the record as it was, and the dead letters have it once, whichever table could not take it.
//!
//! Property: the letter keeps key, value, timestamp and headers of the record, beside its reason (cut short, where it is
//! long) and its origin. A record that fails only in a table which is being built becomes a letter too; one that has
//! failed for the same reason before, in the running tables, in a build that a crash cut short or in one that was
//! given up, is not written again; for another reason it is.
//!
//! Method: the step-by-step engine in memory, with crashes after every number of steps of a build. Once, the letters
//! of a build were counted but never written, and a reason longer than the headers may be stopped the engine.
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
use millpond::changelog::{
    Changelog, EmbeddedChangelog, EmbeddedOptions, Header, MAX_HEADERS_BYTES, MemoryChangelog, Record,
};
use millpond::store::{MemoryStore, StateStore};
use millpond::{Engine, FailurePolicy, Graph, GraphBuilder, Stepper, TableOptions, Topic, TopicPartition};
use millpond_support::failing::{dead_lettering, dead_letters, engine, record};
use millpond_support::records::{self, value_bytes};
use std::collections::BTreeSet;
use std::sync::Arc;

const RECORDS: u64 = 120;

fn events() -> Topic<u32, u64> {
    Topic::new("events")
}

/// A changelog of the values 0 to 119.
fn numbers() -> MemoryChangelog {
    let log = MemoryChangelog::new();
    log.create_topic("events", events().topic_config()).unwrap();
    let records = (0..RECORDS).map(|offset| record(offset, value_bytes(&events(), &offset))).collect();
    append(&log, records);
    log
}

fn append(log: &dyn Changelog, records: Vec<Record>) {
    records::append(log, TopicPartition::new("events", 0), records).unwrap();
}

/// Sums under `version`, with a fold that refuses some values and says why.
fn graph(version: u32, bad: &'static [u64], reason: &'static str) -> Graph {
    let graph = GraphBuilder::new();
    let sums = TableOptions::named("sums").version(version);
    graph.stream(&events()).group_by_key().fold(
        sums,
        || 0_u64,
        move |sum, _, value| {
            assert!(!bad.contains(&value), "{reason}");
            *sum += value;
        },
    );
    graph.build().unwrap()
}

fn run(stepper: &mut Stepper) {
    while stepper.epoch(7).unwrap() {}
    stepper.drain().unwrap();
    assert!(!stepper.is_building());
}

/// Folds everything under version 1 and makes it durable.
fn first_version(bad: &'static [u64], reason: &'static str) -> (MemoryChangelog, Arc<dyn StateStore>) {
    let (log, store): (_, Arc<dyn StateStore>) = (numbers(), Arc::new(MemoryStore::new()));
    run(&mut dead_lettering(&graph(1, bad, reason), &log, &store, 2));
    (log, store)
}

/// Which records the dead letters have, each with its reason.
fn letters(log: &dyn Changelog) -> Vec<(u64, String)> {
    let mut letters: Vec<_> = dead_letters(log)
        .into_iter()
        .map(|(_, headers)| (headers["millpond.offset"].parse().unwrap(), headers["millpond.reason"].clone()))
        .map(|(offset, reason): (u64, String)| {
            (offset, reason.split(": ").nth(1).unwrap_or_default().to_owned())
        })
        .collect();
    letters.sort();
    letters
}

fn expected(offsets: &[u64], reason: &str) -> Vec<(u64, String)> {
    offsets.iter().map(|&offset| (offset, reason.to_owned())).collect()
}

#[test]
fn a_letter_keeps_the_headers_and_shortens_the_reason() {
    let graph = GraphBuilder::new();
    let endless = || "ß".repeat(MAX_HEADERS_BYTES);
    let _nobody_reads =
        graph.stream(&events()).inspect(move |_, value| assert!(*value < 1000, "ä{}", endless()));
    let (log, store): (_, Arc<dyn StateStore>) = (numbers(), Arc::new(MemoryStore::new()));
    let mut bad =
        record(0, value_bytes(&events(), &1000)).with_header("trace", "abc").with_header("trace", "def");
    bad.headers.push(Header::without_value("trace"));
    append(&log, vec![bad.clone()]);
    run(&mut dead_lettering(&graph.build().unwrap(), &log, &store, 2));
    let letters = dead_letters(&log);
    let [(letter, headers)] = &letters[..] else { panic!("{} letters", letters.len()) };
    assert_eq!((&letter.key, &letter.value, letter.timestamp_ms), (&bad.key, &bad.value, bad.timestamp_ms));
    let own = |header: &&Header| header.name == "trace";
    assert_eq!(letter.headers.iter().filter(own).collect::<Vec<_>>(), bad.headers.iter().collect::<Vec<_>>());
    assert!(headers["millpond.reason"].contains("äßß"), "{headers:?}");
    assert!(headers["millpond.reason"].len() <= 1024, "{} bytes", headers["millpond.reason"].len());
    assert_eq!(headers["millpond.offset"], RECORDS.to_string());
}

#[test]
fn a_letter_of_a_record_with_many_headers_fits() {
    let (log, store): (_, Arc<dyn StateStore>) = (numbers(), Arc::new(MemoryStore::new()));
    let name = "n".repeat(60);
    let mut bad = record(0, value_bytes(&events(), &1000)).with_header("millpond.offset", "7");
    while bad.payload_bytes() + 8 * bad.headers.len() < MAX_HEADERS_BYTES - 3000 {
        bad = bad.with_header(name.as_str(), "v".repeat(900));
    }
    append(&log, vec![bad.clone()]);
    run(&mut dead_lettering(&graph(1, &[1000], "too large"), &log, &store, 2));
    let letters = dead_letters(&log);
    let (letter, headers) = &letters[0];
    assert!(letter.headers.len() > bad.headers.len() - 10, "as many headers as there is room for");
    assert_eq!(headers["millpond.offset"], RECORDS.to_string(), "where this one came from");
    assert!(headers["millpond.reason"].contains("too large"));
}

#[test]
fn a_record_that_fails_only_in_a_build_becomes_a_letter() {
    for steps in 0..40 {
        let (log, store) = first_version(&[], "");
        let graph = graph(2, &[30, 31, 77], "new");
        // Crashes: of the process, of the machine, and of the process after a drain.
        let mut stepper = dead_lettering(&graph, &log, &store, 2);
        for _ in 0..steps {
            stepper.epoch(5).unwrap();
        }
        drop(stepper);
        let log = log.crash();
        let mut stepper = dead_lettering(&graph, &log, &store, 2);
        for _ in 0..steps / 2 {
            stepper.epoch(7).unwrap();
        }
        stepper.drain().unwrap();
        for _ in 0..steps / 2 {
            stepper.epoch(3).unwrap();
        }
        drop(stepper);
        let mut stepper = dead_lettering(&graph, &log, &store, 2);
        run(&mut stepper);
        assert_eq!(letters(&log), expected(&[30, 31, 77], "new"), "{steps} steps");
        append(&log, vec![record(0, value_bytes(&events(), &31))]);
        run(&mut stepper);
        assert_eq!(letters(&log), expected(&[30, 31, 77, RECORDS], "new"), "{steps} steps");
    }
}

#[test]
fn a_record_fails_for_the_same_reason_once() {
    let (log, store) = first_version(&[10, 20], "same");
    assert_eq!(letters(&log), expected(&[10, 20], "same"));
    let mut stepper = dead_lettering(&graph(2, &[10, 30], "same"), &log, &store, 2);
    run(&mut stepper);
    assert_eq!(stepper.stats().dead_letters, 1, "one was written");
    drop(stepper);
    assert_eq!(letters(&log), expected(&[10, 20, 30], "same"), "10 had failed for this reason");
    run(&mut dead_lettering(&graph(3, &[30], "other"), &log, &store, 2));
    let mut both = expected(&[10, 20, 30], "same");
    both.extend(expected(&[30], "other"));
    both.sort();
    assert_eq!(letters(&log), both);
}

#[test]
fn a_build_that_was_given_up_says_nothing_for_the_next_one() {
    for (steps, drained) in (0..20).flat_map(|steps| [(steps, false), (steps, true)]) {
        let (log, store) = first_version(&[], "");
        let mut stepper = dead_lettering(&graph(2, &[10, 50], "bad"), &log, &store, 2);
        for _ in 0..steps {
            stepper.epoch(10).unwrap();
        }
        if drained {
            stepper.drain().unwrap();
        }
        drop(stepper);
        let before: BTreeSet<u64> = letters(&log).iter().map(|(offset, _)| *offset).collect();
        run(&mut dead_lettering(&graph(3, &[10, 11, 90], "bad"), &log, &store, 2));
        let all: Vec<u64> = before.union(&[10, 11, 90].into()).copied().collect();
        assert_eq!(letters(&log), expected(&all, "bad"), "{steps} steps, drained: {drained}");
    }
}

#[test]
fn the_embedded_changelog_has_them_once_too() {
    let dir = tempfile::tempdir().unwrap();
    let open_log = || EmbeddedChangelog::open(dir.path().join("log"), EmbeddedOptions::default()).unwrap();
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let versions = [(1, &[10, 20][..]), (2, &[10, 30]), (2, &[10, 30]), (3, &[20, 30, 40])];
    for (round, (version, bad)) in versions.into_iter().enumerate() {
        let log = Arc::new(open_log());
        if round == 0 {
            log.create_topic("events", events().topic_config()).unwrap();
            append(
                &*log,
                (0..RECORDS).map(|offset| record(offset, value_bytes(&events(), &offset))).collect(),
            );
        }
        let graph = graph(version, bad, "bad");
        let builder = Engine::builder(&graph).changelog(log.clone() as Arc<dyn Changelog>).shards(2);
        let policy = FailurePolicy::DeadLetter("dead".into());
        let mut stepper = builder.store(Arc::clone(&store)).on_failure(policy).stepper().unwrap();
        while stepper.epoch(15).unwrap() {
            // The second round dies in the midst of its build.
            if round == 1 && stepper.position().offset(&TopicPartition::new("events", 0)) == RECORDS {
                break;
            }
        }
        if round != 1 {
            stepper.drain().unwrap();
            assert!(!stepper.is_building());
        }
        drop(stepper);
        log.close().unwrap();
    }
    let log = open_log();
    assert_eq!(letters(&log), expected(&[10, 20, 30, 40], "bad"));
    log.close().unwrap();
}

/// An engine stops in the midst of an epoch whose output is in the derived topic already, and is opened again to set
/// the record aside: the mark of the epoch does not cover the letter.
#[test]
fn a_record_that_fails_in_an_epoch_appended_before_becomes_a_letter() {
    let passing = |bad: u64| {
        let graph = GraphBuilder::new();
        let kept = graph.stream(&events()).map_values(move |_, value| {
            assert!(value != bad, "bad");
            value
        });
        kept.to(&Topic::new("out"));
        graph.build().unwrap()
    };
    let (log, store): (_, Arc<dyn StateStore>) = (numbers(), Arc::new(MemoryStore::new()));
    let mut stepper = dead_lettering(&passing(u64::MAX), &log, &store, 2);
    assert!(stepper.epoch(100).unwrap());
    drop(stepper);
    engine(&passing(60), &log, &store, 2).stepper().unwrap().epoch(100).unwrap_err();
    for _ in 0..2 {
        let mut stepper = dead_lettering(&passing(60), &log, &store, 2);
        while stepper.epoch(100).unwrap() {}
        assert_eq!(letters(&log), expected(&[60], "bad"));
    }
}
