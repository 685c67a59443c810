//! What a graph does is decided when it is built: handles that outlive it change nothing.
//!
//! Method: a re-grouping loses and gains members while an operator is added, after `build()`, to handles of the graph that
//! runs. Such a join once switched the recording of updates on in the running operators, and the re-grouping lost updates
//! for good.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::testing::Driver;
use millpond::{GraphBuilder, Grouped, Topic};

#[test]
fn a_join_on_an_old_handle_changes_nothing() {
    let (players, other) = (Topic::<u8, u32>::new("players"), Topic::<u8, u32>::new("other"));
    let numbers = Topic::<u32, u64>::new("numbers");
    let graph = GraphBuilder::new();
    let rows = graph.table(&players, "players");
    let teams = rows.group_by(|_, team| (*team, 1_u64));
    let sizes = teams.count("sizes");
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    let size = |driver: &Driver, team: u32| {
        driver.view(&sizes).unwrap().get(&team).unwrap().map(|team| team.members)
    };

    (0..10).for_each(|player| drop(driver.put(&players, player, 1, 0).unwrap()));
    driver.epoch(5).unwrap();
    // The builder has begun another graph, and the handles are of the one that runs.
    let late = GraphBuilder::new();
    let stream = late.stream(&other);
    let _joined = stream.join(&rows, |_, value, team| value + team);
    let _sizes = graph.stream(&numbers).join(&sizes, |_, value, team: &Grouped<u64>| value + team.members);
    for _ in 0..3 {
        (0..10).for_each(|player| drop(driver.put(&players, player, u32::from(player) % 2, 0).unwrap()));
        (0..10).for_each(|player| drop(driver.put(&players, player, 1, 0).unwrap()));
        driver.epoch(7).unwrap();
    }
    driver.run().unwrap();
    assert_eq!((size(&driver, 1), size(&driver, 0)), (Some(10), None));
    // Neither graph may be built: a handle of another one was put into it.
    assert!(late.build().is_err() && graph.build().is_err());
}
