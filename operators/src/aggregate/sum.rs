//! Sums numbers, exactly.
//!
//! Integers up to 64 bits are summed in an `i128`: overflow would take 2^63 records of the largest value, so a
//! sum is never silently wrong. (Arithmetic wraps all the same, because a fold must not panic.) Floats are
//! summed in a [`FloatSum`], which does not round: a plain `f64` would make a sum depend on the order of its
//! records and on the number of shards, and would drift away under retraction.

use super::{Aggregate, FloatSum, Merge, Retract};
use millpond_engine::codec::Value;

/// A running total: the accumulator of [`sum`], and a part of that of [`mean`](super::mean).
///
/// `default` is the total of nothing. Addition must be exact, associative and commutative, as the laws of
/// [`Retract`] and [`Merge`] rest on it.
pub trait Total: Value + Default {
    /// Adds another total.
    fn add(&mut self, other: Self);

    /// The float nearest to the total.
    fn to_f64(&self) -> f64;
}

/// A number that can be summed. Implement it for your own exact types, such as an amount of money.
pub trait Summand {
    /// What it is summed in.
    type Total: Total;

    /// Adds the number to `total`.
    fn add_to(self, total: &mut Self::Total);

    /// Subtracts the number from `total`: the exact inverse of [`add_to`](Self::add_to).
    fn take_from(self, total: &mut Self::Total);
}

impl Total for i128 {
    fn add(&mut self, other: Self) {
        *self = self.wrapping_add(other);
    }

    #[expect(clippy::cast_precision_loss, reason = "rounding to the nearest float is what is asked for")]
    fn to_f64(&self) -> f64 {
        *self as f64
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {
        $(impl Summand for $integer {
            type Total = i128;

            fn add_to(self, total: &mut i128) {
                *total = total.wrapping_add(i128::from(self));
            }

            fn take_from(self, total: &mut i128) {
                *total = total.wrapping_sub(i128::from(self));
            }
        })*
    };
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Summand for f64 {
    type Total = FloatSum;

    fn add_to(self, total: &mut FloatSum) {
        total.add(self);
    }

    fn take_from(self, total: &mut FloatSum) {
        total.subtract(self);
    }
}

impl Summand for f32 {
    type Total = FloatSum;

    fn add_to(self, total: &mut FloatSum) {
        total.add(f64::from(self));
    }

    fn take_from(self, total: &mut FloatSum) {
        total.subtract(f64::from(self));
    }
}

/// The aggregate made by [`sum`].
#[derive(Debug, Clone, Copy)]
pub struct SumOf<F> {
    extract: F,
}

/// Sums what `extract` finds in each record; the accumulator is the number's [`Total`].
///
/// # Examples
/// ```
/// use millpond::aggregate::{Aggregate, sum};
///
/// let seats = sum(|flight: &(&str, u16)| flight.1);
/// let mut acc = 0_i128;
/// seats.fold(&mut acc, &"ZRH", ("LX8", 180));
/// seats.fold(&mut acc, &"ZRH", ("LX14", 340));
/// assert_eq!(acc, 520);
/// ```
#[must_use]
pub fn sum<V, T: Summand, F: Fn(&V) -> T>(extract: F) -> SumOf<F> {
    SumOf { extract }
}

impl<K, V, T, F> Aggregate<K, V> for SumOf<F>
where
    T: Summand,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    type Acc = T::Total;

    fn id(&self) -> String {
        "sum".to_owned()
    }

    fn commutes(&self) -> bool {
        true
    }

    fn init(&self) -> T::Total {
        T::Total::default()
    }

    fn fold(&self, acc: &mut T::Total, _: &K, value: V) {
        (self.extract)(&value).add_to(acc);
    }
}

impl<K, V, T, F> Retract<K, V> for SumOf<F>
where
    T: Summand,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    fn retract(&self, acc: &mut T::Total, _: &K, value: V) {
        (self.extract)(&value).take_from(acc);
    }
}

impl<K, V, T, F> Merge<K, V> for SumOf<F>
where
    T: Summand,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    fn merge(&self, acc: &mut T::Total, other: T::Total) {
        acc.add(other);
    }
}
