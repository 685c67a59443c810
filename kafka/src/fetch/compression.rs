//! Decompression of the records of a batch, by every codec that Kafka has.
//!
//! Records are decompressed into a buffer that each thread keeps, and copied out once their size is known: so nothing is
//! allocated because of a length that somebody has written, and no buffer is larger than what it holds. The buffer grows with
//! what really comes out, and never beyond [`MAX_BODY_BYTES`].

use super::{lz4, zstd};
use bytes::Bytes;
use std::cell::RefCell;
use std::io::Read;

/// The most that the records of one batch may take once they are decompressed.
pub(super) const MAX_BODY_BYTES: usize = 1 << 30;
/// A thread gives its buffer back after a batch that needed more.
const KEPT_BYTES: usize = 8 << 20;
/// How much room there is at first, and by how much it grows, where a codec does not say what it needs.
pub(super) const CHUNK_BYTES: usize = 64 << 10;
/// What the blocks of the Java library for snappy begin with; two versions follow, of four bytes each.
const XERIAL: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;

/// What is wrong with the bytes of a batch.
pub(super) type Damage = &'static str;

const TOO_LARGE: Damage = "the records take more than 1 GiB once they are decompressed";

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// That of the attributes of a batch.
    pub(super) fn of(attributes: i16) -> Option<Self> {
        Some(match attributes & 7 {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            _ => return None,
        })
    }

    /// About how many bytes `records` take once they are decompressed: what the codec wrote down, or what the blocks of lz4 and
    /// zstd tell; what tells nothing is taken for four times as large.
    pub(super) fn estimate(self, records: &[u8]) -> usize {
        let said = match self {
            Self::None => return records.len(),
            Self::Gzip => records.last_chunk().map(|&size| u64::from(u32::from_le_bytes(size))),
            Self::Snappy => snappy_len(records).map(|bytes| bytes as u64),
            Self::Lz4 => lz4::content_bytes(records),
            Self::Zstd => zstd::content_bytes(records),
        };
        let said = said.and_then(|bytes| usize::try_from(bytes).ok());
        // What is written there was not checked yet.
        said.filter(|&bytes| bytes <= MAX_BODY_BYTES).unwrap_or(records.len().saturating_mul(4))
    }

    /// The records of a batch as they were before they were compressed. What is not compressed is not copied.
    pub(super) fn decompress(self, records: &Bytes) -> Result<Bytes, Damage> {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        if self == Self::None {
            return Ok(records.clone());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            match self {
                Self::None => scratch.extend(records)?,
                Self::Gzip => gzip(records, scratch)?,
                Self::Snappy => snappy(records, scratch)?,
                Self::Lz4 => lz4::decompress(records, scratch)?,
                Self::Zstd => zstd::decompress(records, scratch)?,
            }
            Ok(Bytes::copy_from_slice(scratch.written()))
        })
    }
}

/// A buffer that is written from its beginning; what lies behind is left from before.
#[derive(Default)]
pub(super) struct Scratch {
    buffer: Vec<u8>,
    len: usize,
}

impl Scratch {
    fn clear(&mut self) {
        self.len = 0;
        if self.buffer.len() > KEPT_BYTES {
            self.buffer = Vec::new();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// What was written, and room for `bytes` more.
    pub(super) fn room(&mut self, bytes: usize) -> Result<(&[u8], &mut [u8]), Damage> {
        let end = self.len.checked_add(bytes).filter(|&end| end <= MAX_BODY_BYTES).ok_or(TOO_LARGE)?;
        if self.buffer.len() < end {
            self.buffer.resize(end.max(self.buffer.len() * 2).min(MAX_BODY_BYTES), 0);
        }
        let (written, rest) = self.buffer.split_at_mut_checked(self.len).ok_or(TOO_LARGE)?;
        Ok((written, rest.get_mut(..bytes).ok_or(TOO_LARGE)?))
    }

    /// So much of the room was written.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.len = (self.len + bytes).min(self.buffer.len());
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        self.room(bytes.len())?.1.copy_from_slice(bytes);
        self.advance(bytes.len());
        Ok(())
    }
}

fn gzip(records: &[u8], out: &mut Scratch) -> Result<(), Damage> {
    let mut decoder = flate2::read::MultiGzDecoder::new(records);
    loop {
        // At the limit there is no room left for a chunk, but perhaps nothing more to come.
        let left = MAX_BODY_BYTES - out.len();
        let (_, room) = out.room(CHUNK_BYTES.min(left).max(1))?;
        match decoder.read(room).map_err(|_| "the records do not decompress by gzip")? {
            0 => return Ok(()),
            bytes => out.advance(bytes),
        }
    }
}

/// How many bytes snappy's records take decompressed, as they say themselves.
fn snappy_len(records: &[u8]) -> Option<usize> {
    if !records.starts_with(XERIAL) {
        return snap::raw::decompress_len(records).ok();
    }
    xerial_blocks(records).map(|block| snap::raw::decompress_len(block.ok()?).ok()).sum()
}

/// The blocks behind the header of the Java library for snappy.
fn xerial_blocks(records: &[u8]) -> impl Iterator<Item = Result<&[u8], Damage>> {
    const CUT: Damage = "a block of snappy is cut off";
    let mut rest = records.get(XERIAL_HEADER_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let block = rest.split_first_chunk().and_then(|(len, behind)| {
            behind.split_at_checked(usize::try_from(i32::from_be_bytes(*len)).ok()?)
        });
        rest = block.map_or(&[], |(_, behind)| behind);
        Some(block.map(|(block, _)| block).ok_or(CUT))
    })
}

fn snappy(records: &[u8], out: &mut Scratch) -> Result<(), Damage> {
    if !records.starts_with(XERIAL) {
        return snappy_block(records, out);
    }
    xerial_blocks(records).try_for_each(|block| snappy_block(block?, out))
}

fn snappy_block(block: &[u8], out: &mut Scratch) -> Result<(), Damage> {
    const BROKEN: Damage = "the records do not decompress by snappy";
    let bytes = snap::raw::decompress_len(block).map_err(|_| BROKEN)?;
    // No block of snappy becomes larger than this: a copy of 64 bytes takes two.
    if bytes > block.len().saturating_mul(32) {
        return Err(BROKEN);
    }
    let (_, room) = out.room(bytes)?;
    let bytes = snap::raw::Decoder::new().decompress(block, room).map_err(|_| BROKEN)?;
    out.advance(bytes);
    Ok(())
}
