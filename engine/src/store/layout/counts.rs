//! The number of rows of a table, and which of its stored rows it has forgotten, as they are stored.

use crate::{Error, Result};
use std::sync::Arc;

/// How many rows a table has, and below which of them it has forgotten what is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowCount {
    /// Without those that are forgotten.
    pub(crate) rows: u64,
    /// Rows with keys below this one, which begins with the table's number as theirs do, are not there, whatever is stored. None if
    /// nothing was ever forgotten.
    pub(crate) cutoff: Option<Arc<[u8]>>,
}

impl RowCount {
    /// Whether the row with this key, which begins with the number of the table, is forgotten.
    pub(crate) fn has_forgotten(&self, row: &[u8]) -> bool {
        self.cutoff.as_ref().is_some_and(|cutoff| row < &**cutoff)
    }
}

/// The stored form of a number of rows: the number, and behind it the cutoff, if there is one.
pub(crate) fn encode_count(count: &RowCount) -> Vec<u8> {
    [&count.rows.to_be_bytes(), count.cutoff.as_deref().unwrap_or_default()].concat()
}

/// The number of rows that [`encode_count`] stored.
pub(crate) fn decode_count(stored: &[u8]) -> Result<RowCount> {
    let Some((rows, cutoff)) = stored.split_first_chunk() else {
        return Err(Error::corrupt(format!("a row count has {} bytes, not 8", stored.len())));
    };
    Ok(RowCount { rows: u64::from_be_bytes(*rows), cutoff: (!cutoff.is_empty()).then(|| cutoff.into()) })
}
