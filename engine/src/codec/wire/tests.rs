//! What Kafka's serializers write, as bytes that were taken from them (kafka-clients 4.4.0), and the laws of each codec.

use super::{BigEndian, Ordered, Utf8};
use crate::changelog::partition_for_key;
use crate::codec::{CheckedCodec, Json, Key, Raw, ValueCodec};
use proptest::prelude::*;
use std::fmt::Debug;
use std::sync::Arc;

fn encoded<V>(codec: &impl ValueCodec<V>, value: &V) -> Vec<u8> {
    let mut out = b"before".to_vec();
    codec.encode(value, &mut out).unwrap();
    assert!(out.starts_with(b"before"), "encoding appends");
    out.split_off(6)
}

fn refusal<V: Debug>(codec: &impl ValueCodec<V>, bytes: &[u8]) -> String {
    codec.decode(bytes).unwrap_err().to_string()
}

/// The serializer has written `bytes` for `value`, and the default partitioner has placed it so among 10 and 1000.
fn golden<V: PartialEq + Debug>(codec: &impl ValueCodec<V>, value: V, bytes: &[u8], partitions: (u32, u32)) {
    assert_eq!(encoded(codec, &value), bytes, "{value:?}");
    assert_eq!(codec.decode(bytes), Ok(value));
    assert_eq!((partition_for_key(bytes, 10), partition_for_key(bytes, 1000)), partitions);
}

#[test]
fn long_serializer() {
    golden(&BigEndian, 0_i64, &[0; 8], (5, 715));
    golden(&BigEndian, 1_i64, &[0, 0, 0, 0, 0, 0, 0, 1], (0, 60));
    golden(&BigEndian, 42_i64, &[0, 0, 0, 0, 0, 0, 0, 42], (2, 552));
    golden(&BigEndian, -1_i64, &[0xff; 8], (7, 397));
    golden(&BigEndian, -2_i64, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], (1, 751));
    golden(&BigEndian, i64::MIN, &[0x80, 0, 0, 0, 0, 0, 0, 0], (4, 624));
    golden(&BigEndian, i64::MAX, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], (6, 976));
    golden(&BigEndian, 1_700_000_000_000_u64, &[0, 0, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0], (9, 359));
    golden(&Ordered, 42_u64, &[0, 0, 0, 0, 0, 0, 0, 42], (2, 552));
}

#[test]
fn integer_and_short_serializer() {
    golden(&BigEndian, 1_i32, &[0, 0, 0, 1], (0, 840));
    golden(&BigEndian, -2_i32, &[0xff, 0xff, 0xff, 0xfe], (4, 344));
    golden(&BigEndian, i32::MIN, &[0x80, 0, 0, 0], (2, 382));
    golden(&BigEndian, u32::MAX >> 1, &[0x7f, 0xff, 0xff, 0xff], (3, 323));
    golden(&BigEndian, 1_u16, &[0, 1], (9, 669));
    golden(&BigEndian, -2_i16, &[0xff, 0xfe], (1, 651));
    golden(&BigEndian, i16::MIN, &[0x80, 0], (2, 2));
    golden(&BigEndian, i16::MAX, &[0x7f, 0xff], (0, 70));
}

#[test]
fn double_float_and_boolean_serializer() {
    golden(&BigEndian, 1.5_f64, &[0x3f, 0xf8, 0, 0, 0, 0, 0, 0], (1, 471));
    golden(&BigEndian, -0.25_f32, &[0xbe, 0x80, 0, 0], (4, 794));
    assert_eq!(encoded(&BigEndian, &f64::NAN), [0x7f, 0xf8, 0, 0, 0, 0, 0, 0]);
    golden(&Ordered, true, &[1], (7, 57));
    golden(&Ordered, false, &[0], (8, 588));
}

#[test]
fn string_serializer() {
    golden(&Utf8, String::new(), b"", (1, 681));
    golden(&Utf8, String::from("string"), b"string", (3, 523));
    golden::<Box<str>>(&Utf8, "p\u{e4}ge".into(), b"p\xc3\xa4ge", (8, 358));
    golden::<Arc<str>>(&Utf8, "a\0b".into(), b"a\0b", (1, 281));
    golden(&Utf8, String::from("\u{1f600}"), b"\xf0\x9f\x98\x80", (7, 617));
    golden(&Utf8, String::from("foobar"), b"foobar", (6, 166));
}

#[cfg(feature = "uuid")]
#[test]
fn uuid_serializer() {
    use super::UuidText;
    use uuid::Uuid;
    let text = b"123e4567-e89b-12d3-a456-426614174000";
    golden(&UuidText, Uuid::from_u128(0x123e_4567_e89b_12d3_a456_4266_1417_4000), text, (6, 136));
    golden(&UuidText, Uuid::from_u128(7), b"00000000-0000-0000-0000-000000000007", (2, 252));
    assert_eq!(UuidText.decode(&text.to_ascii_uppercase()), UuidText.decode(text), "as Java reads it");
    assert_eq!(refusal(&UuidText, &text[1..]), "35 bytes are no UUID as text, which has 36");
    // The other forms of the crate `uuid`, and what only looks like one.
    for other in [
        &b"123e4567e89b12d3a456426614174000"[..],
        b"{123e4567-e89b-12d3-a456-426614174000}",
        b"urn:uuid:123e4567-e89b-12d3-a456-426614174000",
        b"123e4567-e89b-12d3-a456-42661417400g",
        b"123e4567-e89b-12d3-a4566-42661417400",
        b"123e4567-e89b-12d3-a456-4266141740\xc3\xa4",
        b"",
    ] {
        assert!(refusal(&UuidText, other).contains("no UUID as text"), "{other:?}");
    }
}

#[test]
fn byte_array_serializer() {
    golden(&Raw, vec![0, 255], &[0, 255], (3, 553));
    golden(&Raw, [0_u8, 255], &[0, 255], (3, 553));
    assert_eq!(refusal::<[u8; 2]>(&Raw, &[1, 2, 3]), "3 bytes are no array of 2");
}

#[test]
fn numbers_that_the_other_side_would_take_for_others_are_refused() {
    let refuse = |result: Result<(), crate::codec::CodecError>| result.unwrap_err().to_string();
    let mut out = vec![7];
    let message = refuse(BigEndian.encode(&(1_u64 << 63), &mut out));
    assert_eq!(message, "9223372036854775808 is more than 9223372036854775807, the greatest i64");
    assert!(refuse(BigEndian.encode(&u32::MAX, &mut out)).contains("the greatest i32"));
    assert!(refuse(BigEndian.encode(&0x8000_u16, &mut out)).contains("the greatest i16"));
    assert_eq!(out, [7]);
    assert_eq!(refusal::<u64>(&BigEndian, &[0xff; 8]), "-1 is negative, and a u64 is not");
    assert_eq!(refusal::<i64>(&BigEndian, &[0; 4]), "4 bytes are no i64, which has 8");
    assert_eq!(refusal::<i16>(&BigEndian, b""), "0 bytes are no i16, which has 2");
    assert_eq!(refusal::<u32>(&BigEndian, &[0; 5]), "5 bytes are no u32, which has 4");
    assert!(refusal::<String>(&Utf8, b"a\xff").starts_with("no text: "));
}

/// Lower case, whatever it is given; and not every text will do.
#[derive(Debug, Clone, PartialEq)]
struct Code(String);

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Code {
    type Error = &'static str;

    fn try_from(code: String) -> Result<Self, Self::Error> {
        if code.is_empty() { Err("a code is not empty") } else { Ok(Self(code.to_lowercase())) }
    }
}

#[test]
fn a_newtype_of_text_says_which_texts_it_takes_and_is_read_back() {
    assert_eq!(refusal::<Code>(&Utf8, b""), "a code is not empty");
    golden(
        &Utf8,
        Code("lhr".into()),
        b"lhr",
        (partition_for_key(b"lhr", 10), partition_for_key(b"lhr", 1000)),
    );
    let checked = CheckedCodec::new::<Code>(Utf8);
    let mut out = Vec::new();
    checked.encode(&Code("lhr".into()), &mut out).unwrap();
    assert!(checked.encode(&Code("LhR".into()), &mut out).unwrap_err().to_string().contains("another value"));
    assert!(checked.encode(&Code(String::new()), &mut out).is_err(), "it would not be read back");
    assert_eq!(out, b"lhr");
}

fn round_trip<V: PartialEq + Debug>(codec: &impl ValueCodec<V>, value: &V) {
    let bytes = encoded(codec, value);
    assert_eq!(codec.decode(&bytes).as_ref(), Ok(value));
    // Too short and too long, unless that is another text or other bytes.
    let longer = [&bytes[..], b"\xff"].concat();
    let mut again = Vec::new();
    for other in [&longer, &bytes[..bytes.len().saturating_sub(1)]] {
        if let Ok(found) = codec.decode(other) {
            again.clear();
            codec.encode(&found, &mut again).unwrap();
            assert_eq!(again, *other, "{found:?} has two encodings");
        }
    }
}

fn as_key<K: Key + Debug>(key: &K) {
    let bytes = encoded(&Ordered, key);
    let mut ours = Vec::new();
    key.encode_key(&mut ours);
    assert_eq!(bytes, ours);
    round_trip(&Ordered, key);
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_nothing_else(
        text in any::<String>(), bytes in any::<Vec<u8>>(), long in any::<i64>(), int in any::<i32>(), short in any::<i16>()
    ) {
        round_trip(&Utf8, &text);
        round_trip(&Raw, &bytes);
        round_trip(&BigEndian, &long);
        round_trip(&BigEndian, &int);
        round_trip(&BigEndian, &short);
        round_trip(&BigEndian, &(long.unsigned_abs() >> 1));
        round_trip(&BigEndian, &(int.unsigned_abs() >> 1));
        round_trip(&BigEndian, &(short.unsigned_abs() >> 1));
        round_trip(&Json, &(text.clone(), long));
        as_key(&(text, Some(long), bytes));
        #[cfg(feature = "uuid")]
        round_trip(&super::UuidText, &uuid::Uuid::from_u64_pair(long.cast_unsigned(), 7));
    }
}
