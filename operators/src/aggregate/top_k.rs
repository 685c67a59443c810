//! The k greatest values.
//!
//! Repeats are kept: the three greatest of 7, 7, 5 are 7, 7, 5. Values that compare equal cannot be told apart,
//! so ties have no order to get wrong; to rank *records* deterministically, extract a tuple whose later fields
//! tell them apart, such as `(distance, id)`. For the k least, extract a [`Reverse`](std::cmp::Reverse).

use super::{Aggregate, Merge, MultisetOf};
use millpond_engine::codec::Value;
use serde::{Deserialize, Serialize};

/// The greatest values that were folded, at most as many as the aggregate keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopK<T> {
    /// Descending.
    values: Vec<T>,
}

impl<T> TopK<T> {
    /// The values, greatest first.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.values.iter()
    }

    /// The values as a slice, greatest first.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.values
    }

    /// How many values: k, or fewer if fewer were folded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing was folded yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl<T: Ord> TopK<T> {
    fn offer(&mut self, k: usize, value: T) {
        let at = self.values.partition_point(|kept| *kept >= value);
        if at < k {
            self.values.truncate(k - 1);
            self.values.insert(at, value);
        }
    }
}

impl<T> Default for TopK<T> {
    fn default() -> Self {
        Self { values: Vec::new() }
    }
}

impl<'a, T> IntoIterator for &'a TopK<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The aggregate made by [`top_k`].
#[derive(Debug, Clone, Copy)]
pub struct TopKOf<F> {
    k: usize,
    extract: F,
}

/// Keeps the `k` greatest of what `extract` finds in the records; the accumulator is a [`TopK`].
///
/// With another `k` it is another table, which is refused under the same version: raise that.
///
/// # Examples
/// ```
/// use millpond::aggregate::{Aggregate, TopK, top_k};
///
/// let longest = top_k(2, |flight: &(&'static str, u32)| (flight.1, flight.0));
/// let mut acc = TopK::default();
/// for flight in [("LX8", 7100), ("LX14", 6300), ("LX64", 7800)] {
///     longest.fold(&mut acc, &"ZRH", flight);
/// }
/// assert_eq!(acc.as_slice(), [(7800, "LX64"), (7100, "LX8")]);
/// ```
#[must_use]
pub fn top_k<V, T: Ord, F: Fn(&V) -> T>(k: usize, extract: F) -> TopKOf<F> {
    TopKOf { k, extract }
}

impl<F> TopKOf<F> {
    /// The form that can take members out again, for grouping tables.
    ///
    /// It keeps every member; read it with [`Multiset::largest`](super::Multiset::largest).
    #[must_use]
    pub fn retractable(self) -> MultisetOf<F> {
        MultisetOf::new(self.extract)
    }
}

impl<K, V, T, F> Aggregate<K, V> for TopKOf<F>
where
    T: Ord + Value,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    type Acc = TopK<T>;

    fn id(&self) -> String {
        format!("top_k({})", self.k)
    }

    fn commutes(&self) -> bool {
        true
    }

    fn init(&self) -> TopK<T> {
        TopK::default()
    }

    fn fold(&self, acc: &mut TopK<T>, _: &K, value: V) {
        acc.offer(self.k, (self.extract)(&value));
    }
}

impl<K, V, T, F> Merge<K, V> for TopKOf<F>
where
    T: Ord + Value,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    fn merge(&self, acc: &mut TopK<T>, other: TopK<T>) {
        for value in other.values {
            acc.offer(self.k, value);
        }
    }
}
