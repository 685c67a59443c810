//! UUIDs as text, as Java's `UUIDSerializer` writes them.

use crate::codec::shape::Trust;
use crate::codec::{CodecError, Shape, ValueCodec};
use uuid::Uuid;

/// A UUID as its 36 characters, as Java's `UUIDSerializer` writes it: `123e4567-e89b-12d3-a456-426614174000`.
///
/// Written in lower case; read in either, as Java does.
///
/// # Examples
/// ```
/// # #[cfg(feature = "uuid")] {
/// use millpond::Topic;
/// use millpond::codec::{UuidText, ValueCodec};
/// use uuid::Uuid;
///
/// let payments = Topic::<Uuid, u64>::new("payments").keys(UuidText);
/// let mut bytes = Vec::new();
/// payments.encode_key(&Uuid::from_u128(7), &mut bytes)?;
/// assert_eq!(bytes, b"00000000-0000-0000-0000-000000000007");
/// assert_eq!(UuidText.decode(&bytes)?, Uuid::from_u128(7));
/// # }
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
#[doc(alias = "UUIDSerializer")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UuidText;

impl ValueCodec<Uuid> for UuidText {
    fn id(&self) -> &'static str {
        "uuid-text"
    }

    #[inline]
    fn encode(&self, value: &Uuid, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let mut room = Uuid::encode_buffer();
        out.extend_from_slice(value.hyphenated().encode_lower(&mut room).as_bytes());
        Ok(())
    }

    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<Uuid, CodecError> {
        // The other forms of a UUID have other lengths.
        if bytes.len() != uuid::fmt::Hyphenated::LENGTH {
            let found = bytes.len();
            return Err(CodecError::new(format!("{found} bytes are no UUID as text, which has 36")));
        }
        Uuid::try_parse_ascii(bytes).map_err(|error| CodecError::new(format!("no UUID as text: {error}")))
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        Ok(Shape::of_layout("uuid", Trust::Proven))
    }
}
