//! The direct path to the brokers: fetches of record batches, which are handed over as they are stored.
//!
//! | file | what |
//! |---|---|
//! | `fetcher`, `reader` | what others call |
//! | `state` | what the threads share, and what a broker is asked for next |
//! | `broker` | the thread that fetches from one broker |
//! | `seeker` | the thread that finds out who leads a partition |
//! | `partition` | one partition while it is read: what was fetched, what waits, what is wrong |
//! | `control`, `offsets`, `epochs`, `cluster` | questions beside the fetching, and what the answers say |
//! | `exchange`, `connection`, `transport`, `tls`, `sasl` | a fetch, a request and its response, bytes to and from a broker |
//! | `batch`, `aborted`, `records`, `compression`, `lz4`, `zstd` | from the bytes of a response to records |
//!
//! Nothing is folded, stored or written here, and no consumer group is joined.

mod aborted;
mod batch;
mod broker;
mod cluster;
mod compression;
mod config;
mod connection;
mod control;
mod epochs;
mod error;
mod exchange;
mod fetcher;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod lz4;
mod offsets;
mod partition;
mod reader;
mod records;
mod rhythm;
mod sasl;
mod seeker;
mod state;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod zstd;

pub use cluster::{PartitionMetadata, TopicMetadata};
pub use config::{FetchConfig, Sasl, SaslMechanism, Security, Tls};
pub use fetcher::Fetcher;
pub use reader::FetchReader;

pub(crate) use state::Watchers;

/// What is said of what is wrong, by either path.
pub(crate) mod errors {
    pub(crate) use super::error::{closed, not_allowed, unknown};
    pub(crate) use super::partition::out_of_range;
}
