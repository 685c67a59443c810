//! Codecs that other systems have, too: as keys, values and headers look on the wire.
//!
//! Each is a [`ValueCodec`](super::ValueCodec), so that any of them serves for [keys](crate::Topic::keys),
//! [values](crate::Topic::with_codec) and [headers](crate::changelog::Header::typed), as do `Json` and `Raw`, which stand beside
//! them. None of them keeps an order: rows of tables have the key encoding of the type, whatever a topic has.
//!
//! Each takes the whole of its bytes or refuses them, never panics, and allocates no more than there is.

mod big_endian;
mod ordered;
#[cfg(test)]
mod tests;
mod utf8;
#[cfg(feature = "uuid")]
mod uuid_text;

pub use big_endian::BigEndian;
pub use ordered::Ordered;
pub use utf8::Utf8;
#[cfg(feature = "uuid")]
pub use uuid_text::UuidText;
