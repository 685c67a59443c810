//! Record batches: as the broker has stored them, and as the records that they decode to.
//!
//! A batch is a slice of the response that brought it. On the way to the thread that decodes it only its header is read,
//! and nothing of it is believed: the checksum is compared before anything is decompressed. The checksum does not cover the
//! offset of the batch, its length and the epoch of the leader; what the first two say is compared with what was asked for.

use super::compression::{Codec, Damage};
use super::error::damaged;
use super::records::{Cursor, RawRecord};
use bytes::{Buf, Bytes};
use millpond_engine::changelog::{DecodedBatch, LogBatch, PlacedRecords, Run};
use millpond_engine::{Error, Result, TopicPartition};

/// The bytes of a batch before its records.
pub(super) const HEADER_BYTES: usize = 61;
/// Where the length of a batch ends, which counts what follows it.
const LENGTH_END: usize = 12;
/// Where the magic byte lies, in batches of every format.
const MAGIC_AT: usize = 16;
/// Where that begins which the checksum is of.
const CHECKED_FROM: usize = 21;

/// No record takes less: seven numbers.
const MIN_RECORD_BYTES: usize = 7;

/// What stands in front of the records of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub base_offset: u64,
    /// The offset after the last one that the batch covers, whether or not compaction has left its record.
    pub end_offset: u64,
    pub leader_epoch: i32,
    crc: u32,
    attributes: i16,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    pub producer_id: i64,
    pub records: u32,
}

impl BatchHeader {
    /// Reads the header of a batch of the format in use.
    fn read(mut bytes: &[u8]) -> Result<Self, Damage> {
        if bytes.len() < HEADER_BYTES {
            return Err("the batch is shorter than its header");
        }
        let base_offset = u64::try_from(bytes.get_i64()).map_err(|_| "the batch has a negative offset")?;
        let _length = bytes.get_i32();
        let leader_epoch = bytes.get_i32();
        let _magic = bytes.get_i8();
        let crc = bytes.get_u32();
        let attributes = bytes.get_i16();
        let last_delta = u32::try_from(bytes.get_i32()).map_err(|_| "the batch ends before it begins")?;
        let base_timestamp_ms = bytes.get_i64();
        let max_timestamp_ms = bytes.get_i64();
        let producer_id = bytes.get_i64();
        let _producer_epoch_and_sequence = (bytes.get_i16(), bytes.get_i32());
        let records = u32::try_from(bytes.get_i32()).map_err(|_| "the batch has less than no record")?;
        let end_offset = base_offset
            .checked_add(u64::from(last_delta) + 1)
            .filter(|&end| i64::try_from(end).is_ok())
            .ok_or("the offsets of the batch are out of range")?;
        if u64::from(records) > u64::from(last_delta) + 1 {
            return Err("the batch has more records than offsets");
        }
        Ok(Self {
            base_offset,
            end_offset,
            leader_epoch,
            crc,
            attributes,
            base_timestamp_ms,
            max_timestamp_ms,
            producer_id,
            records,
        })
    }

    /// Whether its records belong to a transaction.
    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether it says how a transaction has ended, and holds no records of anybody.
    pub(super) fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// That of a record, which is when the broker has appended it if the topic wants that.
    fn timestamp_ms(&self, delta: i64) -> i64 {
        if self.attributes & 8 != 0 {
            self.max_timestamp_ms
        } else {
            self.base_timestamp_ms.wrapping_add(delta)
        }
    }
}

/// A record batch of a partition, as it is stored: still compressed, and not checked.
#[derive(Debug, Clone)]
pub(crate) struct KafkaBatch {
    pub(super) partition: TopicPartition,
    pub(super) header: BatchHeader,
    /// With its header.
    bytes: Bytes,
    body_bytes: usize,
}

impl KafkaBatch {
    /// The batch whose bytes are `bytes`, of which only the header is looked at.
    fn new(partition: &TopicPartition, bytes: Bytes) -> Result<Self, Damage> {
        let header = BatchHeader::read(&bytes)?;
        let codec = Codec::of(header.attributes);
        let records = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let body_bytes = codec.map_or(records.len(), |codec| codec.estimate(records));
        Ok(Self { partition: partition.clone(), header, bytes, body_bytes })
    }

    /// The epoch of the leader that has appended it.
    pub(super) fn leader_epoch(&self) -> i32 {
        self.header.leader_epoch
    }

    fn damaged(&self, damage: Damage) -> Error {
        damaged(&self.partition, self.header.base_offset, damage)
    }

    /// Compares the checksum.
    pub(super) fn check(&self) -> Result<()> {
        let checked = self.bytes.get(CHECKED_FROM..).unwrap_or_default();
        if crc32c::crc32c(checked) == self.header.crc {
            return Ok(());
        }
        Err(self.damaged("its checksum does not match; if that stays so, the broker's copy is damaged"))
    }

    /// The records as bytes, checked and decompressed.
    fn body(&self) -> Result<Bytes> {
        self.check()?;
        let codec = Codec::of(self.header.attributes)
            .ok_or_else(|| self.damaged("it is compressed by a codec that is not known"))?;
        codec.decompress(&self.bytes.slice(HEADER_BYTES..)).map_err(|damage| self.damaged(damage))
    }

    /// Calls `each` with offset, timestamp and parts of every record in `body`.
    #[inline]
    fn walk(&self, body: &[u8], mut each: impl FnMut(u64, i64, RawRecord) -> Result<()>) -> Result<()> {
        let broken = |damage| self.damaged(damage);
        let mut cursor = Cursor::new(body);
        let mut next = self.header.base_offset;
        for _ in 0..self.header.records {
            let record = cursor.record().ok_or_else(|| broken("one of its records does not parse"))?;
            let offset = self.header.base_offset + u64::from(record.offset_delta);
            if offset < next || offset >= self.header.end_offset {
                return Err(broken("the offsets of its records do not ascend, or leave the batch"));
            }
            next = offset + 1;
            each(offset, self.header.timestamp_ms(record.timestamp_delta), record)?;
        }
        if cursor.is_at_end() { Ok(()) } else { Err(broken("bytes are left over after its last record")) }
    }

    /// Whether a control batch says that a transaction was aborted. One whose record compaction has removed says nothing.
    pub(super) fn aborts(&self) -> Result<bool> {
        /// The key of a control record: a version, and what it is.
        const ABORT: [u8; 2] = 0_u16.to_be_bytes();
        let body = self.body()?;
        let mut abort = false;
        self.walk(&body, |_, _, record| {
            let kind = record.key.and_then(|key| body.get(key)?.get(2..4));
            abort = kind.is_some_and(|kind| kind == ABORT);
            Ok(())
        })?;
        Ok(abort)
    }

    /// The headers of a record go along; names that are no UTF-8 as well as it can be said.
    fn push_headers(&self, body: &[u8], record: &RawRecord, records: &mut PlacedRecords) -> Result<()> {
        let mut headers = Cursor::new(body).at(record.headers_start);
        for _ in 0..record.header_count {
            let (name, value) = headers.header().ok_or_else(|| self.damaged("a header does not parse"))?;
            let bytes = |range| body.get(range).unwrap_or_default();
            records.header(&String::from_utf8_lossy(bytes(name)), value.map(bytes))?;
        }
        Ok(())
    }
}

impl LogBatch for KafkaBatch {
    fn base_offset(&self) -> u64 {
        self.header.base_offset
    }

    fn end_offset(&self) -> u64 {
        self.header.end_offset
    }

    fn records(&self) -> u64 {
        self.header.records.into()
    }

    /// A Kafka topic has no order of its partitions' records.
    fn runs(&self) -> Result<Option<Vec<Run>>> {
        Ok(None)
    }

    fn stored_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Exact if nothing is compressed or the codec has written it down, which lz4 and zstd of the Java client do not. Of lz4 it
    /// is known to within a part of a block then, of zstd it is a guess.
    fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Brokers see to it when the batch is appended, and when it is compacted.
    fn max_timestamp_ms(&self) -> Option<i64> {
        Some(self.header.max_timestamp_ms)
    }

    fn decode(&self) -> Result<DecodedBatch> {
        let body = self.body()?;
        // The header may lie about the number of records, but not about the bytes that each takes.
        let expected = (self.header.records as usize).min(body.len() / MIN_RECORD_BYTES);
        let mut records = PlacedRecords::with_capacity(body.clone(), expected);
        self.walk(&body, |offset, timestamp_ms, record| {
            let RawRecord { ref key, ref value, .. } = record;
            records
                .push(offset, timestamp_ms, key.clone(), value.clone())
                .map_err(|error| error.context(&self.partition))?;
            if record.header_count == 0 { Ok(()) } else { self.push_headers(&body, &record, &mut records) }
        })?;
        Ok(records.finish())
    }
}

/// What a partition's part of a response holds: whole batches, and perhaps the beginning of one more.
#[derive(Debug)]
pub(super) struct Batches<'a> {
    partition: &'a TopicPartition,
    rest: Bytes,
    /// The offset asked for, and then the end of the last batch: no batch begins below that.
    next: u64,
    began: bool,
    /// How large the batch is of which there is only the beginning.
    cut_bytes: Option<usize>,
}

impl<'a> Batches<'a> {
    /// The batches of `records`, which were asked for from the offset `asked` on.
    pub(super) fn new(partition: &'a TopicPartition, asked: u64, records: Bytes) -> Self {
        Self { partition, rest: records, next: asked, began: false, cut_bytes: None }
    }

    /// How large the batch is of which only the beginning has come.
    pub(super) fn cut_bytes(&self) -> Option<usize> {
        self.cut_bytes
    }

    fn take(&mut self) -> Result<Option<KafkaBatch>> {
        let Some(mut length) = self.rest.get(8..LENGTH_END) else { return Ok(None) };
        let broken = |damage| damaged(self.partition, self.next, damage);
        let length =
            usize::try_from(length.get_i32()).map_err(|_| broken("a batch has a negative length"))?;
        let bytes = LENGTH_END + length;
        if self.rest.len() < bytes {
            self.cut_bytes = Some(bytes);
            return Ok(None);
        }
        match self.rest.get(MAGIC_AT).filter(|_| bytes > MAGIC_AT) {
            Some(2) => {}
            Some(magic @ 0..=1) => return Err(self.old_format(*magic)),
            _ => return Err(broken("a batch is of a format that is not known")),
        }
        let batch = KafkaBatch::new(self.partition, self.rest.slice(..bytes)).map_err(broken)?;
        self.rest.advance(bytes);
        Ok(Some(batch))
    }

    fn old_format(&self, magic: u8) -> Error {
        Error::invalid(format!(
            "the records of {} at offset {} are in Kafka's message format {magic}, which is from before 0.11 and cannot be \
             read: have the topic written again by a broker and a producer of today",
            self.partition, self.next
        ))
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<KafkaBatch>;

    /// The next batch that reaches to the offset asked for. After an error there is nothing more.
    fn next(&mut self) -> Option<Result<KafkaBatch>> {
        loop {
            let batch = match self.take() {
                Ok(Some(batch)) => batch,
                Ok(None) => return None,
                Err(error) => {
                    self.rest.clear();
                    return Some(Err(error));
                }
            };
            if self.began && batch.header.base_offset < self.next {
                self.rest.clear();
                return Some(Err(damaged(self.partition, self.next, "batches overlap")));
            }
            if batch.header.end_offset > self.next {
                self.began = true;
                self.next = batch.header.end_offset;
                return Some(Ok(batch));
            }
        }
    }
}
