//! Moving what is left of old segments, so that a segment is not kept for a few records of it.
//!
//! A segment holds whatever was appended while it was written. Its file can only be dropped whole, so one record in a
//! thousand that stays would keep the others' space for ever. Once two thirds of a segment are dead, what is left is
//! written again into a new segment, together with what is left of others, and the old ones are dead. The same is done
//! when there are many small segments, as every start begins one. What was moved is moved again only when two thirds of
//! its new segment are dead, so that a byte is written half as often again at most.
//!
//! Invariant: the records and both rows of metadata change in one write, which is synced before any file is dropped.
//! Offsets, batches and places in the sequence stay as they are. A reader that was about to look into the old segment
//! looks at the index again.

use super::database::Span;
use super::index::Extent;
use super::layout::{self, PartitionSlot, RecordKey};
use super::writer::Writer;
use crate::changelog::frame::FrameHeader;
use crate::{Error, ErrorKind, Result, fault};
use std::collections::BTreeSet;

/// At most about so many bytes are moved at a time; appends wait as long.
const MOST_BYTES: u64 = 8 << 20;

/// So many small segments are merged.
const MERGE_FROM: usize = 16;

impl Writer {
    /// Merges the small segments that many starts have left.
    pub(super) fn tidy(&mut self) -> Result<()> {
        while self.move_survivors()? {}
        self.drop_dead_segments().map(drop)
    }

    /// Moves what is left of some segments. `false` if it is not worth it.
    pub(super) fn move_survivors(&mut self) -> Result<bool> {
        let victims = self.victims();
        if victims.is_empty() {
            return Ok(false);
        }
        let pieces = self.shared.index().pieces_in(&victims);
        if self.segment_bytes > 0 {
            self.roll()?;
        }
        let mut frames = Vec::new();
        for (slot, piece) in &pieces {
            match self.frames(*slot, piece, &mut frames) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::error!(%error, segment = piece.segment, "a segment is damaged and stays where it is");
                    self.unmovable.insert(piece.segment);
                    return Ok(true);
                }
                Err(error) => return Err(error),
            }
        }
        self.write_moved(&victims, &frames)?;
        Ok(true)
    }

    /// The segments worth moving: those mostly dead, once there is enough to gain, and small ones, once they are many.
    fn victims(&self) -> BTreeSet<u64> {
        let index = self.shared.index();
        let segment_bytes = self.shared.options.segment_bytes as u64;
        let movable = self.closed_segments.iter().filter_map(|(segment, &bytes)| {
            let live = *index.live_bytes().get(segment)?;
            (!self.unmovable.contains(segment)).then_some((*segment, live, bytes))
        });
        let movable: Vec<_> = movable.collect();
        let is_wasteful = |live: u64, bytes: u64| live.saturating_mul(3) <= bytes;
        let is_small = |bytes: u64| bytes <= segment_bytes / 8;
        let wasteful = movable.iter().filter(|(_, live, bytes)| is_wasteful(*live, *bytes));
        let wasted: u64 = wasteful.map(|(_, live, bytes)| bytes - live).sum();
        let small = movable.iter().filter(|(.., bytes)| is_small(*bytes)).count();
        let (moves_wasteful, merges_small) = (wasted >= segment_bytes / 4, small >= MERGE_FROM);
        let worth =
            |live, bytes| (moves_wasteful && is_wasteful(live, bytes)) || (merges_small && is_small(bytes));
        let most = segment_bytes.min(MOST_BYTES);
        let mut taken = 0;
        let victims = movable.into_iter().filter(|&(_, live, bytes)| worth(live, bytes));
        let victims = victims.take_while(|(_, live, _)| {
            let fits = taken == 0 || taken + live <= most;
            taken += live;
            fits
        });
        victims.map(|(segment, ..)| segment).collect()
    }

    /// Adds the batches of a piece to `frames`.
    fn frames(
        &self,
        slot: PartitionSlot,
        piece: &Extent,
        frames: &mut Vec<(PartitionSlot, u64, Vec<u8>)>,
    ) -> Result<()> {
        let key = |base_offset| RecordKey { segment: piece.segment, slot, base_offset }.to_bytes();
        let (start, end) = (piece.offsets.start, piece.offsets.end);
        let span = Span { bounds: key(start)..key(end), from: key(start), readahead_bytes: 1 << 20 };
        let mut next = start;
        self.shared.database.read(&span, |key, frame| {
            let header = FrameHeader::read(frame).map_err(Error::corrupt)?;
            let stored_at = RecordKey::read(key).map(|key| key.base_offset);
            if stored_at != Some(next) || header.base_offset != next {
                return Err(Error::corrupt(format!("no stored batch of {slot:?} begins at offset {next}")));
            }
            frames.push((slot, next, frame.to_vec()));
            next += u64::from(header.records);
            Ok(true)
        })?;
        if next == end {
            return Ok(());
        }
        Err(Error::corrupt(format!("no stored batch of {slot:?} begins at offset {next}")))
    }

    /// Writes the batches into a segment of their own, and leaves `victims` empty.
    fn write_moved(
        &mut self,
        victims: &BTreeSet<u64>,
        frames: &[(PartitionSlot, u64, Vec<u8>)],
    ) -> Result<()> {
        fault::point("changelog.move.before_write")?;
        let to = self.segment;
        self.segment += 1;
        let pieces = joined(self.shared.index().pieces_in(victims), to);
        self.shared.database.write(true, |rows| {
            for (slot, base_offset, frame) in frames {
                rows.put_frame(RecordKey { segment: to, slot: *slot, base_offset: *base_offset }, frame);
            }
            rows.put_meta(&layout::segment_key(to), &layout::pieces_value(&pieces));
            for &victim in victims {
                rows.put_meta(&layout::segment_key(victim), &layout::pieces_value(&[]));
            }
        })?;
        self.shared.index_mut().moved(victims, to);
        fault::point("changelog.move.after_write")?;
        let bytes = pieces.iter().map(|(_, piece)| piece.stored_bytes).sum();
        self.closed_segments.insert(to, bytes);
        self.shared.database.flush()
    }
}

/// The pieces as they lie in the segment `to`: those that follow each other are one.
fn joined(pieces: Vec<(PartitionSlot, Extent)>, to: u64) -> Vec<(PartitionSlot, Extent)> {
    let mut joined: Vec<(PartitionSlot, Extent)> = Vec::new();
    for (slot, piece) in pieces {
        match joined.last_mut() {
            Some((last_slot, last)) if *last_slot == slot && last.offsets.end == piece.offsets.start => {
                last.extend(&piece);
            }
            _ => joined.push((slot, Extent { segment: to, ..piece })),
        }
    }
    joined
}
