//! Latencies: a histogram with a resolution of under one per cent.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Steps of at most a hundredth of a value.
const DIGITS: u8 = 2;

/// Longer ones count as this: 18 minutes.
const MAX_NS: u64 = 1 << 40;

/// How long things took, in nanoseconds.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
    /// What taking the time takes itself.
    clock_ns: u64,
}

/// What is reported of latencies, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub count: u64,
    pub median_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    pub max_ns: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// Finds out what looking at the clock takes, and notes nothing yet.
    pub fn new() -> Self {
        let mut clock = Self::empty(0);
        for _ in 0..10_000 {
            clock.time(|| ());
        }
        Self::empty(clock.quantile(0.5))
    }

    fn empty(clock_ns: u64) -> Self {
        Self { histogram: Histogram::new_with_max(MAX_NS, DIGITS).expect("bounds"), clock_ns }
    }

    /// Runs `work` and notes how long it took, without the time that it takes to look at the clock.
    pub fn time<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let begin = Instant::now();
        let result = work();
        let ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(ns.saturating_sub(self.clock_ns));
        result
    }

    /// Notes what took so long by another measure.
    pub fn note(&mut self, took: Duration) {
        self.histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Notes what others have noted.
    pub fn add(&mut self, others: &Self) {
        self.histogram.add(&others.histogram).expect("the same bounds");
    }

    /// How many were noted.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The least that falls into the step of the quantile.
    fn quantile(&self, part: f64) -> u64 {
        self.histogram.lowest_equivalent(self.histogram.value_at_quantile(part))
    }

    /// What there is to say of them.
    pub fn summary(&self) -> Summary {
        Summary {
            count: self.count(),
            median_ns: self.quantile(0.5),
            p99_ns: self.quantile(0.99),
            p999_ns: self.quantile(0.999),
            max_ns: self.histogram.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_within_a_hundredth() {
        let mut latencies = Latencies::empty(0);
        for ns in 1..=100_000_u64 {
            latencies.histogram.saturating_record(ns * 10);
        }
        let Summary { count, median_ns, p99_ns, p999_ns, max_ns } = latencies.summary();
        assert_eq!(count, 100_000);
        for (got, exact) in
            [(median_ns, 500_000), (p99_ns, 990_000), (p999_ns, 999_000), (max_ns, 1_000_000_u64)]
        {
            assert!(got.abs_diff(exact) * 100 <= exact, "{got} instead of {exact}");
        }
    }

    #[test]
    fn what_takes_for_ever_is_noted_too() {
        let mut latencies = Latencies::empty(0);
        latencies.histogram.saturating_record(u64::MAX);
        assert!(latencies.summary().max_ns >= MAX_NS && latencies.count() == 1);
    }
}
