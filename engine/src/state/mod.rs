//! The state of a task: hot entries, generations, and what is published of them.
//!
//! Architecture invariant: rows and their position change together. The only way into the store is a drain of
//! whole generations, each of which knows the position it includes.

mod allowance;
mod entry;
mod front;
mod generation;
mod host;
mod hot;
#[cfg(test)]
mod model;
mod predecessor;
mod row_size;
mod subscribers;
mod table;
mod task_state;

pub use crate::flow::Detail;
pub use table::TableState;

pub(crate) use generation::{Generation, Newest, RowBatch, RowCounts, number_of};
pub(crate) use host::Host;
pub(crate) use hot::Seen;
pub(crate) use predecessor::Before;
pub(crate) use subscribers::{KeyWatch, Next, Pushed, Queue, Taken};
pub(crate) use table::AnyTable;
pub(crate) use task_state::{Published, Status, TaskState};

/// The primitives that `front.rs` stands on; the model gives it those of loom.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
    pub(super) use std::sync::{Arc, PoisonError, RwLock};
}
