//! Decoded batches: the records of a batch, as whoever reads them walks through them.
//!
//! A log that stores records in our frames hands over their body; any other log says where in its bytes each record lies,
//! so that none is copied. Everything was checked when the batch was made, so that iterating over it cannot fail.

use super::frame::{self, Damage, FLAG_KEYLESS, FrameHeader};
use super::placed::{Placed, PlacedIter};
use super::record::{Record, RecordRef};
use crate::{Error, Result};
use bytes::Bytes;

/// The records of a batch, checked and decompressed: what a [`LogBatch`](super::LogBatch) decodes to.
///
/// # Examples
/// ```
/// use millpond::changelog::Record;
/// use millpond::changelog::backend::DecodedBatch;
///
/// let batch = DecodedBatch::from_records(40, &[Record::new("a", "1").at(7), Record::tombstone("b")])?;
/// let records: Vec<_> = batch.iter().map(|record| (record.offset, record.key, record.timestamp_ms)).collect();
/// assert_eq!(records, [(40, Some(b"a".as_slice()), 7), (41, Some(b"b".as_slice()), 0)]);
/// assert_eq!(batch.iter_from(41).next().and_then(|record| record.value), None);
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DecodedBatch(Form);

#[derive(Debug, Clone)]
enum Form {
    Framed(Framed),
    Placed(Placed),
}

/// Records as they lie in the body of a frame: one behind the other, and offsets without gaps.
#[derive(Debug, Clone)]
struct Framed {
    base_offset: u64,
    /// That of the first record.
    base_timestamp_ms: i64,
    /// Never 0.
    records: u32,
    /// Whether some have no key.
    keyless: bool,
    body: Bytes,
    /// Where in the body every so many records begin, without the first.
    starts: Vec<u32>,
}

/// How many records there are from one of the starts that a batch remembers to the next.
const RECORDS_PER_START: u32 = 64;

impl DecodedBatch {
    /// The batch of `records`, of which the first has the offset `base_offset` and each other one that after the one before:
    /// for a changelog that stores records in a form of its own. Where their bytes are there already, or offsets have gaps,
    /// see [`PlacedRecords`](super::PlacedRecords).
    ///
    /// # Errors
    /// `Invalid` if there is no record, a record is too large, or the records together reach 4 GiB.
    pub fn from_records(base_offset: u64, records: &[Record]) -> Result<Self> {
        let base_timestamp_ms = records.first().map_or(0, |first| first.timestamp_ms);
        let keyless = records.iter().any(|record| record.key.is_none());
        let mut body = Vec::with_capacity(records.iter().map(frame::record_len_bound).sum());
        let mut starts = Vec::with_capacity(records.len() / RECORDS_PER_START as usize);
        for (number, record) in records.iter().enumerate() {
            record.check()?;
            let start =
                u32::try_from(body.len()).map_err(|_| Error::invalid("records of 4 GiB are no batch"))?;
            if number > 0 && number % RECORDS_PER_START as usize == 0 {
                starts.push(start);
            }
            let delta = record.timestamp_ms.wrapping_sub(base_timestamp_ms);
            frame::write_record(&mut body, delta, record, keyless);
        }
        match u32::try_from(records.len()) {
            Ok(records) if records > 0 => Ok(Self(Form::Framed(Framed {
                base_offset,
                base_timestamp_ms,
                records,
                keyless,
                body: body.into(),
                starts,
            }))),
            _ => Err(Error::invalid(format!("{} records do not make a batch", records.len()))),
        }
    }

    pub(super) fn placed(records: Placed) -> Self {
        Self(Form::Placed(records))
    }

    /// Parses every record of the body of a stored batch once, so that nobody has to do it with care again.
    pub(super) fn checked(header: &FrameHeader, body: Bytes) -> Result<Self, Damage> {
        const BROKEN: Damage = "a record of the batch does not parse";
        let FrameHeader { base_offset, base_timestamp_ms, records, .. } = *header;
        let keyless = header.flags & FLAG_KEYLESS != 0;
        let mut rest = &*body;
        let mut latest_ms = i64::MIN;
        let mut starts = Vec::with_capacity((records / RECORDS_PER_START) as usize);
        for record in 0..records {
            if record > 0 && record % RECORDS_PER_START == 0 {
                starts.push(u32::try_from(body.len() - rest.len()).map_err(|_| BROKEN)?);
            }
            let record = frame::read_record(&mut rest, keyless).ok_or(BROKEN)?;
            latest_ms = latest_ms.max(base_timestamp_ms.wrapping_add(record.timestamp_delta));
            let mut headers = record.headers;
            while !headers.is_empty() {
                frame::read_header(&mut headers).ok_or(BROKEN)?;
            }
        }
        if !rest.is_empty() {
            return Err("bytes are left over after the last record of the batch");
        }
        if latest_ms != header.max_timestamp_ms {
            return Err("the batch claims another greatest timestamp than its records have");
        }
        Ok(Self(Form::Framed(Framed { base_offset, base_timestamp_ms, records, keyless, body, starts })))
    }

    /// How many records it holds.
    #[must_use]
    pub fn records(&self) -> usize {
        match &self.0 {
            Form::Framed(framed) => framed.records as usize,
            Form::Placed(placed) => placed.len(),
        }
    }

    /// The records in offset order.
    #[must_use]
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter(match &self.0 {
            Form::Framed(framed) => Walk::Framed(framed.iter()),
            Form::Placed(placed) => Walk::Placed(placed.iter_from(0)),
        })
    }

    /// The records from `offset` on, in offset order. Where they begin is found without a look at all those before.
    #[must_use]
    pub fn iter_from(&self, offset: u64) -> RecordIter<'_> {
        RecordIter(match &self.0 {
            Form::Framed(framed) => Walk::Framed(framed.iter_from(offset)),
            Form::Placed(placed) => Walk::Placed(placed.iter_from(offset)),
        })
    }
}

impl Framed {
    fn iter(&self) -> FramedIter<'_> {
        FramedIter {
            rest: &self.body,
            offset: self.base_offset,
            end_offset: self.base_offset + u64::from(self.records),
            base_timestamp_ms: self.base_timestamp_ms,
            keyless: self.keyless,
        }
    }

    fn iter_from(&self, offset: u64) -> FramedIter<'_> {
        let mut records = self.iter();
        let before = offset.saturating_sub(self.base_offset).min(self.records.into());
        let known = usize::try_from(before / u64::from(RECORDS_PER_START)).unwrap_or(usize::MAX);
        let known = known.min(self.starts.len());
        if let Some(&start) = known.checked_sub(1).and_then(|last| self.starts.get(last)) {
            records.rest = self.body.get(start as usize..).unwrap_or_default();
            records.offset += known as u64 * u64::from(RECORDS_PER_START);
        }
        while records.offset < offset && records.next().is_some() {}
        records
    }
}

impl<'a> IntoIterator for &'a DecodedBatch {
    type Item = RecordRef<'a>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// The records of a [`DecodedBatch`] in offset order.
#[derive(Debug, Clone)]
pub struct RecordIter<'a>(Walk<'a>);

#[derive(Debug, Clone)]
enum Walk<'a> {
    Framed(FramedIter<'a>),
    Placed(PlacedIter<'a>),
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = RecordRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        match &mut self.0 {
            Walk::Framed(records) => records.next(),
            Walk::Placed(records) => records.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Walk::Framed(records) => records.size_hint(),
            Walk::Placed(records) => records.size_hint(),
        }
    }
}

impl ExactSizeIterator for RecordIter<'_> {}

#[derive(Debug, Clone)]
struct FramedIter<'a> {
    rest: &'a [u8],
    offset: u64,
    end_offset: u64,
    base_timestamp_ms: i64,
    keyless: bool,
}

impl<'a> Iterator for FramedIter<'a> {
    type Item = RecordRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        let raw = frame::read_record(&mut self.rest, self.keyless)?;
        let timestamp_ms = self.base_timestamp_ms.wrapping_add(raw.timestamp_delta);
        let record = RecordRef::new(self.offset, timestamp_ms, raw.key, raw.value);
        self.offset += 1;
        Some(record.with_stored_headers(raw.headers))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.end_offset - self.offset).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}
