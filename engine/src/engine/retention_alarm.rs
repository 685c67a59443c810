//! The alarm for logs that keep no holds: how near each partition is to losing records that were not folded.
//!
//! What a log drops by rules of its own goes from the front. So it is told by offsets: how much of what is kept lies behind the
//! position, of all that is kept. A partition that is folded uses nothing; one that stands at the oldest record uses all, and the
//! next thing that retention drops is missing. It warns and does nothing else: an engine that has fallen behind stops with
//! `BehindChangelog`.
//!
//! A small partition gets there in a moment, when something is appended, and is folded in the next one. So a warning takes two
//! looks in a row, and only of a partition of which something was dropped already: one that was never trimmed may never be.

use crate::TopicPartition;
use crate::task::Service;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Warns from this part of what is kept on, and again once it was less.
const ALARMING: f64 = 0.8;

/// What part of the records that are `kept` lies at or behind `next`, which is to be folded next.
pub(super) fn used(kept: &Range<u64>, next: u64) -> f64 {
    let all = kept.end.saturating_sub(kept.start);
    let left = kept.end.saturating_sub(next.max(kept.start));
    #[expect(clippy::cast_precision_loss, reason = "a part needs no more than 52 bits")]
    if all == 0 { 0.0 } else { left as f64 / all as f64 }
}

/// How much of what is kept of each partition is not folded; nothing for a log that keeps what is needed.
pub(super) fn used_of_each(service: &Service) -> BTreeMap<TopicPartition, f64> {
    look(service).map(|(id, kept, next)| (id, used(&kept, next))).collect()
}

fn look(service: &Service) -> impl Iterator<Item = (TopicPartition, Range<u64>, u64)> {
    let position = service.tasks.position();
    let watched = !service.abilities.keeps_holds;
    let read = position.iter().filter(|(id, _)| watched && service.graph.reads(&id.topic));
    // What is not known now is looked at the next time.
    let kept = |(id, next): (&TopicPartition, u64)| {
        Some((id.clone(), service.changelog.heard_offsets(id).ok()?, next))
    };
    read.filter_map(kept).collect::<Vec<_>>().into_iter()
}

/// Which partitions are near it.
#[derive(Default)]
pub(super) struct RetentionAlarm {
    /// At the last look.
    near: BTreeSet<TopicPartition>,
    told: BTreeSet<TopicPartition>,
}

impl RetentionAlarm {
    /// Looks at all partitions, and warns of those that are near it for the second time, once.
    pub(super) fn look(&mut self, service: &Arc<Service>) {
        let looked: Vec<_> = look(service).collect();
        let alarming = self.alarming(&looked);
        for (partition, kept, next) in looked.iter().filter(|(id, ..)| alarming.contains(id)) {
            let (begin, end) = (kept.start, kept.end);
            tracing::warn!(
                name = &*service.name,
                %partition,
                next,
                begin,
                end,
                used_percent = 100.0 * used(kept, *next),
                "the changelog may soon drop records that are not folded yet, and the engine stop with `BehindChangelog`: let \
                 the topic retain more, or see why the engine is behind"
            );
        }
    }

    /// Those of which nothing was said yet since they came near it.
    fn alarming(&mut self, looked: &[(TopicPartition, Range<u64>, u64)]) -> BTreeSet<TopicPartition> {
        let is_near = |kept: &Range<u64>, next| kept.start > 0 && used(kept, next) >= ALARMING;
        let near: BTreeSet<TopicPartition> =
            looked.iter().filter(|(_, kept, next)| is_near(kept, *next)).map(|(id, ..)| id.clone()).collect();
        let lasting: BTreeSet<_> = near.intersection(&self.near).cloned().collect();
        let alarming = lasting.difference(&self.told).cloned().collect();
        self.told = self.told.intersection(&near).chain(&lasting).cloned().collect();
        self.near = near;
        alarming
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_what_is_left_to_fold_of_what_is_kept() {
        let cases = [(0..0, 0, 0.0), (7..7, 7, 0.0), (0..10, 10, 0.0), (0..10, 5, 0.5), (10..20, 12, 0.8)];
        for (kept, next, part) in cases {
            assert!((used(&kept, next) - part).abs() < 1e-9, "{kept:?} {next}");
        }
        // It is gone already; or the log has become another one, which is not told here.
        assert!((used(&(10..20), 5) - 1.0).abs() < 1e-9 && used(&(10..20), 25) == 0.0);
    }

    #[test]
    fn a_partition_that_stays_near_it_is_told_once_until_it_was_not() {
        let [a, b] = [0, 1].map(|partition| TopicPartition::new("t", partition));
        let mut alarm = RetentionAlarm::default();
        let mut look = |of_a: (Range<u64>, u64), of_b: (Range<u64>, u64)| {
            let looked = [(a.clone(), of_a.0, of_a.1), (b.clone(), of_b.0, of_b.1)];
            alarm.alarming(&looked).into_iter().map(|id| id.partition).collect::<Vec<_>>()
        };
        let (near, fine, never) = ((10..20, 11), (10..20, 15), (0..20, 0));
        let none = Vec::<u32>::new();
        assert_eq!(look(near.clone(), never.clone()), none, "it may be a moment only");
        assert_eq!(look(near.clone(), never.clone()), [0]);
        assert_eq!(look(near.clone(), near.clone()), none);
        assert_eq!(look(near.clone(), fine.clone()), none);
        assert_eq!(look(fine.clone(), near.clone()), none);
        assert_eq!(look(near.clone(), near.clone()), [1]);
        assert_eq!(look(near.clone(), near), [0]);
        assert_eq!(look(fine, never), none);
    }
}
