//! What the benchmarks share: arguments, phases in child processes, logs to read, keys, latencies, tables.
//!
//! Every benchmark is a program of its own. It measures ways of doing the same work within one run and reports their
//! ratios, because absolute figures say more about the machine than about the library. Each way runs in a child
//! process, so that its peak memory is its own.

#![allow(missing_docs, reason = "figures that say what they are by their names")]

pub mod args;
pub mod keys;
pub mod latency;
pub mod log;
pub mod measured;
pub mod phase;
pub mod raw;
pub mod report;

/// A result for programs, which only print their errors.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
