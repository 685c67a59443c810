//! Aggregates: how the records of one group become one value.
//!
//! An [`Aggregate`] folds records into an accumulator; the accumulator is what a table stores and what a view
//! shows. Two more abilities are separate traits, because not every fold has them and an operator that needs
//! one asks for it at compile time: [`Retract`] takes a member out again (grouping a *table*), [`Merge`] joins
//! two accumulators (folding in parallel before an exchange).
//!
//! | made by | accumulator | [`Retract`] | [`Merge`] |
//! |---|---|---|---|
//! | [`count`] | `u64` | yes | yes |
//! | [`sum`] of integers | `i128` | yes | yes |
//! | [`sum`] of floats | [`FloatSum`] | yes | yes |
//! | [`mean`] | [`Mean`] | yes | yes |
//! | [`min`], [`max`] | `Option<T>` | `.retractable()` | yes |
//! | [`top_k`] | [`TopK`] | `.retractable()` | yes |
//! | [`multiset`], [`distinct_count`] | [`Multiset`] | yes | yes |
//! | [`last_n`] | `VecDeque<T>` | no | no |
//! | [`reduce`] | `Option<V>` | no | no |
//! | [`Fold::new`] | yours | [`with_retract`](Fold::with_retract) | [`with_merge`](Fold::with_merge) |
//!
//! The retractable forms keep all members of a group in one value, which is read, copied and written whole. Where a group
//! may have many of them, [`GroupedTable::min`](crate::GroupedTable::min), `max`, `top_k` and `distinct_count` keep a row for
//! each value instead.
//!
//! Every extractor is a `Fn(&V) -> T`; `V::clone` keeps whole values. No aggregate of this module panics, and
//! each one obeys the laws of the traits it implements, which `testing::laws` checks for yours as well.
//!
//! This module knows nothing of tables, epochs or encodings.

mod count;
mod float_sum;
mod fold;
mod last_n;
mod max;
mod mean;
mod min;
mod multiset;
mod reduce;
mod sum;
mod top_k;

#[cfg(test)]
mod tests;

pub use count::{Count, count};
pub use float_sum::FloatSum;
pub use fold::Fold;
pub use last_n::{LastNOf, last_n};
pub use max::{MaxOf, max};
pub use mean::{Mean, MeanOf, mean};
pub use min::{MinOf, min};
pub use multiset::{Multiset, MultisetOf, distinct_count, multiset};
pub use reduce::{Reduce, reduce};
pub use sum::{SumOf, Summand, Total, sum};
pub use top_k::{TopK, TopKOf, top_k};

use millpond_engine::codec::Value;

/// Folds the records of one group, one after the other, into an accumulator.
///
/// The accumulator is stored as it is and is what views show. Where that holds more than the reader asks for
/// (a mean is a sum and a count), its type is public and has methods for the answers
/// ([`Mean::mean`]); there is no second, hidden form of the state.
///
/// `fold` takes the value by value: it runs once per record, and a fold that keeps the value must not pay for a
/// clone. Where one stream feeds several folds, the graph clones for all of them but the last.
///
/// # Contract
/// 1. `init` and `fold` are deterministic: equal arguments give equal accumulators, on every machine and at any
///    time. No clock, no randomness, no state but the accumulator. Otherwise a replay after a crash would
///    rebuild another table than the one that was lost.
/// 2. All state is in the accumulator, and a clone of it is independent of the original. Otherwise the result
///    would depend on where epochs were cut, and snapshots would change under their readers.
/// 3. An accumulator that was encoded and decoded folds on as if it had not been. Otherwise the result would
///    depend on evictions and restarts.
/// 4. `fold` does not panic. If it does, the engine treats the record as one that failed, by policy; the
///    half-changed accumulator is thrown away.
///
/// Records of one key and one partition arrive in offset order; across partitions the order is arrival, so a
/// fold over records that were brought together from several partitions should not depend on it.
///
/// `testing::laws::aggregate` checks 1 and 2, `testing::laws::restarts` checks 3.
///
/// # Examples
/// ```
/// use millpond::aggregate::{Aggregate, Mean, mean};
///
/// let distance = mean(|flight: &(String, u32)| flight.1);
/// let mut acc = Mean::default();
/// distance.fold(&mut acc, &"ZRH", ("LX8".to_owned(), 400));
/// distance.fold(&mut acc, &"ZRH", ("LX14".to_owned(), 600));
/// assert_eq!(acc.mean(), Some(500.0));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not aggregate records with key `{K}` and value `{V}`",
    note = "an extractor takes `&{V}`; a closure pair becomes an aggregate with `Fold::new(init, fold)`"
)]
pub trait Aggregate<K, V>: Send + Sync + 'static {
    /// What is kept per group: stored by the table and shown by its views.
    type Acc: Value;

    /// The accumulator of a group without members.
    fn init(&self) -> Self::Acc;

    /// Takes one record of group `key` into `acc`.
    fn fold(&self, acc: &mut Self::Acc, key: &K, value: V);

    /// What tells this aggregate from others with the same accumulator, and does not lie in closures, such as `top_k(5)`: the
    /// table remembers it and is refused to another one under the same version, as with a
    /// [`fold_id`](millpond_engine::graph::TableOptions::fold_id). Empty unless said: then every other is taken for it.
    fn id(&self) -> String {
        String::new()
    }

    /// Whether the accumulator does not depend on the order in which records are folded. On a log that does not say how records
    /// of several partitions follow each other, such as Kafka, epochs over an aggregate that commutes need no marks. `false`
    /// unless said, which is never wrong.
    fn commutes(&self) -> bool {
        false
    }
}

/// An [`Aggregate`] whose members can be taken out again.
///
/// When a row of a table changes, a table grouped from it must forget the old row before it takes the new one.
/// That needs an inverse of the fold, and therefore this bound: a fold without one cannot be put over a table.
///
/// # When a group loses its last member
/// The group disappears: it is absent from the table, as if it had never been. An accumulator cannot tell (the
/// sum of 1 and -1 is 0 and the group has two members), so the grouping operator keeps the number of members
/// beside it, and implementations need no notion of being empty. A group that gains a member later starts
/// again from [`init`](Aggregate::init).
///
/// # Contract
/// 1. `retract` undoes `fold`: after any folds and retractions of members, the accumulator equals that of
///    folding just the members that are left. Otherwise a table would depend on how often its source changed
///    and would differ from one that was rebuilt.
/// 2. Therefore `fold` is commutative: the members of a group change in no particular order.
/// 3. `retract` is called only with a value that was folded and not yet retracted, and an equal one may stand
///    in for it. An implementation need not detect anything else, but must not panic on it.
///
/// `testing::laws::retract` checks 1 and 2.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot take members out again, which grouping a table needs",
    note = "`min`, `max` and `top_k` can after `.retractable()`, a `Fold` after `.with_retract(..)`"
)]
pub trait Retract<K, V>: Aggregate<K, V> {
    /// Takes a member out of `acc` that was folded into it earlier.
    fn retract(&self, acc: &mut Self::Acc, key: &K, value: V);
}

/// An [`Aggregate`] whose accumulators can be joined.
///
/// It lets each shard fold what it has before records are exchanged, so that one accumulator per key travels
/// instead of every record.
///
/// # Contract
/// 1. `merge` is associative, and `init` is its identity: partial accumulators are merged in whatever grouping
///    is at hand.
/// 2. `merge` agrees with `fold`: however the records are dealt out over two accumulators, each keeping its
///    share in order, merging the two equals folding all of them into one. Shards hold interleaved shares, and
///    the number of shards must not show in a table.
/// 3. Therefore `fold` is commutative.
///
/// `testing::laws::merge` checks all three.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot merge two accumulators",
    note = "a `Fold` can after `.with_merge(..)`"
)]
pub trait Merge<K, V>: Aggregate<K, V> {
    /// Takes everything that was folded into `other` into `acc`.
    fn merge(&self, acc: &mut Self::Acc, other: Self::Acc);
}
