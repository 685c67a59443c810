//! Latencies: a histogram with a resolution of under one per cent.

use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Buckets for each power of two.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// How long things took, in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    max_ns: u64,
    /// What taking the time takes itself.
    clock_ns: u64,
}

/// What is reported of latencies, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) median_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let mut clock = Self::empty(0);
        for _ in 0..10_000 {
            clock.time(|| ());
        }
        Self::empty(clock.percentile(0.5))
    }

    fn empty(clock_ns: u64) -> Self {
        Self { buckets: vec![0; bucket(u64::MAX) + 1], count: 0, max_ns: 0, clock_ns }
    }

    /// Runs `work` and notes how long it took, without the time that it takes to look at the clock.
    pub(crate) fn time<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let begin = Instant::now();
        let result = work();
        let ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.note(ns.saturating_sub(self.clock_ns));
        result
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    fn note(&mut self, ns: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket(ns)) {
            *bucket += 1;
        }
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among fewer than 2^53"
    )]
    fn percentile(&self, part: f64) -> u64 {
        let rank = (self.count as f64 * part) as u64;
        let mut seen = 0;
        for (index, &count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen > rank {
                return value(index);
            }
        }
        self.max_ns
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary {
            count: self.count,
            median_ns: self.percentile(0.5),
            p99_ns: self.percentile(0.99),
            p999_ns: self.percentile(0.999),
            max_ns: self.max_ns,
        }
    }
}

fn bucket(ns: u64) -> usize {
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(STEP_BITS + 1);
    let index = u64::from(shift) * STEPS + (ns >> shift);
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The smallest value that falls into bucket `index`.
fn value(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index / STEPS).saturating_sub(1);
    (index - shift * STEPS) << shift
}
