//! The laws of [`Aggregate`], [`Retract`] and [`Merge`].
//!
//! The input of each is one group: a key and what happens to it. Laws run from the most basic to the most
//! derived and stop at the first that breaks, because those after it would only say the same less clearly.

use super::{Laws, Violation, agree};
use crate::aggregate::{Aggregate, Merge, Retract};
use millpond_engine::codec::ValueCodec;
use proptest::collection::vec;
use proptest::strategy::Strategy;
use std::fmt::Debug;

/// Enough for every ring buffer and tie of a test, few enough to try each prefix.
const MAX_RECORDS: usize = 24;
const MAX_RETRACTED_BACK: usize = 8;

/// What happens to one member of a group.
#[derive(Debug, Clone)]
enum Step<V> {
    /// The value becomes a member.
    Fold(V),
    /// One of the members, counted in the order in which they were folded, is taken out.
    Retract { member: usize, value: V },
}

impl Laws {
    /// See [`laws::aggregate`](super::aggregate).
    ///
    /// # Errors
    /// The law that is broken.
    pub fn aggregate<K, V, A>(
        &self,
        aggregate: &A,
        keys: impl Strategy<Value = K>,
        values: impl Strategy<Value = V>,
    ) -> Result<(), Violation>
    where
        K: Debug,
        V: Clone + Debug,
        A: Aggregate<K, V, Acc: PartialEq + Debug>,
    {
        let groups = (keys, vec(values, 0..=MAX_RECORDS));
        self.check("folding is deterministic", &groups, |(key, values)| {
            deterministic(aggregate, &key, &values)
        })?;
        self.check("an accumulator is independent of its clones", &groups, |(key, values)| {
            clones_are_independent(aggregate, &key, &values)
        })
    }

    /// See [`laws::commutative`](super::commutative).
    ///
    /// # Errors
    /// The law that is broken.
    pub fn commutative<K, V, A>(
        &self,
        aggregate: &A,
        keys: impl Strategy<Value = K>,
        values: impl Strategy<Value = V>,
    ) -> Result<(), Violation>
    where
        K: Debug,
        V: Clone + Debug,
        A: Aggregate<K, V, Acc: PartialEq + Debug>,
    {
        self.aggregate(aggregate, &keys, &values)?;
        // Every order can be reached by exchanging neighbours, so two neighbours after any prefix are enough.
        let neighbours = (&keys, vec(&values, 0..=MAX_RECORDS), &values, &values);
        self.check("the order of the records does not matter", &neighbours, |(key, before, a, b)| {
            let mut one = fold_all(aggregate, &key, &before);
            let mut other = one.clone();
            aggregate.fold(&mut one, &key, a.clone());
            aggregate.fold(&mut one, &key, b.clone());
            aggregate.fold(&mut other, &key, b);
            aggregate.fold(&mut other, &key, a);
            agree(&one, &other)
        })
    }

    /// See [`laws::retract`](super::retract).
    ///
    /// # Errors
    /// The law that is broken.
    pub fn retract<K, V, A>(
        &self,
        aggregate: &A,
        keys: impl Strategy<Value = K>,
        values: impl Strategy<Value = V>,
    ) -> Result<(), Violation>
    where
        K: Debug,
        V: Clone + Debug,
        A: Retract<K, V, Acc: PartialEq + Debug>,
    {
        self.commutative(aggregate, &keys, &values)?;
        // Short groups first, because shrinking seldom gets from a long one to the shortest.
        for max_steps in [3, MAX_RECORDS] {
            let groups = (&keys, legal_steps(&values, max_steps));
            self.check("retract undoes fold", &groups, |(key, steps)| {
                retract_undoes_fold(aggregate, &key, steps)
            })?;
        }
        Ok(())
    }

    /// See [`laws::merge`](super::merge).
    ///
    /// # Errors
    /// The law that is broken.
    pub fn merge<K, V, A>(
        &self,
        aggregate: &A,
        keys: impl Strategy<Value = K>,
        values: impl Strategy<Value = V>,
    ) -> Result<(), Violation>
    where
        K: Debug,
        V: Clone + Debug,
        A: Merge<K, V, Acc: PartialEq + Debug>,
    {
        self.commutative(aggregate, &keys, &values)?;
        let share = || vec(&values, 0..=MAX_RECORDS / 3);
        self.check("init is the identity of merge", &(&keys, share()), |(key, values)| {
            let acc = fold_all(aggregate, &key, &values);
            agree(&acc, &merged(aggregate, &acc, &aggregate.init()))?;
            agree(&acc, &merged(aggregate, &aggregate.init(), &acc))
        })?;
        self.check("merge is associative", &(&keys, share(), share(), share()), |(key, a, b, c)| {
            let [a, b, c] = [a, b, c].map(|share| fold_all(aggregate, &key, &share));
            let left_first = merged(aggregate, &merged(aggregate, &a, &b), &c);
            let right_first = merged(aggregate, &a, &merged(aggregate, &b, &c));
            agree(&left_first, &right_first)
        })?;
        let dealt = (&keys, vec((&values, proptest::bool::ANY), 0..=MAX_RECORDS));
        self.check("merge agrees with fold", &dealt, |(key, dealt)| {
            let mut shares = [aggregate.init(), aggregate.init()];
            let mut whole = aggregate.init();
            for (value, to_second) in dealt {
                let [first, second] = &mut shares;
                aggregate.fold(if to_second { second } else { first }, &key, value.clone());
                aggregate.fold(&mut whole, &key, value);
            }
            let [first, second] = &shares;
            agree(&whole, &merged(aggregate, first, second))
        })
    }

    /// See [`laws::restarts`](super::restarts).
    ///
    /// # Errors
    /// The law that is broken.
    pub fn restarts<K, V, A>(
        &self,
        aggregate: &A,
        codec: &impl ValueCodec<A::Acc>,
        keys: impl Strategy<Value = K>,
        values: impl Strategy<Value = V>,
    ) -> Result<(), Violation>
    where
        K: Debug,
        V: Clone + Debug,
        A: Aggregate<K, V, Acc: PartialEq + Debug>,
    {
        let groups = (keys, vec((values, proptest::bool::ANY), 0..=MAX_RECORDS));
        self.check("folding is independent of restarts", &groups, |(key, records)| {
            let mut whole = aggregate.init();
            let mut restarted = aggregate.init();
            for (value, restart) in records {
                if restart {
                    restarted = stored_and_read(codec, &restarted)?;
                }
                aggregate.fold(&mut whole, &key, value.clone());
                aggregate.fold(&mut restarted, &key, value);
            }
            agree(&whole, &stored_and_read(codec, &restarted)?)
        })
    }
}

fn deterministic<K, V, A>(aggregate: &A, key: &K, values: &[V]) -> Result<(), String>
where
    V: Clone,
    A: Aggregate<K, V, Acc: PartialEq + Debug>,
{
    // In lockstep, so that state hidden in the aggregate is seen by both, and once more afterwards.
    let (mut one, mut other) = (aggregate.init(), aggregate.init());
    for value in values {
        aggregate.fold(&mut one, key, value.clone());
        aggregate.fold(&mut other, key, value.clone());
    }
    if one.clone() != one {
        return Err(format!("{one:?} does not equal itself, so nothing can be said about it"));
    }
    agree(&one, &other)?;
    agree(&one, &fold_all(aggregate, key, values))
}

fn clones_are_independent<K, V, A>(aggregate: &A, key: &K, values: &[V]) -> Result<(), String>
where
    V: Clone,
    A: Aggregate<K, V, Acc: PartialEq + Debug>,
{
    let mut acc = aggregate.init();
    let mut snapshots = vec![acc.clone()];
    for value in values {
        aggregate.fold(&mut acc, key, value.clone());
        snapshots.push(acc.clone());
    }
    for (included, snapshot) in snapshots.iter().enumerate() {
        let prefix = values.get(..included).unwrap_or_default();
        agree(&fold_all(aggregate, key, prefix), snapshot)
            .map_err(|reason| format!("a clone taken after {included} records: {reason}"))?;
    }
    Ok(())
}

fn retract_undoes_fold<K, V, A>(aggregate: &A, key: &K, steps: Vec<Step<V>>) -> Result<(), String>
where
    V: Clone,
    A: Retract<K, V, Acc: PartialEq + Debug>,
{
    let mut acc = aggregate.init();
    let mut members = Vec::new();
    for (index, step) in steps.into_iter().enumerate() {
        match step {
            Step::Fold(value) => {
                aggregate.fold(&mut acc, key, value.clone());
                members.push(value);
            }
            Step::Retract { member, value } => {
                aggregate.retract(&mut acc, key, value);
                members.remove(member);
            }
        }
        agree(&fold_all(aggregate, key, &members), &acc)
            .map_err(|reason| format!("after step {}: {reason}", index + 1))?;
    }
    Ok(())
}

fn fold_all<K, V: Clone, A: Aggregate<K, V>>(aggregate: &A, key: &K, values: &[V]) -> A::Acc {
    let mut acc = aggregate.init();
    for value in values {
        aggregate.fold(&mut acc, key, value.clone());
    }
    acc
}

fn merged<K, V, A: Merge<K, V>>(aggregate: &A, left: &A::Acc, right: &A::Acc) -> A::Acc {
    let mut acc = left.clone();
    aggregate.merge(&mut acc, right.clone());
    acc
}

fn stored_and_read<T>(codec: &impl ValueCodec<T>, value: &T) -> Result<T, String> {
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes).map_err(|error| format!("does not encode: {error}"))?;
    codec.decode(&bytes).map_err(|error| format!("does not decode what it encoded: {error}"))
}

/// Folds and retractions in any order, where only members are retracted.
fn legal_steps<V: Clone + Debug>(
    values: impl Strategy<Value = V>,
    max_steps: usize,
) -> impl Strategy<Value = Vec<Step<V>>> {
    // A draw folds its value or, with a number, takes out a member, if there is one. The number counts back from
    // the newest, so that it goes on meaning the same member while shrinking drops older ones.
    let draws = vec((values, proptest::option::of(0..MAX_RETRACTED_BACK)), 0..=max_steps);
    draws.prop_map(|draws| {
        let mut members = Vec::new();
        let mut steps = Vec::new();
        for (value, retraction) in draws {
            let newest = members.len().checked_sub(1);
            if let (Some(back), Some(newest)) = (retraction, newest) {
                let member = newest.saturating_sub(back);
                steps.push(Step::Retract { member, value: members.remove(member) });
            } else {
                members.push(value.clone());
                steps.push(Step::Fold(value));
            }
        }
        steps
    })
}
