//! Reading through librdkafka's consumer: for where the direct path cannot go.
//!
//! | file | what |
//! |---|---|
//! | `client` | what others call: topics, where partitions begin and end, readers |
//! | `state`, `queue` | what the threads share: for each reader what was fetched and waits to be polled |
//! | `lane` | the thread of a consumer, which is assigned what is read of one topic, and never subscribes or commits |
//! | `batch`, `reader` | messages as batches, and whoever polls them |
//! | `context` | what librdkafka says when something is wrong, and what its errors mean |
//!
//! A consumer has one topic because the end of a partition is told by its number alone. A second reader of one partition gets a
//! consumer of its own, as a partition is assigned once.
//!
//! Where nothing is the last thing before the end of a partition (the end of a transaction, a tail that was compacted away), the
//! consumer's own position says so as a rule; where it does not, the partition is assigned once more from there, and the end
//! that is told afterwards lies behind all that was known before.

mod batch;
mod client;
mod context;
mod lane;
mod queue;
mod reader;
mod state;

pub(crate) use client::Consumers;
pub(crate) use context::is_answer;
