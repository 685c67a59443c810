//! A group: appends that waited together, gathered into one write.
//!
//! Records of one partition are merged into batches across the appends of a group. Each has its place in the sequence of
//! the log, which is the order in which the appends were queued. Nothing is answered before the group is committed, except
//! for what is refused.

use super::layout::{self, PartitionSlot};
use super::queue::{Reply, SlotAppend};
use crate::changelog::batch::BatchEncoder;
use crate::changelog::{AckSender, EpochMark, StoredBatch};
use crate::{Error, Position, Result, TopicPartition};
use std::collections::BTreeMap;

/// What is written, and who is told.
#[derive(Default)]
pub(super) struct CommitGroup {
    open: BTreeMap<PartitionSlot, OpenBatch>,
    pub(super) batches: Vec<(PartitionSlot, StoredBatch)>,
    pub(super) metadata: Vec<MetaChange>,
    /// Whether it must be on the medium before anyone is told.
    pub(super) sync: bool,
    acks: Vec<(AckSender, Position)>,
    epochs: Vec<(Reply<bool>, bool)>,
    others: Vec<Reply<()>>,
}

/// The key of a row of the metadata, and its value or `None` to delete it.
pub(super) type MetaChange = (Vec<u8>, Option<Vec<u8>>);

struct OpenBatch {
    partition: TopicPartition,
    base_offset: u64,
    encoder: BatchEncoder,
}

impl OpenBatch {
    fn next_offset(&self) -> u64 {
        self.base_offset + u64::from(self.encoder.records())
    }

    /// Ends the batch; the next record begins another one.
    fn cut(&mut self) -> Result<StoredBatch> {
        let base_offset = self.base_offset;
        self.base_offset = self.next_offset();
        std::mem::take(&mut self.encoder).finish(self.partition.clone(), base_offset)
    }
}

impl CommitGroup {
    /// Adds records, of which the first gets the number `sequence`, which is moved past the last one; `end` tells where a
    /// partition ends so far. Answers with the position after them.
    pub(super) fn add(
        &mut self,
        appends: Vec<SlotAppend>,
        max_batch_bytes: usize,
        sequence: &mut u64,
        end: impl Fn(PartitionSlot) -> Result<u64>,
    ) -> Result<Position> {
        let mut after = Position::new();
        for append in appends {
            let SlotAppend { slot, partition, records } = append;
            let batch = match self.open.entry(slot) {
                std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
                std::collections::btree_map::Entry::Vacant(vacant) => vacant.insert(OpenBatch {
                    partition: partition.clone(),
                    base_offset: end(slot)?,
                    encoder: BatchEncoder::default(),
                }),
            };
            for record in &records {
                if !batch.encoder.has_room_for(record, max_batch_bytes) {
                    self.batches.push((slot, batch.cut()?));
                }
                batch.encoder.push(record, Some(*sequence));
                *sequence += 1;
            }
            after.set(partition, batch.next_offset());
        }
        Ok(after)
    }

    pub(super) fn mark(&mut self, producer: &str, number: u64, mark: &EpochMark) {
        self.metadata.push((layout::mark_key(producer, number), Some(layout::mark_value(mark))));
    }

    pub(super) fn answer_append(&mut self, ack: AckSender, position: Position) {
        self.acks.push((ack, position));
    }

    pub(super) fn answer_epoch(&mut self, reply: Reply<bool>, appended: bool) {
        self.epochs.push((reply, appended));
    }

    pub(super) fn answer(&mut self, reply: Reply<()>) {
        self.others.push(reply);
    }

    /// Ends the batches that are still open.
    pub(super) fn seal(&mut self) -> Result<()> {
        for (slot, mut open) in std::mem::take(&mut self.open) {
            if open.encoder.records() > 0 {
                self.batches.push((slot, open.cut()?));
            }
        }
        Ok(())
    }

    /// Tells everyone how it went. Whoever does not wait any more is not told.
    pub(super) fn answer_all(self, result: Result<(), &Error>) {
        for (ack, position) in self.acks {
            ack.resolve(result.map(|()| position).map_err(Error::summary));
        }
        for (reply, appended) in self.epochs {
            reply.send(result.map(|()| appended).map_err(Error::summary)).ok();
        }
        for reply in self.others {
            reply.send(result.map_err(Error::summary)).ok();
        }
    }
}
