//! On a log whose offsets have gaps, whose records arrive when they arrive, and which says nothing of how partitions follow
//! each other, tables are what they are on any other; and where the order of partitions decides what they are, it is decided
//! once.
//!
//! Method: `support/src/own_log.rs` with holes between, before and behind records. Random records and steps (append, epochs of
//! any size, drains, ends) of a graph that cannot tell how partitions are interleaved, beside the same records in a log in
//! memory; of one that can, whose list of all records must begin with what was seen before each end; of records that fail. And
//! the order within an epoch, beside a reckoning by hand. Threads, for what is waited for. The first form of it took the hole
//! behind the last record for a record to come, and waited for ever.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::aggregate::sum;
use millpond::changelog::{Changelog, MemoryChangelog};
use millpond::store::MemoryStore;
use millpond::{
    Engine, FailurePolicy, Graph, GraphBuilder, Stepper, StoredTable, Topic, TopicPartition, View,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::sync::Arc;

fn orders() -> Topic<u8, u64> {
    Topic::new("orders").partitions(3)
}

fn names() -> Topic<u8, String> {
    Topic::new("names").partitions(2)
}

fn rows<K: millpond::Key + std::fmt::Debug, V: millpond::codec::Value>(view: &View<K, V>) -> BTreeMap<K, V> {
    view.scan().unwrap().map(Result::unwrap).collect()
}

/// A graph that cannot tell how partitions are interleaved, and all that its tables hold.
struct Blind {
    graph: Graph,
    lists: StoredTable<u8, Vec<u64>>,
    names: StoredTable<u8, String>,
    by_rest: StoredTable<u64, i128>,
    most: StoredTable<u64, u64>,
    by_length: StoredTable<u32, u64>,
    named: StoredTable<u8, (String, u64)>,
    foreign: StoredTable<u8, String>,
}

fn blind() -> Blind {
    let graph = GraphBuilder::new();
    let stream = graph.stream(&orders());
    let lists = stream.group_by_key().fold("lists", Vec::new, |list, _, number| list.push(number));
    let names = graph.table(&names(), "names");
    let by_rest = stream.group_by(|_, number| number % 5);
    let most = by_rest.max("most", |number| *number);
    let by_rest = by_rest.aggregate("by_rest", sum(|number: &u64| *number));
    let last = lists.map_values(|_, list| list.last().copied().unwrap());
    let joined = names.join(&last, |_, name, number| (name.clone(), *number)).materialize("named");
    let by_length = joined
        .group_by(|_, (name, number)| (u32::try_from(name.len()).unwrap(), *number))
        .aggregate("by_length", millpond::aggregate::max(|number: &u64| *number).retractable());
    let by_length = by_length.map_values(|_, most| most.max().copied().unwrap()).materialize("longest");
    let foreign = last.foreign_join(
        &names,
        "foreign",
        |_, last| u8::try_from(last % 7).unwrap(),
        |_, _, name| name.clone(),
    );
    let graph = graph.build().unwrap();
    Blind { graph, lists, names, by_rest, most, by_length, named: joined, foreign }
}

impl Blind {
    fn shown(&self, stepper: &Stepper) -> String {
        let lists = rows(&stepper.view(&self.lists).unwrap());
        let names = rows(&stepper.view(&self.names).unwrap());
        let by_rest = rows(&stepper.view(&self.by_rest).unwrap());
        let most = rows(&stepper.view(&self.most).unwrap());
        let by_length = rows(&stepper.view(&self.by_length).unwrap());
        let joined = rows(&stepper.view(&self.named).unwrap());
        let foreign = rows(&stepper.view(&self.foreign).unwrap());
        format!("{lists:?} {names:?} {by_rest:?} {most:?} {by_length:?} {joined:?} {foreign:?}")
    }
}

fn stepper(
    graph: &Graph,
    log: Arc<dyn Changelog>,
    store: &Arc<MemoryStore>,
    policy: FailurePolicy,
) -> Stepper {
    let builder = Engine::builder(graph).store(store.clone()).changelog(log).shards(2);
    builder.on_failure(policy).stepper().unwrap()
}

/// Everything that has arrived, and what arrives with the next polls.
fn run(stepper: &mut Stepper, log: &dyn Changelog) {
    let partitions: Vec<TopicPartition> = stepper.position().iter().map(|(id, _)| id.clone()).collect();
    let ends = partitions.into_iter().map(|id| (id.clone(), log.offsets(&id).unwrap().end)).collect();
    while !stepper.position().includes(&ends) {
        stepper.epoch(100).unwrap();
    }
}

fn partition_of<V: millpond::codec::Value>(topic: &Topic<u8, V>, key: u8) -> TopicPartition {
    records::partition_of(topic, &key)
}

#[test]
fn what_the_order_of_partitions_does_not_decide_is_the_same() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    for round in 0..rounds(60) {
        let (log, plain) = (OwnLog::with_gaps(random.number()), Arc::new(MemoryChangelog::new()));
        let (store, plain_store) = (Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default()));
        let blind = blind();
        let stop = FailurePolicy::default;
        let mut gaps = stepper(&blind.graph, log.clone(), &store, stop());
        let mut dense = stepper(&blind.graph, plain.clone(), &plain_store, stop());
        for _ in 0..60 {
            match random.below(10) {
                0 => drop(gaps.drain().unwrap()),
                1 => {
                    drop(gaps);
                    gaps = stepper(&blind.graph, log.clone(), &store, stop());
                }
                2..5 => drop(gaps.epoch(1 + random.index(6)).unwrap()),
                _ => {
                    let key = u8::try_from(random.below(9)).unwrap();
                    let at = i64::try_from(random.below(20)).unwrap();
                    let (id, record) = if random.below(3) == 0 {
                        let name = ["", "a", "bee", "ceil"][random.index(4)].to_owned();
                        let name = (!name.is_empty()).then_some(name);
                        (partition_of(&names(), key), records::record(&names(), &key, name.as_ref()))
                    } else {
                        (
                            partition_of(&orders(), key),
                            records::record(&orders(), &key, Some(&random.below(100))),
                        )
                    };
                    let many = vec![record.at(at); 1 + random.index(2)];
                    records::append(&*log, id.clone(), many.clone()).unwrap();
                    records::append(&*plain, id, many).unwrap();
                }
            }
        }
        run(&mut gaps, &*log);
        while dense.epoch(1000).unwrap() {}
        assert_eq!(blind.shown(&gaps), blind.shown(&dense), "round {round}");
        assert_eq!(log.marks("millpond"), 0, "nothing is marked that need not be");
    }
}

/// All numbers in one list, in the order in which they were folded.
fn seeing() -> (Graph, StoredTable<u8, Vec<u64>>) {
    let graph = GraphBuilder::new();
    let all = graph.stream(&orders()).group_by(|_, _| 0_u8);
    let all = all.fold("all", Vec::new, |list, _, number| list.push(number));
    (graph.build().unwrap(), all)
}

#[test]
fn what_it_decides_is_decided_once() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    for round in 0..rounds(100) {
        let (log, store) = (OwnLog::with_gaps(random.number()), Arc::new(MemoryStore::default()));
        let (graph, all) = seeing();
        let open = || stepper(&graph, log.clone(), &store, FailurePolicy::default());
        let shown = |stepper: &Stepper| stepper.view(&all).unwrap().get(&0).unwrap().unwrap_or_default();
        let mut gaps = open();
        let mut before: Vec<u64> = Vec::new();
        let mut count = 0;
        for _ in 0..60 {
            match random.below(10) {
                0 => drop(gaps.drain().unwrap()),
                1 => {
                    before = shown(&gaps);
                    drop(gaps);
                    gaps = open();
                }
                2..5 => {
                    gaps.epoch(1 + random.index(6)).unwrap();
                    let now = shown(&gaps);
                    let both = before.len().min(now.len());
                    assert_eq!(before[..both], now[..both], "round {round}");
                }
                _ => {
                    let key = u8::try_from(random.below(9)).unwrap();
                    let record = records::record(&orders(), &key, Some(&count));
                    let at = i64::try_from(random.below(20)).unwrap();
                    records::append(&*log, partition_of(&orders(), key), vec![record.at(at)]).unwrap();
                    count += 1;
                }
            }
        }
        run(&mut gaps, &*log);
        let mut now = shown(&gaps);
        assert!(now.starts_with(&before), "{before:?} was seen, and then it was {now:?}");
        now.sort_unstable();
        assert_eq!(now, (0..count).collect::<Vec<_>>(), "every number is there, and once");
    }
}

#[test]
fn within_an_epoch_records_follow_each_other_by_stream_time_and_partition() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    for _ in 0..rounds(100) {
        let (log, store) = (OwnLog::with_gaps(random.number()), Arc::new(MemoryStore::default()));
        let (graph, all) = seeing();
        let mut stepper = stepper(&graph, log.clone(), &store, FailurePolicy::default());
        let mut expected = Vec::new();
        let mut latest = [i64::MIN; 3];
        for number in 0..random.below(40) {
            let partition = u32::try_from(random.below(3)).unwrap();
            let at = i64::try_from(random.below(10)).unwrap();
            let stream_time = &mut latest[partition as usize];
            *stream_time = at.max(*stream_time);
            expected.push((*stream_time, partition, number));
            let record = records::record(&orders(), &0, Some(&number)).at(at);
            records::append(&*log, records::partition(&orders(), partition), vec![record]).unwrap();
        }
        expected.sort_unstable();
        // What arrives with the second poll, of all partitions.
        stepper.epoch(1000).unwrap();
        stepper.epoch(1000).unwrap();
        let found = stepper.view(&all).unwrap().get(&0).unwrap().unwrap_or_default();
        let expected: Vec<u64> = expected.into_iter().map(|(.., number)| number).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn records_that_fail_are_those_that_fail() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    for _ in 0..rounds(60) {
        let (log, store) = (OwnLog::with_gaps(random.number()), Arc::new(MemoryStore::default()));
        let graph = GraphBuilder::new();
        let checked = graph.stream(&orders()).map_values(|_, number| {
            assert!(number % 7 != 3, "{number} is bad luck");
            number
        });
        let sums = checked.group_by_key().aggregate("sums", sum(|number: &u64| *number));
        let graph = graph.build().unwrap();
        let policy = || FailurePolicy::DeadLetter("letters".into());
        let mut stepper = stepper(&graph, log.clone(), &store, policy());
        let (mut expected, mut bad) = (BTreeMap::<u8, i128>::new(), BTreeMap::new());
        for _ in 0..30 {
            let (key, number) = (u8::try_from(random.below(5)).unwrap(), random.below(30));
            let id = partition_of(&orders(), key);
            let end =
                records::append(&*log, id.clone(), vec![records::record(&orders(), &key, Some(&number))]);
            if number % 7 == 3 {
                bad.insert((id.partition, end.unwrap().offset(&id) - 1), number);
            } else {
                *expected.entry(key).or_default() += i128::from(number);
            }
            if random.below(4) == 0 {
                stepper.epoch(1 + random.index(9)).unwrap();
            }
        }
        run(&mut stepper, &*log);
        assert_eq!(rows(&stepper.view(&sums).unwrap()), expected);
        let letters = TopicPartition::new("letters", 0);
        let letters = records::read(&*log, &letters).unwrap().into_iter().map(|letter| {
            let header =
                |name: &str| std::str::from_utf8(letter.headers.bytes(name).unwrap()).unwrap().to_owned();
            let origin =
                (header("millpond.partition").parse().unwrap(), header("millpond.offset").parse().unwrap());
            (origin, orders().codec().decode(letter.value.as_ref().unwrap()).unwrap())
        });
        assert_eq!(letters.collect::<BTreeMap<(u32, u64), u64>>(), bad);
    }
}

#[test]
fn nothing_is_waited_for_that_does_not_come() {
    let random = &mut Random::new(seed());
    for _ in 0..rounds(20) {
        let log = OwnLog::with_gaps(random.number());
        let blind = blind();
        let engine = Engine::builder(&blind.graph).in_memory().changelog(log).start().unwrap();
        engine.ready_blocking().unwrap();
        for key in 0..9 {
            let position = engine.append(&orders(), &key, &7).wait_blocking().unwrap();
            engine.wait_for_blocking(&position).unwrap();
            engine.catch_up_blocking().unwrap();
            assert_eq!(engine.stats().lag.values().sum::<u64>(), 0);
        }
        engine.close_blocking().unwrap();
    }
}
