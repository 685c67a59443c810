//! A view never goes back in time, and a snapshot never changes.
//!
//! Property: with one counter under many keys that every record raises together, what a reader sees never falls from
//! one read to the next, whichever keys it reads in whichever way; within a snapshot all counters are equal, and they
//! are the same when the snapshot is read again much later. After `wait_for` a reader sees at least what it waited for.
//!
//! Method: readers without pause while the engine folds, drains every millisecond to disk and evicts nearly
//! everything (a hot budget of a few entries). The writer rests until rows have left the memory, again and again, so
//! that every read finds its row now here, now there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::{MemoryChangelog, Producer};
use millpond::{Engine, GraphBuilder, Memory, Topic, View};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const KEYS: u32 = 64;

/// A key beside those of the counters that are raised together.
const OTHER: u32 = KEYS;

/// For what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Room for hardly any row.
fn memory() -> Memory {
    Memory::budget(0)
        .hot_bytes(400)
        .generation_bytes(64 << 10)
        .block_cache_bytes(1 << 20)
        .input_bytes(1 << 20)
}

/// Waits until all is drained, and lets an epoch pass that changes none of the counters: then they leave the memory, and
/// whoever reads them fetches them from the disk.
fn rest(engine: &Engine, producer: &Producer<u32, ()>) {
    let begun = Instant::now();
    while engine.stats().tables["counts"].hot_entries > KEYS as usize / 2 {
        while engine.stats().undrained_bytes > 0 && begun.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        let position = producer.put(&OTHER, &()).wait_blocking().unwrap();
        engine.wait_for_blocking(&position).unwrap();
        assert!(begun.elapsed() < PATIENCE, "no row leaves the memory: {:?}", engine.stats());
    }
}

/// The counters that are raised together, of all rows.
fn counters(rows: impl Iterator<Item = millpond::Result<(u32, u64)>>) -> Vec<Option<u64>> {
    rows.map(Result::unwrap).filter(|(key, _)| *key != OTHER).map(|row| Some(row.1)).collect()
}

/// Reads once, each time in another way, and returns what it saw in the order in which it was read.
fn read(view: &View<u32, u64>, turn: u64) -> Vec<u64> {
    let keys: Vec<u32> = (0..KEYS).map(|key| (key * 29 + turn as u32) % KEYS).collect();
    let seen: Vec<Option<u64>> = match turn % 4 {
        0 | 1 => keys.iter().map(|key| view.get(key).unwrap()).collect(),
        2 => view.multi_get(&keys).unwrap(),
        _ => counters(view.scan().unwrap()),
    };
    let seen: Vec<u64> = seen.into_iter().map(Option::unwrap_or_default).collect();
    assert!(seen.is_sorted(), "turn {turn}: {seen:?}");
    if turn % 4 >= 2 {
        assert!(seen.iter().all(|count| *count == seen[0]), "turn {turn} is not of one epoch: {seen:?}");
    }
    seen
}

#[test]
fn a_view_never_goes_back_in_time() {
    let ticks = Topic::<u32, ()>::new("ticks");
    let graph = GraphBuilder::new();
    let counts = graph
        .stream(&ticks)
        .flat_map(|key, ()| {
            let raised = if key == OTHER { OTHER..OTHER + 1 } else { 0..KEYS };
            raised.map(|key| (key, ())).collect::<Vec<_>>()
        })
        .group_by_key()
        .count("counts");
    let graph = graph.build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::builder(&graph)
        .changelog(Arc::new(MemoryChangelog::new()))
        .state_dir(dir.path())
        .memory_split(memory())
        .shards(3)
        .drain_interval(Duration::from_millis(1))
        .start()
        .unwrap();
    let view = engine.view(&counts).unwrap();
    let reads = AtomicU64::new(0);
    // The writer holds it: the readers end with the writer, also if it panics.
    let writing = Arc::new(());
    let written = Arc::downgrade(&writing);
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (view, written, reads) = (&view, &written, &reads);
            scope.spawn(move || {
                let mut last = 0;
                for turn in reader.. {
                    if written.strong_count() == 0 {
                        break;
                    }
                    let seen = read(view, turn);
                    if let (Some(&first), Some(&newest)) = (seen.first(), seen.last()) {
                        assert!(first >= last, "{first} after {last}");
                        last = newest;
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut kept = Vec::new();
        let producer = engine.producer(&ticks).unwrap();
        for tick in 1..=3000 {
            let position = producer.put(&7, &()).wait_blocking().unwrap();
            if tick % 10 == 0 {
                engine.wait_for_blocking(&position).unwrap();
                let seen = view.get(&((tick % 64) as u32)).unwrap();
                assert!(seen >= Some(tick), "{seen:?} after waiting for {tick}");
            }
            if tick % 100 == 0 {
                let snapshot = view.snapshot().unwrap();
                let count = snapshot.get(&0).unwrap();
                kept.push((snapshot, count));
                rest(&engine, &producer);
                read(&view, tick);
            }
        }
        for (snapshot, count) in kept {
            assert_eq!(counters(snapshot.scan()), vec![count; KEYS as usize], "a snapshot changed");
        }
        drop(writing);
    });
    let stats = engine.stats();
    println!("{} reads, {} epochs, {} drains", reads.into_inner(), stats.epochs, stats.drains);
}
