//! The primitives of the layout, read from bytes that may be anything.

use super::{EIGHT_BYTES, FOUR_BYTES, Failure, ONE_BYTE_MAX, SIXTEEN_BYTES, TWO_BYTES};

#[cold]
fn too_short(wanted: u64, left: usize) -> Failure {
    Failure::new(format!("{wanted} more bytes or elements are due, but only {left} bytes are left"))
}

#[cold]
pub(super) fn bad_integer(tag: u8) -> Failure {
    Failure::new(format!("{tag:#04x} does not begin an integer of this size"))
}

#[cold]
fn not_utf8() -> Failure {
    Failure::new("a string is not UTF-8")
}

pub(super) struct Input<'de> {
    pub(super) bytes: &'de [u8],
    pub(super) empty_elements_left: usize,
}

impl<'de> Input<'de> {
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        match self.bytes.split_first_chunk::<N>() {
            Some((chunk, rest)) => {
                self.bytes = rest;
                Ok(*chunk)
            }
            None => Err(too_short(N as u64, self.bytes.len())),
        }
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Failure> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn slice(&mut self, len: u64) -> Result<&'de [u8], Failure> {
        match usize::try_from(len).ok().and_then(|len| self.bytes.split_at_checked(len)) {
            Some((slice, rest)) => {
                self.bytes = rest;
                Ok(slice)
            }
            None => Err(too_short(len, self.bytes.len())),
        }
    }

    /// An integer whose tag is at most `widest`.
    #[inline]
    pub(super) fn unsigned(&mut self, widest: u8) -> Result<u64, Failure> {
        match self.byte()? {
            byte @ ..=ONE_BYTE_MAX => Ok(byte.into()),
            tag if tag > widest => Err(bad_integer(tag)),
            TWO_BYTES => self.array().map(|bytes| u16::from_le_bytes(bytes).into()),
            FOUR_BYTES => self.array().map(|bytes| u32::from_le_bytes(bytes).into()),
            EIGHT_BYTES => self.array().map(u64::from_le_bytes),
            tag => Err(bad_integer(tag)),
        }
    }

    #[inline]
    pub(super) fn signed(&mut self, widest: u8) -> Result<i64, Failure> {
        let zigzag = self.unsigned(widest)?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    #[inline]
    pub(super) fn unsigned_128(&mut self) -> Result<u128, Failure> {
        match self.bytes.split_first() {
            Some((&SIXTEEN_BYTES, rest)) => {
                self.bytes = rest;
                self.array().map(u128::from_le_bytes)
            }
            _ => self.unsigned(EIGHT_BYTES).map(u128::from),
        }
    }

    #[inline]
    pub(super) fn len(&mut self) -> Result<u64, Failure> {
        self.unsigned(EIGHT_BYTES)
    }

    #[inline]
    pub(super) fn string(&mut self) -> Result<&'de str, Failure> {
        let len = self.len()?;
        std::str::from_utf8(self.slice(len)?).map_err(|_| not_utf8())
    }

    pub(super) fn char(&mut self) -> Result<char, Failure> {
        let first = self.bytes.first().copied().unwrap_or_default();
        let width = match first {
            0x00..=0x7F => 1,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => return Err(not_utf8()),
        };
        let text = std::str::from_utf8(self.slice(width)?).map_err(|_| not_utf8())?;
        text.chars().next().ok_or_else(not_utf8)
    }

    /// Reads how many elements follow; refuses at once what can never be there.
    #[inline]
    pub(super) fn elements(&mut self) -> Result<usize, Failure> {
        let len = self.len()?;
        match usize::try_from(len) {
            Ok(elements) if elements.saturating_sub(self.bytes.len()) <= self.empty_elements_left => {
                Ok(elements)
            }
            _ => Err(too_short(len, self.bytes.len())),
        }
    }

    /// Notes that an element ended that began with `before` bytes left.
    #[inline]
    pub(super) fn element_ended(&mut self, before: usize) -> Result<(), Failure> {
        if self.bytes.len() == before {
            self.empty_elements_left =
                self.empty_elements_left.checked_sub(1).ok_or_else(Failure::too_many_empty)?;
        }
        Ok(())
    }
}
