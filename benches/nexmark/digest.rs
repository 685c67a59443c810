//! Rows in no order as one number, which tells whether any of them differs, is missing or is there twice.

use millpond_support::random::scatter;
use rustc_hash::FxHasher;
use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};

/// How many rows there are, and the sum of what each of them comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Digest {
    pub(crate) rows: u64,
    sum: u64,
}

/// What a row comes to.
pub(crate) fn hash(key: &impl Hash, value: &impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    (key, value).hash(&mut hasher);
    scatter(hasher.finish())
}

impl Digest {
    /// Takes in a row by its hash.
    pub(crate) fn add(&mut self, hash: u64) {
        self.add_times(hash, 1);
    }

    /// Takes in `times` rows that are alike.
    pub(crate) fn add_times(&mut self, hash: u64, times: u64) {
        self.rows += times;
        self.sum = self.sum.wrapping_add(hash.wrapping_mul(times));
    }

    /// Takes in all that the other one has.
    pub(crate) fn add_all(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// That of these rows.
    pub(crate) fn of<K: Hash, V: Hash>(rows: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut digest = Self::default();
        for (key, value) in rows {
            digest.add(hash(&key, &value));
        }
        digest
    }
}
