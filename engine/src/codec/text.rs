//! Keys of variable length: strings and byte strings.
//!
//! The bytes follow each other as they are, except that a zero byte becomes `00 FF`, and end with `00 00`. A
//! string that is a proper prefix of another therefore meets the terminator where the other has a greater
//! byte, so it sorts first, and no encoding is a prefix of another whatever zeros the strings contain.

use super::{CodecError, KeyCodec};
use bytes::Bytes;
use std::sync::Arc;

const TERMINATOR: [u8; 2] = [0x00, 0x00];
const ESCAPED_ZERO: [u8; 2] = [0x00, 0xFF];

/// Appends `bytes` with zeros escaped and without a terminator: the beginning of every encoding of a string
/// that begins with `bytes`, and of no other.
#[inline]
pub(crate) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.contains(&0) { escape_zeros(bytes, out) } else { out.extend_from_slice(bytes) }
}

#[cold]
fn escape_zeros(bytes: &[u8], out: &mut Vec<u8>) {
    for (index, piece) in bytes.split(|&byte| byte == 0).enumerate() {
        if index > 0 {
            out.extend_from_slice(&ESCAPED_ZERO);
        }
        out.extend_from_slice(piece);
    }
}

#[inline]
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + TERMINATOR.len());
    escape(bytes, out);
    out.extend_from_slice(&TERMINATOR);
}

/// Decodes one byte string, allocating exactly its length.
#[inline]
fn decode(input: &mut &[u8]) -> Result<Vec<u8>, CodecError> {
    let (piece, mark, rest) = split_at_zero(input)?;
    if mark == TERMINATOR {
        *input = rest;
        return Ok(piece.to_vec());
    }
    decode_zeros(input)
}

#[cold]
fn decode_zeros(input: &mut &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(decoded_len(input)?);
    loop {
        let (piece, mark, rest) = split_at_zero(input)?;
        *input = rest;
        bytes.extend_from_slice(piece);
        if mark == TERMINATOR {
            return Ok(bytes);
        }
        bytes.push(0);
    }
}

/// The length of the byte string at the front of `input`; an error if it does not end.
fn decoded_len(mut input: &[u8]) -> Result<usize, CodecError> {
    let mut len = 0;
    loop {
        let (piece, mark, rest) = split_at_zero(input)?;
        input = rest;
        len += piece.len();
        if mark == TERMINATOR {
            return Ok(len);
        }
        len += 1;
    }
}

/// The bytes before the first zero, the mark that begins with it, and what follows the mark.
type Split<'i> = (&'i [u8], [u8; 2], &'i [u8]);

#[inline]
fn split_at_zero(input: &[u8]) -> Result<Split<'_>, CodecError> {
    let zero = input.iter().position(|&byte| byte == 0).unwrap_or(input.len());
    let Some((piece, marked)) = input.split_at_checked(zero) else { return Err(unterminated()) };
    match marked.split_first_chunk::<2>() {
        Some((&mark, rest)) if mark == TERMINATOR || mark == ESCAPED_ZERO => Ok((piece, mark, rest)),
        Some((mark, _)) => Err(bad_mark(*mark)),
        None => Err(unterminated()),
    }
}

#[cold]
fn unterminated() -> CodecError {
    CodecError::new("a string or byte string in the key has no end")
}

#[cold]
fn bad_mark([_, second]: [u8; 2]) -> CodecError {
    CodecError::new(format!("{second:#04x} follows a zero in the key, which neither escapes nor ends"))
}

#[cold]
fn not_utf8() -> CodecError {
    CodecError::new("a string in the key is not UTF-8")
}

macro_rules! byte_strings {
    ($($bytes:ty)*) => {$(
        impl KeyCodec for $bytes {
            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                encode(self, out);
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                decode(input).map(Self::from)
            }

            fn key_schema() -> String {
                "bytes".to_owned()
            }
        }
    )*};
}

macro_rules! strings {
    ($($string:ty)*) => {$(
        impl KeyCodec for $string {
            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                encode(self.as_bytes(), out);
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                let bytes = decode(input)?;
                String::from_utf8(bytes).map(Self::from).map_err(|_| not_utf8())
            }

            fn key_schema() -> String {
                "string".to_owned()
            }
        }
    )*};
}

byte_strings!(Vec<u8> Bytes);
strings!(String Box<str> Arc<str>);
