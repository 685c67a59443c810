//! Nothing runs away from a slow fold or a slow disk, and nothing hangs when it ends.
//!
//! Property: while the fold is `max_lag` records behind, `Producer::ready` does not resolve, also if the fold is stuck
//! in the midst of one epoch; it resolves when the fold has caught up, or when the engine is closed. While drains are
//! slow, the bytes that are not drained stay below the budget and one epoch more, and all records are folded in the
//! end.
//!
//! Method: a fold that stands still until the test lets it go on, and a store whose every write takes its time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::MemoryChangelog;
use millpond::store::{MemoryStore, Row, StateStore, StoreSnapshot, StoreStats};
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, Memory, Result, StoredTable, Topic};
use millpond_support::waiting::{Weir, resolves_at_once};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

fn counting(weir: &Weir) -> (Graph, Topic<u32, u64>, StoredTable<u32, u64>) {
    let events = Topic::new("events");
    let weir = weir.clone();
    let graph = GraphBuilder::new();
    let counts = graph.stream(&events).group_by_key().fold(
        "counts",
        || 0_u64,
        move |count, _, _| {
            weir.pass();
            *count += 1;
        },
    );
    (graph.build().unwrap(), events, counts)
}

#[test]
fn appends_wait_for_a_fold_that_stands_still() {
    let weir = Weir::default();
    let (graph, events, counts) = counting(&weir);
    let builder = Engine::builder(&graph).changelog(Arc::new(MemoryChangelog::new())).in_memory();
    let engine = builder.max_lag(100).start().unwrap();
    let producer = engine.producer(&events).unwrap();
    let mut appended = 0;
    let mut acks = Vec::new();
    while resolves_at_once(producer.ready()) {
        assert!(appended <= 200, "{appended} records were appended to a fold that stands still");
        acks.push(producer.put(&(appended % 7), &1));
        appended += 1;
    }
    assert!(appended > 100, "only {appended} records were let through");
    let waiting = std::thread::spawn({
        let producer = producer.clone();
        move || producer.ready_blocking()
    });
    weir.open();
    waiting.join().unwrap();
    for ack in acks {
        engine.wait_for_blocking(&ack.wait_blocking().unwrap()).unwrap();
    }
    assert!(resolves_at_once(producer.ready()));
    let view = engine.view(&counts).unwrap();
    let counted: u64 = view.scan().unwrap().map(|row| row.unwrap().1).sum();
    assert_eq!(counted, u64::from(appended));
}

#[test]
fn a_close_lets_go_of_whoever_waits() {
    let weir = Weir::default();
    let (graph, events, _) = counting(&weir);
    let builder = Engine::builder(&graph).changelog(Arc::new(MemoryChangelog::new())).in_memory();
    let engine = builder.max_lag(10).start().unwrap();
    let producer = engine.producer(&events).unwrap();
    for _ in 0..1000 {
        if !resolves_at_once(producer.ready()) {
            break;
        }
        drop(producer.put(&1, &1));
    }
    assert!(!resolves_at_once(producer.ready()));
    let waiting = std::thread::spawn(move || {
        producer.ready_blocking();
        producer.put(&1, &1).wait_blocking()
    });
    let closing = std::thread::spawn(move || engine.close_blocking());
    // The close lets the producer go on before the fold, which it must wait for, comes to an end; what it appends would
    // not be folded by this engine any more.
    assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    weir.open();
    closing.join().unwrap().unwrap();
}

/// A store whose every write takes its time.
struct SlowStore(MemoryStore);

impl StateStore for SlowStore {
    fn read(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.0.read(key, read)
    }

    fn read_sorted(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()> {
        self.0.read_sorted(keys, read)
    }

    fn ingest(&self, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        std::thread::park_timeout(Duration::from_millis(10));
        self.0.ingest(rows)
    }

    fn replace_range(&self, keys: Range<&[u8]>, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        self.0.replace_range(keys, rows)
    }

    fn snapshot(&self) -> Result<Arc<dyn StoreSnapshot>> {
        self.0.snapshot()
    }

    fn pressure(&self) -> f64 {
        self.0.pressure()
    }

    fn wait_for_room(&self) {}

    fn stats(&self) -> StoreStats {
        self.0.stats()
    }
}

#[test]
fn generations_stay_within_their_budget_while_drains_are_slow() {
    const BUDGET: usize = 64 << 10;
    const ROUNDS: u64 = 100;
    const KEYS: u64 = 500;
    let events = Topic::<u64, u64>::new("events");
    let graph = GraphBuilder::new();
    let latest = graph.table(&events, "latest");
    let graph = graph.build().unwrap();
    let memory = Memory::budget(16 << 20).generation_bytes(BUDGET);
    let engine = Engine::builder(&graph)
        .changelog(Arc::new(MemoryChangelog::new()))
        .store(Arc::new(SlowStore(MemoryStore::new())))
        .memory_split(memory)
        .epoch_records(100)
        .start()
        .unwrap();
    let producer = engine.producer(&events).unwrap();
    let mut most = 0;
    let mut last = millpond::Position::new();
    for round in 0..ROUNDS {
        let records: Vec<(u64, u64)> = (0..KEYS).map(|key| (round * KEYS + key, round)).collect();
        last =
            producer.send(records.iter().map(|(key, value)| (key, Some(value), 0))).wait_blocking().unwrap();
        most = most.max(engine.stats().undrained_bytes);
    }
    while !engine.position().includes(&last) {
        most = most.max(engine.stats().undrained_bytes);
        std::thread::yield_now();
    }
    // Rows of about 20 bytes are kept with as much again for their order, in parts that grow by doubling.
    let epoch = 100 * 100;
    println!("{most} bytes at the most");
    assert!(most <= BUDGET + 2 * epoch, "{most} bytes were not drained, the budget is {BUDGET}");
    assert!(most > BUDGET / 4, "the drains were not slow");
    assert_eq!(engine.view(&latest).unwrap().count().unwrap(), ROUNDS * KEYS);
    engine.close_blocking().unwrap();
}
