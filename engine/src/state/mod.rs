//! The state of a task: hot entries, generations, and what is published of them.
//!
//! Architecture invariant: rows and their position change together. The only way into the store is a drain of
//! whole generations, each of which knows the position it includes.

mod generation;
mod hot;
mod published;
mod row_size;
mod subscribers;
mod table;

pub use table::{Record, TableState};

pub(crate) use generation::{Generation, Newest, Part};
pub(crate) use published::{Published, Shared, Status};
pub(crate) use subscribers::Pushed;
pub(crate) use table::AnyTable;
