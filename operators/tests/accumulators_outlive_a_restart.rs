//! Property: an accumulator that was stored and read back folds on as if it had never left memory, and it is
//! read from the bytes that the first release wrote.
//! Method: the restart law for every built-in aggregate, under every codec of serde, and golden bytes. JSON once could not
//! write the members of a `Multiset` that are structs, so that `min`, `max` and `top_k` of them stopped the engine.
#![cfg(feature = "testing")]

use millpond_engine::codec::{Bincode, Json, ValueCodec};
use millpond_operators::aggregate::{
    Aggregate, FloatSum, Mean, Multiset, TopK, count, distinct_count, last_n, max, mean, min, multiset,
    reduce, sum, top_k,
};
use millpond_operators::testing::laws;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt::Debug;

#[track_caller]
fn outlives_restarts<A, V>(aggregate: &A, values: impl Strategy<Value = V> + 'static)
where
    A: Aggregate<(), V, Acc: PartialEq + Debug>,
    V: Clone + Debug + 'static,
    Bincode: ValueCodec<A::Acc>,
    Json: ValueCodec<A::Acc>,
{
    let values = values.boxed();
    for shape in [ValueCodec::<A::Acc>::shape(&Bincode), ValueCodec::<A::Acc>::shape(&Json)] {
        assert!(shape.is_ok(), "{shape:?}");
    }
    laws::restarts(aggregate, &Bincode, Just(()), values.clone());
    laws::restarts(aggregate, &Json, Just(()), values);
}

/// What is ranked, more than a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Trip {
    km: i64,
    by: Option<Vec<u8>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what an aggregate extracts from")]
fn trip(km: &i64) -> Trip {
    Trip { km: *km, by: (km % 2 == 0).then(|| vec![1]) }
}

#[test]
fn every_accumulator_outlives_restarts() {
    let numbers = || prop_oneof![-5..5_i64, any::<i64>()];
    outlives_restarts(&count(), numbers());
    outlives_restarts(&sum(i64::clone), numbers());
    outlives_restarts(&sum(f64::clone), any::<f64>());
    outlives_restarts(&mean(i64::clone), numbers());
    outlives_restarts(&mean(f64::clone), any::<f64>());
    outlives_restarts(&min(i64::clone), numbers());
    outlives_restarts(&max(String::clone), any::<String>());
    outlives_restarts(&top_k(3, |number: &i64| (*number, number.to_string())), numbers());
    outlives_restarts(&multiset(i64::clone), numbers());
    outlives_restarts(&min(trip).retractable(), numbers());
    outlives_restarts(&max(trip), numbers());
    outlives_restarts(&top_k(3, trip), numbers());
    outlives_restarts(&top_k(3, trip).retractable(), numbers());
    outlives_restarts(&distinct_count(|number: &i64| (*number, *number % 3)), numbers());
    outlives_restarts(&multiset(i64::to_string), numbers());
    outlives_restarts(&last_n(3, trip), numbers());
    outlives_restarts(&last_n(3, i64::clone), numbers());
    outlives_restarts(&reduce(i64::wrapping_mul), numbers());
}

#[track_caller]
fn is_stored_as<T: PartialEq + Debug>(value: &T, golden: &[u8])
where
    Bincode: ValueCodec<T>,
{
    let mut bytes = Vec::new();
    assert_eq!(Bincode.encode(value, &mut bytes), Ok(()));
    assert_eq!(bytes, golden, "{value:?} is stored differently from the first release");
    assert_eq!(Bincode.decode(golden).as_ref(), Ok(value));
}

fn folded<V, A: Aggregate<(), V>>(aggregate: &A, values: impl IntoIterator<Item = V>) -> A::Acc {
    let mut acc = aggregate.init();
    for value in values {
        aggregate.fold(&mut acc, &(), value);
    }
    acc
}

#[test]
fn sums_keep_their_layout() {
    is_stored_as::<u64>(&folded(&count(), [(), ()]), &[2]);
    is_stored_as::<i128>(&folded(&sum(i64::clone), [-300_i64]), &[251, 87, 2]);
    is_stored_as::<Mean<i128>>(&folded(&mean(i64::clone), [4_i64, -1]), &[6, 2]);
}

/// 1.5 is 3 * 2^1073 units of 2^-1074: bits 17 and 18 of limb 33. The last three bytes count NaN and the
/// infinities.
#[test]
fn sums_of_floats_keep_their_layout() {
    is_stored_as::<FloatSum>(&FloatSum::default(), &[0, 0, 0, 0, 0]);
    is_stored_as::<FloatSum>(&folded(&sum(f64::clone), [1.5]), &[33, 1, 252, 0, 0, 6, 0, 0, 0, 0]);
    is_stored_as::<FloatSum>(&folded(&sum(f64::clone), [-1.5]), &[33, 1, 252, 0, 0, 250, 255, 0, 0, 0]);
    let odd = [f64::NAN, f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY];
    is_stored_as::<FloatSum>(&folded(&sum(f64::clone), odd), &[0, 0, 2, 4, 2]);
}

#[test]
fn collections_keep_their_layout() {
    is_stored_as::<Option<u8>>(&folded(&max(u8::clone), [7_u8, 9]), &[1, 9]);
    is_stored_as::<TopK<u8>>(&folded(&top_k(2, u8::clone), [7_u8, 9, 8]), &[2, 9, 8]);
    is_stored_as::<Multiset<u8>>(&folded(&multiset(u8::clone), [9_u8, 7, 9]), &[2, 7, 1, 9, 2]);
    is_stored_as::<VecDeque<u8>>(&folded(&last_n(2, u8::clone), [7_u8, 9, 8]), &[2, 9, 8]);
}

/// 0.1 wrote maps, whose keys were texts.
#[test]
fn multisets_in_json_are_lists_of_pairs_and_maps_are_read() {
    let set: Multiset<u8> = folded(&multiset(u8::clone), [9_u8, 7, 9]);
    let mut bytes = Vec::new();
    assert_eq!(Json.encode(&set, &mut bytes), Ok(()));
    assert_eq!(bytes, b"[[7,1],[9,2]]");
    assert_eq!(Json.decode(b"{\"7\":1,\"9\":2}").as_ref(), Ok(&set));
    let words: Multiset<String> = folded(&multiset(String::clone), ["b".to_owned(), "a".to_owned()]);
    assert_eq!(Json.decode(b"{\"a\":1,\"b\":1}").as_ref(), Ok(&words));
}
