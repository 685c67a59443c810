//! Frames: a format byte, fields, and a checksum over all of it.

use crate::varint::{read_slice, read_varint, write_slice, write_varint};
use crate::{Error, Result};

/// Writes a frame, field by field.
pub(super) struct FrameWriter(pub(super) Vec<u8>);

impl FrameWriter {
    pub(super) fn new(format: u8) -> Self {
        Self(vec![format])
    }

    pub(super) fn number(&mut self, number: u64) {
        write_varint(&mut self.0, number);
    }

    pub(super) fn string(&mut self, string: &str) {
        write_slice(&mut self.0, string.as_bytes());
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
        read_varint(&mut self.rest).ok_or_else(|| self.damaged("a number is cut off or too long"))
    }

    pub(super) fn number_as<N: TryFrom<u64>>(&mut self) -> Result<N> {
        let number = self.number()?;
        N::try_from(number).map_err(|_| self.damaged("a number is too large"))
    }

    pub(super) fn string(&mut self) -> Result<&'a str> {
        let string = read_slice(&mut self.rest).ok_or_else(|| self.damaged("a string is cut off"))?;
        std::str::from_utf8(string).map_err(|_| self.damaged("a string is not UTF-8"))
    }

    pub(super) fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged("bytes are left over")) }
    }
}
