//! Record batches written by hand, for tests.

use crate::fetch::compression::Codec;
use std::io::Write;

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Written {
    pub offset_delta: u32,
    pub timestamp_delta: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A batch to be written.
#[derive(Debug, Clone)]
pub(crate) struct WrittenBatch {
    pub base_offset: i64,
    pub last_delta: i32,
    pub leader_epoch: i32,
    /// Without those of the codec.
    pub attributes: i16,
    pub codec: Codec,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub producer_id: i64,
    pub records: Vec<Written>,
}

impl WrittenBatch {
    /// Records at `base_offset` and those after it, whose values are these.
    pub(crate) fn values(base_offset: i64, values: &[&str]) -> Self {
        let record = |(delta, value): (usize, &&str)| Written {
            offset_delta: delta as u32,
            timestamp_delta: delta as i64,
            key: Some(b"key".to_vec()),
            value: Some(value.as_bytes().to_vec()),
            headers: Vec::new(),
        };
        Self {
            base_offset,
            last_delta: values.len() as i32 - 1,
            leader_epoch: 0,
            attributes: 0,
            codec: Codec::None,
            base_timestamp_ms: 1_000,
            max_timestamp_ms: 1_000 + values.len() as i64 - 1,
            producer_id: -1,
            records: values.iter().enumerate().map(record).collect(),
        }
    }

    /// The same in a transaction of `producer_id`.
    pub(crate) fn in_transaction(mut self, producer_id: i64) -> Self {
        self.attributes |= 0x10;
        self.producer_id = producer_id;
        self
    }

    /// The end of the transaction of `producer_id`.
    pub(crate) fn control(base_offset: i64, producer_id: i64, commit: bool) -> Self {
        let mut batch = Self::values(base_offset, &[""]).in_transaction(producer_id);
        batch.attributes |= 0x20;
        batch.records[0].key = Some(vec![0, 0, 0, u8::from(commit)]);
        batch
    }

    pub(crate) fn in_epoch(mut self, leader_epoch: i32) -> Self {
        self.leader_epoch = leader_epoch;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for record in &self.records {
            let mut body = vec![0];
            varint(&mut body, record.timestamp_delta);
            varint(&mut body, record.offset_delta.into());
            slice(&mut body, record.key.as_deref());
            slice(&mut body, record.value.as_deref());
            varint(&mut body, record.headers.len() as i64);
            for (name, value) in &record.headers {
                slice(&mut body, Some(name.as_bytes()));
                slice(&mut body, value.as_deref());
            }
            varint(&mut records, body.len() as i64);
            records.extend(body);
        }
        let codec = self.codec as i16;
        self.around(&compressed(self.codec, &records), codec)
    }

    /// A batch around these bytes as records.
    pub(crate) fn around(&self, records: &[u8], codec: i16) -> Vec<u8> {
        let mut checked = Vec::new();
        checked.extend((self.attributes | codec).to_be_bytes());
        checked.extend(self.last_delta.to_be_bytes());
        checked.extend(self.base_timestamp_ms.to_be_bytes());
        checked.extend(self.max_timestamp_ms.to_be_bytes());
        checked.extend(self.producer_id.to_be_bytes());
        checked.extend(0_i16.to_be_bytes());
        checked.extend(0_i32.to_be_bytes());
        checked.extend((self.records.len() as i32).to_be_bytes());
        checked.extend(records);
        let mut bytes = self.base_offset.to_be_bytes().to_vec();
        bytes.extend((checked.len() as i32 + 9).to_be_bytes());
        bytes.extend(self.leader_epoch.to_be_bytes());
        bytes.push(2);
        bytes.extend(crc32c::crc32c(&checked).to_be_bytes());
        bytes.extend(checked);
        bytes
    }
}

fn varint(out: &mut Vec<u8>, number: i64) {
    let mut raw = ((number << 1) ^ (number >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

fn slice(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend(bytes.unwrap_or_default());
}

pub(crate) fn compressed(codec: Codec, records: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => records.to_vec(),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(records).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(records).unwrap(),
        Codec::Lz4 => lz4_frame(records, false, true),
        Codec::Zstd => {
            let mut out = Vec::with_capacity(zstd_safe::compress_bound(records.len()));
            zstd_safe::compress(&mut out, records, 3).unwrap();
            out
        }
    }
}

/// A frame of zstd that does not say how large it is, as those who do not know it when they begin write it.
pub(crate) fn zstd_without_size(records: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(records.len()));
    let mut context = zstd_safe::CCtx::create();
    context.set_parameter(zstd_safe::CParameter::ContentSizeFlag(false)).unwrap();
    context.compress2(&mut out, records).unwrap();
    out
}

/// Blocks behind their lengths, as the Java library for snappy writes them.
pub(crate) fn xerial(records: &[u8], block_bytes: usize) -> Vec<u8> {
    let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in records.chunks(block_bytes) {
        let block = compressed(Codec::Snappy, block);
        out.extend((block.len() as u32).to_be_bytes());
        out.extend(block);
    }
    out
}

/// A frame of lz4 with blocks of 64 KiB, which refer to each other or not.
pub(crate) fn lz4_frame(records: &[u8], linked: bool, sized: bool) -> Vec<u8> {
    let mut out = 0x184D_2204_u32.to_le_bytes().to_vec();
    out.push(0x40 | if linked { 0 } else { 0x20 } | if sized { 8 } else { 0 });
    out.push(4 << 4);
    if sized {
        out.extend((records.len() as u64).to_le_bytes());
    }
    out.push(0); // the checksum, which nobody compares
    for start in (0..records.len()).step_by(64 << 10) {
        let block = &records[start..records.len().min(start + (64 << 10))];
        let packed = if linked {
            lz4_flex::block::compress_with_dict(block, &records[start.saturating_sub(64 << 10)..start])
        } else {
            lz4_flex::block::compress(block)
        };
        if packed.len() < block.len() {
            out.extend((packed.len() as u32).to_le_bytes());
            out.extend(packed);
        } else {
            out.extend((block.len() as u32 | 1 << 31).to_le_bytes());
            out.extend(block);
        }
    }
    out.extend([0; 4]);
    out
}
