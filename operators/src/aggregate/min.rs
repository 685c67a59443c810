//! The least value.
//!
//! Over a stream one value is enough. Over a table the least member may be taken out, and the next one must be
//! known then: [`MinOf::retractable`] keeps all of them.
//!
//! Of values that are equal the first stays; for a decision among records, extract a tuple whose later fields
//! tell them apart, such as `(distance, id)`.

use super::{Aggregate, Merge, MultisetOf};
use millpond_engine::codec::Value;

/// The aggregate made by [`min`].
#[derive(Debug, Clone, Copy)]
pub struct MinOf<F> {
    extract: F,
}

/// Keeps the least of what `extract` finds in the records; the accumulator is an `Option<T>`.
///
/// # Examples
/// ```
/// use millpond::aggregate::{Aggregate, min};
///
/// let distance = min(|flight: &(&str, u32)| flight.1);
/// let mut acc = None;
/// distance.fold(&mut acc, &"ZRH", ("LX8", 400));
/// distance.fold(&mut acc, &"ZRH", ("LX14", 600));
/// assert_eq!(acc, Some(400));
/// ```
#[must_use]
pub fn min<V, T: Ord, F: Fn(&V) -> T>(extract: F) -> MinOf<F> {
    MinOf { extract }
}

impl<F> MinOf<F> {
    /// The form that can take members out again, for grouping tables.
    ///
    /// It keeps every member; read it with [`Multiset::min`](super::Multiset::min).
    #[must_use]
    pub fn retractable(self) -> MultisetOf<F> {
        MultisetOf::new(self.extract)
    }
}

impl<K, V, T, F> Aggregate<K, V> for MinOf<F>
where
    T: Ord + Value,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    type Acc = Option<T>;

    fn id(&self) -> String {
        "min".to_owned()
    }

    fn commutes(&self) -> bool {
        true
    }

    fn init(&self) -> Option<T> {
        None
    }

    fn fold(&self, acc: &mut Option<T>, _: &K, value: V) {
        keep_least(acc, (self.extract)(&value));
    }
}

impl<K, V, T, F> Merge<K, V> for MinOf<F>
where
    T: Ord + Value,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    fn merge(&self, acc: &mut Option<T>, other: Option<T>) {
        if let Some(value) = other {
            keep_least(acc, value);
        }
    }
}

fn keep_least<T: Ord>(acc: &mut Option<T>, value: T) {
    if acc.as_ref().is_none_or(|kept| value < *kept) {
        *acc = Some(value);
    }
}
