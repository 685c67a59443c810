//! A changelog of one's own, in memory: its partitions have nothing to do with each other, and its offsets may have gaps.
//!
//! It is written with nothing but what is public, and fails whoever asks it for the one sequence that it does not have. With
//! gaps it is what Kafka is to whoever reads it: offsets begin anywhere, records lie wherever they lie in bytes, what was
//! compacted away or belongs to transactions leaves holes, also at the end, and a poll may find nothing although there is more.

mod process;
mod weather;

use crate::random::Random;
use crate::waiting::Weir;
use millpond::changelog::backend::{
    Abilities, Appended, Compaction, DecodedBatch, EpochMark, Lease, LogBatch, NameInUse, PartitionReader,
    PlacedRecords, Run,
};
use millpond::changelog::prelude::*;
use millpond::changelog::{Ack, Append, Changelog, Record, TopicConfig, TopicType};
use millpond::{Error, ErrorKind, Position, Result, TopicPartition};
use process::Process;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// How many records a batch has at the most.
const BATCH_RECORDS: usize = 4;

#[derive(Default)]
struct Contents {
    topics: BTreeMap<Arc<str>, (u32, Option<TopicType>)>,
    partitions: BTreeMap<TopicPartition, Partition>,
    marks: BTreeMap<String, Vec<EpochMark>>,
    holds: BTreeMap<String, Position>,
    owners: BTreeMap<String, String>,
    leases: BTreeMap<String, Weak<()>>,
    watchers: Vec<Weak<dyn Fn() + Send + Sync>>,
    /// Where holes are drawn from; none without it.
    holes: Option<Random>,
    closed: bool,
    /// Which process appends the epochs of a name, where several share it.
    holders: BTreeMap<String, u64>,
    processes: u64,
    /// How often a topic of each name was made.
    made: BTreeMap<Arc<str>, u64>,
    compacted: BTreeMap<Arc<str>, Compaction>,
    trouble: Option<String>,
    /// Whether nothing is told of topics.
    is_silent: bool,
    /// Through which whoever asks where partitions end has to pass.
    weir: Option<Weir>,
}

#[derive(Default)]
struct Partition {
    batches: Vec<Arc<OwnBatch>>,
    start: u64,
    end: u64,
}

/// A changelog of one's own.
pub struct OwnLog {
    contents: Arc<Mutex<Contents>>,
    abilities: Abilities,
    /// Which of those that share it this is; none if it is one process's alone.
    process: Option<Process>,
}

impl fmt::Debug for OwnLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnLog").field("abilities", &self.abilities).finish_non_exhaustive()
    }
}

impl OwnLog {
    /// What it can do.
    pub fn usual() -> Abilities {
        let mut abilities = Abilities::all();
        (abilities.one_sequence, abilities.atomic_appends) = (false, false);
        abilities
    }

    /// One without gaps.
    pub fn new() -> Arc<Self> {
        Self::with(Self::usual())
    }

    /// One that says that it can do this.
    pub fn with(abilities: Abilities) -> Arc<Self> {
        Arc::new(Self { contents: Arc::default(), abilities, process: None })
    }

    /// One with gaps, drawn from `seed`.
    pub fn with_gaps(seed: u64) -> Arc<Self> {
        let mut abilities = Self::usual();
        (abilities.dense_offsets, abilities.keeps_holds, abilities.sets_retention) = (false, false, false);
        let contents = Contents { holes: Some(Random::new(seed)), ..Contents::default() };
        Arc::new(Self { contents: Arc::new(Mutex::new(contents)), abilities, process: None })
    }

    /// Whether anything was ever written, or a name taken.
    pub fn is_untouched(&self) -> bool {
        let contents = self.contents().unwrap();
        contents.topics.is_empty() && contents.leases.is_empty()
    }

    /// How many epochs are marked for `producer`.
    pub fn marks(&self, producer: &str) -> usize {
        self.contents().unwrap().marks.get(producer).map_or(0, Vec::len)
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
        let Self { partitions, holes, .. } = self;
        let mut hole = |up_to: u64| holes.as_mut().map_or(0, |holes| holes.below(up_to));
        let mut after = Position::new();
        for Append { partition, records } in appends {
            let there = partitions.get_mut(&partition);
            let there = there.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("no {partition}")))?;
            for records in records.chunks(BATCH_RECORDS) {
                let base = there.end;
                let mut placed = Vec::new();
                for record in records {
                    let offset = there.end + hole(3);
                    there.end = offset + 1;
                    placed.push((offset, record.clone()));
                }
                after.set(partition.clone(), there.end);
                // What was compacted away at the end of the batch, and a mark of a transaction behind it.
                there.end += hole(2);
                there.batches.push(Arc::new(OwnBatch { base, end: there.end, records: placed }));
                there.end += hole(2);
            }
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
        let Contents { topics, partitions, holes, made, .. } = &mut *contents;
        if !topics.contains_key(topic) {
            *made.entry(topic.into()).or_default() += 1;
        }
        let (count, _) = topics.entry(topic.into()).or_insert((config.partitions_or_default(), None));
        config.check_found(topic, *count)?;
        for partition in 0..*count {
            let start = holes.as_mut().map_or(0, |holes| holes.below(2) * 1000);
            let new = || Partition { start, end: start, ..Partition::default() };
            partitions.entry(TopicPartition::new(topic, partition)).or_insert_with(new);
        }
        Ok(())
    }

    fn ensure_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.create_topic(topic, config)
    }

    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>> {
        let contents = self.contents()?;
        Ok(contents.topics.iter().map(|(name, (partitions, _))| (name.clone(), *partitions)).collect())
    }

    fn topic_identity(&self, topic: &str) -> Result<Option<String>> {
        if self.contents()?.is_silent {
            return Err(Error::new(ErrorKind::Unavailable, "nobody tells"));
        }
        Ok(self.contents()?.made.get(topic).map(u64::to_string))
    }

    fn compaction(&self, topic: &str) -> Result<Option<Compaction>> {
        Ok(self.contents()?.compacted.get(topic).copied())
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
struct OwnBatch {
    base: u64,
    end: u64,
    records: Vec<(u64, Record)>,
}

impl LogBatch for OwnBatch {
    fn base_offset(&self) -> u64 {
        self.base
    }

    fn end_offset(&self) -> u64 {
        self.end
    }

    fn records(&self) -> u64 {
        self.records.len() as u64
    }

    fn runs(&self) -> Result<Option<Vec<Run>>> {
        panic!("a log without an order was asked for it")
    }

    fn stored_bytes(&self) -> usize {
        self.body_bytes()
    }

    fn body_bytes(&self) -> usize {
        self.records.iter().map(|(_, record)| record.payload_bytes()).sum()
    }

    /// The records are where they lie in the bytes of the batch.
    fn decode(&self) -> Result<DecodedBatch> {
        let mut bytes = b"batch".to_vec();
        let mut put = |part: Option<&[u8]>| {
            part.map(|part| {
                let start = bytes.len();
                bytes.extend_from_slice(part);
                start..bytes.len()
            })
        };
        let records = self.records.iter().map(|(_, record)| record);
        let places: Vec<_> =
            records.map(|record| (put(record.value.as_deref()), put(record.key.as_deref()))).collect();
        let mut batch = PlacedRecords::new(bytes.into());
        for ((offset, record), (value, key)) in self.records.iter().zip(places) {
            batch.push(*offset, record.timestamp_ms, key, value)?;
            for header in &record.headers {
                batch.header(&header.name, header.value.as_deref())?;
            }
        }
        Ok(batch.finish())
    }
}

struct OwnReader {
    contents: Arc<Mutex<Contents>>,
    partition: TopicPartition,
    next: u64,
    /// Whether what there is has not arrived yet.
    waits: bool,
}

impl PartitionReader for OwnReader {
    fn poll(&mut self, max_bytes: usize) -> Result<Vec<Arc<dyn LogBatch>>> {
        let contents = open(&self.contents)?;
        self.waits = !self.waits && contents.holes.is_some();
        if self.waits {
            // It arrives at once.
            contents.wake();
            return Ok(Vec::new());
        }
        let partition = &contents.partitions[&self.partition];
        if self.next < partition.start {
            let Self { partition: id, next, .. } = self;
            let message = format!("{id} was trimmed up to {}, and is read at {next}", partition.start);
            return Err(Error::new(ErrorKind::BehindChangelog, message));
        }
        let left = partition.batches.partition_point(|batch| batch.end <= self.next);
        let most = if max_bytes < 100 { 1 } else { 64 };
        let mut batches: Vec<Arc<dyn LogBatch>> = Vec::new();
        for batch in partition.batches.iter().skip(left).take(most) {
            batches.push(batch.clone());
            self.next = batch.end;
        }
        if left + batches.len() == partition.batches.len() {
            self.next = partition.end;
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
        Ok(Box::new(OwnReader { contents, partition, next: offset, waits: false }))
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        let contents = self.contents()?;
        let there = contents.partitions.get(partition);
        let there = there.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("no {partition}")))?;
        Ok(there.start..there.end)
    }

    fn latest_offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        let weir = self.contents()?.weir.clone();
        weir.iter().for_each(Weir::pass);
        self.offsets(partition)
    }

    fn appended(&self, _: u64) -> Result<Option<Appended>> {
        if self.abilities.one_sequence { Ok(None) } else { panic!("a log without an order was asked for it") }
    }

    fn trouble(&self) -> Option<String> {
        self.contents.lock().unwrap().trouble.clone()
    }

    fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.contents.lock().unwrap().watchers.push(waker);
    }
}

impl EpochLog for OwnLog {
    fn append_epoch(&self, producer: &str, mark: &EpochMark, appends: Vec<Append>) -> Result<bool> {
        // Letters that no mark speaks of are appended at once.
        if let Some(process) = &self.process
            && !producer.ends_with(".letters")
        {
            return process.append_epoch(self, producer, mark, appends);
        }
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
        // Before the contents are locked, as always; what is committed in between is not told twice.
        let uncommitted = self.process.as_ref().map(|process| process.uncommitted(producer));
        let mut marks = self.contents()?.marks.get(producer).cloned().unwrap_or_default();
        for mark in uncommitted.into_iter().flatten() {
            if !marks.contains(&mark) {
                marks.push(mark);
            }
        }
        marks.retain(|mark| !position.includes(&mark.to));
        Ok(marks)
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
        if self.process.is_some() {
            return Ok(Lease::unguarded());
        }
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
