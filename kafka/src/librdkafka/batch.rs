//! Messages of one partition as a batch: copied out of librdkafka's memory, one behind the other.

use bytes::Bytes;
use millpond_engine::changelog::{DecodedBatch, LogBatch, PlacedRecords, Run};
use millpond_engine::{Result, TopicPartition};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use std::ops::Range;

/// Where bytes lie, if they are there.
type Place = Option<Range<usize>>;

#[derive(Debug)]
struct Placed {
    offset: u64,
    timestamp_ms: i64,
    key: Place,
    value: Place,
    headers: Vec<(String, Place)>,
}

/// Messages that are being collected.
#[derive(Debug)]
pub(super) struct Collected {
    /// Whatever lies between this and the first record is not there.
    base: u64,
    body: Vec<u8>,
    records: Vec<Placed>,
}

/// Messages that were collected.
#[derive(Debug)]
pub(super) struct MessageBatch {
    partition: TopicPartition,
    base: u64,
    end: u64,
    body: Bytes,
    records: Vec<Placed>,
}

impl Collected {
    /// None yet, of a partition that is read from `base` on.
    pub(super) fn new(base: u64) -> Self {
        Self { base, body: Vec::new(), records: Vec::new() }
    }

    /// The next offset that is expected.
    pub(super) fn next(&self) -> u64 {
        self.records.last().map_or(self.base, |last| last.offset + 1)
    }

    /// Takes a message, unless it was taken before: after an assignment some may come once more.
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        let Ok(offset) = u64::try_from(message.offset()) else { return };
        if offset < self.next() {
            return;
        }
        let body = &mut self.body;
        let mut put = |bytes: Option<&[u8]>| {
            bytes.map(|bytes| {
                let start = body.len();
                body.extend_from_slice(bytes);
                start..body.len()
            })
        };
        let (key, value) = (put(message.key()), put(message.payload()));
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let headers = headers.map(|header| (header.key.to_owned(), put(header.value))).collect();
        let timestamp_ms = message.timestamp().to_millis().unwrap_or(-1);
        self.records.push(Placed { offset, timestamp_ms, key, value, headers });
    }

    /// The batch of them; none if there are none.
    pub(super) fn finish(self, partition: TopicPartition) -> Option<MessageBatch> {
        let end = self.records.last()?.offset + 1;
        Some(MessageBatch { partition, base: self.base, end, body: self.body.into(), records: self.records })
    }
}

#[cfg(test)]
impl MessageBatch {
    /// One with a record of eight bytes at each of these offsets.
    pub(super) fn of(base: u64, offsets: &[u64]) -> Self {
        let placed = |&offset: &u64| Placed {
            offset,
            timestamp_ms: 1,
            key: None,
            value: Some(0..8),
            headers: Vec::new(),
        };
        let records: Vec<_> = offsets.iter().map(placed).collect();
        let end = records.last().unwrap().offset + 1;
        Self { partition: TopicPartition::new("t", 0), base, end, body: Bytes::from_static(&[0; 8]), records }
    }
}

impl LogBatch for MessageBatch {
    fn base_offset(&self) -> u64 {
        self.base
    }

    fn end_offset(&self) -> u64 {
        self.end
    }

    fn records(&self) -> u64 {
        self.records.len() as u64
    }

    fn runs(&self) -> Result<Option<Vec<Run>>> {
        Ok(None)
    }

    fn stored_bytes(&self) -> usize {
        self.body.len() + self.records.len() * size_of::<Placed>()
    }

    fn body_bytes(&self) -> usize {
        self.body.len()
    }

    fn max_timestamp_ms(&self) -> Option<i64> {
        self.records.iter().map(|record| record.timestamp_ms).max()
    }

    fn decode(&self) -> Result<DecodedBatch> {
        let mut batch = PlacedRecords::with_capacity(self.body.clone(), self.records.len());
        for Placed { offset, timestamp_ms, key, value, headers } in &self.records {
            batch
                .push(*offset, *timestamp_ms, key.clone(), value.clone())
                .map_err(|error| error.context(&self.partition))?;
            for (name, value) in headers {
                let value = value.as_ref().and_then(|value| self.body.get(value.clone()));
                batch.header(name, value).map_err(|error| error.context(&self.partition))?;
            }
        }
        Ok(batch.finish())
    }
}
