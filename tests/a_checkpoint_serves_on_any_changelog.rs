//! A checkpoint is the state of an engine on any changelog: position and rows are all that there is of it.
//!
//! Property: the copy of an engine that has nothing but a directory for its state, on a log of somebody else that has gaps
//! and keeps no holds, goes on from its position and comes to equal the original; under the name of the original it is that state,
//! under another one it is a state of its own from then on. Neither touches the original.
//!
//! Method: random records and epochs on a log of one's own; copies opened at later moments.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, Producer};
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, ManualClock, StateInfo, Stepper, StoredTable, Topic};
use millpond_support::environment::{rounds, seed};
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

type Sums = BTreeMap<u64, u64>;

fn sums(topic: &Topic<u64, u64>) -> (Graph, StoredTable<u64, u64>) {
    let graph = GraphBuilder::new();
    let sums = graph.stream(topic).group_by_key().fold("sums", || 0_u64, |sum, _, number| *sum += number);
    (graph.build().unwrap(), sums)
}

fn open(graph: &Graph, log: &Arc<OwnLog>, name: &str, dir: &Path) -> Stepper {
    let builder = Engine::builder(graph).changelog(Arc::clone(log) as Arc<dyn Changelog>).name(name);
    builder.state_dir(dir).stepper().unwrap()
}

fn fold_all(stepper: &mut Stepper, table: &StoredTable<u64, u64>) -> Sums {
    // A poll may find nothing although there is more.
    for _ in 0..100 {
        stepper.epoch(1000).unwrap();
    }
    stepper.view(table).unwrap().scan().unwrap().map(Result::unwrap).collect()
}

fn identity(dir: &Path) -> String {
    StateInfo::read(dir).unwrap().identity.unwrap()
}

fn run(seed: u64) {
    println!("run with seed {seed}");
    let mut random = Random::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::<u64, u64>::new("numbers").partitions(3);
    let (graph, table) = sums(&topic);
    let log = OwnLog::with_gaps(random.number());
    let mut original = open(&graph, &log, "sums", &dir.path().join("state"));
    let producer = Producer::new(log.clone(), &topic, Arc::new(ManualClock::new(0))).unwrap();
    let mut expected = Sums::new();
    let mut append = |random: &mut Random, records: u64| {
        for _ in 0..records {
            let (key, value) = (random.below(9), random.below(100));
            producer.put(&key, &value).wait_blocking().unwrap();
            *expected.entry(key).or_default() += value;
        }
        expected.clone()
    };
    append(&mut random, 50);
    for _ in 0..random.below(40) {
        original.epoch(7).unwrap();
    }
    let copies = ["kept", "clone"].map(|name| dir.path().join(name));
    for copy in &copies {
        let position = original.checkpoint(copy).unwrap();
        let info = StateInfo::verify(copy).unwrap();
        assert!(position.includes(&info.position) && original.position().includes(&position));
        assert_eq!(info.service.as_deref(), Some("sums"));
    }
    let all = append(&mut random, 50);
    let [kept, clone] = &copies;
    let before = identity(kept);
    assert_eq!(fold_all(&mut original, &table), all);
    assert_eq!(fold_all(&mut open(&graph, &log, "other", clone), &table), all);
    // The original goes on beside its clone.
    let all = append(&mut random, 50);
    assert_eq!(fold_all(&mut original, &table), all);
    original.drain().unwrap();
    drop(original);
    assert_eq!(fold_all(&mut open(&graph, &log, "sums", kept), &table), all);
    let identities = [&dir.path().join("state"), kept, clone].map(|dir| identity(dir));
    assert!(identities[0] == before && identities[1] == before && identities[2] != before);
    // And stays what it has become.
    assert_eq!(fold_all(&mut open(&graph, &log, "other", clone), &table), all);
    assert_eq!(identity(clone), identities[2]);
    assert_eq!(StateInfo::read(clone).unwrap().service.as_deref(), Some("other"));
}

#[test]
fn a_copy_takes_the_place_of_the_original_or_becomes_a_clone() {
    let mut random = Random::new(seed());
    for _ in 0..rounds(6) {
        run(random.number());
    }
}

#[test]
fn a_hold_on_a_log_that_keeps_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::<u64, u64>::new("numbers");
    let (graph, _) = sums(&topic);
    let log = OwnLog::with_gaps(1);
    let engine = Engine::builder(&graph).changelog(log as Arc<dyn Changelog>).state_dir(dir.path());
    let engine = engine.start().unwrap();
    let error = engine.hold("backup").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("retention of the topics reaches back"), "{error}");
}
