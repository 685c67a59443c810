//! The default codec of values: the compact binary layout of the crate `bincode` 2.
//!
//! The crate reads and writes, with `config::standard()`. A table must be able to read whatever it stored and survive
//! whatever it reads; what the crate lacks for that, a guard adds that goes along with the value through serde: bounds on
//! nesting and on elements without bytes, and that nothing is reserved beyond the length of the input. The limit that the
//! crate has is no such bound: it is a constant, and counts what is claimed.
//!
//! Invariant: `encode` refuses every value that `decode` would refuse because of a limit.

mod collection;
mod decode;
mod encode;
mod failure;
mod guard;
mod input;

#[cfg(test)]
mod tests;

use super::examine::{Examined, Refusal, examine};
use super::{CodecError, Growth, Shape, ValueCodec, footprint};
use failure::CodecFailure;
use serde::{Serialize, de::DeserializeOwned};

/// Stores a value in the layout of `bincode` 2, through serde: the default.
///
/// Integers take as few bytes as they need, lengths come before contents, a variant is its index, and there
/// are no names. The layout does not describe itself: to read a value, the type must have the fields and
/// variants it was written with, in the same order. A change of the type needs a new version of the table.
///
/// # Limits
/// - Any size. `decode` reserves memory in proportion to the bytes it is given, whatever lengths they claim.
/// - At most 256 levels of nesting: each option, variant, struct, tuple, newtype, sequence and map is one.
/// - A list is written element by element, a `Vec<u8>` byte by byte: for large ones take [`Raw`](super::Raw), or a type that
///   serializes as bytes.
/// - At most 1,048,576 elements that take no bytes, such as those of a `Vec<()>`.
/// - No `#[serde(flatten)]`, no enum that is untagged or tagged inside, no `serde_json::Value` and no other type that must
///   look at the data to know what it is; no field skipped on a condition, no `#[serde(skip)]` on a variant with others
///   behind it. A graph or a producer that declares such a type is refused. Use [`Json`](super::Json) for these.
///
/// Beyond them `encode` refuses the value and leaves the output as it was.
///
/// # Examples
/// ```
/// use millpond::codec::{Bincode, ValueCodec};
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
/// # Ok::<(), millpond::codec::CodecError>(())
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
                advice: "keep it in `Json` (`Topic::with_codec`, `TableOptions::with_codec`)",
            },
        )
    }
}
