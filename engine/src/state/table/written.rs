//! Rows that are written without being looked at, and what an epoch did to rows as those are shown it who write others by it.
//!
//! An index of times is only ever read in order, and whoever writes it knows what is in it. Its rows need not be in memory by their keys:
//! a table that is written in this way has no entries there, and what is published and the store have all of it.

use super::TableState;
use crate::codec::{Key, Value};
use crate::flow::{Event, Failure, Pass, Stamp};
use crate::state::generation::RowBatch;
use std::sync::PoisonError;

/// What the running epoch has written in this way on one shard.
#[derive(Default)]
pub(super) struct Written {
    pub(super) rows: RowBatch,
    /// By how many rows the table has grown.
    pub(super) grown: i64,
}

impl<K: Key, V: Value> TableState<K, V> {
    /// Writes rows, of each key one at most in an epoch: one with a value, where there was none, and none in place of one that was there.
    /// Whether it was is not looked at. It is for tables that are only read in order and [before the epoch](crate::dataflow::Context::table_before):
    /// none that is folded, looked into or shown to anyone.
    ///
    /// # Errors
    /// `User` if a value does not encode. The epoch is then undone.
    pub fn write(
        &self,
        context: &Pass<'_>,
        rows: impl IntoIterator<Item = Event<K, Option<V>>>,
    ) -> Result<(), Failure> {
        let shard = self.shard(context.shard())?;
        let mut written = shard.written.lock().unwrap_or_else(PoisonError::into_inner);
        for Event { key, value, stamp } in rows {
            let write_key = |out: &mut Vec<u8>| self.write_row_key(&key, out);
            let write_value = |out: &mut Vec<u8>| match &value {
                Some(value) => self.codec.encode(value, out).map(|()| true),
                None => Ok(false),
            };
            let pushed = written.rows.push(value.is_some(), write_key, write_value);
            pushed.map_err(|error| self.refused(&error, stamp))?;
            written.grown += if value.is_some() { 1 } else { -1 };
        }
        Ok(())
    }

    /// Shows every key that the running epoch has touched on this shard with its value before and now, and the latest stamp, in no
    /// particular order. The values may be the same.
    ///
    /// # Errors
    /// `Internal` if the table has no such shard.
    pub fn each_touched(
        &self,
        context: &Pass<'_>,
        mut visit: impl FnMut(&K, Option<&V>, Option<&V>, &Stamp),
    ) -> Result<(), Failure> {
        let shard = self.shard(context.shard())?;
        let dirty = Self::dirty(shard);
        let mut is_lost = false;
        shard.map.visit_in_order(
            dirty.iter(),
            |dirty| &dirty.key,
            |dirty, entry| match entry {
                Some(entry) => {
                    visit(&dirty.key, entry.before.as_ref(), entry.value.as_ref(), &dirty.stamp);
                }
                None => is_lost = true,
            },
        );
        if is_lost { Err(self.lost().into()) } else { Ok(()) }
    }

    /// Tells whether two values are the same to readers. Never of values that are not always written in the same way.
    pub fn comparing(&self) -> impl FnMut(&V, &V) -> bool {
        let mut encoded = self.encoded();
        move |one, other| {
            encoded.encode(&*self.codec, Some(one));
            encoded.is(&*self.codec, Some(other))
        }
    }
}
