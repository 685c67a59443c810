//! Ranges of keys, whose ends may be borrowed.

use super::AsKey;
use std::borrow::Cow;
use std::ops::{Bound, Range, RangeBounds, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// A range of keys of type `K`: any of the ranges of the language, or a pair of bounds, of what stands [for a
/// key](AsKey). It is sealed: of anything else that implements `RangeBounds`, ask with
/// `(it.start_bound(), it.end_bound())`.
///
/// # Examples
/// ```
/// use millpond::codec::KeyRange;
/// use std::ops::Bound;
///
/// fn starts_at(range: &impl KeyRange<String>) -> Option<String> {
///     match range.start() {
///         Bound::Included(key) => Some(key.into_owned()),
///         Bound::Excluded(_) | Bound::Unbounded => None,
///     }
/// }
///
/// assert_eq!(starts_at(&("a".."c")).as_deref(), Some("a"));
/// assert_eq!(starts_at(&("a".to_owned()..)).as_deref(), Some("a"));
/// assert_eq!(starts_at(&..), None);
/// assert_eq!(starts_at(&(Bound::Excluded("b"), Bound::Unbounded)), None);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a range of keys of type `{K}`",
    note = "`a..b`, `a..=b`, `a..`, `..b`, `..=b`, `..` and `(Bound, Bound)` are, of a key or what one borrows as: see \
            `codec::AsKey`"
)]
pub trait KeyRange<K: Clone>: sealed::Sealed {
    /// Where the range begins.
    fn start(&self) -> Bound<Cow<'_, K>>;

    /// Where it ends.
    fn end(&self) -> Bound<Cow<'_, K>>;
}

/// What keeps [`KeyRange`] to the ranges here.
mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for RangeFull {}

impl<K: Clone> KeyRange<K> for RangeFull {
    fn start(&self) -> Bound<Cow<'_, K>> {
        Bound::Unbounded
    }

    fn end(&self) -> Bound<Cow<'_, K>> {
        Bound::Unbounded
    }
}

macro_rules! ranges {
    ($($range:ident)*) => {$(
        impl<Q> sealed::Sealed for $range<Q> {}

        impl<K: Clone, Q: AsKey<K>> KeyRange<K> for $range<Q> {
            fn start(&self) -> Bound<Cow<'_, K>> {
                RangeBounds::<Q>::start_bound(self).map(AsKey::as_key)
            }

            fn end(&self) -> Bound<Cow<'_, K>> {
                RangeBounds::<Q>::end_bound(self).map(AsKey::as_key)
            }
        }
    )*};
}

ranges!(Range RangeFrom RangeInclusive RangeTo RangeToInclusive);

impl<Q> sealed::Sealed for (Bound<Q>, Bound<Q>) {}

impl<K: Clone, Q: AsKey<K>> KeyRange<K> for (Bound<Q>, Bound<Q>) {
    fn start(&self) -> Bound<Cow<'_, K>> {
        self.0.as_ref().map(AsKey::as_key)
    }

    fn end(&self) -> Bound<Cow<'_, K>> {
        self.1.as_ref().map(AsKey::as_key)
    }
}
