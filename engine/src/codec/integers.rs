//! Keys of fixed size: integers, `bool` and `char`.
//!
//! Unsigned integers are big-endian; signed ones have their sign bit flipped first, so that the negative
//! ones come first. A `bool` is one byte, a `char` its code point as a `u32`. There is no `usize`: its size
//! differs between machines, and stored keys outlive the machine that wrote them. There are no floats: they
//! are not `Ord`.

use super::{CodecError, KeyCodec};

/// Splits `N` bytes off the front of `input`.
#[inline]
pub(crate) fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], CodecError> {
    match input.split_first_chunk::<N>() {
        Some((chunk, rest)) => {
            *input = rest;
            Ok(*chunk)
        }
        None => Err(too_short(N, input.len())),
    }
}

#[cold]
fn too_short(wanted: usize, left: usize) -> CodecError {
    CodecError::new(format!("the key needs {wanted} more bytes, but {left} are left"))
}

#[cold]
pub(crate) fn unknown_tag(what: &str, tag: u8) -> CodecError {
    CodecError::new(format!("{tag:#04x} is not the first byte of {what}"))
}

macro_rules! unsigned {
    ($($integer:ident)*) => {$(
        impl KeyCodec for $integer {
            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                take(input).map(Self::from_be_bytes)
            }

            fn key_schema() -> String {
                stringify!($integer).to_owned()
            }
        }
    )*};
}

macro_rules! signed {
    ($($integer:ident)*) => {$(
        impl KeyCodec for $integer {
            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&(*self ^ Self::MIN).to_be_bytes());
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                take(input).map(|bytes| Self::from_be_bytes(bytes) ^ Self::MIN)
            }

            fn key_schema() -> String {
                stringify!($integer).to_owned()
            }
        }
    )*};
}

unsigned!(u8 u16 u32 u64 u128);
signed!(i8 i16 i32 i64 i128);

impl KeyCodec for bool {
    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    #[inline]
    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        match take(input)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(unknown_tag("a bool", other)),
        }
    }

    fn key_schema() -> String {
        "bool".to_owned()
    }
}

impl KeyCodec for char {
    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        u32::from(*self).encode_key(out);
    }

    #[inline]
    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let code_point = u32::decode_key(input)?;
        Self::from_u32(code_point)
            .ok_or_else(|| CodecError::new(format!("{code_point:#x} is not the code point of a char")))
    }

    fn key_schema() -> String {
        "char".to_owned()
    }
}
