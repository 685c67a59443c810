//! What a graph does is decided when it is built: handles that outlive it change nothing.
//!
//! Method: within an epoch, between the table and its re-grouping, an operator is added to a handle of the graph that runs,
//! as another thread might. Such a join once switched the recording of updates on in the running operators: the re-grouping
//! waited for updates that the table had not recorded, and lost the change for good.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::testing::{Driver, Settings};
use millpond::{GraphBuilder, StoredTable, Topic};
use std::sync::{Arc, OnceLock};

#[test]
fn a_join_on_an_old_handle_changes_nothing() {
    let (players, ticks) = (Topic::<u8, u32>::new("players"), Topic::<u32, u64>::new("ticks"));
    let graph = GraphBuilder::new();
    let rows = graph.table(&players, "players");
    let handle: Arc<OnceLock<StoredTable<u32, u64>>> = Arc::default();
    let (old, numbers) = (Arc::clone(&handle), ticks.clone());
    let _ticking = graph.stream(&ticks).inspect(move |_, _| {
        let late = GraphBuilder::new();
        let sizes = old.get().unwrap();
        let _joined = late.stream(&numbers).join(sizes, |_, value, team: &u64| value + team);
        assert!(late.build().is_err(), "a handle of another graph was put into this one");
    });
    let sizes = rows.group_by(|_, team| (*team, 1_u64)).count("sizes");
    handle.set(sizes.clone()).ok().unwrap();
    let settings = Settings { shards: 1, ..Settings::default() };
    let mut driver = Driver::with_settings(&graph.build().unwrap(), settings).unwrap();

    for round in 0..3_u32 {
        (0..10)
            .for_each(|player| drop(driver.put(&players, player, round + u32::from(player) % 2, 0).unwrap()));
        driver.put(&ticks, 1, 1, 0).unwrap();
        driver.epoch(100).unwrap();
        let expected = [round, round + 1].map(|team| (team, 5));
        let got = driver.table(&sizes).unwrap();
        assert_eq!(got.into_iter().collect::<Vec<_>>(), expected);
    }
}
