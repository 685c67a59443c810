//! Stored batches: encoding records into a frame, and decoding a frame into records.
//!
//! A batch is the unit of storage, checksum and compression. It is stored, sent and cloned as one opaque piece
//! of bytes; only [`StoredBatch::decode`] looks inside.

use super::LogBatch;
use super::decoded::DecodedBatch;
use super::frame::{self, Damage, FrameHeader, Sequenced};
use super::record::Record;
use super::sequence::Run;
use crate::{Error, Result, TopicPartition};
use bytes::Bytes;
use std::fmt;

/// Bodies below this are stored as they are: the tables of the compressor cost more than it could save.
const MIN_COMPRESSED_BYTES: usize = 256;

/// A stored batch of records: one contiguous piece of one partition, still compressed and unchecked.
///
/// Batches are cheap to clone and to send; [`decode`](StoredBatch::decode) does the work, so that the engine
/// can spread it over its shards.
///
/// # Examples
/// ```
/// use millpond::TopicPartition;
/// use millpond::changelog::backend::StoredBatch;
/// use millpond::changelog::Record;
///
/// let records = [Record::new("a", "1"), Record::tombstone("b")];
/// let batch = StoredBatch::encode(TopicPartition::new("orders", 0), 40, &records)?;
/// assert_eq!((batch.base_offset(), batch.end_offset()), (40, 42));
///
/// let decoded = batch.decode()?;
/// let keys: Vec<_> = decoded.iter().map(|record| (record.offset, record.key)).collect();
/// assert_eq!(keys, [(40, Some(b"a".as_slice())), (41, Some(b"b".as_slice()))]);
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Clone)]
pub struct StoredBatch {
    partition: TopicPartition,
    header: FrameHeader,
    frame: Bytes,
}

impl StoredBatch {
    /// The batch of `records` at `base_offset` of `partition`, compressed if that makes it smaller.
    ///
    /// # Errors
    /// `Invalid` if there is no record, a record is too large, or the records together reach 4 GiB.
    pub fn encode(partition: TopicPartition, base_offset: u64, records: &[Record]) -> Result<Self> {
        let mut encoder = BatchEncoder::default();
        for record in records {
            record.check()?;
            encoder.push(record, None);
        }
        encoder.finish(partition, base_offset)
    }

    /// The batch whose stored bytes are `frame`. Only its header is looked at.
    ///
    /// # Errors
    /// `Corrupt` if the header is not that of a batch, or of an unknown format version.
    pub fn from_frame(partition: TopicPartition, frame: Bytes) -> Result<Self> {
        match FrameHeader::read(&frame) {
            Ok(header) => Ok(Self { partition, header, frame }),
            Err(damage) => Err(Error::corrupt(damage).context(&partition)),
        }
    }

    /// The partition it belongs to.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The offset of its first record.
    #[must_use]
    pub fn base_offset(&self) -> u64 {
        self.header.base_offset
    }

    /// The offset after its last record.
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        self.header.base_offset + u64::from(self.header.records)
    }

    /// How many records it holds; never 0.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.header.records
    }

    /// The greatest timestamp of its records.
    #[must_use]
    pub fn max_timestamp_ms(&self) -> i64 {
        self.header.max_timestamp_ms
    }

    /// The place of its first record in the sequence of the log, if the log is one sequence.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.header.sequenced.map(|sequenced| sequenced.first)
    }

    /// The place of its last record in the sequence of the log, as far as that can be read.
    pub(crate) fn last_sequence(&self) -> Option<u64> {
        self.header.last_sequence(&self.frame)
    }

    /// How many bytes it takes as stored.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        self.frame.len()
    }

    /// The stored bytes.
    #[must_use]
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// Checks, decompresses and parses the batch.
    ///
    /// # Errors
    /// `Corrupt`, naming topic, partition and offset, if any byte of it is damaged.
    pub fn decode(&self) -> Result<DecodedBatch> {
        let decoded = self.body().and_then(|body| {
            self.header.runs(&self.frame)?;
            DecodedBatch::checked(&self.header, body)
        });
        decoded.map_err(|damage| self.damaged(damage))
    }

    fn damaged(&self, damage: Damage) -> Error {
        Error::corrupt(format!(
            "{} at offset {}: {damage}; restore the changelog from a copy",
            self.partition, self.header.base_offset
        ))
    }

    #[cfg(feature = "rocks")]
    pub(super) fn header(&self) -> &FrameHeader {
        &self.header
    }

    fn body(&self) -> Result<Bytes, Damage> {
        let (_, checked) =
            self.frame.split_at_checked(frame::UNCHECKED_BYTES).ok_or("the batch is too short")?;
        if crc32c::crc32c(checked) != self.header.crc {
            return Err("the checksum of the batch does not match its bytes");
        }
        // The header was checked against the length of the frame.
        let stored = self.frame.slice(self.header.body_start()..);
        if self.header.flags & frame::FLAG_LZ4 == 0 {
            return Ok(stored);
        }
        let mut body = vec![0; self.header.body_bytes as usize];
        match lz4_flex::block::decompress_into(&stored, &mut body) {
            Ok(written) if written == body.len() => Ok(body.into()),
            _ => Err("the batch does not decompress"),
        }
    }
}

impl LogBatch for StoredBatch {
    fn base_offset(&self) -> u64 {
        self.base_offset()
    }

    fn end_offset(&self) -> u64 {
        self.end_offset()
    }

    /// The bytes they are read from are covered by the checksum, which only `decode` looks at.
    fn runs(&self) -> Result<Option<Vec<Run>>> {
        self.header.runs(&self.frame).map_err(|damage| self.damaged(damage))
    }

    fn stored_bytes(&self) -> usize {
        self.stored_bytes()
    }

    fn body_bytes(&self) -> usize {
        self.header.body_bytes as usize
    }

    fn max_timestamp_ms(&self) -> Option<i64> {
        Some(self.max_timestamp_ms())
    }

    fn decode(&self) -> Result<DecodedBatch> {
        self.decode()
    }
}

impl fmt::Debug for StoredBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredBatch")
            .field("partition", &self.partition)
            .field("offsets", &(self.base_offset()..self.end_offset()))
            .field("stored_bytes", &self.stored_bytes())
            .finish_non_exhaustive()
    }
}

/// Collects records for one batch.
#[derive(Debug, Default)]
pub(super) struct BatchEncoder {
    body: Vec<u8>,
    /// Whether the body may hold records without a key.
    keyless: bool,
    records: u32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    /// Where the records stand in the sequence of the log; empty for a log without one.
    runs: Vec<Run>,
}

impl BatchEncoder {
    /// Adds a record, with its place in the sequence of the log if that is one.
    pub(super) fn push(&mut self, record: &Record, sequence: Option<u64>) {
        if self.records == 0 {
            self.body.reserve(frame::record_len_bound(record));
            self.base_timestamp_ms = record.timestamp_ms;
            self.max_timestamp_ms = record.timestamp_ms;
        }
        if record.key.is_none() && !self.keyless {
            self.allow_keyless();
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(record.timestamp_ms);
        let delta = record.timestamp_ms.wrapping_sub(self.base_timestamp_ms);
        frame::write_record(&mut self.body, delta, record, self.keyless);
        self.records += 1;
        if let Some(sequence) = sequence {
            Run::extend(&mut self.runs, Run { sequence, records: 1 });
        }
    }

    /// Writes the records so far anew, for a body in which some have no key.
    fn allow_keyless(&mut self) {
        let with_keys = std::mem::take(&mut self.body);
        let mut rest = &*with_keys;
        while let Some(record) = frame::read_record(&mut rest, false) {
            frame::write_raw_record(&mut self.body, &record, true);
        }
        self.keyless = true;
    }

    pub(super) fn records(&self) -> u32 {
        self.records
    }

    /// Whether `record` still belongs into this batch, if a batch should take at most `max_batch_bytes`. A
    /// record that is larger gets a batch of its own.
    pub(super) fn has_room_for(&self, record: &Record, max_batch_bytes: usize) -> bool {
        self.records == 0
            || frame::HEADER_BYTES + self.body.len() + frame::record_len_bound(record) <= max_batch_bytes
    }

    pub(super) fn finish(self, partition: TopicPartition, base_offset: u64) -> Result<StoredBatch> {
        let body_bytes = match u32::try_from(self.body.len()) {
            Ok(bytes) if bytes > 0 => bytes,
            _ => {
                return Err(Error::invalid(format!(
                    "{} bytes of records do not make a batch",
                    self.body.len()
                )));
            }
        };
        let runs = Run::encode(&self.runs);
        let runs_bytes = u32::try_from(runs.len()).unwrap_or(u32::MAX);
        let keyless = if self.keyless { frame::FLAG_KEYLESS } else { 0 };
        let (body, flags) = match compressed(&self.body) {
            Some(smaller) => (smaller, frame::FLAG_LZ4 | keyless),
            None => (self.body, keyless),
        };
        let mut header = FrameHeader {
            crc: 0,
            flags,
            records: self.records,
            base_offset,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
            body_bytes,
            sequenced: self.runs.first().map(|first| Sequenced { first: first.sequence, runs_bytes }),
        };
        let mut frame = Vec::with_capacity(frame::HEADER_BYTES + runs.len() + body.len());
        header.write(&mut frame);
        frame.extend_from_slice(&runs);
        frame.extend_from_slice(&body);
        header.crc = crc32c::crc32c(frame.get(frame::UNCHECKED_BYTES..).unwrap_or_default());
        header.put_crc(&mut frame);
        Ok(StoredBatch { partition, header, frame: frame.into() })
    }
}

/// The same bytes compressed, if that is smaller.
fn compressed(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < MIN_COMPRESSED_BYTES {
        return None;
    }
    let smaller = lz4_flex::block::compress(body);
    (smaller.len() < body.len()).then_some(smaller)
}
