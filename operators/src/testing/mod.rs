//! The test kit: for the tests of your own folds, codecs and graphs.
//!
//! [`laws`] checks what the traits of this library ask of an implementation, with generated input that is
//! shrunk to the smallest that breaks a law. [`changelogs`] generates changelogs that look like real ones. A
//! [`Driver`] runs a graph in memory and by hand. [`GraphCheck`] moves one through random steps and compares every
//! state that it publishes with a model of your own.
//!
//! Everything here is deterministic: it reads no clock, what threads do decides nothing, and every failure prints the
//! seed that repeats it.

pub mod changelogs;
pub mod laws;

mod check;
mod driver;
mod input;

#[cfg(test)]
mod tests;

pub use check::GraphCheck;
pub use driver::{Driver, Settings};
pub use input::Input;
