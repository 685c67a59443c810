//! Trimming: dropping what retention allows and no hold needs.
//!
//! Three steps. First the new start offsets are stored and synced; that alone decides what can be read. Then the
//! segments in which nothing readable is left are dropped as whole files. What is left of segments that are mostly dead
//! is [moved](super::survivors), and these are dropped as well. A crash in between leaves files that the next trim drops.
//!
//! What a partition begins with is all that is looked at while nothing has outlived its use: a trim that has nothing to
//! do takes no time, however long the log is.

use super::index::{Extent, Index, IndexedPartition, IndexedTopic};
use super::layout::{self, PartitionSlot};
use super::writer::Writer;
use crate::changelog::retention;
use crate::{Position, Result, fault};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a trim waits for files to sink. Appends wait as long.
const MAX_SINK: Duration = Duration::from_secs(2);

/// How often a trim moves what is left of segments. Appends wait meanwhile.
const MOST_MOVES: usize = 4;

/// A segment is ended at an eighth of the shortest age that its records are kept for, but not within this time.
const AGE_PARTS: u32 = 8;
const LEAST_AGE: Duration = Duration::from_secs(60);

/// How old the records of the segment that is being written are, and may become.
///
/// What is in it is never dropped. If it were filled slowly, its first records would outlive their use by the time that
/// takes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Age {
    begun_ms: Option<i64>,
    /// The shortest time that a topic in it keeps its records for.
    kept_for: Option<Duration>,
}

impl Age {
    /// Takes in that records were appended that are kept for so long.
    pub(super) fn add(&mut self, kept_for: Option<Duration>, now_ms: i64) {
        self.begun_ms.get_or_insert(now_ms);
        self.kept_for = [self.kept_for, kept_for].into_iter().flatten().min();
    }

    /// Whether it should be ended.
    pub(super) fn is_over(&self, now_ms: i64) -> bool {
        let (Some(begun_ms), Some(kept_for)) = (self.begun_ms, self.kept_for) else { return false };
        let most = (kept_for / AGE_PARTS).max(LEAST_AGE).as_millis();
        now_ms.saturating_sub(begun_ms) > i64::try_from(most).unwrap_or(i64::MAX)
    }
}

impl Writer {
    /// Answers with the stored bytes that were freed.
    pub(super) fn trim(&mut self) -> Result<u64> {
        let now_ms = self.shared.options.clock.now_ms();
        if self.segment_bytes > 0 && (self.age.is_over(now_ms) || self.has_outlived(now_ms)) {
            self.roll()?;
        }
        self.store_starts(&self.new_starts(now_ms))?;
        let mut freed = self.drop_dead_segments()?;
        for _ in 0..MOST_MOVES {
            if !self.move_survivors()? {
                break;
            }
            freed += self.drop_dead_segments()?;
        }
        Ok(freed)
    }

    /// Whether all that some partition has in the current segment is too old.
    fn has_outlived(&self, now_ms: i64) -> bool {
        let index = self.shared.index();
        let aged = index.topics().filter(|(_, topic)| topic.config.retention_age.is_some());
        let mut last = aged.flat_map(|(_, topic)| {
            let pieces = partitions(&index, topic).filter_map(|(_, partition)| partition.pieces.back());
            pieces.map(move |piece| (topic, piece))
        });
        last.any(|(topic, piece)| {
            piece.segment == self.segment && retention::is_over(&topic.config, piece.newest_ms(), now_ms, 0)
        })
    }

    fn store_starts(&self, starts: &BTreeMap<PartitionSlot, u64>) -> Result<()> {
        if starts.is_empty() {
            return Ok(());
        }
        fault::point("changelog.trim.before_mark")?;
        // Synced, and with it every hold that allowed this.
        let values: Vec<_> = {
            let index = self.shared.index();
            let greatest =
                |slot, start| index.partition(slot).ok().and_then(|there| there.greatest_below(start));
            let value = |(&slot, &start)| (slot, layout::start_value(start, greatest(slot, start)));
            starts.iter().map(value).collect()
        };
        self.shared.database.write(true, |rows| {
            for (slot, value) in &values {
                rows.put_meta(&layout::start_key(*slot), value);
            }
        })?;
        let mut index = self.shared.index_mut();
        for (&slot, &start) in starts {
            index.trim_to(slot, start);
        }
        Ok(())
    }

    /// How far each partition may be trimmed, where that is further than it is.
    fn new_starts(&self, now_ms: i64) -> BTreeMap<PartitionSlot, u64> {
        let index = self.shared.index();
        let limits = Limits { index: &index, holds: &self.holds, current_segment: self.segment, now_ms };
        let mut starts = BTreeMap::new();
        for (_, topic) in index.topics() {
            let config = &topic.config;
            if config.retention_bytes.is_some_and(|most| index.topic_bytes(topic.id) > most) {
                limits.trim_by_size(topic, &mut starts);
            } else if config.retention_age.is_some() {
                limits.trim_by_age(topic, &mut starts);
            }
        }
        starts
    }

    /// Drops the files of segments without anything that can be read.
    pub(super) fn drop_dead_segments(&mut self) -> Result<u64> {
        let (dead, live) = {
            let index = self.shared.index();
            let live = index.live_bytes();
            let dead = self.closed_segments.keys().copied().filter(|segment| !live.contains_key(segment));
            let dead: Vec<u64> = dead.collect();
            if dead.is_empty() {
                return Ok(0);
            }
            (dead, live.keys().copied().chain([self.segment]).collect::<BTreeSet<_>>())
        };
        if !self.shared.database.settle(MAX_SINK)? {
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
            self.unmovable.remove(&segment);
        }
        Ok(freed)
    }
}

fn partitions<'i>(
    index: &'i Index,
    topic: &'i IndexedTopic,
) -> impl Iterator<Item = (PartitionSlot, &'i IndexedPartition)> {
    let slots = (0..topic.config.partitions_or_default())
        .map(|partition| PartitionSlot { topic: topic.id, partition });
    slots.filter_map(|slot| Some((slot, index.partition(slot).ok()?)))
}

/// What decides whether a piece may go.
struct Limits<'a> {
    index: &'a Index,
    holds: &'a BTreeMap<String, Position>,
    current_segment: u64,
    now_ms: i64,
}

impl Limits<'_> {
    /// Whether nobody needs the piece any more.
    fn is_free(&self, piece: &Extent, held_from: u64) -> bool {
        piece.segment != self.current_segment && piece.offsets.end <= held_from
    }

    /// Goes through each partition from its oldest piece on, up to the first one that must stay.
    fn trim_by_age(&self, topic: &IndexedTopic, starts: &mut BTreeMap<PartitionSlot, u64>) {
        for (slot, partition) in partitions(self.index, topic) {
            let is_over =
                |piece: &Extent| retention::is_over(&topic.config, piece.newest_ms(), self.now_ms, 0);
            if !partition.pieces.front().is_some_and(is_over) {
                continue;
            }
            let held_from = retention::held_from(self.holds, &partition.name);
            let gone =
                partition.pieces.iter().take_while(|piece| self.is_free(piece, held_from) && is_over(piece));
            if let Some(last) = gone.last() {
                starts.insert(slot, last.offsets.end);
            }
        }
    }

    /// Goes through the topic's pieces from the oldest on, and stops in each partition at the first one that must stay.
    fn trim_by_size(&self, topic: &IndexedTopic, starts: &mut BTreeMap<PartitionSlot, u64>) {
        let pieces = partitions(self.index, topic).flat_map(|(slot, partition)| {
            let held_from = retention::held_from(self.holds, &partition.name);
            partition.pieces.iter().map(move |piece| (slot, piece, held_from))
        });
        let mut pieces: Vec<_> = pieces.collect();
        // Their segments tell nothing of their order, since what is left of old ones is moved.
        pieces.sort_by_key(|(slot, piece, _)| (piece.last_sequence, piece.offsets.start, *slot));
        let mut topic_bytes = self.index.topic_bytes(topic.id);
        let mut done = BTreeSet::new();
        for (slot, piece, held_from) in pieces {
            let is_over = retention::is_over(&topic.config, piece.newest_ms(), self.now_ms, topic_bytes);
            if self.is_free(piece, held_from) && is_over && !done.contains(&slot) {
                topic_bytes -= piece.stored_bytes;
                starts.insert(slot, piece.offsets.end);
            } else {
                done.insert(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_over_at_an_eighth_of_the_shortest_age() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let mut age = Age::default();
        assert!(!age.is_over(i64::MAX));
        age.add(None, 1000);
        assert!(!age.is_over(i64::MAX));
        age.add(Some(hours(16)), 500_000_000);
        assert!(age.is_over(1000 + 2 * 3_600_000 + 1) && !age.is_over(1000 + 2 * 3_600_000));
        age.add(Some(hours(8)), 600_000_000);
        assert!(age.is_over(1000 + 3_600_000 + 1) && !age.is_over(1000 + 3_600_000));
        age.add(Some(Duration::ZERO), 0);
        assert!(age.is_over(61_001) && !age.is_over(61_000));
    }
}
