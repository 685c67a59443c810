//! What the changelog and the state have in common below RocksDB: directories, who has them open, and what a failure of
//! the medium means.
//!
//! This folder knows neither RocksDB nor what is stored; the one thing it knows of RocksDB is how its messages are built.

mod directory;
mod failure;
mod lock;

pub(crate) use directory::create;
pub(crate) use failure::Failure;
pub(crate) use lock::DirectoryLock;
