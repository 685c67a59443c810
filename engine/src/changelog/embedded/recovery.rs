//! Opening: from what is stored to an index and a writer.
//!
//! The metadata tells of every segment but the last ones, which are scanned; that takes the time of a segment or
//! two, whatever the size of the log. A new segment is begun, so that no two files ever overlap.

use super::database::{Database, Span};
use super::index::{Extent, Index};
use super::layout::{self, MetaRow, PartitionSlot, RecordKey};
use crate::changelog::Term;
use crate::changelog::epochs::Epochs;
use crate::changelog::frame::{FrameHeader, UNCHECKED_BYTES};
use crate::{Error, Position, Result};
use std::collections::BTreeMap;

/// What an opened changelog begins with.
#[derive(Default)]
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) epochs: Epochs,
    pub(super) holds: BTreeMap<String, Position>,
    pub(super) owners: BTreeMap<String, String>,
    /// In order.
    pub(super) terms: Vec<Term>,
    pub(super) closed_segments: BTreeMap<u64, u64>,
    pub(super) next_segment: u64,
    pieces: Vec<(PartitionSlot, Extent)>,
}

impl Recovered {
    /// What `database` holds. What is scanned counts as appended at `now_ms`: it was not later.
    pub(super) fn read(database: &Database, now_ms: i64) -> Result<Self> {
        let mut recovered = Self::default();
        let mut rows = read_rows(database)?;
        let is_current = matches!(rows.first(), Some(MetaRow::Format(layout::FORMAT_VERSION)));
        let renewed: Vec<_> =
            rows.iter().filter(|_| !is_current).filter_map(layout::renewed_segment).collect();
        // Where a partition begins must be known before what it holds.
        rows.sort_by_key(|row| !matches!(row, MetaRow::Topic { .. } | MetaRow::Start { .. }));
        rows.sort_by_key(|row| !matches!(row, MetaRow::Topic { .. }));
        for row in rows {
            recovered.take_in(row).map_err(|error| database.name(error))?;
        }
        recovered.take_in_pieces().map_err(|error| database.name(error))?;
        recovered.scan_open_segments(database, now_ms)?;
        recovered.number_what_has_no_place();
        if !is_current {
            // Last, so that nothing is written to a log that cannot be opened.
            let next = layout::next_sequence_value(recovered.index.end_sequence);
            database.write(true, |rows| {
                rows.put_meta(layout::FORMAT, &layout::FORMAT_VERSION.to_le_bytes());
                rows.put_meta(layout::NEXT_SEQUENCE, &next);
                for (old_key, key, value) in &renewed {
                    rows.delete_meta(old_key);
                    rows.put_meta(key, value);
                }
            })?;
        }
        Ok(recovered)
    }

    /// Records of 0.1 have no place in the sequence: they come before all that have one. A reader numbers them by how many
    /// came before, so the first number given must not be below their count.
    fn number_what_has_no_place(&mut self) {
        let unsequenced = |piece: &&Extent| piece.last_sequence.is_none();
        let ends = self.index.partitions().filter_map(|(_, partition)| {
            partition.pieces.iter().rev().find(unsequenced).map(|piece| piece.offsets.end)
        });
        self.index.end_sequence = self.index.end_sequence.max(ends.sum());
    }

    fn take_in(&mut self, row: MetaRow) -> Result<()> {
        match row {
            MetaRow::Format(_) => {}
            MetaRow::Topic { id, name, config } => self.index.put_topic(&name, id, config),
            MetaRow::Type { topic, holds } => {
                if !self.index.put_type(topic, holds) {
                    return Err(Error::corrupt(format!("what the unknown topic {topic} holds")));
                }
            }
            MetaRow::Start { slot, offset, dropped_ms } => {
                let unknown = || Error::corrupt(format!("the start of an unknown partition, {slot:?}"));
                let partition = self.index.partition_mut(slot).ok_or_else(unknown)?;
                (partition.start, partition.end, partition.dropped_ms) = (offset, offset, dropped_ms);
            }
            MetaRow::Segment { segment, pieces } => self.take_in_segment(segment, pieces),
            MetaRow::Hold { consumer, position } => drop(self.holds.insert(consumer, position)),
            MetaRow::Term(term) => self.terms.push(term),
            MetaRow::Owner { name, owner } => drop(self.owners.insert(name, owner)),
            MetaRow::Mark { producer, number, mark } => self.epochs.restore(&producer, number, mark)?,
            MetaRow::NextSequence(next) => self.index.end_sequence = self.index.end_sequence.max(next),
        }
        Ok(())
    }

    fn take_in_segment(&mut self, segment: u64, pieces: Vec<(PartitionSlot, Extent)>) {
        self.closed_segments.insert(segment, pieces.iter().map(|(_, piece)| piece.stored_bytes).sum());
        self.next_segment = self.next_segment.max(segment + 1);
        self.pieces.extend(pieces.into_iter().map(|(slot, piece)| (slot, Extent { segment, ..piece })));
    }

    /// Puts the pieces in their order, which is not that of their segments.
    fn take_in_pieces(&mut self) -> Result<()> {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.sort_by_key(|(slot, piece)| (*slot, piece.offsets.start));
        for (slot, piece) in pieces {
            // What lies below the start was trimmed; its segment may live on for other partitions.
            if piece.offsets.end > self.index.partition(slot)?.start {
                self.index.add(slot, piece)?;
            }
        }
        Ok(())
    }

    /// Takes in the segments that were not ended, and ends them.
    fn scan_open_segments(&mut self, database: &Database, now_ms: i64) -> Result<()> {
        let bounds = RecordKey::segments(self.next_segment..u64::MAX);
        let span = Span { from: bounds.start, bounds, readahead_bytes: 1 << 20 };
        let mut scanned = BTreeMap::<u64, u64>::new();
        database.read(&span, |key, frame| {
            let key = RecordKey::read(key).ok_or_else(|| Error::corrupt("a key is not that of a batch"))?;
            let at = |error: Error| match self.index.partition(key.slot) {
                Ok(partition) => error.context(format!("{} at offset {}", partition.name, key.base_offset)),
                Err(_) => error,
            };
            let header = FrameHeader::read(frame).map_err(|damage| at(Error::corrupt(damage)))?;
            // What the header says decides where the next record goes.
            if crc32c::crc32c(frame.get(UNCHECKED_BYTES..).unwrap_or_default()) != header.crc {
                return Err(at(Error::corrupt("the checksum of the batch does not match its bytes")));
            }
            if header.base_offset != key.base_offset {
                return Err(at(Error::corrupt("a stored batch lies at the offset of another one")));
            }
            let piece = Extent { appended_ms: Some(now_ms), ..Extent::of(key.segment, &header, frame) };
            self.index.add(key.slot, piece)?;
            *scanned.entry(key.segment).or_default() += frame.len() as u64;
            Ok(true)
        })?;
        self.close_segments(database, scanned)
    }

    fn close_segments(&mut self, database: &Database, scanned: BTreeMap<u64, u64>) -> Result<()> {
        let rows = scanned.keys().map(|&segment| {
            (layout::segment_key(segment), layout::pieces_value(&self.index.pieces_of(segment)))
        });
        let rows: Vec<_> = rows.collect();
        self.next_segment = scanned.keys().next_back().map_or(self.next_segment, |last| last + 1);
        self.closed_segments.extend(scanned);
        if rows.is_empty() {
            return Ok(());
        }
        database.write(false, |batch| rows.iter().for_each(|(key, value)| batch.put_meta(key, value)))
    }
}

/// The rows of the metadata. Nothing is looked at before the format version is known to be ours.
fn read_rows(database: &Database) -> Result<Vec<MetaRow>> {
    let mut rows = Vec::new();
    database.read_meta(|key, value| {
        let row = MetaRow::read(key, value);
        match (&row, rows.is_empty()) {
            (Some(MetaRow::Format(layout::FORMAT_VERSION | layout::FORMAT_VERSION_UNSEQUENCED)), true) => {}
            (Some(MetaRow::Format(version)), true) => {
                return Err(Error::corrupt(format!(
                    "its format version is {version} and this release knows {}; open it with the release that wrote \
                     it",
                    layout::FORMAT_VERSION
                )));
            }
            (_, true) => {
                return Err(Error::corrupt("it has no format version, so it is no changelog; choose another directory"));
            }
            _ => {}
        }
        let damaged = || Error::corrupt(format!("the row {key:?} of its metadata is damaged; restore it from a copy"));
        rows.push(row.ok_or_else(damaged)?);
        Ok(())
    })?;
    Ok(rows)
}
