//! What the changelog and the state have in common below RocksDB: directories, who has them open, and what a failure of
//! the medium means.
//!
//! This folder does not use RocksDB and does not know what is stored; of RocksDB it knows how its messages are built and its
//! logs are laid out.

mod directory;
mod failure;
mod lock;
pub(crate) mod log_file;
mod manifest;
mod stage;
mod torn;

pub(crate) use directory::{create, sync_directory};
pub(crate) use failure::{Kept, MediumFailure};
pub(crate) use lock::{DirectoryLock, NAME as LOCK_FILE, is_locked_here};
pub(crate) use manifest::Manifest;
pub use stage::StatePlace;
pub(crate) use stage::placing_failure;
pub(crate) use torn::Cut;
