//! The meter: how much of an epoch is on its way that its input did not announce.
//!
//! The engine knows the size of an epoch's records, not what operators make of them. Those that make many of one charge
//! for it, and what is encoded in the end is charged for as it is. An epoch that becomes too large is undone and cut smaller,
//! like one that fails; and the next ones are cut by what records became in the last ones.

use super::Failure;
use crate::Result;
use std::sync::atomic::{AtomicUsize, Ordering};

/// In about how many places a value is at once on its way: what an operator made, what it sends to each shard, what comes
/// together there, what a table sorts by where its keys are, and the list of what it has touched.
const PLACES: usize = 4;

/// What one epoch may become, over all its shards, and what it has become.
pub(crate) struct Meter {
    used: AtomicUsize,
    most_bytes: usize,
    /// About how many bytes a value owns that owns anything: as many as a record of the epoch.
    owned_bytes: usize,
}

impl Meter {
    pub(crate) fn new(most_bytes: usize, owned_bytes: usize) -> Self {
        Self { used: AtomicUsize::new(0), most_bytes, owned_bytes }
    }

    /// Counts `values` of type `T`.
    ///
    /// # Errors
    /// The epoch has become too large.
    pub(crate) fn add<T>(&self, values: usize) -> Result<(), Failure> {
        let owned = if std::mem::needs_drop::<T>() { self.owned_bytes } else { 0 };
        self.add_bytes(values.saturating_mul(size_of::<T>() * PLACES + owned))
    }

    /// Counts `bytes` of what is to be stored.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub(crate) fn add_bytes(&self, bytes: usize) -> Result<(), Failure> {
        if self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= self.most_bytes {
            return Ok(());
        }
        Err(Failure::too_much())
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}
