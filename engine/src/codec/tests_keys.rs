//! The laws of keys, for every type that is one: round trip, order, freedom from prefixes, hostile bytes.
//!
//! Strategies prefer values that are near each other (shared beginnings, embedded zeros, the ends of a
//! range), where an encoding that keeps order almost everywhere would fail.

use super::{CodecError, Key, KeyCodec, KeyPrefix, prefix_end};
use crate::fuzzing::canonical;
use crate::key_codec;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Serialize, Serializer};
use std::fmt::Debug;
use std::ops::Bound;
use std::sync::Arc;

fn encode<K: KeyCodec>(key: &K) -> Vec<u8> {
    let mut out = Vec::new();
    key.encode_key(&mut out);
    out
}

fn check_round_trip<K: Key + Debug>(key: &K, tail: &[u8]) -> Result<(), TestCaseError> {
    let mut out = vec![0xAB];
    key.encode_key(&mut out);
    prop_assert_eq!(out[0], 0xAB, "encoding appends");
    let bytes = out.split_off(1);
    prop_assert_eq!(K::decode_whole_key(&bytes), Ok(key.clone()));
    let followed = [&bytes[..], tail].concat();
    let mut input = &followed[..];
    prop_assert_eq!(K::decode_key(&mut input), Ok(key.clone()));
    prop_assert_eq!(input, tail, "decoding stops at the end of the key");
    for end in 0..bytes.len() {
        prop_assert!(K::decode_key(&mut &bytes[..end]).is_err(), "cut at {}", end);
    }
    Ok(())
}

fn check_pair<K: Key + Debug>(a: &K, b: &K) -> Result<(), TestCaseError> {
    let (a_bytes, b_bytes) = (encode(a), encode(b));
    prop_assert_eq!(a.cmp(b), a_bytes.cmp(&b_bytes), "{:?} against {:?}", &a_bytes, &b_bytes);
    prop_assert_eq!(a == b, b_bytes.starts_with(&a_bytes), "{:?} begins {:?}", &a_bytes, &b_bytes);
    Ok(())
}

fn check_damaged<K: Key + Debug>(key: &K, at: usize, xor: u8) {
    let mut bytes = encode(key);
    if let Some(index) = at.checked_rem(bytes.len()) {
        bytes[index] ^= xor;
    }
    canonical::<K>(&mut &bytes[..]);
}

/// Bytes that look like keys: zeros, escapes, small tags, and the rest.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![3 => Just(0_u8), 2 => Just(0xFF_u8), 2 => 0_u8..4, 2 => b'a'..=b'c', 1 => any::<u8>()],
        0..40,
    )
}

macro_rules! key_laws {
    ($($name:ident: $key:ty = $strategy:expr;)*) => {$(
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(1_000))]

                #[test]
                fn round_trips(key in $strategy, tail in vec(any::<u8>(), 0..4)) {
                    check_round_trip::<$key>(&key, &tail)?;
                }

                #[test]
                fn byte_order_is_ord_and_no_encoding_begins_another(a in $strategy, b in $strategy) {
                    check_pair::<$key>(&a, &b)?;
                }

                #[test]
                fn hostile_bytes_are_refused_or_canonical(
                    bytes in hostile(), key in $strategy, at in any::<usize>(), xor in 1_u8..,
                ) {
                    canonical::<$key>(&mut &bytes[..]);
                    check_damaged::<$key>(&key, at, xor);
                }
            }
        }
    )*};
}

macro_rules! near_integers {
    ($($integer:ident)*) => {$(
        fn $integer() -> impl Strategy<Value = $integer> {
            let one: $integer = 1;
            let near = [$integer::MIN, one - 1, $integer::MAX / 2, $integer::MAX, 0x7F, 100];
            prop_oneof![
                any::<$integer>(),
                (proptest::sample::select(near.to_vec()), -2_i8..=2).prop_map(|(base, step)| {
                    let distance = $integer::try_from(step.unsigned_abs()).unwrap();
                    if step < 0 { base.wrapping_sub(distance) } else { base.wrapping_add(distance) }
                }),
            ]
        }
    )*};
}

near_integers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);

fn char() -> impl Strategy<Value = char> {
    prop_oneof![
        proptest::sample::select(vec![
            '\0',
            '\u{1}',
            'a',
            'b',
            '\u{7F}',
            '\u{80}',
            '\u{FF}',
            '\u{100}',
            '\u{10FFFF}'
        ]),
        any::<char>(),
    ]
}

fn string() -> impl Strategy<Value = String> {
    vec(char(), 0..6).prop_map(|chars| chars.into_iter().collect())
}

fn byte_string() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0), Just(1), Just(0xFE), Just(0xFF), any::<u8>()], 0..6)
}

fn few() -> impl Strategy<Value = u8> {
    0_u8..3
}

fn option<T: Debug>(some: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(some)
}

key_laws! {
    u8_key: u8 = u8();
    u16_key: u16 = u16();
    u32_key: u32 = u32();
    u64_key: u64 = u64();
    u128_key: u128 = u128();
    i8_key: i8 = i8();
    i16_key: i16 = i16();
    i32_key: i32 = i32();
    i64_key: i64 = i64();
    i128_key: i128 = i128();
    bool_key: bool = any::<bool>();
    char_key: char = char();
    unit_key: () = Just(());
    string_key: String = string();
    boxed_str_key: Box<str> = string().prop_map(String::into_boxed_str);
    arc_str_key: Arc<str> = string().prop_map(Arc::from);
    vec_key: Vec<u8> = byte_string();
    bytes_key: Bytes = byte_string().prop_map(Bytes::from);
    option_integer_key: Option<i16> = option(i16());
    option_string_key: Option<String> = option(string());
    option_option_key: Option<Option<bool>> = option(option(any::<bool>()));
    array_key: [String; 3] = [string(), string(), string()];
    byte_array_key: [u8; 4] = [few(), few(), few(), few()];
    no_array_key: [u64; 0] = Just([]);
    tuple_1_key: (String,) = (string(),);
    tuple_2_key: (String, i32) = (string(), i32());
    tuple_3_key: (Vec<u8>, String, Vec<u8>) = (byte_string(), string(), byte_string());
    tuple_4_key: (u8, String, Option<String>, bool) = (few(), string(), option(string()), any::<bool>());
    tuple_5_key: (u8, u8, i8, String, char) = (few(), few(), i8(), string(), char());
    tuple_6_key: (u8, u8, (), Vec<u8>, u8, i64) = (few(), few(), Just(()), byte_string(), few(), i64());
    nested_key: ((String, u8), Option<(Vec<u8>, String)>) =
        ((string(), few()), option((byte_string(), string())));
}

#[cfg(feature = "uuid")]
key_laws! {
    uuid_key: uuid::Uuid = u128().prop_map(uuid::Uuid::from_u128);
}

#[cfg(feature = "chrono")]
mod with_chrono {
    use super::*;
    use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};

    fn date() -> impl Strategy<Value = NaiveDate> {
        let (first, last) = (NaiveDate::MIN, NaiveDate::MAX);
        prop_oneof![
            (-3_i64..=3).prop_map(|day| {
                NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::TimeDelta::days(day)
            }),
            any::<i32>().prop_filter_map("beyond the range", NaiveDate::from_num_days_from_ce_opt),
            Just(first),
            Just(last),
        ]
    }

    fn date_time() -> impl Strategy<Value = NaiveDateTime> {
        // Leap seconds included, at any second of the day as the type allows.
        let second = prop_oneof![0_u32..3, 86_398_u32..86_400, 0_u32..86_400];
        let nanosecond = prop_oneof![0_u32..2, 999_999_998_u32..1_000_000_002, 0_u32..2_000_000_000];
        (date(), second, nanosecond).prop_map(|(date, second, nanosecond)| {
            let time = NaiveTime::from_num_seconds_from_midnight_opt(second, 0).unwrap();
            date.and_time(time.with_nanosecond(nanosecond).unwrap())
        })
    }

    key_laws! {
        date_key: NaiveDate = date();
        date_time_key: NaiveDateTime = date_time();
        instant_key: DateTime<Utc> = date_time().prop_map(|time| time.and_utc());
    }

    #[test]
    fn layouts_are_golden() {
        let date = NaiveDate::from_ymd_opt(1970, 1, 2).unwrap();
        assert_eq!(encode(&date), [0x80, 0x0A, 0xF9, 0x3C]);
        let time = date.and_hms_nano_opt(0, 0, 1, 5).unwrap();
        let golden = [0x80, 0, 0, 0, 0, 1, 0x51, 0x81, 0, 0, 0, 5];
        assert_eq!(encode(&time), golden);
        assert_eq!(encode(&time.and_utc()), golden);
    }
}

#[cfg(feature = "time")]
mod with_time {
    use super::*;
    use time::{OffsetDateTime, UtcOffset};

    fn instant() -> impl Strategy<Value = OffsetDateTime> {
        let second = prop_oneof![-3_i64..3, -300_000_000_000_i64..250_000_000_000];
        let nanosecond = prop_oneof![0_u32..2, 999_999_998_u32..1_000_000_000];
        (second, nanosecond, -25 * 3600..25 * 3600).prop_map(|(second, nanosecond, offset_s)| {
            let utc = OffsetDateTime::from_unix_timestamp(second).unwrap();
            let offset = UtcOffset::from_whole_seconds(offset_s).unwrap();
            utc.replace_nanosecond(nanosecond).unwrap().to_offset(offset)
        })
    }

    key_laws! {
        instant_key: OffsetDateTime = instant();
    }

    #[test]
    fn the_layout_is_golden_and_that_of_chrono() {
        let instant = OffsetDateTime::from_unix_timestamp(-1).unwrap().replace_nanosecond(5).unwrap();
        assert_eq!(encode(&instant), [0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 5]);
        assert_eq!(OffsetDateTime::key_schema(), "utc-instant");
        #[cfg(feature = "chrono")]
        {
            let same = chrono::DateTime::from_timestamp(-1, 5).unwrap();
            assert_eq!(encode(&same), encode(&instant));
            assert_eq!(chrono::DateTime::<chrono::Utc>::key_schema(), "utc-instant");
        }
    }
}

mod declared {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Route {
        origin: String,
        dest: String,
        input: u8,
    }
    key_codec!(
        struct Route {
            origin: String,
            dest: String,
            input: u8,
        }
    );

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Tail(String);
    key_codec!(
        struct Tail(String);
    );

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Pair(String, Option<Tail>);
    key_codec!(struct Pair(String, Option<Tail>));

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    enum Shape {
        Dot,
        Named(String),
        Sized(String, (u8, Tail)),
        Last,
    }
    key_codec!(enum Shape { 0 => Dot, 1 => Named(String,), 7 => Sized(String, (u8, Tail)), 255 => Last, });

    fn shape() -> impl Strategy<Value = Shape> {
        prop_oneof![
            Just(Shape::Dot),
            string().prop_map(Shape::Named),
            (string(), few(), string()).prop_map(|(name, size, tail)| Shape::Sized(name, (size, Tail(tail)))),
            Just(Shape::Last),
        ]
    }

    fn route() -> impl Strategy<Value = Route> {
        (string(), string(), few()).prop_map(|(origin, dest, input)| Route { origin, dest, input })
    }

    key_laws! {
        route_key: Route = route();
        tail_key: Tail = string().prop_map(Tail);
        pair_key: Pair = (string(), option(string())).prop_map(|(a, b)| Pair(a, b.map(Tail)));
        shape_key: Shape = shape();
        inside_key: (Shape, Route) = (shape(), route());
    }

    #[test]
    fn layouts_are_golden() {
        let route = Route { origin: "A".into(), dest: "\0".into(), input: 9 };
        assert_eq!(encode(&route), b"A\0\0\0\xFF\0\0\x09");
        assert_eq!(encode(&Tail("N1".into())), b"N1\0\0");
        assert_eq!(encode(&Shape::Dot), [0]);
        assert_eq!(encode(&Shape::Sized("a".into(), (3, Tail("b".into())))), b"\x07a\0\0\x03b\0\0");
        assert_eq!(Route::key_schema(), "(string,string,u8)");
        assert_eq!(Tail::key_schema(), "string");
        assert_eq!(Pair::key_schema(), "(string,option<string>)");
        assert_eq!(Shape::key_schema(), "enum{0,1:string,7:(string,(u8,string)),255}");
    }

    #[test]
    fn an_unknown_tag_is_named() {
        let error = Shape::decode_whole_key(&[2]).unwrap_err();
        assert_eq!(error.to_string(), "2 is not the tag of a Shape");
    }

    #[test]
    fn leading_fields_are_prefixes() {
        let route = Route { origin: "LHR".into(), dest: "SIN".into(), input: 1 };
        assert!(begins(&route, &("LHR",)));
        assert!(begins(&route, &("LHR", &route.dest)));
        assert!(begins(&route, &(route.origin.clone(), "SIN", 1)));
        assert!(!begins(&route, &("LH",)));
        assert!(begins(&Pair("a".into(), None), &("a",)));
    }
}

mod derived {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
    #[key(crate = crate)]
    struct Unit;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
    #[key(crate = crate)]
    struct Named<T, const N: usize> {
        r#type: T,
        places: [Option<T>; N],
        bytes: Vec<u8>,
    }

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
    #[key(crate = crate)]
    struct Newtype<T: Clone = String>(T)
    where
        T: Ord;

    /// Its order is that of the discriminants.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
    #[key(crate = crate)]
    enum Level {
        High = 200,
        Highest,
        Low = 3,
        #[key(tag = 0)]
        None = -1,
    }

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
    #[key(crate = crate)]
    enum Event<T> {
        Empty {},
        Moved {
            from: T,
            to: Option<T>,
        },
        #[key(tag = 9)]
        Paid(T, Level),
        Void(),
        Last(Unit),
    }

    macro_rules! made {
        ($name:ident { $field:ident: $key:ty }, $tagged:ident { $variant:ident = $tag:literal }) => {
            #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
            #[key(crate = crate)]
            struct $name {
                $field: $key,
                out: u8,
            }

            #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
            #[key(crate = crate)]
            enum $tagged {
                $variant = $tag,
            }
        };
    }

    made!(Made { input: Option<u32> }, Tagged { Only = 17 });

    fn level() -> impl Strategy<Value = Level> {
        proptest::sample::select(vec![Level::High, Level::Highest, Level::Low, Level::None])
    }

    fn named() -> impl Strategy<Value = Named<String, 2>> {
        (string(), [option(string()), option(string())], byte_string())
            .prop_map(|(r#type, places, bytes)| Named { r#type, places, bytes })
    }

    fn event() -> impl Strategy<Value = Event<String>> {
        prop_oneof![
            Just(Event::Empty {}),
            (string(), option(string())).prop_map(|(from, to)| Event::Moved { from, to }),
            (string(), level()).prop_map(|(to, level)| Event::Paid(to, level)),
            Just(Event::Void()),
            Just(Event::Last(Unit)),
        ]
    }

    key_laws! {
        unit_key: Unit = Just(Unit);
        named_key: Named<String, 2> = named();
        newtype_key: Newtype = string().prop_map(Newtype);
        level_key: Level = level();
        event_key: Event<String> = event();
        inside_key: (Event<String>, Named<String, 2>) = (event(), named());
    }

    #[test]
    fn layouts_are_golden() {
        assert!(encode(&Unit).is_empty());
        let named = Named { r#type: 7_u16, places: [None, Some(8)], bytes: vec![0] };
        assert_eq!(encode(&named), [0, 7, 0, 1, 0, 8, 0, 0xFF, 0, 0]);
        assert_eq!(encode(&Newtype("N1".to_owned())), b"N1\0\0");
        assert_eq!(
            [Level::High, Level::Highest, Level::Low, Level::None].map(|level| level as i16),
            [200, 201, 3, -1]
        );
        assert_eq!(
            [Level::High, Level::Highest, Level::Low, Level::None].map(|level| encode(&level)[0]),
            [200, 201, 3, 0]
        );
        assert_eq!(encode(&Event::<u8>::Empty {}), [0]);
        assert_eq!(encode(&Event::Moved { from: 7_u8, to: Some(8) }), [1, 7, 1, 8]);
        assert_eq!(encode(&Event::Paid(7_u8, Level::Low)), [9, 7, 3]);
        assert_eq!(encode(&Event::<u8>::Void()), [10]);
        assert_eq!(encode(&Event::<u8>::Last(Unit)), [11]);
        assert_eq!(encode(&(Made { input: Some(1), out: 2 }, Tagged::Only)), [1, 0, 0, 0, 1, 2, 17]);
    }

    #[test]
    fn schemas_and_shapes_name_the_layout() {
        assert_eq!((Unit::key_schema(), Unit::key_shape()), ("()".to_owned(), "()".to_owned()));
        assert_eq!(Named::<u8, 3>::key_schema(), "(u8,[option<u8>;3],bytes)");
        assert_eq!(Named::<u8, 3>::key_shape(), "(r#type:u8,places:[option<u8>;3],bytes:bytes)");
        assert_eq!(Newtype::<Vec<u8>>::key_schema(), "bytes");
        assert_eq!(Event::<u8>::key_schema(), "enum{0,1:(u8,option<u8>),9:(u8,enum{200,201,3,0}),10,11:()}");
        assert_eq!(
            Event::<u8>::key_shape(),
            "enum{0=Empty,1=Moved:(from:u8,to:option<u8>),9=Paid:(u8,enum{200=High,201=Highest,3=Low,0=None}),10=Void,11=Last:()}"
        );
    }

    #[test]
    fn an_unknown_tag_is_named() {
        let error = Level::decode_whole_key(&[2]).unwrap_err();
        assert_eq!(error.to_string(), "2 is not the tag of a Level");
    }

    #[test]
    fn leading_fields_are_prefixes() {
        let named = Named { r#type: "LHR".to_owned(), places: [Some("SIN".to_owned())], bytes: vec![1] };
        assert!(begins(&named, &("LHR",)));
        assert!(begins(&named, &("LHR", [Some("SIN".to_owned())])));
        assert!(begins(&named, &(&named.r#type, &named.places, [1])));
        assert!(!begins(&named, &("LH",)));
        assert!(!begins(&named, &("LHR", [None])));
        assert!(begins(&Newtype("a".to_owned()), &("a",)));
    }
}

fn begins<K: KeyCodec, P: KeyPrefix<K> + ?Sized>(key: &K, prefix: &P) -> bool {
    let mut start = Vec::new();
    prefix.encode_prefix(&mut start);
    let bytes = encode(key);
    let in_range = bytes >= start && prefix_end(&start).is_none_or(|end| bytes < end);
    assert_eq!(in_range, bytes.starts_with(&start), "the range of a prefix is what begins with it");
    in_range
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_prefix_meets_exactly_the_strings_that_begin_with_it(
        key in string(), prefix in string(), cut in 0_usize..6,
    ) {
        let own = key.chars().take(cut).collect::<String>();
        for prefix in [prefix, own] {
            let expected = key.starts_with(&prefix);
            prop_assert_eq!(begins(&key, prefix.as_str()), expected);
            prop_assert_eq!(begins::<Box<str>, _>(&key.as_str().into(), &prefix), expected);
            prop_assert_eq!(begins::<Arc<str>, _>(&key.as_str().into(), &prefix.as_str()), expected);
        }
    }

    #[test]
    fn a_prefix_meets_exactly_the_byte_strings_that_begin_with_it(
        key in byte_string(), prefix in byte_string(), cut in 0_usize..6,
    ) {
        let own = key[..cut.min(key.len())].to_vec();
        for prefix in [prefix, own] {
            let expected = key.starts_with(&prefix);
            prop_assert_eq!(begins(&key, &prefix[..]), expected);
            prop_assert_eq!(begins(&Bytes::from(key.clone()), &prefix), expected);
            prop_assert_eq!(begins(&key, &Bytes::from(prefix.clone())), expected);
        }
    }

    #[test]
    fn a_prefix_meets_exactly_the_tuples_with_those_fields(
        key in (string(), few(), byte_string(), few()), other in (string(), few(), byte_string(), few()),
    ) {
        for other in [&key, &other] {
            prop_assert_eq!(begins(&key, &(other.0.as_str(),)), key.0 == other.0);
            let two = (&key.0, key.1) == (&other.0, other.1);
            prop_assert_eq!(begins(&key, &(&other.0, other.1)), two);
            prop_assert_eq!(begins(&key, &(&other.0, other.1, &other.2[..])), two && key.2 == other.2);
            prop_assert_eq!(begins(&key, other), key == *other);
        }
    }

    #[test]
    fn prefix_end_is_the_least_upper_bound(prefix in byte_string(), other in byte_string()) {
        if let Some(end) = prefix_end(&prefix) {
            prop_assert!(!end.starts_with(&prefix) && end > prefix);
            let below = other < end;
            prop_assert_eq!(below, other < prefix || other.starts_with(&prefix));
        } else {
            prop_assert!(prefix.iter().all(|&byte| byte == 0xFF));
        }
    }
}

/// `memcomparable` knows byte strings only through `serialize_bytes`.
struct AsBytes<'a>(&'a [u8]);

impl Serialize for AsBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

fn check_memcomparable<K: KeyCodec>(
    pair: [&K; 2],
    theirs: [&dyn Fn() -> memcomparable::Result<Vec<u8>>; 2],
) -> Result<(), TestCaseError> {
    let [a, b] = pair.map(encode);
    let [their_a, their_b] = theirs.map(|encode| encode().unwrap());
    prop_assert_eq!(a.cmp(&b), their_a.cmp(&their_b), "{:?} against {:?}", a, b);
    Ok(())
}

macro_rules! memcomparable_order {
    ($($name:ident: $type:ty = $strategy:expr, |$key:ident| $theirs:expr;)*) => {
        mod memcomparable_order {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(2_000))]
                $(
                    #[test]
                    fn $name(a in $strategy, b in $strategy) {
                        let to_vec = |$key: &$type| memcomparable::to_vec(&$theirs);
                        check_memcomparable([&a, &b], [&|| to_vec(&a), &|| to_vec(&b)])?;
                    }
                )*
            }
        }
    };
}

memcomparable_order! {
    u64_keys: u64 = u64(), |key| *key;
    i8_keys: i8 = i8(), |key| *key;
    i64_keys: i64 = i64(), |key| *key;
    u128_keys: u128 = u128(), |key| *key;
    i128_keys: i128 = i128(), |key| *key;
    bools: bool = any::<bool>(), |key| *key;
    chars: char = char(), |key| *key;
    strings: String = string(), |key| key.as_str();
    byte_strings: Vec<u8> = byte_string(), |key| AsBytes(key);
    options: Option<String> = option(string()), |key| key.as_deref();
    arrays: [String; 2] = [string(), string()], |key| *key;
    tuples: (String, i32, Vec<u8>, Option<u8>) = (string(), i32(), byte_string(), option(few())),
        |key| (key.0.as_str(), key.1, AsBytes(&key.2), key.3);
}

#[test]
fn integer_layouts_are_golden() {
    assert_eq!(encode(&0x12_u8), [0x12]);
    assert_eq!(encode(&0x1234_u16), [0x12, 0x34]);
    assert_eq!(encode(&0x1234_5678_u32), [0x12, 0x34, 0x56, 0x78]);
    assert_eq!(encode(&0x0102_0304_0506_0708_u64), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(encode(&1_u128), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(encode(&-1_i8), [0x7F]);
    assert_eq!(encode(&1_i16), [0x80, 1]);
    assert_eq!(encode(&-2_i32), [0x7F, 0xFF, 0xFF, 0xFE]);
    assert_eq!(encode(&i64::MIN), [0; 8]);
    assert_eq!(encode(&i128::MAX), [0xFF; 16]);
    assert_eq!(encode(&[false, true]), [0, 1]);
    assert_eq!(encode(&'é'), [0, 0, 0, 0xE9]);
}

#[test]
fn text_and_compound_layouts_are_golden() {
    assert_eq!(encode(&String::from("a\0b")), b"a\0\xFFb\0\0");
    assert_eq!(encode(&String::new()), b"\0\0");
    assert_eq!(encode(&Box::<str>::from("é")), b"\xC3\xA9\0\0");
    assert_eq!(encode(&Arc::<str>::from("z")), b"z\0\0");
    assert_eq!(encode(&vec![0, 0, 0xFF]), b"\0\xFF\0\xFF\xFF\0\0");
    assert_eq!(encode(&Bytes::from_static(b"\x01")), b"\x01\0\0");
    assert_eq!(encode(&()), b"");
    assert_eq!(encode(&None::<u8>), [0]);
    assert_eq!(encode(&Some(7_u8)), [1, 7]);
    assert_eq!(encode(&[1_u16, 2]), [0, 1, 0, 2]);
    assert_eq!(encode(&(String::from("a"), 1_u8, true)), b"a\0\0\x01\x01");
    assert_eq!(encode(&(1_u8,)), [1]);
    assert_eq!(encode(&(1_u8, (2_u8, 3_u8), 4_u8, 5_u8, 6_u8, 7_u8)), [1, 2, 3, 4, 5, 6, 7]);
}

#[cfg(feature = "uuid")]
#[test]
fn the_uuid_layout_is_golden() {
    assert_eq!(encode(&uuid::Uuid::from_u128(0x0102)), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(uuid::Uuid::key_schema(), "uuid");
}

#[test]
fn schemas_name_the_layout() {
    assert_eq!(u64::key_schema(), "u64");
    assert_eq!(<(String, u32)>::key_schema(), "(string,u32)");
    assert_eq!(<(Vec<u8>,)>::key_schema(), "bytes");
    assert_eq!(<Option<[i8; 3]>>::key_schema(), "option<[i8;3]>");
    assert_eq!(<((), (bool, char))>::key_schema(), "((),(bool,char))");
    assert_eq!(Bytes::key_schema(), Vec::<u8>::key_schema());
    assert_eq!(Arc::<str>::key_schema(), String::key_schema());
}

#[test]
fn errors_say_what_is_wrong() {
    fn message<K: KeyCodec + Debug>(bytes: &[u8]) -> String {
        K::decode_whole_key(bytes).unwrap_err().to_string()
    }
    assert_eq!(message::<u32>(&[1, 2, 3]), "the key needs 4 more bytes, but 3 are left");
    assert_eq!(message::<u8>(&[1, 2]), "1 bytes left over after the key");
    assert_eq!(message::<bool>(&[2]), "0x02 is not the first byte of a bool");
    assert_eq!(message::<Option<u8>>(&[9]), "0x09 is not the first byte of an option");
    assert_eq!(message::<char>(&[0, 0, 0xD8, 0]), "0xd800 is not the code point of a char");
    assert_eq!(message::<String>(b"ab"), "a string or byte string in the key has no end");
    assert_eq!(message::<String>(b"ab\0"), "a string or byte string in the key has no end");
    assert_eq!(message::<String>(b"\xFF\0\0"), "a string in the key is not UTF-8");
    assert_eq!(
        message::<Vec<u8>>(b"a\0\x01"),
        "0x01 follows a zero in the key, which neither escapes nor ends"
    );
    assert_eq!(
        <[u8; 2]>::decode_whole_key(&[1]),
        Err(CodecError::new("the key needs 1 more bytes, but 0 are left"))
    );
}

#[test]
fn a_scan_from_prefix_to_prefix_end_finds_the_group() {
    let keys = [("a", 1_u8), ("a", 2), ("a\0", 0), ("ab", 0), ("b", 9)];
    let rows: std::collections::BTreeSet<_> =
        keys.iter().map(|&(name, part)| encode(&(name.to_owned(), part))).collect();
    let mut start = Vec::new();
    KeyPrefix::<(String, u8)>::encode_prefix(&("a",), &mut start);
    let end = prefix_end(&start).map_or(Bound::Unbounded, Bound::Excluded);
    assert_eq!(rows.range((Bound::Included(start), end)).count(), 2);
}
