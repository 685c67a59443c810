//! Every byte layout of stored state, and nothing else: keys, frames, and what is in them, a file for each.
//!
//! A row is `table id (u16, big-endian) ++ encoded key -> encoded value`. Table id 0 is the engine's own:
//!
//! | key | value |
//! |---|---|
//! | `0000 00` | format version, u32 big-endian |
//! | `0000 01` ++ group (u16 BE) | the [`Position`](crate::Position) of a group of tables that advance together, and how far its partitions have come in time with it (none in the format of 0.1), framed |
//! | `0000 02` ++ table id (u16 BE) | the [`CatalogueEntry`] of a table, framed |
//! | `0000 03` ++ table id (u16 BE) | how many rows the table has, u64 big-endian, and, if it has forgotten any, the key of a row below which it has |
//! | `0000 08` | the identity of the state, a framed text; states of 0.1 have none |
//! | `0000 09` | in which term of its changelog it was drained last: number and identity, framed; none if the log has no terms |
//! | `0000 0a` | the name of the service whose state it is, a framed text; a state has none until a release that knows it has opened it |
//! | `0000 0b` ++ name of a topic | the identity of the topic that was folded, a framed text; none if the log does not tell |
//! | `0000 0c` ++ group (u16 BE) | until when all was folded that the compacted topics of the group had then: milliseconds, framed; none without such topics |
//! | `0000 0d` ++ group (u16 BE) | the position at which the group began, of partitions that it did not begin at 0, framed; only of a log that keeps no holds |
//!
//! Group 0 is the main one and group 1 that of the tables being built; group `table id + 1` is that of a table which was
//! left behind ([`TableStage::Former`]) and stands where it was left.
//!
//! A frame is `format (u8) ++ fields ++ crc32c (u32 BE) over all before it`. Inside of it, integers are
//! [varints](crate::varint), strings are a varint length and UTF-8 bytes. The frames are written by hand: a layout
//! must not change because a serialization library does.
//!
//! Rows of tables carry no frame of their own. A table's [`CatalogueEntry::row_format`] says how its rows
//! are written, for all of them at once: a byte per row would cost every row to allow what a rebuild
//! under a new format does anyway, and compression and checksums belong to the blocks below.
//!
//! Invariant: table ids and first bytes under id 0 are never used again for something else. Id `ffff` is
//! reserved, so that every table has an upper bound of two bytes.

mod catalogue;
mod counts;
mod frame;
mod identity;
mod keys;
mod position;
mod witness;

#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub(crate) use catalogue::sealed_catalogue_entry;
pub(crate) use catalogue::{
    CatalogueEntry, FoldId, TableStage, Types, decode_catalogue_entry, encode_catalogue_entry,
};
pub(crate) use counts::{RowCount, decode_count, encode_count};
pub(crate) use identity::{
    decode_identity, decode_service, decode_term, encode_identity, encode_service, encode_term,
};
pub(crate) use keys::{
    FORMAT_VERSION_KEY, IDENTITY_KEY, SERVICE_KEY, TERM_KEY, TableId, beginnings_key, catalogue_key,
    catalogue_range, count_key, count_range, decode_count_key, decode_position_key, decode_row_key,
    folded_until_key, position_key, position_range, row_prefix, table_range, topic_key,
};
pub(crate) use position::{decode_position, decode_reached, encode_position, encode_reached};
#[cfg(any(test, fuzzing))]
pub(crate) use position::{sealed_position, sealed_reached};
pub(crate) use witness::{
    decode_folded_until, decode_topic_identity, encode_folded_until, encode_topic_identity,
};

use crate::{Error, Result};

/// The version of everything in this folder. A state of another version is refused, never reinterpreted.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// How rows of a table are written: key codec's bytes and value codec's bytes, as they are.
pub(crate) const ROW_FORMAT: u16 = 1;

/// The group every table belongs to unless it is being built apart.
pub(crate) const MAIN_GROUP: u16 = 0;

/// The stored form of a format version.
pub(crate) fn encode_format_version(version: u32) -> [u8; 4] {
    version.to_be_bytes()
}

/// The version that [`encode_format_version`] stored.
pub(crate) fn decode_format_version(stored: &[u8]) -> Result<u32> {
    match <[u8; 4]>::try_from(stored) {
        Ok(stored) => Ok(u32::from_be_bytes(stored)),
        Err(_) => Err(Error::corrupt(format!("the format version has {} bytes, not 4", stored.len()))),
    }
}
