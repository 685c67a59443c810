//! Subscribers cost what they are told, and what waits for them is bounded in bytes.
//!
//! Property: nothing waits for a subscriber of a key: however slow it is, it is never cut off and finds the newest value,
//! once; changes of other keys cost it nothing. What waits for streams of changes stays within the budget and the
//! newest epoch; when it does not, the stream that holds most is cut off, with an error that says so, and those that
//! keep up go on. Without a subscriber nobody looks at what has changed.
//!
//! Method: values that count how often they are copied; streams and keys that nobody reads, under a small budget. Once a
//! subscriber of a key got all changes of its table: one that nobody read, of a key that never changed, grew to 1.3 GiB
//! with a budget of 64 MiB, and was cut off by changes of other keys.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::{MemoryChangelog, Producer};
use millpond::codec::Key;
use millpond::{Engine, ErrorKind, GraphBuilder, Memory, StoredTable, Topic};
use millpond_support::waiting::{block_on, resolves_at_once};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static COPIES: AtomicU64 = AtomicU64::new(0);

/// Counts its copies.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counted(u64);

impl Clone for Counted {
    fn clone(&self) -> Self {
        COPIES.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

fn start<K: Key, V>(topic: &Topic<K, V>, memory: usize) -> (Engine, StoredTable<K, V>)
where
    V: millpond::codec::Value + Serialize + for<'d> Deserialize<'d>,
{
    let graph = GraphBuilder::new();
    let latest = graph.table(topic, "latest");
    let builder = Engine::builder(&graph.build().unwrap()).changelog(Arc::new(MemoryChangelog::new()));
    (builder.in_memory().memory(memory).shards(2).start().unwrap(), latest)
}

fn put<K: Key, V: millpond::codec::Value>(engine: &Engine, producer: &Producer<K, V>, rows: &[(K, V)]) {
    let position =
        producer.send(rows.iter().map(|(key, value)| (key, Some(value), 0))).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
}

#[test]
fn a_slow_subscriber_of_a_key_finds_the_newest_value_once() {
    let topic = Topic::<u32, Vec<u8>>::new("blobs");
    let (engine, table) = start(&topic, 8 << 20);
    let (producer, view) = (engine.producer(&topic).unwrap(), engine.view(&table).unwrap());
    put(&engine, &producer, &[(1, vec![1]), (2, vec![1])]);
    let (mut busy, mut quiet) = (view.subscribe(&1).unwrap(), view.subscribe(&2).unwrap());
    for round in 0..400_u32 {
        put(&engine, &producer, &[(1, vec![round as u8; 64 << 10]), (3, vec![0; 64 << 10])]);
    }
    // 50 MiB of changes went by.
    assert_eq!(engine.stats().subscriber_bytes, 0);
    assert_eq!((busy.current().unwrap().len(), quiet.current().unwrap().len()), (1, 1));
    let newest = vec![(399_u32 % 256) as u8; 64 << 10];
    assert!(block_on(busy.next()).unwrap().unwrap() == Some(newest), "not the newest value");
    assert!(!resolves_at_once(busy.next()), "it was told twice of one value");
    assert!(!resolves_at_once(quiet.next()), "it was told of another key");
    put(&engine, &producer, &[(2, vec![1])]);
    assert!(!resolves_at_once(quiet.next()), "it was told of the value that it knows");
    let position = producer.delete(&2).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    assert_eq!(block_on(quiet.next()).unwrap().unwrap(), None);
}

#[test]
fn other_keys_do_not_cut_a_quiet_one_off() {
    let topic = Topic::<u64, u64>::new("numbers");
    let (engine, table) = start(&topic, 64 << 20);
    let (producer, view) = (engine.producer(&topic).unwrap(), engine.view(&table).unwrap());
    let mut quiet = view.subscribe(&0).unwrap();
    for round in 1..=60_u64 {
        let rows: Vec<(u64, u64)> = (1..=20_000).map(|key| (key, round)).collect();
        put(&engine, &producer, &rows);
    }
    put(&engine, &producer, &[(0, 7)]);
    assert_eq!(block_on(quiet.next()).unwrap().unwrap(), Some(7));
}

#[test]
fn nobody_looks_at_changes_that_no_one_subscribes_to() {
    let topic = Topic::<u32, Counted>::new("counted");
    let (engine, table) = start(&topic, 64 << 20);
    let (producer, view) = (engine.producer(&topic).unwrap(), engine.view(&table).unwrap());
    let mut number = 0;
    let mut copies = |rows: std::ops::Range<u32>| {
        let mut next = || {
            number += 1;
            let rows: Vec<(u32, Counted)> = rows.clone().map(|key| (key, Counted(number))).collect();
            let before = COPIES.load(Ordering::Relaxed);
            put(&engine, &producer, &rows);
            COPIES.load(Ordering::Relaxed) - before
        };
        next();
        next()
    };
    // The value before is kept for readers; that is a copy for each.
    let usual = copies(0..1000);
    let keys: Vec<_> = (10_000..20_000).map(|key| view.subscribe(&key).unwrap()).collect();
    assert_eq!(copies(0..1000), usual, "subscribers of other keys");
    assert_eq!(copies(9_990..10_010), 20, "subscribers that were told, and have not asked");
    drop(keys);
    let (start, stream) = view.changes().unwrap();
    drop(start);
    assert_eq!(copies(0..1000), 3 * usual, "a stream gets the value before and after");
    drop(stream);
    assert_eq!(copies(0..1000), usual, "no one is left");
}

#[test]
fn a_stream_that_falls_too_far_behind_is_cut_off_and_the_others_are_not() {
    const VALUE_BYTES: usize = 16 << 10;
    let topic = Topic::<u32, Vec<u8>>::new("blobs");
    let budget = 32 << 20;
    let (engine, table) = start(&topic, budget);
    let (producer, view) = (engine.producer(&topic).unwrap(), engine.view(&table).unwrap());
    let allowed = Memory::budget(budget).subscriber_bytes();
    let [mut slow, mut quick, mut silent] = [(); 3].map(|()| view.changes().unwrap().1);
    let (mut most, mut changes) = (0, 0);
    let epochs = 4 * allowed / VALUE_BYTES;
    for epoch in 0..epochs {
        put(&engine, &producer, &[((epoch % 8) as u32, vec![(epoch % 251) as u8; VALUE_BYTES])]);
        most = most.max(engine.stats().subscriber_bytes);
        changes += block_on(quick.next()).unwrap().unwrap().changes().len();
    }
    assert_eq!(changes, epochs, "a subscriber that keeps up misses nothing");
    println!("{most} bytes waited at the most, {allowed} may");
    assert!(most <= allowed + 3 * VALUE_BYTES && most > allowed / 2, "{most} bytes waited, {allowed} may");
    let error = loop {
        match slow.try_next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was not cut off"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(
        error.message().contains("`latest`") && error.message().contains(&allowed.to_string()),
        "{error}"
    );
    let told = block_on(slow.next()).unwrap().map(drop).map_err(|error| error.kind());
    assert_eq!(told, Err(ErrorKind::Unavailable));
    assert!(block_on(slow.next()).is_none(), "it is told once, and ends");
    assert_eq!(engine.stats().subscriber_bytes, 0, "what was cut off holds nothing");

    // One epoch that is larger than what may wait is told to whoever has taken all before it.
    let mut fresh = view.changes().unwrap().1;
    put(&engine, &producer, &[(1, vec![252; 2 * allowed])]);
    for stream in [&mut fresh, &mut quick] {
        assert_eq!(block_on(stream.next()).unwrap().unwrap().changes().len(), 1);
    }

    // Whoever has missed changes is told so, and not that this was all, also by an engine that is closed.
    engine.close_blocking().unwrap();
    let told = silent.next_blocking().unwrap().map(drop).map_err(|error| error.kind());
    assert_eq!(told, Err(ErrorKind::Unavailable));
    assert!(silent.next_blocking().is_none() && quick.next_blocking().is_none());
}

#[test]
fn what_is_left_unread_does_not_outlive_its_subscriber() {
    let topic = Topic::<u32, Vec<u8>>::new("blobs");
    let (engine, table) = start(&topic, 64 << 20);
    let (producer, view) = (engine.producer(&topic).unwrap(), engine.view(&table).unwrap());
    let unread = view.changes().unwrap().1;
    put(&engine, &producer, &[(1, vec![0; 100_000])]);
    assert!(engine.stats().subscriber_bytes >= 100_000);
    let other = view.changes().unwrap().1;
    drop(unread);
    assert_eq!(engine.stats().subscriber_bytes, 0);
    drop(other);
}
