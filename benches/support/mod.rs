//! What the benchmarks share: arguments, phases in child processes, logs to read, random numbers, latencies, tables.
//!
//! Every benchmark is a program of its own. It measures ways of doing the same work within one run and reports their
//! ratios, because absolute figures say more about the machine than about the library. Each way runs in a child
//! process, so that its peak memory is its own.

pub(crate) mod args;
pub(crate) mod latency;
pub(crate) mod log;
pub(crate) mod measured;
pub(crate) mod phase;
pub(crate) mod random;
pub(crate) mod raw;
pub(crate) mod report;

/// A result for programs, which only print their errors.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
