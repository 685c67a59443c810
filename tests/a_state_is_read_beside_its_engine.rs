//! A state is read beside the engine that has it open: whole drains at their position, never going back, and without a trace.
//!
//! Property: what a reader shows at any moment is the plain fold of exactly the records below its position, over all tables
//! at once; the position never goes back; snapshots stay as they are while the reader moves on. The directory of the state is
//! not written to and not locked. What does not fit is refused, and a table that is not built says so.
//!
//! Method: a child process folds, drains and compacts without end, while this one opens readers and refreshes them; what was
//! read is compared with the log once the child was killed. Within one process, an engine and its reader take turns.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::{Changelog, MemoryChangelog};
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, StateReader, StoredTable, TableOptions, Topic};
use millpond_support::environment::{rounds, seed, variable};
use millpond_support::ledger::{Books, Ledger, open_changelog, pay, read};
use millpond_support::process::{ChildProcess, given, tell};
use millpond_support::random::Random;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// The body of the child process; nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = given() else { return };
    let mut random = Random::new(variable("MILLPOND_SEED").unwrap());
    let ledger = Ledger::new(1);
    let log = Arc::new(open_changelog(&dir.join("changelog")).unwrap());
    let builder = Engine::builder(&ledger.graph).changelog(Arc::clone(&log) as Arc<dyn Changelog>);
    // Files come and go as fast as they can.
    let builder =
        builder.state_dir(dir.join("state")).memory(8 << 20).drain_interval(Duration::from_millis(1));
    let engine = builder.start().unwrap();
    tell("open");
    for number in 0.. {
        pay(&*log, &mut random, number << 20, 50).unwrap();
        engine.catch_up_blocking().unwrap();
        engine.drain_blocking().unwrap();
    }
}

#[test]
fn a_reader_of_another_process_shows_whole_drains() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let ledger = Ledger::new(1);
    let mut child = ChildProcess::spawn(dir.path(), &[("MILLPOND_SEED", random.number().to_string())]);
    while child.line().expect("the child opens its engine") != "open" {}
    // Or it waits for someone to read what it tells.
    let told = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut seen = Vec::new();
            let mut last = millpond::Position::new();
            for round in 0..rounds(30) {
                let reader = StateReader::open(&state, &ledger.graph).unwrap();
                assert!(
                    reader.position().includes(&last),
                    "round {round}: {} after {last}",
                    reader.position()
                );
                let (balances, branches) =
                    (reader.view(&ledger.balances).unwrap(), reader.view(&ledger.branches).unwrap());
                for _ in 0..5 {
                    let before = reader.snapshot().unwrap();
                    seen.push((
                        before.position().clone(),
                        Books::shown(&before, &balances, &branches).unwrap(),
                    ));
                    let moved = reader.refresh().unwrap();
                    let after = reader.snapshot().unwrap();
                    assert!(after.position().includes(before.position()));
                    assert!(moved || after.position() == before.position());
                    // The one that was there is as it was.
                    let (position, books) = seen.last().unwrap();
                    assert_eq!(before.position(), position);
                    assert_eq!(Books::shown(&before, &balances, &branches).unwrap(), *books);
                    // What views answer is of the moment that is shown.
                    let rows = Books::shown(&after, &balances, &branches).unwrap();
                    assert_eq!(balances.count().unwrap(), rows.balances().len() as u64);
                    for (account, balance) in rows.balances() {
                        assert_eq!(balances.get(account).unwrap().as_ref(), Some(balance));
                    }
                    last = after.position().clone();
                }
            }
            told.store(true, Ordering::Release);
            seen
        });
        while !told.load(Ordering::Acquire) && !reading.is_finished() {
            child.line().expect("the child goes on");
        }
        reading.join().unwrap()
    });
    child.kill_after(0);
    let log = open_changelog(&dir.path().join("changelog")).unwrap();
    let payments = read(&log, &ledger.payments).unwrap();
    for (position, books) in &seen {
        assert_eq!(*books, Books::folded(&payments, position), "at {position}");
    }
    let moments: std::collections::BTreeSet<_> =
        seen.iter().map(|(position, _)| position.to_string()).collect();
    println!("{} moments, {} of them different", seen.len(), moments.len());
    assert!(moments.len() > 2, "the child did nothing: {moments:?}");

    // Nobody has it open now. What a reader shows is what was drained last, and the engine takes nothing amiss.
    let reader = StateReader::open(&state, &ledger.graph).unwrap();
    let position = reader.position();
    let builder = Engine::builder(&ledger.graph).changelog(Arc::new(log)).state_dir(&state);
    assert_eq!(builder.stepper().unwrap().position(), position);
}

type Files = Vec<(String, u64, SystemTime)>;

fn files(dir: &Path) -> Files {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        files.push((entry.path().display().to_string(), metadata.len(), metadata.modified().unwrap()));
        if metadata.is_dir() {
            files.extend(self::files(&entry.path()));
        }
    }
    files.sort();
    files
}

/// A service that counts, with a second table where `more`, its table of this version, and values of a type.
fn counting(version: u32, more: bool) -> (Graph, StoredTable<u32, u64>, Option<StoredTable<u32, u64>>) {
    let numbers = Topic::<u32, u64>::new("numbers");
    let graph = GraphBuilder::new();
    let grouped = graph.stream(&numbers).group_by_key();
    let counts = grouped.count(TableOptions::named("counts").version(version));
    let sums = more.then(|| grouped.reduce("sums", |a, b| a + b));
    (graph.build().unwrap(), counts, sums)
}

struct Service {
    dir: tempfile::TempDir,
    log: Arc<MemoryChangelog>,
}

impl Service {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), log: Arc::new(MemoryChangelog::new()) }
    }

    fn state(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    fn engine(&self, graph: &Graph) -> Engine {
        let builder = Engine::builder(graph).changelog(Arc::clone(&self.log) as Arc<dyn Changelog>);
        builder.state_dir(self.state()).start().unwrap()
    }

    fn count(engine: &Engine, key: u32) {
        engine.append_blocking(&Topic::<u32, u64>::new("numbers"), &key, &5).unwrap();
        engine.catch_up_blocking().unwrap();
        engine.drain_blocking().unwrap();
    }
}

#[test]
fn a_reader_leaves_no_trace_and_is_in_nobodys_way() {
    let service = Service::new();
    let (graph, counts, _) = counting(1, false);
    let engine = service.engine(&graph);
    Service::count(&engine, 1);
    engine.close_blocking().unwrap();
    let before = files(&service.state());
    {
        let reader = StateReader::open(service.state(), &graph).unwrap();
        let view = reader.view(&counts).unwrap();
        assert_eq!((view.get(&1).unwrap(), view.get(&2).unwrap()), (Some(1), None));
        assert!(!reader.refresh().unwrap());
        assert_eq!(view.scan().unwrap().count(), 1);
        assert_eq!(files(&service.state()), before);
        // Whoever has come first: the engine opens, folds, and is followed.
        let engine = service.engine(&graph);
        Service::count(&engine, 2);
        assert_eq!(view.get(&2).unwrap(), None);
        assert!(reader.refresh().unwrap());
        assert_eq!(view.get(&2).unwrap(), Some(1));
        engine.close_blocking().unwrap();
        // A view goes on without its reader.
        drop(reader);
        assert_eq!(view.multi_get(&[1, 2, 3]).unwrap(), [Some(1), Some(1), None]);
    }
    let mine = format!("millpond-reader-{}-", std::process::id());
    let left = fs::read_dir(std::env::temp_dir()).unwrap();
    let left = left.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(&mine));
    // Of the tests beside this one, at most.
    assert!(left.count() <= 6);
}

#[test]
fn a_table_that_is_not_built_says_so_until_it_is() {
    let service = Service::new();
    let (graph, ..) = counting(1, false);
    let engine = service.engine(&graph);
    Service::count(&engine, 1);
    engine.close_blocking().unwrap();
    let (graph, counts, sums) = counting(1, true);
    let reader = StateReader::open(service.state(), &graph).unwrap();
    let sums = reader.view(&sums.unwrap()).unwrap();
    let error = sums.get(&1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("`sums`") && error.message().contains("`refresh`"), "{error}");
    assert_eq!(reader.view(&counts).unwrap().get(&1).unwrap(), Some(1));
    let before = reader.snapshot().unwrap();
    let engine = service.engine(&graph);
    engine.ready_blocking().unwrap();
    Service::count(&engine, 1);
    assert!(reader.refresh().unwrap());
    assert_eq!(sums.get(&1).unwrap(), Some(10));
    assert!(sums.is_live());
    assert_eq!(before.of(&sums).map(drop).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(reader.snapshot().unwrap().of(&sums).unwrap().count(), 1);
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_changed() {
    let service = Service::new();
    let (graph, counts, _) = counting(2, false);
    let missing = StateReader::open(service.state(), &graph).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Invalid);
    assert!(missing.message().contains("there is no state in"), "{missing}");
    assert!(!service.state().exists());
    let engine = service.engine(&graph);
    Service::count(&engine, 1);
    engine.close_blocking().unwrap();
    let nested = StateReader::open(service.dir.path(), &graph).unwrap_err();
    assert!(nested.message().contains("did you mean") && nested.message().contains("state"), "{nested}");

    let before = files(&service.state());
    let (older, ..) = counting(1, false);
    let error = StateReader::open(service.state(), &older).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("version 2 of table `counts`"), "{error}");
    let other = GraphBuilder::new();
    let texts = other.table(&Topic::<u32, String>::new("texts"), TableOptions::named("counts").version(2));
    let other = other.build().unwrap();
    let error = StateReader::open(service.state(), &other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("`counts`"), "{error}");
    // The version that comes next is not there yet.
    let (newer, newer_counts, _) = counting(3, false);
    let reader = StateReader::open(service.state(), &newer).unwrap();
    let view = reader.view(&newer_counts).unwrap();
    let error = view.get(&1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.message().contains("holds version 2 of table `counts`, the graph has version 3"),
        "{error}"
    );
    // Nor is a table of another name, which nobody need be building.
    let typo = GraphBuilder::new();
    let misnamed = typo.table(&Topic::<u32, String>::new("texts"), "cuonts");
    let reader_of_none = StateReader::open(service.state(), &typo.build().unwrap()).unwrap();
    let error = reader_of_none.view(&misnamed).unwrap().get(&1).unwrap_err();
    assert!(error.message().contains("has no table `cuonts`, but `counts`"), "{error}");
    // Handles of another graph are no one's.
    assert_eq!(reader.view(&counts).map(drop).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(reader.view(&texts).map(drop).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(files(&service.state()), before);
}

#[test]
fn changes_are_told_by_the_engine_only() {
    let service = Service::new();
    let (graph, counts, _) = counting(1, false);
    let engine = service.engine(&graph);
    let reader = StateReader::open(service.state(), &graph).unwrap();
    let view = reader.view(&counts).unwrap();
    let refused = [view.changes().map(drop).unwrap_err(), view.subscribe(&1).map(drop).unwrap_err()];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("subscribe at the engine"), "{error}");
    }
    drop(engine);
}

#[test]
fn a_state_that_was_replaced_is_not_taken_for_a_later_one() {
    let service = Service::new();
    let (graph, counts, _) = counting(1, false);
    let engine = service.engine(&graph);
    Service::count(&engine, 1);
    engine.close_blocking().unwrap();
    drop(engine);
    let reader = StateReader::open(service.state(), &graph).unwrap();
    let view = reader.view(&counts).unwrap();
    fs::remove_dir_all(service.state()).unwrap();
    assert_eq!(reader.refresh().unwrap_err().kind(), ErrorKind::Invalid);
    // What was opened can be read on.
    assert_eq!(view.get(&1).unwrap(), Some(1));
    let engine = service.engine(&graph);
    Service::count(&engine, 1);
    let error = reader.refresh().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("open another reader"), "{error}");
    assert_eq!(view.get(&1).unwrap(), Some(1));
    let another = StateReader::open(service.state(), &graph).unwrap();
    assert_eq!(another.view(&counts).unwrap().get(&1).unwrap(), Some(2));
}

/// Readers of both tables at once: a reader that moves on must not show one before the other.
#[test]
fn views_move_on_together() {
    let service = Service::new();
    let (graph, counts, sums) = counting(1, true);
    let engine = service.engine(&graph);
    Service::count(&engine, 1);
    let reader = StateReader::open(service.state(), &graph).unwrap();
    let (counts, sums) = (reader.view(&counts).unwrap(), reader.view(&sums.unwrap()).unwrap());
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Acquire) {
                    let count = counts.get(&1).unwrap().unwrap();
                    let sum = sums.get(&1).unwrap().unwrap();
                    assert!(sum >= count * 5, "{sum} after {count}");
                    let snapshot = reader.snapshot().unwrap();
                    let count = snapshot.of(&counts).unwrap().get(&1).unwrap().unwrap();
                    let sum = snapshot.of(&sums).unwrap().get(&1).unwrap().unwrap();
                    assert_eq!(sum, count * 5);
                    let offsets: u64 = snapshot.position().iter().map(|(_, offset)| offset).sum();
                    assert_eq!(offsets, count, "rows and position are of one moment");
                }
            });
        }
        for _ in 0..60 {
            Service::count(&engine, 1);
            reader.refresh().unwrap();
        }
        ended.store(true, Ordering::Release);
    });
    assert_eq!(counts.get(&1).unwrap(), Some(61));
}
