//! The running half of millpond: changelog, epochs, tables, queries and recovery.
//!
//! The crate `millpond` re-exports what users need; see there.

pub mod changelog;
pub mod codec;
pub mod dataflow;
#[cfg(feature = "fault-injection")]
pub mod fault;
#[cfg(not(feature = "fault-injection"))]
mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod graph;
pub mod query;
pub mod state;
pub mod store;

mod clock;

mod engine;
mod error;
mod flow;
mod folding;
mod identity;
#[cfg(feature = "rocks")]
mod medium;
mod position;
mod task;
mod time;
mod topic;
mod topic_partition;
mod varint;
mod wait;

pub use clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "rocks")]
pub use engine::StateReader;
pub use engine::{Engine, EngineBuilder, Health, Memory, Stats, Stepper, TableStats, WatermarkStats};
pub(crate) use error::panic_message;
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "rocks")]
pub use medium::StatePlace;
pub use position::Position;
pub use task::FailurePolicy;
#[cfg(feature = "rocks")]
pub use task::{StateInfo, TableInfo};
pub use time::Idle;
pub use topic::Topic;
pub use topic_partition::TopicPartition;
pub use wait::Wait;
