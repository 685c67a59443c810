//! The epochs of a log that is one sequence: prefixes of what is left of it.

use super::cursor::Allowed;
use super::epoch_input::EpochInput;
use super::merge::PartitionMerge;
use super::{Bound, EpochLimit};
use crate::{Position, Result, TopicPartition};
use std::collections::BTreeSet;

impl PartitionMerge {
    /// Moves the records of the next epoch to `epoch`, and `position` on to where they end.
    ///
    /// # Errors
    /// `Corrupt` if a stored batch is damaged, or another error of the changelog.
    pub(super) fn cut(
        &mut self,
        limit: EpochLimit,
        bound: Bound<'_>,
        cap: Option<&Position>,
        epoch: &mut EpochInput,
        position: &mut Position,
    ) -> Result<()> {
        self.refresh(limit.bytes)?;
        let taken = self.take_prefix(limit, bound, cap, epoch);
        self.finish(epoch);
        taken?;
        for piece in &epoch.pieces {
            if let Some(id) = self.id(piece.source) {
                position.set(id.clone(), self.offset(piece.source));
            }
        }
        Ok(())
    }

    /// Moves records to `epoch`, in their order, until one of the limits is reached.
    fn take_prefix(
        &mut self,
        limit: EpochLimit,
        bound: Bound<'_>,
        cap: Option<&Position>,
        epoch: &mut EpochInput,
    ) -> Result<()> {
        let mut ends = Ends { cap, until: bound.until, reached: u64::MAX };
        let (mut aside, mut passes_over) = (Vec::new(), false);
        let mut left_bytes = limit.bytes.max(1);
        let most = limit.records as u64;
        let before = bound.before.unwrap_or(u64::MAX);
        while epoch.records < most && (left_bytes > 0 || epoch.replayed) {
            let Some((number, place)) = self.next().filter(|(_, place)| *place < before) else { break };
            let Some(id) = self.id(number) else { break };
            let offset = ends.of(id, self.offset(number), place);
            if offset <= self.offset(number) {
                self.set_aside(number);
                aside.push(number);
                continue;
            }
            let to_tick = bound.ticks.and_then(|ends| ends.known(id));
            let stands = to_tick.is_some_and(|end| end <= self.offset(number));
            if stands && epoch.records > 0 && !passes_over {
                // All that comes before it in the sequence is taken, so that the tick is due.
                break;
            }
            if stands || (passes_over && to_tick.is_none()) {
                // The tick is not due. Whoever made it had passed this record over, as it read a topic from its beginning that the
                // graph has come to read later: what the tick waits for comes first.
                passes_over = true;
                self.set_aside(number);
                aside.push(number);
                continue;
            }
            let offset = to_tick.map_or(offset, |end| offset.min(end));
            let allowed = Allowed { offset, place: before, records: most - epoch.records };
            let brought = self.take(number, allowed, limit.bytes, epoch)?;
            left_bytes = left_bytes.saturating_sub(brought);
            epoch.bytes += brought;
        }
        // Batches were taken whole. What overtook the first record that was left is not of this epoch.
        let left = self.next().map_or(u64::MAX, |(_, place)| place);
        let overtaking = ends.overtaking(epoch, self);
        let place = |number| if overtaking.contains(&number) { left.min(ends.reached) } else { left };
        self.keep_below(epoch, place)?;
        if epoch.records > most {
            let place = epoch.place_after(most);
            self.keep_below(epoch, |_| place)?;
        }
        for number in aside {
            self.let_in(number);
        }
        Ok(())
    }
}

/// Where the partitions must not be read on.
struct Ends<'p> {
    /// Of every partition; those that it does not name are not read at all.
    cap: Option<&'p Position>,
    /// Of the partitions that it names.
    until: Option<&'p Position>,
    /// The least place at which one of these stands: what `until` does not name must not overtake it.
    reached: u64,
}

impl Ends<'_> {
    /// The offset at which to stop reading `id`, whose next record is at `next` and has this place.
    fn of(&mut self, id: &TopicPartition, next: u64, place: u64) -> u64 {
        let cap = self.cap.map_or(u64::MAX, |cap| cap.offset(id));
        let Some(until) = self.until else { return cap };
        match until.known(id) {
            Some(end) => {
                if end <= next {
                    self.reached = self.reached.min(place);
                }
                cap.min(end)
            }
            None if self.reached <= place => next,
            None => cap,
        }
    }

    /// The partitions in `epoch` that must not overtake those which stand at their end.
    fn overtaking(&self, epoch: &EpochInput, merge: &PartitionMerge) -> BTreeSet<u32> {
        let Some(until) = self.until.filter(|_| self.reached < u64::MAX) else { return BTreeSet::new() };
        let sources = epoch.pieces.iter().map(|piece| piece.source);
        sources.filter(|source| merge.id(*source).is_some_and(|id| until.known(id).is_none())).collect()
    }
}
