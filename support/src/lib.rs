//! What the tests, benchmarks and examples of millpond share. Never published.
//!
//! What one test alone needs stays with that test; what stands here is needed by several. Unit tests within `engine/` and
//! `operators/` do without it: it is built upon millpond, which would then be compiled twice.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    clippy::unwrap_used,
    reason = "whoever uses it fails with it"
)]

#[cfg(feature = "rocks")]
pub mod any_store;
#[cfg(feature = "rocks")]
pub mod bench;
pub mod broker;
pub mod environment;
pub mod expect;
pub mod failing;
pub mod files;
pub mod in_memory;
pub mod java;
#[cfg(feature = "rocks")]
pub mod ledger;
pub mod life;
#[cfg(feature = "rocks")]
pub mod medium;
pub mod own_log;
pub mod process;
pub mod proxy;
pub mod random;
pub mod records;
pub mod timed;
pub mod waiting;
