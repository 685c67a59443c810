//! What an epoch takes: pieces of stored batches, with the places of their records in the log.

use crate::changelog::{DecodedBatch, EpochMark, LogBatch, Places, Run, max_timestamp_at};
use crate::time::Tick;
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
    /// The places of these offsets in the log: each has one, whether there is a record or a gap.
    pub(crate) runs: Vec<Run>,
    /// Shared by the pieces of one batch.
    pub(super) decoded: Arc<OnceLock<DecodedBatch>>,
}

impl BatchSlice {
    /// The batch, decoded; once for all pieces of it, if it was cut.
    pub(crate) fn decode(&self) -> Result<Cow<'_, DecodedBatch>> {
        if let Some(decoded) = self.decoded.get() {
            return Ok(Cow::Borrowed(decoded));
        }
        if self.is_whole() {
            return self.batch.decode().map(Cow::Owned);
        }
        self.decode_once().map(Cow::Borrowed)
    }

    /// The batch, decoded and kept for whoever asks next.
    pub(super) fn decode_once(&self) -> Result<&DecodedBatch> {
        if let Some(decoded) = self.decoded.get() {
            return Ok(decoded);
        }
        let decoded = self.batch.decode()?;
        Ok(self.decoded.get_or_init(|| decoded))
    }

    fn is_whole(&self) -> bool {
        self.offsets.start <= self.batch.base_offset() && self.batch.end_offset() <= self.offsets.end
    }

    /// Whether there is a record at each of its offsets.
    fn is_dense(&self) -> bool {
        let within =
            self.batch.base_offset() <= self.offsets.start && self.offsets.end <= self.batch.end_offset();
        within && self.batch.records() == self.batch.end_offset() - self.batch.base_offset()
    }

    /// How many records it has. Where that cannot be told otherwise, the batch is decoded.
    ///
    /// # Errors
    /// `Corrupt` if the batch is damaged.
    pub(super) fn records(&self) -> Result<u64> {
        if self.is_whole() {
            return Ok(self.batch.records());
        }
        if self.is_dense() {
            return Ok(self.offsets.end - self.offsets.start);
        }
        self.places_of_records().map(|places| places.len() as u64)
    }

    /// The greatest timestamp of its records. Where only a part of the batch is in it, or the batch does not tell, that is decoded.
    ///
    /// # Errors
    /// `Corrupt` if the batch is damaged.
    pub(crate) fn max_timestamp_ms(&self) -> Result<Option<i64>> {
        max_timestamp_at(&*self.batch, &self.offsets, || self.decode_once().map(Cow::Borrowed))
    }

    /// The places of its records.
    ///
    /// # Errors
    /// `Corrupt` if the batch is damaged.
    fn places_of_records(&self) -> Result<Vec<u64>> {
        if self.is_dense() {
            return Ok(self.runs.iter().flat_map(|run| run.sequence..run.end()).collect());
        }
        let mut places = Places::new(self.offsets.start, &self.runs);
        let records = self.decode_once()?.iter_from(self.offsets.start);
        let within = records.take_while(|record| record.offset < self.offsets.end);
        Ok(within.filter_map(|record| places.of(record.offset)).collect())
    }

    /// The place of its first record, if it has any.
    fn first(&self) -> Option<u64> {
        if self.is_dense() {
            return self.runs.first().map(|run| run.sequence);
        }
        // It can be decoded: this is asked of epochs that have run.
        self.places_of_records().ok()?.first().copied()
    }

    /// Splits off what lies at `offset` and above, if there is anything.
    pub(super) fn split_off_offset(&mut self, offset: u64) -> Option<Self> {
        if offset >= self.offsets.end {
            return None;
        }
        let mut left = offset.saturating_sub(self.offsets.start);
        let at = self.runs.iter().find_map(|run| {
            let here = (left < run.records).then_some(run.sequence + left);
            left = left.saturating_sub(run.records);
            here
        });
        // Its places ascend with its offsets.
        self.split_off(at?)
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
    /// Those of one partition are in the order of their offsets.
    pub(crate) pieces: Vec<BatchSlice>,
    /// What takes partitions on in time before its records. An epoch has either.
    pub(crate) ticks: Vec<Tick>,
    /// Whether its tick is to be appended with what it produces.
    pub(crate) makes_tick: bool,
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
    /// Which partitions take part in it: those that were read when its mark was left, or all that are read if it has none.
    pub(crate) reads: Position,
    /// What it keeps to of what is marked in a log whose epochs are shared: it goes no further.
    pub(crate) marked: Option<Position>,
}

impl EpochInput {
    /// Its mark. One that keeps to what is marked says nothing of a partition of which the mark says nothing, and no more of any:
    /// a follower may have passed offsets without a record that the holder had not come to.
    pub(crate) fn mark(&self) -> EpochMark {
        let to = match &self.marked {
            None => self.position.clone(),
            Some(marked) => {
                let ends = self.position.iter();
                ends.filter_map(|(id, end)| Some((id.clone(), end.min(marked.known(id)?)))).collect()
            }
        };
        EpochMark { from: self.from.clone(), to }
    }

    /// The place of the first record.
    pub(crate) fn first(&self) -> u64 {
        self.pieces.iter().filter_map(BatchSlice::first).min().unwrap_or(u64::MAX)
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
        if !self.pieces.iter().all(BatchSlice::is_dense) {
            // What cannot be decoded counts for nothing here, and fails where it is read.
            let places = self.pieces.iter().filter_map(|piece| piece.places_of_records().ok());
            let mut places: Vec<u64> = places.flatten().collect();
            places.sort_unstable();
            let after = usize::try_from(records).ok().and_then(|records| places.get(records));
            return after.copied().unwrap_or(self.end);
        }
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
