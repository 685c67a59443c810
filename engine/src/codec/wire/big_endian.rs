//! Numbers as Java's serializers of them write them: big-endian, of exactly their size.
//!
//! Unsigned integers are numbers here and not bits: Java has none, and would read a `u64` with its highest bit set as a
//! negative number. So that both sides always mean the same number, such a value is refused, and so are negative bytes.

use crate::codec::shape::Trust;
use crate::codec::{CodecError, Shape, ValueCodec};

/// Numbers big-endian, as Java's `ShortSerializer`, `IntegerSerializer`, `LongSerializer`, `FloatSerializer` and
/// `DoubleSerializer` write them.
///
/// | type | bytes | in Java |
/// |---|---|---|
/// | `i16`, `i32`, `i64` | 2, 4, 8, two's complement | `Short`, `Integer`, `Long` |
/// | `u16`, `u32`, `u64` | the same, below 2^15, 2^31, 2^63: anything else is refused, on either way | the same number |
/// | `f32`, `f64` (not as keys) | 4, 8, IEEE 754 | `Float`, `Double` |
///
/// Bytes of another length are refused: they were written for another type.
///
/// # Examples
/// ```
/// use millpond::codec::{BigEndian, ValueCodec};
///
/// let mut bytes = Vec::new();
/// BigEndian.encode(&-2_i32, &mut bytes)?;
/// assert_eq!(bytes, [0xff, 0xff, 0xff, 0xfe]);
/// assert_eq!(BigEndian.decode(&bytes), Ok(-2_i32));
/// let refused: Result<u32, _> = BigEndian.decode(&bytes);
/// assert_eq!(refused.unwrap_err().to_string(), "-2 is negative, and a u32 is not");
/// let refused: Result<i64, _> = BigEndian.decode(&bytes);
/// assert_eq!(refused.unwrap_err().to_string(), "4 bytes are no i64, which has 8");
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
#[doc(alias = "LongSerializer")]
#[doc(alias = "IntegerSerializer")]
#[doc(alias = "ShortSerializer")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BigEndian;

const ID: &str = "big-endian";

fn whole<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N], CodecError> {
    let found = bytes.len();
    bytes.try_into().map_err(|_| CodecError::new(format!("{found} bytes are no {what}, which has {N}")))
}

macro_rules! as_they_are {
    ($($number:ident)*) => {$(
        impl ValueCodec<$number> for BigEndian {
            fn id(&self) -> &'static str {
                ID
            }

            #[inline]
            fn encode(&self, value: &$number, out: &mut Vec<u8>) -> Result<(), CodecError> {
                out.extend_from_slice(&value.to_be_bytes());
                Ok(())
            }

            #[inline]
            fn decode(&self, bytes: &[u8]) -> Result<$number, CodecError> {
                whole(bytes, stringify!($number)).map($number::from_be_bytes)
            }

            fn shape(&self) -> Result<Shape, CodecError> {
                Ok(Shape::of_layout(stringify!($number), Trust::Proven))
            }
        }
    )*};
}

macro_rules! as_signed {
    ($($number:ident $signed:ident)*) => {$(
        impl ValueCodec<$number> for BigEndian {
            fn id(&self) -> &'static str {
                ID
            }

            #[inline]
            fn encode(&self, value: &$number, out: &mut Vec<u8>) -> Result<(), CodecError> {
                let signed = $signed::try_from(*value).map_err(|_| {
                    CodecError::new(format!("{value} is more than {}, the greatest {}", $signed::MAX, stringify!($signed)))
                })?;
                out.extend_from_slice(&signed.to_be_bytes());
                Ok(())
            }

            #[inline]
            fn decode(&self, bytes: &[u8]) -> Result<$number, CodecError> {
                let signed = whole(bytes, stringify!($number)).map($signed::from_be_bytes)?;
                $number::try_from(signed).map_err(|_| {
                    CodecError::new(format!("{signed} is negative, and a {} is not", stringify!($number)))
                })
            }

            fn shape(&self) -> Result<Shape, CodecError> {
                Ok(Shape::of_layout(stringify!($number), Trust::Proven).refusing(true))
            }
        }
    )*};
}

as_they_are!(i16 i32 i64 f32 f64);
as_signed!(u16 i16 u32 i32 u64 i64);
