//! What an epoch takes: pieces of stored batches, with the places of their records in the log.

use crate::changelog::{DecodedBatch, LogBatch, Run};
use crate::{Position, Result};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A piece of a stored batch that belongs to an epoch.
#[derive(Clone)]
pub(crate) struct BatchSlice {
    /// The partition's number in the task.
    pub(crate) source: u32,
    pub(crate) topic: usize,
    /// The number of the partition in its topic.
    pub(crate) partition: u32,
    pub(crate) batch: Arc<dyn LogBatch>,
    pub(crate) offsets: Range<u64>,
    /// The places of these records in the log.
    pub(crate) runs: Vec<Run>,
    /// Shared by the pieces of one batch.
    pub(super) decoded: Arc<OnceLock<DecodedBatch>>,
}

impl BatchSlice {
    /// The batch, decoded; once for all pieces of it, if it was cut.
    pub(super) fn decode(&self) -> Result<Cow<'_, DecodedBatch>> {
        if self.offsets == (self.batch.base_offset()..self.batch.end_offset()) {
            return self.batch.decode().map(Cow::Owned);
        }
        if let Some(decoded) = self.decoded.get() {
            return Ok(Cow::Borrowed(decoded));
        }
        let decoded = self.batch.decode()?;
        Ok(Cow::Borrowed(self.decoded.get_or_init(|| decoded)))
    }

    fn first(&self) -> u64 {
        self.runs.first().map_or(u64::MAX, |run| run.sequence)
    }

    /// Splits off the records that do not stand below `place`, if there are any.
    pub(super) fn split_off(&mut self, place: u64) -> Option<Self> {
        let at = self.runs.partition_point(|run| run.end() <= place);
        let mut runs = self.runs.split_off(at);
        let first = runs.first_mut()?;
        let below = place.saturating_sub(first.sequence);
        if below > 0 {
            self.runs.push(Run { records: below, ..*first });
            *first = Run { sequence: first.sequence + below, records: first.records - below };
        }
        let middle = self.offsets.start + self.runs.iter().map(|run| run.records).sum::<u64>();
        let offsets = middle..self.offsets.end;
        self.offsets.end = middle;
        Some(Self { offsets, runs, batch: self.batch.clone(), decoded: Arc::clone(&self.decoded), ..*self })
    }
}

/// The input of one epoch.
#[derive(Clone, Default)]
pub(crate) struct EpochInput {
    /// In the order of their first records.
    pub(crate) pieces: Vec<BatchSlice>,
    pub(crate) records: u64,
    /// Where the epoch begins.
    pub(crate) from: Position,
    /// Where it ends.
    pub(crate) position: Position,
    /// The place in the log after its last record.
    pub(crate) end: u64,
    /// How many bytes its batches have, decompressed, with what of them belongs to other epochs.
    pub(crate) bytes: usize,
    /// Whether it was cut as it was before a crash, because its output was appended then.
    pub(crate) replayed: bool,
}

impl EpochInput {
    /// The place of the first record.
    pub(crate) fn first(&self) -> u64 {
        self.pieces.first().map_or(u64::MAX, BatchSlice::first)
    }

    /// The number of the partition and the offset of the record with this place, if it is one of the epoch.
    pub(crate) fn find(&self, place: u64) -> Option<(u32, u64)> {
        self.pieces.iter().find_map(|piece| {
            let mut offset = piece.offsets.start;
            for run in &piece.runs {
                if (run.sequence..run.end()).contains(&place) {
                    return Some((piece.source, offset + (place - run.sequence)));
                }
                offset += run.records;
            }
            None
        })
    }

    /// The place of the record before which there are `records` others in the epoch.
    pub(crate) fn place_after(&self, records: u64) -> u64 {
        let mut runs: Vec<&Run> = self.pieces.iter().flat_map(|piece| &piece.runs).collect();
        runs.sort_unstable_by_key(|run| run.sequence);
        let mut left = records;
        for run in runs {
            if left < run.records {
                return run.sequence + left;
            }
            left -= run.records;
        }
        self.end
    }
}
