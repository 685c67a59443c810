//! The running half of millpond: changelog, epochs, tables, queries and recovery.
//!
//! The crate `millpond` re-exports what users need; see there.

pub mod changelog;
pub mod codec;
pub mod fault;
pub mod store;

mod clock;
mod error;
mod position;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind, Result};
pub use position::{Position, TopicPartition};
