//! The stored batch: golden bytes, round trips, and that no damage gets through or does harm.

use super::LogBatch;
use super::PlacedRecords;
use super::batch::BatchEncoder;
use super::frame::{self, FrameHeader, Sequenced};
use super::sequence::Run;
use super::{
    DecodedBatch, Header, Headers, MAX_HEADERS_BYTES, MAX_KEY_BYTES, Record, RecordRef, StoredBatch,
};
use crate::fuzzing::log_batch;
use crate::{Error, ErrorKind, TopicPartition};
use bytes::Bytes;
use proptest::prelude::*;
use std::ops::Range;

fn partition() -> TopicPartition {
    TopicPartition::new("orders", 3)
}

fn encode(base_offset: u64, records: &[Record]) -> StoredBatch {
    StoredBatch::encode(partition(), base_offset, records).unwrap()
}

fn records_of(batch: &StoredBatch) -> Vec<Record> {
    batch.decode().unwrap().iter().map(|record| record.to_record()).collect()
}

fn reopen(frame: Vec<u8>) -> Result<Vec<Record>, Error> {
    let batch = StoredBatch::from_frame(partition(), frame.into())?;
    Ok(batch.decode()?.iter().map(|record| record.to_record()).collect())
}

fn any_record() -> impl Strategy<Value = Record> {
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most).prop_map(Bytes::from);
    let value = proptest::option::weighted(0.9, bytes(20));
    let header = (".{0,5}", value).prop_map(|(name, value)| Header { name, value });
    let headers = proptest::collection::vec(header, 0..3).prop_map(Headers::from);
    let timestamp = prop_oneof![any::<i64>(), -1000_i64..1000];
    let key = proptest::option::weighted(0.95, bytes(200));
    (key, proptest::option::of(bytes(200)), timestamp, headers)
        .prop_map(|(key, value, timestamp_ms, headers)| Record { key, value, timestamp_ms, headers })
}

fn any_records() -> impl Strategy<Value = Vec<Record>> {
    proptest::collection::vec(any_record(), 1..20)
}

#[test]
fn a_header_without_a_value_is_golden() {
    let mut record = Record::new("k", "v");
    record.headers.push(Header::without_value("h"));
    record.headers.push(Header::new("h", ""));
    let mut body = Vec::new();
    frame::write_record(&mut body, 0, &record, false);
    assert_eq!(body, [0, 1, b'k', 2, b'v', 8, 1, b'h', 0x81, 0x80, 0x40, 1, b'h', 0]);
    assert_eq!(record.headers_bytes(), 8);
    assert_eq!(records_of(&encode(7, std::slice::from_ref(&record))), [record]);
    // The longest value that there is has another length.
    let longest = Record::new("k", "v").with_header("", vec![7; MAX_HEADERS_BYTES - 4]);
    assert_eq!(longest.headers_bytes(), MAX_HEADERS_BYTES);
    assert_eq!(records_of(&encode(7, std::slice::from_ref(&longest))), [longest]);
}

#[test]
fn the_layout_is_golden() {
    let records = [
        Record::new("k1", "v").at(1000),
        Record::tombstone("k2").at(999),
        Record::new("", "").at(1300).with_header("h", "x"),
    ];
    let batch = encode(0x0102, &records);
    #[rustfmt::skip]
    let expected: Vec<u8> = vec![
        b'M', b'P', b'B', 1,
        0xee, 0x68, 0xfa, 0x62,
        0, 0, 0, 0,
        3, 0, 0, 0,
        2, 1, 0, 0, 0, 0, 0, 0,
        0xe8, 3, 0, 0, 0, 0, 0, 0,
        0x14, 5, 0, 0, 0, 0, 0, 0,
        22, 0, 0, 0,
        0, 2, b'k', b'1', 2, b'v', 0,
        1, 2, b'k', b'2', 0, 0,
        0xd8, 4, 0, 1, 4, 1, b'h', 1, b'x',
    ];
    assert_eq!(batch.frame().to_vec(), expected);
    assert_eq!(reopen(expected).unwrap(), records);
}

/// A batch whose records have these places in the sequence of the log.
fn sequenced(base_offset: u64, records: &[Record], places: impl IntoIterator<Item = u64>) -> StoredBatch {
    let mut encoder = BatchEncoder::default();
    for (record, place) in records.iter().zip(places) {
        encoder.push(record, Some(place));
    }
    encoder.finish(partition(), base_offset).unwrap()
}

#[test]
fn the_layout_with_places_in_the_sequence_is_golden() {
    let records =
        [Record::new("k1", "v").at(1000), Record::tombstone("k2").at(999), Record::new("", "").at(1300)];
    let one_run = sequenced(0x0102, &records, 0x0a0b..);
    #[rustfmt::skip]
    let expected: Vec<u8> = vec![
        b'M', b'P', b'B', 2,
        0, 0, 0, 0,
        0, 0, 0, 0,
        3, 0, 0, 0,
        2, 1, 0, 0, 0, 0, 0, 0,
        0xe8, 3, 0, 0, 0, 0, 0, 0,
        0x14, 5, 0, 0, 0, 0, 0, 0,
        18, 0, 0, 0,
        0x0b, 0x0a, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0,
        0, 2, b'k', b'1', 2, b'v', 0,
        1, 2, b'k', b'2', 0, 0,
        0xd8, 4, 0, 1, 0,
    ];
    assert_eq!(one_run.frame().to_vec(), frame::sealed(expected.clone()));
    assert_eq!((one_run.sequence(), one_run.last_sequence()), (Some(0x0a0b), Some(0x0a0d)));
    let two_runs = sequenced(0x0102, &records, [0x0a0b, 0x0a0c, 0x0b00]);
    let mut expected = expected;
    expected[52] = 5;
    expected.splice(56..56, [2, 0, 1, 0xf3, 1]);
    assert_eq!(two_runs.frame().to_vec(), frame::sealed(expected.clone()));
    assert_eq!(reopen(frame::sealed(expected)).unwrap(), records);
    let runs = [Run { sequence: 0x0a0b, records: 2 }, Run { sequence: 0x0b00, records: 1 }];
    assert_eq!(two_runs.runs().unwrap().unwrap(), runs);
    assert_eq!(encode(0, &records).runs().unwrap(), None);
}

proptest! {
    #[test]
    fn records_of_another_log_are_as_those_of_a_stored_batch(
        records in proptest::collection::vec(any_record(), 1..200),
        base_offset in 0..1_000_u64,
    ) {
        let stored = encode(base_offset, &records).decode().unwrap();
        let own = DecodedBatch::from_records(base_offset, &records).unwrap();
        prop_assert_eq!(own.records(), records.len());
        prop_assert!(own.iter().eq(stored.iter()));
        prop_assert!(own.iter().map(|record| record.to_record()).eq(records.iter().cloned()));
        for from in [0, base_offset, base_offset + 63, base_offset + 64, base_offset + 150, u64::MAX] {
            prop_assert!(own.iter_from(from).eq(stored.iter_from(from)));
        }
    }
}

#[test]
fn a_batch_of_no_or_of_too_large_records_is_refused() {
    let large = Record::new(vec![0; MAX_KEY_BYTES + 1], "");
    for records in [&[][..], &[large]] {
        assert_eq!(DecodedBatch::from_records(0, records).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a_compressed_batch_of_the_first_release_still_reads() {
    // Read and not compared: what the compressor makes of the same bytes may change with its version.
    #[rustfmt::skip]
    let golden: Vec<u8> = vec![
        b'M', b'P', b'B', 1,
        128, 252, 175, 215,
        1, 0, 0, 0,
        40, 0, 0, 0,
        5, 0, 0, 0, 0, 0, 0, 0,
        7, 0, 0, 0, 0, 0, 0, 0,
        7, 0, 0, 0, 0, 0, 0, 0,
        168, 2, 0, 0,
        255, 2, 0, 3, 107, 101, 121, 11, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 0, 17, 0, 255, 255, 128, 96, 53, 54,
        55, 56, 57, 0,
    ];
    let records = vec![Record::new("key", "0123456789").at(7); 40];
    assert_eq!(reopen(golden).unwrap(), records);
    let batch = encode(5, &records);
    assert!(batch.stored_bytes() < 120, "{} bytes", batch.stored_bytes());
    assert_eq!(records_of(&batch), records);
}

#[test]
fn a_value_of_64_mib_is_a_batch_of_its_own() {
    // Incompressible bytes, without a random generator: the state of a multiplicative walk.
    let mut state = 1_u64;
    let value: Vec<u8> = (0..(64 << 20) / 8)
        .flat_map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state ^ (state >> 29)).to_le_bytes()
        })
        .collect();
    let batch = encode(0, &[Record::new("big", value.clone())]);
    assert_eq!(batch.decode().unwrap().iter().next().unwrap().value, Some(value.as_slice()));
}

#[test]
fn a_record_that_is_too_large_is_refused() {
    let too_large = [
        Record::new(vec![0; super::MAX_KEY_BYTES + 1], ""),
        Record::new("", vec![0; super::MAX_VALUE_BYTES + 1]),
        Record::new("", "").with_header("h", vec![0; super::MAX_HEADERS_BYTES]),
    ];
    for record in too_large {
        assert_eq!(StoredBatch::encode(partition(), 0, &[record]).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(StoredBatch::encode(partition(), 0, &[]).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn an_unknown_version_says_what_to_do() {
    let mut frame = encode(0, &[Record::new("a", "b")]).frame().to_vec();
    frame[3] = 3;
    let error = reopen(frame).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("format version"), "{error}");
}

#[test]
fn damage_names_topic_partition_and_offset() {
    let mut frame = encode(77, &[Record::new("a", "b")]).frame().to_vec();
    *frame.last_mut().unwrap() ^= 1;
    let error = reopen(frame).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("orders/3") && error.message().contains("77"), "{error}");
}

#[test]
fn a_hostile_length_is_refused_before_it_is_allocated() {
    let header = FrameHeader {
        crc: 0,
        flags: frame::FLAG_LZ4,
        records: 1,
        base_offset: 0,
        base_timestamp_ms: 0,
        max_timestamp_ms: 0,
        body_bytes: u32::MAX,
        sequenced: None,
    };
    let refused = |header: FrameHeader| {
        let mut hostile = Vec::new();
        header.write(&mut hostile);
        hostile.extend([0; 64]);
        assert_eq!(reopen(frame::sealed(hostile)).unwrap_err().kind(), ErrorKind::Corrupt, "{header:?}");
    };
    refused(header);

    // Offsets that overflow, and more records than bytes.
    let overflow = FrameHeader { flags: 0, base_offset: u64::MAX, body_bytes: 64, ..header };
    let crowded = FrameHeader { flags: 0, records: u32::MAX, body_bytes: 64, ..header };
    // Sequence numbers that overflow, and runs longer than the frame.
    let plain = FrameHeader { flags: 0, body_bytes: 64, ..header };
    let past = FrameHeader { sequenced: Some(Sequenced { first: u64::MAX, runs_bytes: 0 }), ..plain };
    let long = FrameHeader { sequenced: Some(Sequenced { first: 0, runs_bytes: u32::MAX }), ..plain };
    [overflow, crowded, past, long].into_iter().for_each(refused);
}

#[test]
fn iteration_knows_its_length() {
    let decoded = encode(10, &[Record::new("a", "1"), Record::new("b", "2")]).decode().unwrap();
    let mut iter = decoded.iter();
    assert_eq!(iter.len(), 2);
    assert_eq!(iter.next(), Some(RecordRef::new(10, 0, Some(b"a"), Some(b"1"))));
    assert_eq!(iter.len(), 1);
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(base_offset in 0..u64::MAX / 2, records in any_records()) {
        let batch = encode(base_offset, &records);
        prop_assert_eq!(records_of(&batch), records.clone());
        prop_assert_eq!(batch.end_offset() - base_offset, records.len() as u64);
        prop_assert_eq!(Some(batch.max_timestamp_ms()), records.iter().map(|record| record.timestamp_ms).max());
        prop_assert_eq!(reopen(batch.frame().to_vec()).unwrap(), records);
    }

    #[test]
    fn records_are_found_by_their_offset(
        base_offset in 0..u64::MAX / 2,
        some in any_records(),
        count in 1..400_usize,
        from in -2..402_i64,
    ) {
        let records: Vec<Record> = some.iter().cycle().take(count).cloned().collect();
        let decoded = encode(base_offset, &records).decode().unwrap();
        let from = base_offset.saturating_add_signed(from);
        let found: Vec<RecordRef<'_>> = decoded.iter_from(from).collect();
        let expected: Vec<RecordRef<'_>> = decoded.iter().filter(|record| record.offset >= from).collect();
        prop_assert_eq!(decoded.iter_from(from).len(), expected.len());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn places_in_the_sequence_come_back(records in any_records(), first in 0..u64::MAX / 2, gaps in any::<u64>()) {
        // A gap wherever a bit is set.
        let places: Vec<u64> = (0..records.len() as u64)
            .scan(first, |place, bit| {
                *place += 1 + (gaps >> bit & 1) * 300;
                Some(*place)
            })
            .collect();
        let batch = sequenced(9, &records, places.iter().copied());
        let again = StoredBatch::from_frame(partition(), batch.frame().clone()).unwrap();
        let runs = again.runs().unwrap().unwrap();
        let found: Vec<u64> = runs.iter().flat_map(|run| run.sequence..run.end()).collect();
        prop_assert_eq!(again.last_sequence(), places.last().copied());
        prop_assert_eq!(found, places);
        prop_assert_eq!(records_of(&again), records);
    }

    #[test]
    fn a_flipped_bit_or_a_cut_is_corrupt(
        records in any_records(),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
        place in prop::option::of(0..u64::MAX / 2),
        gap in 1..3_u64,
    ) {
        let places = place.map(|place| (0..records.len() as u64).map(move |index| place + index * gap));
        let batch = places.map_or_else(|| encode(9, &records), |places| sequenced(9, &records, places));
        let frame = batch.frame().to_vec();
        let mut flipped = frame.clone();
        flipped[at.index(frame.len())] ^= 1_u8 << bit;
        prop_assert_eq!(reopen(flipped).unwrap_err().kind(), ErrorKind::Corrupt);
        let cut = frame[..at.index(frame.len())].to_vec();
        prop_assert_eq!(reopen(cut).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    /// Behind a checksum that is right, anything may come.
    #[test]
    fn hostile_bytes_do_no_harm(
        records in any_records(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut frame = encode(9, &records).frame().to_vec();
        for (at, byte) in changes {
            let length = frame.len();
            frame[at.index(length)] = byte;
        }
        log_batch(&frame);
    }
}

proptest! {
    /// Records that lie anywhere, with gaps between their offsets, are found as they were placed.
    #[test]
    fn placed_records_are_found_where_they_lie(
        records in proptest::collection::vec((any_record(), 0_u64..5), 0..200),
        base in 0_u64..1 << 40,
        skip in 0_u64..600,
    ) {
        let mut body = vec![7];
        let mut place = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| {
            let start = body.len();
            body.extend_from_slice(bytes);
            start..body.len()
        });
        let mut next = base;
        let placed: Vec<_> = records.iter().map(|(record, gap)| {
            let offset = next + gap;
            next = offset + 1;
            (offset, place(&record.value), place(&record.key), record)
        }).collect();
        let mut batch = PlacedRecords::new(body.into());
        for (offset, value, key, record) in &placed {
            batch.push(*offset, record.timestamp_ms, key.clone(), value.clone()).unwrap();
            for header in &record.headers {
                batch.header(&header.name, header.value.as_deref()).unwrap();
            }
            prop_assert!(batch.push(*offset, 0, None, None).is_err());
        }
        let batch = batch.finish();
        prop_assert_eq!(batch.records(), records.len());
        let from = base + skip;
        let found: Vec<_> = batch.iter_from(from).map(|record| (record.offset, record.to_record())).collect();
        let expected: Vec<_> = placed.iter().filter(|(offset, ..)| *offset >= from)
            .map(|(offset, .., record)| (*offset, (*record).clone())).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_place_outside_of_the_bytes_is_refused() {
    let mut records = PlacedRecords::new("abc".into());
    records.header("h", Some(b"")).unwrap_err();
    assert!(records.push(0, 0, Some(2..4), None).is_err());
    assert!(records.push(0, 0, None, Some(Range { start: 3, end: 2 })).is_err());
    records.push(5, 0, Some(0..3), Some(3..3)).unwrap();
    assert!(records.push(5 + (1 << 32), 0, None, None).is_err());
    assert_eq!(records.finish().records(), 1);
}
