//! Every aggregate of this module obeys the laws of the traits it implements, and gives the right answers.

use super::*;
use crate::testing::laws;
use proptest::collection::vec;
use proptest::prelude::*;
use std::cmp::Reverse;

/// Few different values, so that ties and repeats are common, and the extremes.
fn integers() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -3..4_i64, 1 => any::<i64>(), 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
}

fn floats() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -1e3..1e3_f64, 2 => any::<f64>(), 1 => Just(f64::INFINITY), 1 => Just(f64::NAN)]
}

fn keys() -> impl Strategy<Value = u8> {
    any::<u8>()
}

fn folded<V, A: Aggregate<(), V>>(aggregate: &A, values: impl IntoIterator<Item = V>) -> A::Acc {
    let mut acc = aggregate.init();
    for value in values {
        aggregate.fold(&mut acc, &(), value);
    }
    acc
}

fn itself<T: Copy>(value: &T) -> T {
    *value
}

#[test]
fn counts_obey_their_laws() {
    laws::retract(&count(), keys(), integers());
    laws::merge(&count(), keys(), integers());
}

#[test]
fn sums_obey_their_laws() {
    laws::retract(&sum(itself::<i64>), keys(), integers());
    laws::merge(&sum(itself::<i64>), keys(), integers());
    laws::retract(&sum(itself::<u64>), keys(), any::<u64>());
}

#[test]
fn sums_of_floats_obey_their_laws() {
    laws::retract(&sum(itself::<f64>), keys(), floats());
    laws::merge(&sum(itself::<f64>), keys(), floats());
    laws::merge(&sum(itself::<f32>), keys(), any::<f32>());
}

#[test]
fn means_obey_their_laws() {
    laws::retract(&mean(itself::<i64>), keys(), integers());
    laws::merge(&mean(itself::<i64>), keys(), integers());
    laws::retract(&mean(itself::<f64>), keys(), floats());
    laws::merge(&mean(itself::<f64>), keys(), floats());
}

#[test]
fn extremes_obey_their_laws() {
    laws::merge(&max(itself::<i64>), keys(), integers());
    laws::merge(&min(itself::<i64>), keys(), integers());
    laws::retract(&max(itself::<i64>).retractable(), keys(), integers());
    laws::retract(&min(itself::<i64>).retractable(), keys(), integers());
}

#[test]
fn the_k_greatest_obey_their_laws() {
    for k in [0, 1, 3] {
        laws::merge(&top_k(k, itself::<i64>), keys(), integers());
    }
    laws::retract(&top_k(3, itself::<i64>).retractable(), keys(), integers());
}

#[test]
fn multisets_obey_their_laws() {
    laws::retract(&multiset(itself::<i64>), keys(), integers());
    laws::merge(&distinct_count(itself::<i64>), keys(), integers());
}

#[test]
fn what_depends_on_order_is_deterministic() {
    for n in [0, 1, 3] {
        laws::aggregate(&last_n(n, itself::<i64>), keys(), integers());
    }
    laws::aggregate(&reduce(|a: i64, b: i64| a.wrapping_mul(31).wrapping_add(b)), keys(), integers());
}

#[test]
fn closures_with_inverse_and_merge_obey_the_laws() {
    let parity = Fold::new(|| false, |acc: &mut bool, _: &u8, value: i64| *acc ^= value % 2 != 0)
        .with_retract(|acc, _, value| *acc ^= value % 2 != 0)
        .with_merge(|acc, other| *acc ^= other);
    laws::retract(&parity, keys(), integers());
    laws::merge(&parity, keys(), integers());
}

#[test]
fn the_fold_sees_the_key_of_its_group() {
    let keyed = Fold::new(Vec::new, |acc: &mut Vec<(u8, i64)>, key: &u8, value: i64| acc.push((*key, value)));
    let mut acc = keyed.init();
    keyed.fold(&mut acc, &7, 1);
    assert_eq!(acc, [(7, 1)]);
}

proptest! {
    /// The laws hold for an aggregate that forgets everything too; these compare with a plain computation.
    #[test]
    fn answers_agree_with_a_plain_computation(values in vec(integers(), 0..40), k in 0..6_usize) {
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let total: i128 = values.iter().copied().map(i128::from).sum();
        let descending: Vec<i64> = sorted.iter().rev().copied().collect();
        let mut distinct = sorted.clone();
        distinct.dedup();

        prop_assert_eq!(folded(&count(), values.clone()), values.len() as u64);
        prop_assert_eq!(folded(&sum(itself::<i64>), values.clone()), total);
        prop_assert_eq!(folded(&max(itself::<i64>), values.clone()), sorted.last().copied());
        prop_assert_eq!(folded(&min(itself::<i64>), values.clone()), sorted.first().copied());
        let greatest = folded(&top_k(k, itself::<i64>), values.clone());
        prop_assert_eq!(greatest.as_slice(), &descending[..k.min(descending.len())]);
        let least = folded(&top_k(k, |value: &i64| Reverse(*value)), values.clone());
        prop_assert!(least.iter().map(|value| value.0).eq(sorted.iter().copied().take(k)));
        let last = folded(&last_n(k, itself::<i64>), values.clone());
        prop_assert_eq!(last, values[values.len().saturating_sub(k)..].to_vec());

        let all = folded(&multiset(itself::<i64>), values.clone());
        prop_assert_eq!((all.min(), all.max()), (sorted.first(), sorted.last()));
        prop_assert!(all.largest(k).eq(descending.iter().take(k)));
        prop_assert!(all.smallest(k).eq(sorted.iter().take(k)));
        prop_assert_eq!((all.len(), all.distinct()), (values.len() as u64, distinct.len()));
        prop_assert_eq!(all.is_empty(), values.is_empty());
        for (value, count) in all.iter() {
            prop_assert_eq!(count, values.iter().filter(|other| *other == value).count() as u64);
            prop_assert_eq!(all.count(value), count);
        }
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn a_mean_is_the_sum_over_the_count(values in vec(-1000..1000_i32, 0..40)) {
        let acc = folded(&mean(itself::<i32>), values.clone());
        let total: i32 = values.iter().sum();
        prop_assert_eq!(acc.count(), values.len() as u64);
        prop_assert_eq!(*acc.total(), i128::from(total));
        let expected = (!values.is_empty()).then(|| f64::from(total) / values.len() as f64);
        prop_assert_eq!(acc.mean(), expected);
        let floats = folded(&mean(|value: &i32| f64::from(*value)), values);
        prop_assert_eq!(floats.mean(), expected);
    }
}

#[test]
fn the_first_of_equal_values_stays() {
    #[derive(Debug, Clone, Copy)]
    struct ByDistance(u32, &'static str);
    impl PartialEq for ByDistance {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for ByDistance {}
    impl PartialOrd for ByDistance {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for ByDistance {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            self.0.cmp(&other.0)
        }
    }
    let flights = [ByDistance(400, "LX8"), ByDistance(400, "LX14")];
    assert_eq!(folded(&max(itself::<ByDistance>), flights).map(|flight| flight.1), Some("LX8"));
    assert_eq!(folded(&min(itself::<ByDistance>), flights).map(|flight| flight.1), Some("LX8"));
}

#[test]
fn taking_out_what_is_not_there_does_not_panic() {
    let mut acc = 0_u64;
    Retract::<(), ()>::retract(&count(), &mut acc, &(), ());
    let mut all = Multiset::default();
    all.remove(&1);
    assert!(all.is_empty());
}
