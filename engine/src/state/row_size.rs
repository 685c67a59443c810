//! The size of a row: about how many bytes keys and values own outside of the map that holds them.
//!
//! Nobody can ask a type what it owns. Its codec can tell of some of its values how many bytes they own for each of their
//! encoding; else what they own is taken for as much as their encoding. Sizes are running means over
//! the rows of the last epochs, so that neither an epoch of deletions nor a few odd rows make the table forget what it
//! holds. It knows nothing of the map and its slots.

use std::sync::atomic::{AtomicU64, Ordering};

/// About so many rows a mean looks back on: newer ones push older ones out.
const WINDOW: u64 = 1 << 16;

/// So many values are looked at, one by one, and of the later ones each of so many.
const SAMPLED_AT_FIRST: u64 = 16;
const SAMPLED_OF: u64 = 16;

/// Values from this many bytes on are large.
const LARGE_BYTES: u64 = 1 << 10;

/// Means are kept in parts of this many to the unit.
const UNIT: u64 = 256;

/// What is taken for the size of a key or value before any was seen, in bytes.
const UNSEEN_BYTES: u64 = 32;

/// What one allocation costs beside its bytes, rounding included.
const ALLOCATION_BYTES: u64 = 16;

/// What one epoch has shown of the rows of a table.
#[derive(Debug, Default)]
pub(super) struct RowSamples {
    keys: u64,
    key_bytes: u64,
    values: u64,
    value_bytes: u64,
    held: u64,
    sampled: u64,
    owned_bytes: u64,
}

impl RowSamples {
    /// Takes in that a value which encodes to `value_bytes` owns `owned_bytes`.
    pub(super) fn sample(&mut self, value_bytes: usize, owned_bytes: usize) {
        self.sampled += value_bytes as u64;
        self.owned_bytes += owned_bytes as u64;
    }

    /// Takes in an entry with a key of so many bytes, a value if it has one, and the value before if that is kept.
    pub(super) fn add(&mut self, key_bytes: usize, value_bytes: Option<usize>, has_before: bool) {
        self.keys += 1;
        self.key_bytes += key_bytes as u64;
        self.values += u64::from(value_bytes.is_some());
        self.value_bytes += value_bytes.unwrap_or(0) as u64;
        self.held += u64::from(value_bytes.is_some()) + u64::from(has_before);
    }
}

/// The sizes of the rows of one table on one shard. Written by the fold only.
#[derive(Debug)]
pub(super) struct RowSize {
    key_bytes: RunningMean,
    value_bytes: RunningMean,
    /// How many values an entry holds: the one it has, and the one before.
    values: RunningMean,
    /// How many bytes a value owns for each of its encoding, in parts of [`UNIT`].
    ratio: RunningMean,
    /// How many values were seen.
    turn: AtomicU64,
}

impl RowSize {
    pub(super) fn new() -> Self {
        let [values, ratio] = [RunningMean::new(1), RunningMean::new(1)];
        let [key_bytes, value_bytes] = [RunningMean::new(UNSEEN_BYTES), RunningMean::new(UNSEEN_BYTES)];
        Self { key_bytes, value_bytes, values, ratio, turn: AtomicU64::new(0) }
    }

    /// Whether the next value is one of those that are looked at: the first ones, and some of the later ones.
    pub(super) fn is_sampled<V>(&self) -> bool {
        if !std::mem::needs_drop::<V>() {
            return false;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        turn < SAMPLED_AT_FIRST || turn.is_multiple_of(SAMPLED_OF)
    }

    pub(super) fn note(&self, rows: &RowSamples) {
        self.key_bytes.note(rows.key_bytes, rows.keys);
        self.value_bytes.note(rows.value_bytes, rows.values);
        self.values.note(rows.held, rows.keys);
        self.ratio.note(rows.owned_bytes, rows.sampled);
    }

    /// About how many bytes a value owns, in parts of [`UNIT`].
    fn value_units(&self) -> u64 {
        self.value_bytes.load().saturating_mul(self.ratio.load()) / UNIT
    }

    /// Whether values own so much that it pays to drop the one before as soon as nobody can ask for it.
    pub(super) fn are_large<V>(&self) -> bool {
        std::mem::needs_drop::<V>() && self.value_units() >= LARGE_BYTES * UNIT
    }

    /// About how many bytes one entry owns. A type without a destructor owns nothing.
    pub(super) fn owned_bytes<K, V>(&self) -> usize {
        let mut owned = 0;
        if std::mem::needs_drop::<K>() {
            owned += self.key_bytes.load() + ALLOCATION_BYTES * UNIT;
        }
        if std::mem::needs_drop::<V>() {
            let values = if self.are_large::<V>() { UNIT } else { self.values.load() };
            owned += (self.value_units() + ALLOCATION_BYTES * UNIT) * values / UNIT;
        }
        usize::try_from(owned / UNIT).unwrap_or(usize::MAX)
    }
}

/// A running mean.
#[derive(Debug)]
struct RunningMean {
    /// In parts of [`UNIT`].
    value: AtomicU64,
    /// How many it is the mean of, at most [`WINDOW`].
    seen: AtomicU64,
}

impl RunningMean {
    fn new(value: u64) -> Self {
        Self { value: AtomicU64::new(value * UNIT), seen: AtomicU64::new(0) }
    }

    fn load(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Takes in `count` more, which add up to `sum`. None at all say nothing.
    fn note(&self, sum: u64, count: u64) {
        if count == 0 {
            return;
        }
        let kept = self.seen.load(Ordering::Relaxed).min(WINDOW.saturating_sub(count));
        let total = u128::from(self.load()) * u128::from(kept) + u128::from(sum) * u128::from(UNIT);
        let mean = u64::try_from(total / u128::from(kept + count)).unwrap_or(u64::MAX / UNIT);
        self.value.store(mean, Ordering::Relaxed);
        self.seen.store(kept + count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(epochs: &[(u64, usize, Option<usize>, bool)]) -> RowSize {
        let size = RowSize::new();
        for &(rows, key_bytes, value_bytes, has_before) in epochs {
            let mut seen = RowSamples::default();
            (0..rows).for_each(|_| seen.add(key_bytes, value_bytes, has_before));
            size.note(&seen);
        }
        size
    }

    #[test]
    fn what_the_types_cannot_own_is_not_counted() {
        let size = noted(&[(10, 100, Some(1000), false)]);
        assert_eq!(size.owned_bytes::<u64, u64>(), 0);
        assert_eq!(size.owned_bytes::<String, u64>(), 100 + 16);
        assert_eq!(size.owned_bytes::<u64, String>(), 1000 + 16);
        assert_eq!(size.owned_bytes::<String, String>(), 1100 + 32);
    }

    #[test]
    fn the_value_before_counts_while_it_is_kept() {
        assert_eq!(noted(&[(10, 8, Some(1000), true)]).owned_bytes::<u64, String>(), 2 * (1000 + 16));
    }

    /// Once, an epoch of deletions made every row weigh nothing, and the table outgrew its budget.
    #[test]
    fn deletions_do_not_make_the_other_rows_small() {
        let size = noted(&[(70_000, 8, Some(1000), false), (100, 8, None, true), (0, 0, None, false)]);
        assert!(size.owned_bytes::<u64, String>() >= 1000, "{size:?}");
    }

    #[test]
    fn a_few_odd_rows_move_the_mean_a_little_and_many_move_it_all_the_way() {
        let size = noted(&[(10_000, 8, Some(100), false), (1, 8, Some(100_000), false)]);
        assert!((110..130).contains(&size.owned_bytes::<u64, String>()), "{size:?}");
        let size = noted(&[(10_000, 8, Some(100), false), (1 << 16, 8, Some(300), false)]);
        assert_eq!(size.owned_bytes::<u64, String>(), 300 + 16);
    }
}
