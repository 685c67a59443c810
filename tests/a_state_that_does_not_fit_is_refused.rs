//! A state that does not fit its graph, its changelog or this release is refused and left as it was.
//!
//! Property: opening answers with an error of the right kind that names what does not fit and says what to do, changes
//! nothing, and never begins again in silence: once the cause is gone the same directory answers as before.
//!
//! Method: one mismatch after the other, put into a directory that was closed in order; then the cause is undone and
//! the answers are compared. Who cannot mount (not root, or in a sandbox) skips the read-only medium, and says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::backend::{ReadLog, RetentionLog, TopicLog};
use millpond::changelog::{Changelog, EmbeddedChangelog, EmbeddedOptions, Record, TopicConfig};
use millpond::codec::Json;
use millpond::store::{RocksStore, StateStore};
use millpond::{
    Engine, Error, ErrorKind, Graph, GraphBuilder, Position, StoredTable, TableOptions, Topic, TopicPartition,
};
use millpond_support::expect;
use millpond_support::files::copy;
use millpond_support::process::{ChildProcess, given};
use millpond_support::records;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

fn events() -> Topic<u32, u64> {
    Topic::new("events")
}

fn counting(store: impl Into<TableOptions<u64>>) -> (Graph, StoredTable<u32, u64>) {
    let graph = GraphBuilder::new();
    let counts = graph.stream(&events()).group_by_key().count(store);
    (graph.build().unwrap(), counts)
}

/// A directory whose table `counts` has counted 100 records of 10 keys.
fn counted() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), 100);
    answers(dir.path(), 10);
    dir
}

fn append(dir: &Path, records: u32) {
    let (graph, _) = counting("counts");
    let engine = Engine::open(dir, &graph).unwrap();
    let producer = engine.producer(&events()).unwrap();
    let acks: Vec<_> = (0..records).map(|number| producer.put(&(number % 10), &1)).collect();
    for ack in acks {
        ack.wait_blocking().unwrap();
    }
    engine.catch_up_blocking().unwrap();
    engine.close_blocking().unwrap();
}

/// Checks that every key was counted `times`.
fn answers(dir: &Path, times: u64) {
    let (graph, counts) = counting("counts");
    let engine = Engine::open(dir, &graph).unwrap();
    engine.catch_up_blocking().unwrap();
    let view = engine.view(&counts).unwrap();
    for key in 0..10 {
        assert_eq!(view.get(&key).unwrap(), Some(times), "key {key}");
    }
    drop(view);
    engine.close_blocking().unwrap();
}

#[track_caller]
fn refused(dir: &Path, graph: &Graph, kind: ErrorKind, parts: &[&str]) -> Error {
    expect::refused(Engine::open(dir, graph), kind, parts)
}

#[test]
fn an_unknown_format_version() {
    let dir = counted();
    let set = |version: u32| {
        // The layout of the state: table id 0, kind 0 is the format version.
        let store =
            RocksStore::open(&dir.path().join("state"), &millpond::store::RocksOptions::default()).unwrap();
        let version = version.to_be_bytes();
        store.ingest(&mut [(&[0_u8, 0, 0][..], Some(&version[..]))].into_iter()).unwrap();
    };
    set(99);
    let (graph, _) = counting("counts");
    refused(
        dir.path(),
        &graph,
        ErrorKind::Corrupt,
        &["format version 99", "the release that wrote it", "delete the state directory"],
    );
    set(1);
    answers(dir.path(), 10);
}

#[test]
fn another_codec_under_the_same_name() {
    let dir = counted();
    let (graph, _) = counting(TableOptions::with_codec("counts", Json));
    refused(
        dir.path(),
        &graph,
        ErrorKind::Invalid,
        &["`counts`", "value codec", "raise the table's version"],
    );
    answers(dir.path(), 10);
}

#[test]
fn another_value_type_under_the_same_name() {
    let dir = counted();
    let graph = GraphBuilder::new();
    graph
        .stream(&events())
        .group_by_key()
        .fold("counts", String::new, |all: &mut String, _, _| all.push('x'));
    let graph = graph.build().unwrap();
    refused(dir.path(), &graph, ErrorKind::Invalid, &["`counts`", "value type", "raise the table's version"]);
    answers(dir.path(), 10);
}

#[test]
fn another_key_type_under_the_same_name() {
    let dir = counted();
    let graph = GraphBuilder::new();
    graph.stream(&events()).group_by(|key, _| u64::from(*key)).count("counts");
    let graph = graph.build().unwrap();
    refused(dir.path(), &graph, ErrorKind::Invalid, &["`counts`", "key type", "raise the table's version"]);
    answers(dir.path(), 10);
}

#[test]
fn an_older_version_of_a_table() {
    let dir = counted();
    let (graph, counts) = counting(TableOptions::named("counts").version(2));
    let engine = Engine::open(dir.path(), &graph).unwrap();
    engine.ready_blocking().unwrap();
    assert_eq!(engine.view(&counts).unwrap().get(&3).unwrap(), Some(10));
    engine.close_blocking().unwrap();
    let (graph, _) = counting(TableOptions::named("counts").version(1));
    refused(
        dir.path(),
        &graph,
        ErrorKind::Invalid,
        &["version 2 of table `counts`", "the graph has version 1"],
    );
}

#[test]
fn another_number_of_partitions() {
    let dir = counted();
    let graph = GraphBuilder::new();
    graph.stream(&events().partitions(4)).group_by_key().count("counts");
    let graph = graph.build().unwrap();
    refused(dir.path(), &graph, ErrorKind::Invalid, &["events", "1 partitions, not 4"]);
    answers(dir.path(), 10);
}

#[test]
fn a_changelog_that_was_deleted() {
    let dir = counted();
    let (changelog, aside) = (dir.path().join("changelog"), dir.path().join("aside"));
    std::fs::rename(&changelog, &aside).unwrap();
    let (graph, _) = counting("counts");
    refused(
        dir.path(),
        &graph,
        ErrorKind::AheadOfChangelog,
        &["events/0", "up to offset 100", "ends at 0", "delete the state directory"],
    );
    std::fs::remove_dir_all(&changelog).unwrap();
    std::fs::rename(&aside, &changelog).unwrap();
    answers(dir.path(), 10);
}

#[test]
fn a_changelog_that_was_replaced_by_an_older_copy() {
    let dir = counted();
    let (changelog, older, newer) =
        (dir.path().join("changelog"), dir.path().join("older"), dir.path().join("newer"));
    copy(&changelog, &older);
    append(dir.path(), 50);
    std::fs::rename(&changelog, &newer).unwrap();
    copy(&older, &changelog);
    let (graph, _) = counting("counts");
    refused(
        dir.path(),
        &graph,
        ErrorKind::AheadOfChangelog,
        &["a later copy of this one: put that back", "delete the state directory"],
    );
    // As the error says: without the state, what the older copy has is folded again.
    std::fs::rename(dir.path().join("state"), dir.path().join("newer-state")).unwrap();
    answers(dir.path(), 10);
    // And with the changelog that the state was built from, it goes on.
    std::fs::remove_dir_all(&changelog).unwrap();
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    std::fs::rename(&newer, &changelog).unwrap();
    std::fs::rename(dir.path().join("newer-state"), dir.path().join("state")).unwrap();
    answers(dir.path(), 15);
}

#[test]
fn a_changelog_that_was_trimmed_past_the_position() {
    let dir = counted();
    let options = EmbeddedOptions::default().segment_bytes(1024);
    let log = EmbeddedChangelog::open(dir.path().join("changelog"), options).unwrap();
    // An operator lets go of the service and has the topic shortened.
    log.hold("millpond", &Position::new()).unwrap();
    let config = TopicConfig::default().retention_bytes(1);
    log.create_topic("events", &config).unwrap();
    let at = TopicPartition::new("events", 0);
    for number in 0..20_u32 {
        let records = vec![Record::new((number % 10).to_be_bytes().to_vec(), vec![1; 600])];
        records::append(&log, at.clone(), records).unwrap();
    }
    log.enforce_retention().unwrap();
    let kept = log.offsets(&at).unwrap();
    assert!(kept.start > 100, "the log was not trimmed: {kept:?}");
    log.close().unwrap();

    let graph = GraphBuilder::new();
    let raw = Topic::<u32, Vec<u8>>::with_codec("events", millpond::codec::Raw);
    let counts = graph.stream(&raw).group_by_key().count("counts");
    let graph = graph.build().unwrap();
    let start = format!("begins at {}", kept.start);
    refused(
        dir.path(),
        &graph,
        ErrorKind::BehindChangelog,
        &["events/0", "from offset 100", &start, "from_oldest_kept"],
    );
    // As the error says.
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    refused(dir.path(), &graph, ErrorKind::BehindChangelog, &["from offset 0", "from_oldest_kept"]);
    let engine = Engine::builder(&graph).dir(dir.path()).from_oldest_kept(true).start().unwrap();
    engine.catch_up_blocking().unwrap();
    let view = engine.view(&counts).unwrap();
    let counted: u64 = view.scan().unwrap().map(|row| row.unwrap().1).sum();
    assert_eq!(counted, kept.end - kept.start);
}

#[test]
fn a_directory_in_use_by_this_process() {
    let dir = counted();
    let (graph, counts) = counting("counts");
    let first = Engine::open(dir.path(), &graph).unwrap();
    refused(dir.path(), &graph, ErrorKind::Unavailable, &["this process has it open", "drop the others"]);
    // Also where only the state is shared.
    let other = tempfile::tempdir().unwrap();
    let log = EmbeddedChangelog::open(other.path(), EmbeddedOptions::default()).unwrap();
    let builder = Engine::builder(&graph).changelog(Arc::new(log)).state_dir(dir.path().join("state"));
    let Err(error) = builder.start() else { panic!("two engines on one state") };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    // The first goes on.
    let position = first.append(&events(), &3, &1).wait_blocking().unwrap();
    first.wait_for_blocking(&position).unwrap();
    assert_eq!(first.view(&counts).unwrap().get(&3).unwrap(), Some(11));
    first.close_blocking().unwrap();
}

/// The body of the other process; nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = given() else { return };
    let (graph, _) = counting("counts");
    refused(&dir, &graph, ErrorKind::Unavailable, &["close it first"]);
}

#[test]
fn a_directory_in_use_by_another_process() {
    let dir = counted();
    let (graph, _) = counting("counts");
    let first = Engine::open(dir.path(), &graph).unwrap();
    let (lines, stderr, status) = ChildProcess::spawn(dir.path(), &[]).end();
    assert!(status.success(), "{stderr}");
    assert!(lines.iter().any(|line| line.contains("1 passed")), "the other process ran the test: {lines:?}");
    first.close_blocking().unwrap();
    answers(dir.path(), 10);
}

#[test]
fn a_path_that_is_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "something").unwrap();
    let (graph, _) = counting("counts");
    for path in [file.clone(), file.join("below")] {
        let Err(error) = Engine::open(&path, &graph) else { panic!("{} was opened", path.display()) };
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unavailable), "{error}");
        assert!(error.to_string().contains(&file.display().to_string()), "it names the path: {error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"something");
}

#[test]
fn a_medium_that_cannot_be_written() {
    let dir = counted();
    let at = dir.path().display().to_string();
    let mount =
        |arguments: &[&str]| Command::new("mount").args(arguments).status().is_ok_and(|s| s.success());
    if !mount(&["--bind", &at, &at]) {
        println!("skipped: mounting is not possible here");
        return;
    }
    let read_only = mount(&["-o", "remount,ro,bind", &at]);
    let (graph, _) = counting("counts");
    let opened = read_only.then(|| Engine::open(dir.path(), &graph).map(drop));
    assert!(Command::new("umount").arg(&at).status().unwrap().success());
    let Some(opened) = opened else {
        println!("skipped: a mount cannot be made read-only here");
        return;
    };
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("state"), "{error}");
    answers(dir.path(), 10);
}

/// An empty service was once made inside of the state of another one.
#[test]
fn a_directory_within_that_of_a_service() {
    let dir = counted();
    let (graph, _) = counting("counts");
    for within in ["state", "changelog"] {
        let within = dir.path().join(within);
        let before = fs::read_dir(&within).unwrap().count();
        let parent = format!("did you mean {}?", dir.path().display());
        refused(&within, &graph, ErrorKind::Invalid, &["is itself a state or a changelog", &parent]);
        assert_eq!(fs::read_dir(&within).unwrap().count(), before);
    }
    answers(dir.path(), 10);
}

/// A state was once made in the directory of a changelog, which could not be opened afterwards.
#[test]
fn a_state_and_a_changelog_that_were_swapped() {
    let dir = counted();
    let (graph, counts) = counting("counts");
    let (state, log, aside) =
        (dir.path().join("state"), dir.path().join("changelog"), dir.path().join("aside"));
    let swap = || {
        fs::rename(&state, &aside).unwrap();
        fs::rename(&log, &state).unwrap();
        fs::rename(&aside, &log).unwrap();
    };
    swap();
    refused(dir.path(), &graph, ErrorKind::Invalid, &["swapped"]);
    let error = EmbeddedChangelog::open(&log, EmbeddedOptions::default()).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.message().contains("holds a state"), "{error}");
    // Once they are put back, all is well.
    swap();
    let engine = Engine::open(dir.path(), &graph).unwrap();
    engine.ready_blocking().unwrap();
    assert_eq!(engine.view(&counts).unwrap().get(&3).unwrap(), Some(10));
}

#[test]
fn a_directory_of_somebody_else() {
    let (graph, _) = counting("counts");
    let dir = tempfile::tempdir().unwrap();
    let theirs = dir.path().join("state");
    {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        rocksdb::DB::open(&options, &theirs).unwrap().put("a key", "of theirs").unwrap();
    }
    refused(dir.path(), &graph, ErrorKind::Invalid, &["no state of millpond", "another directory"]);
    let opened = rocksdb::DB::open(&rocksdb::Options::default(), &theirs).unwrap();
    assert_eq!(opened.get("a key").unwrap().unwrap(), b"of theirs");

    // Where nothing can be made, nothing is to be deleted.
    let nowhere = Path::new("/proc/nothing/here");
    if nowhere.parent().is_some_and(|parent| !parent.exists()) && Path::new("/proc").exists() {
        refused(nowhere, &graph, ErrorKind::Invalid, &["can be made"]);
    }
}
