//! Joining two tables by primary key: inner, left and outer, computed on the fly.
//!
//! For every key that changed on either side, the old result is the join of the old rows and the new result the join of
//! the new ones; there is nothing in between to be seen. A deleted or absent row is `None` to the join. Repeated keys
//! give one change per epoch. Timestamps play no part, late or not. Empty input on one side: changes of the other side
//! meet the rows that are there. Where the join fails at the new rows, the record fails that made one of them so; rows from
//! before the join at which it fails have no result.

use super::Table;
use super::access::{Access, Wanted};
use super::history::Starts;
use crate::earliest::Earliest;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Change, Changes, Context, Failure, Operator, Stamp, Update};
use millpond_engine::graph::{Interleaving, TableIndex};
use millpond_engine::state::Detail;
use std::collections::HashMap;
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

/// Which joins are computed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Those of the rows at the end of an epoch, and those after each update if that is wanted below.
    AsWanted,
    /// Those after each update, since they may fail: which record does must not depend on where epochs are cut.
    EveryUpdate,
}

pub(super) fn join<K, V, T, W, E, F>(
    label: &str,
    asked: Asked,
    left: &Table<K, V>,
    right: &Table<K, T>,
    join: F,
) -> Table<K, W>
where
    K: Key,
    V: Value,
    T: Value,
    W: Value,
    E: Display + 'static,
    F: Fn(&K, Option<&V>, Option<&T>) -> Result<Option<W>, E> + Send + Sync + 'static,
{
    let access = JoinAccess {
        left: Arc::clone(&left.access),
        right: Arc::clone(&right.access),
        join: Arc::new(join),
        asked,
        reason: PhantomData,
    };
    let node =
        left.builder.operator(label, (left.node, right.node), &[], &access.all_reads(), access.clone());
    match asked {
        Asked::AsWanted => left.builder.interleaving(node, Interleaving::Commutes),
        Asked::EveryUpdate => left.builder.follows_updates(node),
    }
    Table::new(&left.builder, node, access)
}

/// Both as the operator and as the access: it joins what it is asked for.
struct JoinAccess<K, V, T, E, F> {
    left: Arc<dyn Access<K, V>>,
    right: Arc<dyn Access<K, T>>,
    join: Arc<F>,
    asked: Asked,
    reason: PhantomData<fn() -> E>,
}

impl<K, V, T, E, F> Clone for JoinAccess<K, V, T, E, F> {
    fn clone(&self) -> Self {
        Self {
            left: Arc::clone(&self.left),
            right: Arc::clone(&self.right),
            join: Arc::clone(&self.join),
            asked: self.asked,
            reason: PhantomData,
        }
    }
}

impl<K: Key, V: Value, T: Value, E, F> JoinAccess<K, V, T, E, F> {
    fn all_reads(&self) -> Vec<TableIndex> {
        [self.left.reads(), self.right.reads()].concat()
    }
}

impl<K, V, T, W, E, F> Access<K, W> for JoinAccess<K, V, T, E, F>
where
    K: Key,
    V: Value,
    T: Value,
    W: Value,
    E: Display + 'static,
    F: Fn(&K, Option<&V>, Option<&T>) -> Result<Option<W>, E> + Send + Sync + 'static,
{
    fn look_up(&self, context: &mut Context<'_>, keys: &[Wanted<'_, K>]) -> Result<Vec<Option<W>>, Failure> {
        let left = self.left.look_up(context, keys)?;
        let right = self.right.look_up(context, keys)?;
        let mut look = |((key, stamp), (left, right)): (&Wanted<'_, K>, (&Option<V>, &Option<T>))| {
            context.at(stamp);
            (self.join)(key, left.as_ref(), right.as_ref()).ok().flatten()
        };
        Ok(keys.iter().zip(left.iter().zip(&right)).map(&mut look).collect())
    }

    fn reads(&self) -> Vec<TableIndex> {
        self.all_reads()
    }
}

/// What one epoch did to one key on one side.
enum Side<'c, V> {
    /// It changed.
    Changed(Option<&'c V>, Option<&'c V>),
    /// It did not; this is the row.
    Same(Option<V>),
}

impl<V> Side<'_, V> {
    fn before(&self) -> Option<&V> {
        match self {
            Self::Changed(old, _) => *old,
            Self::Same(row) => row.as_ref(),
        }
    }

    fn after(&self) -> Option<&V> {
        match self {
            Self::Changed(_, new) => *new,
            Self::Same(row) => row.as_ref(),
        }
    }
}

type ByKey<'c, K, V> = HashMap<&'c K, &'c Change<K, V>>;

/// The side of each of `keys`, looked up where it did not change.
fn sides<'c, K: Key, V: Value>(
    context: &mut Context<'_>,
    access: &dyn Access<K, V>,
    changed: &ByKey<'c, K, V>,
    keys: &[(&'c K, Stamp)],
) -> Result<Vec<Side<'c, V>>, Failure> {
    let wanted = keys.iter().map(|(key, stamp)| (*key, stamp));
    let unchanged: Vec<Wanted<'_, K>> = wanted.filter(|(key, _)| !changed.contains_key(key)).collect();
    let mut rows = access.look_up(context, &unchanged)?.into_iter();
    let side = |(key, _): &(&K, Stamp)| match changed.get(key) {
        Some(change) => Side::Changed(change.old.as_ref(), change.new.as_ref()),
        None => Side::Same(rows.next().flatten()),
    };
    Ok(keys.iter().map(side).collect())
}

impl<K, V, T, W, E, F> Operator for JoinAccess<K, V, T, E, F>
where
    K: Key,
    V: Value,
    T: Value,
    W: Value,
    E: Display + 'static,
    F: Fn(&K, Option<&V>, Option<&T>) -> Result<Option<W>, E> + Send + Sync + 'static,
{
    type Input = (Changes<K, V>, Changes<K, T>);
    type Output = Changes<K, W>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (left, right): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let by_left: ByKey<'_, K, V> = left.changes.iter().map(|change| (&change.key, change)).collect();
        let by_right: ByKey<'_, K, T> = right.changes.iter().map(|change| (&change.key, change)).collect();
        let mut keys: Vec<(&K, Stamp)> = Vec::with_capacity(by_left.len() + by_right.len());
        for change in &left.changes {
            let other = by_right.get(&change.key).map(|other| other.stamp);
            keys.push((&change.key, other.map_or(change.stamp, |other| change.stamp.max(other))));
        }
        let only_right = right.changes.iter().filter(|change| !by_left.contains_key(&change.key));
        keys.extend(only_right.map(|change| (&change.key, change.stamp)));
        let lefts = sides(context, &*self.left, &by_left, &keys)?;
        let rights = sides(context, &*self.right, &by_right, &keys)?;
        let mut earliest = Earliest::default();
        let mut output = Changes { changes: Vec::with_capacity(keys.len()), updates: Vec::new() };
        for ((key, stamp), (left, right)) in keys.iter().zip(lefts.iter().zip(&rights)) {
            context.at(stamp);
            let old = (self.join)(key, left.before(), right.before()).ok().flatten();
            let join = || (self.join)(key, left.after(), right.after());
            let new = earliest.run(context, stamp, join).flatten();
            if old.is_some() || new.is_some() {
                output.changes.push(Change { key: (*key).clone(), old, new, stamp: *stamp });
            }
        }
        let are_wanted = context.detail() == Detail::Updates;
        if are_wanted || self.asked == Asked::EveryUpdate {
            let updates = self.replay(context, &left, &right, &mut earliest)?;
            output.updates = if are_wanted { updates } else { Vec::new() };
        }
        earliest.outcome(context)?;
        Ok(Some(output))
    }
}

impl<K: Key, V: Value, T: Value, E, F> JoinAccess<K, V, T, E, F> {
    /// The result after every single update of either side, in the order of their stamps.
    fn replay<W>(
        &self,
        context: &mut Context<'_>,
        left: &Changes<K, V>,
        right: &Changes<K, T>,
        earliest: &mut Earliest,
    ) -> Result<Vec<Update<K, W>>, Failure>
    where
        E: Display,
        F: Fn(&K, Option<&V>, Option<&T>) -> Result<Option<W>, E>,
    {
        let keys = || {
            let left = left.updates.iter().map(|update| (&update.key, &update.stamp));
            left.chain(right.updates.iter().map(|update| (&update.key, &update.stamp)))
        };
        let lefts = Starts::with(context, &*self.left, left, keys())?;
        let rights = Starts::with(context, &*self.right, right, keys())?;
        let mut now: HashMap<&K, (Option<&V>, Option<&T>)> =
            keys().map(|(key, _)| (key, (lefts.row(key), rights.row(key)))).collect();
        // Updates of one key are in order of stamp on either side; the sort is stable and keeps that.
        let mut order: Vec<(&Stamp, bool, usize)> =
            Vec::with_capacity(left.updates.len() + right.updates.len());
        order.extend(left.updates.iter().enumerate().map(|(index, update)| (&update.stamp, false, index)));
        order.extend(right.updates.iter().enumerate().map(|(index, update)| (&update.stamp, true, index)));
        order.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let mut updates = Vec::with_capacity(order.len());
        for (stamp, is_right, index) in order {
            let key = if is_right {
                let Some(update) = right.updates.get(index) else { continue };
                now.entry(&update.key).or_default().1 = update.value.as_ref();
                &update.key
            } else {
                let Some(update) = left.updates.get(index) else { continue };
                now.entry(&update.key).or_default().0 = update.value.as_ref();
                &update.key
            };
            let (left, right) = now.get(key).copied().unwrap_or_default();
            let value = earliest.run(context, stamp, || (self.join)(key, left, right)).flatten();
            updates.push(Update { key: key.clone(), value, stamp: *stamp });
        }
        Ok(updates)
    }
}
