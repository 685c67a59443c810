//! A record that is dated far ahead, by a device whose clock is wrong or in another unit, makes nothing late but what its own partition
//! gets after it; a producer refuses it in the first place. Times up to either end of their range are as good as others, and a clock that
//! jumps changes nothing but when silent partitions are taken on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::prelude::*;
use millpond::changelog::{Changelog, MemoryChangelog, Producer, TopicConfig};
use millpond::stream::Tumbling;
use millpond::{
    Engine, ErrorKind, Graph, GraphBuilder, Idle, ManualClock, Stepper, StoredTable, SystemClock, Topic,
    TopicPartition, Windowed,
};
use millpond_support::expect::refused;
use millpond_support::records;
use std::sync::Arc;
use std::time::Duration;

/// 20 November 2286, when there are ten digits of seconds no more; as milliseconds, what 2262 microseconds look like.
const FAR_MS: i64 = 10_000_000_000_000;

fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks")
}

fn log() -> Arc<MemoryChangelog> {
    let log = Arc::new(MemoryChangelog::new());
    log.create_topic("clicks", &TopicConfig::default().partitions(2)).unwrap();
    log
}

fn append(log: &dyn Changelog, partition: u32, key: u8, at: &[i64]) {
    let records = at.iter().map(|at| records::record(&clicks(), &key, Some(&1)).at(*at));
    records::append(log, TopicPartition::new("clicks", partition), records.collect()).unwrap();
}

type Counts = StoredTable<Windowed<u8>, u64>;

/// Counts by minutes; with the table of those that are closed.
fn counts(topic: &Topic<u8, u64>) -> (Graph, Counts, Counts) {
    let graph = GraphBuilder::new();
    let minute = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(5));
    let counts = graph.stream(topic).group_by_key().windowed(minute).count("counts");
    let finals = counts.on_close().to_table("finals");
    (graph.build().unwrap(), counts.table().clone(), finals)
}

fn rows(stepper: &Stepper, table: &StoredTable<Windowed<u8>, u64>) -> Vec<(i64, i64, u8, u64)> {
    let rows = stepper.view(table).unwrap().scan().unwrap().map(Result::unwrap);
    rows.map(|(windowed, count)| (windowed.start_ms, windowed.end_ms, windowed.key, count)).collect()
}

#[test]
fn what_other_partitions_get_is_not_late() {
    let log = log();
    append(&*log, 0, 1, &[10_000, FAR_MS, 20_000]);
    append(&*log, 1, 2, &[10_000, 70_000, 20_000, 130_000, 70_001]);
    let (graph, counts, finals) = counts(&clicks());
    let mut stepper = Engine::builder(&graph).in_memory().changelog(log.clone()).stepper().unwrap();
    while stepper.epoch(1).unwrap() {}
    let far = FAR_MS - FAR_MS % 60_000;
    assert_eq!(
        rows(&stepper, &counts),
        [
            (0, 60_000, 1, 1),
            // 20,000 comes at 70,000, which is behind the grace.
            (0, 60_000, 2, 1),
            (60_000, 120_000, 2, 1),
            (120_000, 180_000, 2, 1),
            (far, far + 60_000, 1, 1)
        ]
    );
    assert_eq!(rows(&stepper, &finals).len(), 3, "{:?}", rows(&stepper, &finals));
    let stats = stepper.stats();
    let held_by = stats.watermarks.iter().find(|stats| stats.label == "on_close").unwrap();
    assert_eq!(held_by.held_by, Some(TopicPartition::new("clicks", 1)));
    assert_eq!(held_by.watermark_ms, Some(130_000));
    assert!(held_by.held_since_ms.is_some());
}

#[test]
fn a_producer_refuses_it() {
    let log = log();
    let now = Arc::new(SystemClock);
    let producer = Producer::new(log.clone(), &clicks(), now.clone()).unwrap();
    let sent = producer.send([(&1, Some(&1), 0), (&1, Some(&1), FAR_MS)]).wait_blocking();
    refused(sent, ErrorKind::Invalid, &["clicks", "10000000000000", "max_ahead"]);
    let kept = log.offsets(&TopicPartition::new("clicks", 0)).unwrap();
    assert_eq!((kept, log.offsets(&TopicPartition::new("clicks", 1)).unwrap()), (0..0, 0..0));
    let any = Producer::new(log, &clicks().max_ahead(None), now).unwrap();
    any.send([(&1, Some(&1), FAR_MS)]).wait_blocking().unwrap();
}

/// The first and the last window there are have less than a minute.
#[test]
fn times_at_the_ends_of_their_range_are_as_good_as_others() {
    let log = log();
    append(&*log, 0, 1, &[i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX]);
    append(&*log, 1, 2, &[i64::MAX, i64::MIN]);
    let (graph, counts, finals) = counts(&clicks());
    let mut stepper = Engine::builder(&graph).in_memory().changelog(log).stepper().unwrap();
    while stepper.epoch(1).unwrap() {}
    let counts = rows(&stepper, &counts);
    let found: Vec<_> = counts.iter().map(|(_, _, key, count)| (*key, *count)).collect();
    assert_eq!(found, [(1, 2), (1, 1), (1, 1), (1, 2), (2, 1)], "{counts:?}");
    assert!(counts.iter().all(|(start, end, ..)| start < end), "{counts:?}");
    // The last window has no end that time could come to.
    assert_eq!(rows(&stepper, &finals).len(), 3, "{:?}", rows(&stepper, &finals));
}

/// One that is put back makes nothing of it, and one that is put forward closes what waits; neither changes what is there.
#[test]
fn a_clock_that_jumps_changes_no_table_but_by_what_is_noted() {
    let log = log();
    let clock = Arc::new(ManualClock::new(1_000_000));
    let topic = clicks().idle(Idle::clock(Duration::from_secs(10), Duration::ZERO));
    let (graph, counts, finals) = counts(&topic);
    let open = || {
        let builder = Engine::builder(&graph).in_memory().changelog(log.clone()).clock(clock.clone());
        builder.stepper().unwrap()
    };
    let mut stepper = open();
    append(&*log, 0, 1, &[1_000_000]);
    append(&*log, 1, 2, &[1_000_000]);
    while stepper.epoch(9).unwrap() {}
    // A day back: whoever measures a silence by it begins anew.
    clock.advance(-86_400_000);
    assert!(!stepper.epoch(9).unwrap());
    clock.advance(9_999);
    assert!(!stepper.epoch(9).unwrap());
    // A year ahead: what waits is closed, and nothing is lost.
    clock.advance(366 * 86_400_000);
    assert!(stepper.epoch(9).unwrap());
    assert_eq!(rows(&stepper, &finals).len(), 2);
    // The clock is right again, and the partitions have come to where it was: what is dated before does not count.
    clock.advance(-365 * 86_400_000);
    append(&*log, 0, 1, &[1_100_000]);
    while stepper.epoch(9).unwrap() {}
    assert_eq!(rows(&stepper, &counts).len(), 2);
    let found = [rows(&stepper, &counts), rows(&stepper, &finals)];
    drop(stepper);
    let mut again = open();
    while again.epoch(1).unwrap() {}
    assert_eq!([rows(&again, &counts), rows(&again, &finals)], found);
}
