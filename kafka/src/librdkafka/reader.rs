//! Reading one partition: what was fetched is handed over, and never waited for.

use super::client::Handle;
use crate::fetch::errors;
use millpond_engine::Result;
use millpond_engine::changelog::{LogBatch, PartitionReader};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Reads a partition.
pub(super) struct Reader {
    /// Keeps the connections.
    handle: Arc<Handle>,
    id: u64,
    offset: u64,
}

impl Reader {
    pub(super) fn new(handle: Arc<Handle>, id: u64, offset: u64) -> Self {
        Self { handle, id, offset }
    }
}

impl PartitionReader for Reader {
    fn poll(&mut self, max_bytes: usize) -> Result<Vec<Arc<dyn LogBatch>>> {
        let shared = self.handle.shared();
        let mut state = shared.lock();
        if state.closed {
            return Err(errors::closed());
        }
        let Some(queue) = state.readers.get_mut(&self.id) else { return Err(errors::closed()) };
        let before = queue.buffered;
        let batches = queue.poll(max_bytes);
        self.offset = queue.offset();
        let freed = queue.buffered < before;
        drop(state);
        if freed {
            shared.notify();
        }
        batches
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn wait(&mut self, at_most: Duration) -> Result<()> {
        let shared = self.handle.shared();
        let deadline = Instant::now() + at_most;
        let mut state = shared.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match state.readers.get(&self.id) {
                Some(queue) if !state.closed && !queue.has_news() && !left.is_zero() => {}
                Some(_) if !state.closed => return Ok(()),
                _ => return Err(errors::closed()),
            }
            state = shared.wait(state, left);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.handle.shared().lock().readers.remove(&self.id);
        // What it had buffered is room for others.
        self.handle.shared().notify();
    }
}
