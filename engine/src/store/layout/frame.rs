//! Frames: a format byte, fields, and a checksum over all of it.

use crate::{Error, Result};

/// Writes a frame, field by field.
pub(super) struct FrameWriter(pub(super) Vec<u8>);

impl FrameWriter {
    pub(super) fn new(format: u8) -> Self {
        Self(vec![format])
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            let [low, ..] = number.to_le_bytes();
            self.0.push(low | 0x80);
            number >>= 7;
        }
        let [low, ..] = number.to_le_bytes();
        self.0.push(low);
    }

    pub(super) fn string(&mut self, string: &str) {
        self.number(string.len() as u64);
        self.0.extend_from_slice(string.as_bytes());
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let checksum = crc32c::crc32c(&self.0);
        self.0.extend_from_slice(&checksum.to_be_bytes());
        self.0
    }
}

/// Reads the fields of a frame, in the order they were written in.
pub(super) struct FrameReader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> FrameReader<'a> {
    /// Checks the whole frame first, so that nothing is ever read out of damaged bytes.
    pub(super) fn open(what: &'static str, format: u8, stored: &'a [u8]) -> Result<Self> {
        Self::open_one_of(what, &[format], stored).map(|(_, frame)| frame)
    }

    /// As [`open`](Self::open), for a layout that has several formats: which one it is comes with the frame.
    pub(super) fn open_one_of(what: &'static str, formats: &[u8], stored: &'a [u8]) -> Result<(u8, Self)> {
        let frame = Self { what, rest: stored };
        let (body, checksum) = stored.split_last_chunk::<4>().ok_or_else(|| frame.damaged("too short"))?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) {
            return Err(frame.damaged("its checksum does not match"));
        }
        match body.split_first() {
            Some((&found, rest)) if formats.contains(&found) => Ok((found, Self { what, rest })),
            Some((&found, _)) => Err(Error::corrupt(format!(
                "{what} has format {found}, this version reads {formats:?}: use the version that wrote it, or \
                 delete the state directory to rebuild it from the changelog"
            ))),
            None => Err(frame.damaged("it is empty")),
        }
    }

    pub(super) fn damaged(&self, why: &str) -> Error {
        Error::corrupt(format!(
            "{} is damaged: {why}; delete the state directory to rebuild it from the changelog",
            self.what
        ))
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or_else(|| self.damaged("a number is cut off"))?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            // Only the shortest form is accepted: what is decoded encodes to the same bytes again.
            let too_long = (shift > 0 && byte == 0) || (bits << shift) >> shift != bits;
            if too_long {
                return Err(self.damaged("a number is too long"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.damaged("a number is too long"))
    }

    pub(super) fn number_as<N: TryFrom<u64>>(&mut self) -> Result<N> {
        let number = self.number()?;
        N::try_from(number).map_err(|_| self.damaged("a number is too large"))
    }

    pub(super) fn string(&mut self) -> Result<&'a str> {
        let length: usize = self.number_as()?;
        let (string, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.damaged("a string is cut off"))?;
        self.rest = rest;
        std::str::from_utf8(string).map_err(|_| self.damaged("a string is not UTF-8"))
    }

    pub(super) fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged("bytes are left over")) }
    }
}
