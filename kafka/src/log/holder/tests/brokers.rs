//! Brokers as far as one transactional id goes: what producers of it have begun, written and ended, and what is left to be told.
//!
//! What is committed is decided at once, and can be read once the end of the transaction is marked in each partition, a moment
//! later. A producer that has begun fences every other, and finds everything decided and marked.

use super::super::mark::Mark;
use std::collections::VecDeque;
use std::ops::Range;

/// The partitions.
pub(super) const MARKS: usize = 0;
pub(super) const OUTPUTS: usize = 1;
pub(super) const LOOSE: usize = 2;
const PARTITIONS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug)]
struct Transaction {
    fate: Fate,
    /// The partitions in which its end is not marked yet.
    unmarked: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    transaction: Option<usize>,
    /// None for the mark of an end.
    value: Option<Vec<u8>>,
}

/// Why a producer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another one has begun.
    Fenced,
    /// Its transaction has ended otherwise.
    Ended,
}

/// A request that nobody waits for any more, and that arrives all the same.
#[derive(Debug, Clone, Copy)]
pub(super) enum Late {
    /// The end of a transaction, by the producer of this epoch.
    Commit(u64),
    /// Another producer begins.
    Begin,
}

#[derive(Debug, Default)]
pub(super) struct Brokers {
    logs: [Vec<Entry>; PARTITIONS],
    /// Below it marks were deleted.
    start: u64,
    /// That of the last producer that has begun.
    epoch: u64,
    transactions: Vec<Transaction>,
    open: Option<usize>,
    /// The last one that this epoch has ended.
    ended: Option<usize>,
    /// All marks that were ever committed.
    pub(super) marks: Vec<Committed>,
    /// How many transactions were.
    pub(super) commits: usize,
    pub(super) late: VecDeque<Late>,
}

/// A mark that was committed, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Committed {
    pub(super) offset: u64,
    pub(super) mark: Mark,
}

impl Brokers {
    /// Another producer begins. Returns its epoch.
    pub(super) fn begin(&mut self) -> u64 {
        self.time_out();
        self.mark_ends();
        self.epoch
    }

    /// What is open is aborted, and its producer fenced.
    pub(super) fn time_out(&mut self) {
        self.mark_ends();
        if let Some(open) = self.open.take() {
            self.transactions[open].fate = Fate::Aborted;
        }
        self.epoch += 1;
        self.ended = None;
    }

    /// The producer of this epoch writes to a partition, in its transaction if that has begun here. Returns the transaction.
    pub(super) fn write(
        &mut self,
        epoch: u64,
        transaction: Option<usize>,
        partition: usize,
        value: Vec<u8>,
    ) -> Result<usize, Refusal> {
        if epoch != self.epoch {
            return Err(Refusal::Fenced);
        }
        if transaction.is_some() && transaction != self.open {
            return Err(Refusal::Ended);
        }
        if self.open.is_none() {
            self.mark_ends();
        }
        let number = *self.open.get_or_insert(self.transactions.len());
        if number == self.transactions.len() {
            self.transactions.push(Transaction { fate: Fate::Open, unmarked: Vec::new() });
        }
        let unmarked = &mut self.transactions[number].unmarked;
        if !unmarked.contains(&partition) {
            unmarked.push(partition);
        }
        self.logs[partition].push(Entry { transaction: Some(number), value: Some(value) });
        Ok(number)
    }

    /// Writes what belongs to no transaction.
    pub(super) fn write_loose(&mut self, value: Vec<u8>) {
        self.logs[LOOSE].push(Entry { transaction: None, value: Some(value) });
    }

    /// The producer of this epoch commits what it has open. To ask for what has happened changes nothing.
    pub(super) fn commit(&mut self, epoch: u64) -> Result<(), Refusal> {
        if epoch != self.epoch {
            return Err(Refusal::Fenced);
        }
        match (self.open.take(), self.ended) {
            (Some(open), _) => {
                self.transactions[open].fate = Fate::Committed;
                self.ended = Some(open);
                self.commits += 1;
                let behind = self.marks.last().map_or(0, |last| last.offset + 1);
                for (offset, value) in self.committed(MARKS, behind..u64::MAX) {
                    self.marks.push(Committed { offset, mark: Mark::decode(&value).unwrap() });
                }
                Ok(())
            }
            (None, Some(_)) => Ok(()),
            (None, None) => Err(Refusal::Ended),
        }
    }

    /// A request that comes late has arrived.
    pub(super) fn arrive(&mut self, late: Late) {
        match late {
            Late::Commit(epoch) => _ = self.commit(epoch),
            Late::Begin => _ = self.begin(),
        }
    }

    /// Marks the ends of all transactions that have ended.
    pub(super) fn mark_ends(&mut self) {
        while self.mark_an_end(0) {}
    }

    /// Marks the end of a transaction in one partition. `false` if all are marked.
    pub(super) fn mark_an_end(&mut self, which: usize) -> bool {
        let mut ended = (0..self.transactions.len()).rev().filter(|number| {
            let transaction = &self.transactions[*number];
            transaction.fate != Fate::Open && !transaction.unmarked.is_empty()
        });
        let Some(number) = ended.next() else { return false };
        let unmarked = &mut self.transactions[number].unmarked;
        let partition = unmarked.remove(which % unmarked.len());
        self.logs[partition].push(Entry { transaction: None, value: None });
        true
    }

    pub(super) fn start(&self, partition: usize) -> u64 {
        if partition == MARKS { self.start } else { 0 }
    }

    /// The last stable offset.
    pub(super) fn stable(&self, partition: usize) -> u64 {
        let is_unstable = |entry: &Entry| {
            entry.transaction.is_some_and(|number| {
                let Transaction { fate, unmarked } = &self.transactions[number];
                *fate == Fate::Open || unmarked.contains(&partition)
            })
        };
        let log = &self.logs[partition];
        log.iter().position(is_unstable).unwrap_or(log.len()) as u64
    }

    pub(super) fn end(&self, partition: usize) -> u64 {
        self.logs[partition].len() as u64
    }

    /// What is committed between two offsets.
    pub(super) fn committed(&self, partition: usize, offsets: Range<u64>) -> Vec<(u64, Vec<u8>)> {
        let entries = (0..).zip(&self.logs[partition]);
        let within = entries.filter(|(offset, _)| offsets.contains(offset));
        let is_committed = |entry: &Entry| {
            entry.transaction.is_none_or(|number| self.transactions[number].fate == Fate::Committed)
        };
        let committed = within.filter(|(_, entry)| is_committed(entry));
        committed.filter_map(|(offset, entry)| Some((offset, entry.value.clone()?))).collect()
    }

    /// Deletes marks, as it is asked to: whatever stands below this offset.
    pub(super) fn delete_marks(&mut self, before: u64) {
        self.start = self.start.max(before);
    }
}
