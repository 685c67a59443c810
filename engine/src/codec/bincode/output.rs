//! The primitives of the layout, written.

use super::{EIGHT_BYTES, FOUR_BYTES, Failure, ONE_BYTE_MAX, SIXTEEN_BYTES, TWO_BYTES};

pub(super) struct Output<'o> {
    pub(super) out: &'o mut Vec<u8>,
    pub(super) empty_elements_left: usize,
}

impl Output<'_> {
    /// Writes the tag of an integer and its bytes at once.
    #[inline]
    fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) {
        self.out.reserve(N + 1);
        self.out.push(tag);
        self.out.extend_from_slice(&bytes);
    }

    #[inline]
    pub(super) fn unsigned(&mut self, integer: u64) {
        if let Ok(byte @ ..=ONE_BYTE_MAX) = u8::try_from(integer) {
            self.out.push(byte);
        } else if let Ok(short) = u16::try_from(integer) {
            self.tagged(TWO_BYTES, short.to_le_bytes());
        } else if let Ok(word) = u32::try_from(integer) {
            self.tagged(FOUR_BYTES, word.to_le_bytes());
        } else {
            self.tagged(EIGHT_BYTES, integer.to_le_bytes());
        }
    }

    /// Zigzag: small magnitudes of either sign become small.
    #[inline]
    pub(super) fn signed(&mut self, integer: i64) {
        self.unsigned(((integer << 1) ^ (integer >> 63)).cast_unsigned());
    }

    #[inline]
    pub(super) fn unsigned_128(&mut self, integer: u128) {
        match u64::try_from(integer) {
            Ok(small) => self.unsigned(small),
            Err(_) => self.tagged(SIXTEEN_BYTES, integer.to_le_bytes()),
        }
    }

    #[inline]
    pub(super) fn signed_128(&mut self, integer: i128) {
        self.unsigned_128(((integer << 1) ^ (integer >> 127)).cast_unsigned());
    }

    #[inline]
    pub(super) fn char(&mut self, char: char) {
        self.out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }

    #[inline]
    pub(super) fn len(&mut self, len: usize) -> Result<(), Failure> {
        self.unsigned(u64::try_from(len).map_err(|_| Failure::new("a length exceeds 64 bits"))?);
        Ok(())
    }

    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.len(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Notes that an element ended that began where `out` had the length `start`.
    #[inline]
    pub(super) fn element_ended(&mut self, start: usize) -> Result<(), Failure> {
        if self.out.len() == start {
            self.empty_elements_left =
                self.empty_elements_left.checked_sub(1).ok_or_else(Failure::too_many_empty)?;
        }
        Ok(())
    }
}
