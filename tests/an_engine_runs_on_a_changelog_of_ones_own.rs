//! A changelog that is not of this crate runs an engine, and its abilities decide what is done otherwise and what is refused.
//!
//! Method: a changelog in memory, written with nothing but what is public (`support/src/own_log.rs`), whose partitions have
//! nothing to do with each other: it has no one sequence, and fails whoever asks it for one. A table whose rows depend on the order of all records goes
//! through crashes and epochs of any size; what it appends on the way must be what each later state began with. When only
//! epochs with outputs were marked, a replay took the records between two of them in another order.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::backend::Abilities;
use millpond::changelog::prelude::*;
use millpond::store::MemoryStore;
use millpond::{Engine, ErrorKind, FailurePolicy, Graph, GraphBuilder, StoredTable, Topic};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use std::sync::Arc;

fn numbers() -> Topic<u64, u64> {
    Topic::new("numbers").partitions(3)
}

fn lists() -> Topic<u8, Vec<u64>> {
    Topic::new("lists")
}

/// All numbers in one list, in the order in which they were folded, and appended where it has a length that three divides.
fn graph() -> (Graph, StoredTable<u8, Vec<u64>>) {
    let graph = GraphBuilder::new();
    let all = graph
        .stream(&numbers())
        .group_by(|_, _| 0_u8)
        .fold("all", Vec::new, |list, _, number| list.push(number));
    let told = all.to_stream().filter_map_values(|_, list| list.into_option());
    told.filter(|_, list| list.len().is_multiple_of(3)).to(&lists());
    (graph.build().unwrap(), all)
}

#[test]
fn a_changelog_of_ones_own_runs_an_engine() {
    let (log, store) = (OwnLog::new(), Arc::new(MemoryStore::default()));
    let (graph, all) = graph();
    for round in 0..3 {
        let builder = || Engine::builder(&graph).store(store.clone()).changelog(log.clone());
        let engine = builder().start().unwrap();
        let position = engine.append(&numbers(), &round, &round).wait_blocking().unwrap();
        engine.wait_for_blocking(&position).unwrap();
        assert_eq!(engine.view(&all).unwrap().get(&0).unwrap().unwrap(), (0..=round).collect::<Vec<_>>());
        assert_eq!(engine.stats().lag.values().sum::<u64>(), 0);
        refused(builder().start(), ErrorKind::Unavailable, &["millpond is taken"]);
        assert!(log.names().unwrap()[0].leased);
        engine.close_blocking().unwrap();
        assert!(!log.names().unwrap()[0].leased);
    }
    let partition = records::partition(&lists(), 0);
    assert_eq!(log.offsets(&partition).unwrap(), 0..1);
}

#[test]
fn how_partitions_follow_each_other_is_decided_once() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    for _ in 0..rounds(60) {
        let (log, store) = (OwnLog::new(), Arc::new(MemoryStore::default()));
        let (graph, all) = graph();
        let open = || {
            Engine::builder(&graph).store(store.clone()).changelog(log.clone()).shards(2).stepper().unwrap()
        };
        let mut stepper = open();
        let mut count = 0;
        for _ in 0..40 {
            match random.below(8) {
                0 => drop(stepper.drain().unwrap()),
                1 => {
                    drop(stepper);
                    stepper = open();
                }
                2..5 => drop(stepper.epoch(1 + random.index(4)).unwrap()),
                _ => {
                    let partition = records::partition(&numbers(), u32::try_from(random.below(3)).unwrap());
                    let record = records::record(&numbers(), &count, Some(&count));
                    let at = i64::try_from(random.below(50)).unwrap();
                    records::append(&*log, partition, vec![record.at(at)]).unwrap();
                    count += 1;
                }
            }
        }
        while stepper.epoch(3).unwrap() {}
        let all = stepper.view(&all).unwrap().get(&0).unwrap().unwrap_or_default();
        assert_eq!(all.len() as u64, count, "every number is there, and once");
        let told = records::read(&*log, &records::partition(&lists(), 0)).unwrap();
        let told = told.iter().map(|record| lists().codec().decode(record.value.as_ref().unwrap()).unwrap());
        let mut length = 0;
        for list in told {
            assert!(all.starts_with(&list), "{list:?} was told, and then it was {all:?}");
            assert!(list.len() > length, "a list was told twice");
            length = list.len();
        }
    }
}

#[test]
fn records_of_several_partitions_are_sent_at_once_only_where_all_or_none_is_appended() {
    let keys: Vec<u64> = (0..9).collect();
    let one = || keys.iter().filter(|key| records::partition_of(&numbers(), *key).partition == 0);
    assert!((2..9).contains(&one().count()));
    let everywhere = |log: &Arc<OwnLog>| {
        let ends = (0..3).map(|number| log.offsets(&records::partition(&numbers(), number)).unwrap().end);
        ends.sum::<u64>()
    };
    for atomic in [false, true] {
        let mut abilities = OwnLog::usual();
        abilities.atomic_appends = atomic;
        let log = OwnLog::with(abilities);
        let producer = records::producer(log.clone(), &numbers()).unwrap();
        let all = producer.send_blocking(keys.iter().map(|key| (key, Some(key), 0)));
        if atomic {
            all.unwrap();
        } else {
            refused(all, ErrorKind::Invalid, &["OwnLog", "atomic_appends", "numbers"]);
        }
        let sent = if atomic { 9 } else { 0 };
        assert_eq!(everywhere(&log), sent);
        producer.send_blocking(one().map(|key| (key, Some(key), 0))).unwrap();
        assert_eq!(everywhere(&log), sent + one().count() as u64);
    }
}

#[test]
fn what_a_graph_cannot_do_without_is_refused() {
    let (graph, _) = graph();
    let refused_with = |graph: &Graph, policy: FailurePolicy, change: fn(&mut Abilities)| {
        let mut abilities = OwnLog::usual();
        change(&mut abilities);
        let log = OwnLog::with(abilities);
        let store = Arc::new(MemoryStore::default());
        let opened = Engine::builder(graph).store(store).changelog(log.clone()).on_failure(policy).start();
        if opened.is_err() {
            assert!(log.is_untouched(), "nothing was written");
        }
        opened.map(|engine| engine.close_blocking().unwrap())
    };
    let stop = || FailurePolicy::default();
    refused_with(&graph, stop(), |_| ()).unwrap();
    refused_with(&graph, stop(), |can| can.keeps_holds = false).unwrap();
    let names = |ability: &'static str| ["OwnLog", ability];
    refused_with(&graph, stop(), |can| can.dense_offsets = false).unwrap();
    let dense: fn(&mut Abilities) = |can| (can.one_sequence, can.dense_offsets) = (true, false);
    refused(refused_with(&graph, stop(), dense), ErrorKind::Invalid, &names("dense_offsets"));
    let epochs: fn(&mut Abilities) = |can| can.atomic_epochs = false;
    refused(refused_with(&graph, stop(), epochs), ErrorKind::Invalid, &names("atomic_epochs"));
    // It says that it has an order, and tells of none.
    let order: fn(&mut Abilities) = |can| can.one_sequence = true;
    refused(refused_with(&graph, stop(), order), ErrorKind::Invalid, &names("one_sequence"));

    // Where it was cut would decide what comes of it, and nothing would say where that was.
    let ordered = GraphBuilder::new();
    ordered.stream(&numbers()).group_by(|_, _| 0_u8).reduce("last", |_, last| last);
    refused(
        refused_with(&ordered.build().unwrap(), stop(), epochs),
        ErrorKind::Invalid,
        &names("atomic_epochs"),
    );

    let silent = GraphBuilder::new();
    silent.stream(&numbers()).group_by_key().count("counts");
    let silent = silent.build().unwrap();
    refused_with(&silent, stop(), epochs).unwrap();
    let letters = FailurePolicy::DeadLetter("letters".into());
    refused(refused_with(&silent, letters, epochs), ErrorKind::Invalid, &names("atomic_epochs"));
}
