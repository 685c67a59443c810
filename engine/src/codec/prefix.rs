//! Prefixes of keys, and where a prefix ends.

use super::AsKey;
use super::text::escape;
use bytes::Bytes;
use std::sync::Arc;

/// The beginning of keys of type `K`: what a prefix scan is given.
///
/// | key | prefixes |
/// |---|---|
/// | `String`, `Box<str>`, `Arc<str>` | `str`, `&str`, `String` |
/// | `Vec<u8>`, `Bytes` | `[u8]`, `&[u8]`, `[u8; N]`, `Vec<u8>`, `Bytes` |
/// | a tuple `(A, B, C)` | `(A,)`, `(A, B)`, `(A, B, C)`, each field what stands [for it](AsKey) |
/// | a struct with `#[derive(Key)]` or [`key_codec!`](crate::key_codec) | its first fields as a tuple, the same way |
///
/// # Contract
/// The bytes that `encode_prefix` appends are a prefix of the encoding of exactly those keys that begin with
/// `self`: a scan over that range of bytes meets all of them and nothing else.
///
/// # Examples
/// ```
/// use millpond::codec::{KeyCodec, KeyPrefix};
///
/// fn begins<K: KeyCodec, P: KeyPrefix<K> + ?Sized>(key: &K, prefix: &P) -> bool {
///     let (mut key_bytes, mut prefix_bytes) = (Vec::new(), Vec::new());
///     key.encode_key(&mut key_bytes);
///     prefix.encode_prefix(&mut prefix_bytes);
///     key_bytes.starts_with(&prefix_bytes)
/// }
///
/// // Within a string, any beginning of it.
/// assert!(begins(&String::from("LHR"), "LH"));
/// // Within a tuple, whole fields only: "LH" is another airport.
/// let key = (String::from("LHR"), 7_u32, false);
/// assert!(begins(&key, &("LHR",)));
/// assert!(begins(&key, &("LHR", 7)));
/// assert!(!begins(&key, &("LH",)));
/// ```
pub trait KeyPrefix<K> {
    /// Appends the bytes that the encodings of exactly those keys begin with that begin with `self`.
    fn encode_prefix(&self, out: &mut Vec<u8>);
}

macro_rules! text_prefixes {
    ($($key:ty),*: $prefixes:tt) => {
        $(text_prefixes!(@ $key, $prefixes);)*
    };
    (@ $key:ty, [$($prefix:ty),*]) => {
        $(impl KeyPrefix<$key> for $prefix {
            #[inline]
            fn encode_prefix(&self, out: &mut Vec<u8>) {
                escape(self.as_ref(), out);
            }
        })*
    };
}

text_prefixes!(String, Box<str>, Arc<str>: [str, &str, String]);
text_prefixes!(Vec<u8>, Bytes: [[u8], &[u8], Vec<u8>, Bytes]);

macro_rules! array_prefixes {
    ($($key:ty)*) => {$(
        impl<const N: usize> KeyPrefix<$key> for [u8; N] {
            #[inline]
            fn encode_prefix(&self, out: &mut Vec<u8>) {
                escape(self, out);
            }
        }
    )*};
}

array_prefixes!(Vec<u8> Bytes);

macro_rules! tuple_prefixes {
    ($($keys:tt: [$($parts:tt)+];)+) => {$(
        $(tuple_prefixes!(@ $keys $parts);)+
    )+};
    (@ ($($key:ident)+) ($($part:ident $field:ident $index:tt)+)) => {
        impl<$($key: Clone,)+ $($part: AsKey<$field>),+> KeyPrefix<($($key,)+)> for ($($part,)+) {
            #[inline]
            fn encode_prefix(&self, out: &mut Vec<u8>) {
                $(self.$index.encode_as_key(out);)+
            }
        }
    };
}

tuple_prefixes! {
    (A): [(P A 0)];
    (A B): [(P A 0) (P A 0 Q B 1)];
    (A B C): [(P A 0) (P A 0 Q B 1) (P A 0 Q B 1 R C 2)];
    (A B C D): [(P A 0) (P A 0 Q B 1) (P A 0 Q B 1 R C 2) (P A 0 Q B 1 R C 2 S D 3)];
    (A B C D E): [(P A 0) (P A 0 Q B 1) (P A 0 Q B 1 R C 2) (P A 0 Q B 1 R C 2 S D 3)
        (P A 0 Q B 1 R C 2 S D 3 T E 4)];
    (A B C D E F): [(P A 0) (P A 0 Q B 1) (P A 0 Q B 1 R C 2) (P A 0 Q B 1 R C 2 S D 3)
        (P A 0 Q B 1 R C 2 S D 3 T E 4) (P A 0 Q B 1 R C 2 S D 3 T E 4 U F 5)];
}

/// The least bytes that are greater than everything that begins with `prefix`: the exclusive end of a prefix
/// scan. `None` if there is no end, because the prefix is empty or made of `0xFF` only.
///
/// # Examples
/// ```
/// use millpond::codec::prefix_end;
///
/// assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
/// assert_eq!(prefix_end(&[1, 0xFF]), Some(vec![2]));
/// assert_eq!(prefix_end(&[0xFF]), None);
/// ```
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xFF)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}
