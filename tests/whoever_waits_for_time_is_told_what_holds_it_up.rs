//! Whoever waits until something is closed is answered once it is, in every table and every part of the graph; whoever waits for too long is
//! told what is not there yet, which partition holds it up, and since when.
//!
//! Method: windows and a join over a topic of two partitions and one of one, an engine with threads and a clock that is moved by hand; waits
//! awaited, dropped, begun before and after what they wait for, and ended by the end of the engine.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::stream::{Tumbling, Within};
use millpond::{
    Clock, Engine, Error, ErrorKind, Graph, GraphBuilder, Idle, ManualClock, StoredTable, Topic, Windowed,
};
use millpond_support::in_memory::InMemory;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_millis(1);
const EVER: Duration = Duration::from_secs(60);

fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks").partitions(2)
}

fn views() -> Topic<u8, u64> {
    Topic::new("views").partitions(1)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Tables {
    counts: StoredTable<Windowed<u8>, u64>,
    finals: StoredTable<Windowed<u8>, u64>,
    met: StoredTable<u8, u64>,
}

fn graph(idle: Idle) -> (Graph, Tables) {
    let graph = GraphBuilder::new();
    let clicked = graph.stream(&clicks().idle(idle));
    let windows = clicked.group_by_key().windowed(Tumbling::of(seconds(10)).grace(seconds(2)));
    let counts = windows.count("counts");
    let finals = counts.on_close().to_table("finals");
    let within = Within::after(seconds(5)).grace(Duration::ZERO);
    let met = clicked.left_join_within(&graph.stream(&views()), within, "met", |_, click, _| *click);
    let met = met.to_table("last_met");
    (graph.build().unwrap(), Tables { counts: counts.table().clone(), finals, met })
}

fn timed_out(outcome: Result<(), Error>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    error.message().to_owned()
}

fn put(engine: &Engine, topic: &Topic<u8, u64>, key: u8, at_ms: i64) {
    let position = engine.producer(topic).unwrap().send([(&key, Some(&1), at_ms)]).wait_blocking().unwrap();
    engine.wait_for(&position).within(EVER).wait_blocking().unwrap();
}

/// Two keys of different partitions.
fn keys() -> [u8; 2] {
    let of = |key: &u8| millpond_support::records::partition_of(&clicks(), key).partition;
    [0, 1].map(|partition| (0..=u8::MAX).find(|key| of(key) == partition).unwrap())
}

#[test]
fn whoever_waits_for_time_is_told_what_holds_it_up() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let (graph, tables) = graph(Idle::never());
    let engine = InMemory::new().engine(&graph).clock(clock.clone()).start().unwrap();
    engine.ready_blocking().unwrap();
    let [first, second] = keys();
    let told = timed_out(engine.wait_until_closed(12_000).within(SOON).wait_blocking());
    assert!(told.contains("has not come to any time"), "{told}");
    put(&engine, &clicks(), first, 3_000);
    put(&engine, &clicks(), first, 30_000);
    clock.advance(500);
    put(&engine, &clicks(), second, 11_999);
    clock.advance(500);
    let told = timed_out(engine.wait_until_closed_in(&tables.counts, 12_000).within(SOON).wait_blocking());
    for word in ["`counts`", "has come to 11999", "up to 12000", "clicks/1", "last at 1000500", "Topic::idle"]
    {
        assert!(told.contains(word), "{word}: {told}");
    }
    let before = engine.snapshot().unwrap();
    // Begun before it comes, and one of them is dropped.
    drop(engine.wait_until_closed_in(&tables.counts, 12_000));
    let waiting = engine.wait_until_closed_in(&tables.finals, 10_000).within(EVER);
    let waits = std::thread::spawn(move || waiting.wait_blocking());
    put(&engine, &clicks(), second, 12_000);
    waits.join().unwrap().unwrap();
    engine.wait_until_closed_in(&tables.counts, 12_000).within(EVER).wait_blocking().unwrap();
    assert_eq!(engine.view(&tables.finals).unwrap().count().unwrap(), 1);
    let watermark = |of| engine.snapshot().unwrap().watermark(&engine.view(of).unwrap()).unwrap();
    assert_eq!((watermark(&tables.counts), watermark(&tables.finals)), (Some(12_000), Some(10_000)));
    assert_eq!(before.watermark(&engine.view(&tables.counts).unwrap()).unwrap(), Some(11_999), "as it was");
    // The join waits for the other stream as well.
    assert_eq!(engine.snapshot().unwrap().watermark(&engine.view(&tables.met).unwrap()).unwrap(), None);
    let told = timed_out(engine.wait_until_closed(12_000).within(SOON).wait_blocking());
    assert!(told.contains("views/0") && told.contains("no further since the engine was opened"), "{told}");
    put(&engine, &views(), 9, 12_000);
    engine.wait_until_closed(12_000).within(EVER).wait_blocking().unwrap();
    assert_eq!(engine.view(&tables.met).unwrap().count().unwrap(), 1);
    // Nobody waits for an engine that has ended.
    let waiting = engine.wait_until_closed(i64::MAX);
    let waits = std::thread::spawn(move || waiting.wait_blocking());
    engine.close_blocking().unwrap();
    assert_eq!(waits.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_wait_for_what_closes_by_the_clock_is_answered() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let graph = GraphBuilder::new();
    let topic = clicks().idle(Idle::clock(seconds(1), Duration::ZERO));
    let windows = graph.stream(&topic).group_by_key().windowed(Tumbling::of(seconds(10)).grace(seconds(2)));
    let finals = windows.count("counts").on_close().to_table("finals");
    // The ticks of the clock close nothing, and have not come as far.
    let hours = graph.ticks("hour", seconds(3_600)).group_by_key().count("hours");
    let graph = graph.build().unwrap();
    let engine = InMemory::new().engine(&graph).clock(clock.clone()).start().unwrap();
    put(&engine, &topic, 1, 1_000_000);
    let waiting = engine.wait_until_closed(1_012_000).within(EVER);
    let ticking = clock.clone();
    let (done, is_done) = (Arc::new(AtomicBool::new(false)), Ordering::Relaxed);
    let ends = done.clone();
    // How long it is silent is measured from when it was looked at first.
    let moving = std::thread::spawn(move || {
        while !ends.load(is_done) {
            ticking.advance(1_000);
            std::thread::park_timeout(SOON);
        }
    });
    waiting.await.unwrap();
    done.store(true, is_done);
    moving.join().unwrap();
    assert_eq!(engine.view(&finals).unwrap().count().unwrap(), 1);
    assert!(engine.view(&hours).unwrap().get(&()).unwrap().is_some(), "it has ticked by {}", clock.now_ms());
}

#[test]
fn what_never_closes_is_not_waited_for() {
    let graph = GraphBuilder::new();
    let counts = graph.stream(&clicks()).group_by_key().count("counts");
    let engine = InMemory::new().engine(&graph.build().unwrap()).start().unwrap();
    for wait in [engine.wait_until_closed(0), engine.wait_until_closed_in(&counts, 0)] {
        assert_eq!(wait.within(EVER).wait_blocking().unwrap_err().kind(), ErrorKind::Invalid);
    }
    let (_, others) = self::graph(Idle::never());
    let wait = engine.wait_until_closed_in(&others.counts, 0);
    assert_eq!(wait.within(EVER).wait_blocking().unwrap_err().kind(), ErrorKind::Invalid);
    put(&engine, &clicks(), keys()[0], 77);
    put(&engine, &clicks(), keys()[1], 78);
    // How far its input has come is known of any table.
    assert!(engine.snapshot().unwrap().watermark(&engine.view(&counts).unwrap()).unwrap().is_some());
}
