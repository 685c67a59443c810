//! All members of a group, with how often each occurs.
//!
//! It is what an extreme, the k largest or the number of distinct values need in order to survive the loss of
//! any member. The whole multiset is one stored value: folding costs O(log n), but each epoch that touches the
//! group encodes all of it, so groups should have thousands of distinct members, not millions.

use super::{Aggregate, Merge, Retract};
use millpond_engine::codec::Value;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;

/// Values with how often each occurs, in order.
///
/// # Examples
/// ```
/// use millpond::aggregate::Multiset;
///
/// let mut delays = Multiset::default();
/// for minutes in [5, 30, 30, 12] {
///     delays.insert(minutes);
/// }
/// assert_eq!(delays.max(), Some(&30));
/// assert_eq!(delays.largest(3).collect::<Vec<_>>(), [&30, &30, &12]);
/// assert_eq!((delays.len(), delays.distinct()), (4, 3));
///
/// delays.remove(&30);
/// delays.remove(&30);
/// assert_eq!(delays.max(), Some(&12));
/// ```
///
/// Text formats such as JSON write it as a list of pairs, since the keys of their maps are texts; the maps that 0.1 wrote
/// are read as well. Other formats write a map.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Multiset<T> {
    counts: BTreeMap<T, u64>,
}

impl<T: Serialize> Serialize for Multiset<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(&self.counts)
        } else {
            self.counts.serialize(serializer)
        }
    }
}

impl<'de, T: Deserialize<'de> + Ord> Deserialize<'de> for Multiset<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = if deserializer.is_human_readable() {
            // Text formats read a struct from a list and from a map, without having to guess.
            deserializer.deserialize_struct("Multiset", &["counts"], Counts(PhantomData))?
        } else {
            BTreeMap::deserialize(deserializer)?
        };
        Ok(Self { counts })
    }
}

/// Reads counts from pairs or from the entries of a map.
struct Counts<T>(PhantomData<fn() -> T>);

impl<'de, T: Deserialize<'de> + Ord> Visitor<'de> for Counts<T> {
    type Value = BTreeMap<T, u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("values with how often each occurs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
        let mut counts = BTreeMap::new();
        while let Some((value, count)) = pairs.next_element()? {
            counts.insert(value, count);
        }
        Ok(counts)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut counts = BTreeMap::new();
        while let Some((value, count)) = entries.next_entry()? {
            counts.insert(value, count);
        }
        Ok(counts)
    }
}

impl<T> Default for Multiset<T> {
    fn default() -> Self {
        Self { counts: BTreeMap::new() }
    }
}

impl<T: Ord> Multiset<T> {
    /// Adds `value` once.
    pub fn insert(&mut self, value: T) {
        let count = self.counts.entry(value).or_default();
        *count = count.saturating_add(1);
    }

    /// Takes `value` out once; does nothing if it is not there.
    pub fn remove(&mut self, value: &T) {
        if let Some(count) = self.counts.get_mut(value) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(value);
            }
        }
    }

    /// Takes the values of `other` in.
    pub fn append(&mut self, other: Self) {
        for (value, count) in other.counts {
            match self.counts.entry(value) {
                Entry::Vacant(vacant) => {
                    vacant.insert(count);
                }
                Entry::Occupied(mut occupied) => {
                    let sum = occupied.get().saturating_add(count);
                    occupied.insert(sum);
                }
            }
        }
    }

    /// How often `value` occurs.
    #[must_use]
    pub fn count(&self, value: &T) -> u64 {
        self.counts.get(value).copied().unwrap_or(0)
    }

    /// The least value.
    #[must_use]
    pub fn min(&self) -> Option<&T> {
        self.counts.first_key_value().map(|(value, _)| value)
    }

    /// The greatest value.
    #[must_use]
    pub fn max(&self) -> Option<&T> {
        self.counts.last_key_value().map(|(value, _)| value)
    }

    /// The `k` greatest values, greatest first; a value that occurs twice comes twice.
    pub fn largest(&self, k: usize) -> impl Iterator<Item = &T> {
        self.counts.iter().rev().flat_map(|(value, &count)| repeated(value, count)).take(k)
    }

    /// The `k` least values, least first; a value that occurs twice comes twice.
    pub fn smallest(&self, k: usize) -> impl Iterator<Item = &T> {
        self.counts.iter().flat_map(|(value, &count)| repeated(value, count)).take(k)
    }

    /// The different values with how often each occurs, least first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&T, u64)> {
        self.counts.iter().map(|(value, &count)| (value, count))
    }

    /// How many different values.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.counts.len()
    }

    /// How many values, repeats included.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.counts.values().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

fn repeated<T>(value: &T, count: u64) -> impl Iterator<Item = &T> {
    std::iter::repeat_n(value, usize::try_from(count).unwrap_or(usize::MAX))
}

/// The aggregate made by [`multiset`], [`distinct_count`] and the `retractable` forms of
/// [`min`](super::min()), [`max`](super::max()) and [`top_k`](super::top_k()).
#[derive(Debug, Clone, Copy)]
pub struct MultisetOf<F> {
    extract: F,
}

impl<F> MultisetOf<F> {
    pub(super) fn new(extract: F) -> Self {
        Self { extract }
    }
}

/// Collects what `extract` finds in the records; the accumulator is a [`Multiset`].
#[must_use]
pub fn multiset<V, T: Ord, F: Fn(&V) -> T>(extract: F) -> MultisetOf<F> {
    MultisetOf { extract }
}

/// Counts the different values that `extract` finds in the records, exactly.
///
/// The accumulator is a [`Multiset`]; read it with [`Multiset::distinct`]. It holds every different value.
///
/// # Examples
/// ```
/// use millpond::aggregate::{Aggregate, Multiset, distinct_count};
///
/// let carriers = distinct_count(|flight: &(&str, u32)| flight.0.to_owned());
/// let mut acc = Multiset::default();
/// for flight in [("LX", 8), ("LX", 14), ("BA", 713)] {
///     carriers.fold(&mut acc, &"ZRH", flight);
/// }
/// assert_eq!(acc.distinct(), 2);
/// ```
#[must_use]
pub fn distinct_count<V, T: Ord, F: Fn(&V) -> T>(extract: F) -> MultisetOf<F> {
    multiset(extract)
}

impl<K, V, T, F> Aggregate<K, V> for MultisetOf<F>
where
    T: Ord + Value,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    type Acc = Multiset<T>;

    fn commutes(&self) -> bool {
        true
    }

    fn init(&self) -> Multiset<T> {
        Multiset::default()
    }

    fn fold(&self, acc: &mut Multiset<T>, _: &K, value: V) {
        acc.insert((self.extract)(&value));
    }
}

impl<K, V, T, F> Retract<K, V> for MultisetOf<F>
where
    T: Ord + Value,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    fn retract(&self, acc: &mut Multiset<T>, _: &K, value: V) {
        acc.remove(&(self.extract)(&value));
    }
}

impl<K, V, T, F> Merge<K, V> for MultisetOf<F>
where
    T: Ord + Value,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    fn merge(&self, acc: &mut Multiset<T>, other: Multiset<T>) {
        acc.append(other);
    }
}
