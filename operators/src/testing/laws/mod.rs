//! Laws: what the contracts of this library ask of your code, checked with generated input.
//!
//! Each function takes the thing to check and `proptest` strategies for its input, tries some hundreds of
//! inputs, and panics with the law that broke, the smallest input that breaks it, and the seed:
//!
//! ```
//! use millpond::aggregate::Fold;
//! use millpond::testing::laws;
//! use proptest::prelude::any;
//!
//! let balance = Fold::new(|| 0_i64, |acc: &mut i64, _: &u32, amount: i32| *acc += i64::from(amount))
//!     .with_retract(|acc, _, amount| *acc -= i64::from(amount));
//! laws::retract(&balance, any::<u32>(), any::<i32>());
//! ```
//!
//! | function | checks | of |
//! |---|---|---|
//! | [`aggregate`] | deterministic; all state in the accumulator | [`Aggregate`] |
//! | [`commutative`] | the above; the order of the records does not matter | any fold that should not care |
//! | [`retract`] | all the above; `retract` undoes `fold` | [`Retract`] |
//! | [`merge`] | `aggregate`, `commutative`; identity, associativity, agreement with `fold` | [`Merge`] |
//! | [`restarts`] | encoding and decoding the accumulator anywhere changes nothing | [`Aggregate`], [`ValueCodec`] |
//! | [`value_codec`] | round trip; damaged bytes are refused without a panic | [`ValueCodec`] |
//! | [`key_codec`] | the same; byte order is key order; no key is a prefix of another | [`KeyCodec`] |
//! | [`independent_of_cuts`] | the same wherever epochs are cut and processes die | whatever is made of a stream |
//! | [`independent_of_shards`] | the same over any number of shards | whatever is made of a stream |
//! | [`independent_of_ticks`] | the same whether time comes by a tick or by a record | whatever is made of a stream |
//! | [`finals_never_change`] | what is final is told once, and stays | windows and whatever else closes |
//!
//! The laws can only be checked for the input that the strategies make: let them produce equal values often
//! (a small range), the extremes, and what your extractors treat specially.
//!
//! To set seed or number of cases, or to get a violation as a value, use [`Laws`]; `PROPTEST_RNG_SEED` and
//! `PROPTEST_CASES` in the environment set the defaults.

mod encoding;
mod folding;
mod outcome;
mod time;

#[cfg(test)]
mod tests;

pub use outcome::Outcome;
pub use time::{finals_never_change, independent_of_cuts, independent_of_shards, independent_of_ticks};

use crate::aggregate::{Aggregate, Merge, Retract};
use millpond_engine::codec::{KeyCodec, ValueCodec};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use std::fmt::{self, Debug};
use std::hash::{BuildHasher, Hasher, RandomState};

/// As many random graphs or logs as a test of a second or so can take; `PROPTEST_CASES` sets another number.
const CASES_OF_GRAPHS: u32 = 64;

/// How laws are checked: with which seed and how many inputs each.
///
/// Its methods are the functions of [this module](self), returning the [`Violation`] instead of panicking.
///
/// # Examples
/// ```
/// use millpond::aggregate::Fold;
/// use millpond::testing::laws::Laws;
/// use proptest::prelude::any;
///
/// let forgetful = Fold::new(|| 0, |acc: &mut i32, _: &(), value: i32| *acc = value)
///     .with_retract(|acc, _, _| *acc = 0);
/// let violation = Laws::new().seed(7).retract(&forgetful, any::<()>(), 0..10).unwrap_err();
/// assert_eq!(violation.law(), "the order of the records does not matter");
/// ```
#[derive(Debug, Clone)]
pub struct Laws {
    seed: u64,
    cases: u32,
}

/// A law that was broken, by what, and how to see it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    law: &'static str,
    reason: String,
    input: String,
    seed: u64,
}

impl Violation {
    /// The law, as a sentence.
    #[must_use]
    pub fn law(&self) -> &'static str {
        self.law
    }

    /// The smallest input found that breaks it.
    #[must_use]
    pub fn input(&self) -> &str {
        &self.input
    }

    /// What was expected and what came instead.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The seed that repeats it.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { law, reason, input, seed } = self;
        writeln!(f, "broken law: {law}")?;
        writeln!(f, "  smallest input: {input}")?;
        writeln!(f, "  {reason}")?;
        write!(f, "  seed: {seed} (repeat with PROPTEST_RNG_SEED={seed} or Laws::new().seed({seed}))")
    }
}

impl std::error::Error for Violation {}

impl Default for Laws {
    fn default() -> Self {
        Self::new()
    }
}

impl Laws {
    /// With seed and cases from the environment, else with a fresh seed and 256 cases.
    #[must_use]
    pub fn new() -> Self {
        let config = Config::default();
        let seed = match config.rng_seed {
            RngSeed::Fixed(seed) => seed,
            // Drawn here, not by the runner, because a seed that was not drawn here cannot be printed.
            RngSeed::Random => RandomState::new().build_hasher().finish(),
        };
        Self { seed, cases: config.cases }
    }

    /// As [`new`](Self::new), with no more cases than a test of graphs can take.
    pub(in crate::testing) fn of_graphs() -> Self {
        let laws = Self::new();
        if std::env::var_os("PROPTEST_CASES").is_some() { laws } else { laws.cases(CASES_OF_GRAPHS) }
    }

    /// With this seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// With this many inputs per law.
    #[must_use]
    pub fn cases(mut self, cases: u32) -> Self {
        self.cases = cases;
        self
    }

    /// Runs `holds` on inputs of the strategy until one fails, and shrinks that.
    pub(in crate::testing) fn check<S: Strategy>(
        &self,
        law: &'static str,
        inputs: &S,
        holds: impl Fn(S::Value) -> Result<(), String>,
    ) -> Result<(), Violation> {
        let config = Config {
            cases: self.cases,
            rng_seed: RngSeed::Fixed(self.seed),
            failure_persistence: None,
            ..Config::default()
        };
        let outcome = TestRunner::new(config).run(inputs, |input| holds(input).map_err(TestCaseError::fail));
        let (reason, input) = match outcome {
            Ok(()) => return Ok(()),
            Err(TestError::Fail(reason, input)) => (reason.to_string(), format!("{input:?}")),
            Err(TestError::Abort(reason)) => (format!("gave up: {reason}"), "none".to_owned()),
        };
        Err(Violation { law, reason, input, seed: self.seed })
    }
}

/// Says what differs unless `got` equals `expected`.
pub(super) fn agree<T: PartialEq + Debug>(expected: &T, got: &T) -> Result<(), String> {
    if expected == got { Ok(()) } else { Err(format!("expected {expected:?}, got {got:?}")) }
}

#[track_caller]
pub(super) fn hold(outcome: Result<(), Violation>) {
    if let Err(violation) = outcome {
        panic!("{violation}");
    }
}

/// Checks the contract of [`Aggregate`].
///
/// # Panics
/// If a law is broken.
#[track_caller]
pub fn aggregate<K, V, A>(aggregate: &A, keys: impl Strategy<Value = K>, values: impl Strategy<Value = V>)
where
    K: Debug,
    V: Clone + Debug,
    A: Aggregate<K, V, Acc: PartialEq + Debug>,
{
    hold(Laws::new().aggregate(aggregate, keys, values));
}

/// Checks the contract of [`Aggregate`], and that the order of the records does not matter.
///
/// # Panics
/// If a law is broken.
#[track_caller]
pub fn commutative<K, V, A>(aggregate: &A, keys: impl Strategy<Value = K>, values: impl Strategy<Value = V>)
where
    K: Debug,
    V: Clone + Debug,
    A: Aggregate<K, V, Acc: PartialEq + Debug>,
{
    hold(Laws::new().commutative(aggregate, keys, values));
}

/// Checks the contracts of [`Aggregate`] and [`Retract`].
///
/// # Panics
/// If a law is broken.
#[track_caller]
pub fn retract<K, V, A>(aggregate: &A, keys: impl Strategy<Value = K>, values: impl Strategy<Value = V>)
where
    K: Debug,
    V: Clone + Debug,
    A: Retract<K, V, Acc: PartialEq + Debug>,
{
    hold(Laws::new().retract(aggregate, keys, values));
}

/// Checks the contracts of [`Aggregate`] and [`Merge`].
///
/// # Panics
/// If a law is broken.
#[track_caller]
pub fn merge<K, V, A>(aggregate: &A, keys: impl Strategy<Value = K>, values: impl Strategy<Value = V>)
where
    K: Debug,
    V: Clone + Debug,
    A: Merge<K, V, Acc: PartialEq + Debug>,
{
    hold(Laws::new().merge(aggregate, keys, values));
}

/// Checks that encoding and decoding the accumulator after any record changes nothing.
///
/// # Panics
/// If a law is broken.
#[track_caller]
pub fn restarts<K, V, A>(
    aggregate: &A,
    codec: &impl ValueCodec<A::Acc>,
    keys: impl Strategy<Value = K>,
    values: impl Strategy<Value = V>,
) where
    K: Debug,
    V: Clone + Debug,
    A: Aggregate<K, V, Acc: PartialEq + Debug>,
{
    hold(Laws::new().restarts(aggregate, codec, keys, values));
}

/// Checks the contract of [`ValueCodec`].
///
/// # Panics
/// If a law is broken.
#[track_caller]
pub fn value_codec<V>(codec: &impl ValueCodec<V>, values: impl Strategy<Value = V>)
where
    V: PartialEq + Debug,
{
    hold(Laws::new().value_codec(codec, values));
}

/// Checks the contract of [`KeyCodec`].
///
/// # Panics
/// If a law is broken.
#[track_caller]
pub fn key_codec<K>(keys: impl Strategy<Value = K>)
where
    K: KeyCodec + Ord + Debug,
{
    hold(Laws::new().key_codec(keys));
}
