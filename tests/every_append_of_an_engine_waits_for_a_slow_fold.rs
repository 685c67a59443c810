//! Whichever way records are appended through an engine, whoever awaits them is slowed down to the speed of the fold.
//!
//! Property: while the fold is more than `max_lag` records behind, no append is acknowledged; all are once it has
//! caught up, and none was lost.
//!
//! Method: a fold that stands still until the test lets it go on. `Engine::append_records` once went past the gate.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::{MemoryChangelog, Record};
use millpond::{Engine, GraphBuilder, Topic, TopicPartition};
use millpond_support::waiting::{Weir, resolves_at_once};
use std::sync::Arc;

#[test]
fn every_append_of_an_engine_waits_for_a_slow_fold() {
    let weir = Weir::default();
    let at_weir = weir.clone();
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let counts = graph.stream(&events).group_by_key().fold(
        "counts",
        || 0_u64,
        move |count, _, _| {
            at_weir.pass();
            *count += 1;
        },
    );
    let builder = Engine::builder(&graph.build().unwrap()).changelog(Arc::new(MemoryChangelog::new()));
    let engine = builder.in_memory().max_lag(10).start().unwrap();
    let _opens = weir.opens_at_the_end();
    let producer = engine.producer(&events).unwrap();
    // Nobody awaits these, so nothing holds them up.
    (0..100).for_each(|_| drop(producer.put(&1, &1)));

    let raw = vec![Record::new(1_u32.to_be_bytes().to_vec(), vec![1])];
    let mut acks = [
        ("Producer::put", producer.put(&1, &1)),
        ("Producer::send", producer.send([(&1, Some(&1), 0)])),
        ("Engine::append", engine.append(&events, &1, &1)),
        ("Engine::append_records", engine.append_records(TopicPartition::new("events", 0), raw)),
    ];
    for (way, ack) in &mut acks {
        assert!(!resolves_at_once(ack), "{way} was acknowledged by an engine that is far behind");
    }
    weir.open();
    for (_, ack) in acks {
        engine.wait_for_blocking(&ack.wait_blocking().unwrap()).unwrap();
    }
    assert_eq!(engine.view(&counts).unwrap().get(&1).unwrap(), Some(104));
    engine.close_blocking().unwrap();
}
