//! The meaning half of millpond: typed streams, tables and the operators over them.
//!
//! The crate `millpond` re-exports what users need; see there.

pub mod aggregate;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
