//! Where a log drops records by its own rules, tables of another version are not built in silence of less than those were whose
//! places they take.
//!
//! Method: a log of one's own is trimmed behind a state's back, and the state opened with the same graph, with a raised version and
//! with another table. Before, such tables began with the oldest record that was left, and nobody was told.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::store::MemoryStore;
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, Result, Stepper, StoredTable, TableOptions, Topic};
use millpond_support::expect::refused;
use millpond_support::in_memory::catch_up;
use millpond_support::own_log::OwnLog;
use millpond_support::records;
use std::sync::Arc;

fn numbers() -> Topic<u8, u64> {
    Topic::new("numbers").partitions(2)
}

fn graph(version: u32, counts: bool) -> (Graph, StoredTable<u8, u64>) {
    let graph = GraphBuilder::new();
    let grouped = graph.stream(&numbers()).group_by_key();
    if counts {
        grouped.count("counts");
    }
    let options = TableOptions::from("sums").version(version);
    let sums = grouped.fold(options, || 0_u64, |sum, _, number| *sum += number);
    (graph.build().unwrap(), sums)
}

fn open(graph: &Graph, log: &Arc<OwnLog>, store: &Arc<MemoryStore>, from_oldest: bool) -> Result<Stepper> {
    let builder = Engine::builder(graph).store(store.clone()).changelog(log.clone()).shards(2);
    builder.from_oldest_kept(from_oldest).stepper()
}

#[test]
fn a_build_over_a_trimmed_topic_is_refused_unless_what_is_left_will_do() {
    let mut abilities = OwnLog::usual();
    abilities.keeps_holds = false;
    let (log, store) = (OwnLog::with(abilities), Arc::new(MemoryStore::default()));
    let (former, table) = graph(0, false);
    let mut stepper = open(&former, &log, &store, false).unwrap();
    let (zero, one) = (records::partition(&numbers(), 0), records::partition(&numbers(), 1));
    for number in [1, 10, 100] {
        for (key, partition) in [(0, &zero), (1, &one)] {
            let record = records::record(&numbers(), &key, Some(&number));
            records::append(&*log, partition.clone(), vec![record]).unwrap();
        }
    }
    catch_up(&mut stepper, 10).unwrap();
    drop(stepper);
    log.trim(&zero, 2);

    // What is folded is folded.
    let stepper = open(&former, &log, &store, false).unwrap();
    assert_eq!(stepper.view(&table).unwrap().get(&0).unwrap(), Some(111));
    drop(stepper);
    let says =
        ["numbers/0 from offset 0", "begins at 2", "built from where the others began", "from_oldest_kept"];
    for (version, counts) in [(1, false), (0, true)] {
        refused(open(&graph(version, counts).0, &log, &store, false), ErrorKind::BehindChangelog, &says);
    }
    // Nothing was changed by that.
    open(&former, &log, &store, false).unwrap();

    let (raised, table) = graph(1, false);
    let mut stepper = open(&raised, &log, &store, true).unwrap();
    while stepper.is_building() {
        stepper.epoch(10).unwrap();
    }
    let view = stepper.view(&table).unwrap();
    assert_eq!((view.get(&0).unwrap(), view.get(&1).unwrap()), (Some(100), Some(111)));
    drop((view, stepper));

    // A state that has seen nothing of it begins with what is left, and so do tables that it builds, as long as that is there.
    let store = Arc::new(MemoryStore::default());
    let mut stepper = open(&raised, &log, &store, false).unwrap();
    catch_up(&mut stepper, 10).unwrap();
    assert_eq!(stepper.view(&table).unwrap().get(&0).unwrap(), Some(100));
    drop(stepper);
    let (raised, table) = graph(2, true);
    let mut stepper = open(&raised, &log, &store, false).unwrap();
    while stepper.is_building() {
        stepper.epoch(10).unwrap();
    }
    assert_eq!(stepper.view(&table).unwrap().get(&0).unwrap(), Some(100));
    drop(stepper);
    log.trim(&zero, 3);
    refused(
        open(&graph(3, true).0, &log, &store, false),
        ErrorKind::BehindChangelog,
        &["numbers/0 from offset 2"],
    );
}
