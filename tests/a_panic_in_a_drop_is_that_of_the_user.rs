//! A value whose `Drop` panics is a failure of user code, wherever it is dropped, and not called a defect of millpond.
//!
//! Property: the engine stops with an error of kind `User` that says what was going on and what the panic said; the log
//! is whole, and the next engine, with code that was mended, folds all of it.
//!
//! Method: values that panic when they are dropped by the engine, which happens to be at eviction, when an epoch is
//! taken back, and when the engine is closed. Panics on the engine's own threads were once all put down to millpond.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use millpond::changelog::MemoryChangelog;
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, Memory, StoredTable, Topic};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Panics when it is dropped while it holds the number of the beast.
#[derive(Clone, Serialize, Deserialize)]
struct Fragile(u64);

static MENDED: AtomicBool = AtomicBool::new(false);

impl Drop for Fragile {
    fn drop(&mut self) {
        // A second panic while one unwinds would end the process, which is Rust's rule and not ours.
        let whole = self.0 != 666 || std::thread::panicking() || MENDED.load(Ordering::Relaxed);
        assert!(whole, "a fragile value broke");
    }
}

fn events() -> Topic<u32, u64> {
    Topic::new("events")
}

fn fragile() -> (Graph, StoredTable<u32, Fragile>) {
    let graph = GraphBuilder::new();
    let table = graph.stream(&events()).group_by_key().fold(
        "fragile",
        || Fragile(0),
        |value, _, number| {
            assert!(number != 13, "bad luck");
            value.0 = number;
        },
    );
    (graph.build().unwrap(), table)
}

/// Runs an engine with room for hardly any row until it stops, or is closed.
fn run(records: &[(u32, u64)]) -> Option<millpond::Error> {
    let (graph, table) = fragile();
    let log = Arc::new(MemoryChangelog::new());
    let memory = Memory::budget(16 << 20).hot_bytes(0);
    let builder = Engine::builder(&graph).changelog(log.clone()).in_memory().shards(2);
    let engine = builder.memory_split(memory).drain_interval(Duration::from_millis(1)).start().unwrap();
    let producer = engine.producer(&events()).unwrap();
    let mut stopped = None;
    for (key, value) in records {
        let Ok(position) = producer.put(key, value).wait_blocking() else { break };
        if let Err(error) = engine.wait_for_blocking(&position) {
            stopped = Some(error);
            break;
        }
    }
    if stopped.is_some() {
        assert_eq!(engine.view(&table).unwrap().count().unwrap_err().kind(), ErrorKind::User);
    }
    let closed = engine.close_blocking();
    assert_eq!(closed.is_err(), stopped.is_some(), "{closed:?}");

    MENDED.store(true, Ordering::Relaxed);
    let engine = Engine::builder(&graph).changelog(log).in_memory().start().unwrap();
    let position = engine.append(&events(), &0, &1).wait_blocking().unwrap();
    if records.iter().all(|(_, value)| *value != 13) {
        engine.wait_for_blocking(&position).unwrap();
    }
    drop(engine);
    MENDED.store(false, Ordering::Relaxed);
    stopped
}

#[test]
fn a_panic_in_a_drop_is_that_of_the_user() {
    // Evicted in some later epoch, once it was drained.
    let mut records = vec![(1, 666)];
    records.extend((2..200_000).map(|key| (key, 1)));
    let error = run(&records).expect("the value was never evicted");
    assert_eq!(error.kind(), ErrorKind::User, "{error}");
    assert!(error.to_string().contains("a fragile value broke"), "{error}");
    assert!(error.to_string().contains("`Drop`"), "it says where to look: {error}");
    assert!(!error.to_string().contains("defect"), "{error}");

    // Left in memory until the engine is closed: nothing was lost by it.
    assert!(run(&[(1, 1)]).is_none());
}
