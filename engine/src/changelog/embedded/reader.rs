//! Reads one partition of an embedded changelog, segment by segment.
//!
//! The index says in which segment an offset lies, so that a poll is one seek and then a sequential read. Records
//! are readable only below the end that the writer published. What the index promises and the files do not have is
//! damage, unless it was trimmed meanwhile.

use super::EmbeddedLog;
use super::database::Span;
use super::index::Extent;
use super::layout::{PartitionSlot, RecordKey};
use crate::changelog::{LogBatch, PartitionReader, StoredBatch};
use crate::{Error, ErrorKind, Result, TopicPartition};
use bytes::Bytes;
use std::sync::Arc;

const MAX_READAHEAD_BYTES: usize = 1 << 20;

pub(super) struct EmbeddedReader {
    pub(super) shared: Arc<EmbeddedLog>,
    pub(super) slot: PartitionSlot,
    pub(super) partition: TopicPartition,
    pub(super) offset: u64,
}

impl PartitionReader for EmbeddedReader {
    fn poll(&mut self, max_bytes: usize) -> Result<Vec<Arc<dyn LogBatch>>> {
        let mut batches = Vec::new();
        let (mut offset, mut left) = (self.offset, max_bytes.max(1));
        while left > 0 {
            let Some(piece) = self.piece_at(offset)? else { break };
            let before = offset;
            self.read(&piece, &mut offset, &mut left, &mut batches)?;
            if offset == before {
                // Trimmed away or moved between the look at the index and the read, or gone.
                match self.piece_at(offset)? {
                    Some(now) if now.segment != piece.segment => {}
                    _ => return Err(self.damaged(offset, "no stored batch holds it")),
                }
            }
        }
        self.offset = offset;
        Ok(batches)
    }

    fn offset(&self) -> u64 {
        self.offset
    }
}

impl EmbeddedReader {
    /// The piece that holds `offset`; `None` at the end.
    fn piece_at(&self, offset: u64) -> Result<Option<Extent>> {
        self.shared.check_open()?;
        let index = self.shared.index();
        let partition = index.partition(self.slot)?;
        partition.range().check(&self.partition, offset)?;
        Ok(partition.piece_at(offset).cloned())
    }

    /// Reads batches of `piece` from `offset` on, which is moved past them, as is `left`.
    fn read(
        &self,
        piece: &Extent,
        offset: &mut u64,
        left: &mut usize,
        batches: &mut Vec<Arc<dyn LogBatch>>,
    ) -> Result<()> {
        let key = |base_offset| RecordKey { segment: piece.segment, slot: self.slot, base_offset }.to_bytes();
        let span = Span {
            bounds: key(0)..key(piece.offsets.end),
            from: key(*offset),
            readahead_bytes: (*left).min(MAX_READAHEAD_BYTES),
        };
        let at = |offset: u64, error: Error| match error.kind() {
            ErrorKind::Corrupt => error.context(format!("{} at offset {offset}", self.partition)),
            _ => error,
        };
        let read = self.shared.database.read(&span, |key, frame| {
            let batch = StoredBatch::from_frame(self.partition.clone(), Bytes::copy_from_slice(frame))?;
            let stored_at = RecordKey::read(key).map(|key| key.base_offset);
            if stored_at != Some(batch.base_offset()) {
                return Err(Error::corrupt("a stored batch lies at the offset of another one"));
            }
            let follows = if batches.is_empty() || *offset == piece.offsets.start {
                (batch.base_offset()..batch.end_offset()).contains(offset)
            } else {
                batch.base_offset() == *offset
            };
            if !follows {
                let found = batch.base_offset();
                return Err(
                    self.damaged(*offset, &format!("the stored batch that should hold it begins at {found}"))
                );
            }
            *offset = batch.end_offset();
            *left = left.saturating_sub(batch.stored_bytes());
            batches.push(Arc::new(batch));
            Ok(*left > 0)
        });
        read.map_err(|error| at(*offset, error))
    }

    fn damaged(&self, offset: u64, what: &str) -> Error {
        Error::corrupt(format!(
            "{} is damaged at offset {offset}: {what}; restore the changelog from a copy",
            self.partition
        ))
    }
}
