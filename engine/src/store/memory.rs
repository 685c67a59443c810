//! State in memory, for tests: the same contract as on disk, without the disk.
//!
//! The rows are one ordered map behind an `Arc`. A snapshot is a clone of that `Arc`; an ingest copies the
//! map first if a snapshot still holds it. That makes this the plainest possible model of a store, which is
//! what the other implementation is compared with. It is durable in the sense a test needs: whoever keeps
//! the `Arc<MemoryStore>` keeps the rows, whatever happens to the engine on top.

use super::{Direction, Row, StateStore, StoreSnapshot, StoreStats, Visit, misplaced_row};
use crate::Result;
use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, PoisonError, RwLock};

type Bytes = Arc<[u8]>;
type Rows = BTreeMap<Bytes, Bytes>;

/// A [`StateStore`] in memory.
///
/// # Examples
///
/// ```
/// use millpond::store::{MemoryStore, StateStore};
///
/// let store = MemoryStore::new();
/// let before = store.snapshot()?;
/// store.ingest(&mut [(&b"a"[..], Some(&b"1"[..]))].into_iter())?;
/// store.read(b"a", &mut |value| assert_eq!(value, Some(&b"1"[..])))?;
/// before.read(b"a", &mut |value| assert_eq!(value, None))?;
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: RwLock<Arc<Rows>>,
}

impl MemoryStore {
    /// A store without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn current(&self) -> MemorySnapshot {
        MemorySnapshot(self.rows.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Collects before it locks, so that a row iterator that fails or is slow holds nobody up.
    fn apply(&self, gone: Option<Range<&[u8]>>, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        let mut fresh: Vec<(Bytes, Option<Bytes>)> = Vec::new();
        for (key, value) in rows {
            let in_order = fresh.last().is_none_or(|(last, _)| &**last < key);
            if !in_order || gone.as_ref().is_some_and(|gone| gone.contains(&key)) {
                return Err(misplaced_row(key));
            }
            fresh.push((key.into(), value.map(Into::into)));
        }
        let mut guard = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let rows = Arc::make_mut(&mut *guard);
        if let Some(gone) = gone {
            rows.retain(|key, _| !gone.contains(&&**key));
        }
        for (key, value) in fresh {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }
}

impl StateStore for MemoryStore {
    fn read(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.current().read(key, read)
    }

    fn read_sorted(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()> {
        let MemorySnapshot(rows) = self.current();
        for (index, &key) in keys.iter().enumerate() {
            read(index, rows.get(key).map(|value| &**value));
        }
        Ok(())
    }

    fn ingest(&self, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        self.apply(None, rows)
    }

    fn replace_range(&self, keys: Range<&[u8]>, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<()> {
        self.apply(Some(keys), rows)
    }

    fn snapshot(&self) -> Result<Arc<dyn StoreSnapshot>> {
        Ok(Arc::new(self.current()))
    }

    fn forget(&self, keys: &[Range<Vec<u8>>]) {
        let mut guard = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for Range { start, end } in keys.iter().filter(|range| !range.is_empty()) {
            let bounds = (Bound::Included(start.as_slice()), Bound::Excluded(end.as_slice()));
            let gone: Vec<Bytes> = guard.range::<[u8], _>(bounds).map(|(key, _)| Arc::clone(key)).collect();
            if !gone.is_empty() {
                let rows = Arc::make_mut(&mut *guard);
                for key in &gone {
                    rows.remove(key);
                }
            }
        }
    }

    fn pressure(&self) -> f64 {
        0.0
    }

    fn wait_for_room(&self) {}

    fn stats(&self) -> StoreStats {
        let MemorySnapshot(rows) = self.current();
        let bytes: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
        StoreStats { state_bytes: bytes as u64, rows_estimate: rows.len() as u64, ..StoreStats::default() }
    }
}

struct MemorySnapshot(Arc<Rows>);

impl StoreSnapshot for MemorySnapshot {
    fn read(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        read(self.0.get(key).map(|value| &**value));
        Ok(())
    }

    fn scan(&self, keys: Range<&[u8]>, direction: Direction, visit: Visit<'_>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut rows = self.0.range::<[u8], _>((Bound::Included(keys.start), Bound::Excluded(keys.end)));
        let mut next = || match direction {
            Direction::Forward => rows.next(),
            Direction::Backward => rows.next_back(),
        };
        while let Some((key, value)) = next() {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}
