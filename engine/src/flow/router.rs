//! The router: which shard owns a key.
//!
//! Invariant: it is a function of the key and of the number of shards alone, and no part of anything stored.

use crate::codec::KeyCodec;
use rustc_hash::FxBuildHasher;
use std::hash::{BuildHasher, Hash, Hasher};

/// Maps keys to shards.
#[derive(Debug, Clone, Copy)]
pub struct Router {
    shards: usize,
}

impl Router {
    pub(crate) fn new(shards: usize) -> Self {
        Self { shards }
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// The shard that owns `key`.
    #[inline]
    #[must_use]
    pub fn shard<K: KeyCodec + Hash>(&self, key: &K) -> usize {
        if self.shards == 1 {
            return 0;
        }
        // Mixed once more, so that the bits which choose the shard are not those by which a shard's hash map
        // places the key: it would leave most of its buckets empty.
        let mut hasher = FxBuildHasher.build_hasher();
        key.hash_route(&mut hasher);
        let mixed = hasher.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        ((mixed * self.shards as u64) >> 32) as usize
    }

    /// Splits `items` by the shard of their key, keeping the order within a shard.
    pub fn split<T, K: KeyCodec + Hash>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> &K,
    ) -> Vec<Vec<T>> {
        let items = items.into_iter();
        let expected = items.size_hint().0 / self.shards;
        let mut parts: Vec<Vec<T>> =
            (0..self.shards).map(|_| Vec::with_capacity(expected + expected / 8)).collect();
        for item in items {
            let shard = self.shard(key(&item));
            if let Some(part) = parts.get_mut(shard) {
                part.push(item);
            }
        }
        parts
    }
}
