//! Stamps: where a value in the graph comes from, and the order in which an exchange puts values.
//!
//! Invariant: the order is total over the values of one epoch and depends only on the input of the epoch,
//! never on shards or threads.

use std::cmp::Ordering;

/// The origin of a value inside an epoch.
///
/// Stamps are ordered by `(merge time, topic, partition, offset, branch)`. The merge time is the greatest
/// timestamp seen so far in the partition within the epoch: partitions interleave by timestamp, and within a
/// partition the order of offsets is kept whatever the timestamps do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch, as the record carried it.
    pub timestamp_ms: i64,
    pub(crate) merge_ms: i64,
    pub(crate) source: u32,
    pub(crate) offset: u64,
    pub(crate) branch: u64,
}

impl Stamp {
    /// The stamp of the record at `offset` of the partition numbered `source` in its task.
    pub(crate) fn new(timestamp_ms: i64, merge_ms: i64, source: u32, offset: u64) -> Self {
        Self { timestamp_ms, merge_ms, source, offset, branch: 0 }
    }

    /// The record it belongs to: the number of its partition in the task, and its offset.
    pub(crate) fn origin(&self) -> (u32, u64) {
        (self.source, self.offset)
    }

    /// The stamp of the `index`th value made from the value with this stamp.
    ///
    /// Values made from one record keep their order while no record is split into more than 65,536 values at
    /// each of four levels; beyond that the order is still a function of the input, but arbitrary.
    #[must_use]
    pub fn branch(mut self, index: usize) -> Self {
        self.branch = (self.branch << 16).wrapping_add(index as u64);
        self
    }

    /// The stamp of this value where two streams become one: a record that reaches the same place on two ways has a
    /// stamp of its own on each, the first way before the second.
    #[must_use]
    pub fn side(mut self, second: bool) -> Self {
        self.branch = (self.branch << 1) | u64::from(second);
        self
    }

    /// The stamp of a value that was made from this one and belongs to the key with this encoding: it orders
    /// the changes of different keys that one record caused. Several values of one key lose their order, for the
    /// hash of the key is mixed into their branches.
    #[must_use]
    pub fn branch_by_key(mut self, encoded_key: &[u8]) -> Self {
        // FNV-1a: fixed for ever and independent of the process, unlike the hash maps' own hashers.
        let hash = encoded_key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        self.branch = (self.branch << 16) ^ hash;
        self
    }

    /// Whether both values come from the same record.
    #[must_use]
    pub fn shares_record(&self, other: &Self) -> bool {
        (self.source, self.offset) == (other.source, other.offset)
    }

    /// Whether a table update with stamp `update` is visible to a stream record with this stamp that stands
    /// in the same epoch: by merge time, the table first.
    #[must_use]
    pub fn sees(&self, update: &Self) -> bool {
        update.merge_ms <= self.merge_ms
    }
}

impl Ord for Stamp {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.merge_ms, self.source, self.offset, self.branch).cmp(&(
            other.merge_ms,
            other.source,
            other.offset,
            other.branch,
        ))
    }
}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_interleave_by_time_and_keep_their_offset_order() {
        let early_but_late = Stamp::new(1, 9, 0, 5);
        let before_it = Stamp::new(9, 9, 0, 4);
        let other_partition = Stamp::new(8, 8, 1, 0);
        let mut stamps = [early_but_late, before_it, other_partition];
        stamps.sort();
        assert_eq!(stamps, [other_partition, before_it, early_but_late]);
    }

    #[test]
    fn branches_keep_their_order() {
        let record = Stamp::new(1, 1, 0, 0);
        let nested = [record.branch(0).branch(7), record.branch(1).branch(0), record.branch(1).branch(3)];
        assert!(nested.is_sorted());
    }
}
