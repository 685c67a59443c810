//! A compacted topic is read as a table, or by whoever says that the last record of each key is enough; and a state that was
//! left alone for so long that it may never hear of a deletion is refused.
//!
//! Method: a log of one's own that says of a topic that it is compacted, a clock that is moved by hand, and states that are opened
//! sooner or later. That a drain was lately is not enough: what it made durable may have been old.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::Changelog;
use millpond::store::MemoryStore;
use millpond::{
    Engine, ErrorKind, Graph, GraphBuilder, Latest, ManualClock, Result, Stepper, StoredTable, TableOptions,
    Topic,
};
use millpond_support::expect::refused;
use millpond_support::in_memory::catch_up;
use millpond_support::own_log::OwnLog;
use millpond_support::records;
use std::sync::Arc;
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;

fn prices() -> Topic<u8, u64> {
    Topic::new("prices")
}

/// The last price of each product, in a table of this version.
fn last(version: u32) -> (Graph, StoredTable<u8, u64>) {
    let graph = GraphBuilder::new();
    let last = graph.table(&prices(), TableOptions::from("last").version(version));
    (graph.build().unwrap(), last)
}

/// A log whose tombstones stay for a day, a state, and the time.
struct World {
    log: Arc<OwnLog>,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        let mut abilities = OwnLog::usual();
        (abilities.keeps_holds, abilities.sets_retention) = (false, false);
        let log = OwnLog::with(abilities);
        log.compact("prices", Duration::from_secs(24 * 3600));
        Self { log, store: Arc::default(), clock: Arc::new(ManualClock::new(1_000_000)) }
    }

    fn open(&self, graph: &Graph) -> Result<Stepper> {
        let builder = Engine::builder(graph).store(self.store.clone()).changelog(self.log.clone());
        builder.clock(self.clock.clone()).shards(2).stepper()
    }

    fn append(&self, price: Option<u64>) {
        let record = records::record(&prices(), &1, price.as_ref());
        records::append(&*self.log as &dyn Changelog, records::partition(&prices(), 0), vec![record])
            .unwrap();
    }

    fn pass_hours(&self, hours: i64) {
        self.clock.advance(hours * HOUR_MS);
    }
}

#[test]
fn a_stream_of_it_is_refused_unless_its_last_records_are_enough() {
    let world = World::new();
    world.open(&last(0).0).unwrap();
    let refuses = |describe: &dyn Fn(&GraphBuilder)| {
        let graph = GraphBuilder::new();
        describe(&graph);
        let says = ["topic prices is compacted", "Topic::latest_only", "GraphBuilder::table"];
        refused(world.open(&graph.build().unwrap()), ErrorKind::Invalid, &says);
    };
    refuses(&|graph| drop(graph.stream(&prices()).group_by_key().count("counts")));
    refuses(&|graph| {
        drop(graph.records(&prices()).map_values(|_, record| record.offset).to_table("offsets"));
    });
    refuses(&|graph| drop(graph.table_by(&prices(), "latest", Latest::Timestamp)));
    // Nor if it is read in another way, too.
    refuses(&|graph| {
        drop(graph.table(&prices(), "last"));
        drop(graph.stream(&prices()).group_by_key().count("counts"));
    });
    let graph = GraphBuilder::new();
    graph.stream(&prices().latest_only()).to_table("last");
    World::new().open(&graph.build().unwrap()).unwrap();
}

#[test]
fn a_state_that_was_left_alone_for_too_long_is_refused_and_built_anew_on_demand() {
    let world = World::new();
    let (graph, table) = last(0);
    let mut stepper = world.open(&graph).unwrap();
    world.append(Some(5));
    catch_up(&mut stepper, 10).unwrap();
    drop(stepper);
    world.pass_hours(11);
    let mut stepper = world.open(&graph).unwrap();
    // Nothing has come, and it is noted all the same that nothing was missed.
    assert!(!stepper.drain().unwrap());
    drop(stepper);
    world.pass_hours(11);
    let mut stepper = world.open(&graph).unwrap();
    stepper.drain().unwrap();
    drop(stepper);

    world.pass_hours(13);
    let says = ["topic prices", "delete.retention.ms", "86400 s", "43200 s", "raise the versions"];
    refused(world.open(&graph), ErrorKind::BehindChangelog, &says);
    let (graph, raised) = last(1);
    let mut stepper = world.open(&graph).unwrap();
    while stepper.is_building() {
        stepper.epoch(10).unwrap();
    }
    assert_eq!(stepper.view(&raised).unwrap().get(&1).unwrap(), Some(5));
    drop((stepper, table));
    // It was built, and stands as if it had been folded now, before anything else was drained.
    world.pass_hours(11);
    world.open(&graph).unwrap();
    world.pass_hours(2);
    refused(world.open(&graph), ErrorKind::BehindChangelog, &says);
}

#[test]
fn that_something_was_folded_lately_does_not_mean_that_nothing_was_missed() {
    let world = World::new();
    let (graph, _) = last(0);
    let mut stepper = world.open(&graph).unwrap();
    for price in 0..9 {
        world.append(Some(price));
    }
    // Far behind, and it goes on with that after most of a day.
    stepper.epoch(1).unwrap();
    stepper.drain().unwrap();
    world.pass_hours(11);
    stepper.epoch(1).unwrap();
    stepper.drain().unwrap();
    drop(stepper);
    let mut stepper = world.open(&graph).unwrap();
    world.pass_hours(2);
    stepper.epoch(1).unwrap();
    stepper.drain().unwrap();
    drop(stepper);
    refused(world.open(&graph), ErrorKind::BehindChangelog, &["topic prices"]);
}
