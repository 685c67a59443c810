//! Which batches of a response are to be read: neither control batches nor those of transactions that were aborted.
//!
//! With a response the broker tells which transactions of its range were aborted: by which producer, and from which offset
//! on. Such a transaction ends at the producer's next control batch that says so. It is the algorithm of every reader that
//! reads only what is committed.
//!
//! What is left out is checked first: a damaged header must not look like an aborted transaction.

use super::batch::KafkaBatch;
use millpond_engine::Result;
use std::collections::HashSet;

/// A transaction that was aborted, as the broker tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aborted {
    pub producer_id: i64,
    /// The first offset it has written in the partition.
    pub first_offset: u64,
}

/// Tells the batches of one partition's part of a response apart, which it is shown in their order.
#[derive(Debug)]
pub(super) struct CommittedFilter {
    /// Those that begin above what was shown so far; the next one is the last.
    ahead: Vec<Aborted>,
    /// Producers whose transaction is being read, and was aborted.
    open: HashSet<i64>,
}

impl CommittedFilter {
    pub(super) fn new(mut aborted: Vec<Aborted>) -> Self {
        aborted.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { ahead: aborted, open: HashSet::new() }
    }

    /// Whether the records of `batch` are to be read.
    ///
    /// # Errors
    /// `Corrupt` if what would be left out is damaged.
    pub(super) fn admits(&mut self, batch: &KafkaBatch) -> Result<bool> {
        let header = &batch.header;
        while let Some(begun) = self.ahead.pop_if(|begun| begun.first_offset < header.end_offset) {
            self.open.insert(begun.producer_id);
        }
        if header.is_control() {
            if batch.aborts()? {
                self.open.remove(&header.producer_id);
            }
            return Ok(false);
        }
        if header.is_transactional() && self.open.contains(&header.producer_id) {
            batch.check()?;
            return Ok(false);
        }
        if header.records == 0 {
            batch.check()?;
            return Ok(false);
        }
        Ok(true)
    }
}
