//! A table: keyed state, folded by operators and read by queries.
//!
//! Inside an epoch a key goes untouched -> touched (the value before is kept, the key is noted as dirty) ->
//! sealed (encoded into the epoch's generation) -> committed, or rolled back with the whole epoch. At most one
//! [`Change`] per key and epoch comes out, from the value at the start to the value at the end.
//!
//! Repeated keys in one epoch are applied in the order given; an absent key is `None`; a key that was created and
//! deleted in the same epoch leaves no change and no row.

mod erased;
mod rows;

pub(crate) use erased::AnyTable;

use super::entry::Entry;
use super::hot::{HotMap, Seen};
use super::row_size::RowSize;
use super::subscribers::Subscribers;
use super::task_state::TaskState;
use crate::codec::{CodecError, Key, RowCodec, Shape, Value};
use crate::flow::{Change, Changes, Detail, Event, Failure, Pass, Router, Stamp, Update};
use crate::store::layout::TableId;
use crate::{Error, Result};
use std::convert::Infallible;
use std::fmt::{self, Display};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// By how many rows the running epoch has grown the table.
    grown: AtomicI64,
    /// When the last eviction found less than it looked for: up to where the table was drained then, and how many entries
    /// were left.
    pinned: Mutex<Option<(u64, usize)>>,
    /// How many entries there were at the end of the last epoch, and by how many it had grown the map.
    last: AtomicUsize,
    brought: AtomicUsize,
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
                row_size: RowSize::new(),
                grown: AtomicI64::new(0),
                pinned: Mutex::default(),
                last: AtomicUsize::new(0),
                brought: AtomicUsize::new(0),
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
            subscribers: Subscribers::new(Arc::clone(&shared.host().allowance)),
            shared,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Applies `events` in order: `apply` gets the key, its current value (`None` if absent) and the event's
    /// value, and leaves the new value (`None` deletes). Keys that are not in memory are fetched from the store
    /// first, all at once. Returns every update if `record` asks for them.
    ///
    /// # Errors
    /// `Corrupt` if a stored value does not decode, or an error of the store. The epoch is then undone.
    pub fn fold<T>(
        &self,
        context: &mut Pass<'_>,
        events: Vec<Event<K, T>>,
        record: Detail,
        mut apply: impl FnMut(&K, &mut Option<V>, T),
    ) -> Result<Vec<Update<K, V>>, Failure> {
        self.try_fold(context, events, record, |key, row, value, _| {
            apply(key, row, value);
            Ok::<(), Infallible>(())
        })
    }

    /// As [`fold`](Self::fold), where `apply` may fail, and is told the stamp of the event. The record of the earliest event at
    /// which it does has [failed](Pass::failed); what `apply` has left in the value by then is undone with the epoch.
    ///
    /// # Errors
    /// As for [`fold`](Self::fold), and `User` if `apply` fails.
    pub fn try_fold<T, E: Display>(
        &self,
        context: &mut Pass<'_>,
        events: Vec<Event<K, T>>,
        record: Detail,
        mut apply: impl FnMut(&K, &mut Option<V>, T, &Stamp) -> Result<(), E>,
    ) -> Result<Vec<Update<K, V>>, Failure> {
        let shard = self.shard(context.shard())?;
        let mut dirty = Self::dirty(shard);
        let mut updates = Vec::new();
        let total = events.len();
        let epoch = context.epoch;
        let mut before = self.encoded();
        let mut refused = EarliestFailure(None);
        let mut noted = Noted { bytes: 0, outcome: Ok(()) };
        let mut one = |context: &mut Pass<'_>, event: Event<K, T>, entry: Option<&mut Entry<V>>| {
            let Some(entry) = entry else { return Some(event) };
            if noted.outcome.is_err() || refused.stands_before(&event.stamp) {
                return None;
            }
            context.at(&event.stamp);
            let Event { key, value, stamp } = event;
            // A value that cannot be written is the failure of its record even if the next record would replace it: that
            // must not depend on where epochs are cut.
            if self.is_picky && entry.epoch == epoch {
                self.check_replaced(entry, &dirty, stamp, &mut before, &mut refused);
            }
            touch(entry, epoch, stamp, &mut dirty, &key);
            if record == Detail::Updates {
                before.encode(&*self.codec, entry.value.as_ref());
            }
            if let Err(reason) = apply(&key, &mut entry.value, value, &stamp) {
                refused.note(stamp, context.failed(&stamp, reason));
                return None;
            }
            if record == Detail::Updates && !before.is(&*self.codec, entry.value.as_ref()) {
                updates.push(Update { key, value: entry.value.clone(), stamp });
                noted.add(context, size_of::<Update<K, V>>() + before.other.len());
            }
            None
        };
        let mut missing = Vec::new();
        shard.map.visit_all(
            events,
            |event| &event.key,
            |event, entry| missing.extend(one(context, event, entry)),
        );
        let misses = missing.len();
        if misses > 0 {
            self.fetch(shard, missing.iter().map(|event| &event.key))?;
            let mut lost = 0;
            shard.map.visit_all(
                missing,
                |event| &event.key,
                |event, entry| lost += usize::from(one(context, event, entry).is_some()),
            );
            if lost > 0 {
                return Err(self.lost().into());
            }
        }
        self.hits.fetch_add((total - misses) as u64, Ordering::Relaxed);
        self.misses.fetch_add(misses as u64, Ordering::Relaxed);
        noted.outcome?;
        refused.outcome()?;
        if shard.row_size.are_large::<V>() {
            // The value before is kept beside each that was touched.
            context.charge_bytes(dirty.len().saturating_mul(shard.row_size.owned_bytes::<K, V>()))?;
        }
        Ok(updates)
    }

    /// Notes in `refused` that the value which an earlier record of the epoch has left in `entry` cannot be written. Out of the
    /// way of the fold, which mostly has no such values.
    #[cold]
    #[inline(never)]
    fn check_replaced(
        &self,
        entry: &Entry<V>,
        dirty: &[Dirty<K>],
        stamp: Stamp,
        scratch: &mut Encoded,
        refused: &mut EarliestFailure,
    ) {
        let Err(error) = scratch.check(&*self.codec, entry.value.as_ref()) else { return };
        let stamp = dirty.get(entry.dirty as usize).map_or(stamp, |dirty| dirty.stamp);
        refused.note(stamp, self.refused(&error, stamp));
    }

    /// The current value of each key, in the running epoch; fetched from the store where it is not in memory.
    ///
    /// # Errors
    /// As for [`fold`](Self::fold).
    pub fn look_up(&self, context: &Pass<'_>, keys: &[&K]) -> Result<Vec<Option<V>>, Failure> {
        let shard = self.shard(context.shard())?;
        let read = |key: &K| {
            shard.map.update(key, |entry| {
                entry.used = true;
                entry.value.clone()
            })
        };
        let mut missing = Vec::new();
        let mut values: Vec<Option<V>> = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().copied().enumerate() {
            let found = read(key);
            if found.is_none() {
                missing.push((index, key));
            }
            values.push(found.flatten());
        }
        self.hits.fetch_add((values.len() - missing.len()) as u64, Ordering::Relaxed);
        self.misses.fetch_add(missing.len() as u64, Ordering::Relaxed);
        // What is found goes on its way as a copy.
        context.charge_bytes(values.len().saturating_mul(shard.row_size.owned_bytes::<(), V>()))?;
        if !missing.is_empty() {
            self.fetch(shard, missing.iter().map(|(_, key)| *key))?;
            for (index, key) in missing {
                let value = read(key).ok_or_else(|| self.lost())?;
                if let Some(slot) = values.get_mut(index) {
                    *slot = value;
                }
            }
        }
        Ok(values)
    }

    /// What the running epoch did to each key on this shard, in no particular order (stamps tell one), and the `updates`
    /// that [`fold`](Self::fold) returned. A key whose value is the same as before has no change.
    ///
    /// # Errors
    /// `Internal` if the table has no such shard.
    pub fn changes(&self, context: &Pass<'_>, updates: Vec<Update<K, V>>) -> Result<Changes<K, V>> {
        let changes = self.changed(self.shard(context.shard())?).ok_or_else(|| self.lost())?;
        Ok(Changes { changes, updates })
    }

    /// What the running epoch did on `shard`; `None` if an entry that it touched is gone.
    fn changed(&self, shard: &Shard<K, V>) -> Option<Vec<Change<K, V>>> {
        let dirty = Self::dirty(shard);
        let mut changes = Vec::with_capacity(dirty.len());
        let mut before = self.encoded();
        for Dirty { key, stamp, .. } in dirty.iter() {
            let change = shard.map.read(key, |entry| {
                before.encode(&*self.codec, entry.before.as_ref());
                let is_changed = !before.is(&*self.codec, entry.value.as_ref());
                is_changed.then(|| (entry.before.clone(), entry.value.clone()))
            })?;
            changes.extend(change.map(|(old, new)| Change { key: key.clone(), old, new, stamp: *stamp }));
        }
        Some(changes)
    }

    /// Brings the values of `keys` into memory as the store has them.
    fn fetch<'k>(&self, shard: &Shard<K, V>, keys: impl Iterator<Item = &'k K>) -> Result<()> {
        let mut wanted: Vec<(Vec<u8>, &K)> = keys.map(|key| (self.row_key(key), key)).collect();
        wanted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        wanted.dedup_by(|a, b| a.0 == b.0);
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

    /// What `show` shows of the value that queries see for `key` in memory. What is published has it too, if the fold is at work beside it.
    pub(crate) fn visible<S>(&self, key: &K, router: Router, show: impl Fn(&V) -> S) -> Seen<Option<S>> {
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

/// The earliest failure of a fold, which goes through keys that had to be fetched after the others.
struct EarliestFailure(Option<(Stamp, Failure)>);

impl EarliestFailure {
    /// Whether what comes at `stamp` will be undone whatever it is.
    #[inline]
    fn stands_before(&self, stamp: &Stamp) -> bool {
        self.0.as_ref().is_some_and(|(earliest, _)| earliest < stamp)
    }

    fn note(&mut self, stamp: Stamp, failure: Failure) {
        if self.0.as_ref().is_none_or(|(earliest, _)| stamp < *earliest) {
            self.0 = Some((stamp, failure));
        }
    }

    fn outcome(self) -> Result<(), Failure> {
        self.0.map_or(Ok(()), |(_, failure)| Err(failure))
    }
}

/// What a fold that notes every update has noted, until it is charged for.
struct Noted {
    bytes: usize,
    outcome: Result<(), Failure>,
}

impl Noted {
    /// In steps, as shards share the meter.
    const STEP_BYTES: usize = 64 << 10;

    fn add(&mut self, context: &Pass<'_>, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= Self::STEP_BYTES {
            self.outcome = context.charge_bytes(std::mem::take(&mut self.bytes));
        }
    }
}

/// What readers are shown of a row, as its codec writes it, to compare it with another one: values need not know whether they
/// are equal.
struct Encoded {
    /// Whether what is written tells.
    compares: bool,
    /// Whether there is a value, and it encodes.
    known: Option<bool>,
    bytes: Vec<u8>,
    other: Vec<u8>,
}

impl Encoded {
    fn encode<V: Value>(&mut self, codec: &dyn RowCodec<V>, value: Option<&V>) {
        self.bytes.clear();
        self.known = match value {
            Some(_) if !self.compares => None,
            Some(value) => codec.encode_shown(value, &mut self.bytes).is_ok().then_some(true),
            None => Some(false),
        };
    }

    /// Whether `value` can be written.
    fn check<V: Value>(&mut self, codec: &dyn RowCodec<V>, value: Option<&V>) -> Result<(), CodecError> {
        self.bytes.clear();
        value.map_or(Ok(()), |value| codec.encode(value, &mut self.bytes))
    }

    /// Whether `value` is the same. What does not encode is like nothing else.
    fn is<V: Value>(&mut self, codec: &dyn RowCodec<V>, value: Option<&V>) -> bool {
        match (self.known, value) {
            (Some(false), None) => true,
            (Some(true), Some(value)) => {
                self.other.clear();
                codec.encode_shown(value, &mut self.other).is_ok() && self.other == self.bytes
            }
            _ => false,
        }
    }
}

/// Notes that the running epoch is about to change `entry`.
#[inline]
fn touch<K: Clone, V: Clone>(
    entry: &mut Entry<V>,
    epoch: u64,
    stamp: Stamp,
    dirty: &mut Vec<Dirty<K>>,
    key: &K,
) {
    if entry.epoch == epoch {
        if let Some(dirty) = dirty.get_mut(entry.dirty as usize) {
            dirty.stamp = dirty.stamp.max(stamp);
        }
        return;
    }
    entry.before.clone_from(&entry.value);
    entry.used = true;
    // An epoch is bounded far below 2^32 records.
    entry.dirty = u32::try_from(dirty.len()).unwrap_or(u32::MAX);
    dirty.push(Dirty { key: key.clone(), stamp, was: entry.epoch });
    entry.epoch = epoch;
}
