//! What whoever runs a test may set: the seed, how many rounds, and more that tests name in their headers.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;

/// What the variable `name` of the environment says, if it is set.
pub fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is set to `{text}`, which is not what it takes")))
}

/// The seed of this run: from `MILLPOND_SEED`, else a new one. Printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    seed_or(RandomState::new().build_hasher().finish())
}

/// As [`seed`], for a test that is the same in every run unless told otherwise.
pub fn seed_or(usual: u64) -> u64 {
    let seed = variable("MILLPOND_SEED").unwrap_or(usual);
    println!("repeat with MILLPOND_SEED={seed}");
    seed
}

/// How many rounds: from `MILLPOND_ROUNDS`, else `usual`.
pub fn rounds(usual: usize) -> usize {
    variable("MILLPOND_ROUNDS").unwrap_or(usual)
}
