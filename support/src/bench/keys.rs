//! The keys that benchmarks draw: uniformly or by Zipf's law, and scattered over the key space.

use super::args::Distribution;
use crate::random::{Random, Ranks, scatter};

/// Draws keys. The key of rank n is `key(n)`, so that neighbours in rank are not neighbours in order.
#[derive(Debug, Clone)]
pub struct Keys {
    random: Random,
    count: u64,
    ranks: Option<Ranks>,
}

impl Keys {
    /// Keys of ranks below `count`.
    pub fn new(distribution: Distribution, count: u64, seed: u64) -> Self {
        let ranks = (distribution == Distribution::Zipf).then(|| Ranks::new(count));
        Self { random: Random::new(seed), count, ranks }
    }

    /// Draws one.
    pub fn draw(&mut self) -> u64 {
        let rank = match &self.ranks {
            Some(ranks) => ranks.draw(&mut self.random),
            None => self.random.below(self.count),
        };
        key(rank)
    }

    /// What else is drawn at random.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

/// The key of rank `rank`, counted from 0.
pub fn key(rank: u64) -> u64 {
    scatter(rank.wrapping_add(1))
}
