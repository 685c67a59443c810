//! What an epoch does to a table of the reference model: the rows before and after, which changed, and every update between.
//!
//! What a derived table is at the end of an epoch is computed from scratch. What it goes through on the way is computed
//! step by step, for the streams that join it; the two must agree, and the last update of a row be the row.

use super::graph;
use super::interpreter::Event;
use super::{K, Rows, V};
use millpond::codec::KeyCodec;
use millpond::dataflow::Stamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// The stamp of what a value with this stamp means for `key`.
#[expect(clippy::needless_pass_by_value, reason = "keys are small")]
pub fn of_key(stamp: Stamp, key: impl KeyCodec) -> Stamp {
    let mut encoded = Vec::new();
    key.encode_key(&mut encoded);
    stamp.branch_by_key(&encoded)
}

/// What becomes of a row.
pub type Updated<Q> = (Q, Option<V>, Stamp);

/// What an epoch did to a table.
#[derive(Clone)]
pub struct Changed<Q = K> {
    before: Rows<Q>,
    pub rows: Rows<Q>,
    /// The keys that were touched and are or were there, with the last stamp.
    pub changes: BTreeMap<Q, Stamp>,
    /// Every single update.
    updates: Vec<Updated<Q>>,
}

impl<Q: Ord + Copy + KeyCodec + Debug> Changed<Q> {
    /// What was done to a stored table, which knows whether a value is the same as before.
    pub fn new(before: &Rows<Q>, rows: Rows<Q>, updates: Vec<Updated<Q>>) -> Self {
        let mut touched: BTreeMap<Q, Stamp> = BTreeMap::new();
        for (key, _, stamp) in &updates {
            let last = touched.entry(*key).or_insert(*stamp);
            *last = (*last).max(*stamp);
        }
        touched.retain(|key, _| before.get(key) != rows.get(key));
        let mut now = before.clone();
        let is_new = |(key, row, _): &Updated<Q>| {
            let old = match row {
                Some(row) => now.insert(*key, *row),
                None => now.remove(key),
            };
            old != *row
        };
        Self::touched(before, rows, touched, updates.into_iter().filter(is_new).collect())
    }

    fn touched(
        before: &Rows<Q>,
        rows: Rows<Q>,
        mut changes: BTreeMap<Q, Stamp>,
        updates: Vec<Updated<Q>>,
    ) -> Self {
        let last: BTreeMap<Q, Option<V>> = updates.iter().map(|(key, row, _)| (*key, *row)).collect();
        let ends_there = |(key, row): (&Q, &Option<V>)| rows.get(key) == row.as_ref();
        assert!(last.iter().all(ends_there), "the steps {updates:?} do not lead to {rows:?}");
        changes.retain(|key, _| before.contains_key(key) || rows.contains_key(key));
        Self { before: before.clone(), rows, changes, updates }
    }

    /// The same of a table with other keys for the same rows.
    pub fn keyed<P: Ord>(&self, key: impl Fn(Q) -> P) -> Changed<P> {
        let rows = |rows: &Rows<Q>| rows.iter().map(|(of, row)| (key(*of), *row)).collect();
        Changed {
            before: rows(&self.before),
            rows: rows(&self.rows),
            changes: self.changes.iter().map(|(of, stamp)| (key(*of), *stamp)).collect(),
            updates: self.updates.iter().map(|(of, row, stamp)| (key(*of), *row, *stamp)).collect(),
        }
    }

    /// The row that a record with this stamp meets.
    pub fn at(&self, key: Q, stamp: Stamp) -> Option<V> {
        let seen = |update: &&Updated<Q>| update.0 == key && stamp.sees(&update.2);
        match self.updates.iter().rev().find(seen) {
            Some((_, value, _)) => *value,
            None => self.before.get(&key).copied(),
        }
    }

    /// What the rows became: by every update, or from the start of the epoch to its end.
    pub fn steps(&self, by_step: bool) -> Vec<Step<Q>> {
        if !by_step {
            let change = |(key, stamp): (&Q, &Stamp)| Step {
                key: *key,
                old: self.before.get(key).copied(),
                new: self.rows.get(key).copied(),
                stamp: of_key(*stamp, *key),
            };
            return self.changes.iter().map(change).collect();
        }
        let mut now = self.before.clone();
        let mut order = Numbering::default();
        let update = |(key, new, stamp): &Updated<Q>| {
            let stamp = order.next(*key, *stamp, *key);
            let old = match new {
                Some(new) => now.insert(*key, *new),
                None => now.remove(key),
            };
            Step { key: *key, old, new: *new, stamp }
        };
        self.updates.iter().map(update).collect()
    }
}

/// A row that becomes another.
pub struct Step<Q = K> {
    pub key: Q,
    pub old: Option<V>,
    pub new: Option<V>,
    pub stamp: Stamp,
}

/// Numbers the updates of a row that come from one record, in their order.
struct Numbering<Q>(BTreeMap<Q, (Stamp, usize)>);

impl<Q> Default for Numbering<Q> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<Q: Ord> Numbering<Q> {
    /// The stamp, for the row `of`, of the next update of the row `key`.
    fn next(&mut self, key: Q, stamp: Stamp, of: impl KeyCodec) -> Stamp {
        let (first, number) = match self.0.get(&key) {
            Some(&(first, number)) if stamp.shares_record(&first) => (first, number + 1),
            _ => (stamp, 0),
        };
        self.0.insert(key, (first, number));
        of_key(first, of).branch(number).caused_by(&stamp)
    }
}

pub fn upserted(before: &Rows, upserts: impl Iterator<Item = (K, Option<V>, Stamp)>) -> Changed {
    let updates: Vec<_> = upserts.collect();
    let mut rows = before.clone();
    for (key, value, _) in &updates {
        match value {
            Some(value) => rows.insert(*key, *value),
            None => rows.remove(key),
        };
    }
    Changed::new(before, rows, updates)
}

pub fn folded(before: &Rows, events: &[Event], fold: impl Fn(Option<V>, V) -> V) -> Changed {
    let mut rows = before.clone();
    let mut updates = Vec::new();
    for event in events {
        let value = fold(rows.get(&event.key).copied(), event.value);
        rows.insert(event.key, value);
        updates.push((event.key, Some(value), event.stamp));
    }
    Changed::new(before, rows, updates)
}

/// What a process does to its states, and what it emits.
pub fn processed(n: u8, before: &Rows, events: &[Event]) -> (Changed, Vec<Event>) {
    let mut rows = before.clone();
    let (mut updates, mut all) = (Vec::new(), Vec::new());
    for event in events {
        let (now, emitted) = graph::processed(n, event.key, event.value, rows.remove(&event.key));
        rows.extend(now.map(|now| (event.key, now)));
        updates.push((event.key, now, event.stamp));
        let stamped = emitted.into_iter().enumerate();
        all.extend(stamped.map(|(i, (key, value))| Event { key, value, stamp: event.stamp.branch(i) }));
    }
    (Changed::new(before, rows, updates), all)
}

pub fn mapped<Q: Ord + Copy + KeyCodec + Debug>(
    table: &Changed<Q>,
    map: impl Fn(Q, V) -> Option<V>,
) -> Changed<Q> {
    let all = |rows: &Rows<Q>| rows.iter().filter_map(|(k, v)| Some((*k, map(*k, *v)?))).collect::<Rows<Q>>();
    let update = |(k, v, stamp): &Updated<Q>| (*k, v.and_then(|v| map(*k, v)), *stamp);
    Changed::touched(
        &all(&table.before),
        all(&table.rows),
        table.changes.clone(),
        table.updates.iter().map(update).collect(),
    )
}

pub fn joined(left: &Changed, right: &Changed, join: impl Fn(Option<V>, Option<V>) -> Option<V>) -> Changed {
    let all = |left: &Rows, right: &Rows| {
        let keys: BTreeSet<&K> = left.keys().chain(right.keys()).collect();
        let row = |key: &K| join(left.get(key).copied(), right.get(key).copied());
        keys.into_iter().filter_map(|key| Some((*key, row(key)?))).collect::<Rows>()
    };
    let mut changes = left.changes.clone();
    for (key, stamp) in &right.changes {
        let last = changes.entry(*key).or_insert(*stamp);
        *last = (*last).max(*stamp);
    }
    let mut order: Vec<_> = left.updates.iter().map(|update| (update.2, false, update)).collect();
    order.extend(right.updates.iter().map(|update| (update.2, true, update)));
    order.sort_by_key(|(stamp, is_right, _)| (*stamp, *is_right));
    let (mut now_left, mut now_right) = (left.before.clone(), right.before.clone());
    let mut updates = Vec::new();
    for (stamp, is_right, (key, value, _)) in order {
        let side = if is_right { &mut now_right } else { &mut now_left };
        match value {
            Some(value) => side.insert(*key, *value),
            None => side.remove(key),
        };
        updates.push((*key, join(now_left.get(key).copied(), now_right.get(key).copied()), stamp));
    }
    Changed::touched(&all(&left.before, &right.before), all(&left.rows, &right.rows), changes, updates)
}

/// The values of the members of each group.
type Groups = BTreeMap<K, Vec<V>>;

pub fn regrouped<Q: Ord + Copy>(
    group: impl Fn(Q, V) -> (K, V),
    before: &Rows,
    table: &Changed<Q>,
    steps: Vec<Step<Q>>,
    value: impl Fn(&[V]) -> V,
) -> Changed {
    let row = |members: &[V]| (!members.is_empty()).then(|| value(members));
    let (rows, updates) = grouped(group, table, steps, row);
    Changed::new(before, rows, updates)
}

/// As [`regrouped`], where a group that says what it said is not touched.
pub fn counted(
    n: u8,
    before: &Rows,
    table: &Changed,
    steps: Vec<Step>,
    row: impl Fn(&[V]) -> Option<V>,
) -> Changed {
    let (rows, mut updates) = grouped(|k, v| graph::regrouped(n, k, v), table, steps, row);
    let mut now = before.clone();
    updates.retain(|(key, row, _)| {
        let old = match row {
            Some(row) => now.insert(*key, *row),
            None => now.remove(key),
        };
        old != *row
    });
    Changed::new(before, rows, updates)
}

/// The rows of the groups, and each of their updates.
pub fn grouped<Q: Ord + Copy>(
    of: impl Fn(Q, V) -> (K, V),
    table: &Changed<Q>,
    steps: Vec<Step<Q>>,
    group_row: impl Fn(&[V]) -> Option<V>,
) -> (Rows, Vec<Updated<K>>) {
    let groups = |rows: &Rows<Q>| {
        let mut groups = Groups::new();
        for (key, row) in rows {
            let (group, member) = of(*key, *row);
            groups.entry(group).or_default().push(member);
        }
        groups
    };
    // Who leaves and who joins, in the order of the steps.
    let mut deltas = Vec::new();
    for Step { key, old, new, stamp } in steps {
        let old = old.map(|row| (of(key, row), false, stamp.branch(0)));
        let new = new.map(|row| (of(key, row), true, stamp.branch(1)));
        deltas.extend(old.into_iter().chain(new));
    }
    deltas.sort_by_key(|(_, _, stamp)| *stamp);
    let mut now = groups(&table.before);
    let mut updates = Vec::new();
    for ((group, member), joins, stamp) in deltas {
        let members = now.entry(group).or_default();
        if joins {
            members.push(member);
        } else {
            let at = members.iter().position(|there| *there == member).unwrap();
            members.swap_remove(at);
        }
        updates.push((group, group_row(members), stamp));
    }
    let rows: Rows =
        groups(&table.rows).iter().filter_map(|(key, members)| Some((*key, group_row(members)?))).collect();
    (rows, updates)
}

/// A table under other keys: of the rows that claim one, the one with the least old key.
pub fn re_keyed<Q: Ord + Copy>(
    wanted: impl Fn(Q, V) -> K,
    before: &Rows,
    table: &Changed<Q>,
    steps: Vec<Step<Q>>,
) -> Changed {
    let claims = |rows: &Rows<Q>| {
        rows.iter().map(|(key, row)| ((wanted(*key, *row), *key), *row)).collect::<BTreeMap<(K, Q), V>>()
    };
    let seen = |claims: &BTreeMap<(K, Q), V>, name: K| {
        claims.iter().find(|((wanted, _), _)| *wanted == name).map(|(_, row)| *row)
    };
    let mut now = claims(&table.before);
    let mut links = links(steps, true, |key, row| Some(wanted(key, row)));
    links.sort_by_key(|link| link.stamp);
    let mut updates = Vec::new();
    for Link { name, key, row, stamp } in links {
        let name = name.unwrap();
        match row {
            Some(row) => now.insert((name, key), row),
            None => now.remove(&(name, key)),
        };
        updates.push((name, seen(&now, name), stamp));
    }
    let last = claims(&table.rows);
    let rows = last.keys().filter_map(|(name, _)| Some((*name, seen(&last, *name)?))).collect();
    Changed::new(before, rows, updates)
}

/// A row that names a partner from now on, or does not any more.
struct Link<Q = K> {
    name: Option<K>,
    key: Q,
    row: Option<V>,
    stamp: Stamp,
}

fn links<Q: Copy>(
    steps: Vec<Step<Q>>,
    keeps_unnamed: bool,
    name: impl Fn(Q, V) -> Option<K>,
) -> Vec<Link<Q>> {
    let mut links = Vec::new();
    for Step { key, old, new, stamp } in steps {
        let named = |row: Option<V>| row.map(|row| name(key, row));
        let (before, now) = (named(old), named(new));
        if before != now {
            links.extend(before.map(|name| Link { name, key, row: None, stamp: stamp.branch(0) }));
        }
        links.extend(now.map(|name| Link { name, key, row: new, stamp: stamp.branch(1) }));
    }
    links.retain(|link| keeps_unnamed || link.name.is_some());
    links
}

pub fn foreign(
    n: u8,
    before: &Rows,
    [left, right]: [&Changed; 2],
    by_step: bool,
    is_inner: bool,
    join: impl Fn(V, Option<V>) -> Option<V>,
) -> Changed {
    let links = links(left.steps(by_step), !is_inner, |key, row| graph::named(n, key, row));
    let named_before: BTreeMap<(K, K), V> = left
        .before
        .iter()
        .filter_map(|(key, row)| Some(((graph::named(n, *key, *row)?, *key), *row)))
        .collect();
    let mut updates = if by_step {
        met_step_by_step(&links, &named_before, right, &join)
    } else {
        met(&links, &named_before, right, &join)
    };
    updates.sort_by_key(|(_, _, stamp)| *stamp);
    let partner = |key: &K, row: &V| right.rows.get(&graph::named(n, *key, *row)?).copied();
    let rows: Rows =
        left.rows.iter().filter_map(|(key, row)| Some((*key, join(*row, partner(key, row))?))).collect();
    Changed::new(before, rows, updates)
}

/// The results at the end of the epoch.
fn met(
    links: &[Link],
    named_before: &BTreeMap<(K, K), V>,
    right: &Changed,
    join: &impl Fn(V, Option<V>) -> Option<V>,
) -> Vec<(K, Option<V>, Stamp)> {
    let mut updates = Vec::new();
    for link in links {
        let partner = link.name.and_then(|name| right.rows.get(&name).copied());
        let result = link.row.and_then(|row| join(row, partner));
        updates.push((link.key, result, link.stamp));
    }
    for (name, stamp) in &right.changes {
        for ((_, key), row) in named_before.iter().filter(|((named, _), _)| named == name) {
            if !links.iter().any(|link| (link.name, link.key) == (Some(*name), *key)) {
                let result = join(*row, right.rows.get(name).copied());
                updates.push((*key, result, of_key(*stamp, *key)));
            }
        }
    }
    updates
}

/// The results after every step of either side, pair by pair.
fn met_step_by_step(
    links: &[Link],
    named_before: &BTreeMap<(K, K), V>,
    right: &Changed,
    join: &impl Fn(V, Option<V>) -> Option<V>,
) -> Vec<(K, Option<V>, Stamp)> {
    let mut pairs: BTreeSet<(K, K)> = named_before.keys().copied().collect();
    pairs.extend(links.iter().filter_map(|link| Some((link.name?, link.key))));
    let unnamed = links.iter().filter(|link| link.name.is_none());
    let mut updates: Vec<_> =
        unnamed.map(|link| (link.key, link.row.and_then(|row| join(row, None)), link.stamp)).collect();
    for (name, key) in pairs {
        // Of each move whether it is the row's, and what is there from then on.
        let own = links.iter().filter(|link| (link.name, link.key) == (Some(name), key));
        let mut moves: Vec<(Stamp, bool, Option<V>)> = own.map(|link| (link.stamp, true, link.row)).collect();
        let mut order = Numbering::default();
        let partners = right.updates.iter().filter(|(partner, ..)| *partner == name);
        moves.extend(partners.map(|(_, row, stamp)| (order.next(name, *stamp, key), false, *row)));
        moves.sort_by_key(|(stamp, ..)| *stamp);
        let mut row = named_before.get(&(name, key)).copied();
        let mut partner = right.before.get(&name).copied();
        for (stamp, is_row, now) in moves {
            *(if is_row { &mut row } else { &mut partner }) = now;
            if is_row || row.is_some() {
                updates.push((key, row.and_then(|row| join(row, partner)), stamp));
            }
        }
    }
    updates
}
