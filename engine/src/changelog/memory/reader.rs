//! Reads one partition of a changelog in memory.

use super::{MemoryLog, closed};
use crate::changelog::{LogBatch, PartitionReader};
use crate::{Result, TopicPartition};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) struct MemoryReader {
    pub(super) shared: Arc<MemoryLog>,
    pub(super) closed: Arc<AtomicBool>,
    pub(super) partition: TopicPartition,
    pub(super) offset: u64,
}

impl PartitionReader for MemoryReader {
    fn poll(&mut self, max_bytes: usize) -> Result<Vec<Arc<dyn LogBatch>>> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        let batches =
            self.shared.state().partition(&self.partition)?.read(&self.partition, self.offset, max_bytes)?;
        if let Some(last) = batches.last() {
            self.offset = last.end_offset();
        }
        Ok(batches.into_iter().map(|batch| -> Arc<dyn LogBatch> { Arc::new(batch) }).collect())
    }

    fn offset(&self) -> u64 {
        self.offset
    }
}
