//! An engine that is to end does not wait until its store has room.
//!
//! Property: closing an engine whose store is full returns, and what was published is durable all the same; an engine
//! that stops at a bad record while its drain waits for room does not wait either.
//!
//! Method: a store that has no room for as long as anyone is ready to wait for it. Once whoever closed had to wait until
//! compactions had made room, which they may never do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::MemoryChangelog;
use millpond::store::{MemoryStore, Row, StateStore, StoreSnapshot, StoreStats};
use millpond::{Engine, ErrorKind, GraphBuilder, Health, Result, StoredTable, Topic};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Default)]
struct FullStore {
    store: MemoryStore,
    waits: AtomicUsize,
    ingests: AtomicUsize,
}

impl StateStore for FullStore {
    fn read(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.store.read(key, read)
    }

    fn read_sorted(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()> {
        self.store.read_sorted(keys, read)
    }

    fn ingest(&self, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        self.ingests.fetch_add(1, Ordering::SeqCst);
        self.store.ingest(rows)
    }

    fn replace_range(&self, keys: Range<&[u8]>, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        self.store.replace_range(keys, rows)
    }

    fn snapshot(&self) -> Result<Arc<dyn StoreSnapshot>> {
        self.store.snapshot()
    }

    fn pressure(&self) -> f64 {
        1.0
    }

    fn wait_for_room(&self) {
        self.wait_for_room_until(&|| false);
    }

    fn wait_for_room_until(&self, given_up: &dyn Fn() -> bool) {
        self.waits.fetch_add(1, Ordering::SeqCst);
        while !given_up() {
            std::thread::yield_now();
        }
    }

    fn stats(&self) -> StoreStats {
        self.store.stats()
    }
}

fn events() -> Topic<u32, u64> {
    Topic::new("events")
}

/// An engine whose drain waits for room.
fn waiting(store: &Arc<FullStore>, log: &Arc<MemoryChangelog>) -> (Engine, StoredTable<u32, u64>) {
    let graph = GraphBuilder::new();
    let shares =
        graph.stream(&events()).group_by_key().fold("shares", || 0, |sum, _, value: u64| *sum += 100 / value);
    let builder = Engine::builder(&graph.build().unwrap()).changelog(log.clone()).store(store.clone());
    let engine = builder.drain_interval(Duration::from_millis(1)).start().unwrap();
    let position = engine.append(&events(), &1, &5).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    while store.waits.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    (engine, shares)
}

#[test]
fn closing_does_not_wait_for_room() {
    let (store, log) = (Arc::new(FullStore::default()), Arc::new(MemoryChangelog::new()));
    let (engine, _) = waiting(&store, &log);
    let before = store.ingests.load(Ordering::SeqCst);
    engine.close_blocking().unwrap();
    assert!(store.ingests.load(Ordering::SeqCst) > before, "what was published is durable");
    let rows = store.stats().rows_estimate;
    assert!(rows > 2, "{rows} rows");
}

#[test]
fn a_stop_does_not_wait_for_room() {
    let (store, log) = (Arc::new(FullStore::default()), Arc::new(MemoryChangelog::new()));
    let (engine, shares) = waiting(&store, &log);
    let position = engine.append(&events(), &1, &0).wait_blocking().unwrap();
    assert_eq!(engine.wait_for_blocking(&position).unwrap_err().kind(), ErrorKind::User);
    assert!(matches!(engine.health(), Health::Stopped { .. }));
    assert_eq!(engine.view(&shares).unwrap().get(&1).unwrap_err().kind(), ErrorKind::User);
    assert_eq!(engine.close_blocking().unwrap_err().kind(), ErrorKind::User);
}
