//! The byte layout of a stored batch, and the only file that knows it.
//!
//! ```text
//! offset  size  field (integers little-endian)
//!      0     3  magic "MPB"
//!      3     1  format version: 1, or 2 with the fields below
//!      4     4  crc32c of every byte after this field
//!      8     4  flags: bit 0 = body compressed (lz4 block), bit 1 = there are records without a key
//!     12     4  records
//!     16     8  base offset: the offset of the first record
//!     24     8  base timestamp: that of the first record, ms
//!     32     8  greatest timestamp, ms
//!     40     4  length of the body before compression
//!     44     8  version 2: sequence number of the first record
//!     52     4  version 2: length of the runs
//!     56     -  version 2: runs
//!      -     -  body
//!
//! runs   = nothing if the records follow each other in the sequence of the log, else one for each stretch that does
//! run    = varint(records) varint(sequence number of its first record - that after the last one of the run before)
//!
//! record = varint(zigzag(timestamp - base timestamp))
//!          varint(key length) key; with bit 1 of the flags varint(key length + 1, or 0 for none) key
//!          varint(value length + 1, or 0 for a tombstone) value
//!          varint(length of the headers) headers
//! header = varint(name length) name (UTF-8)  varint(value length) value
//!          in place of the last two varint(2^20 + 1) if it has no value: no value is so long
//! ```
//!
//! Reading never panics, never trusts a length beyond the bytes that are there, and reports damage as a short
//! text; whoever knows the partition makes an error of it.

use super::record::{MAX_HEADERS_BYTES, Record};
use super::sequence::Run;
use super::{Header, Headers};
use crate::varint::{
    read_slice, read_varint, split, unzigzag, varint_len, write_slice, write_varint, zigzag,
};

/// The longest header. That of version 1 ends after [`SHORT_HEADER_BYTES`].
pub(super) const HEADER_BYTES: usize = 56;
pub(super) const SHORT_HEADER_BYTES: usize = 44;
/// What the checksum does not cover: magic, version and the checksum itself.
pub(super) const UNCHECKED_BYTES: usize = 8;
pub(super) const FLAG_LZ4: u32 = 1;
/// Set only where a record has no key, so that all other batches are as they always were.
pub(super) const FLAG_KEYLESS: u32 = 2;
const MAGIC: [u8; 3] = *b"MPB";
/// Without a place in a sequence: what 0.1 wrote, and what a log without one writes.
const VERSION_UNSEQUENCED: u8 = 1;
const VERSION_SEQUENCED: u8 = 2;

/// What is wrong with stored bytes.
pub(super) type Damage = &'static str;

/// The fixed part in front of every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) crc: u32,
    pub(super) flags: u32,
    pub(super) records: u32,
    pub(super) base_offset: u64,
    pub(super) base_timestamp_ms: i64,
    pub(super) max_timestamp_ms: i64,
    pub(super) body_bytes: u32,
    pub(super) sequenced: Option<Sequenced>,
}

/// Where the records of a batch stand in the sequence of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequenced {
    /// The sequence number of the first one.
    pub(super) first: u64,
    /// How many bytes of runs follow the header; none if there is one run only.
    pub(super) runs_bytes: u32,
}

impl FrameHeader {
    /// How many bytes the header takes.
    pub(super) fn len(&self) -> usize {
        if self.sequenced.is_some() { HEADER_BYTES } else { SHORT_HEADER_BYTES }
    }

    /// Where the body begins.
    pub(super) fn body_start(&self) -> usize {
        self.len() + self.sequenced.map_or(0, |sequenced| sequenced.runs_bytes as usize)
    }

    /// Appends the header.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let version = if self.sequenced.is_some() { VERSION_SEQUENCED } else { VERSION_UNSEQUENCED };
        out.extend_from_slice(&MAGIC);
        out.push(version);
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.records.to_le_bytes());
        out.extend_from_slice(&self.base_offset.to_le_bytes());
        out.extend_from_slice(&self.base_timestamp_ms.to_le_bytes());
        out.extend_from_slice(&self.max_timestamp_ms.to_le_bytes());
        out.extend_from_slice(&self.body_bytes.to_le_bytes());
        if let Some(Sequenced { first, runs_bytes }) = self.sequenced {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&runs_bytes.to_le_bytes());
        }
    }

    /// Puts the checksum into the frame that begins with this header.
    pub(super) fn put_crc(&self, frame: &mut [u8]) {
        if let Some(room) = frame.get_mut(UNCHECKED_BYTES - 4..UNCHECKED_BYTES) {
            room.copy_from_slice(&self.crc.to_le_bytes());
        }
    }

    /// The runs in `frame`, which begins with this header.
    pub(super) fn runs(&self, frame: &[u8]) -> Result<Option<Vec<Run>>, Damage> {
        let Some(Sequenced { first, .. }) = self.sequenced else { return Ok(None) };
        let stored = frame.get(self.len()..self.body_start()).ok_or("the batch is shorter than its runs")?;
        Run::decode(stored, first, self.records)
            .map(Some)
            .ok_or("the runs of the batch are not those of its records")
    }

    /// The sequence number of the last record of `frame`, which begins with this header.
    pub(super) fn last_sequence(&self, frame: &[u8]) -> Option<u64> {
        let runs = self.runs(frame).ok().flatten()?;
        runs.last().map(|run| run.end() - 1)
    }

    /// Reads the header of `frame` and checks what can be checked without reading the body.
    pub(super) fn read(frame: &[u8]) -> Result<Self, Damage> {
        let mut rest = frame;
        let header = Self::read_fields(&mut rest)?;
        if header.records == 0 {
            return Err("the batch holds no record");
        }
        // A record takes at least four bytes, so that this also bounds the count by the body.
        if u64::from(header.records) * 4 > u64::from(header.body_bytes) {
            return Err("the batch claims more records than its body can hold");
        }
        if header.base_offset.checked_add(u64::from(header.records)).is_none() {
            return Err("the offsets of the batch overflow");
        }
        if header.flags & !(FLAG_LZ4 | FLAG_KEYLESS) != 0 {
            return Err("the batch has unknown flags");
        }
        if let Some(Sequenced { first, runs_bytes }) = header.sequenced {
            rest = rest.get(runs_bytes as usize..).ok_or("the batch is shorter than its runs")?;
            if first.checked_add(u64::from(header.records)).is_none() {
                return Err("the sequence numbers of the batch overflow");
            }
        }
        let claimed = u64::from(header.body_bytes);
        let stored = rest.len() as u64;
        // The lz4 block format cannot shrink more than 255-fold: a larger claim is a lie.
        let plausible =
            if header.flags & FLAG_LZ4 == 0 { claimed == stored } else { claimed / 255 <= stored };
        if plausible { Ok(header) } else { Err("the length of the batch does not fit its bytes") }
    }

    fn read_fields(rest: &mut &[u8]) -> Result<Self, Damage> {
        const SHORT: Damage = "the batch is shorter than its header";
        let magic: [u8; 3] = take(rest).ok_or(SHORT)?;
        let [version] = take(rest).ok_or(SHORT)?;
        if magic != MAGIC {
            return Err("the bytes are not a batch of records");
        }
        if version != VERSION_UNSEQUENCED && version != VERSION_SEQUENCED {
            return Err("the batch has an unknown format version; open it with the release that wrote it");
        }
        let mut header = Self {
            crc: take(rest).map(u32::from_le_bytes).ok_or(SHORT)?,
            flags: take(rest).map(u32::from_le_bytes).ok_or(SHORT)?,
            records: take(rest).map(u32::from_le_bytes).ok_or(SHORT)?,
            base_offset: take(rest).map(u64::from_le_bytes).ok_or(SHORT)?,
            base_timestamp_ms: take(rest).map(i64::from_le_bytes).ok_or(SHORT)?,
            max_timestamp_ms: take(rest).map(i64::from_le_bytes).ok_or(SHORT)?,
            body_bytes: take(rest).map(u32::from_le_bytes).ok_or(SHORT)?,
            sequenced: None,
        };
        if version == VERSION_SEQUENCED {
            header.sequenced = Some(Sequenced {
                first: take(rest).map(u64::from_le_bytes).ok_or(SHORT)?,
                runs_bytes: take(rest).map(u32::from_le_bytes).ok_or(SHORT)?,
            });
        }
        Ok(header)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (field, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*field)
}

/// A record as it lies in the body, not yet placed in its partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawRecord<'a> {
    pub(super) timestamp_delta: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [u8],
}

/// At most so many bytes does [`write_record`] add.
pub(super) fn record_len_bound(record: &Record) -> usize {
    let bytes = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    25 + bytes(&record.key) + bytes(&record.value) + headers_len(&record.headers)
}

/// Writes a record to a body in which all have a key, or else, if it is `keyless`, some have none.
pub(super) fn write_record(out: &mut Vec<u8>, timestamp_delta: i64, record: &Record, keyless: bool) {
    write_varint(out, zigzag(timestamp_delta));
    write_key(out, record.key.as_deref(), keyless);
    write_optional(out, record.value.as_deref());
    write_varint(out, headers_len(&record.headers) as u64);
    for header in &record.headers {
        write_header(out, &header.name, header.value.as_deref());
    }
}

/// Stands for the length of a value that is not there.
const NO_VALUE: u64 = MAX_HEADERS_BYTES as u64 + 1;

pub(super) fn write_header(out: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    write_slice(out, name.as_bytes());
    match value {
        Some(value) => write_slice(out, value),
        None => write_varint(out, NO_VALUE),
    }
}

/// Writes a record that was [read](read_record).
pub(super) fn write_raw_record(out: &mut Vec<u8>, record: &RawRecord<'_>, keyless: bool) {
    write_varint(out, zigzag(record.timestamp_delta));
    write_key(out, record.key, keyless);
    write_optional(out, record.value);
    write_slice(out, record.headers);
}

fn write_key(out: &mut Vec<u8>, key: Option<&[u8]>, keyless: bool) {
    if keyless {
        write_optional(out, key);
    } else {
        write_slice(out, key.unwrap_or_default());
    }
}

fn write_optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return out.push(0) };
    write_varint(out, bytes.len() as u64 + 1);
    out.extend_from_slice(bytes);
}

#[inline]
#[expect(clippy::option_option, reason = "bytes that cannot be read, or those of nothing")]
fn read_optional<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match read_varint(rest)? {
        0 => Some(None),
        length => split(rest, length - 1).map(Some),
    }
}

/// Reads one record from the front of `rest`, as it was written if the body is `keyless`; `None` if the bytes are not a
/// record.
#[inline]
pub(super) fn read_record<'a>(rest: &mut &'a [u8], keyless: bool) -> Option<RawRecord<'a>> {
    let timestamp_delta = unzigzag(read_varint(rest)?);
    let key = if keyless { read_optional(rest)? } else { Some(read_slice(rest)?) };
    let value = read_optional(rest)?;
    let headers = read_slice(rest)?;
    Some(RawRecord { timestamp_delta, key, value, headers })
}

/// Reads one header from the front of `rest`; `None` at the end or if the bytes are not a header.
pub(super) fn read_header<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, Option<&'a [u8]>)> {
    let name = std::str::from_utf8(read_slice(rest)?).ok()?;
    match read_varint(rest)? {
        NO_VALUE => Some((name, None)),
        length => Some((name, Some(split(rest, length)?))),
    }
}

/// How many bytes `headers` take when stored.
pub(super) fn headers_len(headers: &Headers) -> usize {
    let slice = |length: usize| varint_len(length as u64) + length;
    let value = |header: &Header| match &header.value {
        Some(value) => slice(value.len()),
        None => varint_len(NO_VALUE),
    };
    headers.iter().map(|header| slice(header.name.len()) + value(header)).sum()
}

/// The same bytes with magic, version and checksum put right, to reach what lies behind them.
#[cfg(any(test, fuzzing))]
pub(crate) fn sealed(mut frame: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(frame.get(UNCHECKED_BYTES..).unwrap_or_default());
    let version = match frame.get(3) {
        Some(version) if version % 2 == 0 => VERSION_SEQUENCED,
        _ => VERSION_UNSEQUENCED,
    };
    let start = [&MAGIC[..], &[version], &crc.to_le_bytes()].concat();
    for (byte, right) in frame.iter_mut().zip(start) {
        *byte = right;
    }
    frame
}

/// The frame of `records` records that are stored as `body`, whose header is right as far as they can be read.
#[cfg(any(test, fuzzing))]
pub(crate) fn framed(records: u32, body: &[u8]) -> Vec<u8> {
    let mut rest = body;
    let read = (0..records).map_while(|_| read_record(&mut rest, false));
    let header = FrameHeader {
        crc: 0,
        flags: 0,
        records,
        base_offset: 0,
        base_timestamp_ms: 0,
        max_timestamp_ms: read.map(|record| record.timestamp_delta).max().unwrap_or_default(),
        body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
        sequenced: None,
    };
    let mut frame = Vec::new();
    header.write(&mut frame);
    frame.extend_from_slice(body);
    sealed(frame)
}
