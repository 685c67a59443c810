//! The last n values, in fold order.
//!
//! It depends on the order of the records by its nature. So it neither retracts nor merges, and over a key
//! whose records come from several partitions "last" means last to arrive.

use super::Aggregate;
use millpond_engine::codec::Value;
use std::collections::VecDeque;

/// The aggregate made by [`last_n`].
#[derive(Debug, Clone, Copy)]
pub struct LastNOf<F> {
    n: usize,
    extract: F,
}

/// Keeps what `extract` finds in the last `n` records; the accumulator is a [`VecDeque`], oldest first.
///
/// # Examples
/// ```
/// use millpond::aggregate::{Aggregate, last_n};
/// use std::collections::VecDeque;
///
/// let recent = last_n(2, |callsign: &&'static str| *callsign);
/// let mut acc = VecDeque::new();
/// for callsign in ["LX8", "LX14", "LX64"] {
///     recent.fold(&mut acc, &"ZRH", callsign);
/// }
/// assert_eq!(acc, ["LX14", "LX64"]);
/// ```
#[must_use]
pub fn last_n<V, T, F: Fn(&V) -> T>(n: usize, extract: F) -> LastNOf<F> {
    LastNOf { n, extract }
}

impl<K, V, T, F> Aggregate<K, V> for LastNOf<F>
where
    T: Value,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    type Acc = VecDeque<T>;

    fn id(&self) -> String {
        format!("last_n({})", self.n)
    }

    fn init(&self) -> VecDeque<T> {
        VecDeque::new()
    }

    fn fold(&self, acc: &mut VecDeque<T>, _: &K, value: V) {
        acc.push_back((self.extract)(&value));
        // A loop, not an `if`: a table that was built with a greater n shrinks to this one.
        while acc.len() > self.n {
            acc.pop_front();
        }
    }
}
