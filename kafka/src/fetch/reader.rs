//! Reading one partition: what was fetched is handed over, and never waited for.

use super::error;
use super::fetcher::Fetcher;
use super::state::{ReaderId, Shared};
use millpond_engine::changelog::{LogBatch, PartitionReader};
use millpond_engine::{Result, TopicPartition};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Reads a partition. What is read ahead is dropped with it.
pub struct FetchReader {
    /// Keeps the connections.
    _fetcher: Fetcher,
    shared: Arc<Shared>,
    id: ReaderId,
    partition: TopicPartition,
    offset: u64,
}

impl fmt::Debug for FetchReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchReader")
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl FetchReader {
    pub(super) fn open(
        fetcher: Fetcher,
        shared: &Arc<Shared>,
        partition: &TopicPartition,
        offset: u64,
    ) -> Result<Self> {
        let id = shared.open(partition, offset)?;
        Ok(Self { _fetcher: fetcher, shared: Arc::clone(shared), id, partition: partition.clone(), offset })
    }
}

impl PartitionReader for FetchReader {
    /// Never waits: empty if nothing was fetched. Fetching goes on once half of the partition's share of the buffer is free.
    fn poll(&mut self, max_bytes: usize) -> Result<Vec<Arc<dyn LogBatch>>> {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(error::closed());
        }
        let Some(partition) = state.readers.get_mut(&self.id) else { return Err(error::closed()) };
        let before = partition.buffered;
        let batches = partition.poll(max_bytes);
        self.offset = partition.offset();
        let freed = partition.buffered < before;
        // Whoever is polled in vain may be given more than there is room for, which is for the thread of its broker to decide.
        let starves = before == 0 && !partition.starves(state.handed);
        if freed {
            state.handed += 1;
        } else if starves {
            partition.lacks(state.handed);
        }
        drop(guard);
        if freed || starves {
            self.shared.notify();
        }
        batches
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn wait(&mut self, at_most: Duration) -> Result<()> {
        let deadline = Instant::now() + at_most;
        let mut guard = self.shared.lock();
        loop {
            let now = Instant::now();
            let state = &mut *guard;
            match state.readers.get_mut(&self.id) {
                Some(partition) if !state.closed && !partition.has_news() && now < deadline => {
                    if !partition.starves(state.handed) {
                        partition.lacks(state.handed);
                        self.shared.notify();
                    }
                }
                Some(_) if !state.closed => return Ok(()),
                _ => return Err(error::closed()),
            }
            guard = self.shared.wait(guard, deadline - now);
        }
    }
}

impl Drop for FetchReader {
    fn drop(&mut self) {
        self.shared.lock().readers.remove(&self.id);
        // What it had buffered is room for others.
        self.shared.notify();
    }
}
