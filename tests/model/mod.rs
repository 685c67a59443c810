//! The reference model of whole graphs, shared by the model tests.
//!
//! [`grammar`] makes random graphs, [`graph`] builds them with the library, [`interpreter`] says what they mean over
//! plain maps with [`changed`], [`steps`] makes random steps, and [`probe`] asks a table in every way there is. What looks at time
//! is built by [`graph_in_time`] and meant by [`time`], [`windows`], [`alarms`], [`within`] and [`versions`]; [`order`] says what of it
//! is the same however epochs are cut.
//!
//! Every key is a pair of small numbers, so that prefixes mean something, and every value an `i64`.

#![allow(dead_code, reason = "each test uses its part")]

pub mod alarms;
pub mod changed;
pub mod grammar;
pub mod graph;
pub mod graph_in_time;
pub mod interpreter;
pub mod order;
pub mod probe;
pub mod steps;
pub mod time;
pub mod versions;
pub mod windows;
pub mod within;

use proptest::test_runner::{Config, FileFailurePersistence};
use std::collections::BTreeMap;

pub type K = (u8, u8);
pub type V = i64;
pub type Rows<Q = K> = BTreeMap<Q, V>;

/// `cases` random inputs, unless `MILLPOND_MODEL_CASES` says how many; failures are kept in `regressions`.
pub fn config(cases: u32, regressions: &'static str) -> Config {
    let set = std::env::var("MILLPOND_MODEL_CASES").ok().and_then(|cases| cases.parse().ok());
    Config {
        cases: set.unwrap_or(cases),
        max_shrink_iters: 4_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
        ..Config::default()
    }
}
