//! Our own encoding of keys, where a topic says so.

use crate::codec::shape::Trust;
use crate::codec::{CodecError, Key, Shape, ValueCodec};

/// The encoding of keys that tables have, [`KeyCodec`](crate::codec::KeyCodec): that of the keys of a topic unless
/// [another](crate::Topic::keys) is chosen.
///
/// For unsigned integers, bytes of fixed size and `bool` it is what others write as well: a `u64` lies as Java's
/// `LongSerializer` writes the same number, a `bool` as its `BooleanSerializer`. Signed integers and texts are other bytes, as
/// they are in order: see [`BigEndian`](super::BigEndian) and [`Utf8`](super::Utf8).
///
/// # Examples
/// ```
/// use millpond::codec::{Ordered, ValueCodec};
///
/// let mut bytes = Vec::new();
/// Ordered.encode(&(7_u16, true), &mut bytes)?;
/// assert_eq!(bytes, [0, 7, 1]);
/// assert_eq!(Ordered.decode(&bytes), Ok((7_u16, true)));
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ordered;

impl Ordered {
    pub(crate) const ID: &'static str = "millpond";
}

impl<K: Key> ValueCodec<K> for Ordered {
    fn id(&self) -> &'static str {
        Self::ID
    }

    #[inline]
    fn encode(&self, key: &K, out: &mut Vec<u8>) -> Result<(), CodecError> {
        key.encode_key(out);
        Ok(())
    }

    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<K, CodecError> {
        K::decode_whole_key(bytes)
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        Ok(Shape::of_layout(&K::key_shape(), Trust::Proven))
    }
}
