//! Random numbers that are the same in every run: `SplitMix64`, and keys drawn uniformly or by Zipf's law.

use super::args::Distribution;

/// Steele, Lea and Flood's `SplitMix64`.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scatter(self.0)
    }

    /// A number below `bound`, which is above 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from 0.0 to below 1.0.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Maps every number to another one, without any order left.
pub(crate) fn scatter(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Draws keys. The key of rank n is `key(n)`, so that neighbours in rank are not neighbours in order.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    random: Random,
    count: u64,
    zipf: Option<Zipf>,
}

impl Keys {
    pub(crate) fn new(distribution: Distribution, count: u64, seed: u64) -> Self {
        let zipf = (distribution == Distribution::Zipf).then(|| Zipf::new(count));
        Self { random: Random::new(seed), count, zipf }
    }

    pub(crate) fn next(&mut self) -> u64 {
        let rank = match &self.zipf {
            Some(zipf) => zipf.rank(&mut self.random),
            None => self.random.below(self.count),
        };
        key(rank)
    }

    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

/// The key of rank `rank`, counted from 0.
pub(crate) fn key(rank: u64) -> u64 {
    scatter(rank.wrapping_add(1))
}

/// Ranks by Zipf's law with exponent 1, by rejection-inversion (Hörmann and Derflinger, 1996): no table, and on
/// average about one try.
#[derive(Debug, Clone)]
struct Zipf {
    count: f64,
    low: f64,
    high: f64,
    accept: f64,
}

impl Zipf {
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 keys")]
    fn new(count: u64) -> Self {
        let count = count as f64;
        Self {
            count,
            low: 1.5_f64.ln() - 1.0,
            high: (count + 0.5).ln(),
            accept: 2.0 - (2.5_f64.ln() - 0.5).exp(),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 1 ..= count before"
    )]
    fn rank(&self, random: &mut Random) -> u64 {
        loop {
            let area = self.high + random.unit() * (self.low - self.high);
            let x = area.exp();
            let rank = x.round().clamp(1.0, self.count);
            if rank - x <= self.accept || area >= (rank + 0.5).ln() - 1.0 / rank {
                return rank as u64 - 1;
            }
        }
    }
}
