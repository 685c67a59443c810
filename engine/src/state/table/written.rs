//! Rows that are written without being looked at, and what an epoch did to rows as those are shown it who write others by it.
//!
//! An index of times is only ever read in order, and whoever writes it knows what is in it; so does whoever keeps the same rows in
//! another form. They need not be in memory by their keys: a table that is written in this way has no entries there, and what is
//! published and the store have all of it. Nothing that runs in an epoch may look for a row of it by its key, as it would find what was last
//! drained.

use super::{Shard, TableState};
use crate::codec::{Key, Value};
use crate::flow::{Change, Event, Failure, Pass, Stamp};
use crate::state::generation::RowBatch;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

/// What the running epoch has written in this way on one shard.
pub(super) struct Written<K, V> {
    pub(super) rows: RowBatch,
    /// By how many rows the table has grown.
    pub(super) grown: i64,
    /// What readers are told of it.
    pub(super) changes: Vec<Change<K, V>>,
}

impl<K, V> Default for Written<K, V> {
    fn default() -> Self {
        Self { rows: RowBatch::default(), grown: 0, changes: Vec::new() }
    }
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
        let mut written = Self::written(shard);
        let Written { rows: batch, grown, .. } = &mut *written;
        let mut value_bytes = 0;
        for Event { key, value, stamp } in rows {
            *grown += self.push(batch, &key, (value.is_some(), value.as_ref()), stamp, &mut value_bytes)?;
        }
        Ok(())
    }

    /// As [`write`](Self::write), for a table that is shown to readers: makes `changes`, of each key one at most in an epoch. What was there
    /// before is taken to be what they say. It is for operators that keep the same rows in another form, where nobody [looks into the
    /// table](crate::dataflow::Context::is_looked_into).
    ///
    /// # Errors
    /// As for [`write`](Self::write), or the epoch has become too large.
    pub fn replace(&self, context: &Pass<'_>, mut changes: Vec<Change<K, V>>) -> Result<(), Failure> {
        let shard = self.shard(context.shard())?;
        let mut written = Self::written(shard);
        let Written { rows, grown, changes: told } = &mut *written;
        debug_assert!(shard.map.len() == 0, "a table that is looked into is folded");
        // Before any of it is published.
        self.is_written.store(true, Ordering::Release);
        let mut value_bytes = 0;
        for Change { key, old, new, stamp } in &changes {
            *grown += self.push(rows, key, (old.is_none(), new.as_ref()), *stamp, &mut value_bytes)?;
        }
        // They are kept until they are told; values before are about as large as those after them.
        let owned = if std::mem::needs_drop::<V>() { value_bytes.saturating_mul(2) } else { 0 };
        context.charge_bytes(size_of_val(&*changes).saturating_add(owned))?;
        told.append(&mut changes);
        Ok(())
    }

    /// Appends a row that `is_new` if there was none before; adds the bytes of its value to `value_bytes`. Answers by how many rows the
    /// table grows.
    fn push(
        &self,
        rows: &mut RowBatch,
        key: &K,
        (is_new, value): (bool, Option<&V>),
        stamp: Stamp,
        value_bytes: &mut usize,
    ) -> Result<i64, Failure> {
        let write_value = |out: &mut Vec<u8>| match value {
            Some(value) => self.codec.encode(value, out).map(|()| true),
            None => Ok(false),
        };
        let pushed = rows.push(is_new, |out| self.write_row_key(key, out), write_value);
        *value_bytes += pushed.map_err(|error| self.refused(&error, stamp))?.1;
        Ok(i64::from(value.is_some()) - i64::from(!is_new))
    }

    /// What the running epoch has written on `shard`.
    pub(super) fn written(shard: &Shard<K, V>) -> MutexGuard<'_, Written<K, V>> {
        shard.written.lock().unwrap_or_else(PoisonError::into_inner)
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
        let all = Self::touched(
            self.shard(context.shard())?,
            |_| true,
            |dirty, entry| {
                visit(&dirty.key, entry.before.as_ref(), entry.value.as_ref(), &dirty.stamp);
            },
        );
        all.ok_or_else(|| self.lost().into())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Bincode, CheckedCodec};
    use crate::flow::Meter;
    use crate::state::{AnyTable, Generation, Host, Newest, RowCounts, TaskState};
    use crate::store::MemoryStore;
    use crate::store::layout::TableId;
    use crate::time::Reached;
    use std::sync::Arc;

    fn table() -> TableState<u32, u64> {
        let store = Arc::new(MemoryStore::new());
        let shared = Arc::new(TaskState::new(Host::new(0), store, Reached::default(), Arc::default()));
        let codec = Arc::new(CheckedCodec::new::<u64>(Bincode));
        TableState::new(TableId::FIRST, "table".into(), codec, 1, shared)
    }

    fn in_epoch<T>(epoch: u64, run: impl FnOnce(&Pass<'_>) -> T) -> T {
        let meter = Meter::new(usize::MAX, 0);
        run(&Pass {
            shard: 0,
            epoch,
            meter: &meter,
            tracing: false,
            current: None,
            due: None,
            node: 0,
            closings: None,
        })
    }

    fn write(table: &TableState<u32, u64>, epoch: u64, rows: &[(u32, Option<u64>)]) {
        let event = |&(key, value)| Event { key, value, stamp: Stamp::default() };
        in_epoch(epoch, |pass| table.write(pass, rows.iter().map(event)).unwrap());
    }

    /// The running epoch, sealed; and by how many rows it has grown the table.
    fn sealed(table: &TableState<u32, u64>, epoch: u64) -> (Box<Generation>, i64) {
        let part = table.seal(0).unwrap();
        let grown = table.grown(0);
        table.commit(0);
        (Box::new(Generation::new(epoch, Reached::default(), RowCounts::default(), 0, vec![part])), grown)
    }

    #[test]
    fn a_row_that_comes_and_goes_leaves_nothing_and_one_that_was_there_its_deletion() {
        let table = table();
        let mut generations = Vec::new();
        let epochs =
            [vec![(1, Some(10)), (2, None)], vec![(1, None), (2, Some(20)), (3, Some(30))], vec![(2, None)]];
        for (epoch, (rows, by)) in epochs.iter().zip([0, 1, -1]).enumerate() {
            write(&table, epoch as u64, rows);
            let (generation, grown) = sealed(&table, epoch as u64);
            assert_eq!(grown, by);
            generations.push(generation);
        }
        assert_eq!(table.hot().0, 0, "none is in memory");
        let newest = Newest::new(&generations);
        let rows: Vec<(u32, Option<u64>)> = newest
            .rows()
            .map(|(row, value)| {
                let (_, key) = crate::store::layout::decode_row_key(row).unwrap();
                let key = <u32 as crate::codec::KeyCodec>::decode_whole_key(key).unwrap();
                (key, value.map(|value| table.decode(&key, value).unwrap()))
            })
            .collect();
        assert_eq!(rows, [(2, None), (3, Some(30))]);
    }

    #[test]
    fn what_is_written_is_taken_back_with_its_epoch() {
        let table = table();
        write(&table, 1, &[(1, Some(10)), (2, Some(20))]);
        table.roll_back(0);
        write(&table, 1, &[(3, Some(30))]);
        let (generation, grown) = sealed(&table, 1);
        assert_eq!((generation.len(), grown), (1, 1));
    }

    #[test]
    fn what_is_replaced_is_told_once_and_taken_back_with_its_epoch() {
        let table = table();
        let replace = |epoch: u64, key: u32, old, new| {
            let change = Change { key, old, new, stamp: Stamp::default() };
            in_epoch(epoch, |pass| table.replace(pass, vec![change]).unwrap());
        };
        let told = || TableState::written(&table.shards[0]).changes.len();
        replace(1, 1, None, Some(10));
        table.roll_back(0);
        assert_eq!(told(), 0);
        replace(1, 2, None, Some(20));
        replace(1, 3, Some(30), None);
        assert_eq!(told(), 2);
        let (generation, grown) = sealed(&table, 1);
        assert_eq!((generation.len(), grown, told()), (2, 0, 0));
    }
}
