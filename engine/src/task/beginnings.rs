//! Beginnings: with which record of each partition the rows of a state begin, where a log drops records by its own rules.
//!
//! A state that is new begins with the oldest record that there is. Tables that are built later must begin where the others did:
//! if that is gone they would be made of less than those whose places they take, and nothing would say so.

use super::catalogue::TaskGroup;
use super::{Plan, Setting};
use crate::store::StateStore;
use crate::store::layout;
use crate::{Position, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where a group began, of the partitions that it did not begin at 0.
#[derive(Debug)]
pub(super) struct Beginnings {
    group: u16,
    began: Mutex<Position>,
}

impl Beginnings {
    /// Those of a group that stood at `before` when it was opened, and has begun to read at `now`.
    ///
    /// # Errors
    /// `Corrupt`, or another error of the store.
    pub(super) fn open(
        setting: &Setting,
        store: &dyn StateStore,
        (before, now): (&Position, &Position),
        group: u16,
    ) -> Result<Self> {
        let mut began = Position::new();
        if !setting.abilities.keeps_holds {
            // A build that is begun anew has other beginnings than the one before.
            if before.partitions() > 0 {
                began = stored(store, group)?;
            }
            for (id, next) in now.iter().filter(|(id, next)| *next > 0 && before.known(id).is_none()) {
                began.set(id.clone(), next);
            }
        }
        Ok(Self { group, began: Mutex::new(began) })
    }

    fn began(&self) -> MutexGuard<'_, Position> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is stored with a drain; nothing if all began at 0.
    pub(super) fn row(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let began = self.began();
        let row = || (layout::beginnings_key(self.group).to_vec(), layout::encode_position(&began));
        (began.partitions() > 0).then(row)
    }

    /// Adds those of a build whose tables become this group's.
    pub(super) fn take_over(&self, build: &Self) {
        let mut began = self.began();
        let new: Vec<_> = build.began().iter().map(|(id, next)| (id.clone(), next)).collect();
        for (id, next) in new {
            if began.known(&id).is_none() {
                began.set(id, next);
            }
        }
    }
}

fn stored(store: &dyn StateStore, group: u16) -> Result<Position> {
    let mut began = Ok(None);
    store.read(&layout::beginnings_key(group), &mut |row| {
        began = row.map(layout::decode_position).transpose();
    })?;
    Ok(began?.unwrap_or_default())
}

/// Lets `build` begin where the rows of `main` did, of the partitions that the state has read.
///
/// # Errors
/// `Corrupt`, or another error of the store.
pub(super) fn begin_build(
    setting: &Setting,
    store: &dyn StateStore,
    main: &TaskGroup,
    build: &mut TaskGroup,
) -> Result<()> {
    if setting.from_oldest_kept || setting.abilities.keeps_holds {
        return Ok(());
    }
    let began = stored(store, layout::MAIN_GROUP)?;
    let plan = Plan::new(&setting.graph, &build.nodes, setting.sets_aside())?;
    for (id, _) in main.reached.position.iter().filter(|(_, next)| *next > 0) {
        let is_read = plan.sources.iter().any(|(topic, _)| *topic == id.topic);
        if is_read && build.reached.position.known(id).is_none() {
            build.reached.position.set(id.clone(), began.offset(id));
        }
    }
    Ok(())
}
