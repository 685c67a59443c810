//! Trimming: dropping what retention allows and no hold needs.
//!
//! Two steps. First the new start offsets are stored and synced; that alone decides what can be read. Then the
//! segments in which nothing readable is left are dropped as whole files. A crash in between leaves files that the
//! next trim drops.
//!
//! NOTE: a segment holds whatever was appended while it was written. One topic that keeps its records for ever
//! therefore keeps the space of every segment it has records in, though the others' records cannot be read any more.

use super::index::{Index, Partition};
use super::layout::{self, Slot};
use super::writer::Writer;
use crate::changelog::{TopicConfig, retention};
use crate::{Position, Result, fault};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a trim waits for files to sink. Appends wait as long.
const MAX_SINK: Duration = Duration::from_secs(2);

impl Writer {
    /// Answers with the stored bytes that were freed.
    pub(super) fn trim(&mut self) -> Result<u64> {
        let starts = self.new_starts();
        if !starts.is_empty() {
            fault::point("changelog.trim.before_mark")?;
            // Synced, and with it every hold that allowed this.
            self.shared.database.write(true, |rows| {
                for (&slot, start) in &starts {
                    rows.put_meta(&layout::start_key(slot), &start.to_le_bytes());
                }
            })?;
            let mut index = self.shared.index_mut();
            for (slot, start) in starts {
                if let Some(partition) = index.partition_mut(slot) {
                    partition.start = start;
                    partition.pieces.retain(|piece| piece.offsets.end > start);
                }
            }
        }
        self.drop_dead_segments()
    }

    /// How far each partition may be trimmed, where that is further than it is.
    fn new_starts(&self) -> BTreeMap<Slot, u64> {
        let index = self.shared.index();
        let now_ms = self.shared.options.clock.now_ms();
        let mut starts = BTreeMap::new();
        for (_, topic) in index.topics() {
            trim_topic(&index, topic.id, &topic.config, &self.holds, self.segment, now_ms, &mut starts);
        }
        starts
    }

    fn drop_dead_segments(&mut self) -> Result<u64> {
        let live = self.live_segments();
        let dead: Vec<u64> =
            self.closed_segments.keys().copied().filter(|segment| !live.contains(segment)).collect();
        if dead.is_empty() || !self.shared.database.settle(MAX_SINK)? {
            // What can be read was decided; the files can be dropped by any later trim.
            return Ok(0);
        }
        let mut freed = 0;
        for segment in dead {
            fault::point("changelog.trim.before_delete")?;
            // A file may hold neighbours too. It goes with the last of them, so the whole gap between the living
            // is dropped at once.
            let below = live.range(..segment).next_back().map_or(0, |living| living + 1);
            let above = live.range(segment..).next().copied().unwrap_or(self.segment);
            self.shared.database.drop_segments(below..=above - 1)?;
            if self.shared.has_records(segment)? {
                // The file has not sunk to where it can be dropped, or is shared with the living: next time.
                continue;
            }
            fault::point("changelog.trim.after_delete")?;
            let row = layout::segment_key(segment);
            self.shared.database.write(false, |rows| rows.delete_meta(&row))?;
            freed += self.closed_segments.remove(&segment).unwrap_or(0);
        }
        Ok(freed)
    }

    /// The segments that hold readable records, and the one being written.
    fn live_segments(&self) -> BTreeSet<u64> {
        let index = self.shared.index();
        let pieces = index.partitions().flat_map(|(_, partition)| &partition.pieces);
        pieces.map(|piece| piece.segment).chain([self.segment]).collect()
    }
}

/// Goes through the topic's pieces from the oldest segment on, and stops in each partition at the first piece that
/// must stay.
fn trim_topic(
    index: &Index,
    topic: u32,
    config: &TopicConfig,
    holds: &BTreeMap<String, Position>,
    current_segment: u64,
    now_ms: i64,
    starts: &mut BTreeMap<Slot, u64>,
) {
    let slots = (0..config.partitions).map(|partition| Slot { topic, partition });
    let partitions: Vec<(Slot, &Partition)> =
        slots.filter_map(|slot| Some((slot, index.partition(slot).ok()?))).collect();
    let pieces = partitions.iter().flat_map(|(slot, partition)| {
        let held_from = retention::held_from(holds, &partition.name);
        partition.pieces.iter().map(move |piece| (piece.segment, *slot, piece, held_from))
    });
    let mut pieces: Vec<_> = pieces.collect();
    pieces.sort_by_key(|&(segment, slot, ..)| (segment, slot));
    let mut topic_bytes: u64 = pieces.iter().map(|(_, _, piece, _)| piece.stored_bytes).sum();
    let mut done = BTreeSet::new();
    for (segment, slot, piece, held_from) in pieces {
        let free = segment < current_segment && piece.offsets.end <= held_from;
        if free
            && !done.contains(&slot)
            && retention::is_over(config, piece.max_timestamp_ms, now_ms, topic_bytes)
        {
            topic_bytes -= piece.stored_bytes;
            starts.insert(slot, piece.offsets.end);
        } else {
            done.insert(slot);
        }
    }
}
