//! A changelog that is not of this crate runs an engine, and its abilities decide what is done otherwise and what is refused.
//!
//! Method: a changelog in memory, written with nothing but what is public, whose partitions have nothing to do with each
//! other: it has no one sequence, and fails whoever asks it for one. A table whose rows depend on the order of all records goes
//! through crashes and epochs of any size; what it appends on the way must be what each later state began with. When only
//! epochs with outputs were marked, a replay took the records between two of them in another order.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::backend::{
    Abilities, Appended, DecodedBatch, EpochMark, Lease, LogBatch, NameInUse, PartitionReader, Run,
};
use millpond::changelog::prelude::*;
use millpond::changelog::{Ack, Append, Changelog, Record, TopicConfig, TopicType};
use millpond::store::MemoryStore;
use millpond::{
    Engine, Error, ErrorKind, FailurePolicy, Graph, GraphBuilder, Position, Result, StoredTable, Topic,
    TopicPartition,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// What the changelog holds.
#[derive(Default)]
struct Contents {
    topics: BTreeMap<Arc<str>, (u32, Option<TopicType>)>,
    records: BTreeMap<TopicPartition, Vec<Record>>,
    marks: BTreeMap<String, Vec<EpochMark>>,
    holds: BTreeMap<String, Position>,
    owners: BTreeMap<String, String>,
    leases: BTreeMap<String, Weak<()>>,
    watchers: Vec<Weak<dyn Fn() + Send + Sync>>,
    closed: bool,
}

/// A changelog of one's own.
struct OwnLog {
    contents: Arc<Mutex<Contents>>,
    abilities: Abilities,
}

/// What it can do.
fn usual() -> Abilities {
    let mut abilities = Abilities::all();
    (abilities.one_sequence, abilities.atomic_appends) = (false, false);
    abilities
}

impl OwnLog {
    fn new() -> Arc<Self> {
        Self::with(usual())
    }

    fn with(abilities: Abilities) -> Arc<Self> {
        Arc::new(Self { contents: Arc::default(), abilities })
    }

    fn contents(&self) -> Result<MutexGuard<'_, Contents>> {
        open(&self.contents)
    }
}

fn open(contents: &Mutex<Contents>) -> Result<MutexGuard<'_, Contents>> {
    let contents = contents.lock().unwrap();
    if contents.closed { Err(Error::new(ErrorKind::Closed, "closed")) } else { Ok(contents) }
}

impl Contents {
    fn append(&mut self, appends: Vec<Append>) -> Result<Position> {
        let mut after = Position::new();
        for Append { partition, records } in appends {
            let there = self.records.get_mut(&partition);
            let there = there.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("no {partition}")))?;
            there.extend(records);
            after.set(partition, there.len() as u64);
        }
        self.wake();
        Ok(after)
    }

    fn wake(&self) {
        self.watchers.iter().filter_map(Weak::upgrade).for_each(|waker| waker());
    }
}

impl TopicLog for OwnLog {
    fn create_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        let mut contents = self.contents()?;
        contents.topics.entry(topic.into()).or_insert((config.partitions, None));
        for partition in 0..config.partitions {
            contents.records.entry(TopicPartition::new(topic, partition)).or_default();
        }
        Ok(())
    }

    fn ensure_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.create_topic(topic, config)
    }

    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>> {
        Ok(self
            .contents()?
            .topics
            .iter()
            .map(|(name, (partitions, _))| (name.clone(), *partitions))
            .collect())
    }

    fn topic_type(&self, topic: &str) -> Result<Option<TopicType>> {
        Ok(self.contents()?.topics.get(topic).and_then(|(_, holds)| holds.clone()))
    }

    fn declare_type(&self, topic: &str, declared: &TopicType) -> Result<()> {
        let mut contents = self.contents()?;
        let (_, holds) = contents.topics.get_mut(topic).unwrap();
        if let Some(joined) = TopicType::declare(holds.as_ref(), declared)? {
            // As it would be stored.
            *holds = TopicType::from_bytes(&joined.to_bytes());
        }
        Ok(())
    }
}

impl AppendLog for OwnLog {
    fn append(&self, appends: Vec<Append>) -> Ack {
        let (sender, ack) = Ack::pending();
        sender.resolve(self.contents().and_then(|mut contents| contents.append(appends)));
        ack
    }

    fn sync(&self) -> Result<()> {
        self.contents().map(drop)
    }
}

/// Some records of a partition.
#[derive(Debug)]
struct OwnBatch(u64, Vec<Record>);

impl LogBatch for OwnBatch {
    fn base_offset(&self) -> u64 {
        self.0
    }

    fn end_offset(&self) -> u64 {
        self.0 + self.1.len() as u64
    }

    fn runs(&self) -> Result<Option<Vec<Run>>> {
        panic!("a log without an order was asked for it")
    }

    fn stored_bytes(&self) -> usize {
        self.body_bytes()
    }

    fn body_bytes(&self) -> usize {
        self.1.iter().map(Record::payload_bytes).sum()
    }

    fn decode(&self) -> Result<DecodedBatch> {
        DecodedBatch::from_records(self.0, &self.1)
    }
}

struct OwnReader {
    contents: Arc<Mutex<Contents>>,
    partition: TopicPartition,
    next: u64,
}

impl PartitionReader for OwnReader {
    fn poll(&mut self, max_bytes: usize) -> Result<Vec<Arc<dyn LogBatch>>> {
        let contents = open(&self.contents)?;
        let records = &contents.records[&self.partition][usize::try_from(self.next).unwrap()..];
        let most = if max_bytes < 100 { 1 } else { 8 };
        let mut batches: Vec<Arc<dyn LogBatch>> = Vec::new();
        for batch in records.chunks(4).take(most) {
            batches.push(Arc::new(OwnBatch(self.next, batch.to_vec())));
            self.next += batch.len() as u64;
        }
        Ok(batches)
    }

    fn offset(&self) -> u64 {
        self.next
    }
}

impl ReadLog for OwnLog {
    fn reader(&self, partition: &TopicPartition, offset: u64) -> Result<Box<dyn PartitionReader>> {
        let (contents, partition) = (self.contents.clone(), partition.clone());
        Ok(Box::new(OwnReader { contents, partition, next: offset }))
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        let contents = self.contents()?;
        let records = contents.records.get(partition);
        let records = records.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("no {partition}")))?;
        Ok(0..records.len() as u64)
    }

    fn appended(&self, _: u64) -> Result<Option<Appended>> {
        if self.abilities.one_sequence { Ok(None) } else { panic!("a log without an order was asked for it") }
    }

    fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.contents.lock().unwrap().watchers.push(waker);
    }
}

impl EpochLog for OwnLog {
    fn append_epoch(&self, producer: &str, mark: &EpochMark, appends: Vec<Append>) -> Result<bool> {
        let mut contents = self.contents()?;
        let marks = contents.marks.entry(producer.to_owned()).or_default();
        if marks.last().is_some_and(|last| last.to.includes(&mark.to)) {
            return Ok(false);
        }
        marks.push(mark.clone());
        contents.append(appends)?;
        Ok(true)
    }

    fn epochs_after(&self, producer: &str, position: &Position) -> Result<Vec<EpochMark>> {
        let contents = self.contents()?;
        let marks = contents.marks.get(producer).into_iter().flatten();
        Ok(marks.filter(|mark| !position.includes(&mark.to)).cloned().collect())
    }
}

impl RetentionLog for OwnLog {
    fn hold(&self, consumer: &str, position: &Position) -> Result<()> {
        self.contents()?.holds.insert(consumer.to_owned(), position.clone());
        Ok(())
    }

    fn enforce_retention(&self) -> Result<u64> {
        Ok(0)
    }
}

impl NameLog for OwnLog {
    fn lease(&self, name: &str) -> Result<Lease> {
        let mut contents = self.contents()?;
        if contents.leases.get(name).is_some_and(|lease| lease.strong_count() > 0) {
            return Err(Error::new(ErrorKind::Unavailable, format!("{name} is taken")));
        }
        let guard = Arc::new(());
        contents.leases.insert(name.to_owned(), Arc::downgrade(&guard));
        Ok(Lease::guarded(guard))
    }

    fn owner(&self, name: &str) -> Result<Option<String>> {
        Ok(self.contents()?.owners.get(name).cloned())
    }

    fn set_owner(&self, name: &str, owner: &str) -> Result<()> {
        self.contents()?.owners.insert(name.to_owned(), owner.to_owned());
        Ok(())
    }

    fn names(&self) -> Result<Vec<NameInUse>> {
        let contents = self.contents()?;
        let name = |(name, owner): (&String, &String)| {
            let mut used = NameInUse::new(name.as_str());
            used.hold = contents.holds.get(name).cloned();
            used.marks = contents.marks.get(name).map_or(0, |marks| marks.len() as u64);
            used.owner = Some(owner.clone());
            used.leased = contents.leases.get(name).is_some_and(|lease| lease.strong_count() > 0);
            used
        };
        Ok(contents.owners.iter().map(name).collect())
    }
}

impl TermLog for OwnLog {}

impl Changelog for OwnLog {
    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn close(&self) -> Result<()> {
        let mut contents = self.contents.lock().unwrap();
        contents.closed = true;
        contents.wake();
        Ok(())
    }
}

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
        let mut abilities = usual();
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
        let mut abilities = usual();
        change(&mut abilities);
        let log = OwnLog::with(abilities);
        let store = Arc::new(MemoryStore::default());
        let opened = Engine::builder(graph).store(store).changelog(log.clone()).on_failure(policy).start();
        if opened.is_err() {
            assert!(
                log.topics().unwrap().is_empty() && log.contents().unwrap().leases.is_empty(),
                "nothing was written"
            );
        }
        opened.map(|engine| engine.close_blocking().unwrap())
    };
    let stop = || FailurePolicy::default();
    refused_with(&graph, stop(), |_| ()).unwrap();
    refused_with(&graph, stop(), |can| can.keeps_holds = false).unwrap();
    let names = |ability: &'static str| ["OwnLog", ability];
    let dense: fn(&mut Abilities) = |can| can.dense_offsets = false;
    refused(refused_with(&graph, stop(), dense), ErrorKind::Invalid, &names("dense_offsets"));
    let epochs: fn(&mut Abilities) = |can| can.atomic_epochs = false;
    refused(refused_with(&graph, stop(), epochs), ErrorKind::Invalid, &names("atomic_epochs"));
    // It says that it has an order, and tells of none.
    let order: fn(&mut Abilities) = |can| can.one_sequence = true;
    refused(refused_with(&graph, stop(), order), ErrorKind::Invalid, &names("one_sequence"));

    let silent = GraphBuilder::new();
    silent.stream(&numbers()).group_by_key().count("counts");
    let silent = silent.build().unwrap();
    refused_with(&silent, stop(), epochs).unwrap();
    let letters = FailurePolicy::DeadLetter("letters".into());
    refused(refused_with(&silent, letters, epochs), ErrorKind::Invalid, &names("atomic_epochs"));
}
