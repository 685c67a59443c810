//! What a batch decodes to, whatever its bytes are.

use super::written::{Written, WrittenBatch, lz4_frame, xerial, zstd_without_size};
use crate::fetch::batch::{Batches, KafkaBatch};
use crate::fetch::compression::Codec;
use crate::fetch::fuzzing;
use bytes::Bytes;
use millpond_engine::changelog::LogBatch;
use millpond_engine::{ErrorKind, Result, TopicPartition};
use proptest::collection::vec;
use proptest::prelude::*;

/// One batch of each codec as Kafka 4.4 has stored what its Java client sent: three records with their timestamps, of which
/// one has headers, one no key, and one no value.
const STORED: [(Codec, &str); 5] = [
    (
        Codec::None,
        "000000000000000000000083000000000298769e27000000000002000001a21ba30c00000001a21ba30cc8ffffffffffffffffffffffffffff00000003700000000a616c696365406161616161616161616161616161616161616161616161616161616161616161040874696c6c0233086e6f6e65011c00900302010e6b65796c657373001200130406626f620100",
    ),
    (
        Codec::Gzip,
        "00000000000000000000007a00000000027266a1aa000100000002000001a21ba30c00000001a21ba30cc8ffffffffffffffffffffffffffff000000031f8b08000000000000ff2b606060e04accc94c4e7548240058384a327372988c39f2f2f35219651826303331f265a756e6a4161733083108b3b025e527313200008a91218e52000000",
    ),
    (
        Codec::Snappy,
        "00000000000000000000007e0000000002f09ad121000200000002000001a21ba30c00000001a21ba30cc8ffffffffffffffffffffffffffff0000000382534e4150505900000000010000000100000039522c700000000a616c69636540617a010098040874696c6c0233086e6f6e65011c00900302010e6b65796c657373001200130406626f620100",
    ),
    (
        Codec::Lz4,
        "0000000000000000000000790000000002f1a08934000300000002000001a21ba30c00000001a21ba30cc8ffffffffffffffffffffffffffff0000000304224d1860408239000000cf700000000a616c696365406101000cf018040874696c6c0233086e6f6e65011c00900302010e6b65796c657373001200130406626f62010000000000",
    ),
    (
        Codec::Zstd,
        "0000000000000000000000770000000002ae58c835000400000002000001a21ba30c00000001a21ba30cc8ffffffffffffffffffffffffffff0000000328b52ffd0058d401003403700000000a616c6963654061040874696c6c0233086e6f6e65011c00900302010e6b65796c657373001200130406626f62010001000d4802010000",
    ),
];

fn partition() -> TopicPartition {
    TopicPartition::new("orders", 3)
}

fn batches(bytes: impl Into<Bytes>) -> Result<Vec<KafkaBatch>> {
    Batches::new(&partition(), 0, bytes.into()).collect()
}

/// Offset, timestamp, key, value and headers of a record.
type Shown = (u64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn shown(batch: &KafkaBatch) -> Result<Vec<Shown>> {
    let decoded = batch.decode()?;
    let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    Ok(decoded
        .iter()
        .map(|record| {
            let headers = record.headers().map(|(name, value)| (name.to_owned(), own(value)));
            (record.offset, record.timestamp_ms, own(record.key), own(record.value), headers.collect())
        })
        .collect())
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn what_a_broker_has_stored_is_read_with_every_codec() {
    let some = |text: &str| Some(text.as_bytes().to_vec());
    let headers = vec![("till".to_owned(), some("3")), ("none".to_owned(), None)];
    let expected = [
        (0, 1_795_760_000_000, some("alice"), some(&"a".repeat(32)), headers),
        (1, 1_795_760_000_200, None, some("keyless"), Vec::new()),
        (2, 1_795_759_999_990, some("bob"), None, Vec::new()),
    ];
    for (codec, stored) in STORED {
        let found = batches(unhex(stored)).unwrap();
        assert_eq!(found.len(), 1, "{codec:?}");
        assert_eq!((found[0].base_offset(), found[0].end_offset(), found[0].records()), (0, 3, 3));
        assert_eq!(found[0].stored_bytes(), stored.len() / 2);
        assert_eq!(shown(&found[0]).unwrap(), expected, "{codec:?}");
    }
}

#[test]
fn every_damaged_byte_of_a_stored_batch_is_noticed() {
    for (codec, stored) in STORED {
        let stored = unhex(stored);
        // Before it there are what the checksum does not cover: the offset, the length, the leader's epoch and the format.
        for at in 17..stored.len() {
            let mut damaged = stored.clone();
            damaged[at] ^= 0x10;
            let error = batches(damaged).and_then(|found| found[0].decode()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{codec:?} at {at}");
            assert!(error.message().contains("orders/3 at offset 0"), "{error}");
        }
    }
}

#[test]
fn a_batch_that_is_cut_off_is_left_for_the_next_fetch() {
    let mut bytes = WrittenBatch::values(0, &["a", "b"]).bytes();
    let second = WrittenBatch::values(2, &["c"]).bytes();
    let first_bytes = bytes.len();
    bytes.extend(&second);
    for cut in first_bytes..bytes.len() {
        let id = partition();
        let mut found = Batches::new(&id, 0, bytes[..cut].to_vec().into());
        assert_eq!(found.by_ref().map(|batch| batch.unwrap().end_offset()).collect::<Vec<_>>(), [2]);
        let expected = (cut >= first_bytes + 12).then_some(second.len());
        assert_eq!(found.cut_bytes(), expected);
    }
}

#[test]
fn batches_begin_below_the_offset_asked_for_and_end_behind_their_last_record() {
    let mut first = WrittenBatch::values(10, &["a", "b"]);
    first.last_delta = 9; // what followed was compacted away
    let mut bytes = WrittenBatch::values(5, &["old"]).bytes();
    bytes.extend(first.bytes());
    bytes.extend(WrittenBatch::values(20, &["c"]).bytes());
    let id = partition();
    let found: Vec<_> = Batches::new(&id, 15, bytes.into()).map(Result::unwrap).collect();
    let ranges: Vec<_> = found.iter().map(|batch| (batch.base_offset(), batch.end_offset())).collect();
    assert_eq!(ranges, [(10, 20), (20, 21)]);
    assert_eq!(found[0].records(), 2);
}

#[test]
fn overlapping_batches_are_damage() {
    let mut bytes = WrittenBatch::values(0, &["a", "b"]).bytes();
    bytes.extend(WrittenBatch::values(1, &["c"]).bytes());
    assert_eq!(batches(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn old_message_formats_are_refused_clearly() {
    for magic in [0, 1] {
        let mut bytes = WrittenBatch::values(7, &["a"]).bytes();
        bytes[16] = magic;
        let error = batches(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("orders/3") && error.message().contains("format"), "{error}");
    }
    let mut bytes = WrittenBatch::values(7, &["a"]).bytes();
    bytes[16] = 3;
    assert_eq!(batches(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_topic_stamped_by_the_broker_gives_its_stamp_to_every_record() {
    let mut batch = WrittenBatch::values(0, &["a", "b"]);
    batch.attributes |= 8;
    batch.max_timestamp_ms = 5_000;
    let stamps: Vec<_> =
        shown(&batches(batch.bytes()).unwrap()[0]).unwrap().iter().map(|record| record.1).collect();
    assert_eq!(stamps, [5_000, 5_000]);
}

/// A header that promises two thousand million records, and lengths that point behind the end.
#[test]
fn lengths_that_lie_are_damage() {
    let mut batch = WrittenBatch::values(0, &["a"]);
    batch.last_delta = i32::MAX - 1;
    let records = batch.records.clone();
    for lie in [vec![0xFE, 0xFF, 0xFF, 0xFF, 0x0F], vec![0xFF; 11], vec![2, 0], vec![]] {
        batch.records = vec![Written::default(); 1_000];
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let packed = super::written::compressed(codec, &lie);
            let bytes = batch.around(&packed, codec as i16);
            let error = batches(bytes).unwrap()[0].decode().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
        batch.records.clone_from(&records);
    }
}

#[test]
fn blocks_of_every_form_are_decompressed() {
    let body: Vec<u8> = (0..400_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
    let noise: Vec<u8> =
        (0..100_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for body in [body, noise, Vec::new()] {
        let mut forms = vec![(Codec::Snappy, xerial(&body, 32 << 10))];
        for (linked, sized) in [(false, false), (false, true), (true, false), (true, true)] {
            forms.push((Codec::Lz4, lz4_frame(&body, linked, sized)));
        }
        let two = [lz4_frame(&body, true, true), lz4_frame(b"more", false, false)].concat();
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            forms.push((codec, super::written::compressed(codec, &body)));
        }
        for (codec, packed) in forms {
            assert_eq!(codec.decompress(&packed.clone().into()).unwrap(), body, "{codec:?}");
            for cut in [1, 5, packed.len() / 2, packed.len().saturating_sub(1)] {
                // Whole blocks of snappy, and whole frames, do not show that more is to come.
                let _ = codec.decompress(&packed[..cut.min(packed.len())].to_vec().into());
            }
        }
        assert_eq!(Codec::Lz4.decompress(&two.into()).unwrap().len(), body.len() + 4);
    }
}

#[test]
fn what_codecs_have_written_down_is_the_estimate() {
    let body = vec![7; 100_000];
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        assert_eq!(codec.estimate(&super::written::compressed(codec, &body)), body.len(), "{codec:?}");
    }
    assert_eq!(Codec::Snappy.estimate(&xerial(&body, 32 << 10)), body.len());
}

/// How large batches are decides how many make an epoch: those of the Java client were once taken for twice as large.
#[test]
fn lz4_tells_its_size_by_its_blocks() {
    let varied = |number: u32| (u64::from(number / 3) << 20 | u64::from(number % 1000)).to_le_bytes();
    for records in [0, 1, 5_000, 20_000, 100_000, 1_000_000] {
        let body: Vec<u8> = (0..records).flat_map(varied).collect();
        for linked in [false, true] {
            let packed = lz4_frame(&body, linked, false);
            let estimate = Codec::Lz4.estimate(&packed);
            if body.len() > 64 << 10 {
                assert!(estimate.abs_diff(body.len()) < body.len() / 20, "{estimate} for {}", body.len());
            } else {
                assert!(estimate <= 4 * packed.len(), "{estimate} for {}", packed.len());
            }
            // Whatever is cut off or broken, there is an estimate.
            for cut in 0..packed.len().min(40) {
                assert!(Codec::Lz4.estimate(&packed[..cut]) <= 4 << 20);
            }
        }
    }
    let mut lying = lz4_frame(&[7; 10], false, false);
    lying[7..11].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Codec::Lz4.estimate(&lying), 4 * lying.len());
}

/// Zstd of the Java client does not write the size down either, and batches of zeros were taken for four times what is stored.
#[test]
fn zstd_tells_its_size_by_its_blocks() {
    let varied = |number: u32| (u64::from(number / 3) << 20 | u64::from(number % 1000)).to_le_bytes();
    for (records, zeros) in [(0, false), (1, false), (5_000, false), (100_000, false), (100_000, true)] {
        let body: Vec<u8> = (0..records).flat_map(if zeros { |_| [0; 8] } else { varied }).collect();
        let packed = zstd_without_size(&body);
        let estimate = Codec::Zstd.estimate(&packed);
        if body.len() > 128 << 10 {
            assert!(estimate.abs_diff(body.len()) < body.len() / 5, "{estimate} for {}", body.len());
        } else {
            assert!(estimate <= 4 * packed.len(), "{estimate} for {}", packed.len());
        }
        for cut in 0..packed.len().min(40) {
            assert!(Codec::Zstd.estimate(&packed[..cut]) <= 4 << 20);
        }
    }
    // What says of itself that it is large is not believed beyond what a block can hold.
    let lying = [&zstd_without_size(&[7; 10])[..6], &[0xFB, 0xFF, 0xFF, 7]].concat();
    assert!(Codec::Zstd.estimate(&lying) <= 128 << 10);
}

fn bytes_or_null() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::weighted(0.9, vec(any::<u8>(), 0..40))
}

fn written() -> impl Strategy<Value = Written> {
    let headers = vec(("[a-zé]{0,9}", bytes_or_null()), 0..3);
    (1..4_u32, any::<i64>(), bytes_or_null(), bytes_or_null(), headers).prop_map(
        |(offset_delta, timestamp_delta, key, value, headers)| Written {
            offset_delta,
            timestamp_delta,
            key,
            value,
            headers,
        },
    )
}

fn codec() -> impl Strategy<Value = Codec> {
    prop_oneof![
        Just(Codec::None),
        Just(Codec::Gzip),
        Just(Codec::Snappy),
        Just(Codec::Lz4),
        Just(Codec::Zstd)
    ]
}

proptest! {
    /// Records with gaps between their offsets, timestamps that overflow, keys and values that are null.
    #[test]
    fn what_was_written_is_read(
        base in 0..i64::MAX / 2,
        base_timestamp_ms in any::<i64>(),
        mut records in vec(written(), 1..60),
        codec in codec(),
        behind in 0..5_i32,
    ) {
        let mut delta = 0;
        for record in &mut records {
            delta += record.offset_delta;
            record.offset_delta = delta - 1;
        }
        let batch = WrittenBatch {
            base_offset: base,
            last_delta: delta as i32 - 1 + behind,
            base_timestamp_ms,
            codec,
            records: records.clone(),
            ..WrittenBatch::values(0, &[])
        };
        let found = batches(batch.bytes()).unwrap();
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(found[0].end_offset(), (base + i64::from(delta) + i64::from(behind)) as u64);
        let expected: Vec<Shown> = records
            .into_iter()
            .map(|record| {
                let offset = base as u64 + u64::from(record.offset_delta);
                let timestamp_ms = base_timestamp_ms.wrapping_add(record.timestamp_delta);
                (offset, timestamp_ms, record.key, record.value, record.headers)
            })
            .collect();
        prop_assert_eq!(shown(&found[0]).unwrap(), expected);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..400)) {
        fuzzing::record_batches(&bytes);
    }

    /// Bytes that are nearly a batch get further.
    #[test]
    fn no_change_to_a_batch_makes_the_decoder_panic(
        records in vec(written(), 1..20),
        codec in codec(),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes =
            WrittenBatch { codec, last_delta: 60, records, ..WrittenBatch::values(0, &[]) }.bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        fuzzing::record_batches(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        fuzzing::record_batches(&bytes);
    }
}
