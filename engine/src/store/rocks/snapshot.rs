//! A snapshot that owns what it looks at.
//!
//! RocksDB's snapshot borrows its database; here it is bound to the task's handle, so that it can be kept and
//! sent as long as anyone likes. As long as it lives, compaction keeps the row versions it sees.

use super::forget::Era;
use super::{Database, TaskFamily};
use crate::Result;
use crate::store::{Direction, StoreSnapshot, Visit};
use rocksdb::{ReadOptions, SnapshotWithThreadMode};
use std::ops::Range;
use std::sync::Arc;

struct Pinned<'db> {
    snapshot: SnapshotWithThreadMode<'db, Database>,
    /// Set to the snapshot once, instead of at every read.
    point: ReadOptions,
    /// Says that it is there.
    _era: Arc<Era>,
}

self_cell::self_cell!(
    /// One state of a task, for good.
    pub(super) struct RocksSnapshot {
        owner: Arc<TaskFamily>,
        #[not_covariant]
        dependent: Pinned,
    }
);

impl RocksSnapshot {
    /// The state of `task` as it is now; `era` was begun before.
    pub(super) fn of(task: Arc<TaskFamily>, era: Arc<Era>) -> Self {
        Self::new(task, |task| {
            let snapshot = SnapshotWithThreadMode::new(task.database());
            let mut point = ReadOptions::default();
            point.set_snapshot(&snapshot);
            Pinned { snapshot, point, _era: era }
        })
    }
}

impl StoreSnapshot for RocksSnapshot {
    fn read(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.with_dependent(|task, view| {
            let value = task
                .database()
                .get_pinned_cf_opt(task.family(), key, &view.point)
                .map_err(|error| task.failed("read the state", error))?;
            read(value.as_deref());
            Ok(())
        })
    }

    fn scan(&self, keys: Range<&[u8]>, direction: Direction, visit: Visit<'_>) -> Result<()> {
        self.with_dependent(|task, view| {
            let mut options = ReadOptions::default();
            options.set_snapshot(&view.snapshot);
            scan(task, options, keys, direction, visit)
        })
    }
}

/// Hands the rows of `task` whose key lies in `keys` to `visit`, as `options` show them.
pub(super) fn scan(
    task: &TaskFamily,
    mut options: ReadOptions,
    keys: Range<&[u8]>,
    direction: Direction,
    visit: Visit<'_>,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    options.set_iterate_lower_bound(keys.start);
    options.set_iterate_upper_bound(keys.end);
    let mut rows = task.database().raw_iterator_cf_opt(task.family(), options);
    match direction {
        Direction::Forward => rows.seek_to_first(),
        Direction::Backward => rows.seek_to_last(),
    }
    while let Some((key, value)) = rows.item() {
        if !visit(key, value) {
            break;
        }
        match direction {
            Direction::Forward => rows.next(),
            Direction::Backward => rows.prev(),
        }
    }
    rows.status().map_err(|error| task.failed("scan the state", error))
}
