//! Rows that are forgotten: what is published says below which key, and nobody finds them from there on.
//!
//! The cutoff is judged after a value was found in memory: it may be that of an epoch which has forgotten it.

use super::TableState;
use crate::codec::{Key, Value};
use crate::flow::Router;
use crate::store::layout::{RowCount, decode_row_key};
use crate::{Error, Result};
use std::sync::atomic::Ordering;

impl<K: Key, V: Value> TableState<K, V> {
    /// Whether what is published has forgotten the row of `key`.
    #[inline]
    pub(crate) fn has_forgotten(&self, key: &K) -> bool {
        self.forgetful.load(Ordering::Acquire)
            && self.counted().is_some_and(|count| count.has_forgotten(&self.row_key(key)))
    }

    /// What is published of the number of rows, if any were forgotten.
    pub(super) fn counted(&self) -> Option<RowCount> {
        self.shared.published().counts.get(&self.id).filter(|count| count.cutoff.is_some()).cloned()
    }

    /// The key of a stored row.
    fn key_of(&self, row: &[u8]) -> Result<K> {
        let (_, encoded) = decode_row_key(row)?;
        K::decode_whole_key(encoded).map_err(|error| self.undecodable(encoded, error))
    }

    /// Whether the row with this key is in memory.
    pub(super) fn has_in_memory(&self, row: &[u8]) -> Result<bool> {
        let key = self.key_of(row)?;
        let shard = self.shards.get(Router::new(self.shards.len()).shard(&key));
        Ok(shard.is_some_and(|shard| shard.map.read(&key, |_| ()).is_some()))
    }

    /// Drops rows that are forgotten from memory, drained or not: they are asked for no more.
    pub(super) fn drop_from_memory(&self, rows: &[Vec<u8>]) -> Result<(), Error> {
        let router = Router::new(self.shards.len());
        for row in rows {
            let key = self.key_of(row)?;
            if let Some(shard) = self.shards.get(router.shard(&key)) {
                shard.map.remove(&key);
            }
        }
        self.shards.iter().for_each(|shard| shard.map.shrink());
        Ok(())
    }

    /// As [`drop_from_memory`](Self::drop_from_memory), of all rows that what is published has forgotten.
    pub(super) fn drop_all_from_memory(&self) {
        let Some(count) = self.counted() else { return };
        let mut row = Vec::new();
        for shard in &self.shards {
            shard.map.retain(|key| {
                row.clear();
                self.write_row_key(key, &mut row);
                !count.has_forgotten(&row)
            });
            shard.map.shrink();
        }
    }
}
