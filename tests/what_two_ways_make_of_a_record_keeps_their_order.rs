//! Where a record reaches a merge on two ways, all that was made of it on the first comes before all of the second.
//!
//! Method: a topic that holds what `s.flat_map(f).merge(&s)` puts out, for records that become 0 to 200 others, over shards,
//! epochs and nested merges. The raw record once came between what was made of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::testing::{Driver, Settings};
use millpond::{GraphBuilder, Topic};

#[test]
fn the_first_way_comes_first() {
    for shards in [1, 2, 5] {
        for records in [1, 3, 1 << 20] {
            check(shards, records);
        }
    }
}

fn check(shards: usize, records: usize) {
    let (input, out) = (Topic::<u64, u64>::new("in"), Topic::<u64, u64>::new("out"));
    let graph = GraphBuilder::new();
    let stream = graph.stream(&input);
    // Under one key, so that all of it comes to one partition through one exchange.
    let made = stream.flat_map(|_, value: u64| (0..value).map(|index| (0, index)).collect::<Vec<_>>());
    let once = made.merge(&stream.map(|_, value| (0, 1_000 + value)));
    let twice = once.merge(&stream.map(|_, value| (0, 2_000 + value)));
    twice.group_by_key().count("counts");
    twice.to(&out);
    let settings = Settings { shards, ..Settings::default() };
    let mut driver = Driver::with_settings(&graph.build().unwrap(), settings).unwrap();
    let values = [2, 0, 1, 200, 9, 3];
    (0..).zip(values).for_each(|(key, value)| drop(driver.put(&input, key, value, 7).unwrap()));
    while driver.epoch(records).unwrap() {}
    let got: Vec<u64> = driver.records(&out).unwrap().iter().map(|record| record.value.unwrap()).collect();
    let expected: Vec<u64> =
        values.iter().flat_map(|&value| (0..value).chain([1_000 + value, 2_000 + value])).collect();
    assert_eq!(got, expected, "{shards} shards, {records} records an epoch");
}
