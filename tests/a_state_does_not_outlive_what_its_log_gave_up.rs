//! A state that has read records which its changelog gave up later is refused, also once others stand in their place.
//!
//! Property: after a salvage that lost records, a state which included some of them never answers; one that did not goes on,
//! and one that is folded again from what is left equals it.
//!
//! Method: an engine folds and drains all records, or only the first ones; the write-ahead log of the changelog is cut in
//! half, opened with `salvage`, and gets more records than were lost. Once the old state took the new records behind the
//! offsets it knew for the next ones: 5 lost records were in its sums, and 5 new ones were not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, EmbeddedChangelog, EmbeddedOptions, Producer};
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, Result, SystemClock, Table, Topic, TopicPartition};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

fn topic() -> Topic<u8, u64> {
    Topic::new("numbers")
}

fn sums() -> (Graph, Table<u8, u64>) {
    let graph = GraphBuilder::new();
    let sums = graph.stream(&topic()).group_by_key().reduce("sums", |a, b| a + b);
    (graph.build().unwrap(), sums)
}

fn open(log: &Path, salvage: bool) -> Result<Arc<EmbeddedChangelog>> {
    EmbeddedChangelog::open(log, EmbeddedOptions { salvage, ..EmbeddedOptions::default() }).map(Arc::new)
}

fn append(log: &Arc<EmbeddedChangelog>, number: u64, times: u64) {
    let producer = Producer::new(log.clone(), &topic(), Arc::new(SystemClock)).unwrap();
    for _ in 0..times {
        producer.put(&7, &number).wait().unwrap();
    }
}

/// The sum that an engine with the state in `state` answers.
fn fold(log: &Arc<EmbeddedChangelog>, state: &Path) -> Result<u64> {
    let (graph, sums) = sums();
    let engine = Engine::builder(&graph).changelog(log.clone()).state_dir(state).start()?;
    engine.catch_up()?;
    let sum = engine.view(&sums)?.get(&7)?.unwrap_or(0);
    engine.close()?;
    Ok(sum)
}

fn copied(from: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
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

    for _ in 0..2 {
        let refused = fold(&log, &late).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AheadOfChangelog, "{refused}");
        assert!(
            refused.to_string().contains("numbers/0") && refused.to_string().contains("delete"),
            "{refused}"
        );
    }
    let expected = left + 300_000;
    assert_eq!([&early, &anew].map(|state| fold(&log, state).unwrap()), [expected; 2]);

    // Both are beyond what was left then, and have seen nothing that is gone: they are not refused later.
    append(&log, 1, 1);
    log.close().unwrap();
    let log = open(crash.path(), true).unwrap();
    assert_eq!([&early, &anew].map(|state| fold(&log, state).unwrap()), [expected + 1; 2]);
    assert_eq!(log.salvages().unwrap().len(), 1, "an opening that gives up nothing is no salvage");
}
