//! What happened to the rows of a table within one epoch, step by step.
//!
//! Most operators need no more than the change of each key. Where a stream joins what is derived from a table, or a fold
//! is told of every update, the moments in between count too. Which nodes hand on every update is decided when the graph is
//! built.
//!
//! A key that was updated but has no change ended the epoch as it began: what it has now is what it had.

use super::access::{Access, Wanted};
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Change, Changes, Context, Detail, Failure, Stamp, Update};
use std::collections::{HashMap, HashSet};

/// What keys had when the epoch began.
pub(crate) struct Starts<'c, K, V>(HashMap<&'c K, Start<'c, V>>);

enum Start<'c, V> {
    Changed(Option<&'c V>),
    Unchanged(Option<V>),
}

impl<V> Start<'_, V> {
    fn row(&self) -> Option<&V> {
        match self {
            Self::Changed(row) => *row,
            Self::Unchanged(row) => row.as_ref(),
        }
    }
}

impl<'c, K: Key, V: Value> Starts<'c, K, V> {
    /// The starts of the keys in `changes`; `access` is that of the table that emitted them.
    pub(crate) fn of(
        context: &mut Context<'_>,
        access: &dyn Access<K, V>,
        changes: &'c Changes<K, V>,
    ) -> Result<Self, Failure> {
        Self::with(
            context,
            access,
            changes,
            changes.updates.iter().map(|update| (&update.key, &update.stamp)),
        )
    }

    /// The starts of the keys that have a change in `changes`, and of `keys`, each with the stamp of who asks.
    pub(crate) fn with(
        context: &mut Context<'_>,
        access: &dyn Access<K, V>,
        changes: &'c Changes<K, V>,
        keys: impl Iterator<Item = Wanted<'c, K>>,
    ) -> Result<Self, Failure> {
        let mut starts: HashMap<&K, Start<'c, V>> = HashMap::with_capacity(changes.changes.len());
        for change in &changes.changes {
            starts.insert(&change.key, Start::Changed(change.old.as_ref()));
        }
        let mut seen = HashSet::new();
        let unchanged: Vec<Wanted<'_, K>> =
            keys.filter(|(key, _)| !starts.contains_key(key) && seen.insert(*key)).collect();
        let rows = access.look_up(context, &unchanged)?;
        let keys = unchanged.into_iter().map(|(key, _)| key);
        starts.extend(keys.zip(rows.into_iter().map(Start::Unchanged)));
        Ok(Self(starts))
    }

    /// What `key` had when the epoch began; `None` also for a key that was not asked for.
    pub(crate) fn row(&self, key: &K) -> Option<&V> {
        self.0.get(key).and_then(Start::row)
    }

    /// The keys, in no order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'c K> {
        self.0.keys().copied()
    }
}

/// A row that becomes another.
pub(crate) struct Step<'c, K, V> {
    pub(crate) key: &'c K,
    pub(crate) old: Option<&'c V>,
    pub(crate) new: Option<&'c V>,
    /// Unlike that of any other step, and in the order of the steps of one key.
    pub(crate) stamp: Stamp,
}

/// The steps that a node is to see: every update where all count, else one for each key that changed. `starts` is kept for as
/// long as they are.
pub(crate) fn steps<'c, K: Key, V: Value>(
    context: &mut Context<'_>,
    access: &dyn Access<K, V>,
    changed: &'c Changes<K, V>,
    starts: &'c mut Option<Starts<'c, K, V>>,
) -> Result<Vec<Step<'c, K, V>>, Failure> {
    if context.detail() != Detail::Updates {
        return Ok(changes(changed));
    }
    let starts = starts.insert(Starts::of(context, access, changed)?);
    Ok(updates(changed, starts))
}

/// One step for each key that changed.
fn changes<K: Key, V: Value>(changes: &Changes<K, V>) -> Vec<Step<'_, K, V>> {
    let mut encoded = Vec::new();
    let mut steps = Vec::with_capacity(changes.changes.len());
    for Change { key, old, new, stamp } in &changes.changes {
        let stamp = of_key(*stamp, key, &mut encoded);
        steps.push(Step { key, old: old.as_ref(), new: new.as_ref(), stamp });
    }
    steps
}

/// One step for every update.
fn updates<'c, K: Key, V: Value>(
    changes: &'c Changes<K, V>,
    starts: &'c Starts<'c, K, V>,
) -> Vec<Step<'c, K, V>> {
    let mut encoded = Vec::new();
    let mut rows: HashMap<&K, (Option<&V>, Numbering)> = HashMap::new();
    let step = |update: &'c Update<K, V>| {
        let start = || (starts.row(&update.key), Numbering::default());
        let (row, numbering) = rows.entry(&update.key).or_insert_with(start);
        let stamp = numbering.next(update.stamp, &update.key, &mut encoded);
        let old = std::mem::replace(row, update.value.as_ref());
        Step { key: &update.key, old, new: update.value.as_ref(), stamp }
    };
    changes.updates.iter().map(step).collect()
}

/// Numbers the updates of one row that a record causes, so that what is made of them keeps their order.
///
/// Their own branches cannot do that: a stamp that is told apart by key has the hash of the key mixed into its branch, and
/// of two updates the second could come first, to leave a group that it has not joined. But each keeps its own time and cause: what was
/// due before a record is not of that time, nor is the record to blame for it.
#[derive(Default)]
pub(crate) struct Numbering {
    /// The first update of the last record, and how many followed it.
    last: Option<(Stamp, usize)>,
}

impl Numbering {
    /// The stamp of what the next update of the row, which has `stamp`, means for `key`.
    pub(crate) fn next<K: Key>(&mut self, stamp: Stamp, key: &K, encoded: &mut Vec<u8>) -> Stamp {
        let (first, number) = match self.last {
            Some((first, number)) if stamp.shares_record(&first) => (first, number + 1),
            _ => (stamp, 0),
        };
        self.last = Some((first, number));
        of_key(first, key, encoded).branch(number).caused_by(&stamp)
    }
}

/// `stamp`, told apart from that of other keys which the same record changed; for one value of each key.
pub(crate) fn of_key<K: Key>(stamp: Stamp, key: &K, encoded: &mut Vec<u8>) -> Stamp {
    encoded.clear();
    key.encode_key(encoded);
    stamp.branch_by_key(encoded)
}
