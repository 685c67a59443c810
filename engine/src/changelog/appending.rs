//! Appending: records go in, and are acknowledged once they are durable.
//!
//! Back-pressure: [`append`](AppendLog::append) never blocks, so that it may be called from async code, and takes
//! its place in the order at the call, not when its [`Ack`] is first polled. An implementation with a queue
//! therefore refuses what exceeds it (`Unavailable`, nothing appended) and says through
//! [`room`](AppendLog::room) when it is worth trying again.

use super::{Ack, Record, Room};
use crate::{Result, TopicPartition};

/// Records for one partition, appended together.
#[derive(Debug, Clone)]
pub struct Append {
    /// Where to.
    pub partition: TopicPartition,
    /// What; in this order.
    pub records: Vec<Record>,
}

impl Append {
    /// Dates the records, in a topic whose timestamps are those of the log.
    pub(crate) fn date(&mut self, now_ms: i64) {
        self.records.iter_mut().for_each(|record| record.timestamp_ms = now_ms);
    }
}

/// Records are gathered into batches of about so many bytes, before compression.
pub(crate) const DEFAULT_BATCH_BYTES: usize = 64 << 10;

/// Appending records.
pub trait AppendLog: Send + Sync {
    /// Appends records, which take their places in the order given. The [`Ack`] resolves to the position after them once they are durable: for every
    /// partition named, the offset after its last record.
    ///
    /// The ack resolves to an error and nothing was appended: `Invalid` for an unknown partition or a record that
    /// is too large, `Unavailable` if too much is queued already (await [`room`](Self::room) and try again),
    /// `Closed` after close. If the medium fails it is `Unavailable` too, the changelog is poisoned and refuses
    /// appends, and what was not acknowledged may or may not be there when it is opened again.
    fn append(&self, appends: Vec<Append>) -> Ack;

    /// Resolves when an append will be admitted. An implementation without a queue always has room.
    fn room(&self) -> Room {
        Room::now()
    }

    /// Makes everything that was appended so far durable.
    ///
    /// # Errors
    /// If the medium failed; the changelog is then poisoned and refuses appends.
    fn sync(&self) -> Result<()>;
}
