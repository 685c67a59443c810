//! A table that is built catches up although appends go on and every epoch is full.
//!
//! Method: after a raised version every step appends as many records as an epoch takes. A build once got one epoch for each
//! of the main task's, and stayed behind for as long as appends went on (731,500 in 25 s). Another build reads a topic that
//! the main task does not, whose records lie behind what the main task has yet to read: it completes all the same.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::testing::Driver;
use millpond::{GraphBuilder, TableOptions, Topic};

const EPOCH: usize = 20;

#[test]
fn appends_that_fill_every_epoch_do_not_hold_a_build_up() {
    let events = Topic::<u64, u64>::new("events").partitions(3);
    let make = |version| {
        let graph = GraphBuilder::new();
        let stream = graph.stream(&events);
        let count = stream.group_by_key().count(TableOptions::named("count").version(version));
        stream.group_by_key().count("other");
        (graph.build().unwrap(), count)
    };
    let mut driver = Driver::new(&make(0).0).unwrap();
    let mut next = 0;
    let mut append = |driver: &mut Driver, records: u64| {
        (next..next + records).for_each(|key| drop(driver.put(&events, key, 0, 0).unwrap()));
        next += records;
    };
    append(&mut driver, 100 * EPOCH as u64);
    driver.run().unwrap();
    let (graph, count) = make(1);
    driver.upgrade(&graph).unwrap();
    let mut steps = 0;
    let mut left = driver.stats().unwrap().build_lag;
    assert_eq!(left, Some(100 * EPOCH as u64), "progress can be seen");
    while driver.is_building().unwrap() {
        append(&mut driver, EPOCH as u64);
        driver.epoch(EPOCH).unwrap();
        steps += 1;
        assert!(steps < 100, "the build does not gain");
        // It is given a few epochs to gain by itself.
        let now = driver.stats().unwrap().build_lag;
        assert!(now < left || steps < 8, "{now:?} records left after {left:?}");
        left = now;
    }
    driver.run().unwrap();
    assert_eq!(driver.stats().unwrap().build_lag, None);
    assert_eq!(driver.table(&count).unwrap().len(), usize::try_from(next).unwrap());
}

#[test]
fn a_topic_that_only_the_build_reads_does_not_hold_it_up() {
    let (events, more) = (Topic::<u64, u64>::new("events"), Topic::<u64, u64>::new("more"));
    let make = |version| {
        let graph = GraphBuilder::new();
        let stream = graph.stream(&events);
        let both = if version == 0 { stream.clone() } else { stream.merge(&graph.stream(&more)) };
        let last = both.to_table(TableOptions::named("last").version(version));
        stream.group_by_key().count("other");
        (graph.build().unwrap(), last)
    };
    let mut driver = Driver::new(&make(0).0).unwrap();
    driver.producer(&more).unwrap();
    for round in 0..50 {
        driver.put(&events, 1, round * 2, 0).unwrap();
        driver.put(&more, 1, round * 2 + 1, 0).unwrap();
    }
    driver.epoch(10).unwrap();
    let (graph, last) = make(1);
    driver.upgrade(&graph).unwrap();
    for _ in 0..30 {
        driver.epoch(5).unwrap();
    }
    driver.run().unwrap();
    assert!(!driver.is_building().unwrap());
    assert_eq!(driver.table(&last).unwrap(), [(1, 99)].into());
}
