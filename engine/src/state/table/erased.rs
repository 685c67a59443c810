//! A table without its types: what the engine does with it at the end of an epoch, and what it tells of it.

use super::{Dirty, TableState};
use crate::codec::{Key, Value};
use crate::flow::{Failure, Stamp};
use crate::state::generation::RowBatch;
use crate::state::hot::KeyedHash;
use crate::state::row_size::RowSamples;
use crate::state::task_state::TaskState;
use crate::store::layout::{RowCount, TableId};
use crate::{Position, Result};
use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// What the engine does with a table without knowing its types.
pub(crate) trait AnyTable: Send + Sync {
    /// Encodes what the running epoch did on `shard`.
    fn seal(&self, shard: usize) -> Result<RowBatch, Failure>;
    /// By how many rows the running epoch has grown the table on `shard`, once it is sealed.
    fn grown(&self, shard: usize) -> i64;
    /// Pushes what the epoch did to subscribers.
    fn publish(&self, position: &Position);
    /// Makes what the epoch did on `shard` final.
    fn commit(&self, shard: usize);
    /// Takes back what the running epoch did on `shard`. Panics afterwards if the `Drop` of a value did.
    fn roll_back(&self, shard: usize);
    /// About how many bytes of hot entries what the running epoch did pins until it is drained.
    fn pins(&self) -> usize;
    /// About how many bytes of hot entries the table will hold after one more epoch like the one that has ended. Called
    /// once for each.
    fn holds_soon(&self) -> usize;
    /// Evicts drained entries of `shard` until the table holds no more than `budget_bytes` there after one more epoch.
    fn evict(&self, shard: usize, budget_bytes: usize);
    /// Whether the row with this key, as it is stored, is in memory.
    fn holds(&self, row: &[u8]) -> Result<bool>;
    /// Drops rows from memory that what is published has forgotten.
    fn forget(&self, rows: &[Vec<u8>]) -> Result<()>;
    /// Drops all rows from memory that what is published has forgotten.
    fn forget_all(&self);
    /// The id of the table's rows.
    fn id(&self) -> TableId;
    /// Entries in memory and about how many bytes they take.
    fn hot(&self) -> (usize, usize);
    /// Hits and misses of folds and look-ups.
    fn cache(&self) -> (u64, u64);
    /// What the table answers from.
    fn shared(&self) -> &Arc<TaskState>;
    /// Ends every subscription.
    fn close(&self);
    /// For the way back to the types.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<K: Key, V: Value> AnyTable for TableState<K, V> {
    fn seal(&self, shard: usize) -> Result<RowBatch, Failure> {
        let shard = self.shard(shard)?;
        let dirty = Self::dirty(shard);
        let (written, mut grown) = {
            let mut written = Self::written(shard);
            (std::mem::take(&mut written.rows), written.grown)
        };
        let mut part = if written.len() > 0 { written } else { RowBatch::with_capacity(dirty.len()) };
        let mut rows = RowSamples::default();
        let mut failed: Option<(Stamp, Failure)> = None;
        shard.map.visit_in_order(
            dirty.iter(),
            |dirty| &dirty.key,
            |dirty, entry| {
                let row = entry.ok_or_else(|| self.lost().into()).and_then(|entry| {
                    grown += i64::from(entry.value.is_some()) - i64::from(entry.before.is_some());
                    self.encode(&mut part, &mut rows, dirty, entry, shard.row_size.is_sampled::<V>())
                });
                // The earliest, so that which one is told does not depend on the shards.
                if let Err(failure) = row
                    && failed.as_ref().is_none_or(|(stamp, _)| dirty.stamp.sequence < stamp.sequence)
                {
                    failed = Some((dirty.stamp, failure));
                }
            },
        );
        if let Some((_, failure)) = failed {
            return Err(failure);
        }
        shard.row_size.note(&rows);
        shard.grown.store(grown, Ordering::Relaxed);
        part.shrink();
        Ok(part)
    }

    fn publish(&self, position: &Position) {
        if !self.subscribers.are_any() {
            return;
        }
        let epoch = self.shared.epoch();
        let counted = self.counted();
        self.subscribers.push(epoch, position, || {
            // Sealing has found every entry already.
            let mut changes: Vec<_> =
                self.shards.iter().filter_map(|shard| self.changed(shard, |_| true)).flatten().collect();
            for shard in &self.shards {
                changes.extend(Self::written(shard).changes.iter().cloned());
            }
            if let Some(count) = &counted {
                changes.retain(|change| !count.has_forgotten(&self.row_key(&change.key)));
            }
            changes.sort_by(|a, b| a.key.cmp(&b.key));
            let bytes = self.waiting_bytes(&changes);
            (changes, bytes)
        });
        let written: Vec<_> = self.shards.iter().map(Self::written).collect();
        let replaced = || written.iter().flat_map(|written| &written.changes).map(|change| &change.key);
        let all_replaced: HashSet<&K, KeyedHash> = replaced().collect();
        let touched = self.shards.iter().map(|shard| Self::dirty(shard).len()).sum::<usize>();
        let each = |visit: &mut dyn FnMut(&K)| {
            for shard in &self.shards {
                Self::dirty(shard).iter().for_each(|dirty| visit(&dirty.key));
            }
            replaced().for_each(visit);
        };
        let is_told = |key: &K| {
            let is_forgotten = |count: &RowCount| count.has_forgotten(&self.row_key(key));
            (all_replaced.contains(key) || self.has_changed(key, epoch))
                && !counted.as_ref().is_some_and(is_forgotten)
        };
        let touched = touched + all_replaced.len();
        self.subscribers.tell(epoch, touched, each, is_told);
    }

    fn grown(&self, shard: usize) -> i64 {
        self.shards.get(shard).map_or(0, |shard| shard.grown.load(Ordering::Relaxed))
    }

    fn commit(&self, shard: usize) {
        let Some(shard) = self.shards.get(shard) else { return };
        let mut dirty = Self::dirty(shard);
        if shard.row_size.are_large::<V>() {
            for Dirty { key, .. } in dirty.iter() {
                shard.map.update(key, |entry| entry.before = None);
            }
        }
        dirty.clear();
        dirty.shrink_to(1 << 16);
        shard.grown.store(0, Ordering::Relaxed);
        // Dropped without the lock: a value whose `Drop` panics must not leave it behind.
        let written = std::mem::take(&mut *Self::written(shard));
        drop(written);
    }

    fn roll_back(&self, shard: usize) {
        let Some(shard) = self.shards.get(shard) else { return };
        shard.grown.store(0, Ordering::Relaxed);
        let written = std::mem::take(&mut *Self::written(shard));
        let dirty = std::mem::take(&mut *Self::dirty(shard));
        let mut given_up = Vec::with_capacity(dirty.len());
        for Dirty { key, was, .. } in &dirty {
            shard.map.update(key, |entry| {
                let before = entry.before.take();
                given_up.push(std::mem::replace(&mut entry.value, before));
                entry.epoch = *was;
            });
        }
        // Only now, and one by one: a value whose `Drop` panics must not keep anything from being taken back.
        let mut panic = catch_unwind(AssertUnwindSafe(|| drop(written))).err();
        for value in given_up {
            panic = panic.or(catch_unwind(AssertUnwindSafe(|| drop(value))).err());
        }
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    fn pins(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| Self::dirty(shard).len() * Self::bytes_per_entry(shard)).sum()
    }

    fn holds_soon(&self) -> usize {
        let each = self.shards.iter().map(|shard| {
            let now = shard.map.len();
            let last = shard.last.swap(now, Ordering::Relaxed);
            shard.brought.store(now.saturating_sub(last), Ordering::Relaxed);
            Self::bytes_of(shard, Self::entries_soon(shard))
        });
        each.sum()
    }

    fn evict(&self, shard: usize, budget_bytes: usize) {
        let Some(shard) = self.shards.get(shard) else { return };
        let soon = Self::entries_soon(shard);
        if Self::bytes_of(shard, soon) > budget_bytes {
            let drained = self.shared.drained();
            let mut pinned = shard.pinned.lock().unwrap_or_else(PoisonError::into_inner);
            // A pass looks at every entry. What it found pinned stays so until a drain, so that it is not worth another one
            // before that, or before many came that were only read.
            if pinned.is_some_and(|(at, left)| at == drained && shard.map.len() <= left + left / 4 + 64) {
                return;
            }
            // A quarter below the budget, so that the next pass is not due at once.
            let target = Self::fitting(shard, budget_bytes) / 4 * 3;
            let mut stored = shard.stored.lock().unwrap_or_else(PoisonError::into_inner);
            let mut row = Vec::new();
            let excess = soon.saturating_sub(target).min(shard.map.len());
            let missed = shard.map.evict(excess, drained, |key| {
                row.clear();
                self.write_row_key(key, &mut row);
                stored.add(&row);
            });
            shard.last.store(shard.map.len(), Ordering::Relaxed);
            *pinned = (missed > 0).then(|| (drained, shard.map.len()));
        }
    }

    fn holds(&self, row: &[u8]) -> Result<bool> {
        self.has_in_memory(row)
    }

    fn forget(&self, rows: &[Vec<u8>]) -> Result<()> {
        self.drop_from_memory(rows)
    }

    fn forget_all(&self) {
        self.drop_all_from_memory();
    }

    fn id(&self) -> TableId {
        self.id
    }

    fn shared(&self) -> &Arc<TaskState> {
        &self.shared
    }

    fn close(&self) {
        self.subscribers.close();
    }

    fn hot(&self) -> (usize, usize) {
        let entries = self.shards.iter().map(|shard| shard.map.len()).sum();
        (entries, self.shards.iter().map(Self::shard_bytes).sum())
    }

    fn cache(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
