//! The meaning half of millpond: typed streams, tables and the operators over them.
//!
//! One file per operator; its header says what it does with tombstones, absent keys, repeated keys in one epoch, late
//! timestamps and empty input. Every operator is written against the traits of `millpond_engine::dataflow`, as a user's
//! own would be.
//!
//! The crate `millpond` re-exports what users need; see there.

pub mod aggregate;
pub mod stream;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

mod alarm;
mod builder;
mod earliest;
mod upsert;

pub use builder::{GraphBuilder, Latest};
pub use stream::{GroupedStream, Process, Stream, Windowed};
pub use table::{
    AsOf, ForeignStore, GroupedTable, StoredTable, Table, Version, VersionKey, VersionRow, VersionStore,
    VersionedTable, Versions,
};
pub use upsert::Upsert;
