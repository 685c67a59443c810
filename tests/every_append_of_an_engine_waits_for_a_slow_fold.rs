//! Whichever way records are appended through an engine, whoever awaits them is slowed down to the speed of the fold.
//!
//! Property: while the fold is more than `max_lag` records behind, no append is acknowledged; all are once it has
//! caught up, and none was lost.
//!
//! Method: a fold that stands still until the test lets it go on. `Engine::append_records` once went past the gate.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::{Ack, MemoryChangelog, Record};
use millpond::{Engine, GraphBuilder, Topic, TopicPartition};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};

/// Stands in the way until it is opened.
#[derive(Clone, Default)]
struct Weir(Arc<(Mutex<bool>, Condvar)>);

impl Weir {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }
}

/// Opens the weir when the test ends, so that one which fails does not hang in closing its engine.
struct OpensAtTheEnd(Weir);

impl Drop for OpensAtTheEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn is_acknowledged(ack: &mut Ack) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    matches!(Pin::new(ack).poll(&mut context), Poll::Ready(_))
}

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
    let _opens = OpensAtTheEnd(weir.clone());
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
        assert!(!is_acknowledged(ack), "{way} was acknowledged by an engine that is far behind");
    }
    weir.open();
    for (_, ack) in acks {
        engine.wait_for_blocking(&ack.wait_blocking().unwrap()).unwrap();
    }
    assert_eq!(engine.view(&counts).unwrap().get(&1).unwrap(), Some(104));
    engine.close_blocking().unwrap();
}
