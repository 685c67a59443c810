//! Operators of one's own: nodes of the graph, beneath streams and tables.
//!
//! Most steps need none of this: a [`Process`](crate::Process) is an operator with a state for each key. An [`Operator`] sees
//! whole batches, may read and write several tables, send what it puts out to other shards, and have several outputs. The
//! operators of this crate are written against nothing else.
//!
//! | to | see |
//! |---|---|
//! | take in and put out batches | [`Operator`], [`Inputs`] |
//! | send what is put out to other shards | [`Exchange`], [`Router`] |
//! | know what flows | [`Event`] in streams, [`Changes`] in tables, [`Stamp`] for their order |
//! | add a node to a graph | [`GraphBuilder::nodes`](crate::GraphBuilder::nodes), [`Builder`] |
//! | begin at streams and come back to them | [`Stream::node`](crate::Stream::node), [`Stream::from_node`](crate::Stream::from_node), [`StoredTable::from_node`](crate::StoredTable::from_node) |
//! | keep a state | [`Builder::table`], [`TableRef`], [`Context::table`], [`TableState`] |
//! | read a topic in another way | [`Source`] |
//! | have records of the clock | [`Builder::ticks`], [`Period`] |

pub use millpond_engine::dataflow::*;
pub use millpond_engine::graph::{Builder, Interleaving, NodeRef, Period, TableIndex, TableRef};
pub use millpond_engine::query::StoredRef;
pub use millpond_engine::state::TableState;
