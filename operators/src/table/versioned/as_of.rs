//! What a row was at a time: queries of versions.
//!
//! Versions that were replaced before the history are gone. Up to where that is so stands in a row of its own, in the same snapshot, so
//! that nobody is told that something was absent which is only kept no more.

use super::key::{Row, VersionKey, VersionOrder, VersionRow};
use millpond_engine::codec::{AsKey, Key, Value};
use millpond_engine::query::{TableSnapshot, View};
use millpond_engine::{Error, Result};
use std::ops::Range;

/// A value of a key, and from when until when it was that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version<V> {
    /// When it began, in milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// When the next one began; `None` if there is none yet.
    pub until_ms: Option<i64>,
    /// The value; `None` if the key was deleted.
    pub value: Option<V>,
}

/// What rows of a [`VersionedTable`](super::VersionedTable) were at a time: asked of the view of its
/// [versions](super::VersionedTable::versions), or of a snapshot of it. See there for an example. There are no others: the trait is
/// sealed.
pub trait AsOf<K: Key, V: Value>: sealed::Sealed {
    /// The value that `key` had at `at_ms`, in milliseconds since the Unix epoch, by all updates so far; `None` if it was absent then.
    ///
    /// # Errors
    /// `Expired` for a time before the history of the table, and as for [`View::get`].
    fn as_of(&self, key: &(impl AsKey<K> + ?Sized), at_ms: i64) -> Result<Option<V>>;

    /// The versions of `key` that were valid at some time of `times`, in their order.
    ///
    /// # Errors
    /// As for [`as_of`](Self::as_of).
    fn versions_in(&self, key: &(impl AsKey<K> + ?Sized), times: Range<i64>) -> Result<Vec<Version<V>>>;
}

mod sealed {
    /// Implemented for views and snapshots of versions.
    pub trait Sealed {}
}

impl<K, V> sealed::Sealed for View<VersionKey<K>, VersionRow<V>> {}
impl<K, V> sealed::Sealed for TableSnapshot<VersionKey<K>, VersionRow<V>> {}

impl<K: Key, V: Value> AsOf<K, V> for View<VersionKey<K>, VersionRow<V>> {
    fn as_of(&self, key: &(impl AsKey<K> + ?Sized), at_ms: i64) -> Result<Option<V>> {
        self.snapshot()?.as_of(key, at_ms)
    }

    fn versions_in(&self, key: &(impl AsKey<K> + ?Sized), times: Range<i64>) -> Result<Vec<Version<V>>> {
        self.snapshot()?.versions_in(key, times)
    }
}

impl<K: Key, V: Value> AsOf<K, V> for TableSnapshot<VersionKey<K>, VersionRow<V>> {
    fn as_of(&self, key: &(impl AsKey<K> + ?Sized), at_ms: i64) -> Result<Option<V>> {
        check(self, at_ms)?;
        Ok(last_at(self, &key.as_key(), at_ms)?.and_then(|(_, row)| row.into_value()))
    }

    fn versions_in(&self, key: &(impl AsKey<K> + ?Sized), times: Range<i64>) -> Result<Vec<Version<V>>> {
        check(self, times.start)?;
        let mut versions: Vec<Version<V>> = Vec::new();
        if times.is_empty() {
            return Ok(versions);
        }
        let key = key.as_key();
        let first = last_at(self, &key, times.start)?.map(|(order, _)| order);
        let first = first.unwrap_or_else(|| VersionOrder::before(times.start));
        for row in self.range(VersionKey::new((*key).clone(), first)..=last_of(&key, i64::MAX)) {
            let (VersionKey { order: VersionOrder { timestamp_ms: from_ms, .. }, .. }, row) = row?;
            if let Some(last) = versions.last_mut().filter(|last| last.from_ms < from_ms) {
                last.until_ms = Some(from_ms);
            } else {
                // Of versions of one time the last one counts.
                versions.pop();
            }
            if from_ms >= times.end {
                break;
            }
            versions.push(Version { from_ms, until_ms: None, value: row.into_value() });
        }
        Ok(versions)
    }
}

/// Behind all versions of `key` up to and including `timestamp_ms`.
fn last_of<K: Clone>(key: &K, timestamp_ms: i64) -> VersionKey<K> {
    VersionKey::new(key.clone(), VersionOrder::behind(timestamp_ms))
}

/// The version of `key` at `at_ms`.
fn last_at<K: Key, V: Value>(
    rows: &TableSnapshot<VersionKey<K>, VersionRow<V>>,
    key: &K,
    at_ms: i64,
) -> Result<Option<(VersionOrder, VersionRow<V>)>> {
    let first = VersionKey::new(key.clone(), VersionOrder::before(i64::MIN));
    let found = rows.range(first..=last_of(key, at_ms)).next_back().transpose()?;
    Ok(found.map(|(VersionKey { order, .. }, row)| (order, row)))
}

/// Refuses times before those of which all is there.
fn check<K: Key, V: Value>(rows: &TableSnapshot<VersionKey<K>, VersionRow<V>>, at_ms: i64) -> Result<()> {
    match rows.get(&VersionKey::bound())? {
        Some(VersionRow(Row::Bound(bound_ms))) if at_ms < bound_ms => Err(Error::expired(format!(
            "what was valid at {at_ms} ms is not kept any more: versions are kept from {bound_ms} ms on; ask for a later time, or give the \
             table a longer history"
        ))),
        _ => Ok(()),
    }
}
