//! Level 0: the drains as they came, each a file that a read may have to look into.
//!
//! While drains follow each other they are left to lie until there are some: compacting few at a time writes every row
//! more often. Once no more come, they are compacted away, so that a read has one place to look in.

use super::{RocksStore, TaskFamily};
use rocksdb::{properties, statistics::Ticker};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Files from which on they are compacted away. With files of a million random rows out of 20 M, 4 made compaction
/// write 1.8 times what 8 does; every one of them is one more filter to ask in a read.
pub(super) const COMPACT_FROM_FILES: u32 = 8;

/// The same, once no more are expected. With 2 M rows a cold read took 1.6 times as long as one by hand at 3 files, 2.1
/// times at 6, and 1.1 times at none.
const SETTLE_FROM_FILES: u32 = 1;

/// Files at which no more drains should be made.
const FULL_AT_FILES: u32 = 32;

/// How often a drain that waits looks again: RocksDB's bindings do not announce compactions.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// After so many looks that found nothing changed, a drain is let through: it may learn what is wrong.
const LOOKS_AT_A_STANDSTILL: u32 = 2000;

/// How far level 0 has grown, from 0.0 (what compaction deals with in passing) to 1.0 (full).
pub(super) fn pressure(files: u64) -> f64 {
    let files = u32::try_from(files).unwrap_or(u32::MAX);
    let over = f64::from(files.saturating_sub(COMPACT_FROM_FILES));
    (over / f64::from(FULL_AT_FILES - COMPACT_FROM_FILES)).min(1.0)
}

impl TaskFamily {
    pub(super) fn level_zero_files(&self) -> u64 {
        let files = self.database().property_value_cf(self.family(), properties::num_files_at_level(0));
        files.ok().flatten().and_then(|files| files.parse().ok()).unwrap_or(0)
    }

    /// Has level 0 compacted from this many files on.
    fn compact_from(&self, files: u32) {
        let files = files.to_string();
        let option = ("level0_file_num_compaction_trigger", files.as_str());
        if let Err(error) = self.database().set_options_cf(self.family(), &[option]) {
            // Reads or compactions cost more than they need to, that is all.
            tracing::debug!(%error, "when to compact could not be changed");
        }
    }
}

/// What there is to see of compactions: how much is to be done, and how much has been.
type Progress = (u64, u64, u64);

/// For how long a drain waits in vain.
#[derive(Default)]
struct Patience {
    last: Option<Progress>,
    standing: u32,
}

impl Patience {
    /// Takes in one more look. Answers whether the drain is to be let through: something has failed for which none was
    /// yet (of that `known` keeps count), or nothing has moved for long.
    fn is_over(&mut self, known: &AtomicU64, failures: u64, now: Progress) -> bool {
        if known.swap(failures, Ordering::AcqRel) < failures {
            return true;
        }
        self.standing = if self.last == Some(now) { self.standing + 1 } else { 0 };
        self.last = Some(now);
        self.standing >= LOOKS_AT_A_STANDSTILL
    }
}

impl RocksStore {
    /// Waits as long as level 0 is full and `given_up` is false.
    ///
    /// Compactions may fail. Some failures pass, others make the store refuse whatever is written, and it does not tell
    /// which until something is: so each is followed by one drain that is let through, which fails too or finds that
    /// level 0 is still as full as before. The same if nothing moves at all. A failure that is over brakes nobody less.
    pub(super) fn wait_while_full(&self, given_up: &dyn Fn() -> bool) {
        let mut patience = Patience::default();
        while pressure(self.task.level_zero_files()) >= 1.0 && !given_up() {
            let failures = self.task.number(properties::BACKGROUND_ERRORS);
            if patience.is_over(&self.failures, failures, self.progress()) {
                tracing::warn!(failures, "level 0 is full and nothing compacts it");
                return;
            }
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    fn progress(&self) -> Progress {
        let written = self.task.opened().tuning.database.get_ticker_count(Ticker::CompactWriteBytes);
        (self.task.level_zero_files(), self.task.number(properties::NUM_RUNNING_COMPACTIONS), written)
    }

    /// Has the drains that came so far compacted in the background; [`unsettle`](Self::unsettle) ends it.
    pub(super) fn settle_level_zero(&self) {
        if self.task.level_zero_files() > 0 && !self.settled.swap(true, Ordering::AcqRel) {
            self.task.compact_from(SETTLE_FROM_FILES);
        }
    }

    /// A drain comes.
    pub(super) fn unsettle(&self) {
        if self.settled.swap(false, Ordering::AcqRel) {
            self.task.compact_from(COMPACT_FROM_FILES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RocksOptions;
    use super::*;
    use crate::store::StateStore;

    fn put(store: &RocksStore, times: u32) {
        for _ in 0..times {
            store.ingest(&mut [(&b"a"[..], Some(&b"1"[..])), (&b"b"[..], None)].into_iter()).unwrap();
        }
    }

    fn wait_for_compaction(store: &RocksStore) {
        store.task.database().wait_for_compact(&rocksdb::WaitForCompactOptions::default()).unwrap();
    }

    #[test]
    fn drains_lie_until_no_more_come() {
        let dir = tempfile::tempdir().unwrap();
        let store = RocksStore::open(dir.path(), &RocksOptions::default()).unwrap();
        for round in 0..2 {
            put(&store, COMPACT_FROM_FILES / 2);
            wait_for_compaction(&store);
            // The very first file overlaps nothing and need not stay in level 0.
            assert!(store.task.level_zero_files() >= 3, "round {round}");
            store.settle();
            wait_for_compaction(&store);
            assert_eq!(store.task.level_zero_files(), 0, "round {round}");
            store.read(b"a", &mut |value| assert_eq!(value, Some(&b"1"[..]))).unwrap();
        }
    }

    /// Once a single failure, however long ago, let every later drain through.
    #[test]
    fn each_failure_lets_one_drain_through_and_later_ones_wait_again() {
        let (known, standing) = (AtomicU64::new(0), (32, 0, 7));
        let looks = |failures| {
            let mut patience = Patience::default();
            (0..=LOOKS_AT_A_STANDSTILL).position(|_| patience.is_over(&known, failures, standing))
        };
        let long = Some(LOOKS_AT_A_STANDSTILL as usize);
        assert_eq!([looks(0), looks(1), looks(1)], [long, Some(0), long]);
        assert_eq!([looks(3), looks(3), looks(4)], [Some(0), long, Some(0)]);

        let mut patience = Patience::default();
        let moving = (0..10_u64 * u64::from(LOOKS_AT_A_STANDSTILL))
            .any(|look| patience.is_over(&known, 4, (32, 1, look)));
        assert!(!moving, "it gave up although something is being compacted");
    }

    #[test]
    fn whoever_ends_does_not_wait_for_room() {
        let dir = tempfile::tempdir().unwrap();
        let store = RocksStore::open(dir.path(), &RocksOptions::default()).unwrap();
        let task = &store.task;
        task.database().set_options_cf(task.family(), &[("disable_auto_compactions", "true")]).unwrap();
        put(&store, FULL_AT_FILES + 1);
        assert!(store.pressure() >= 1.0);
        let looks = std::cell::Cell::new(0);
        store.wait_for_room_until(&|| looks.replace(looks.get() + 1) == 3);
        assert_eq!(looks.get(), 4);
        assert!(store.pressure() >= 1.0, "it is as full as before");
    }

    #[test]
    fn pressure_grows_with_the_files_that_are_too_many() {
        assert!(pressure(0) + pressure(u64::from(COMPACT_FROM_FILES)) <= 0.0);
        assert!(pressure(20) > pressure(9));
        assert!(pressure(32) >= 1.0 && pressure(u64::MAX) <= 1.0);
    }
}
