//! Golden bytes of every layout, and what damaged ones decode to.

use super::frame::FrameWriter;
use super::*;
use crate::time::{Reached, StreamTimes};
use crate::{ErrorKind, Position, TopicPartition};
use proptest::prelude::*;

fn entry() -> CatalogueEntry {
    CatalogueEntry {
        name: "balances".into(),
        id: TableId::new(7).unwrap(),
        kind: "table".into(),
        version: 300,
        types: Types::Shapes,
        key_schema: "u64".into(),
        value_codec: "json".into(),
        value_schema: String::new(),
        group: 2,
        state: TableStage::Ready,
        row_format: ROW_FORMAT,
        fold_id: FoldId::default(),
    }
}

#[test]
fn keys_have_their_golden_bytes() {
    let mut key = vec![9];
    row_prefix(TableId::new(0x0102).unwrap(), &mut key);
    assert_eq!(key, [9, 1, 2]);
    assert_eq!(count_key(TableId::new(0x0708).unwrap()), [0, 0, 3, 7, 8]);
    assert_eq!(table_range(TableId::new(0xfffe).unwrap()), ([0xff, 0xfe], [0xff, 0xff]));
    assert_eq!(FORMAT_VERSION_KEY, [0, 0, 0]);
    assert_eq!(position_key(0x0304), [0, 0, 1, 3, 4]);
    assert_eq!(catalogue_key(TableId::new(0x0506).unwrap()), [0, 0, 2, 5, 6]);
    assert_eq!(encode_format_version(0x0102_0304), [1, 2, 3, 4]);
}

#[test]
fn a_row_count_has_its_golden_bytes() {
    let all = RowCount { rows: 0x0102_0304_0506_0708, cutoff: None };
    assert_eq!(encode_count(&all), [1, 2, 3, 4, 5, 6, 7, 8], "as before there was forgetting");
    let some = RowCount { cutoff: Some([0, 9, 0x80, 7][..].into()), ..all.clone() };
    assert_eq!(encode_count(&some), [1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0x80, 7]);
    for count in [all, some] {
        assert_eq!(decode_count(&encode_count(&count)).unwrap(), count);
    }
    assert!(decode_count(&[1, 2, 3, 4, 5, 6, 7]).is_err());
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
fn how_far_a_group_has_come_has_its_golden_bytes() {
    let position =
        [(TopicPartition::new("a", 0), 1), (TopicPartition::new("b", 2), 300)].into_iter().collect();
    let mut reached = Reached::new(position, StreamTimes::default());
    reached.times.raise(&TopicPartition::new("b", 2), -2);
    let stored = encode_reached(&reached);
    let (body, checksum) = stored.split_at(stored.len() - 4);
    assert_eq!(body, [2, 2, 1, b'a', 0, 1, 0, 1, b'b', 2, 0xac, 2, 1, 3]);
    assert_eq!(checksum, crc32c::crc32c(body).to_be_bytes());
    assert_eq!(decode_reached(&stored).unwrap(), reached);
    // What a release has stored that did not note the times.
    let before = decode_reached(&encode_position(&reached.position)).unwrap();
    assert_eq!(before, Reached { times: StreamTimes::default(), is_timeless: true, ..reached });
    let error = decode_reached(&sealed_reached(&[1, 1, b'a', 0, 1, 2])).unwrap_err();
    assert!(error.message().contains("writers"), "{error}");
}

#[test]
fn a_catalogue_entry_has_its_golden_bytes() {
    let stored = encode_catalogue_entry(&entry());
    let (body, checksum) = stored.split_at(stored.len() - 4);
    assert_eq!(body[..8], [2, 7, 1, 2, 0xac, 2, 1, 8]);
    assert_eq!(body[8..], *b"balances\x05table\x03u64\x04json\0");
    assert_eq!(checksum, [0xbe, 0x46, 0xd6, 0x08]);
}

#[test]
fn a_catalogue_entry_of_the_first_release_has_its_golden_bytes() {
    let entry = CatalogueEntry { types: Types::Names, ..entry() };
    let stored = encode_catalogue_entry(&entry);
    let (body, checksum) = stored.split_at(stored.len() - 4);
    assert_eq!(body[..8], [1, 7, 1, 2, 0xac, 2, 1, 8]);
    assert_eq!(body[8..], *b"balances\x05table\x03u64\x04json\0");
    assert_eq!(checksum, [0xf8, 0xad, 0xa7, 0x55]);
    assert_eq!(decode_catalogue_entry(&stored).unwrap(), entry);
}

#[test]
fn an_entry_that_knows_its_fold_is_golden() {
    let entry =
        CatalogueEntry { fold_id: FoldId { said: "sum-2".to_owned(), ..FoldId::default() }, ..entry() };
    let stored = encode_catalogue_entry(&entry);
    let without = encode_catalogue_entry(&CatalogueEntry { fold_id: FoldId::default(), ..entry.clone() });
    // The format, and one more text before the checksum.
    assert_eq!((stored[0], without[0]), (3, 2));
    assert_eq!(stored[1..stored.len() - 4], [&without[1..without.len() - 4], b"\x05sum-2"].concat());
    assert_eq!(decode_catalogue_entry(&stored).unwrap(), entry);
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

fn state() -> impl Strategy<Value = TableStage> {
    prop_oneof![
        Just(TableStage::Building),
        Just(TableStage::Ready),
        Just(TableStage::Former),
        Just(TableStage::Retired)
    ]
}

prop_compose! {
    fn entries()(
        texts in prop::collection::vec(".{0,12}", 5),
        id in 1..u16::MAX, version: u32, group: u16, row_format: u16, state in state(),
        types in prop_oneof![Just(Types::Names), Just(Types::Shapes)], operator in "[^\u{1f}]{0,3}", said in "[a-c\u{1f}]{0,3}|.{0,3}",
    ) -> CatalogueEntry {
        let text = |index: usize| texts[index].clone();
        let id = TableId::new(id).unwrap();
        CatalogueEntry {
            name: text(0), kind: text(1), key_schema: text(2), value_codec: text(3), value_schema: text(4),
            id, version, group, row_format, state, types,
            fold_id: if types == Types::Shapes { FoldId { operator, said } } else { FoldId::default() },
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

#[test]
fn a_position_names_its_partitions_once_and_in_order() {
    for fields in [[2, 1, b'b', 0, 1, 1, b'a', 0, 1], [2, 1, b'a', 0, 1, 1, b'a', 0, 2]] {
        let error = decode_position(&sealed_position(&fields)).unwrap_err();
        assert!(error.message().contains("order"), "{error}");
    }
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
    fn what_was_reached_round_trips(position in positions(), times in prop::collection::vec(any::<i64>(), 8)) {
        let mut reached = Reached::new(position, StreamTimes::default());
        // Some have shown nothing.
        for ((id, offset), time_ms) in reached.position.iter().zip(times) {
            if offset % 3 > 0 {
                reached.times.raise(id, time_ms);
            }
        }
        prop_assert_eq!(decode_reached(&encode_reached(&reached)).unwrap(), reached);
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

/// Every bit of every field, the checksum's own among them.
fn every_flip_is_corrupt<T: std::fmt::Debug>(stored: &[u8], decode: impl Fn(&[u8]) -> crate::Result<T>) {
    for (at, bit) in (0..stored.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut flipped = stored.to_vec();
        flipped[at] ^= 1 << bit;
        let error = decode(&flipped).expect_err(&format!("bit {bit} of byte {at} of {stored:02x?}"));
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    for length in 0..stored.len() {
        assert_eq!(decode(&stored[..length]).expect_err("cut").kind(), ErrorKind::Corrupt, "cut to {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_flip_in_any_field_of_a_frame_is_noticed(entry in entries(), position in positions()) {
        every_flip_is_corrupt(&encode_catalogue_entry(&entry), decode_catalogue_entry);
        every_flip_is_corrupt(&encode_position(&position), decode_position);
    }
}
