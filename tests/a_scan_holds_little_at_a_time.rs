//! A scan reads a bounded number of bytes at a time, however large the rows are, and gives what a sorted map gives.
//!
//! Property: no single look into the store has it hand over more than 256 KiB and two rows; rows of all sizes, in the
//! store, in generations and deleted in one of them, read from both ends in any mixture, are those of a sorted map.
//!
//! Method: a store that counts what its scans hand over. Pieces were once bounded in rows only, 4,096 of each layer: 1,000
//! rows of 1 MiB took 598 MiB of a process with a budget of 64. (Small tables, and every kind of bound, are read in
//! `reads_in_order_equal_a_sorted_map.rs`; its scans end within their first piece.)
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
use millpond::store::{Direction, MemoryStore, Row, StateStore, StoreSnapshot, StoreStats, Visit};
use millpond::{Engine, GraphBuilder, Result, Topic};
use millpond_support::environment::{rounds, seed};
use millpond_support::random::Random;
use millpond_support::records::producer;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What one look into the store may have it hand over, beside rows that are larger.
const PIECE_BYTES: usize = 256 << 10;

#[derive(Default)]
struct Counting {
    store: MemoryStore,
    scanned_bytes: Arc<AtomicUsize>,
}

struct CountingSnapshot(Arc<dyn StoreSnapshot>, Arc<AtomicUsize>);

impl StateStore for Counting {
    fn read(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.store.read(key, read)
    }

    fn read_sorted(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()> {
        self.store.read_sorted(keys, read)
    }

    fn ingest(&self, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        self.store.ingest(rows)
    }

    fn replace_range(&self, keys: Range<&[u8]>, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        self.store.replace_range(keys, rows)
    }

    fn snapshot(&self) -> Result<Arc<dyn StoreSnapshot>> {
        Ok(Arc::new(CountingSnapshot(self.store.snapshot()?, Arc::clone(&self.scanned_bytes))))
    }

    fn pressure(&self) -> f64 {
        0.0
    }

    fn wait_for_room(&self) {}

    fn stats(&self) -> StoreStats {
        self.store.stats()
    }
}

impl StoreSnapshot for CountingSnapshot {
    fn read(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.0.read(key, read)
    }

    fn scan(&self, keys: Range<&[u8]>, direction: Direction, visit: Visit<'_>) -> Result<()> {
        let mut bytes = 0;
        let scanned = self.0.scan(keys, direction, &mut |key, value| {
            bytes += key.len() + value.len();
            visit(key, value)
        });
        self.1.fetch_max(bytes, Ordering::Relaxed);
        scanned
    }
}

/// How large the values of a round are.
fn sizes(random: &mut Random) -> &'static [usize] {
    random.pick::<&[usize]>(&[&[1, 20], &[10, 3_000], &[0, 100, 100_000], &[5, 5, 5, 5, 600_000], &[300_000]])
}

#[test]
fn a_scan_holds_little_at_a_time() {
    let mut random = Random::new(seed());
    for round in 0..rounds(12) {
        let events = Topic::<u32, Vec<u8>>::new("events");
        let graph = GraphBuilder::new();
        let latest = graph.table(&events, "latest");
        let store = Arc::new(Counting::default());
        let scanned_bytes = Arc::clone(&store.scanned_bytes);
        let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
        let builder = Engine::builder(&graph.build().unwrap()).changelog(Arc::clone(&log)).store(store);
        let mut stepper = builder.shards(random.pick(&[1, 3])).stepper().unwrap();
        let producer = producer(log, &events).unwrap();

        let sizes = sizes(&mut random);
        let keys: u32 = if sizes.iter().max() > Some(&50_000) { 60 } else { 20_000 };
        let mut model = BTreeMap::new();
        for layer in 0..6 {
            for _ in 0..random.below(u64::from(keys)) {
                let key = random.below(u64::from(keys)) as u32;
                if random.below(4) == 0 {
                    drop(producer.delete(&key));
                    model.remove(&key);
                } else {
                    let value = vec![layer; random.pick(sizes)];
                    drop(producer.put(&key, &value));
                    model.insert(key, value);
                }
            }
            while stepper.epoch(random.pick(&[7, 100_000])).unwrap() {}
            if layer < 3 {
                stepper.drain().unwrap();
            }
        }

        let largest = sizes.iter().max().unwrap() + 100;
        let mut scan = stepper.view(&latest).unwrap().scan().unwrap();
        let mut expected: VecDeque<(u32, Vec<u8>)> = model.into_iter().collect();
        let from_behind = random.pick(&[0, 1, 50, 100]);
        let mut rows = 0;
        loop {
            let (row, wanted) = if random.below(100) < from_behind {
                (scan.next_back(), expected.pop_back())
            } else {
                (scan.next(), expected.pop_front())
            };
            assert!(row.transpose().unwrap() == wanted, "round {round}: row {rows} of sizes {sizes:?}");
            if wanted.is_none() {
                break;
            }
            rows += 1;
        }
        let most = scanned_bytes.load(Ordering::Relaxed);
        println!("round {round}: {rows} rows of {sizes:?}, at most {most} bytes at a time");
        assert!(most <= PIECE_BYTES + 2 * largest, "round {round}: {most} bytes at a time, sizes {sizes:?}");
    }
}
