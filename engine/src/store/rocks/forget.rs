//! Rows that nobody asks for any more: their files are dropped, and what is left of them goes with the next compaction.
//!
//! RocksDB does neither for snapshots: it drops files and filters rows without a look at who still sees them. So snapshots are told
//! apart by *eras*: each call of [`Forgotten::note`] ends one, and what it names is dropped once all snapshots of that era and of those
//! before are gone. Other processes have files open that are deleted, and copies link them: what they show is as old as
//! what they say of themselves.
//!
//! Invariant: what is dropped is never put back in place. A deletion that is dropped may let an older row show again, which nobody asks
//! for either.
//!
//! No tombstones are written for it: ranges of deletions, one for each window, would slow down every read beside them
//! (facebook/rocksdb#3959).

use super::TaskFamily;
use rocksdb::CompactionDecision;
use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

const NAME: &CStr = c"millpond.forgotten";

/// Ranges of keys: the end of each by its beginning.
type Ranges = BTreeMap<Vec<u8>, Vec<u8>>;

/// Alive as long as a snapshot is that was taken in it.
#[derive(Debug, Default)]
pub(super) struct Era;

/// What is forgotten in one column family.
#[derive(Default)]
pub(super) struct Forgotten {
    /// What nobody sees any more.
    gone: RwLock<Arc<Ranges>>,
    waiting: Mutex<Waiting>,
}

/// What snapshots may still see.
#[derive(Default)]
struct Waiting {
    /// That of the snapshots which are taken now.
    era: Arc<Era>,
    /// All that was noted.
    noted: Ranges,
    /// What is gone once an era is over, and those before it; oldest first.
    ranges: Vec<(Weak<Era>, Ranges)>,
}

impl Forgotten {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The era of a snapshot that is taken behind this call.
    pub(super) fn era(&self) -> Arc<Era> {
        Arc::clone(&self.waiting().era)
    }

    fn gone(&self) -> Arc<Ranges> {
        Arc::clone(&self.gone.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that nobody asks for rows in `keys` but snapshots that are there. Answers with what nobody sees at all any more, and did
    /// before.
    pub(super) fn note(&self, keys: &[Range<Vec<u8>>]) -> Vec<Range<Vec<u8>>> {
        let mut waiting = self.waiting();
        let is_new = |range: &&Range<Vec<u8>>| {
            !range.is_empty() && waiting.noted.get(&range.start).is_none_or(|end| *end < range.end)
        };
        let new: Ranges =
            keys.iter().filter(is_new).map(|range| (range.start.clone(), range.end.clone())).collect();
        if !new.is_empty() {
            extend(&mut waiting.noted, new.clone());
            let ended = std::mem::take(&mut waiting.era);
            waiting.ranges.push((Arc::downgrade(&ended), new));
        }
        waiting.take_over().map(|over| self.drop_from_now_on(over)).unwrap_or_default()
    }

    fn drop_from_now_on(&self, over: Ranges) -> Vec<Range<Vec<u8>>> {
        let mut gone = self.gone.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = Ranges::clone(&gone);
        extend(&mut all, over.clone());
        *gone = Arc::new(all);
        over.into_iter().map(|(start, end)| start..end).collect()
    }
}

impl Waiting {
    /// What waits for no snapshot any more. Eras without any are joined to those before, so that there are no more than snapshots.
    fn take_over(&mut self) -> Option<Ranges> {
        let mut over: Option<Ranges> = None;
        let mut left: Vec<(Weak<Era>, Ranges)> = Vec::new();
        for (era, ranges) in self.ranges.drain(..) {
            match left.last_mut() {
                Some((_, before)) if era.strong_count() == 0 => extend(before, ranges),
                None if era.strong_count() == 0 => extend(over.get_or_insert_default(), ranges),
                _ => left.push((era, ranges)),
            }
        }
        self.ranges = left;
        over
    }
}

/// Adds `more`, which begin where others do that they include, or nowhere near them.
fn extend(ranges: &mut Ranges, more: Ranges) {
    for (start, end) in more {
        let known = ranges.entry(start).or_default();
        if *known < end {
            *known = end;
        }
    }
}

/// Drops the files of `task` that have rows in `keys` only, and no others. Those of level 0 stay.
pub(super) fn drop_files(task: &TaskFamily, keys: &[Range<Vec<u8>>]) {
    for range in keys {
        let last = last_before(&range.end);
        let dropped = task.database().delete_file_in_range_cf(task.family(), &range.start, &last);
        if let Err(error) = dropped {
            // A compaction filters them.
            tracing::debug!(%error, "files of rows that are forgotten could not be dropped");
        }
    }
}

/// A key before `end`, with next to nothing in between: what RocksDB takes a range up to is a part of it.
fn last_before(end: &[u8]) -> Vec<u8> {
    let Some((&last, before)) = end.split_last() else { return Vec::new() };
    let mut key = before.to_vec();
    if let Some(less) = last.checked_sub(1) {
        key.push(less);
        key.extend([0xff; 16]);
    }
    key
}

/// Gives each compaction what it is to leave out.
pub(super) struct Filters(pub(super) Arc<Forgotten>);

impl CompactionFilterFactory for Filters {
    type Filter = Filter;

    fn create(&mut self, _: CompactionFilterContext) -> Filter {
        Filter(self.0.gone())
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

/// Leaves out what is gone.
pub(super) struct Filter(Arc<Ranges>);

impl CompactionFilter for Filter {
    fn filter(&mut self, _: u32, key: &[u8], _: &[u8]) -> CompactionDecision {
        let before = self.0.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        if before.is_some_and(|(_, end)| key < end.as_slice()) {
            CompactionDecision::Remove
        } else {
            CompactionDecision::Keep
        }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(end: u8) -> Vec<Range<Vec<u8>>> {
        vec![vec![1]..vec![1, end]]
    }

    #[test]
    fn what_a_snapshot_may_see_stays_until_it_is_gone() {
        let forgotten = Forgotten::default();
        let first = forgotten.era();
        assert_eq!(forgotten.note(&up_to(1)), [], "the first may see it");
        let second = forgotten.era();
        assert_eq!(forgotten.note(&up_to(2)), []);
        assert_eq!(forgotten.note(&up_to(3)), [], "of which no snapshot was taken in between");
        assert_eq!(forgotten.waiting().ranges.len(), 2, "one for each snapshot");
        drop(second);
        assert_eq!(forgotten.note(&up_to(3)), [], "what is behind the second one waits for the first, too");
        let third = forgotten.era();
        drop(first);
        assert_eq!(forgotten.note(&up_to(3)), up_to(3), "the third came when it was all noted");
        assert_eq!(forgotten.note(&up_to(3)), []);
        assert_eq!(forgotten.note(&up_to(4)), []);
        drop(third);
        assert_eq!(forgotten.note(&[]), up_to(4));
    }

    #[test]
    fn a_range_ends_before_its_end() {
        for end in [&b"b"[..], b"b\0", b"\0", b"", b"a\xff"] {
            let last = last_before(end);
            assert!(last.as_slice() < end || end.is_empty(), "{end:?}");
        }
        assert!(last_before(b"b") > b"a\xff\xff".to_vec());
    }
}
