//! The records of a batch, once they are decompressed: Kafka's format of version 2, lengths and differences as varints.
//!
//! Nothing is copied: a record is where its parts lie. Whatever the bytes are, reading them neither panics nor allocates.

use std::ops::Range;

/// A record, as where its parts lie in the body of its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawRecord {
    /// Behind the first offset of the batch.
    pub offset_delta: u32,
    /// After the first timestamp of the batch.
    pub timestamp_delta: i64,
    pub key: Option<Range<usize>>,
    pub value: Option<Range<usize>>,
    /// So many headers lie from `headers_start` on; see [`header`](Cursor::header).
    pub header_count: u32,
    pub headers_start: usize,
}

/// Bytes are shorter than they say.
struct CutOff;

/// A place in the body of a batch.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.body.len()
    }

    /// The record that begins here; `None` if none does. The cursor then stands anywhere.
    #[inline]
    pub(super) fn record(&mut self) -> Option<RawRecord> {
        let len = usize::try_from(self.varint()?).ok()?;
        let end = self.at.checked_add(len).filter(|&end| end <= self.body.len())?;
        self.take(1)?; // attributes, none of which is in use
        let timestamp_delta = self.varint()?;
        let offset_delta = u32::try_from(self.varint()?).ok()?;
        let key = self.bytes().ok()?;
        let value = self.bytes().ok()?;
        let header_count = u32::try_from(self.varint()?).ok()?;
        let headers_start = self.at;
        for _ in 0..header_count {
            self.header()?;
        }
        (self.at == end).then_some(RawRecord {
            offset_delta,
            timestamp_delta,
            key,
            value,
            header_count,
            headers_start,
        })
    }

    /// The header that begins here: its name and its value.
    pub(super) fn header(&mut self) -> Option<(Range<usize>, Option<Range<usize>>)> {
        Some((self.bytes().ok()??, self.bytes().ok()?))
    }

    /// The same place in the body at another offset, for the headers of a record.
    pub(super) fn at(&self, offset: usize) -> Self {
        Self { body: self.body, at: offset }
    }

    /// Bytes behind their length; those of the length -1 are null.
    #[inline]
    fn bytes(&mut self) -> Result<Option<Range<usize>>, CutOff> {
        match self.varint().ok_or(CutOff)? {
            -1 => Ok(None),
            len => usize::try_from(len).ok().and_then(|len| self.take(len)).ok_or(CutOff).map(Some),
        }
    }

    #[inline]
    fn take(&mut self, len: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.body.len())?;
        Some(std::mem::replace(&mut self.at, end)..end)
    }

    /// A number of up to 64 bits in zigzag, seven bits to a byte.
    #[inline]
    fn varint(&mut self) -> Option<i64> {
        let &first = self.body.get(self.at)?;
        self.at += 1;
        let raw = if first < 0x80 { u64::from(first) } else { self.long_varint(first)? };
        Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Out of the way of the numbers of one byte, which nearly all are.
    #[inline(never)]
    fn long_varint(&mut self, first: u8) -> Option<u64> {
        let mut raw = u64::from(first & 0x7F);
        let mut shift = 7;
        while shift < 64 {
            let &byte = self.body.get(self.at)?;
            self.at += 1;
            raw |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(raw);
            }
            shift += 7;
        }
        None
    }
}
