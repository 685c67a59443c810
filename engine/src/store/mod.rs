//! Where tables are kept: sorted rows, written only by whole drains.
//!
//! A [`StateStore`] is the state of one task. It knows bytes only: no types, no epochs, no tables.

pub(crate) mod layout;
mod memory;
#[cfg(feature = "rocks")]
mod rocks;

#[cfg(test)]
#[cfg(feature = "rocks")]
mod contract_tests;

pub use memory::MemoryStore;
#[cfg(feature = "rocks")]
pub use rocks::{RocksOptions, RocksState, RocksStore};
#[cfg(feature = "rocks")]
pub(crate) use rocks::{SecondaryStore, no_state};

use crate::{Error, Result};
use serde::Serialize;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// One row of a drain: a key with its value, or with `None` to delete it.
pub type Row<'a> = (&'a [u8], Option<&'a [u8]>);

/// The rows of a scan are handed to this, in order; it returns `false` to stop.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> bool;

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Ascending key bytes.
    Forward,
    /// Descending key bytes.
    Backward,
}

/// The sorted state of one task.
///
/// # Contract
/// 1. `ingest` is atomic and durable: after a crash either every row of it is there or none.
/// 2. Reads see whole ingests only, and never block one or are blocked by one.
/// 3. A snapshot never changes.
pub trait StateStore: Send + Sync + 'static {
    /// Calls `read` with the value of `key`.
    ///
    /// # Errors
    /// If the medium failed or the stored bytes are damaged.
    fn read(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()>;

    /// Reads many keys at once, which must be in ascending order; calls `read(index, value)` for each.
    ///
    /// # Errors
    /// As for `read`.
    fn read_sorted(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()>;

    /// Writes rows, given in strictly ascending order of key, in one atomic, durable step.
    ///
    /// # Errors
    /// `Unavailable` if the disk is full; nothing was written. `Internal` if the rows are not in order.
    fn ingest(&self, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()>;

    /// Deletes every row whose key lies in `keys` and writes `rows` (outside of that range), in one atomic,
    /// durable step.
    ///
    /// # Errors
    /// As for `ingest`.
    fn replace_range(&self, keys: Range<&[u8]>, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()>;

    /// The state as it is now, for good.
    ///
    /// # Errors
    /// `Closed` if the store is closed.
    fn snapshot(&self) -> Result<Arc<dyn StoreSnapshot>>;

    /// Copies the state as it is at one moment of the call into the directory `target`, which must not be there or be empty.
    /// Before it is put in place every row of it is read once, with the checksums that the store has, and `check` is called with
    /// it. Afterwards it is there as a whole and durable, or not at all.
    ///
    /// # Errors
    /// `Invalid` if there is something in the directory, or the store is not one that is kept in files; `Unavailable` if it
    /// cannot be written; `Corrupt`, with the name of the file, if something of it is damaged; those of `check`. The state
    /// itself is as it was.
    fn checkpoint(
        &self,
        target: &Path,
        check: &mut dyn FnMut(&dyn StoreSnapshot) -> Result<()>,
    ) -> Result<()> {
        let _ = check;
        Err(Error::invalid(format!(
            "no checkpoint can be written to {}: the state is kept in memory only; give the engine a directory with \
             `EngineBuilder::dir` or `state_dir`",
            target.display()
        )))
    }

    /// The directory in which it is kept, if it is kept in one.
    fn directory(&self) -> Option<&Path> {
        None
    }

    /// Says that nobody asks for rows whose keys lie in one of `keys` any more, but the snapshots that are there, which go on showing
    /// them. From what is said once nothing is taken back: a range that begins where another one did includes it, and no others have
    /// keys in common. The store may give back their space, now, later or never: meanwhile later reads may find some of them, as
    /// they are or were.
    fn forget(&self, keys: &[Range<Vec<u8>>]) {
        let _ = keys;
    }

    /// Says that no rows are expected for now: a good moment to put what is there in order, in the background. Only a hint.
    fn settle(&self) {}

    /// How far maintenance is behind, from 0.0 (idle) to 1.0 (no more drains should be made until it has
    /// caught up).
    fn pressure(&self) -> f64;

    /// Blocks until maintenance has caught up enough for `pressure` to be below 1.0.
    fn wait_for_room(&self);

    /// As [`wait_for_room`](Self::wait_for_room), but no longer than `given_up` is false: an engine that is to end does not
    /// wait for better times. Looked at every few milliseconds.
    fn wait_for_room_until(&self, given_up: &dyn Fn() -> bool) {
        if !given_up() {
            self.wait_for_room();
        }
    }

    /// Sizes and counts, for an engine's [`Stats`](crate::Stats).
    fn stats(&self) -> StoreStats;
}

/// Sizes and counts of a store at one moment. Those that a store does not have are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoreStats {
    /// What the rows take where they are stored, in bytes.
    pub state_bytes: u64,
    /// About how many rows there are, those of the engine itself included.
    pub rows_estimate: u64,
    /// Files that wait to be merged: each is one more place in which a row is looked for.
    pub level_zero_files: u64,
    /// About how many bytes compactions have yet to write.
    pub pending_compaction_bytes: u64,
    /// Bytes that compactions have written since the state was opened.
    pub compacted_bytes: u64,
    /// Compactions that run.
    pub running_compactions: u64,
    /// What the block cache takes, in bytes.
    pub block_cache_bytes: u64,
    /// What of it cannot be given up now, in bytes.
    pub block_cache_pinned_bytes: u64,
    /// Blocks that were found in the cache since the state was opened.
    pub block_cache_hits: u64,
    /// Blocks that had to be read.
    pub block_cache_misses: u64,
    /// What indexes and filters take beside the cache, in bytes.
    pub table_reader_bytes: u64,
    /// What memtables take, in bytes: those of an engine stay empty.
    pub memtable_bytes: u64,
}

/// A state that never changes.
pub trait StoreSnapshot: Send + Sync {
    /// Calls `read` with the value of `key`.
    ///
    /// # Errors
    /// If the medium failed or the stored bytes are damaged.
    fn read(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()>;

    /// Hands the rows whose key lies in `keys` to `visit`, in order of `direction`.
    ///
    /// # Errors
    /// As for `read`.
    fn scan(&self, keys: Range<&[u8]>, direction: Direction, visit: Visit<'_>) -> Result<()>;
}

/// The error for a row that is out of order, or inside of a range that is being replaced.
fn misplaced_row(key: &[u8]) -> Error {
    Error::internal(format!(
        "a drain held the key {key:02x?} out of order or inside of the range it replaces; nothing was written"
    ))
}
