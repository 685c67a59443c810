//! The kit must catch what it claims to: each test gives it one wrong implementation.

use super::*;
use crate::aggregate::{Fold, count, last_n, max, sum};
use millpond_engine::codec::CodecError;
use proptest::prelude::{Just, any};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const SEED: u64 = 7;

fn seeded() -> Laws {
    Laws::new().seed(SEED).cases(256)
}

#[track_caller]
fn broken(outcome: Result<(), Violation>) -> Violation {
    outcome.expect_err("the kit found nothing wrong")
}

#[test]
fn a_fold_with_state_of_its_own_is_not_deterministic() {
    let calls = AtomicU64::new(0);
    let numbering = Fold::new(
        || 0_u64,
        move |acc: &mut u64, (): &(), (): ()| *acc += calls.fetch_add(1, Ordering::Relaxed),
    );
    let violation = broken(seeded().aggregate(&numbering, Just(()), Just(())));
    assert_eq!(violation.law(), "folding is deterministic");
    assert!(violation.input().contains("()"));
}

#[test]
fn an_accumulator_that_does_not_equal_itself_is_named() {
    let rounding = Fold::new(|| f64::NAN, |acc: &mut f64, (): &(), value: i32| *acc += f64::from(value));
    let violation = broken(seeded().aggregate(&rounding, Just(()), any::<i32>()));
    assert!(violation.reason().contains("does not equal itself"), "{violation}");
}

#[test]
fn an_accumulator_shared_with_its_clones_is_caught() {
    #[derive(Debug, Clone)]
    struct Shared(Arc<Mutex<i32>>);
    impl PartialEq for Shared {
        fn eq(&self, other: &Self) -> bool {
            // One lock at a time: an accumulator and its clone share it.
            let mine = *self.0.lock().unwrap();
            mine == *other.0.lock().unwrap()
        }
    }
    let shared = Fold::new(
        || Shared(Arc::new(Mutex::new(0))),
        |acc: &mut Shared, (): &(), value: i32| {
            let mut sum = acc.0.lock().unwrap();
            *sum = sum.wrapping_add(value);
        },
    );
    let violation = broken(seeded().aggregate(&shared, Just(()), 0..5));
    assert_eq!(violation.law(), "an accumulator is independent of its clones");
}

#[test]
fn a_wrong_inverse_is_caught_with_the_smallest_input() {
    let clamped = Fold::new(|| 0_i64, |acc: &mut i64, (): &(), value: i64| *acc += value)
        .with_retract(|acc, (), value| *acc = (*acc - value).max(0));
    let violation = broken(seeded().retract(&clamped, Just(()), -100..100_i64));
    assert_eq!(violation.law(), "retract undoes fold");
    assert_eq!(violation.input(), "((), [Fold(0), Fold(-1), Retract { member: 0, value: 0 }])");
    assert_eq!(violation.reason(), "after step 3: expected -1, got 0");
}

#[test]
fn an_extreme_without_its_members_cannot_retract() {
    let forgetful = Fold::new(|| 0_u8, |acc: &mut u8, (): &(), value: u8| *acc = (*acc).max(value))
        .with_retract(|acc, (), value| {
            if *acc == value {
                *acc = 0;
            }
        });
    let violation = broken(seeded().retract(&forgetful, Just(()), any::<u8>()));
    assert_eq!(violation.law(), "retract undoes fold");
}

#[test]
fn what_depends_on_order_is_not_commutative() {
    let violation = broken(seeded().commutative(&last_n(2, |value: &u8| *value), Just(()), any::<u8>()));
    assert_eq!(violation.law(), "the order of the records does not matter");
    assert_eq!(violation.input(), "((), [], 0, 1)");
}

#[test]
fn a_merge_that_is_not_associative_is_caught() {
    // The mean of means weighs its shares wrongly.
    let mean_of_means = Fold::new(
        || (0_u64, 0_u64),
        |acc: &mut (u64, u64), (): &(), value: u8| {
            *acc = (acc.0 + u64::from(value), acc.1 + 1);
        },
    )
    .with_merge(|acc, other| {
        *acc = match (acc.1, other.1) {
            (_, 0) => *acc,
            (0, _) => other,
            (mine, others) => (u64::midpoint(acc.0 / mine, other.0 / others), 1),
        };
    });
    let violation = broken(seeded().merge(&mean_of_means, Just(()), any::<u8>()));
    assert_eq!(violation.law(), "merge is associative");
}

#[test]
fn a_merge_that_disagrees_with_fold_is_caught() {
    let doubling = Fold::new(|| 0_u64, |acc: &mut u64, (): &(), _: u8| *acc += 1)
        .with_merge(|acc, other| *acc = (*acc).max(other));
    let violation = broken(seeded().merge(&doubling, Just(()), any::<u8>()));
    assert_eq!(violation.law(), "merge agrees with fold");
    assert_eq!(violation.input(), "((), [(0, false), (0, true)])");
}

#[test]
fn an_init_that_counts_is_not_an_identity() {
    let off_by_one =
        Fold::new(|| 1_u64, |acc: &mut u64, (): &(), _: u8| *acc += 1).with_merge(|acc, other| *acc += other);
    let violation = broken(seeded().merge(&off_by_one, Just(()), any::<u8>()));
    assert_eq!(violation.law(), "init is the identity of merge");
}

#[test]
fn a_fold_that_panics_is_a_violation() {
    let checked =
        Fold::new(|| 0_u8, |acc: &mut u8, (): &(), value: u8| *acc = acc.checked_add(value).unwrap());
    let violation = broken(seeded().aggregate(&checked, Just(()), any::<u8>()));
    assert_eq!(violation.law(), "folding is deterministic");
}

#[test]
fn a_seed_repeats_its_violation_and_is_printed() {
    let violation = || broken(seeded().commutative(&last_n(3, |value: &u8| *value), Just(()), any::<u8>()));
    assert_eq!(violation(), violation());
    assert!(violation().to_string().ends_with("PROPTEST_RNG_SEED=7 or Laws::new().seed(7))"));
}

#[test]
#[should_panic(expected = "broken law: the order of the records does not matter")]
fn the_functions_panic_with_the_violation() {
    commutative(&last_n(1, |value: &u8| *value), Just(()), any::<u8>());
}

#[test]
fn what_is_right_passes() {
    aggregate(&last_n(2, |value: &u8| *value), any::<u8>(), any::<u8>());
    commutative(&max(|value: &u8| *value), any::<u8>(), any::<u8>());
    retract(&sum(|value: &u8| *value), any::<u8>(), any::<u8>());
    merge(&count(), any::<u8>(), any::<u8>());
    restarts(&count(), &BigEndian, any::<u8>(), any::<u8>());
    value_codec(&BigEndian, any::<u64>());
    key_codec(any::<u16>().prop_map(Ordered));
}

/// A codec that is right.
struct BigEndian;

impl ValueCodec<u64> for BigEndian {
    fn id(&self) -> &'static str {
        "big-endian"
    }

    fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend(value.to_be_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64, CodecError> {
        bytes.try_into().map(u64::from_be_bytes).map_err(|_| CodecError::new("not 8 bytes"))
    }
}

/// A codec with one defect.
#[derive(Clone, Copy, PartialEq)]
enum Defect {
    Narrows,
    AcceptsTrailingBytes,
    Panics,
    Clears,
}

impl ValueCodec<u64> for Defect {
    fn id(&self) -> &'static str {
        "defective"
    }

    fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if *self == Self::Clears {
            out.clear();
        }
        let mask = if *self == Self::Narrows { 0xff } else { u64::MAX };
        BigEndian.encode(&(value & mask), out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64, CodecError> {
        match self {
            Self::AcceptsTrailingBytes if bytes.len() > 8 => BigEndian.decode(&bytes[..8]),
            Self::Panics if bytes.len() < 8 => panic!("too short"),
            _ => BigEndian.decode(bytes),
        }
    }
}

#[test]
fn a_defective_value_codec_is_caught() {
    let cases = [
        (Defect::Narrows, "a value survives its encoding"),
        (Defect::Clears, "an encoder only appends"),
        (Defect::AcceptsTrailingBytes, "trailing bytes are not ignored"),
        (Defect::Panics, "decoding never panics"),
    ];
    for (defect, law) in cases {
        assert_eq!(broken(seeded().value_codec(&defect, any::<u64>())).law(), law);
    }
}

#[test]
fn a_codec_that_loses_part_of_the_accumulator_shows_at_a_restart() {
    let total = Fold::new(|| 0_u64, |acc: &mut u64, (): &(), value: u8| *acc += u64::from(value));
    let violation = broken(seeded().restarts(&total, &Defect::Narrows, Just(()), any::<u8>()));
    assert_eq!(violation.law(), "folding is independent of restarts");
}

/// A key codec that is right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Ordered(u16);

impl KeyCodec for Ordered {
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.extend(self.0.to_be_bytes());
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let (bytes, rest) = input.split_first_chunk().ok_or_else(|| CodecError::new("too short"))?;
        *input = rest;
        Ok(Self(u16::from_be_bytes(*bytes)))
    }

    fn key_schema() -> String {
        "u16".to_owned()
    }
}

/// Little-endian numbers: not in order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LittleEndian(u16);

impl KeyCodec for LittleEndian {
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.extend(self.0.to_le_bytes());
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        Ordered::decode_key(input).map(|key| Self(key.0.swap_bytes()))
    }

    fn key_schema() -> String {
        "u16-le".to_owned()
    }
}

/// Strings without an end: one may be a prefix of another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Unterminated(Vec<bool>);

impl KeyCodec for Unterminated {
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.extend(self.0.iter().map(|&bit| u8::from(bit)));
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        // Takes the rest by counting on what follows being above 1, which `key_codec` does not grant.
        let length = input.iter().take_while(|&&byte| byte <= 1).count();
        let (bits, rest) = input.split_at(length);
        *input = rest;
        Ok(Self(bits.iter().map(|&bit| bit == 1).collect()))
    }

    fn key_schema() -> String {
        "bits".to_owned()
    }
}

/// A `bool` of which every odd byte is true: two encodings of one key.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lax(bool);

impl KeyCodec for Lax {
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.0));
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let (first, rest) = input.split_first().ok_or_else(|| CodecError::new("empty"))?;
        *input = rest;
        Ok(Self(first % 2 == 1))
    }

    fn key_schema() -> String {
        "lax-bool".to_owned()
    }
}

#[test]
fn a_defective_key_codec_is_caught() {
    let little = seeded().key_codec(any::<u16>().prop_map(LittleEndian));
    assert_eq!(broken(little).law(), "the order of the bytes is the order of the keys");
    let lax = seeded().key_codec(any::<bool>().prop_map(Lax));
    assert_eq!(broken(lax).law(), "decoding accepts exactly what encoding wrote");
    let bits = proptest::collection::vec(any::<bool>(), 0..4);
    let unterminated = seeded().key_codec(bits.prop_map(Unterminated));
    assert_eq!(broken(unterminated).law(), "a key survives its encoding");
}
