//! The keys and values of the embedded changelog, and the only file that knows them.
//!
//! ```text
//! records   segment u64, topic id u32, partition u32, base offset u64 (big-endian) -> a frame
//!
//! metadata  1                                    -> format version u32
//!           2, topic id u32                      -> name, partitions, retention age + 1, retention bytes + 1
//!           3, segment u64                       -> of 0.1: pieces: count, { topic id, partition, first offset,
//!                                                   end offset, stored bytes, zigzag(greatest timestamp) }
//!           4, consumer                          -> hold: a position
//!           5, producer, 0, number u64           -> epoch mark: two positions
//!           6, topic id u32, partition u32       -> start offset u64, once something was trimmed
//!           7, segment u64                       -> pieces as of kind 3, each followed by the sequence number of its
//!                                                   last record + 1, or 0 if its records have none, and
//!                                                   zigzag(time of its last append) + 1, or 0 if not known
//!           8                                    -> a lower bound of the next sequence number, u64
//!           9, topic id u32                       -> what the topic holds, see `topic_type`, once it was declared
//!           10, name                             -> who used the name last: text
//!           11, number u64                       -> a term: its identity, and a position
//!
//! position  count, { topic, partition, offset }
//! ```
//!
//! Integers in keys are big-endian, in values varints unless a width is given (then little-endian); texts in
//! values have their length in front. Kinds are never used again for something else. Segment-major keys make
//! every segment a key range of its own, so that it is written once and dropped whole.

use super::index::Extent;
use crate::changelog::{EpochMark, Term, Timestamps, TopicConfig, TopicType};
use crate::varint::{read_slice, read_varint, unzigzag, write_slice, write_varint, zigzag};
use crate::{Position, TopicPartition};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

/// Version 2 has sequence numbers. A log of version 1 is read, and becomes one of version 2 when it is opened.
pub(super) const FORMAT_VERSION: u32 = 2;
pub(super) const FORMAT_VERSION_UNSEQUENCED: u32 = 1;
pub(super) const FORMAT: &[u8] = &[1];
const TOPIC: u8 = 2;
const SEGMENT_UNSEQUENCED: u8 = 3;
const HOLD: u8 = 4;
const MARK: u8 = 5;
const START: u8 = 6;
const SEGMENT: u8 = 7;
pub(super) const NEXT_SEQUENCE: &[u8] = &[8];
const TYPE: u8 = 9;
const OWNER: u8 = 10;
const TERM: u8 = 11;

/// A partition by the id of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PartitionSlot {
    pub(super) topic: u32,
    pub(super) partition: u32,
}

/// Where a stored batch lies. Its order is that of the stored keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordKey {
    pub(super) segment: u64,
    pub(super) slot: PartitionSlot,
    pub(super) base_offset: u64,
}

impl RecordKey {
    pub(super) fn to_bytes(self) -> [u8; 24] {
        let mut out = [0; 24];
        let (segment, rest) = out.split_at_mut(8);
        let (topic, rest) = rest.split_at_mut(4);
        let (partition, offset) = rest.split_at_mut(4);
        segment.copy_from_slice(&self.segment.to_be_bytes());
        topic.copy_from_slice(&self.slot.topic.to_be_bytes());
        partition.copy_from_slice(&self.slot.partition.to_be_bytes());
        offset.copy_from_slice(&self.base_offset.to_be_bytes());
        out
    }

    pub(super) fn read(mut key: &[u8]) -> Option<Self> {
        let segment = take_u64(&mut key)?;
        let slot = PartitionSlot { topic: take_u32(&mut key)?, partition: take_u32(&mut key)? };
        let base_offset = take_u64(&mut key)?;
        key.is_empty().then_some(Self { segment, slot, base_offset })
    }

    /// The first and the last key that `segments` may have.
    pub(super) fn inclusive(segments: RangeInclusive<u64>) -> RangeInclusive<[u8; 24]> {
        let (first, last) = segments.into_inner();
        let slot = PartitionSlot { topic: u32::MAX, partition: u32::MAX };
        let end = Self { segment: last, slot, base_offset: u64::MAX };
        Self::segments(first..last).start..=end.to_bytes()
    }

    /// The keys that `segments` may have.
    pub(super) fn segments(segments: Range<u64>) -> Range<[u8; 24]> {
        let first = |segment| {
            let slot = PartitionSlot { topic: 0, partition: 0 };
            Self { segment, slot, base_offset: 0 }.to_bytes()
        };
        first(segments.start)..first(segments.end)
    }
}

pub(super) fn topic_key(id: u32) -> Vec<u8> {
    [&[TOPIC][..], &id.to_be_bytes()].concat()
}

pub(super) fn segment_key(segment: u64) -> Vec<u8> {
    [&[SEGMENT][..], &segment.to_be_bytes()].concat()
}

/// For a row that tells of a segment as 0.1 did: its key, and the key and value that it gets now.
pub(super) fn renewed_segment(row: &MetaRow) -> Option<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let MetaRow::Segment { segment, pieces } = row else { return None };
    let old_key = [&[SEGMENT_UNSEQUENCED][..], &segment.to_be_bytes()].concat();
    Some((old_key, segment_key(*segment), pieces_value(pieces)))
}

pub(super) fn hold_key(consumer: &str) -> Vec<u8> {
    [&[HOLD][..], consumer.as_bytes()].concat()
}

/// Producers have no zero byte in their name (see `check_name`), so that no one's marks lie among another's.
pub(super) fn mark_key(producer: &str, number: u64) -> Vec<u8> {
    [&[MARK][..], producer.as_bytes(), &[0], &number.to_be_bytes()].concat()
}

pub(super) fn owner_key(name: &str) -> Vec<u8> {
    [&[OWNER][..], name.as_bytes()].concat()
}

pub(super) fn term_key(number: u64) -> Vec<u8> {
    [&[TERM][..], &number.to_be_bytes()].concat()
}

pub(super) fn term_value(term: &Term) -> Vec<u8> {
    let mut out = Vec::new();
    write_slice(&mut out, term.identity.as_bytes());
    out.extend(position_value(&term.start));
    out
}

pub(super) fn start_key(slot: PartitionSlot) -> Vec<u8> {
    [&[START][..], &slot.topic.to_be_bytes(), &slot.partition.to_be_bytes()].concat()
}

pub(super) fn start_value(offset: u64, dropped_ms: Option<i64>) -> Vec<u8> {
    let mut value = offset.to_le_bytes().to_vec();
    value.extend(dropped_ms.iter().flat_map(|ms| ms.to_le_bytes()));
    value
}

pub(super) fn type_key(topic: u32) -> Vec<u8> {
    [&[TYPE][..], &topic.to_be_bytes()].concat()
}

/// One row of the metadata.
#[derive(Debug, PartialEq)]
pub(super) enum MetaRow {
    Format(u32),
    Topic {
        id: u32,
        name: String,
        config: TopicConfig,
    },
    Segment {
        segment: u64,
        pieces: Vec<(PartitionSlot, Extent)>,
    },
    Hold {
        consumer: String,
        position: Position,
    },
    Mark {
        producer: String,
        number: u64,
        mark: EpochMark,
    },
    /// Where a partition begins, and the greatest timestamp of what was before, if it is known.
    Start {
        slot: PartitionSlot,
        offset: u64,
        dropped_ms: Option<i64>,
    },
    NextSequence(u64),
    Owner {
        name: String,
        owner: String,
    },
    Term(Term),
    Type {
        topic: u32,
        holds: TopicType,
    },
}

impl MetaRow {
    /// Reads a row; `None` if it is none that this release knows.
    pub(super) fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (&kind, mut key) = key.split_first()?;
        let mut value = value;
        let rest = &mut value;
        let row = match kind {
            1 => Self::Format(u32::from_le_bytes(*std::mem::take(rest).first_chunk()?)),
            TOPIC => read_topic(take_u32(&mut key)?, rest)?,
            SEGMENT_UNSEQUENCED => {
                Self::Segment { segment: take_u64(&mut key)?, pieces: read_pieces(rest, false)? }
            }
            SEGMENT => Self::Segment { segment: take_u64(&mut key)?, pieces: read_pieces(rest, true)? },
            8 => Self::NextSequence(u64::from_le_bytes(*std::mem::take(rest).first_chunk()?)),
            HOLD => Self::Hold { consumer: text(std::mem::take(&mut key))?, position: read_position(rest)? },
            MARK => {
                let (producer, number) = std::mem::take(&mut key).split_last_chunk::<8>()?;
                let producer = text(producer.strip_suffix(&[0])?)?;
                let mark = EpochMark { from: read_position(rest)?, to: read_position(rest)? };
                Self::Mark { producer, number: u64::from_be_bytes(*number), mark }
            }
            OWNER => {
                let owner = text(std::mem::take(rest))?;
                Self::Owner { name: text(std::mem::take(&mut key))?, owner }
            }
            TERM => {
                let identity = text(read_slice(rest)?)?;
                Self::Term(Term::new(take_u64(&mut key)?, identity, read_position(rest)?))
            }
            START => {
                let slot = PartitionSlot { topic: take_u32(&mut key)?, partition: take_u32(&mut key)? };
                let (offset, dropped_ms) = rest.split_first_chunk()?;
                *rest = &[];
                let dropped_ms = dropped_ms.first_chunk().map(|ms| i64::from_le_bytes(*ms));
                Self::Start { slot, offset: u64::from_le_bytes(*offset), dropped_ms }
            }
            TYPE => {
                let topic = take_u32(&mut key)?;
                Self::Type { topic, holds: TopicType::from_bytes(std::mem::take(rest))? }
            }
            _ => return None,
        };
        (key.is_empty() && rest.is_empty()).then_some(row)
    }
}

/// Behind what a topic is kept with: its records are dated when they are appended.
const DATED: u64 = 1;

pub(super) fn topic_value(name: &str, config: &TopicConfig) -> Vec<u8> {
    let mut out = Vec::new();
    write_slice(&mut out, name.as_bytes());
    write_varint(&mut out, config.partitions_or_default().into());
    let age_ms = config.retention_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    write_varint(&mut out, age_ms.map_or(0, |age_ms| age_ms.saturating_add(1)));
    write_varint(&mut out, config.retention_bytes.map_or(0, |bytes| bytes.saturating_add(1)));
    // Left out where it is as in 0.1.
    if config.dates_records() {
        write_varint(&mut out, DATED);
    }
    out
}

fn read_topic(id: u32, rest: &mut &[u8]) -> Option<MetaRow> {
    let name = text(read_slice(rest)?)?;
    let partitions = Some(u32::try_from(read_varint(rest)?).ok()?);
    let retention_age = read_varint(rest)?.checked_sub(1).map(Duration::from_millis);
    let retention_bytes = read_varint(rest)?.checked_sub(1);
    let dates = if rest.is_empty() { None } else { Some(read_varint(rest)?) };
    let timestamps = Some(match dates {
        None => Timestamps::Created,
        Some(DATED) => Timestamps::Appended,
        Some(_) => return None,
    });
    let config = TopicConfig { partitions, retention_age, retention_bytes, timestamps };
    Some(MetaRow::Topic { id, name, config })
}

pub(super) fn pieces_value(pieces: &[(PartitionSlot, Extent)]) -> Vec<u8> {
    let mut out = Vec::new();
    write_varint(&mut out, pieces.len() as u64);
    for (slot, piece) in pieces {
        write_varint(&mut out, slot.topic.into());
        write_varint(&mut out, slot.partition.into());
        write_varint(&mut out, piece.offsets.start);
        write_varint(&mut out, piece.offsets.end);
        write_varint(&mut out, piece.stored_bytes);
        write_varint(&mut out, zigzag(piece.max_timestamp_ms));
        write_varint(&mut out, piece.last_sequence.map_or(0, |last| last + 1));
        write_varint(&mut out, piece.appended_ms.map_or(0, |appended| zigzag(appended).saturating_add(1)));
    }
    out
}

pub(super) fn next_sequence_value(next: u64) -> [u8; 8] {
    next.to_le_bytes()
}

fn read_pieces(rest: &mut &[u8], sequenced: bool) -> Option<Vec<(PartitionSlot, Extent)>> {
    let count = read_varint(rest)?;
    let mut pieces = Vec::new();
    for _ in 0..count {
        let slot = PartitionSlot { topic: read_u32(rest)?, partition: read_u32(rest)? };
        let offsets = read_varint(rest)?..read_varint(rest)?;
        let (stored_bytes, max_timestamp_ms) = (read_varint(rest)?, unzigzag(read_varint(rest)?));
        let last_sequence = if sequenced { read_varint(rest)?.checked_sub(1) } else { None };
        let appended_ms = if sequenced { read_varint(rest)?.checked_sub(1).map(unzigzag) } else { None };
        let piece =
            Extent { segment: 0, offsets, stored_bytes, max_timestamp_ms, last_sequence, appended_ms };
        pieces.push((slot, piece));
    }
    Some(pieces)
}

pub(super) fn mark_value(mark: &EpochMark) -> Vec<u8> {
    let mut out = position_value(&mark.from);
    out.extend(position_value(&mark.to));
    out
}

pub(super) fn position_value(position: &Position) -> Vec<u8> {
    let mut out = Vec::new();
    write_varint(&mut out, position.partitions() as u64);
    for (partition, offset) in position.iter() {
        write_slice(&mut out, partition.topic.as_bytes());
        write_varint(&mut out, partition.partition.into());
        write_varint(&mut out, offset);
    }
    out
}

fn read_position(rest: &mut &[u8]) -> Option<Position> {
    let count = read_varint(rest)?;
    let mut position = Position::new();
    let mut last = None;
    for _ in 0..count {
        let topic = std::str::from_utf8(read_slice(rest)?).ok()?;
        let partition = TopicPartition::after(last.as_ref(), topic, read_u32(rest)?);
        position.set(partition.clone(), read_varint(rest)?);
        last = Some(partition);
    }
    Some(position)
}

fn read_u32(rest: &mut &[u8]) -> Option<u32> {
    read_varint(rest).and_then(|value| u32::try_from(value).ok())
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(u64::from_be_bytes(*bytes))
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(offset: u64) -> Position {
        [(TopicPartition::new("ab", 2), offset)].into_iter().collect()
    }

    #[test]
    fn keys_are_golden_and_ordered_by_segment_first() {
        let key = |segment, topic, partition, base_offset| RecordKey {
            segment,
            slot: PartitionSlot { topic, partition },
            base_offset,
        };
        let first = key(1, 2, 3, 0x0405);
        assert_eq!(
            first.to_bytes(),
            [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 4, 5]
        );
        assert_eq!(RecordKey::read(&first.to_bytes()), Some(first));
        let mut keys = [key(2, 0, 0, 0), key(1, 9, 9, 9), key(1, 2, 4, 0), first, key(1, 2, 3, u64::MAX)];
        keys.sort();
        assert!(keys.windows(2).all(|pair| pair[0].to_bytes() < pair[1].to_bytes()));
        assert_eq!(RecordKey::read(&first.to_bytes()[1..]), None);
    }

    /// A key, what it must be, its value, and the row that both are.
    type Golden = (Vec<u8>, Vec<u8>, Vec<u8>, MetaRow);

    #[test]
    #[expect(clippy::too_many_lines, reason = "one entry for each kind of row")]
    fn metadata_is_golden() {
        let config = TopicConfig {
            partitions: Some(3),
            retention_age: None,
            retention_bytes: Some(299),
            timestamps: Some(Timestamps::Created),
        };
        let slot = PartitionSlot { topic: 1, partition: 2 };
        let piece = |last_sequence| Extent {
            segment: 0,
            offsets: 5..9,
            stored_bytes: 300,
            max_timestamp_ms: -1,
            last_sequence,
            appended_ms: last_sequence.map(|_| -2),
        };
        let mark = EpochMark { from: position(1), to: position(300) };
        let rows: [Golden; 9] = [
            (FORMAT.into(), vec![1], FORMAT_VERSION.to_le_bytes().into(), MetaRow::Format(2)),
            (
                topic_key(7),
                vec![2, 0, 0, 0, 7],
                topic_value("ab", &config),
                MetaRow::Topic { id: 7, name: "ab".into(), config },
            ),
            (
                segment_key(8),
                vec![7, 0, 0, 0, 0, 0, 0, 0, 8],
                pieces_value(&[(slot, piece(Some(299)))]),
                MetaRow::Segment { segment: 8, pieces: vec![(slot, piece(Some(299)))] },
            ),
            (
                segment_key(8),
                vec![7, 0, 0, 0, 0, 0, 0, 0, 8],
                pieces_value(&[(slot, piece(None))]),
                MetaRow::Segment { segment: 8, pieces: vec![(slot, piece(None))] },
            ),
            (NEXT_SEQUENCE.into(), vec![8], next_sequence_value(300).into(), MetaRow::NextSequence(300)),
            (
                hold_key("c"),
                vec![4, b'c'],
                position_value(&position(3)),
                MetaRow::Hold { consumer: "c".into(), position: position(3) },
            ),
            (
                mark_key("p", 4),
                vec![5, b'p', 0, 0, 0, 0, 0, 0, 0, 0, 4],
                mark_value(&mark),
                MetaRow::Mark { producer: "p".into(), number: 4, mark },
            ),
            (
                start_key(slot),
                vec![6, 0, 0, 0, 1, 0, 0, 0, 2],
                6_u64.to_le_bytes().into(),
                MetaRow::Start { slot, offset: 6, dropped_ms: None },
            ),
            (
                type_key(9),
                vec![9, 0, 0, 0, 9],
                TopicType::mixed().to_bytes(),
                MetaRow::Type { topic: 9, holds: TopicType::mixed() },
            ),
        ];
        let values: [&[u8]; 9] = [
            &[2, 0, 0, 0],
            &[2, b'a', b'b', 3, 0, 0xac, 2],
            &[1, 1, 2, 5, 9, 0xac, 2, 1, 0xac, 2, 4],
            &[1, 1, 2, 5, 9, 0xac, 2, 1, 0, 0],
            &[0x2c, 1, 0, 0, 0, 0, 0, 0],
            &[1, 2, b'a', b'b', 2, 3],
            &[1, 2, b'a', b'b', 2, 1, 1, 2, b'a', b'b', 2, 0xac, 2],
            &[6, 0, 0, 0, 0, 0, 0, 0],
            &[1, 1],
        ];
        for ((key, golden_key, value, row), golden_value) in rows.into_iter().zip(values) {
            assert_eq!((&key, value.as_slice()), (&golden_key, golden_value));
            assert_eq!(MetaRow::read(&key, &value), Some(row));
            assert_eq!(MetaRow::read(&key, &value[1..]), None);
        }
        assert_eq!(MetaRow::read(&[99], &[]), None);
        // What 0.1 has stored.
        assert_eq!(MetaRow::read(FORMAT, &[1, 0, 0, 0]), Some(MetaRow::Format(1)));
        let segment = MetaRow::Segment { segment: 8, pieces: vec![(slot, piece(None))] };
        let stored = [1, 1, 2, 5, 9, 0xac, 2, 1];
        assert_eq!(MetaRow::read(&[3, 0, 0, 0, 0, 0, 0, 0, 8], &stored), Some(segment));
    }

    #[test]
    fn a_topic_that_dates_its_records_is_golden() {
        let config = TopicConfig::default().partitions(3).timestamps(Timestamps::Appended);
        let stored = [2, b'a', b'b', 3, 0, 0, 1];
        assert_eq!(topic_value("ab", &config), stored);
        let read = |stored: &[u8]| MetaRow::read(&topic_key(7), stored);
        assert_eq!(read(&stored), Some(MetaRow::Topic { id: 7, name: "ab".into(), config }));
        assert_eq!(read(&[2, b'a', b'b', 3, 0, 0, 2]), None);
        assert_eq!(read(&[2, b'a', b'b', 3, 0, 0, 1, 0]), None);
    }

    #[test]
    fn a_term_is_golden() {
        let term = Term::new(7, "id".into(), position(300));
        let stored = [2, b'i', b'd', 1, 2, b'a', b'b', 2, 0xac, 2];
        assert_eq!(term_key(7), [11, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(term_value(&term), stored);
        assert_eq!(MetaRow::read(&term_key(7), &stored), Some(MetaRow::Term(term)));
        assert!((0..stored.len()).all(|end| MetaRow::read(&term_key(7), &stored[..end]).is_none()));
    }

    #[test]
    fn the_owner_of_a_name_is_golden() {
        assert_eq!(owner_key("ab"), [10, b'a', b'b']);
        let row = MetaRow::Owner { name: "ab".into(), owner: "c".into() };
        assert_eq!(MetaRow::read(&owner_key("ab"), b"c"), Some(row));
        assert_eq!(MetaRow::read(&owner_key("ab"), &[0xff]), None);
    }
}
