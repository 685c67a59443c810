//! Records where they lie: for a log that has the bytes of its records already, in a form of its own, and whose offsets may
//! have gaps.

use super::decoded::DecodedBatch;
use super::frame::write_header;
use super::record::{MAX_HEADERS_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, RecordRef};
use crate::{Error, Result};
use bytes::Bytes;
use std::ops::Range;

/// Collects the places of records in `body`, in the order of their offsets, and makes a [`DecodedBatch`] of them. Nothing is
/// copied but headers.
///
/// # Examples
/// ```
/// use millpond::changelog::backend::PlacedRecords;
///
/// // A log of one's own that writes records as lines, of which the second was compacted away.
/// let mut records = PlacedRecords::new("alice=12;carol=7".into());
/// records.push(40, 1_000, Some(0..5), Some(6..8))?;
/// records.push(42, 1_001, Some(9..14), Some(15..16))?;
/// records.header("source", Some(b"till 3"))?;
/// let batch = records.finish();
///
/// let found: Vec<_> = batch.iter().map(|record| (record.offset, record.key, record.value)).collect();
/// assert_eq!(found[1], (42, Some(b"carol".as_slice()), Some(b"7".as_slice())));
/// assert_eq!(batch.iter_from(41).next().map(|record| record.headers().count()), Some(1));
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug)]
pub struct PlacedRecords(Placed);

impl PlacedRecords {
    /// Of records that lie in `body`.
    #[must_use]
    pub fn new(body: Bytes) -> Self {
        Self::with_capacity(body, 0)
    }

    /// Of about `records` records that lie in `body`.
    #[must_use]
    pub fn with_capacity(body: Bytes, records: usize) -> Self {
        Self(Placed {
            base_offset: 0,
            base_timestamp_ms: 0,
            body,
            slots: Vec::with_capacity(records),
            headers: Vec::new(),
        })
    }

    /// Adds the record whose key and value lie at these places of the body; a record may have no key, and a tombstone has no
    /// value.
    ///
    /// # Errors
    /// `Invalid` if the offset does not ascend, a place lies outside of the body, or a key or value is too large; nothing was
    /// added then.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "a range is made where it is handed over")]
    pub fn push(
        &mut self,
        offset: u64,
        timestamp_ms: i64,
        key: Option<Range<usize>>,
        value: Option<Range<usize>>,
    ) -> Result<()> {
        let placed = &mut self.0;
        if placed.slots.is_empty() {
            (placed.base_offset, placed.base_timestamp_ms) = (offset, timestamp_ms);
        }
        let after = placed.slots.last().map_or(0, |last| u64::from(last.offset_delta) + 1);
        let delta = offset.checked_sub(placed.base_offset).filter(|delta| *delta >= after);
        let offset_delta = delta.and_then(|delta| u32::try_from(delta).ok());
        let place = |place: Option<&Range<usize>>, most| Place::of(place, placed.body.len(), most);
        let parts = (place(key.as_ref(), MAX_KEY_BYTES), place(value.as_ref(), MAX_VALUE_BYTES));
        let (Some(offset_delta), (Some(key), Some(value))) = (offset_delta, parts) else {
            return Err(Error::invalid(format!(
                "the record at offset {offset} does not follow those of its batch, lies outside of its bytes, or is too large"
            )));
        };
        let timestamp_delta = timestamp_ms.wrapping_sub(placed.base_timestamp_ms);
        placed.slots.push(Slot {
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers_end: placed.headers_end()?,
        });
        Ok(())
    }

    /// Adds a header, which may have no value, to the record that was added last.
    ///
    /// # Errors
    /// `Invalid` if there is no record, or its headers are too large; nothing was added then.
    pub fn header(&mut self, name: &str, value: Option<&[u8]>) -> Result<()> {
        let placed = &mut self.0;
        let (before, start) = (placed.headers.len(), placed.last_headers_start());
        write_header(&mut placed.headers, name, value);
        match (placed.headers_end(), placed.slots.last_mut()) {
            (Ok(end), Some(last)) if placed.headers.len() - start <= MAX_HEADERS_BYTES => {
                last.headers_end = end;
                Ok(())
            }
            _ => {
                placed.headers.truncate(before);
                Err(Error::invalid(format!("a record's headers take at most {MAX_HEADERS_BYTES} bytes")))
            }
        }
    }

    /// The batch of these records, of which there may be none.
    #[must_use]
    pub fn finish(self) -> DecodedBatch {
        DecodedBatch::placed(self.0)
    }
}

/// Records that lie in a body.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    base_offset: u64,
    base_timestamp_ms: i64,
    body: Bytes,
    slots: Vec<Slot>,
    /// The headers of all records, as a frame stores them.
    headers: Vec<u8>,
}

/// Where a record lies.
#[derive(Debug, Clone, Copy)]
struct Slot {
    timestamp_delta: i64,
    offset_delta: u32,
    key: Place,
    value: Place,
    /// Where its headers end, which begin where those of the record before end.
    headers_end: u32,
}

/// Where bytes lie in a body, if they are there.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    /// [`Place::ABSENT`] if there are none.
    len: u32,
}

impl Place {
    const ABSENT: u32 = u32::MAX;

    /// The place, if it is within a body of so many bytes and not longer than `most`.
    #[inline]
    fn of(place: Option<&Range<usize>>, body_bytes: usize, most: usize) -> Option<Self> {
        let Some(&Range { start, end }) = place else { return Some(Self { start: 0, len: Self::ABSENT }) };
        let len = end.checked_sub(start).filter(|len| *len <= most && end <= body_bytes)?;
        Some(Self { start: u32::try_from(start).ok()?, len: u32::try_from(len).ok()? })
    }

    #[inline]
    fn bytes(self, body: &[u8]) -> Option<&[u8]> {
        if self.len == Self::ABSENT {
            return None;
        }
        let start = self.start as usize;
        body.get(start..start + self.len as usize)
    }
}

impl Placed {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    fn headers_end(&self) -> Result<u32> {
        u32::try_from(self.headers.len()).map_err(|_| Error::invalid("headers of 4 GiB are no batch"))
    }

    /// Where the headers of the last record begin.
    fn last_headers_start(&self) -> usize {
        let before_last = self.slots.len().checked_sub(2).and_then(|before| self.slots.get(before));
        before_last.map_or(0, |slot| slot.headers_end as usize)
    }

    pub(super) fn iter_from(&self, offset: u64) -> PlacedIter<'_> {
        let delta = offset.saturating_sub(self.base_offset);
        let first = self.slots.partition_point(|slot| u64::from(slot.offset_delta) < delta);
        let (before, slots) = self.slots.split_at(first);
        let headers_start = before.last().map_or(0, |slot| slot.headers_end);
        PlacedIter { batch: self, slots: slots.iter(), headers_start }
    }
}

#[derive(Debug, Clone)]
pub(super) struct PlacedIter<'a> {
    batch: &'a Placed,
    slots: std::slice::Iter<'a, Slot>,
    headers_start: u32,
}

impl<'a> Iterator for PlacedIter<'a> {
    type Item = RecordRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        let Slot { timestamp_delta, offset_delta, key, value, headers_end } = *self.slots.next()?;
        let Placed { base_offset, base_timestamp_ms, body, headers, .. } = self.batch;
        let timestamp_ms = base_timestamp_ms.wrapping_add(timestamp_delta);
        let offset = base_offset + u64::from(offset_delta);
        let record = RecordRef::new(offset, timestamp_ms, key.bytes(body), value.bytes(body));
        let own = self.headers_start as usize..headers_end as usize;
        self.headers_start = headers_end;
        Some(if own.is_empty() {
            record
        } else {
            record.with_stored_headers(headers.get(own).unwrap_or_default())
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.slots.size_hint()
    }
}
