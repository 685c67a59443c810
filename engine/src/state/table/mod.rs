//! A table: keyed state, folded by operators and read by queries.
//!
//! Inside an epoch a key goes untouched -> touched (the value before is kept, the key is noted as dirty) ->
//! sealed (encoded into the epoch's generation) -> committed, or rolled back with the whole epoch. At most one
//! [`Change`] per key and epoch comes out, from the value at the start to the value at the end.
//!
//! Repeated keys in one epoch are applied in the order given; an absent key is `None`; a key that was created and
//! deleted in the same epoch leaves no change and no row.

mod encoded;
mod erased;
mod folding;
mod forgetting;
mod rows;
mod stored;
mod written;

pub(crate) use erased::AnyTable;

use super::entry::Entry;
use super::hot::{HotMap, Seen};
use super::row_size::RowSize;
use super::subscribers::Subscribers;
use super::task_state::TaskState;
use crate::codec::{Key, RowCodec, Shape, Value};
use crate::flow::{Change, Changes, Failure, Pass, Router, Stamp, Update};
use crate::store::layout::TableId;
use crate::{Error, Result};
use encoded::Encoded;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use stored::Stored;
use written::Written;

/// A key that the running epoch touched.
struct Dirty<K> {
    key: K,
    stamp: Stamp,
    /// The epoch that touched it before.
    was: u64,
}

/// One shard of a table.
struct Shard<K, V> {
    map: HotMap<K, V>,
    dirty: Mutex<Vec<Dirty<K>>>,
    row_size: RowSize,
    /// What the running epoch has written without looking at it.
    written: Mutex<Written<K, V>>,
    /// By how many rows the running epoch has grown the table.
    grown: AtomicI64,
    /// When the last eviction found less than it looked for: up to where the table was drained then, and how many entries
    /// were left.
    pinned: Mutex<Option<(u64, usize)>>,
    /// How many entries there were at the end of the last epoch, and by how many it had grown the map.
    last: AtomicUsize,
    brought: AtomicUsize,
    /// Up to which key there may be rows that are not in memory.
    stored: Mutex<Stored>,
}

/// Keyed state: the hot entries of every shard over the store of the task.
pub struct TableState<K, V> {
    id: TableId,
    name: Arc<str>,
    codec: Arc<dyn RowCodec<V>>,
    /// Whether the codec may refuse a value.
    is_picky: bool,
    /// Whether the same value is always written in the same way, so that two can be compared.
    compares: bool,
    shards: Vec<Shard<K, V>>,
    shared: Arc<TaskState>,
    /// The first published epoch that has the table.
    since: u64,
    /// Whether rows of it were forgotten.
    forgetful: Arc<AtomicBool>,
    /// Whether rows of it were written without being looked at, so that those which are not drained are not in memory by their keys.
    is_written: AtomicBool,
    subscribers: Subscribers<K, V>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl<K, V> TableState<K, V> {
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl<K, V> fmt::Debug for TableState<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableState").field("name", &self.name).field("id", &self.id).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> TableState<K, V> {
    pub(crate) fn new(
        id: TableId,
        name: Arc<str>,
        codec: Arc<dyn RowCodec<V>>,
        shards: usize,
        shared: Arc<TaskState>,
    ) -> Self {
        let shards = (0..shards)
            .map(|_| Shard {
                map: HotMap::new(),
                dirty: Mutex::default(),
                written: Mutex::default(),
                row_size: RowSize::new(),
                grown: AtomicI64::new(0),
                pinned: Mutex::default(),
                last: AtomicUsize::new(0),
                brought: AtomicUsize::new(0),
                stored: Mutex::default(),
            })
            .collect();
        // Of a type that its codec refuses there are no values.
        let shape = codec.shape().ok();
        Self {
            id,
            name,
            is_picky: shape.as_ref().is_some_and(Shape::may_refuse),
            compares: !shape.is_some_and(|shape| shape.is_unordered()),
            codec,
            shards,
            since: shared.epoch(),
            forgetful: shared.forgetful(id),
            is_written: AtomicBool::new(false),
            subscribers: Subscribers::new(Arc::clone(&shared.host().allowance)),
            shared,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Whether the codec of the table may refuse a value, which is then the failure of its record. An operator that stores only
    /// the last of several values of a key would hide that; it stores them all if so, or which record fails would depend on
    /// where epochs are cut.
    #[must_use]
    pub fn may_refuse(&self) -> bool {
        self.is_picky
    }

    /// The current value of each key, in the running epoch; fetched from the store where it is not in memory.
    ///
    /// # Errors
    /// As for [`fold`](Self::fold).
    pub fn look_up(&self, context: &Pass<'_>, keys: &[&K]) -> Result<Vec<Option<V>>, Failure> {
        // What is found goes on its way as a copy.
        let owned = self.shard(context.shard())?.row_size.owned_bytes::<(), V>();
        context.charge_bytes(keys.len().saturating_mul(owned))?;
        let mut values: Vec<Option<V>> = Vec::new();
        values.resize_with(keys.len(), || None);
        self.look_at(context.shard(), keys.iter().copied(), |index, value| {
            if let Some(slot) = values.get_mut(index) {
                *slot = Some(value.clone());
            }
            Ok(())
        })?;
        Ok(values)
    }

    /// Shows `look` the current value of each key that has one, in the running epoch, with the place of the key among `keys`: where it
    /// lies, without a copy, and in no particular order. What is not in memory is fetched from the store. `look` must not ask the table.
    ///
    /// # Errors
    /// As for [`fold`](Self::fold), and the first failure of `look`, which sees nothing after that.
    pub fn look_at<'k>(
        &self,
        shard: usize,
        keys: impl Iterator<Item = &'k K>,
        mut look: impl FnMut(usize, &V) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let shard = self.shard(shard)?;
        let items: Vec<(usize, &K)> = keys.enumerate().collect();
        let total = items.len();
        let (mut missing, mut outcome) = (Vec::new(), Ok(()));
        let mut visit = |items: Vec<(usize, &'k K)>, missing: &mut Vec<(usize, &'k K)>| {
            shard.map.visit_all(
                items,
                |(_, key)| *key,
                |item, entry| {
                    let Some(entry) = entry else { return missing.push(item) };
                    entry.used = true;
                    if let (Some(value), true) = (&entry.value, outcome.is_ok()) {
                        outcome = look(item.0, value);
                    }
                },
            );
        };
        visit(items, &mut missing);
        let misses = missing.len();
        // What cannot be stored is nowhere, and need not be kept in mind: who goes on to write it will.
        self.retain_stored(shard, &mut missing)?;
        if !missing.is_empty() {
            self.fetch(shard, missing.iter().map(|(_, key)| *key))?;
            let mut lost = Vec::new();
            visit(missing, &mut lost);
            if !lost.is_empty() {
                return Err(self.lost().into());
            }
        }
        self.hits.fetch_add((total - misses) as u64, Ordering::Relaxed);
        self.misses.fetch_add(misses as u64, Ordering::Relaxed);
        outcome
    }

    /// Takes out the keys of which there cannot be a row in the store.
    fn retain_stored(&self, shard: &Shard<K, V>, keys: &mut Vec<(usize, &K)>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut stored = shard.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = stored.last(&*self.shared.store()?, self.id)? else {
            keys.clear();
            return Ok(());
        };
        let mut row = Vec::new();
        keys.retain(|(_, key)| {
            row.clear();
            self.write_row_key(key, &mut row);
            row.as_slice() <= last
        });
        Ok(())
    }

    /// What the running epoch did to each key on this shard, in no particular order (stamps tell one), and the `updates`
    /// that [`fold`](Self::fold) returned. A key whose value is the same as before has no change.
    ///
    /// # Errors
    /// `Internal` if the table has no such shard.
    pub fn changes(&self, context: &Pass<'_>, updates: Vec<Update<K, V>>) -> Result<Changes<K, V>> {
        Ok(Changes { changes: self.changes_of(context, |_| true)?, updates })
    }

    /// As [`changes`](Self::changes), of the keys that are `wanted` only: for whoever stands behind the node that folds and needs few
    /// of them.
    ///
    /// # Errors
    /// As for [`changes`](Self::changes).
    pub fn changes_of(&self, context: &Pass<'_>, wanted: impl Fn(&K) -> bool) -> Result<Vec<Change<K, V>>> {
        self.changed(self.shard(context.shard())?, wanted).ok_or_else(|| self.lost())
    }

    /// What the running epoch did on `shard` to the keys that are `wanted`; `None` if an entry that it touched is gone.
    fn changed(&self, shard: &Shard<K, V>, wanted: impl Fn(&K) -> bool) -> Option<Vec<Change<K, V>>> {
        let mut changes = Vec::new();
        let mut before = self.encoded();
        Self::touched(shard, wanted, |Dirty { key, stamp, .. }, entry| {
            before.encode(&*self.codec, entry.before.as_ref());
            if !before.is(&*self.codec, entry.value.as_ref()) {
                let (old, new) = (entry.before.clone(), entry.value.clone());
                changes.push(Change { key: key.clone(), old, new, stamp: *stamp });
            }
        })?;
        Some(changes)
    }

    /// Shows `visit` the keys that are `wanted` of those that the running epoch has touched on `shard`, with their entries; `None` if one
    /// of these is gone.
    fn touched(
        shard: &Shard<K, V>,
        wanted: impl Fn(&K) -> bool,
        mut visit: impl FnMut(&Dirty<K>, &Entry<V>),
    ) -> Option<()> {
        let dirty = Self::dirty(shard);
        let mut is_lost = false;
        shard.map.visit_in_order(
            dirty.iter().filter(|dirty| wanted(&dirty.key)),
            |dirty| &dirty.key,
            |dirty, entry| match entry {
                Some(entry) => visit(dirty, entry),
                None => is_lost = true,
            },
        );
        (!is_lost).then_some(())
    }

    /// Brings the values of `keys` into memory as the store has them.
    fn fetch<'k>(&self, shard: &Shard<K, V>, keys: impl Iterator<Item = &'k K>) -> Result<()> {
        let mut stored = shard.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let last = stored.last(&*self.shared.store()?, self.id)?;
        let mut wanted: Vec<(Vec<u8>, &K)> = Vec::new();
        let mut row = Vec::new();
        for key in keys {
            row.clear();
            self.write_row_key(key, &mut row);
            // Where keys begin with a time, most that are new are beyond all that was stored.
            if last.is_some_and(|last| row.as_slice() <= last) {
                wanted.push((row.clone(), key));
            } else {
                shard.map.insert(key.clone(), Entry::clean(None));
            }
        }
        wanted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        wanted.dedup_by(|a, b| a.0 == b.0);
        if wanted.is_empty() {
            return Ok(());
        }
        let rows: Vec<&[u8]> = wanted.iter().map(|(row, _)| row.as_slice()).collect();
        let mut failed = None;
        self.shared.store()?.read_sorted(&rows, &mut |index, bytes| {
            let Some((_, key)) = wanted.get(index) else { return };
            match bytes.map(|bytes| self.decode(key, bytes)).transpose() {
                Ok(value) => shard.map.insert((*key).clone(), Entry::clean(value)),
                Err(error) => failed = Some(error),
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// What `show` shows of the value that queries see for `key` in memory. What is published has it too, if the fold is at work beside it,
    /// and alone has it where rows were written without being looked at.
    pub(crate) fn visible<S>(&self, key: &K, router: Router, show: impl Fn(&V) -> S) -> Seen<Option<S>> {
        if self.is_written.load(Ordering::Acquire) {
            return Seen::Busy;
        }
        let Some(shard) = self.shards.get(router.shard(key)) else { return Seen::Missing };
        shard.map.try_read(key, |entry| entry.visible(self.shared.epoch()).map(show))
    }

    /// As [`visible`](Self::visible), with the epoch at which the value is that of the key; `None` if it is to be looked up
    /// in what is published.
    pub(crate) fn visible_at<S>(&self, key: &K, show: impl Fn(&V) -> S) -> Option<(Option<S>, u64)> {
        let shard = self.shards.get(Router::new(self.shards.len()).shard(key))?;
        let seen = shard.map.try_read(key, |entry| {
            let epoch = self.shared.epoch();
            (entry.visible(epoch).map(&show), epoch)
        });
        if let Seen::Here(found) = seen { Some(found) } else { None }
    }

    /// Whether the table can be asked.
    ///
    /// # Errors
    /// As for [`TaskState::ask`].
    #[inline]
    pub(crate) fn ask(&self) -> Result<()> {
        self.shared.ask(Some(&self.name))
    }

    fn encoded(&self) -> Encoded {
        Encoded { compares: self.compares, known: None, bytes: Vec::new(), other: Vec::new() }
    }

    fn lost(&self) -> Error {
        Error::internal(format!("table `{}`: an entry disappeared inside an epoch", self.name))
    }

    fn shard(&self, index: usize) -> Result<&Shard<K, V>> {
        self.shards.get(index).ok_or_else(|| Error::internal("a table has fewer shards than the task"))
    }

    pub(crate) fn table_id(&self) -> TableId {
        self.id
    }

    pub(crate) fn subscribers(&self) -> &Subscribers<K, V> {
        &self.subscribers
    }

    /// The first published epoch that has the table; snapshots of earlier ones know nothing of it.
    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    pub(crate) fn shared(&self) -> &Arc<TaskState> {
        &self.shared
    }

    fn dirty(shard: &Shard<K, V>) -> MutexGuard<'_, Vec<Dirty<K>>> {
        shard.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard_bytes(shard: &Shard<K, V>) -> usize {
        Self::bytes_of(shard, shard.map.len())
    }

    /// Bytes of `entries` entries of `shard`.
    fn bytes_of(shard: &Shard<K, V>, entries: usize) -> usize {
        let owned = entries.saturating_mul(shard.row_size.owned_bytes::<K, V>());
        HotMap::<K, V>::bytes_of(entries).saturating_add(owned)
    }

    /// How many entries of `shard` fit into `bytes`.
    fn fitting(shard: &Shard<K, V>, bytes: usize) -> usize {
        let most = bytes / size_of::<(K, Entry<V>)>() + 1;
        let (mut low, mut high) = (0, most);
        while low < high {
            let middle = high - (high - low) / 2;
            if Self::bytes_of(shard, middle) <= bytes { low = middle } else { high = middle - 1 }
        }
        low
    }

    /// How many entries `shard` will have after an epoch like the last one.
    fn entries_soon(shard: &Shard<K, V>) -> usize {
        shard.map.len() + shard.brought.load(Ordering::Relaxed)
    }

    fn bytes_per_entry(shard: &Shard<K, V>) -> usize {
        HotMap::<K, V>::entry_bytes() + shard.row_size.owned_bytes::<K, V>()
    }
}
