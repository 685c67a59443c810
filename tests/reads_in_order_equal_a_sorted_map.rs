//! Whatever is read in order equals the same read of a sorted map.
//!
//! Property: get, `multi_get`, contains, count, scan, and range and prefix with every kind of bound, forwards and
//! backwards, give what a `BTreeMap` gives, wherever the rows are: in memory, in generations, on disk, or deleted in
//! one of these and present in another.
//!
//! Method: random puts and deletes in random epochs and drains on disk, compared after each; keys are pairs that share
//! first fields, with texts that are prefixes of each other and hold zero bytes.
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
use millpond::{Engine, GraphBuilder, Result, Topic, View};
use millpond_support::environment::{rounds, seed};
use millpond_support::random::Random;
use millpond_support::records::producer;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

type Key = (i8, String);
type Model = BTreeMap<Key, u64>;

fn key(random: &mut Random) -> Key {
    let text = random.pick(&["", "a", "ab", "abc", "b", "\0", "a\0", "a\0b", "\u{ff}", "é"]);
    (random.pick(&[-128, -1, 0, 1, 127]), text.to_owned())
}

fn rows(scan: Result<impl Iterator<Item = Result<(Key, u64)>>>) -> Vec<(Key, u64)> {
    scan.unwrap().map(Result::unwrap).collect()
}

fn bound(random: &mut Random) -> Bound<Key> {
    match random.below(3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(key(random)),
        _ => Bound::Excluded(key(random)),
    }
}

fn compare(view: &View<Key, u64>, model: &Model, random: &mut Random) {
    let pairs = |rows: &mut dyn Iterator<Item = (&Key, &u64)>| -> Vec<(Key, u64)> {
        rows.map(|(key, value)| (key.clone(), *value)).collect()
    };
    assert_eq!(rows(view.scan()), pairs(&mut model.iter()));
    assert_eq!(rows(view.scan().map(Iterator::rev)), pairs(&mut model.iter().rev()));
    assert_eq!(view.count().unwrap(), model.len() as u64);
    let keys: Vec<Key> = (0..8).map(|_| key(random)).collect();
    let expected: Vec<Option<u64>> = keys.iter().map(|key| model.get(key).copied()).collect();
    assert_eq!(view.multi_get(&keys).unwrap(), expected);
    for (key, expected) in keys.iter().zip(expected) {
        assert_eq!(view.get(key).unwrap(), expected, "{key:?}");
        assert_eq!(view.contains(key).unwrap(), expected.is_some(), "{key:?}");
    }
    for _ in 0..6 {
        let (low, high) = (bound(random), bound(random));
        let inside = |key: &Key| {
            (match &low {
                Bound::Included(low) => key >= low,
                Bound::Excluded(low) => key > low,
                Bound::Unbounded => true,
            }) && (match &high {
                Bound::Included(high) => key <= high,
                Bound::Excluded(high) => key < high,
                Bound::Unbounded => true,
            })
        };
        let mut expected = pairs(&mut model.iter().filter(|(key, _)| inside(key)));
        let range = (low.clone(), high.clone());
        assert_eq!(rows(view.range(range.clone())), expected, "{range:?}");
        expected.reverse();
        assert_eq!(rows(view.range(range.clone()).map(Iterator::rev)), expected, "{range:?} backwards");
    }
    let first = random.pick(&[-128_i8, -1, 0, 1, 127, 5]);
    let mut expected = pairs(&mut model.iter().filter(|((number, _), _)| *number == first));
    assert_eq!(rows(view.prefix(&(first,))), expected, "prefix {first}");
    expected.reverse();
    assert_eq!(rows(view.prefix(&(first,)).map(Iterator::rev)), expected, "prefix {first} backwards");
}

#[test]
fn reads_in_order_equal_a_sorted_map() {
    let mut random = Random::new(seed());
    for _ in 0..rounds(4) {
        let events = Topic::<Key, u64>::new("events");
        let graph = GraphBuilder::new();
        let latest = graph.table(&events, "latest");
        let graph = graph.build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
        let builder = Engine::builder(&graph).changelog(Arc::clone(&log)).state_dir(dir.path());
        let mut stepper = builder.memory(64 << 10).shards(random.pick(&[1, 3])).stepper().unwrap();
        let producer = producer(log, &events).unwrap();
        let view = stepper.view(&latest).unwrap();
        let mut model = Model::new();
        for _ in 0..40 {
            for _ in 0..random.below(12) {
                let key = key(&mut random);
                if random.below(3) == 0 {
                    producer.delete(&key).wait_blocking().unwrap();
                    model.remove(&key);
                } else {
                    let value = random.below(1000);
                    producer.put(&key, &value).wait_blocking().unwrap();
                    model.insert(key, value);
                }
            }
            while stepper.epoch(random.pick(&[1, 3, 100])).unwrap() {}
            compare(&view, &model, &mut random);
            if random.below(3) == 0 {
                stepper.drain().unwrap();
                compare(&view, &model, &mut random);
            }
        }
    }
}
