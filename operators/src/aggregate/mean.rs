//! The arithmetic mean.

use super::{Aggregate, Merge, Retract, Summand, Total};
use serde::{Deserialize, Serialize};

/// A sum and the number of its terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mean<T> {
    total: T,
    count: u64,
}

impl<T: Total> Mean<T> {
    /// The mean, or `None` of nothing.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "the result is a float")]
        let count = self.count as f64;
        (self.count > 0).then(|| self.total.to_f64() / count)
    }

    /// The exact sum of the terms.
    #[must_use]
    pub fn total(&self) -> &T {
        &self.total
    }

    /// How many terms.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// The aggregate made by [`mean`].
#[derive(Debug, Clone, Copy)]
pub struct MeanOf<F> {
    extract: F,
}

/// Averages what `extract` finds in each record; the accumulator is a [`Mean`].
///
/// # Examples
/// ```
/// use millpond::aggregate::{Aggregate, Mean, mean};
///
/// let celsius = mean(|reading: &f64| *reading);
/// let mut acc = Mean::default();
/// celsius.fold(&mut acc, &"roof", 20.5);
/// celsius.fold(&mut acc, &"roof", 21.5);
/// assert_eq!(acc.mean(), Some(21.0));
/// ```
#[must_use]
pub fn mean<V, T: Summand, F: Fn(&V) -> T>(extract: F) -> MeanOf<F> {
    MeanOf { extract }
}

impl<K, V, T, F> Aggregate<K, V> for MeanOf<F>
where
    T: Summand,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    type Acc = Mean<T::Total>;

    fn id(&self) -> String {
        "mean".to_owned()
    }

    fn commutes(&self) -> bool {
        true
    }

    fn init(&self) -> Self::Acc {
        Mean { total: T::Total::default(), count: 0 }
    }

    fn fold(&self, acc: &mut Self::Acc, _: &K, value: V) {
        (self.extract)(&value).add_to(&mut acc.total);
        acc.count = acc.count.wrapping_add(1);
    }
}

impl<K, V, T, F> Retract<K, V> for MeanOf<F>
where
    T: Summand,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    fn retract(&self, acc: &mut Self::Acc, _: &K, value: V) {
        (self.extract)(&value).take_from(&mut acc.total);
        acc.count = acc.count.wrapping_sub(1);
    }
}

impl<K, V, T, F> Merge<K, V> for MeanOf<F>
where
    T: Summand,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    fn merge(&self, acc: &mut Self::Acc, other: Self::Acc) {
        acc.total.add(other.total);
        acc.count = acc.count.wrapping_add(other.count);
    }
}
