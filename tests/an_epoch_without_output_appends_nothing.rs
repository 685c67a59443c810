//! An epoch that emits nothing leaves the changelog as it was, and what epochs emit is still appended once.
//!
//! Method: a graph that lets one record in ten through to a topic, in epochs of one record, with crashes before anything is
//! drained. Once, every epoch wrote a mark and waited for it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::backend::EpochLog;
use millpond::testing::Driver;
use millpond::{GraphBuilder, Position, Topic};

#[test]
fn marks_are_of_epochs_that_emit() {
    let (input, out) = (Topic::<u64, u64>::new("in"), Topic::<u64, u64>::new("out"));
    let graph = GraphBuilder::new();
    let stream = graph.stream(&input);
    stream.group_by_key().count("counts");
    stream.filter(|_, value| value.is_multiple_of(10)).to(&out);
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    let marks =
        |driver: &Driver| driver.changelog().epochs_after("millpond", &Position::new()).unwrap().len();

    for value in 0..100 {
        driver.put(&input, value, value, 0).unwrap();
        driver.epoch(1).unwrap();
        assert_eq!(marks(&driver), usize::try_from(value / 10).unwrap() + 1);
        if value % 7 == 0 {
            driver.crash().unwrap();
            driver.run().unwrap();
        }
    }
    let written: Vec<u64> = driver.records(&out).unwrap().iter().map(|record| record.key).collect();
    assert_eq!(written, (0..100).step_by(10).collect::<Vec<_>>());
}
