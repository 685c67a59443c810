//! Keys: what the rows of each table, and of each kind of the engine's own, begin with.

use crate::{Error, Result};
use std::fmt;

/// Where the format version is kept.
pub(crate) const FORMAT_VERSION_KEY: &[u8] = &[0, 0, 0];

/// Where the identity of the state is kept.
pub(crate) const IDENTITY_KEY: &[u8] = &[0, 0, 8];

/// In which term of its changelog the state was drained last.
pub(crate) const TERM_KEY: &[u8] = &[0, 0, 9];

/// The name of the service whose state it is.
pub(crate) const SERVICE_KEY: &[u8] = &[0, 0, 10];

/// What the keys of the identities of topics begin with.
const TOPIC_PREFIX: [u8; 3] = [0, 0, 11];

const FOLDED_UNTIL: u8 = 12;
const BEGINNINGS: u8 = 13;
const POSITION: u8 = 1;
const CATALOGUE: u8 = 2;
const COUNT: u8 = 3;

/// The number a table's rows begin with. Given once, never given to another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TableId(u16);

impl TableId {
    /// The first id there is.
    pub(crate) const FIRST: Self = Self(1);

    /// The id `raw`, unless it is one of the two that no table may have.
    pub(crate) fn new(raw: u16) -> Option<Self> {
        (raw != 0 && raw != u16::MAX).then_some(Self(raw))
    }

    /// The id after this one, if there is one left.
    pub(crate) fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }

    /// The number itself.
    pub(crate) fn raw(self) -> u16 {
        self.0
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Appends what the keys of all rows of `table` begin with; the encoded key follows.
#[inline]
pub(crate) fn row_prefix(table: TableId, out: &mut Vec<u8>) {
    out.extend_from_slice(&table.0.to_be_bytes());
}

/// Splits the key of a row into its table and the encoded key.
pub(crate) fn decode_row_key(row: &[u8]) -> Result<(TableId, &[u8])> {
    let Some((id, key)) = row.split_first_chunk::<2>() else {
        return Err(Error::corrupt(format!("a row key of {} bytes has no table id", row.len())));
    };
    match TableId::new(u16::from_be_bytes(*id)) {
        Some(table) => Ok((table, key)),
        None => Err(Error::corrupt(format!("the row key {row:02x?} belongs to no table"))),
    }
}

/// The first key a row of `table` can have, and the first one after all of them.
pub(crate) fn table_range(table: TableId) -> ([u8; 2], [u8; 2]) {
    (table.0.to_be_bytes(), (table.0 + 1).to_be_bytes())
}

/// Where the position of `group` is kept.
pub(crate) fn position_key(group: u16) -> [u8; 5] {
    engine_key(POSITION, group)
}

/// The first key of a position, and the first one after all of them.
pub(crate) fn position_range() -> ([u8; 3], [u8; 3]) {
    ([0, 0, POSITION], [0, 0, POSITION + 1])
}

/// The group whose position is kept under `key`.
pub(crate) fn decode_position_key(key: &[u8]) -> Result<u16> {
    decode_engine_key(POSITION, key)
}

/// Where the catalogue entry of `table` is kept.
pub(crate) fn catalogue_key(table: TableId) -> [u8; 5] {
    engine_key(CATALOGUE, table.0)
}

/// The first key of a catalogue entry, and the first one after all of them.
pub(crate) fn catalogue_range() -> ([u8; 3], [u8; 3]) {
    ([0, 0, CATALOGUE], [0, 0, CATALOGUE + 1])
}

/// Where the number of rows of `table` is kept.
pub(crate) fn count_key(table: TableId) -> [u8; 5] {
    engine_key(COUNT, table.0)
}

/// The first key of a number of rows, and the first one after all of them.
pub(crate) fn count_range() -> ([u8; 3], [u8; 3]) {
    ([0, 0, COUNT], [0, 0, COUNT + 1])
}

/// The table whose number of rows is kept under `key`.
pub(crate) fn decode_count_key(key: &[u8]) -> Result<TableId> {
    let table = TableId::new(decode_engine_key(COUNT, key)?);
    table.ok_or_else(|| Error::corrupt(format!("the row count {key:02x?} belongs to no table")))
}

/// Where the identity of `topic` is kept.
pub(crate) fn topic_key(topic: &str) -> Vec<u8> {
    [&TOPIC_PREFIX, topic.as_bytes()].concat()
}

/// Where it is kept until when a group has folded all that its compacted topics had.
pub(crate) fn folded_until_key(group: u16) -> [u8; 5] {
    engine_key(FOLDED_UNTIL, group)
}

/// Where it is kept with which records a group began.
pub(crate) fn beginnings_key(group: u16) -> [u8; 5] {
    engine_key(BEGINNINGS, group)
}

fn engine_key(kind: u8, number: u16) -> [u8; 5] {
    let [high, low] = number.to_be_bytes();
    [0, 0, kind, high, low]
}

fn decode_engine_key(kind: u8, key: &[u8]) -> Result<u16> {
    match *key {
        [0, 0, found, high, low] if found == kind => Ok(u16::from_be_bytes([high, low])),
        _ => Err(Error::corrupt(format!("{key:02x?} is not a key of the engine's kind {kind}"))),
    }
}
