//! The codec that adds nothing: values that are bytes already.

use super::shape::Trust;
use super::{CodecError, Shape, ValueCodec};
use bytes::Bytes;

/// Stores a byte string or a string as its own bytes.
///
/// For `Vec<u8>` and [`Bytes`] every value and all bytes are valid; an array is decoded only from as many bytes as it has, a
/// `String` only from UTF-8.
///
/// # Examples
/// ```
/// use millpond::codec::{Raw, ValueCodec};
///
/// let mut stored = Vec::new();
/// Raw.encode(&String::from("pond"), &mut stored)?;
/// assert_eq!(stored, b"pond");
/// let value: String = Raw.decode(&stored)?;
/// assert_eq!(value, "pond");
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Raw;

const ID: &str = "raw";

impl ValueCodec<Vec<u8>> for Raw {
    fn id(&self) -> &'static str {
        ID
    }

    #[inline]
    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value);
        Ok(())
    }

    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
        Ok(bytes.to_vec())
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        Ok(Shape::of_any_bytes())
    }
}

impl ValueCodec<Bytes> for Raw {
    fn id(&self) -> &'static str {
        ID
    }

    #[inline]
    fn encode(&self, value: &Bytes, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value);
        Ok(())
    }

    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        Ok(Shape::of_any_bytes())
    }
}

/// Bytes of another length are refused.
impl<const N: usize> ValueCodec<[u8; N]> for Raw {
    fn id(&self) -> &'static str {
        ID
    }

    #[inline]
    fn encode(&self, value: &[u8; N], out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value);
        Ok(())
    }

    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<[u8; N], CodecError> {
        let found = bytes.len();
        bytes.try_into().map_err(|_| CodecError::new(format!("{found} bytes are no array of {N}")))
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        Ok(Shape::of_layout(&format!("{N} bytes"), Trust::Proven))
    }
}

impl ValueCodec<String> for Raw {
    fn id(&self) -> &'static str {
        ID
    }

    #[inline]
    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<String, CodecError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(CodecError::new(format!("the value is not a string: {error}"))),
        }
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        Ok(Shape::of_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_are_stored_as_they_are(value in any::<Vec<u8>>()) {
            let mut out = vec![1];
            Raw.encode(&value, &mut out).unwrap();
            Raw.encode(&Bytes::from(value.clone()), &mut out).unwrap();
            prop_assert_eq!(&out, &[&[1], &value[..], &value[..]].concat());
            prop_assert_eq!(Raw.decode(&value), Ok(value.clone()));
            prop_assert_eq!(Raw.decode(&value), Ok(Bytes::from(value)));
        }

        #[test]
        fn strings_are_stored_as_utf8(value in any::<String>()) {
            let mut out = Vec::new();
            Raw.encode(&value, &mut out).unwrap();
            prop_assert_eq!(&out, value.as_bytes());
            prop_assert_eq!(Raw.decode(&out), Ok(value));
        }
    }

    #[test]
    fn a_string_that_is_not_utf8_is_refused() {
        let decoded: Result<String, _> = Raw.decode(&[b'a', 0xFF]);
        assert!(decoded.unwrap_err().to_string().starts_with("the value is not a string"));
        assert_eq!(ValueCodec::<String>::id(&Raw), "raw");
    }
}
