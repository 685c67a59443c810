//! A panic inside of the engine hangs nobody: whoever asks or waits is told.
//!
//! Property: when the folding or the draining thread panics, every waiter is woken with an error of kind `Internal`
//! and every later call says the same.
//!
//! Method: a fault point in the thread fires a panic while one thread waits for a position and others for changes.
//! Fault points belong to the process, so this file holds one test only.
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
use millpond::fault::{self, Action};
use millpond::{Engine, ErrorKind, GraphBuilder, Topic};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_defect_of_the_engine_is_told_to_everyone() {
    for point in ["epoch.before_publish", "drain.before_ingest"] {
        let events = Topic::<u32, u64>::new("events");
        let graph = GraphBuilder::new();
        let counts = graph.stream(&events).group_by_key().count("counts");
        let graph = graph.build().unwrap();
        let builder = Engine::builder(&graph).changelog(Arc::new(MemoryChangelog::new())).in_memory();
        let engine = builder.drain_interval(Duration::from_millis(1)).start().unwrap();
        let view = engine.view(&counts).unwrap();
        let (mut changes, mut key) = (view.changes().unwrap().1, view.subscribe(&9).unwrap());
        fault::arm(point, 1, Action::Panic).unwrap();
        let mut position = engine.append(&events, &1, &1).wait_blocking().unwrap();
        position.set(millpond::TopicPartition::new("events", 0), 2);
        let waiting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let changes = runtime.block_on(async {
                loop {
                    if let Err(error) = changes.next().await.expect("an error comes before the end") {
                        break error;
                    }
                }
            });
            (changes, runtime.block_on(key.next()).unwrap().unwrap_err())
        });
        let waited = engine.wait_for_blocking(&position).unwrap_err();
        let (changes, key) = waiting.join().unwrap();
        assert!(fault::fired(point));
        for error in
            [waited, changes, key, view.get(&1).unwrap_err(), engine.snapshot().map(drop).unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::Internal, "{point}: {error}");
        }
        engine.producer(&events).unwrap().ready_blocking();
        assert_eq!(engine.close_blocking().unwrap_err().kind(), ErrorKind::Internal);
        fault::disarm();
    }
}
