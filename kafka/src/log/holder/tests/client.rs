//! What a process has of the brokers: producers, readers, and everything that may go wrong with them.

use super::super::transactions::{Producers, Transactions, Trouble};
use super::brokers::{Brokers, LOOSE, Late, MARKS, OUTPUTS, Refusal};
use super::world::World;
use crate::fetch::TopicMetadata;
use crate::log::appending::LooseAppends;
use crate::path::FetchPath;
use bytes::Bytes;
use millpond_engine::changelog::{
    Ack, Append, DecodedBatch, LogBatch, PartitionReader, PlacedRecords, Room, Run,
};
use millpond_engine::{Error, ErrorKind, Position, Result, TopicPartition};
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// The brokers, as one process sees them.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) world: Weak<World>,
    /// Whether the process was killed: nothing of it gets anywhere.
    pub(super) is_dead: Arc<AtomicBool>,
    /// Where the partition of the marks begins and ends, as it was heard a while ago.
    heard: Arc<Mutex<Range<u64>>>,
    /// So many times nothing has arrived yet.
    pub(super) delay: Arc<AtomicUsize>,
    /// What happens before something is read for the next time.
    pub(super) before: Arc<Mutex<Option<Happening>>>,
}

type Happening = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

fn away() -> Error {
    Error::unavailable("the brokers are away")
}

pub(super) fn partition_of(partition: &TopicPartition) -> usize {
    match &*partition.topic {
        "service.epochs" => MARKS,
        "out" => OUTPUTS,
        "loose" => LOOSE,
        other => panic!("there is no topic {other}"),
    }
}

impl Client {
    pub(super) fn new(world: Weak<World>) -> Self {
        Self {
            world,
            is_dead: Arc::default(),
            heard: Arc::default(),
            delay: Arc::default(),
            before: Arc::default(),
        }
    }

    /// What asks them, before which anything may have happened.
    fn ask<T>(&self, ask: impl FnOnce(&World, &mut Brokers) -> T) -> Option<T> {
        let world = self.world.upgrade()?;
        world.meanwhile();
        if self.is_dead.load(Ordering::Relaxed) {
            return None;
        }
        let answer = ask(&world, &mut world.brokers());
        world.meanwhile();
        Some(answer)
    }

    /// One of so many ways in which it may go; the first one is the usual one.
    fn way(&self, ways: u16) -> u16 {
        self.world.upgrade().map_or(0, |world| world.way(ways))
    }
}

impl Producers for Client {
    fn begin_tenure(&self) -> Result<Box<dyn Transactions>, Trouble> {
        let way = self.way(9);
        let begun = self.ask(|_, brokers| match way {
            1 => Err(Trouble::Unknown(away())),
            2 => Err(Trouble::Lost(away())),
            3 => {
                brokers.late.push_back(Late::Begin);
                Err(Trouble::Unknown(away()))
            }
            _ => Ok(brokers.begin()),
        });
        let epoch = begun.unwrap_or(Err(Trouble::Lost(away())))?;
        match way {
            4 => Err(Trouble::Unknown(away())),
            5 => Err(Trouble::Lost(away())),
            6 => Err(Trouble::Fenced),
            7 => Err(self.fatal_or_refused()),
            _ => Ok(Box::new(Pretended {
                client: self.clone(),
                epoch,
                transaction: None,
                queue: VecDeque::new(),
                refusal: None,
                is_shaky: false,
            })),
        }
    }
}

impl Client {
    fn fatal_or_refused(&self) -> Trouble {
        match self.way(5) {
            1 => Trouble::Refused(Error::invalid("it is refused")),
            _ => Trouble::Fatal(away()),
        }
    }
}

/// A producer. What it sends gets there when it likes, in order, and before it commits.
struct Pretended {
    client: Client,
    epoch: u64,
    /// The transaction that it has open at the brokers.
    transaction: Option<usize>,
    queue: VecDeque<(usize, Vec<u8>)>,
    refusal: Option<Refusal>,
    is_shaky: bool,
}

impl Pretended {
    /// So many records of those on their way get there.
    fn deliver(&mut self, most: usize) {
        for (partition, value) in self.queue.drain(..most.min(self.queue.len())) {
            let (epoch, transaction) = (self.epoch, self.transaction);
            let written = self.client.ask(|_, brokers| brokers.write(epoch, transaction, partition, value));
            match written {
                Some(Ok(transaction)) => self.transaction = Some(transaction),
                Some(Err(refusal)) => self.refusal = self.refusal.or(Some(refusal)),
                None => {}
            }
        }
    }

    fn send_some(&mut self, records: impl Iterator<Item = (usize, Vec<u8>)>) -> Result<(), Trouble> {
        self.queue.extend(records);
        let most = self.client.way(4);
        self.deliver(usize::from(most));
        // A connection was lost, and what was asked for is asked for again.
        self.is_shaky |= self.client.way(16) == 1;
        match self.client.way(24) {
            1 => Err(Trouble::Lost(away())),
            2 => Err(self.client.fatal_or_refused()),
            3 if self.refusal.is_some() => Err(Trouble::Fenced),
            _ => Ok(()),
        }
    }

    fn end(&mut self, way: u16) -> Result<(), Trouble> {
        self.deliver(usize::MAX);
        let trouble = |refusal| match refusal {
            Refusal::Fenced => Trouble::Fenced,
            Refusal::Ended => Trouble::Fatal(away()),
        };
        if let Some(refusal) = self.refusal {
            return Err(trouble(refusal));
        }
        if self.client.is_dead.load(Ordering::Relaxed) {
            return Err(Trouble::Lost(away()));
        }
        if self.transaction.is_none() {
            // Nothing was sent, and nobody is asked.
            return Ok(());
        }
        let epoch = self.epoch;
        let ended = self.client.ask(|_, brokers| match way {
            1 => Err(Trouble::Unknown(away())),
            2 => {
                brokers.late.push_back(Late::Commit(epoch));
                Err(Trouble::Unknown(away()))
            }
            3 => Err(Trouble::Lost(away())),
            4 => Err(Trouble::Fatal(away())),
            5 => {
                // It is asked for twice, within.
                brokers.late.push_back(Late::Commit(epoch));
                brokers.commit(epoch).map_err(trouble)
            }
            _ => brokers.commit(epoch).map_err(trouble),
        });
        self.is_shaky |= way == 5;
        ended.unwrap_or(Err(Trouble::Lost(away())))?;
        match way {
            6 => Err(Trouble::Unknown(away())),
            7 => Err(Trouble::Lost(away())),
            8 => Err(self.client.fatal_or_refused()),
            _ => Ok(()),
        }
    }
}

impl Transactions for Pretended {
    fn is_shaky(&self) -> bool {
        self.is_shaky
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        self.transaction = None;
        self.queue.clear();
        match self.client.way(24) {
            1 => Err(Trouble::Lost(away())),
            2 => Err(Trouble::Unknown(away())),
            3 => Err(self.client.fatal_or_refused()),
            _ => Ok(()),
        }
    }

    fn send(&mut self, appends: &[Append]) -> Result<(), Trouble> {
        let records = appends.iter().flat_map(|Append { partition, records }| {
            let partition = partition_of(partition);
            records.iter().map(move |record| (partition, record.value.clone().unwrap().to_vec()))
        });
        self.send_some(records)
    }

    fn send_mark(&mut self, partition: &TopicPartition, mark: &[u8]) -> Result<(), Trouble> {
        self.send_some(std::iter::once((partition_of(partition), mark.to_vec())))
    }

    fn commit(&mut self) -> Result<(), Trouble> {
        let way = self.client.way(14);
        let ended = self.end(way);
        self.is_shaky |= ended.is_err();
        ended
    }
}

impl LooseAppends for Client {
    fn append(&self, appends: Vec<Append>) -> Result<Ack> {
        let way = self.way(10);
        let values = appends.iter().flat_map(|append| &append.records).map(|record| record.value.clone());
        let values: Vec<Bytes> = values.map(Option::unwrap).collect();
        let sent = self.ask(|_, brokers| {
            let count = if way == 1 { values.len() / 2 } else { values.len() };
            values.iter().take(count).for_each(|value| brokers.write_loose(value.to_vec()));
        });
        if way == 2 {
            return Err(away());
        }
        let is_known = sent.is_some() && way != 1 && way != 3;
        Ok(Ack::ready(if is_known { Ok(Position::new()) } else { Err(away()) }))
    }

    fn room(&self) -> Room {
        Room::now()
    }
}

impl FetchPath for Client {
    fn cluster_id(&self) -> Option<Arc<str>> {
        None
    }

    fn find_topic(&self, _: &str) -> Result<Option<TopicMetadata>> {
        Err(away())
    }

    fn await_topic(&self, _: &str) -> Result<TopicMetadata> {
        Err(away())
    }

    fn all_topics(&self) -> Result<Vec<TopicMetadata>> {
        Err(away())
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        if self.way(3) != 0 {
            return Ok(self.heard.lock().unwrap().clone());
        }
        self.latest_offsets(partition)
    }

    fn latest_offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        let number = partition_of(partition);
        let offsets = self.ask(|_, brokers| brokers.start(number)..brokers.stable(number));
        let offsets = offsets.filter(|_| self.way(8) != 1).ok_or_else(away)?;
        *self.heard.lock().unwrap() = offsets.clone();
        Ok(offsets)
    }

    fn high_watermark(&self, partition: &TopicPartition) -> Result<u64> {
        let number = partition_of(partition);
        self.ask(|_, brokers| brokers.end(number)).ok_or_else(away)
    }

    fn reader(&self, partition: &TopicPartition, offset: u64) -> Result<Box<dyn PartitionReader>> {
        Ok(Box::new(Reader { client: self.clone(), partition: partition_of(partition), next: offset }))
    }

    fn watch(&self, _: Weak<dyn Fn() + Send + Sync>) {}

    fn trouble(&self) -> Option<String> {
        None
    }

    fn close(&self) {}
}

struct Reader {
    client: Client,
    partition: usize,
    next: u64,
}

impl PartitionReader for Reader {
    fn poll(&mut self, _: usize) -> Result<Vec<Arc<dyn LogBatch>>> {
        let (number, next) = (self.partition, self.next);
        let before = self.client.before.lock().unwrap().take();
        if let Some(happen) = before {
            happen();
        }
        let is_delayed = |left: usize| left.checked_sub(1);
        let is_delayed =
            self.client.delay.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_delayed).is_ok();
        let way = if is_delayed { 1 } else { self.client.way(12) };
        let polled = self.client.ask(|_, brokers| {
            let stable = brokers.stable(number);
            // All of it has arrived, or some, or nothing yet.
            let end = match way {
                1 => next.min(stable),
                2..=5 => (next + u64::from(way) - 1).min(stable),
                _ => stable,
            };
            (brokers.start(number), end, brokers.committed(number, next..end))
        });
        let Some((start, end, records)) = polled.filter(|_| way != 6) else { return Err(away()) };
        if next < start {
            return Err(Error::new(ErrorKind::BehindChangelog, "was deleted by the topic's retention"));
        }
        self.next = self.next.max(end);
        let batch = Batch { base: next, end: self.next, records };
        Ok(if batch.records.is_empty() { Vec::new() } else { vec![Arc::new(batch)] })
    }

    fn offset(&self) -> u64 {
        self.next
    }

    /// What was to come in a moment has come.
    fn wait(&mut self, _: Duration) -> Result<()> {
        let way = self.client.way(3);
        self.client.ask(|_, brokers| {
            if way == 0 {
                brokers.mark_ends();
            }
        });
        Ok(())
    }
}

#[derive(Debug)]
struct Batch {
    base: u64,
    end: u64,
    records: Vec<(u64, Vec<u8>)>,
}

impl LogBatch for Batch {
    fn base_offset(&self) -> u64 {
        self.base
    }

    fn end_offset(&self) -> u64 {
        self.end
    }

    fn runs(&self) -> Result<Option<Vec<Run>>> {
        Ok(None)
    }

    fn stored_bytes(&self) -> usize {
        1
    }

    fn body_bytes(&self) -> usize {
        1
    }

    fn decode(&self) -> Result<DecodedBatch> {
        let body: Vec<u8> = self.records.iter().flat_map(|(_, value)| value.clone()).collect();
        let mut placed = PlacedRecords::new(body.into());
        let mut at = 0;
        for (offset, value) in &self.records {
            placed.push(*offset, 0, None, Some(at..at + value.len()))?;
            at += value.len();
        }
        Ok(placed.finish())
    }
}
