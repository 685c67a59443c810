//! The default codec of values: the compact binary layout of the crate `bincode` 2.
//!
//! The layout is that of `bincode` 2.0.1 with `config::standard()`, byte for byte, and tests compare the two.
//! It is written here because a table must be able to read whatever it stored and survive whatever it reads:
//! the limit of `bincode` is a constant that counts claims and not the input, it has none for nesting or for
//! elements without bytes, and its encoder writes values that its decoder refuses.
//!
//! Invariant: `encode` refuses every value that `decode` would refuse because of a limit.

mod decode;
mod encode;
mod input;
mod output;

#[cfg(test)]
mod tests;

use super::examine::{Examined, Refusal, examine};
use super::{CodecError, Growth, Shape, ValueCodec, footprint};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;

/// How deep a value may be nested. It bounds the stack: 8 KiB for each level on a thread that has 2 MiB.
const DEPTH_LIMIT: u16 = 256;

/// How many elements of sequences and maps may take no bytes, in one value. The others are bounded by the
/// length of the input.
const EMPTY_ELEMENTS_LIMIT: usize = 1 << 20;

// The first byte of an integer that does not fit into one, and the greatest that does.
const ONE_BYTE_MAX: u8 = 250;
const TWO_BYTES: u8 = 251;
const FOUR_BYTES: u8 = 252;
const EIGHT_BYTES: u8 = 253;
const SIXTEEN_BYTES: u8 = 254;

/// Stores a value in the layout of `bincode` 2, through serde: the default.
///
/// Integers take as few bytes as they need, lengths come before contents, a variant is its index, and there
/// are no names. The layout does not describe itself: to read a value, the type must have the fields and
/// variants it was written with, in the same order. A change of the type needs a new version of the table.
///
/// # Limits
/// - Any size. `decode` reserves memory in proportion to the bytes it is given, whatever lengths they claim.
/// - At most 256 levels of nesting: each option, variant, struct, tuple, newtype, sequence and map is one.
/// - At most 1,048,576 elements that take no bytes, such as those of a `Vec<()>`.
/// - No `#[serde(flatten)]`, no enum that is untagged or tagged inside, no `serde_json::Value` and no other type that must
///   look at the data to know what it is; no field skipped on a condition, no `#[serde(skip)]` on a variant with others
///   behind it. A graph or a producer that declares such a type is refused. Use [`Json`](super::Json) for these.
///
/// Beyond them `encode` refuses the value and leaves the output as it was.
///
/// # Examples
/// ```
/// use millpond_engine::codec::{Bincode, ValueCodec};
///
/// let mut stored = Vec::new();
/// Bincode.encode(&(300_u64, "LHR".to_owned()), &mut stored)?;
/// assert_eq!(stored, [251, 44, 1, 3, b'L', b'H', b'R']);
/// let value: (u64, String) = Bincode.decode(&stored)?;
/// assert_eq!(value.0, 300);
///
/// // A length that the input cannot hold is refused before anything is reserved.
/// let bomb = [253, 0, 0, 0, 0, 0, 0, 0, 16];
/// let refused: Result<Vec<u64>, _> = Bincode.decode(&bomb);
/// assert!(refused.is_err());
/// # Ok::<(), millpond_engine::codec::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bincode;

impl<V: Serialize + DeserializeOwned> ValueCodec<V> for Bincode {
    fn id(&self) -> &'static str {
        "bincode-2"
    }

    #[inline]
    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = out.len();
        match encode::encode(value, out) {
            Ok(()) => Ok(()),
            Err(failure) => {
                out.truncate(start);
                Err(CodecError::new(format!("the value does not encode: {failure}")))
            }
        }
    }

    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        match decode::decode(bytes) {
            Ok(value) => Ok(value),
            Err(failure) => Err(CodecError::new(format!("the value does not decode: {failure}"))),
        }
    }

    fn owned_bytes(&self, value: &V) -> Option<usize> {
        footprint::of(value)
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        let encode = |value: &V, out: &mut Vec<u8>| {
            encode::encode(value, out)
                .map_err(|failure| Refusal { message: failure.to_string(), of_type: !failure.by_type_itself })
        };
        examine(
            self,
            &Examined {
                encode: &encode,
                human_readable: false,
                growth: Growth::Variants,
                advice: "keep it in `Json` (`Topic::with_codec`, `StoreOptions::with_codec`)",
            },
        )
    }
}

/// What serde reports errors with. It is not [`CodecError`], which would then have serde's traits for ever.
#[derive(Debug)]
struct Failure {
    message: Box<str>,
    /// Whether the type itself says so, and not the layout.
    by_type_itself: bool,
}

impl Failure {
    #[cold]
    fn new(message: impl Into<Box<str>>) -> Self {
        Self { message: message.into(), by_type_itself: false }
    }

    #[cold]
    fn too_deep() -> Self {
        Self::new(format!("it is nested deeper than {DEPTH_LIMIT} levels"))
    }

    #[cold]
    fn too_many_empty() -> Self {
        Self::new(format!("more than {EMPTY_ELEMENTS_LIMIT} of its elements take no bytes"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl serde::ser::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string().into(), by_type_itself: true }
    }
}

impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string().into(), by_type_itself: true }
    }
}
