//! Event time: how far each partition has come, and with it each node of a graph.
//!
//! The rule: whether a record counts is decided by its own partition, when a thing closes is decided by all of them.
//!
//! - The *stream time* of a record is the greatest timestamp of its partition up to and including it, over all of the partition's
//!   history. Whether the record is late is a comparison with it, and with nothing else: no watermark, no clock. So it does not
//!   depend on how epochs are cut, nor on what other partitions hold.
//! - The *watermark* of a node at a position is the least stream time of the partitions that feed it, less what the nodes before it
//!   hold back. It decides when something closes, never what is in it. Stream times never fall, so no record that comes after has a
//!   stream time below it.
//!
//! - Where a partition is silent a [tick](tick) may take it on: a record of the engine's own, so that the clock enters as input does. A
//!   stream of the clock's own is a partition that nothing but ticks takes on, from one [period](Period) to the next.
//!
//! Invariant: all of it is a function of the log below a position, stored with the rows of that position.

mod idle;
mod moved;
mod period;
mod reached;
mod stream_times;
mod tick;
mod watermarks;

pub use idle::Idle;
pub(crate) use idle::Policy;
pub(crate) use moved::Moved;
pub use period::Period;
pub(crate) use reached::Reached;
pub(crate) use stream_times::StreamTimes;
pub(crate) use tick::{Reach, Tick};
pub(crate) use watermarks::Watermarks;

/// Before all time: how far a partition has come that has shown no record.
pub(crate) const NEVER: i64 = i64::MIN;
