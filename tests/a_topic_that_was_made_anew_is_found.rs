//! A topic that was deleted and made anew is not taken for the one that was folded, however long it has become: the state is
//! refused, and nothing of the new topic is ever made durable behind rows of the old one.
//!
//! Method: a log of one's own whose topics can be deleted (`support/src/own_log.rs`), of which a state is folded; deleted and made
//! anew between two openings, and under a running engine. Before identities were noted, a new topic that was longer than the old
//! one was folded from where that had ended.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::prelude::*;
use millpond::changelog::{Changelog, TopicConfig};
use millpond::store::MemoryStore;
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, Result, Stepper, StoredTable, TableOptions, Topic};
use millpond_support::expect::refused;
use millpond_support::in_memory::catch_up;
use millpond_support::own_log::OwnLog;
use millpond_support::records;
use std::sync::Arc;

fn numbers() -> Topic<u8, u64> {
    Topic::new("numbers")
}

/// The sum of all numbers, of a table of this version.
fn sums(version: u32) -> (Graph, StoredTable<u8, u64>) {
    let graph = GraphBuilder::new();
    let options = TableOptions::from("sums").version(version);
    let sums =
        graph.stream(&numbers()).group_by_key().fold(options, || 0_u64, |sum, _, number| *sum += number);
    (graph.build().unwrap(), sums)
}

fn log() -> Arc<OwnLog> {
    let mut abilities = OwnLog::usual();
    (abilities.keeps_holds, abilities.sets_retention) = (false, false);
    OwnLog::with(abilities)
}

fn open(graph: &Graph, log: &Arc<OwnLog>, store: &Arc<MemoryStore>) -> Result<Stepper> {
    Engine::builder(graph).store(store.clone()).changelog(log.clone()).shards(2).stepper()
}

fn append(log: &dyn Changelog, numbers_to_append: &[u64]) {
    let record = |number: &u64| records::record(&numbers(), &1, Some(number));
    let records = numbers_to_append.iter().map(record).collect();
    records::append(log, records::partition(&numbers(), 0), records).unwrap();
}

fn make_anew(log: &OwnLog) {
    log.delete_topic("numbers");
    log.create_topic("numbers", &TopicConfig::default()).unwrap();
}

#[test]
fn between_two_openings_whatever_its_length_and_of_whatever_version_tables_are() {
    let (log, store) = (log(), Arc::new(MemoryStore::default()));
    let (graph, table) = sums(0);
    let mut stepper = open(&graph, &log, &store).unwrap();
    append(&*log, &[1, 2, 3]);
    catch_up(&mut stepper, 10).unwrap();
    drop(stepper);
    open(&graph, &log, &store).unwrap();

    make_anew(&log);
    append(&*log, &[10, 20, 30, 40, 50]);
    let says = ["topic numbers", "made anew", "delete the state directory"];
    refused(open(&graph, &log, &store), ErrorKind::AheadOfChangelog, &says);
    // Other tables of the same topic stand behind the same position in the end.
    refused(open(&sums(1).0, &log, &store), ErrorKind::AheadOfChangelog, &says);
    // Nor is it another one for a state that is new.
    let mut stepper = open(&graph, &log, &Arc::new(MemoryStore::default())).unwrap();
    catch_up(&mut stepper, 10).unwrap();
    assert_eq!(stepper.view(&table).unwrap().get(&1).unwrap(), Some(150));
}

#[test]
fn one_of_which_nothing_was_read_may_be_another() {
    let (log, store) = (log(), Arc::new(MemoryStore::default()));
    let (graph, table) = sums(0);
    catch_up(&mut open(&graph, &log, &store).unwrap(), 10).unwrap();
    for round in 1..4 {
        make_anew(&log);
        let mut stepper = open(&graph, &log, &store).unwrap();
        catch_up(&mut stepper, 10).unwrap();
        if round == 3 {
            append(&*log, &[7]);
            catch_up(&mut stepper, 10).unwrap();
            assert_eq!(stepper.view(&table).unwrap().get(&1).unwrap(), Some(7));
        }
    }
    make_anew(&log);
    append(&*log, &[8, 9]);
    refused(open(&graph, &log, &store), ErrorKind::AheadOfChangelog, &["made anew"]);
}

#[test]
fn while_it_is_read() {
    let (log, store) = (log(), Arc::new(MemoryStore::default()));
    let (graph, _) = sums(0);
    let mut stepper = open(&graph, &log, &store).unwrap();
    append(&*log, &[1, 2]);
    catch_up(&mut stepper, 10).unwrap();
    make_anew(&log);
    append(&*log, &[10, 20, 30]);
    // This log does not notice: what is behind the position is folded, and published.
    while stepper.epoch(10).unwrap() {}
    refused(stepper.drain(), ErrorKind::AheadOfChangelog, &["topic numbers", "made anew"]);
    drop(stepper);
    refused(open(&graph, &log, &store), ErrorKind::AheadOfChangelog, &["made anew"]);
}
