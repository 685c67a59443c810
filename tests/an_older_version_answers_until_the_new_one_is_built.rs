//! A table whose version was raised is answered from the rows of its older version until it is rebuilt, also when
//! another operator keeps it now.
//!
//! Method: an engine moved by hand folds the sum of each key; it is opened again with a graph in which the same table
//! is something else (first another fold, then a join that is stored), and asked before and after it has caught up.
//! This once failed for the join: what a table was *for* was taken for a part of its type.

use millpond::changelog::{Changelog, MemoryChangelog, Producer};
use millpond::graph::StoreOptions;
use millpond::store::MemoryStore;
use millpond::{Engine, GraphBuilder, Result, Stepper, SystemClock, Table, Topic};
use std::sync::Arc;

struct Service {
    changelog: Arc<dyn Changelog>,
    store: Arc<MemoryStore>,
}

impl Service {
    fn open(&self, graph: &GraphBuilder) -> Result<Stepper> {
        let store = Arc::clone(&self.store);
        Engine::builder(&graph.build()?)
            .changelog(Arc::clone(&self.changelog))
            .store(store)
            .shards(2)
            .stepper()
    }
}

fn topic() -> Topic<String, u64> {
    Topic::new("payments")
}

fn sums(graph: &GraphBuilder) -> Table<String, u64> {
    graph.stream(&topic()).group_by_key().fold("paid", || 0, |sum, _, value: u64| *sum += value)
}

fn counts(graph: &GraphBuilder) -> Table<String, u64> {
    let store = StoreOptions::named("paid").version(1);
    graph.stream(&topic()).group_by_key().fold(store, || 0, |count, _, _: u64| *count += 1)
}

fn last_twice(graph: &GraphBuilder) -> Table<String, u64> {
    let last = graph.table(&topic(), "last");
    last.join(&last, |_, a, b| a + b).materialize(StoreOptions::named("paid").version(2))
}

#[test]
fn the_older_version_answers_until_the_new_one_is_built() -> Result<()> {
    let service =
        Service { changelog: Arc::new(MemoryChangelog::new()), store: Arc::new(MemoryStore::new()) };
    let producer = Producer::new(Arc::clone(&service.changelog), &topic(), Arc::new(SystemClock))?;
    let alice = "alice".to_owned();
    producer.put(&alice, &30).wait()?;
    producer.put(&alice, &12).wait()?;

    let mut before = None;
    for (table, expected) in [(sums as fn(&GraphBuilder) -> _, 42), (counts, 2), (last_twice, 24)] {
        let graph = GraphBuilder::new();
        let table = table(&graph);
        let mut stepper = service.open(&graph)?;
        let view = stepper.view(&table)?;
        assert_eq!(view.is_former(), before.is_some());
        assert_eq!(view.get(&alice)?, before);
        while stepper.epoch(1)? {}
        assert!(view.is_live());
        assert_eq!(view.get(&alice)?, Some(expected));
        stepper.drain()?;
        before = Some(expected);
    }
    Ok(())
}
