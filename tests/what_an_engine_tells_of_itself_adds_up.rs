//! The numbers that an engine tells of itself add up.
//!
//! Property: every value that a fold needs is either a hit or a miss, rows and records are those that were folded, and
//! the changelog takes room as soon as it has records.
//!
//! Method: a stepper, which does nothing between calls, with memory enough for every row; then a restart, after which
//! nothing is in memory.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::float_cmp,
    reason = "a test fails by panicking"
)]

use millpond::changelog::backend::ReadLog;
use millpond::{GraphBuilder, Stepper, TableStats, Topic};
use millpond_support::in_memory::InMemory;

#[test]
fn what_an_engine_tells_of_itself_adds_up() {
    let kept = InMemory::new();
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    graph.stream(&events).group_by_key().count("counts");
    let graph = graph.build().unwrap();
    let open = || kept.engine(&graph).stepper().unwrap();
    let producer = kept.producer(&events).unwrap();
    let fold = |stepper: &mut Stepper| -> TableStats {
        producer
            .send((0..100).collect::<Vec<u32>>().iter().map(|key| (key, Some(&1), 0)))
            .wait_blocking()
            .unwrap();
        assert!(stepper.epoch(100).unwrap());
        stepper.stats().tables["counts"].clone()
    };

    let mut stepper = open();
    let stats = stepper.stats();
    assert_eq!((stats.records_in, stats.epochs, stats.changelog_bytes), (0, 0, Some(0)));
    let counts = &stats.tables["counts"];
    assert_eq!((counts.hits, counts.misses, counts.hit_rate()), (0, 0, 1.0), "nothing was asked for");

    // Keys that are new have to be asked for in the store.
    let counts = fold(&mut stepper);
    assert_eq!((counts.hits, counts.misses, counts.hit_rate()), (0, 100, 0.0));
    let counts = [fold(&mut stepper), fold(&mut stepper), fold(&mut stepper)][2].clone();
    assert_eq!((counts.hits, counts.misses, counts.hit_rate()), (300, 100, 0.75));
    assert_eq!((counts.rows, counts.hot_entries), (100, 100));
    let stats = stepper.stats();
    assert_eq!((stats.records_in, stats.epochs, stats.drains), (400, 4, 0));
    assert_eq!(stats.changelog_bytes, kept.log.stored_bytes().unwrap());
    assert!(stats.changelog_bytes > Some(0));
    assert!(stats.undrained_bytes > 0 && stats.lag.values().all(|&lag| lag == 0));

    stepper.drain().unwrap();
    drop(stepper);
    let counts = fold(&mut open());
    assert_eq!((counts.hits, counts.misses, counts.rows), (0, 100, 100));
}
