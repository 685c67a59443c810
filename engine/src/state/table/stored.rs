//! Up to which key there may be rows that are in the store and not in memory.
//!
//! A key beyond it that is not in memory is nowhere, and the store need not be asked. It pays where new keys are greater than all
//! before, as those of windows are, whose keys begin with a time.
//!
//! Invariant: what is evicted is drained, so that the greatest stored key, read once, covers all that was evicted before; what is
//! evicted later is added.

use crate::Result;
use crate::store::layout::{TableId, table_range};
use crate::store::{Direction, StateStore};

/// The greatest key, as its row is stored under.
#[derive(Debug, Default)]
pub(super) enum Stored {
    /// The store was not asked yet.
    #[default]
    Unknown,
    Nothing,
    UpTo(Vec<u8>),
}

impl Stored {
    /// The greatest key, if there may be any.
    ///
    /// # Errors
    /// An error of the store.
    pub(super) fn last(&mut self, store: &dyn StateStore, table: TableId) -> Result<Option<&[u8]>> {
        if matches!(self, Self::Unknown) {
            let mut last = None;
            let (first, past) = table_range(table);
            store.snapshot()?.scan(&first..&past, Direction::Backward, &mut |key, _| {
                last = Some(key.to_vec());
                false
            })?;
            *self = last.map_or(Self::Nothing, Self::UpTo);
        }
        Ok(if let Self::UpTo(last) = self { Some(last) } else { None })
    }

    /// Notes that the row under `key` is no longer in memory.
    pub(super) fn add(&mut self, key: &[u8]) {
        match self {
            Self::Unknown => {}
            Self::UpTo(last) if last.as_slice() >= key => {}
            Self::UpTo(last) => {
                last.clear();
                last.extend_from_slice(key);
            }
            Self::Nothing => *self = Self::UpTo(key.to_vec()),
        }
    }
}
