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

/// What happens to one member of a group.
#[derive(Debug, Clone)]
enum Step<V> {
    Fold(V),
    Retract(V),
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
        let groups = (&keys, legal_steps(&values));
        self.check("retract undoes fold", &groups, |(key, steps)| {
            let mut acc = aggregate.init();
            for (index, step) in steps.iter().enumerate() {
                match step.clone() {
                    Step::Fold(value) => aggregate.fold(&mut acc, &key, value),
                    Step::Retract(value) => aggregate.retract(&mut acc, &key, value),
                }
                let survivors = survivors(steps.get(..=index).unwrap_or_default());
                agree(&fold_all(aggregate, &key, &survivors), &acc)
                    .map_err(|reason| format!("after step {}: {reason}", index + 1))?;
            }
            Ok(())
        })
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
fn legal_steps<V: Clone + Debug>(values: impl Strategy<Value = V>) -> impl Strategy<Value = Vec<Step<V>>> {
    // A record folds its value or, with a number, takes out that member (counted round) if there is one.
    let draws = vec((values, proptest::option::of(0..MAX_RECORDS)), 0..=MAX_RECORDS);
    draws.prop_map(|draws| {
        let mut members = Vec::new();
        let mut steps = Vec::new();
        for (value, retraction) in draws {
            match retraction.and_then(|number| number.checked_rem(members.len())) {
                Some(index) => steps.push(Step::Retract(members.remove(index))),
                None => {
                    members.push(value.clone());
                    steps.push(Step::Fold(value));
                }
            }
        }
        steps
    })
}

/// The members left after `steps`, in the order in which they were folded.
///
/// Of several equal members the law says nothing about which one goes, so positions are matched by their
/// debug form: values need not be comparable.
fn survivors<V: Clone + Debug>(steps: &[Step<V>]) -> Vec<V> {
    let mut members: Vec<V> = Vec::new();
    for step in steps {
        match step {
            Step::Fold(value) => members.push(value.clone()),
            Step::Retract(value) => {
                let gone = format!("{value:?}");
                if let Some(index) = members.iter().position(|member| format!("{member:?}") == gone) {
                    members.remove(index);
                }
            }
        }
    }
    members
}
