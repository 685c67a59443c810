//! Sources: from stored batches of a topic to typed values on the shard that owns their key.

use super::{Batch, Router, Stamp};
use crate::Result;
use crate::changelog::{DecodedBatch, RecordRef};
use std::collections::BTreeMap;
use std::ops::Range;

/// Decodes the records of one topic.
///
/// # Contract
/// The result depends on the records only, as for [`Operator`](super::Operator). Batches are decoded in parallel
/// and put together in the order of (topic, partition, offset).
pub trait Source: Send + Sync + 'static {
    /// Decodes `records` into one batch per shard.
    ///
    /// # Errors
    /// `User`, made with [`SourceBatch::failure`], for a record that does not decode: handled by the failure policy.
    fn decode(&self, records: &SourceBatch<'_>, router: &Router) -> Result<Vec<Batch>>;

    /// Concatenates what several batches yielded for one shard.
    ///
    /// # Errors
    /// `Internal` if the parts are not what `decode` returned.
    fn gather(&self, parts: Vec<Batch>) -> Result<Batch>;
}

/// Records that the failure policy has excluded: (partition number in the task, offset) and why.
pub(crate) type Skipped = BTreeMap<(u32, u64), String>;

/// The records of one stored batch that belong to the epoch.
pub struct SourceBatch<'a> {
    pub(crate) batch: &'a DecodedBatch,
    pub(crate) offsets: Range<u64>,
    pub(crate) source: u32,
    pub(crate) floor_ms: i64,
    pub(crate) skipped: &'a Skipped,
}

impl SourceBatch<'_> {
    /// The records in offset order, each with its stamp.
    pub fn records(&self) -> impl Iterator<Item = (RecordRef<'_>, Stamp)> {
        let mut merge_ms = self.floor_ms;
        self.batch
            .iter()
            .skip_while(|record| record.offset < self.offsets.start)
            .take_while(|record| record.offset < self.offsets.end)
            .filter(|record| {
                self.skipped.is_empty() || !self.skipped.contains_key(&(self.source, record.offset))
            })
            .map(move |record| {
                merge_ms = merge_ms.max(record.timestamp_ms);
                (record, Stamp::new(record.timestamp_ms, merge_ms, self.source, record.offset))
            })
    }

    /// How many records at the most.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.offsets.end - self.offsets.start).unwrap_or(usize::MAX)
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The error for a record that does not decode.
    #[must_use]
    pub fn failure(&self, stamp: Stamp, reason: impl Into<String>) -> crate::Error {
        crate::Error::user(reason).with_source(super::RecordFailure { stamp })
    }
}
