//! Golden bytes, the crate without the guard, of which the guard must change nothing, and hostile input.

use super::guard::EMPTY_ELEMENTS_LIMIT;
use super::*;
use ::bincode::config::{self, Config};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};

fn encode<V: Serialize + DeserializeOwned>(value: &V) -> Result<Vec<u8>, CodecError> {
    let mut out = b"before".to_vec();
    let result = Bincode.encode(value, &mut out);
    assert!(out.starts_with(b"before"), "encoding appends");
    if result.is_err() {
        assert_eq!(out, b"before", "a refused value leaves the output as it was");
    }
    result.map(|()| out.split_off(6))
}

fn decode<V: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<V, CodecError> {
    Bincode.decode(bytes)
}

fn refusal<V: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) -> String {
    decode::<V>(bytes).unwrap_err().to_string()
}

#[expect(clippy::option_option, reason = "the layout must keep the two kinds of none apart")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    unsigned: (u8, u16, u32, u64, u128),
    signed: (i8, i16, i32, i64, i128),
    text: (String, char, Box<str>),
    options: (Option<u16>, Option<Option<bool>>),
    list: Vec<Variant>,
    map: BTreeMap<i32, Vec<String>>,
    bytes: Blob,
    nothing: (),
    array: [i16; 3],
    newtype: Newtype,
}

/// A byte string that serde knows to be one.
#[derive(Debug, Clone, PartialEq)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Reader)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Newtype(Option<Box<Newtype>>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Empty;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Variant {
    Unit,
    Newtype(u64),
    Tuple(i32, String),
    Struct { empty: Empty, flag: bool },
}

fn integer() -> impl Strategy<Value = u128> {
    // Every length of the encoding, and both sides of each change of length.
    let edges = [0_u32, 8, 16, 32, 64, 127].map(|bits| 1_u128 << bits);
    prop_oneof![
        any::<u128>(),
        (0_u32..128).prop_map(|bits| 1 << bits),
        (proptest::sample::select(edges.to_vec()), -6_i128..6)
            .prop_map(|(edge, step)| edge.wrapping_add_signed(step)),
    ]
}

fn variant() -> impl Strategy<Value = Variant> {
    prop_oneof![
        Just(Variant::Unit),
        integer().prop_map(|n| Variant::Newtype(truncate(n))),
        (any::<i32>(), ".{0,4}").prop_map(|(n, text)| Variant::Tuple(n, text)),
        any::<bool>().prop_map(|flag| Variant::Struct { empty: Empty, flag }),
    ]
}

fn truncate<T: TryFrom<u128>>(integer: u128) -> T {
    let bits = 8 * u32::try_from(size_of::<T>()).unwrap();
    let mask = u128::MAX >> (128 - bits);
    // A signed type takes what fits below its sign bit.
    T::try_from(integer & mask).or_else(|_| T::try_from(integer & (mask >> 1))).ok().unwrap()
}

prop_compose! {
    fn everything()(
        n in integer(), negative in any::<bool>(),
        text in (".{0,20}", any::<char>(), ".*"),
        options in any::<(Option<u16>, Option<Option<bool>>)>(),
        list in vec(variant(), 0..5),
        map in btree_map(any::<i32>(), vec(".{0,3}", 0..3), 0..4),
        bytes in vec(any::<u8>(), 0..300),
        array in any::<[i16; 3]>(),
        depth in 0..5_usize,
    ) -> Everything {
        let sign = if negative { -1 } else { 1 };
        let (text, char, boxed) = text;
        Everything {
            unsigned: (truncate(n), truncate(n), truncate(n), truncate(n), n),
            signed: (
                truncate::<i8>(n).wrapping_mul(sign),
                truncate::<i16>(n).wrapping_mul(sign.into()),
                truncate::<i32>(n).wrapping_mul(sign.into()),
                truncate::<i64>(n).wrapping_mul(sign.into()),
                truncate::<i128>(n).wrapping_mul(sign.into()),
            ),
            text: (text, char, boxed.into()),
            options, list, map, bytes: Blob(bytes), nothing: (), array,
            newtype: (0..depth).fold(Newtype(None), |inner, _| Newtype(Some(Box::new(inner)))),
        }
    }
}

/// The crate needs a limit of its own where no guard goes along.
fn unguarded() -> impl Config {
    config::standard().with_limit::<65_536>()
}

/// What the crate accepts as the whole input is accepted with the same result, and nothing else.
fn check_agreement<V: Serialize + DeserializeOwned + PartialEq + Debug>(
    bytes: &[u8],
) -> Result<(), TestCaseError> {
    let theirs = ::bincode::serde::decode_from_slice::<V, _>(bytes, unguarded());
    let theirs = theirs.ok().and_then(|(value, read)| (read == bytes.len()).then_some(value));
    prop_assert_eq!(decode(bytes).ok(), theirs, "{:?}", bytes);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn values_round_trip_in_the_layout_of_the_crate(
        value in everything(), at in any::<usize>(), xor in 1_u8..,
    ) {
        let mut bytes = encode(&value).unwrap();
        prop_assert_eq!(&bytes, &::bincode::serde::encode_to_vec(&value, config::standard()).unwrap());
        prop_assert_eq!(decode(&bytes), Ok(value));
        let index = at % bytes.len();
        prop_assert!(decode::<Everything>(&bytes[..index]).is_err());
        bytes[index] ^= xor;
        check_agreement::<Everything>(&bytes)?;
        bytes.push(0);
        check_agreement::<Everything>(&bytes)?;
    }

    #[test]
    fn floats_keep_their_bits(double in any::<u64>(), single in any::<u32>()) {
        let value = (f64::from_bits(double), f32::from_bits(single));
        let bytes = encode(&value).unwrap();
        prop_assert_eq!(&bytes, &::bincode::serde::encode_to_vec(value, config::standard()).unwrap());
        let decoded: (f64, f32) = decode(&bytes).unwrap();
        prop_assert_eq!((decoded.0.to_bits(), decoded.1.to_bits()), (double, single));
    }

    #[test]
    fn arbitrary_bytes_decode_as_in_the_crate(
        bytes in vec(prop_oneof![3 => 0_u8..4, 1 => 248_u8..=255, 1 => any::<u8>()], 0..24),
    ) {
        check_agreement::<Everything>(&bytes)?;
        check_agreement::<(u8, u16)>(&bytes)?;
        check_agreement::<(u32, u64)>(&bytes)?;
        check_agreement::<u128>(&bytes)?;
        check_agreement::<(i16, i32)>(&bytes)?;
        check_agreement::<(i8, i64)>(&bytes)?;
        check_agreement::<i128>(&bytes)?;
        check_agreement::<Vec<char>>(&bytes)?;
        check_agreement::<(bool, Option<u8>)>(&bytes)?;
        check_agreement::<Vec<Variant>>(&bytes)?;
        check_agreement::<BTreeMap<u8, String>>(&bytes)?;
        check_agreement::<HashMap<i64, Vec<Option<u16>>>>(&bytes)?;
        check_agreement::<Blob>(&bytes)?;
        check_agreement::<Result<u8, String>>(&bytes)?;
    }
}

#[track_caller]
fn is_golden<V: Serialize + DeserializeOwned + PartialEq + Debug>(value: V, bytes: &[u8]) {
    assert_eq!(encode(&value).unwrap(), bytes);
    assert_eq!(decode::<V>(bytes), Ok(value));
}

#[test]
fn the_layout_of_scalars_is_golden() {
    is_golden((250_u64, 251_u64), &[250, 251, 251, 0]);
    is_golden(u64::from(u16::MAX), &[251, 255, 255]);
    is_golden(65_536_u64, &[252, 0, 0, 1, 0]);
    is_golden(1_u64 << 32, &[253, 0, 0, 0, 0, 1, 0, 0, 0]);
    is_golden(u64::MAX, &[253, 255, 255, 255, 255, 255, 255, 255, 255]);
    is_golden((u16::MAX, u32::MAX), &[251, 255, 255, 252, 255, 255, 255, 255]);
    is_golden(7_usize, &[7]);
    is_golden((5_u128, u128::MAX), &[&[5, 254][..], &[255; 16]].concat());
    is_golden((-1_i64, 1_i32, -126_i16), &[1, 2, 251, 251, 0]);
    is_golden((i16::MIN, i32::MIN), &[251, 255, 255, 252, 255, 255, 255, 255]);
    is_golden(i64::MIN, &[253, 255, 255, 255, 255, 255, 255, 255, 255]);
    is_golden((-3_i128, i128::MIN), &[&[5, 254][..], &[255; 16]].concat());
    is_golden((255_u8, -1_i8), &[255, 255]);
    is_golden((true, false, 1.0_f64, -2.0_f32), &[1, 0, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 0, 0, 0, 0xC0]);
    is_golden(("é".to_owned(), 'é', 'a', '\u{10FFFF}'), b"\x02\xC3\xA9\xC3\xA9a\xF4\x8F\xBF\xBF");
    is_golden(Blob(vec![1, 0]), &[2, 1, 0]);
    assert_eq!(ValueCodec::<u8>::id(&Bincode), "bincode-2");
}

#[test]
fn the_layout_of_compounds_is_golden() {
    is_golden((), &[]);
    is_golden(Empty, &[]);
    is_golden((None::<u8>, Some(3_u8), (), Some(None::<u8>), Some(Some(4_u8))), &[0, 1, 3, 1, 0, 1, 1, 4]);
    is_golden(Newtype(Some(Box::new(Newtype(None)))), &[1, 0]);
    is_golden(Pair(5, Some(Box::new(Pair(6, None)))), &[5, 1, 6, 0]);
    is_golden(Named { next: Some(Box::new(Named { next: None })) }, &[1, 0]);
    is_golden([1_u16, 300], &[1, 251, 44, 1]);
    is_golden(vec![1_u16, 300], &[2, 1, 251, 44, 1]);
    is_golden(vec![7_u8; 251], &[&[251, 251, 0][..], &[7; 251]].concat());
    is_golden(BTreeMap::from([(1_u8, "a".to_owned()), (2, String::new())]), &[2, 1, 1, b'a', 2, 0]);
    is_golden([Variant::Unit, Variant::Newtype(5)], &[0, 1, 5]);
    is_golden(Variant::Tuple(-1, "ab".to_owned()), &[2, 1, 2, b'a', b'b']);
    is_golden(Variant::Struct { empty: Empty, flag: true }, &[3, 1]);
    is_golden(vec![vec![(); 3], vec![]], &[2, 3, 0]);
}

/// An encoded length.
fn length(len: u64) -> Vec<u8> {
    encode(&len).unwrap()
}

#[expect(clippy::zero_sized_map_values, reason = "a map whose entries take no bytes is the point")]
#[test]
fn a_length_beyond_the_input_is_refused_before_anything_is_reserved() {
    for len in [1 << 20, 1 << 40, 1 << 60, u64::MAX] {
        let bomb = [length(len), vec![1; 9]].concat();
        let due = format!(
            "the value does not decode: {len} more bytes or elements are due, but only 9 bytes are left"
        );
        assert_eq!(refusal::<String>(&bomb), due);
        assert_eq!(refusal::<Blob>(&bomb), due);
        if len > 1 << 20 {
            assert_eq!(refusal::<Vec<u64>>(&bomb), due);
            assert_eq!(refusal::<Vec<u8>>(&bomb), due);
            assert_eq!(refusal::<Vec<()>>(&bomb), due);
            assert_eq!(refusal::<HashMap<u64, u64>>(&bomb), due);
            assert_eq!(refusal::<BTreeMap<(), ()>>(&bomb), due);
        }
        assert!(decode::<Vec<Vec<[u64; 8]>>>(&[vec![200], bomb].concat()).is_err());
    }
    let below_the_check = [length(1 << 20), vec![1; 9]].concat();
    assert!(refusal::<Vec<u64>>(&below_the_check).contains("1 more bytes or elements are due, but only 0"));
}

/// Remembers what its sequence was promised to hold.
#[derive(Debug)]
struct Hint(usize);

impl<'de> Deserialize<'de> for Hint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Hint;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Hint, A::Error> {
                let hint = Hint(elements.size_hint().unwrap());
                while elements.next_element::<()>()?.is_some() {}
                Ok(hint)
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

impl Serialize for Hint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

#[test]
fn a_collection_is_never_promised_more_elements_than_the_input_has_bytes() {
    let bytes = [length(500_000), length(0)].concat();
    let (hint, end): (Hint, u8) = decode(&bytes).unwrap();
    assert_eq!((hint.0, end), (1, 0));
}

#[test]
fn elements_without_bytes_are_bounded_over_the_whole_value() {
    let most = vec![(); EMPTY_ELEMENTS_LIMIT];
    assert!(decode(&encode(&most).unwrap()) == Ok(most.clone()));
    let half = vec![Empty; EMPTY_ELEMENTS_LIMIT / 2];
    let both = vec![half.clone(), half.clone()];
    assert!(decode(&encode(&both).unwrap()) == Ok(both));
    // Each of these takes a byte, however empty it is: its length.
    let none = vec![Vec::<()>::new(); EMPTY_ELEMENTS_LIMIT + 1];
    assert!(decode(&encode(&none).unwrap()) == Ok(none));
    let none = vec![(BTreeMap::<u8, u8>::new(), ()); EMPTY_ELEMENTS_LIMIT + 1];
    assert!(decode(&encode(&none).unwrap()) == Ok(none));

    let refused = "take no bytes";
    let more = vec![(); EMPTY_ELEMENTS_LIMIT + 1];
    assert!(encode(&more).unwrap_err().to_string().contains(refused));
    assert!(encode(&(most, vec![[0_u8; 0]])).unwrap_err().to_string().contains(refused));
    let three = [vec![3], length(half.len() as u64).repeat(3)].concat();
    assert!(refusal::<Vec<Vec<Empty>>>(&three).contains("more bytes or elements are due"));
    let almost = [vec![2], length(half.len() as u64), length(half.len() as u64 + 4), vec![0; 3]].concat();
    assert!(refusal::<(Vec<Vec<Empty>>, u8, u8, u8)>(&[&almost[..], &[0]].concat()).contains(refused));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum List {
    End,
    Node(Box<List>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Chain {
    End,
    Tuple(u8, Box<Chain>),
    Struct { next: Box<Chain> },
    Inner(Box<(u8, Chain)>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Folder(BTreeMap<u8, Folder>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Named {
    next: Option<Box<Named>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u8, Option<Box<Pair>>);

/// A value nested `deepest` times passes in both directions, and one more level in neither; `step` and `end`
/// are the bytes of one level and of the innermost.
fn check_depth<V: Serialize + DeserializeOwned + PartialEq + Debug>(
    deepest: usize,
    innermost: impl Fn() -> V,
    wrap: impl Fn(V) -> V,
    (step, end): (&[u8], &[u8]),
) {
    let value = |levels| (0..levels).fold(innermost(), |inner, _| wrap(inner));
    let bytes = |levels| [&step.repeat(levels), end].concat();
    let refused = "nested deeper than 256 levels";
    assert_eq!(encode(&value(deepest)), Ok(bytes(deepest)));
    assert_eq!(decode(&bytes(deepest)), Ok(value(deepest)));
    assert!(encode(&value(deepest + 1)).unwrap_err().to_string().contains(refused));
    assert!(refusal::<V>(&bytes(deepest + 1)).contains(refused));
    assert!(refusal::<V>(&bytes(4 << 20)).contains(refused), "a bomb");
}

#[test]
fn nesting_is_bounded_alike_in_both_directions() {
    let check = || {
        check_depth(256, || List::End, |inner| List::Node(Box::new(inner)), (&[1], &[0]));
        check_depth(256, || Chain::End, |inner| Chain::Tuple(9, Box::new(inner)), (&[1, 9], &[0]));
        check_depth(256, || Chain::End, |inner| Chain::Struct { next: Box::new(inner) }, (&[2], &[0]));
        check_depth(128, || Chain::End, |inner| Chain::Inner(Box::new((9, inner))), (&[3, 9], &[0]));
        check_depth(127, || Newtype(None), |inner| Newtype(Some(Box::new(inner))), (&[1], &[0]));
        check_depth(127, || Tree(vec![]), |inner| Tree(vec![inner]), (&[1], &[0]));
        check_depth(127, || Folder(BTreeMap::new()), |inner| Folder([(7, inner)].into()), (&[1, 7], &[0]));
        check_depth(
            127,
            || Named { next: None },
            |inner| Named { next: Some(Box::new(inner)) },
            (&[1], &[0]),
        );
        check_depth(127, || Pair(5, None), |inner| Pair(5, Some(Box::new(inner))), (&[5, 1], &[5, 0]));
    };
    // Half of the stack that a thread has by default.
    std::thread::Builder::new().stack_size(1 << 20).spawn(check).unwrap().join().unwrap();
}

#[test]
fn large_values_round_trip() {
    let bytes = Blob(vec![0xA5; 64 << 20]);
    assert_eq!(decode(&encode(&bytes).unwrap()), Ok(bytes));
    let numbers: Vec<u64> = (0..8 << 20).map(|n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
    assert_eq!(decode(&encode(&numbers).unwrap()), Ok(numbers));
    let text = "pond".repeat(16 << 20);
    assert_eq!(decode(&encode(&text).unwrap()), Ok(text));
}

#[test]
fn trailing_bytes_are_refused() {
    assert_eq!(refusal::<u8>(&[1, 2, 3]), "the value does not decode: 2 bytes are left over after it");
    assert_eq!(refusal::<()>(&[0]), "the value does not decode: 1 bytes are left over after it");
}

/// Word for word: dead letters that 0.1 has written are known by it.
#[test]
fn errors_say_what_is_wrong() {
    #[track_caller]
    fn says<V: Serialize + DeserializeOwned + Debug>(bytes: &[u8], what: &str) {
        assert_eq!(refusal::<V>(bytes), format!("the value does not decode: {what}"));
    }
    let size = |tag| format!("{tag} does not begin an integer of this size");
    let long = [[252].as_slice(), &[0; 20]].concat();
    says::<u16>(&[252, 0, 0, 0, 0], &size("0xfc"));
    says::<u16>(&[252], &size("0xfc"));
    says::<i16>(&long, &size("0xfc"));
    says::<(u8, u32)>(&[&[0, 253], &long[..]].concat(), &size("0xfd"));
    says::<u64>(&[255], &size("0xff"));
    says::<i64>(&[254; 17], &size("0xfe"));
    says::<u128>(&[255; 20], &size("0xff"));
    says::<String>(&[255; 20], &size("0xff"));
    says::<Vec<u8>>(&[255; 20], &size("0xff"));
    says::<Variant>(&[253, 0, 0, 0, 0, 0, 0, 0, 0], &size("0xfd"));
    let due =
        |due: u8, left: u8| format!("{due} more bytes or elements are due, but only {left} bytes are left");
    says::<u64>(&[], &due(1, 0));
    says::<u64>(&[251], &due(2, 0));
    says::<u64>(&[253, 0, 0], &due(8, 2));
    says::<(i8, f64)>(&[1, 0, 0, 0], &due(8, 3));
    says::<(u8, u8)>(&[1], &due(1, 0));
    says::<char>(&[], &due(1, 0));
    says::<Blob>(&[9, 0, 0, 0], &due(9, 3));
    says::<bool>(&[2], "0x02 is not the first byte of a bool");
    says::<Option<u8>>(&[2], "0x02 is not the first byte of an option");
    says::<String>(&[1, 0xFF], "a string is not UTF-8");
    says::<char>(&[0xFF], "a string is not UTF-8");
    says::<Variant>(&[4], "invalid value: integer `4`, expected variant index 0 <= i < 4");
}

#[test]
fn what_the_layout_cannot_say_is_refused_and_not_garbled() {
    #[derive(Serialize, Deserialize)]
    struct Skipping {
        #[serde(skip_serializing_if = "Option::is_none")]
        maybe: Option<u8>,
        after: u8,
    }
    #[derive(Serialize, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        inner: BTreeMap<String, u8>,
    }
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
    }
    struct Liar(usize);
    impl Serialize for Liar {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut sequence = serializer.serialize_seq(Some(self.0))?;
            sequence.serialize_element(&1_u8)?;
            sequence.end()
        }
    }
    impl<'de> Deserialize<'de> for Liar {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Vec::<u8>::deserialize(deserializer).map(|elements| Self(elements.len()))
        }
    }

    let message = |result: Result<Vec<u8>, CodecError>| result.unwrap_err().to_string();
    assert!(encode(&Skipping { maybe: Some(1), after: 2 }).is_ok());
    assert!(message(encode(&Skipping { maybe: None, after: 2 })).contains("field `maybe` is skipped"));
    assert!(message(encode(&Flat { inner: BTreeMap::new() })).contains("not known beforehand"));
    assert!(encode(&Untagged::Number(1)).is_ok());
    assert!(refusal::<Untagged>(&[1]).contains("does not describe itself"));
    assert!(encode(&Liar(1)).is_ok());
    assert!(message(encode(&Liar(2))).contains("another number of elements"));
    assert!(message(encode(&Liar(0))).contains("another number of elements"));
}
