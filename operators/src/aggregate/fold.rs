//! An aggregate made of closures.
//!
//! What the closures can do is part of the type, so that an operator that needs an inverse or a merge refuses
//! at compile time a fold that was not given one.

use super::{Aggregate, Merge, Retract};
use millpond_engine::codec::Value;

/// An aggregate made of closures: `init`, `fold`, and on request `retract` and `merge`.
///
/// # Examples
/// A fold that can also be put over a table. The types are written out because nothing else names them here;
/// as an argument of an operator they are known.
/// ```
/// use millpond::aggregate::{Aggregate, Fold, Retract};
///
/// let balance = Fold::new(|| 0_i64, |acc: &mut i64, _account: &u32, amount: i64| *acc += amount)
///     .with_retract(|acc, _account, amount| *acc -= amount)
///     .with_merge(|acc, other| *acc += other);
///
/// let mut acc = balance.init();
/// balance.fold(&mut acc, &7, 100);
/// balance.fold(&mut acc, &7, 20);
/// balance.retract(&mut acc, &7, 100);
/// assert_eq!(acc, 20);
/// ```
/// A fold without an inverse has no `retract`:
/// ```compile_fail,E0277
/// use millpond::aggregate::{Fold, Retract};
///
/// fn group_table<A: Retract<u32, i64>>(_: A) {}
/// group_table(Fold::new(|| 0_i64, |acc: &mut i64, _: &u32, amount: i64| *acc += amount));
/// ```
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "each field is named after the method it stands for")]
pub struct Fold<I, F, R = (), M = ()> {
    init: I,
    fold: F,
    retract: R,
    merge: M,
    commutes: bool,
}

impl<I, F> Fold<I, F> {
    /// An aggregate that begins with `init` and takes each record in with `fold`.
    #[must_use]
    pub fn new<K, V, A>(init: I, fold: F) -> Self
    where
        I: Fn() -> A,
        F: Fn(&mut A, &K, V),
    {
        Self { init, fold, retract: (), merge: (), commutes: false }
    }
}

impl<I, F, R, M> Fold<I, F, R, M> {
    /// The same aggregate, which takes members out again with `retract`.
    #[must_use]
    pub fn with_retract<K, V, A, N>(self, retract: N) -> Fold<I, F, N, M>
    where
        I: Fn() -> A,
        F: Fn(&mut A, &K, V),
        N: Fn(&mut A, &K, V),
    {
        Fold { init: self.init, fold: self.fold, retract, merge: self.merge, commutes: self.commutes }
    }

    /// The same aggregate, which joins accumulators with `merge`.
    #[must_use]
    pub fn with_merge<A, N>(self, merge: N) -> Fold<I, F, R, N>
    where
        I: Fn() -> A,
        N: Fn(&mut A, A),
    {
        Fold { init: self.init, fold: self.fold, retract: self.retract, merge, commutes: self.commutes }
    }

    /// The same aggregate, of which you say that it comes to the same whatever the order in which records are folded: see
    /// [`Aggregate::commutes`].
    ///
    /// ```
    /// use millpond::aggregate::{Aggregate, Fold};
    ///
    /// let total = Fold::new(|| 0_i64, |total: &mut i64, _account: &u32, cents: i64| *total += cents).commutative();
    /// assert!(total.commutes());
    /// ```
    #[must_use]
    pub fn commutative(self) -> Self {
        Self { commutes: true, ..self }
    }
}

impl<K, V, A, I, F, R, M> Aggregate<K, V> for Fold<I, F, R, M>
where
    A: Value,
    I: Fn() -> A + Send + Sync + 'static,
    F: Fn(&mut A, &K, V) + Send + Sync + 'static,
    R: Send + Sync + 'static,
    M: Send + Sync + 'static,
{
    type Acc = A;

    fn init(&self) -> A {
        (self.init)()
    }

    fn commutes(&self) -> bool {
        self.commutes
    }

    fn fold(&self, acc: &mut A, key: &K, value: V) {
        (self.fold)(acc, key, value);
    }
}

impl<K, V, A, I, F, R, M> Retract<K, V> for Fold<I, F, R, M>
where
    A: Value,
    I: Fn() -> A + Send + Sync + 'static,
    F: Fn(&mut A, &K, V) + Send + Sync + 'static,
    R: Fn(&mut A, &K, V) + Send + Sync + 'static,
    M: Send + Sync + 'static,
{
    fn retract(&self, acc: &mut A, key: &K, value: V) {
        (self.retract)(acc, key, value);
    }
}

impl<K, V, A, I, F, R, M> Merge<K, V> for Fold<I, F, R, M>
where
    A: Value,
    I: Fn() -> A + Send + Sync + 'static,
    F: Fn(&mut A, &K, V) + Send + Sync + 'static,
    R: Send + Sync + 'static,
    M: Fn(&mut A, A) + Send + Sync + 'static,
{
    fn merge(&self, acc: &mut A, other: A) {
        (self.merge)(acc, other);
    }
}
