//! What the tests, benchmarks and examples of millpond share. Never published.
//!
//! What one test alone needs stays with that test; what stands here is needed by several. Unit tests within `engine/` and
//! `operators/` do without it: it is built upon millpond, which would then be compiled twice.

#![allow(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "whoever uses it fails with it"
)]

pub mod bench;
pub mod random;
