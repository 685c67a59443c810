//! Counts records.
//!
//! Repeats and equal values count each. The count wraps at 2^64, which no changelog reaches; wrapping keeps
//! `retract` an exact inverse and panics never.

use super::{Aggregate, Merge, Retract};

/// The aggregate made by [`count`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Count;

/// Counts the records of a group; the accumulator is a `u64`.
///
/// # Examples
/// ```
/// use millpond::aggregate::{Aggregate, count};
///
/// let mut acc = 0;
/// count().fold(&mut acc, &"ZRH", "LX8");
/// assert_eq!(acc, 1);
/// ```
#[must_use]
pub fn count() -> Count {
    Count
}

impl<K, V> Aggregate<K, V> for Count {
    type Acc = u64;

    fn id(&self) -> String {
        "count".to_owned()
    }

    fn commutes(&self) -> bool {
        true
    }

    fn init(&self) -> u64 {
        0
    }

    fn fold(&self, acc: &mut u64, _: &K, _: V) {
        *acc = acc.wrapping_add(1);
    }
}

impl<K, V> Retract<K, V> for Count {
    fn retract(&self, acc: &mut u64, _: &K, _: V) {
        *acc = acc.wrapping_sub(1);
    }
}

impl<K, V> Merge<K, V> for Count {
    fn merge(&self, acc: &mut u64, other: u64) {
        *acc = acc.wrapping_add(other);
    }
}
