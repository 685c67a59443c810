//! The number of rows of a table, as it is stored.

use crate::{Error, Result};

/// The stored form of a number of rows.
pub(crate) fn encode_count(rows: u64) -> [u8; 8] {
    rows.to_be_bytes()
}

/// The number of rows that [`encode_count`] stored.
pub(crate) fn decode_count(stored: &[u8]) -> Result<u64> {
    match <[u8; 8]>::try_from(stored) {
        Ok(stored) => Ok(u64::from_be_bytes(stored)),
        Err(_) => Err(Error::corrupt(format!("a row count has {} bytes, not 8", stored.len()))),
    }
}
