//! Every operator does what the header of its file says, however the input is cut into epochs and over however many
//! shards its keys are spread.
//!
//! Method: a graph runs in memory and by hand. The same records go in under random cuts and shard counts; tables are
//! compared with a plain fold over a `BTreeMap`, derived topics record by record with a plain loop. One module for each
//! family of operators.

#![expect(
    clippy::expect_used,
    reason = "tests fail by panicking, and the support of tests is outside of them"
)]

mod codecs;
mod foreign_join;
mod graph;
mod group_stream;
mod process;
mod re_key;
mod regroup;
mod sinks;
mod stream_join;
mod stream_steps;
mod support;
mod table_join;
mod table_source;
