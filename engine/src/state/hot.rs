//! The hot state of one table on one shard: typed entries, written by the fold and read by queries.
//!
//! Invariant: an entry that the store does not have yet is never evicted, so that a key which is missing here
//! is in the store or nowhere. Only the fold inserts; a reader that inserted what it found in the store could
//! bring back a value that a drain has since replaced.
//!
//! `dashmap` deadlocks when a reference into it is held across another call on it: this module offers closures
//! only and lets no reference out.

use super::entry::Entry;
use dashmap::DashMap;
use dashmap::try_result::TryResult;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The hash of every map that is filled with keys from outside: keyed at random, so that nobody can choose keys which
/// meet in one place. Nothing may depend on the order that it gives.
pub(crate) type KeyedHash = foldhash::fast::RandomState;

/// How many parts, each with a lock, one map is split over: enough that a reader rarely meets the fold.
const SEGMENTS: usize = 64;

/// How many items the fold visits before it lets readers of a segment in: some ten microseconds.
const RUN: usize = 128;

/// How many entries the fold looks at before it works on the first of them. Each lies elsewhere in memory: so the processor
/// waits for many together instead of for one after the other.
const AHEAD: usize = 16;

/// From how many items on it pays to sort them by segment first.
const MANY: usize = 4096;

/// How often a reader tries to get at a segment in which the fold is at work, and how long it spins in between: some
/// thirty microseconds together.
const TRIES: u32 = 32;
const SPINS: u32 = 32;

/// What a reader finds that does not wait.
pub(crate) enum Seen<T> {
    /// The entry of the key.
    Here(T),
    /// The key is in the store or nowhere.
    Missing,
    /// The fold is at work beside the key.
    Busy,
}

/// A concurrent map from keys to entries.
pub(crate) struct HotMap<K, V> {
    map: DashMap<K, Entry<V>, KeyedHash>,
    /// Kept beside the map, which would have to be asked segment by segment: whoever only wants to know how many there
    /// are would wait for the fold.
    entries: AtomicUsize,
}

impl<K: Hash + Eq, V> HotMap<K, V> {
    pub(crate) fn new() -> Self {
        let map = DashMap::with_capacity_and_hasher_and_shard_amount(0, KeyedHash::default(), SEGMENTS);
        Self { map, entries: AtomicUsize::new(0) }
    }

    /// Calls `read` with the entry of `key`, if there is one.
    pub(crate) fn read<R>(&self, key: &K, read: impl FnOnce(&Entry<V>) -> R) -> Option<R> {
        self.map.get(key).map(|entry| read(&entry))
    }

    /// As [`read`](Self::read), for a reader that must not wait for the fold: it tries for some ten microseconds, which is
    /// what a run of the fold takes unless the code that it runs takes its time.
    pub(crate) fn try_read<R>(&self, key: &K, read: impl FnOnce(&Entry<V>) -> R) -> Seen<R> {
        for _ in 0..TRIES {
            match self.map.try_get(key) {
                TryResult::Present(entry) => return Seen::Here(read(&entry)),
                TryResult::Absent => return Seen::Missing,
                TryResult::Locked => (0..SPINS).for_each(|_| std::hint::spin_loop()),
            }
        }
        Seen::Busy
    }

    /// Calls `update` with the entry of `key`, if there is one.
    #[inline]
    pub(crate) fn update<R>(&self, key: &K, update: impl FnOnce(&mut Entry<V>) -> R) -> Option<R> {
        self.map.get_mut(key).map(|mut entry| update(&mut entry))
    }

    #[inline]
    fn hash(&self, key: &K) -> usize {
        self.map.hash_usize(key)
    }

    /// Which part of the map a hash belongs to, below [`SEGMENTS`].
    #[inline]
    fn segment(&self, hash: usize) -> usize {
        self.map.determine_shard(hash)
    }

    /// Calls `visit` with each item and the entry of its key, if there is one. Items of equal keys keep their order;
    /// many items are visited segment by segment.
    pub(crate) fn visit_all<T>(
        &self,
        items: Vec<T>,
        key: impl Fn(&T) -> &K,
        mut visit: impl FnMut(T, Option<&mut Entry<V>>),
    ) {
        if items.len() < MANY {
            self.visit_in_order(items.into_iter(), key, visit);
            return;
        }
        let expected = items.len() / SEGMENTS;
        let mut parts: Vec<Vec<(usize, T)>> =
            (0..SEGMENTS).map(|_| Vec::with_capacity(expected + expected / 4)).collect();
        for item in items {
            let hash = self.hash(key(&item));
            if let Some(part) = parts.get_mut(self.segment(hash)) {
                part.push((hash, item));
            }
        }
        let mut ahead = Vec::with_capacity(AHEAD);
        for (segment, part) in parts.into_iter().enumerate() {
            self.visit(segment, part.into_iter(), &mut ahead, &key, &mut visit);
        }
    }

    /// Calls `visit` with each item and the entry of its key, if there is one, in the order of the items.
    pub(crate) fn visit_in_order<T>(
        &self,
        items: impl Iterator<Item = T>,
        key: impl Fn(&T) -> &K,
        mut visit: impl FnMut(T, Option<&mut Entry<V>>),
    ) {
        let mut items = items
            .map(|item| {
                let hash = self.hash(key(&item));
                (self.segment(hash), (hash, item))
            })
            .peekable();
        let mut ahead = Vec::with_capacity(AHEAD);
        while let Some(&(segment, _)) = items.peek() {
            let run =
                std::iter::from_fn(|| items.next_if(|(next, _)| *next == segment)).map(|(_, item)| item);
            self.visit(segment, run, &mut ahead, &key, &mut visit);
        }
    }

    /// Calls `visit` with each item, which must belong to `segment`, and the entry of its key, if there is one. `ahead` is a
    /// buffer.
    ///
    /// The lock of the segment is taken once for a run of items: it costs as much as a visit.
    fn visit<T>(
        &self,
        segment: usize,
        mut items: impl Iterator<Item = (usize, T)>,
        ahead: &mut Vec<(usize, T)>,
        key: impl Fn(&T) -> &K,
        mut visit: impl FnMut(T, Option<&mut Entry<V>>),
    ) {
        let Some(part) = self.map.shards().get(segment) else { return };
        let mut next = items.next();
        while next.is_some() {
            let mut part = part.write();
            for _ in 0..RUN / AHEAD {
                ahead.extend(next.take().into_iter().chain(items.by_ref().take(AHEAD - 1)));
                if ahead.len() > 1 {
                    for (hash, item) in &*ahead {
                        let found = part.get(*hash as u64, |(other, _)| other == key(item));
                        std::hint::black_box(found.map(|(_, entry)| entry.get().look()));
                    }
                }
                for (hash, item) in ahead.drain(..) {
                    let found = part.get_mut(hash as u64, |(other, _)| other == key(&item));
                    visit(item, found.map(|(_, entry)| entry.get_mut()));
                }
                next = items.next();
                if next.is_none() {
                    return;
                }
            }
        }
    }

    /// Puts `entry` in, in place of any other.
    pub(crate) fn insert(&self, key: K, entry: Entry<V>) {
        if self.map.insert(key, entry).is_none() {
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Removes the entry of `key`.
    pub(crate) fn remove(&self, key: &K) {
        if self.map.remove(key).is_some() {
            self.entries.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Removes the entries of all keys but those that `keeps` keeps.
    pub(crate) fn retain(&self, mut keeps: impl FnMut(&K) -> bool) {
        self.map.retain(|key, _| {
            let is_kept = keeps(key);
            if !is_kept {
                self.entries.fetch_sub(1, Ordering::Relaxed);
            }
            is_kept
        });
    }

    /// Gives back what is not needed for the entries that are left, if it is most of it.
    pub(crate) fn shrink(&self) {
        if self.map.capacity() / 4 > self.len() {
            self.map.shrink_to_fit();
        }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Removes about `excess` entries that `drained` covers, first those that were not used since the last time, and tells `gone` the
    /// key of each. Answers how many of them it did not find.
    pub(crate) fn evict(&self, excess: usize, drained: u64, mut gone: impl FnMut(&K)) -> usize {
        let mut left = excess;
        // Two passes of a clock: the first takes away the mark of use, the second evicts whatever is clean.
        for _ in 0..2 {
            if left == 0 {
                break;
            }
            self.map.retain(|key, entry| {
                if left == 0 || entry.epoch > drained {
                    return true;
                }
                if std::mem::take(&mut entry.used) {
                    return true;
                }
                left -= 1;
                gone(key);
                self.entries.fetch_sub(1, Ordering::Relaxed);
                false
            });
        }
        self.map.shrink_to_fit();
        left
    }

    /// Bytes of a map of `entries` entries itself, without what keys and values own elsewhere. All segments of a large map
    /// double at about the same time, as keys are spread evenly.
    pub(crate) fn bytes_of(entries: usize) -> usize {
        let used = entries.min(SEGMENTS);
        let each = entries.div_ceil(SEGMENTS);
        // A table of hashbrown has a power of two of slots, of which at most 7/8 are filled, and a byte of control for each.
        let slots =
            if each < 8 { (each + 1).next_power_of_two().max(4) } else { (each * 8 / 7).next_power_of_two() };
        used * slots * (size_of::<(K, Entry<V>)>() + 1)
    }

    /// Bytes of one entry in the map itself, on average.
    pub(crate) const fn entry_bytes() -> usize {
        // Two thirds of the slots are filled on average.
        (size_of::<(K, Entry<V>)>() + 1) * 3 / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;
    use std::sync::atomic::AtomicU64;

    /// Counts how often keys are compared.
    #[derive(Debug, Clone, Copy)]
    struct Compared(u64);

    static COMPARISONS: AtomicU64 = AtomicU64::new(0);

    impl PartialEq for Compared {
        fn eq(&self, other: &Self) -> bool {
            COMPARISONS.fetch_add(1, Ordering::Relaxed);
            self.0 == other.0
        }
    }

    impl Eq for Compared {}

    impl Hash for Compared {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }

    /// Keys that were chosen by someone who knows the hash that was once used: they differ in bits which say nothing of
    /// segment, bucket or tag. 4,000 of them cost 8 million comparisons.
    #[test]
    fn keys_cannot_be_chosen_to_meet_in_one_place() {
        const KEYS: u64 = 4000;
        // What `FxHasher` multiplies with is odd, so it can be undone.
        let factor = rustc_hash::FxBuildHasher.hash_one(1_u64).rotate_right(26);
        let mut inverse = factor;
        for _ in 0..6 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(factor.wrapping_mul(inverse)));
        }
        assert_eq!(factor.wrapping_mul(inverse), 1);
        let chosen = |number: u64| (number << 30).rotate_right(26).wrapping_mul(inverse);
        assert_eq!(
            rustc_hash::FxBuildHasher.hash_one(chosen(5)),
            5 << 30,
            "the hash has changed: adapt the keys"
        );

        let map = HotMap::new();
        for number in 0..KEYS {
            map.insert(Compared(chosen(number)), Entry::clean(Some(number)));
        }
        assert!((0..KEYS).all(|number| map.read(&Compared(chosen(number)), |_| ()).is_some()));
        let comparisons = COMPARISONS.load(Ordering::Relaxed);
        assert!(comparisons < 4 * KEYS, "{comparisons} comparisons of {KEYS} keys");
    }

    #[test]
    fn a_reader_does_not_wait_for_a_fold_that_takes_its_time() {
        let map = HotMap::new();
        map.insert(1, Entry::clean(Some(7)));
        map.update(&1, |_| {
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| matches!(map.try_read(&1, |_| ()), Seen::Busy));
                assert!(reader.join().unwrap());
            });
        });
        assert!(matches!(map.try_read(&1, |entry| entry.value), Seen::Here(Some(7))));
        assert!(matches!(map.try_read(&2, |_| ()), Seen::Missing));
    }

    #[test]
    fn eviction_spares_what_is_not_drained_and_what_was_used() {
        let map = HotMap::new();
        for key in 0..100_u64 {
            let mut entry = Entry::clean(Some(key));
            entry.epoch = key;
            entry.used = key < 10;
            map.insert(key, entry);
        }
        map.insert(99, Entry { epoch: 99, ..Entry::clean(Some(99)) });
        assert_eq!(map.len(), 100);
        let mut gone = 0;
        map.evict(30, 49, |_| gone += 1);
        assert_eq!(gone, 30);
        assert_eq!((map.len(), map.map.len()), (70, 70));
        assert!((0..10).chain(50..100).all(|key| map.read(&key, |_| ()).is_some()));
    }

    #[test]
    fn a_query_sees_the_value_before_the_running_epoch() {
        let entry = Entry { value: Some(2), before: Some(1), epoch: 5, dirty: 0, used: false };
        assert_eq!(entry.visible(4), Some(&1));
        assert_eq!(entry.visible(5), Some(&2));
    }
}
