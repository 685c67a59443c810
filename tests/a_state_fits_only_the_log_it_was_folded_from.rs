//! A state whose changelog gave up what it had read, was put back as an older copy, or is another one, is refused, also once
//! other records stand at the offsets that it has read.
//!
//! Property: after a salvage that lost records, or with a copy from before them, a state which included some of them never
//! answers; one that did not goes on, and one that is folded again equals what the log has. The state of one log never
//! answers on another one.
//!
//! Method: an engine folds and drains all records, or only the first ones; the write-ahead log of the changelog is cut in
//! half and opened with `salvage`, or the directory is a copy from before; then it gets more records than were lost. Once
//! the old state took the new records behind the offsets it knew for the next ones: 5 lost records were in its sums, and 5
//! new ones were not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::backend::{AppendLog, ReadLog, RetentionLog, TermLog, TopicLog};
use millpond::changelog::{Changelog, EmbeddedChangelog, EmbeddedOptions, Producer, TopicConfig};
use millpond::{
    Engine, ErrorKind, Graph, GraphBuilder, Result, StoredTable, SystemClock, Topic, TopicPartition,
};
use millpond_support::files::copied;
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn topic() -> Topic<u8, u64> {
    Topic::new("numbers")
}

fn sums() -> (Graph, StoredTable<u8, u64>) {
    let graph = GraphBuilder::new();
    let sums = graph.stream(&topic()).group_by_key().reduce("sums", |a, b| a + b);
    (graph.build().unwrap(), sums)
}

fn open(log: &Path, salvage: bool) -> Result<Arc<EmbeddedChangelog>> {
    EmbeddedChangelog::open(log, EmbeddedOptions::default().salvage(salvage)).map(Arc::new)
}

fn append(log: &Arc<EmbeddedChangelog>, number: u64, times: u64) {
    append_to(log, &topic(), number, times);
}

fn append_to(log: &Arc<EmbeddedChangelog>, topic: &Topic<u8, u64>, number: u64, times: u64) {
    let producer = Producer::new(log.clone(), topic, Arc::new(SystemClock)).unwrap();
    for _ in 0..times {
        producer.put(&7, &number).wait_blocking().unwrap();
    }
}

/// The sum that an engine with the state in `state` answers.
fn fold(log: &Arc<EmbeddedChangelog>, state: &Path) -> Result<u64> {
    let (graph, sums) = sums();
    let engine = Engine::builder(&graph).changelog(log.clone()).state_dir(state).start()?;
    engine.catch_up_blocking()?;
    let sum = engine.view(&sums)?.get(&7)?.unwrap_or(0);
    engine.close_blocking()?;
    Ok(sum)
}

#[test]
fn a_state_that_has_read_what_is_gone_is_refused() {
    let (dir, states) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [early, late, anew] = ["early", "late", "anew"].map(|name| states.path().join(name));
    let log = open(dir.path(), false).unwrap();
    append(&log, 1, 20);
    assert_eq!(fold(&log, &early).unwrap(), 20);
    append(&log, 1, 280);
    assert_eq!(fold(&log, &late).unwrap(), 300);

    // As a crash would leave it: the log was not closed.
    let crash = copied(dir.path());
    drop(log);
    for entry in fs::read_dir(crash.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "log") {
            let half = fs::metadata(&entry).unwrap().len() / 2;
            fs::OpenOptions::new().write(true).open(&entry).unwrap().set_len(half).unwrap();
        }
    }
    assert_eq!(open(crash.path(), false).unwrap_err().kind(), ErrorKind::Corrupt);
    let log = open(crash.path(), true).unwrap();
    let left = log.offsets(&TopicPartition::new("numbers", 0)).unwrap().end;
    assert!((20..300).contains(&left), "{left} records are left");
    append(&log, 1000, 300);

    refused(&log, &late, "the state includes numbers/0 up to offset 300");
    let expected = left + 300_000;
    assert_eq!([&early, &anew].map(|state| fold(&log, state).unwrap()), [expected; 2]);

    // Both are beyond what was left then, and have seen nothing that is gone: they are not refused later.
    append(&log, 1, 1);
    log.close().unwrap();
    let log = open(crash.path(), true).unwrap();
    assert_eq!([&early, &anew].map(|state| fold(&log, state).unwrap()), [expected + 1; 2]);
}

/// Refused, with an error that names what is wrong.
fn refused(log: &Arc<EmbeddedChangelog>, state: &Path, why: &str) {
    for _ in 0..2 {
        let refused = fold(log, state).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AheadOfChangelog, "{refused}");
        assert!(refused.to_string().contains(why) && refused.to_string().contains("delete"), "{refused}");
    }
}

#[test]
fn a_state_that_has_read_more_than_an_older_copy_is_refused() {
    // Of the same opening as the copy, or of a later one; the copy is opened once or often before the state meets it.
    for (reopened, openings) in [(false, 1), (true, 1), (false, 30), (true, 30)] {
        let (dir, states) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [early, late] = ["early", "late"].map(|name| states.path().join(name));
        let mut log = open(dir.path(), false).unwrap();
        append(&log, 1, 20);
        assert_eq!(fold(&log, &early).unwrap(), 20);
        log.sync().unwrap();
        let copy = copied(dir.path());
        if reopened {
            log.close().unwrap();
            log = open(dir.path(), false).unwrap();
        }
        append(&log, 1, 30);
        assert_eq!(fold(&log, &late).unwrap(), 50);
        let later = copied(dir.path());
        log.close().unwrap();

        for _ in 1..openings {
            append(&open(copy.path(), false).unwrap(), 0, 1);
        }
        let log = open(copy.path(), false).unwrap();
        append(&log, 1000, 100);
        let why = if reopened { "a later copy of this one" } else { "but this changelog ended at 20" };
        refused(&log, &late, why);
        assert_eq!(fold(&log, &early).unwrap(), 100_020);

        // Where it was folded from it goes on, and what was folded from the copy does not.
        let log = open(later.path(), false).unwrap();
        append(&log, 1, 200);
        assert_eq!(fold(&log, &late).unwrap(), 250);
        refused(&log, &early, "another changelog");
    }
}

#[test]
fn the_state_of_another_log_is_refused() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let states = tempfile::tempdir().unwrap();
    let [log, mut other] = [0, 1].map(|number: usize| open(dirs[number].path(), false).unwrap());
    let state = states.path().join("state");
    append(&log, 1, 20);
    append(&other, 7, 20);
    assert_eq!(fold(&log, &state).unwrap(), 20);
    refused(&other, &state, "another changelog");
    // Also after a long life of its own.
    for _ in 0..30 {
        drop(other);
        other = open(dirs[1].path(), false).unwrap();
        append(&other, 7, 1);
    }
    refused(&other, &state, "another changelog");
    assert_eq!(fold(&log, &state).unwrap(), 20);
}

/// However many terms follow, the one of a state tells; and an opening without appends begins none.
#[test]
fn a_state_outlives_any_number_of_openings() {
    let (dir, states) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [often, seldom] = ["often", "seldom"].map(|name| states.path().join(name));
    for opening in 1..=40 {
        let log = open(dir.path(), false).unwrap();
        append(&log, 1, 1);
        assert_eq!(fold(&log, &often).unwrap(), opening);
        if opening % 19 == 1 {
            assert_eq!(fold(&log, &seldom).unwrap(), opening);
        }
        log.close().unwrap();
        let log = open(dir.path(), false).unwrap();
        let terms = log.terms().unwrap();
        assert_eq!(terms.last().unwrap().number + 1, opening);
        assert_eq!(terms.len() as u64, opening);
        assert_eq!(fold(&log, &often).unwrap(), opening);
        log.close().unwrap();
    }
}

/// A graph over both topics, or over the first one only.
fn reading(both: bool) -> Graph {
    let graph = GraphBuilder::new();
    graph.stream(&topic()).group_by_key().reduce("sums", |a, b| a + b);
    let merged = graph.stream(&topic());
    let merged = if both { merged.merge(&graph.stream(&left())) } else { merged };
    drop(merged.inspect(|_, _| ()));
    graph.build().unwrap()
}

fn left() -> Topic<u8, u64> {
    Topic::new("left")
}

/// Folds and drains what there is.
fn read_on(log: &Arc<EmbeddedChangelog>, state: &Path, both: bool) -> Result<()> {
    let builder = Engine::builder(&reading(both)).changelog(log.clone()).state_dir(state);
    let engine = builder.from_oldest_kept(true).start()?;
    engine.catch_up_blocking()?;
    engine.close_blocking()
}

/// Else a graph without it would make the state one of the copy, and a later one would pass over what the copy gets.
#[test]
fn a_topic_that_is_not_read_for_a_while_counts() {
    let (dir, states) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let state = states.path().join("state");
    let log = open(dir.path(), false).unwrap();
    append(&log, 1, 5);
    append_to(&log, &left(), 1, 5);
    log.sync().unwrap();
    let copy = copied(dir.path());
    append_to(&log, &left(), 1, 5);
    read_on(&log, &state, true).unwrap();
    drop(log);
    let log = open(copy.path(), false).unwrap();
    append(&log, 1, 5);
    for both in [false, true] {
        assert_eq!(read_on(&log, &state, both).unwrap_err().kind(), ErrorKind::AheadOfChangelog);
    }
}

/// What a graph has not read meanwhile may be gone: that is no sign of another log.
#[test]
fn a_topic_that_is_read_again_behind_what_is_gone_fits() {
    let (dir, states) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let state = states.path().join("state");
    let log = open(dir.path(), false).unwrap();
    log.create_topic("left", &TopicConfig::default().retention_bytes(1)).unwrap();
    append(&log, 1, 5);
    append_to(&log, &left(), 1, 5);
    read_on(&log, &state, true).unwrap();
    read_on(&log, &state, false).unwrap();
    drop(log);
    let options = EmbeddedOptions::default().segment_bytes(1 << 10);
    let log = Arc::new(EmbeddedChangelog::open(dir.path(), options).unwrap());
    append_to(&log, &left(), 1, 500);
    log.enforce_retention().unwrap();
    let kept = log.offsets(&TopicPartition::new("left", 0)).unwrap();
    assert!(kept.start > 5, "{kept:?}: nothing is gone");
    read_on(&log, &state, true).unwrap();
    read_on(&log, &state, true).unwrap();
}
