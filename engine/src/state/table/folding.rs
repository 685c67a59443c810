//! Folding: events of the running epoch applied to the rows of their keys.

use super::encoded::Encoded;
use super::{Dirty, Shard, TableState};
use crate::codec::{Key, Value};
use crate::flow::{Detail, Event, Failure, Pass, Stamp, Update};
use crate::state::entry::Entry;
use std::convert::Infallible;
use std::fmt::Display;
use std::sync::atomic::Ordering;

impl<K: Key, V: Value> TableState<K, V> {
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
        self.fold_in_steps(context, events, record, |context, key, row, value, stamp| {
            match apply(key, row, value, stamp) {
                Ok(()) => Ok(None),
                Err(reason) => Err(context.failed(stamp, reason)),
            }
        })
    }

    /// As [`try_fold`](Self::try_fold), where an event may be several steps, each an update of its own: `apply` is called again with
    /// the value that it gives back. It may give a step another stamp than that of the event, which must not stand before those of
    /// earlier steps of the key; code of the user that runs at it is announced by [`Pass::at`].
    ///
    /// # Errors
    /// As for [`fold`](Self::fold), and the failure of `apply` with the earliest stamp.
    pub fn fold_in_steps<T>(
        &self,
        context: &mut Pass<'_>,
        events: Vec<Event<K, T>>,
        record: Detail,
        mut apply: impl FnMut(&mut Pass<'_>, &K, &mut Option<V>, T, &mut Stamp) -> Result<Option<T>, Failure>,
    ) -> Result<Vec<Update<K, V>>, Failure> {
        let shard = self.shard(context.shard())?;
        let mut dirty = Self::dirty(shard);
        let mut updates = Vec::new();
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
            let Event { key, mut value, stamp } = event;
            loop {
                // A value that cannot be written is the failure of its record even if the next record would replace it: that
                // must not depend on where epochs are cut.
                if self.is_picky && entry.epoch == epoch {
                    self.check_replaced(entry, &dirty, stamp, &mut before, &mut refused);
                }
                touch(entry, epoch, stamp, &mut dirty, &key);
                if record == Detail::Updates {
                    before.encode(&*self.codec, entry.value.as_ref());
                }
                let mut made = stamp;
                let next = match apply(context, &key, &mut entry.value, value, &mut made) {
                    Ok(next) => next,
                    Err(failure) => {
                        refused.note(made, failure);
                        return None;
                    }
                };
                if made != stamp {
                    touch(entry, epoch, made, &mut dirty, &key);
                }
                let is_update = record == Detail::Updates && !before.is(&*self.codec, entry.value.as_ref());
                if is_update {
                    noted.add(context, size_of::<Update<K, V>>() + before.other.len());
                }
                let Some(next) = next else {
                    if is_update {
                        updates.push(Update { key, value: entry.value.clone(), stamp: made });
                    }
                    return None;
                };
                if is_update {
                    updates.push(Update { key: key.clone(), value: entry.value.clone(), stamp: made });
                }
                value = next;
            }
        };
        self.visit(context, shard, events, &mut one)?;
        noted.outcome?;
        refused.outcome()?;
        if shard.row_size.are_large::<V>() {
            // The value before is kept beside each that was touched.
            context.charge_bytes(dirty.len().saturating_mul(shard.row_size.owned_bytes::<K, V>()))?;
        }
        Ok(updates)
    }

    /// Shows `one` every event with the entry of its key; those whose keys have to be fetched come after the others, once more.
    #[inline]
    fn visit<T>(
        &self,
        context: &mut Pass<'_>,
        shard: &Shard<K, V>,
        events: Vec<Event<K, T>>,
        one: &mut impl FnMut(&mut Pass<'_>, Event<K, T>, Option<&mut Entry<V>>) -> Option<Event<K, T>>,
    ) -> Result<(), Failure> {
        let total = events.len();
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
        Ok(())
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
