//! Combines the values of a group pairwise into one of the same type.

use super::Aggregate;
use millpond_engine::codec::Value;

/// The aggregate made by [`reduce`].
#[derive(Debug, Clone, Copy)]
pub struct Reduce<F> {
    combine: F,
}

/// Combines each value with what the values before it came to; the accumulator is an `Option<V>`, the first
/// value being taken as it is.
///
/// An arbitrary combination has no inverse and may depend on the order, so this neither retracts nor merges.
/// If yours can, say so with a [`Fold`](super::Fold).
///
/// # Examples
/// ```
/// use millpond::aggregate::{Aggregate, reduce};
///
/// let route = reduce(|so_far: String, stop: String| so_far + "-" + &stop);
/// let mut acc = None;
/// for stop in ["ZRH", "VIE", "OTP"] {
///     route.fold(&mut acc, &"OE-LBN", stop.to_owned());
/// }
/// assert_eq!(acc.as_deref(), Some("ZRH-VIE-OTP"));
/// ```
#[must_use]
pub fn reduce<V, F: Fn(V, V) -> V>(combine: F) -> Reduce<F> {
    Reduce { combine }
}

impl<K, V, F> Aggregate<K, V> for Reduce<F>
where
    V: Value,
    F: Fn(V, V) -> V + Send + Sync + 'static,
{
    type Acc = Option<V>;

    fn init(&self) -> Option<V> {
        None
    }

    fn fold(&self, acc: &mut Option<V>, _: &K, value: V) {
        *acc = Some(match acc.take() {
            None => value,
            Some(so_far) => (self.combine)(so_far, value),
        });
    }
}
