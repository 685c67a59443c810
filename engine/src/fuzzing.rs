//! What must hold of every decoder, whatever bytes it is given.
//!
//! Each function takes arbitrary bytes, gives them to decoders, and panics if one breaks its contract. The fuzz targets in
//! `fuzz/` and the tests below run the very same functions. They are compiled for these two only: a release has none of
//! them, and no decoder behaves differently because of them.
//!
//! What is not checked here is how much a decoder allocates: the fuzz targets run under an allocator that refuses more
//! than `fuzz/src/lib.rs` says.

use crate::changelog::{Record, StoredBatch, TopicType, framed, sealed};
use crate::codec::{BigEndian, Bincode, CodecError, Json, Key, KeyCodec, Ordered, Raw, Utf8, ValueCodec};
use crate::store::layout;
use crate::{Error, ErrorKind, TopicPartition, key_codec};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::fmt::Debug;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum SomeKey {
    Nowhere,
    Named(String),
    Numbered(i32, Option<Vec<u8>>),
}
key_codec!(enum SomeKey { 0 => Nowhere, 3 => Named(String), 255 => Numbered(i32, Option<Vec<u8>>) });

/// Every kind of key.
///
/// What decodes encodes to the bytes it was decoded from; keys are ordered as their encodings are; no encoding begins
/// another.
///
/// # Panics
/// If a codec does not hold to that.
pub fn key_codec(data: &[u8]) {
    keys::<u8>(data);
    keys::<u32>(data);
    keys::<i64>(data);
    keys::<u128>(data);
    keys::<i128>(data);
    keys::<bool>(data);
    keys::<char>(data);
    keys::<String>(data);
    keys::<Vec<u8>>(data);
    keys::<Bytes>(data);
    keys::<Option<Box<str>>>(data);
    keys::<[Vec<u8>; 2]>(data);
    keys::<(u8, String, Option<i16>)>(data);
    keys::<((), (Vec<u8>, bool), char)>(data);
    keys::<SomeKey>(data);
    #[cfg(feature = "uuid")]
    keys::<uuid::Uuid>(data);
    #[cfg(feature = "chrono")]
    keys::<(chrono::NaiveDate, chrono::NaiveDateTime, chrono::DateTime<chrono::Utc>)>(data);
    #[cfg(feature = "time")]
    keys::<time::OffsetDateTime>(data);

    // Few bytes are text with an end, so that texts and byte strings are also taken as they come.
    let (first, second) = data.split_at(data.len() / 2);
    let bytes = [first.to_vec(), second.to_vec()];
    let texts = bytes.each_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    neighbours(&bytes);
    neighbours(&[(bytes.clone(), 1_u8), (bytes.clone(), 2)]);
    neighbours(&texts);
    neighbours(&texts.map(|text| SomeKey::Named(text.clone())));
}

/// The keys that lie one after the other in `data`.
fn keys<K: Key + Debug>(data: &[u8]) {
    let mut found = Vec::new();
    let mut rest = data;
    // A few are enough to compare, and a key without bytes would never end.
    while let (true, Some(key)) = (found.len() < 4, canonical::<K>(&mut rest)) {
        found.push(key);
    }
    neighbours(&found);
}

/// Decodes a key from the front of `input`; what decodes must encode to the bytes it was decoded from.
pub(crate) fn canonical<K: Key + Debug>(input: &mut &[u8]) -> Option<K> {
    let before = *input;
    let key = K::decode_key(input).ok()?;
    let (read, _) = before.split_at(before.len() - input.len());
    assert_eq!(encoded(&key), read, "{key:?} has two encodings");
    Some(key)
}

/// Each of the keys decodes again, and all are ordered as their encodings are.
fn neighbours<K: Key + Debug>(keys: &[K]) {
    for key in keys {
        let bytes = encoded(key);
        assert_eq!(K::decode_whole_key(&bytes).as_ref(), Ok(key));
        for other in keys {
            let others = encoded(other);
            assert_eq!(key.cmp(other), bytes.cmp(&others), "{key:?} and {other:?} are out of order");
            assert_eq!(key == other, others.starts_with(&bytes), "{key:?} begins {other:?}");
        }
    }
}

fn encoded<K: KeyCodec>(key: &K) -> Vec<u8> {
    let mut out = Vec::new();
    key.encode_key(&mut out);
    out
}

/// A value of every shape that serde knows and both codecs can write, nested without end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum AnyShape {
    Nothing,
    Unit(()),
    Flag(bool),
    Unsigned(u8, u16, u32, u64, u128),
    Signed(i8, i16, i32, i64, i128),
    Float(f64),
    Letter(char),
    Text(String),
    Optional(Option<Box<AnyShape>>),
    Pair(Box<(AnyShape, AnyShape)>),
    List(Vec<AnyShape>),
    Map(BTreeMap<String, AnyShape>),
    Empty(Vec<()>),
    Fields { id: [u16; 2], text: Box<str>, next: Option<Box<AnyShape>> },
}

/// Values as bincode and as JSON.
///
/// Bytes either are refused or decode to a value that encodes, and from then on nothing changes any more. An encoding of
/// bincode is the shortest there is.
///
/// # Panics
/// If a codec does not hold to that.
pub fn value_codec(data: &[u8]) {
    bincode::<AnyShape>(data);
    bincode::<(u8, u16, u32, u64)>(data);
    bincode::<(i8, i16, i32, i64, i128)>(data);
    bincode::<Vec<f32>>(data);
    bincode::<Vec<u64>>(data);
    bincode::<Vec<Vec<()>>>(data);
    bincode::<BTreeMap<String, Option<Option<char>>>>(data);
    stable::<AnyShape>(&Json, data);
    stable::<BTreeMap<String, Vec<Option<f64>>>>(&Json, data);
    stable::<Vec<(i128, bool, String)>>(&Json, data);
}

fn bincode<V: Serialize + DeserializeOwned>(data: &[u8]) {
    if let Some(again) = stable::<V>(&Bincode, data) {
        assert!(again.len() <= data.len(), "{data:?} is shorter than what its value encodes to");
    }
}

/// What the value in `data` encodes to, if there is one.
fn stable<V>(codec: &impl ValueCodec<V>, data: &[u8]) -> Option<Vec<u8>> {
    let write = |value: &V| {
        let mut out = Vec::new();
        codec.encode(value, &mut out).map(|()| out)
    };
    let value = codec.decode(data).ok()?;
    let first = write(&value);
    // Encodings and not values, for there are floats that do not equal themselves.
    let second = first.as_ref().map_err(CodecError::clone).and_then(|first| write(&codec.decode(first)?));
    assert_eq!(first, second, "{data:?} decodes, but what it says does not come back");
    first.ok()
}

/// Keys as they are on the wire, in every codec that a topic may have for them.
///
/// Bytes either are refused or decode to a key that encodes to them again; to others only where one key may be written in
/// several ways, and from then on nothing changes any more.
///
/// # Panics
/// If a codec does not hold to that.
pub fn wire_codec(data: &[u8]) {
    exact::<(String, Option<i64>)>(&Ordered, data);
    exact::<String>(&Utf8, data);
    exact::<std::sync::Arc<str>>(&Utf8, data);
    exact::<i16>(&BigEndian, data);
    exact::<i32>(&BigEndian, data);
    exact::<i64>(&BigEndian, data);
    exact::<u16>(&BigEndian, data);
    exact::<u32>(&BigEndian, data);
    exact::<u64>(&BigEndian, data);
    exact::<Vec<u8>>(&Raw, data);
    exact::<Bytes>(&Raw, data);
    exact::<[u8; 8]>(&Raw, data);
    stable::<(u32, String)>(&Json, data);
    stable::<BTreeMap<String, Vec<i64>>>(&Json, data);
    #[cfg(feature = "uuid")]
    if let Some(again) = stable::<uuid::Uuid>(&crate::codec::UuidText, data) {
        assert!(data.eq_ignore_ascii_case(&again), "{data:?} is read as {again:?}");
    }
}

/// What decodes, encodes to the same bytes.
fn exact<V>(codec: &impl ValueCodec<V>, data: &[u8]) {
    if let Some(again) = stable(codec, data) {
        assert_eq!(data, again, "a key has two encodings");
    }
}

/// Batches of the changelog: the bytes as they are, with a checksum that is right, and as the records of a batch.
///
/// A batch is refused as `Corrupt`, or all of its records are read; written again, the same records are read.
///
/// # Panics
/// If reading or writing a batch does not hold to that.
pub fn log_batch(data: &[u8]) {
    frame(data.to_vec());
    frame(sealed(data.to_vec()));
    if let Some((&records, body)) = data.split_first() {
        frame(framed(u32::from(records), body));
    }
}

fn frame(frame: Vec<u8>) {
    let partition = TopicPartition::new("fuzzed", 0);
    let batch = match StoredBatch::from_frame(partition.clone(), frame.into()) {
        Ok(batch) => batch,
        Err(error) => return assert_corrupt(&error),
    };
    let records = match records_of(&batch) {
        Ok(records) => records,
        Err(error) => return assert_corrupt(&error),
    };
    match StoredBatch::encode(partition, batch.base_offset(), &records) {
        Ok(again) => {
            assert_eq!(records_of(&again).as_ref().ok(), Some(&records), "the records do not come back");
            assert_eq!(again.end_offset(), batch.end_offset());
            assert_eq!(again.max_timestamp_ms(), batch.max_timestamp_ms());
        }
        // What may be read is more than what may be written: a record can be too large.
        Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
    }
}

fn records_of(batch: &StoredBatch) -> Result<Vec<Record>, Error> {
    let decoded = batch.decode()?;
    assert_eq!(decoded.iter().len(), decoded.iter().count());
    assert!(decoded.iter().map(|record| record.offset).eq(batch.base_offset()..batch.end_offset()));
    let latest_ms = decoded.iter().map(|record| record.timestamp_ms).max();
    assert_eq!(latest_ms, Some(batch.max_timestamp_ms()));
    Ok(decoded.iter().map(|record| record.to_record()).collect())
}

fn assert_corrupt(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

/// What the engine stores of its own beside the rows: the bytes as they are, and as the fields of a frame whose checksum is
/// right.
///
/// What decodes encodes to the same bytes, and anything else is refused as `Corrupt`.
///
/// # Panics
/// If a layout does not hold to that.
pub fn state_frame(data: &[u8]) {
    let position = |stored: &[u8]| layout::decode_position(stored).map(|it| layout::encode_position(&it));
    let reached = |stored: &[u8]| layout::decode_reached(stored).map(|it| layout::encode_reached(&it));
    let catalogue =
        |stored: &[u8]| layout::decode_catalogue_entry(stored).map(|it| layout::encode_catalogue_entry(&it));
    for stored in [data, &layout::sealed_position(data)] {
        same(stored, position(stored));
    }
    // What a release has stored that did not note the times is not written any more.
    let noted = |stored: &&&[u8]| stored.first() == Some(&2);
    for stored in [data, &layout::sealed_reached(data)].iter().filter(noted) {
        same(stored, reached(stored));
    }
    for stored in [data, &layout::sealed_catalogue_entry(data)] {
        same(stored, catalogue(stored));
    }
    let row = layout::decode_row_key(data).map(|(table, key)| {
        let mut row = Vec::new();
        layout::row_prefix(table, &mut row);
        row.extend_from_slice(key);
        let (start, end) = layout::table_range(table);
        assert!(start[..] <= *data && *data < end[..], "the row {data:02x?} lies outside of its table");
        row
    });
    same(data, row);
    same(data, layout::decode_position_key(data).map(|group| layout::position_key(group).to_vec()));
    same(data, layout::decode_count_key(data).map(|table| layout::count_key(table).to_vec()));
    same(data, layout::decode_count(data).map(|rows| layout::encode_count(&rows)));
    same(data, layout::decode_identity(data).map(|identity| layout::encode_identity(&identity)));
    same(data, layout::decode_service(data).map(|name| layout::encode_service(&name)));
    same(data, layout::decode_term(data).map(|term| layout::encode_term(&term)));
    same(data, layout::decode_topic_identity(data).map(|identity| layout::encode_topic_identity(&identity)));
    same(data, layout::decode_folded_until(data).map(layout::encode_folded_until));
    let version = layout::decode_format_version(data);
    same(data, version.map(|version| layout::encode_format_version(version).to_vec()));
    topic_type(data);
}

/// What a topic holds: what decodes is the same once it was stored again, and can be compared with anything.
fn topic_type(data: &[u8]) {
    let sealed = [&[1, 0, 0, 1, b'c', 1, b'k'][..], &[data.len().min(0x7f).to_le_bytes()[0]], data].concat();
    for stored in [data, &sealed] {
        if let Some(holds) = TopicType::from_bytes(stored) {
            assert_eq!(TopicType::from_bytes(&holds.to_bytes()).as_ref(), Some(&holds));
            assert_eq!(TopicType::declare(Some(&holds), &holds).ok(), Some(None));
            drop(TopicType::declare(Some(&TopicType::mixed()), &holds));
        }
    }
}

fn same(stored: &[u8], again: Result<Vec<u8>, Error>) {
    match again {
        Ok(again) => assert_eq!(stored, again, "what is decoded encodes to other bytes"),
        Err(error) => assert_corrupt(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Bytes that look like something: small numbers, escapes, the ends of a range, text, JSON, one byte over and over.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => 0_u8..8,
            2 => 248_u8..=255,
            1 => b'a'..=b'c',
            2 => any::<u8>(),
        ];
        prop_oneof![
            4 => vec(byte, 0..60),
            1 => vec(any::<u8>(), 0..60),
            1 => (any::<[u8; 8]>(), 1..4_u32).prop_map(|(bytes, halved)| bytes[..1 << halved].to_vec()),
            1 => "[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-fg]{12}".prop_map(String::into_bytes),
            1 => "[\\[\\]{}\":,0-9a-z.eE \\\\-]{0,40}".prop_map(String::into_bytes),
            1 => ("(\\[|\\{\"(List|Map|Pair|Optional)\":)", 0..400_usize)
                .prop_map(|(part, times)| part.repeat(times).into_bytes()),
            1 => (0_u8..14, 0..3_000_usize).prop_map(|(byte, times)| vec![byte; times]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn any_bytes_are_keys_or_refused(data in bytes()) {
            key_codec(&data);
        }

        #[test]
        fn any_bytes_are_values_or_refused(data in bytes()) {
            value_codec(&data);
        }

        #[test]
        fn any_bytes_are_keys_on_the_wire_or_refused(data in bytes()) {
            wire_codec(&data);
        }

        #[test]
        fn any_bytes_are_batches_or_refused(data in bytes()) {
            log_batch(&data);
        }

        #[test]
        fn any_bytes_are_what_the_engine_stores_or_refused(data in bytes()) {
            state_frame(&data);
        }
    }
}
