//! Borrowed keys: what may stand where a key is asked for, so that `"ab"` will do for a `String`.
//!
//! One implementation covers every key itself, and is free: the key is passed on. The others make a key of what they
//! borrow from. So that the compiler sees that none of them meets the first, a reference counts only if its target is
//! [lent](Lends) for that key, and that relation is closed: no type can be lent for a reference to itself.

use super::{KeyCodec, text};
use bytes::Bytes;
use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

/// Something that says which key of type `K` is meant: a `K`, or what a `K` borrows as.
///
/// | key | what may stand for it |
/// |---|---|
/// | any `K` | `K`, `&K`, `Arc<K>`, `Box<K>` |
/// | `String`, `Box<str>`, `Arc<str>` | `str`, `&str`, `Cow<str>` |
/// | `Vec<u8>`, `Bytes` | `[u8]`, `&[u8]`, `[u8; N]` |
/// | a tuple `(A, B)` | a tuple of what stands for its fields: each an `A`, a `&A`, a `&str`, a `&[u8]` |
/// | an array `[A; N]` | an array of `&A`, of `&str`, of `&[u8]` |
/// | an option of text or bytes | an option of `&str`, of `&[u8]` |
///
/// A key that is there is asked for as it is, without a copy; for a borrowed one a key is made.
///
/// # Contract
/// `encode_as_key` appends what `K::encode_key` appends for `as_key`.
///
/// # Examples
/// ```
/// use millpond::codec::AsKey;
///
/// fn len<Q: AsKey<(String, u32)> + ?Sized>(key: &Q) -> usize {
///     key.as_key().0.len()
/// }
///
/// assert_eq!(len(&("JFK", 4)), 3);
/// assert_eq!(len(&("JFK".to_owned(), 4)), 3);
/// ```
/// For keys of your own a borrowed form is an implementation of yours:
/// ```
/// use millpond::codec::{AsKey, Key, KeyCodec};
/// use std::borrow::Cow;
///
/// #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// struct Tail(String);
///
/// impl AsKey<Tail> for str {
///     fn as_key(&self) -> Cow<'_, Tail> {
///         Cow::Owned(Tail(self.to_owned()))
///     }
///
///     fn encode_as_key(&self, out: &mut Vec<u8>) {
///         AsKey::<String>::encode_as_key(self, out);
///     }
/// }
///
/// let mut bytes = Vec::new();
/// AsKey::<Tail>::encode_as_key("N14228", &mut bytes);
/// assert_eq!(Tail::decode_whole_key(&bytes)?, Tail("N14228".to_owned()));
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which key of type `{K}` is meant",
    label = "not a `{K}`, nor what one borrows as",
    note = "a `String` is asked for with a `&str`, a `(String, u32)` with a `(&str, u32)`: `codec::AsKey` lists what there is"
)]
pub trait AsKey<K: Clone> {
    /// The key that is meant: `self` if it is one.
    fn as_key(&self) -> Cow<'_, K>;

    /// Appends the encoding of the key that is meant.
    fn encode_as_key(&self, out: &mut Vec<u8>);
}

impl<K: KeyCodec + Clone> AsKey<K> for K {
    #[inline]
    fn as_key(&self) -> Cow<'_, K> {
        Cow::Borrowed(self)
    }

    #[inline]
    fn encode_as_key(&self, out: &mut Vec<u8>) {
        self.encode_key(out);
    }
}

macro_rules! owners {
    ($($owner:ident)*) => {$(
        impl<K: KeyCodec + Clone> AsKey<K> for $owner<K> {
            #[inline]
            fn as_key(&self) -> Cow<'_, K> {
                Cow::Borrowed(self)
            }

            #[inline]
            fn encode_as_key(&self, out: &mut Vec<u8>) {
                (**self).encode_key(out);
            }
        }
    )*};
}

owners!(Arc Box);

/// A key type and what is lent for it.
#[derive(Debug)]
pub(crate) struct Lent<K, Q: ?Sized>(PhantomData<fn(&Q) -> K>);

/// Implemented for each [`Lent<K, Q>`](Lent) where a `&Q` may stand for a `K`.
///
/// The relation is one of a type of this crate, not a trait of `Q` with a parameter: so that nobody can add to it, and the
/// compiler may conclude that there is no `Lent<&Q, Q>`.
#[diagnostic::on_unimplemented(
    message = "this is not a key of the type that is asked for, nor what one borrows as",
    note = "`{Self}` would be needed: the type of the key, and of what would stand for it"
)]
pub(crate) trait Lends {
    /// The key.
    type Key: Clone;
    /// What is lent.
    type Borrowed: ?Sized;

    /// The key that is meant.
    fn key(borrowed: &Self::Borrowed) -> Cow<'_, Self::Key>;

    /// Appends its encoding.
    fn encode(borrowed: &Self::Borrowed, out: &mut Vec<u8>);
}

impl<T: KeyCodec + Clone> Lends for Lent<T, T> {
    type Key = T;
    type Borrowed = T;

    #[inline]
    fn key(borrowed: &T) -> Cow<'_, T> {
        Cow::Borrowed(borrowed)
    }

    #[inline]
    fn encode(borrowed: &T, out: &mut Vec<u8>) {
        borrowed.encode_key(out);
    }
}

macro_rules! lent {
    ($($borrowed:ty => $($key:ty)*;)*) => {$($(
        impl Lends for Lent<$key, $borrowed> {
            type Key = $key;
            type Borrowed = $borrowed;

            #[inline]
            fn key(borrowed: &$borrowed) -> Cow<'_, $key> {
                Cow::Owned(owned(borrowed))
            }

            #[inline]
            fn encode(borrowed: &$borrowed, out: &mut Vec<u8>) {
                text::encode(borrowed.as_ref(), out);
            }
        }

        impl AsKey<$key> for $borrowed {
            #[inline]
            fn as_key(&self) -> Cow<'_, $key> {
                <Lent<$key, $borrowed>>::key(self)
            }

            #[inline]
            fn encode_as_key(&self, out: &mut Vec<u8>) {
                <Lent<$key, $borrowed>>::encode(self, out);
            }
        }

        impl AsKey<Option<$key>> for Option<&$borrowed> {
            #[inline]
            fn as_key(&self) -> Cow<'_, Option<$key>> {
                Cow::Owned(self.map(owned))
            }

            #[inline]
            fn encode_as_key(&self, out: &mut Vec<u8>) {
                out.push(u8::from(self.is_some()));
                if let Some(borrowed) = self {
                    <Lent<$key, $borrowed>>::encode(borrowed, out);
                }
            }
        }
    )*)*};
}

/// A key made of what was borrowed.
#[inline]
fn owned<B: ?Sized + ToOwned, K: From<B::Owned>>(borrowed: &B) -> K {
    K::from(borrowed.to_owned())
}

lent! {
    str => String Box<str> Arc<str>;
    [u8] => Vec<u8> Bytes;
}

macro_rules! through_their_target {
    ($([$($generics:tt)*] $whole:ty => $key:ty, $target:ty;)*) => {$(
        impl<$($generics)*> AsKey<$key> for $whole {
            #[inline]
            fn as_key(&self) -> Cow<'_, $key> {
                <Lent<$key, $target>>::key(self)
            }

            #[inline]
            fn encode_as_key(&self, out: &mut Vec<u8>) {
                <Lent<$key, $target>>::encode(self, out);
            }
        }
    )*};
}

through_their_target! {
    [] Cow<'_, str> => String, str;
    [] Cow<'_, str> => Box<str>, str;
    [] Cow<'_, str> => Arc<str>, str;
    [const N: usize] [u8; N] => Vec<u8>, [u8];
    [const N: usize] [u8; N] => Bytes, [u8];
}

impl<K: Clone, Q: ?Sized> AsKey<K> for &Q
where
    Lent<K, Q>: Lends<Key = K, Borrowed = Q>,
{
    #[inline]
    fn as_key(&self) -> Cow<'_, K> {
        <Lent<K, Q>>::key(self)
    }

    #[inline]
    fn encode_as_key(&self, out: &mut Vec<u8>) {
        <Lent<K, Q>>::encode(self, out);
    }
}

impl<K: Clone, Q: ?Sized, const N: usize> AsKey<[K; N]> for [&Q; N]
where
    Lent<K, Q>: Lends<Key = K, Borrowed = Q>,
{
    #[inline]
    fn as_key(&self) -> Cow<'_, [K; N]> {
        Cow::Owned(self.map(|borrowed| <Lent<K, Q>>::key(borrowed).into_owned()))
    }

    #[inline]
    fn encode_as_key(&self, out: &mut Vec<u8>) {
        for borrowed in self {
            <Lent<K, Q>>::encode(borrowed, out);
        }
    }
}

/// Tuples with references: each field is one or is not, and at least one is. Tuples without are keys themselves.
macro_rules! tuples {
    // Another field: one that is a reference, and one that is not.
    ([$($done:tt)*] $has:ident ($key:ident $part:ident $index:tt) $($rest:tt)*) => {
        tuples!([$($done)* (ref $key $part $index)] some $($rest)*);
        tuples!([$($done)* (own $key $part $index)] $has $($rest)*);
    };
    ([$($done:tt)*] none) => {};
    ([$(($kind:ident $key:ident $part:ident $index:tt))+] some) => {
        tuples!(@impl [$(($kind $key $part $index))+] [] [] [] [$(($kind $key $part))+]);
    };
    // Type parameters, the type itself, and the bounds, from one field after the other.
    (@impl $all:tt [$($generics:tt)*] [$($whole:tt)*] [$($bounds:tt)*] [(ref $key:ident $part:ident) $($rest:tt)*]) => {
        tuples!(
            @impl $all [$($generics)* $part: ?Sized,] [$($whole)* &$part,]
            [$($bounds)* Lent<$key, $part>: Lends<Key = $key, Borrowed = $part>,] [$($rest)*]
        );
    };
    (@impl $all:tt [$($generics:tt)*] [$($whole:tt)*] [$($bounds:tt)*] [(own $key:ident $part:ident) $($rest:tt)*]) => {
        tuples!(@impl $all [$($generics)*] [$($whole)* $key,] [$($bounds)* $key: KeyCodec,] [$($rest)*]);
    };
    (
        @impl [$(($kind:ident $key:ident $part:ident $index:tt))+]
        [$($generics:tt)*] [$($whole:tt)*] [$($bounds:tt)*] []
    ) => {
        #[doc(hidden)]
        impl<$($key: Clone,)+ $($generics)*> AsKey<($($key,)+)> for ($($whole)*)
        where
            $($bounds)*
        {
            #[inline]
            fn as_key(&self) -> Cow<'_, ($($key,)+)> {
                Cow::Owned(($(tuples!(@key $kind $key $part &self.$index),)+))
            }

            #[inline]
            fn encode_as_key(&self, out: &mut Vec<u8>) {
                $(tuples!(@encode $kind $key $part &self.$index, out);)+
            }
        }
    };
    (@key ref $key:ident $part:ident $field:expr) => { <Lent<$key, $part>>::key($field).into_owned() };
    (@key own $key:ident $part:ident $field:expr) => { $key::clone($field) };
    (@encode ref $key:ident $part:ident $field:expr, $out:ident) => { <Lent<$key, $part>>::encode($field, $out) };
    (@encode own $key:ident $part:ident $field:expr, $out:ident) => { $key::encode_key($field, $out) };
}

tuples!([] none (A P 0));
tuples!([] none (A P 0) (B Q 1));
tuples!([] none (A P 0) (B Q 1) (C R 2));
tuples!([] none (A P 0) (B Q 1) (C R 2) (D S 3));
tuples!([] none (A P 0) (B Q 1) (C R 2) (D S 3) (E T 4));
tuples!([] none (A P 0) (B Q 1) (C R 2) (D S 3) (E T 4) (F U 5));
