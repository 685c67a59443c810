//! Random numbers that are the same for the same seed, in every run and on every machine.
//!
//! The generator is named, Blackman and Vigna's xoshiro256++, instead of whatever `StdRng` is in a version of `rand`, so
//! that a seed that was printed can be repeated after an update. How a number below a bound or a rank by Zipf's law is
//! made of its bits is up to `rand` and `rand_distr`.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// A seeded generator of numbers.
#[derive(Debug, Clone)]
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// Begins with `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, which is above 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.random_range(..bound)
    }

    /// A place in something of this length, which is above 0.
    pub fn index(&mut self, length: usize) -> usize {
        self.0.random_range(..length)
    }

    /// One of `choices`, of which there is at least one.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// As many bytes as asked for, which do not compress.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

/// Ranks from 0 on by Zipf's law with exponent 1: the first comes up twice as often as the second, and so on.
#[derive(Debug, Clone, Copy)]
pub struct Ranks(Zipf<f64>);

impl Ranks {
    /// Ranks below `count`; of none, rank 0.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 ranks")]
    pub fn new(count: u64) -> Self {
        Self(Zipf::new(count.max(1) as f64, 1.0).expect("a law"))
    }

    /// Draws one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 1 on")]
    pub fn draw(&self, random: &mut Random) -> u64 {
        self.0.sample(&mut random.0) as u64 - 1
    }
}

/// Maps every number to another one, without any order left: what `SplitMix64` makes of its counter.
pub fn scatter(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_numbers_of_the_published_generator() {
        // The reference implementation, begun with the first four numbers of SplitMix64 from 0 on, as it advises.
        let mut state = [1, 2, 3, 4].map(|n: u64| scatter(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let mut reference = || {
            let result = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
            let shifted = state[1] << 17;
            state[2] ^= state[0];
            state[3] ^= state[1];
            state[1] ^= state[2];
            state[0] ^= state[3];
            state[2] ^= shifted;
            state[3] = state[3].rotate_left(45);
            result
        };
        let mut random = Random::new(0);
        for _ in 0..100 {
            assert_eq!(random.number(), reference());
        }
    }

    #[test]
    fn numbers_are_below_their_bound_and_reach_all_of_it() {
        let mut random = Random::new(7);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[usize::try_from(random.below(10)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&times| (850..1150).contains(&times)), "{seen:?}");
        assert_eq!((0..100).map(|_| random.below(1)).max(), Some(0));
        assert!((0..100).any(|_| random.below(u64::MAX) > u64::MAX / 2));
        let picked: std::collections::BTreeSet<_> = (0..100).map(|_| random.pick(&['a', 'b', 'c'])).collect();
        assert_eq!(picked.len(), 3);
    }

    #[test]
    fn ranks_come_up_by_the_law_of_zipf() {
        const DRAWN: u32 = 200_000;
        for count in [1_u64, 2, 1000] {
            let (ranks, mut random) = (Ranks::new(count), Random::new(count));
            let mut seen = vec![0_u32; usize::try_from(count).unwrap()];
            for _ in 0..DRAWN {
                seen[usize::try_from(ranks.draw(&mut random)).unwrap()] += 1;
            }
            let harmonic: f64 = (1..=u32::try_from(count).unwrap()).map(|rank| 1.0 / f64::from(rank)).sum();
            for (rank, &times) in (1_u32..).zip(&seen).take(10) {
                let expected = f64::from(DRAWN) / f64::from(rank) / harmonic;
                let off = (f64::from(times) - expected).abs() / expected;
                assert!(off < 0.05, "rank {rank} of {count}: {times} times, expected {expected}");
            }
        }
    }
}
