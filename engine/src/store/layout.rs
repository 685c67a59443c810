//! Every byte layout of stored state, and nothing else.
//!
//! A row is `table id (u16, big-endian) ++ encoded key -> encoded value`. Table id 0 is the engine's own:
//!
//! | key | value |
//! |---|---|
//! | `0000 00` | format version, u32 big-endian |
//! | `0000 01` ++ group (u16 BE) | the [`Position`] of a group of tables that advance together, framed |
//! | `0000 02` ++ table id (u16 BE) | the [`CatalogueEntry`] of a table, framed |
//! | `0000 03` ++ table id (u16 BE) | how many rows the table has, u64 big-endian |
//!
//! A frame is `format (u8) ++ fields ++ crc32c (u32 BE) over all before it`. Inside of it, integers are
//! LEB128 varints, strings are a varint length and UTF-8 bytes. The frames are written by hand: a layout
//! must not change because a serialization library does.
//!
//! Rows of tables carry no frame of their own. A table's [`CatalogueEntry::row_format`] says how its rows
//! are written, for all of them at once: a byte per row would cost every row to allow what a rebuild
//! under a new format does anyway, and compression and checksums belong to the blocks below.
//!
//! Invariant: table ids and first bytes under id 0 are never used again for something else. Id `ffff` is
//! reserved, so that every table has an upper bound of two bytes.

use crate::{Error, Position, Result, TopicPartition};
use std::fmt;

/// The version of everything in this file. A state of another version is refused, never reinterpreted.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// How rows of a table are written: key codec's bytes and value codec's bytes, as they are.
pub(crate) const ROW_FORMAT: u16 = 1;

/// The group every table belongs to unless it is being built apart.
pub(crate) const MAIN_GROUP: u16 = 0;

/// Where the format version is kept.
pub(crate) const FORMAT_VERSION_KEY: &[u8] = &[0, 0, 0];

const POSITION: u8 = 1;
const CATALOGUE: u8 = 2;
const COUNT: u8 = 3;

const POSITION_FORMAT: u8 = 1;
const CATALOGUE_FORMAT: u8 = 1;

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

/// How far a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableState {
    /// Its rows do not yet include everything up to the main group's position.
    Building,
    /// It answers queries.
    Ready,
    /// It answers queries while its successor is built, and is not kept up to date any more.
    Former,
    /// It is gone; its id stays reserved.
    Retired,
}

/// What the state knows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CatalogueEntry {
    /// The user's name for it.
    pub(crate) name: String,
    /// What its rows begin with.
    pub(crate) id: TableId,
    /// What it is, such as `table` or `index`.
    pub(crate) kind: String,
    /// The user's version; raising it rebuilds the table.
    pub(crate) version: u32,
    /// The layout of its keys.
    pub(crate) key_schema: String,
    /// The id of the codec of its values.
    pub(crate) value_codec: String,
    /// What the user says its values are.
    pub(crate) value_schema: String,
    /// The group whose position its rows stand at.
    pub(crate) group: u16,
    /// How far it is.
    pub(crate) state: TableState,
    /// How its rows are written, [`ROW_FORMAT`].
    pub(crate) row_format: u16,
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

/// The stored form of a number of rows.
pub(crate) fn encode_count(rows: u64) -> [u8; 8] {
    rows.to_be_bytes()
}

/// The number of rows that [`encode_count`] stored.
pub(crate) fn decode_count(stored: &[u8]) -> Result<u64> {
    match <[u8; 8]>::try_from(stored) {
        Ok(stored) => Ok(u64::from_be_bytes(stored)),
        Err(_) => Err(Error::corrupt(format!("a row count has {} bytes, not 8", stored.len()))),
    }
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

/// The stored form of a position.
pub(crate) fn encode_position(position: &Position) -> Vec<u8> {
    let mut frame = FrameWriter::new(POSITION_FORMAT);
    frame.number(position.iter().count() as u64);
    for (partition, next_offset) in position.iter() {
        frame.string(&partition.topic);
        frame.number(u64::from(partition.partition));
        frame.number(next_offset);
    }
    frame.finish()
}

/// The position that [`encode_position`] stored.
pub(crate) fn decode_position(stored: &[u8]) -> Result<Position> {
    let mut fields = FrameReader::open("a position", POSITION_FORMAT, stored)?;
    let count = fields.number()?;
    let mut position = Position::new();
    let mut last = None;
    for _ in 0..count {
        let topic = fields.string()?;
        let partition = TopicPartition::new(topic, fields.number_as()?);
        // A partition that stands there twice would leave it open which input the rows include.
        if last.as_ref() >= Some(&partition) {
            return Err(fields.damaged("its partitions are out of order"));
        }
        position.set(partition.clone(), fields.number()?);
        last = Some(partition);
    }
    fields.finish()?;
    Ok(position)
}

/// The stored form of a catalogue entry.
pub(crate) fn encode_catalogue_entry(entry: &CatalogueEntry) -> Vec<u8> {
    let mut frame = FrameWriter::new(CATALOGUE_FORMAT);
    frame.number(u64::from(entry.id.0));
    frame.number(match entry.state {
        TableState::Building => 0,
        TableState::Ready => 1,
        TableState::Retired => 2,
        TableState::Former => 3,
    });
    frame.number(u64::from(entry.group));
    frame.number(u64::from(entry.version));
    frame.number(u64::from(entry.row_format));
    for field in [&entry.name, &entry.kind, &entry.key_schema, &entry.value_codec, &entry.value_schema] {
        frame.string(field);
    }
    frame.finish()
}

/// The entry that [`encode_catalogue_entry`] stored.
pub(crate) fn decode_catalogue_entry(stored: &[u8]) -> Result<CatalogueEntry> {
    let mut fields = FrameReader::open("a catalogue entry", CATALOGUE_FORMAT, stored)?;
    let id = TableId::new(fields.number_as()?).ok_or_else(|| fields.damaged("no such table id"))?;
    let state = match fields.number()? {
        0 => TableState::Building,
        1 => TableState::Ready,
        2 => TableState::Retired,
        3 => TableState::Former,
        _ => return Err(fields.damaged("no such table state")),
    };
    // The fields of a struct expression are evaluated in the order they are written in: the stored order.
    let entry = CatalogueEntry {
        id,
        state,
        group: fields.number_as()?,
        version: fields.number_as()?,
        row_format: fields.number_as()?,
        name: fields.string()?.to_owned(),
        kind: fields.string()?.to_owned(),
        key_schema: fields.string()?.to_owned(),
        value_codec: fields.string()?.to_owned(),
        value_schema: fields.string()?.to_owned(),
    };
    fields.finish()?;
    Ok(entry)
}

struct FrameWriter(Vec<u8>);

impl FrameWriter {
    fn new(format: u8) -> Self {
        Self(vec![format])
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            let [low, ..] = number.to_le_bytes();
            self.0.push(low | 0x80);
            number >>= 7;
        }
        let [low, ..] = number.to_le_bytes();
        self.0.push(low);
    }

    fn string(&mut self, string: &str) {
        self.number(string.len() as u64);
        self.0.extend_from_slice(string.as_bytes());
    }

    fn finish(mut self) -> Vec<u8> {
        let checksum = crc32c::crc32c(&self.0);
        self.0.extend_from_slice(&checksum.to_be_bytes());
        self.0
    }
}

struct FrameReader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> FrameReader<'a> {
    /// Checks the whole frame first, so that nothing is ever read out of damaged bytes.
    fn open(what: &'static str, format: u8, stored: &'a [u8]) -> Result<Self> {
        let frame = Self { what, rest: stored };
        let (body, checksum) = stored.split_last_chunk::<4>().ok_or_else(|| frame.damaged("too short"))?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) {
            return Err(frame.damaged("its checksum does not match"));
        }
        match body.split_first() {
            Some((&found, rest)) if found == format => Ok(Self { what, rest }),
            Some((&found, _)) => Err(Error::corrupt(format!(
                "{what} has format {found}, this version reads {format}: use the version that wrote it, or \
                 delete the state directory to rebuild it from the changelog"
            ))),
            None => Err(frame.damaged("it is empty")),
        }
    }

    fn damaged(&self, why: &str) -> Error {
        Error::corrupt(format!(
            "{} is damaged: {why}; delete the state directory to rebuild it from the changelog",
            self.what
        ))
    }

    fn number(&mut self) -> Result<u64> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or_else(|| self.damaged("a number is cut off"))?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            // Only the shortest form is accepted: what is decoded encodes to the same bytes again.
            let too_long = (shift > 0 && byte == 0) || (bits << shift) >> shift != bits;
            if too_long {
                return Err(self.damaged("a number is too long"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.damaged("a number is too long"))
    }

    fn number_as<N: TryFrom<u64>>(&mut self) -> Result<N> {
        let number = self.number()?;
        N::try_from(number).map_err(|_| self.damaged("a number is too large"))
    }

    fn string(&mut self) -> Result<&'a str> {
        let length: usize = self.number_as()?;
        let (string, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.damaged("a string is cut off"))?;
        self.rest = rest;
        std::str::from_utf8(string).map_err(|_| self.damaged("a string is not UTF-8"))
    }

    fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged("bytes are left over")) }
    }
}

/// Arbitrary fields as a stored position whose checksum is right, to reach the decoder behind it.
#[cfg(any(test, fuzzing))]
pub(crate) fn sealed_position(fields: &[u8]) -> Vec<u8> {
    FrameWriter([&[POSITION_FORMAT], fields].concat()).finish()
}

/// Arbitrary fields as a stored catalogue entry whose checksum is right.
#[cfg(any(test, fuzzing))]
pub(crate) fn sealed_catalogue_entry(fields: &[u8]) -> Vec<u8> {
    FrameWriter([&[CATALOGUE_FORMAT], fields].concat()).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> CatalogueEntry {
        CatalogueEntry {
            name: "balances".into(),
            id: TableId::new(7).unwrap(),
            kind: "table".into(),
            version: 300,
            key_schema: "u64".into(),
            value_codec: "json".into(),
            value_schema: String::new(),
            group: 2,
            state: TableState::Ready,
            row_format: ROW_FORMAT,
        }
    }

    #[test]
    fn keys_have_their_golden_bytes() {
        let mut key = vec![9];
        row_prefix(TableId::new(0x0102).unwrap(), &mut key);
        assert_eq!(key, [9, 1, 2]);
        assert_eq!(count_key(TableId::new(0x0708).unwrap()), [0, 0, 3, 7, 8]);
        assert_eq!(encode_count(0x0102_0304_0506_0708), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(table_range(TableId::new(0xfffe).unwrap()), ([0xff, 0xfe], [0xff, 0xff]));
        assert_eq!(FORMAT_VERSION_KEY, [0, 0, 0]);
        assert_eq!(position_key(0x0304), [0, 0, 1, 3, 4]);
        assert_eq!(catalogue_key(TableId::new(0x0506).unwrap()), [0, 0, 2, 5, 6]);
        assert_eq!(encode_format_version(0x0102_0304), [1, 2, 3, 4]);
    }

    #[test]
    fn a_position_has_its_golden_bytes() {
        let position: Position =
            [(TopicPartition::new("a", 0), 1), (TopicPartition::new("b", 2), 300)].into_iter().collect();
        let stored = encode_position(&position);
        let (body, checksum) = stored.split_at(stored.len() - 4);
        assert_eq!(body, [1, 2, 1, b'a', 0, 1, 1, b'b', 2, 0xac, 2]);
        assert_eq!(checksum, [0xe9, 0xa5, 0x30, 0x7b]);
        assert_eq!(decode_position(&stored).unwrap(), position);
    }

    #[test]
    fn a_position_names_its_partitions_once_and_in_order() {
        for fields in [[2, 1, b'b', 0, 1, 1, b'a', 0, 1], [2, 1, b'a', 0, 1, 1, b'a', 0, 2]] {
            let error = decode_position(&sealed_position(&fields)).unwrap_err();
            assert!(error.message().contains("order"), "{error}");
        }
    }

    #[test]
    fn a_catalogue_entry_has_its_golden_bytes() {
        let stored = encode_catalogue_entry(&entry());
        let (body, checksum) = stored.split_at(stored.len() - 4);
        assert_eq!(body[..8], [1, 7, 1, 2, 0xac, 2, 1, 8]);
        assert_eq!(body[8..], *b"balances\x05table\x03u64\x04json\0");
        assert_eq!(checksum, [0xf8, 0xad, 0xa7, 0x55]);
    }

    #[test]
    fn no_table_has_a_reserved_id() {
        assert_eq!(TableId::new(0), None);
        assert_eq!(TableId::new(u16::MAX), None);
        assert_eq!(TableId::new(u16::MAX - 1).unwrap().next(), None);
        assert!(decode_row_key(&[0, 0, 1]).is_err());
        assert!(decode_row_key(&[1]).is_err());
    }

    #[test]
    fn an_unknown_format_says_what_to_do() {
        let frame = FrameWriter::new(9).finish();
        let error = decode_position(&frame).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
        assert!(error.message().contains("format 9"), "{error}");
    }

    fn state() -> impl Strategy<Value = TableState> {
        prop_oneof![
            Just(TableState::Building),
            Just(TableState::Ready),
            Just(TableState::Former),
            Just(TableState::Retired)
        ]
    }

    prop_compose! {
        fn entries()(
            texts in prop::collection::vec(".{0,12}", 5),
            id in 1..u16::MAX, version: u32, group: u16, row_format: u16, state in state(),
        ) -> CatalogueEntry {
            let text = |index: usize| texts[index].clone();
            let id = TableId::new(id).unwrap();
            CatalogueEntry {
                name: text(0), kind: text(1), key_schema: text(2), value_codec: text(3), value_schema: text(4),
                id, version, group, row_format, state,
            }
        }
    }

    fn positions() -> impl Strategy<Value = Position> {
        prop::collection::btree_map((".{0,8}", any::<u32>()), any::<u64>(), 0..8).prop_map(|offsets| {
            offsets
                .into_iter()
                .map(|((topic, part), offset)| (TopicPartition::new(topic, part), offset))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn catalogue_entries_round_trip(entry in entries()) {
            prop_assert_eq!(decode_catalogue_entry(&encode_catalogue_entry(&entry)).unwrap(), entry);
        }

        #[test]
        fn positions_round_trip(position in positions()) {
            prop_assert_eq!(decode_position(&encode_position(&position)).unwrap(), position);
        }

        #[test]
        fn row_keys_round_trip_and_sort_inside_of_their_table(id in 1..u16::MAX, key: Vec<u8>) {
            let table = TableId::new(id).unwrap();
            let mut row = Vec::new();
            row_prefix(table, &mut row);
            row.extend_from_slice(&key);
            prop_assert_eq!(decode_row_key(&row).unwrap(), (table, &key[..]));
            let (start, end) = table_range(table);
            prop_assert!(start[..] <= row[..] && row[..] < end[..]);
        }

        #[test]
        fn engine_keys_round_trip(number: u16) {
            prop_assert_eq!(decode_position_key(&position_key(number)).unwrap(), number);
        }

        #[test]
        fn a_flipped_bit_is_noticed(entry in entries(), at: prop::sample::Index, bit in 0_u8..8) {
            let mut stored = encode_catalogue_entry(&entry);
            let at = at.index(stored.len());
            stored[at] ^= 1_u8 << bit;
            prop_assert!(decode_catalogue_entry(&stored).is_err());
        }
    }
}
