//! What a graph means: an interpreter over plain maps.
//!
//! Tables that derive from tables are computed from scratch at the end of every epoch; folds over streams go through all
//! records of the epoch in the order of their stamps. Nothing is sharded, cached, encoded or drained.
//!
//! Given the epochs as they were cut, every graph has exactly one meaning, its derived topics included. A pure graph has
//! the same meaning if all its input is one epoch.

use super::grammar::{Node, Op};
use super::graph::{self, DELETED, of_group};
use super::{K, Rows, V};
use millpond::codec::KeyCodec;
use std::collections::{BTreeMap, BTreeSet};

/// Where a value comes from; ordered by everything but the timestamp that the record carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// The greatest timestamp of the epoch so far in the partition.
    merge_ms: i64,
    topic: usize,
    partition: u32,
    offset: u64,
    branch: u64,
    timestamp_ms: i64,
}

impl Stamp {
    fn branch(mut self, index: usize) -> Self {
        self.branch = (self.branch << 16).wrapping_add(index as u64);
        self
    }

    fn side(mut self, second: bool) -> Self {
        self.branch = (self.branch << 1) | u64::from(second);
        self
    }

    fn branch_by_key(mut self, key: K) -> Self {
        let mut encoded = Vec::new();
        key.encode_key(&mut encoded);
        let hash = encoded.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        self.branch = (self.branch << 16) ^ hash;
        self
    }
}

/// A record of the input.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub topic: usize,
    pub partition: u32,
    pub offset: u64,
    pub key: K,
    pub value: Option<V>,
    pub timestamp_ms: i64,
}

/// A record on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub key: K,
    pub value: V,
    stamp: Stamp,
}

impl Event {
    pub fn timestamp_ms(&self) -> i64 {
        self.stamp.timestamp_ms
    }
}

/// What an epoch did to a table.
#[derive(Clone, Default)]
struct Changed {
    before: Rows,
    rows: Rows,
    /// The keys that were touched and are or were there, with the last stamp.
    changes: BTreeMap<K, Stamp>,
    /// Every single update.
    updates: Vec<(K, Option<V>, Stamp)>,
}

impl Changed {
    fn new(before: &Rows, rows: Rows, updates: Vec<(K, Option<V>, Stamp)>) -> Self {
        let mut touched: BTreeMap<K, Stamp> = BTreeMap::new();
        for (key, _, stamp) in &updates {
            let last = touched.entry(*key).or_insert(*stamp);
            *last = (*last).max(*stamp);
        }
        Self::touched(before, rows, touched, updates)
    }

    fn touched(
        before: &Rows,
        rows: Rows,
        mut changes: BTreeMap<K, Stamp>,
        updates: Vec<(K, Option<V>, Stamp)>,
    ) -> Self {
        changes.retain(|key, _| before.contains_key(key) || rows.contains_key(key));
        Self { before: before.clone(), rows, changes, updates }
    }

    /// The row that a record with this stamp meets.
    fn at(&self, key: K, stamp: Stamp) -> Option<V> {
        let seen = |update: &&(K, Option<V>, Stamp)| update.0 == key && update.2.merge_ms <= stamp.merge_ms;
        match self.updates.iter().rev().find(seen) {
            Some((_, value, _)) => *value,
            None => self.before.get(&key).copied(),
        }
    }
}

#[derive(Clone)]
enum Out {
    Stream(Vec<Event>),
    Table(Changed),
}

/// A graph at some point of its input.
#[derive(Clone)]
pub struct Interpreter {
    nodes: Vec<Node>,
    /// The rows of each node.
    pub rows: Vec<Rows>,
    /// The timestamps that `TableByTime` has seen.
    times: Vec<BTreeMap<K, i64>>,
}

impl Interpreter {
    pub fn new(nodes: &[Node]) -> Self {
        Self {
            nodes: nodes.to_vec(),
            rows: vec![Rows::new(); nodes.len()],
            times: vec![BTreeMap::new(); nodes.len()],
        }
    }

    /// Folds an epoch. Returns what each `To` wrote, by its node.
    pub fn epoch(&mut self, input: &[Arrival]) -> BTreeMap<usize, Vec<Event>> {
        let input = stamped(input);
        let mut outs: Vec<Out> = Vec::new();
        let mut written = BTreeMap::new();
        for number in 0..self.nodes.len() {
            let node = self.nodes[number];
            let out = if node.is_table {
                let changed = self.table(number, node, &outs, &input);
                self.rows[number].clone_from(&changed.rows);
                Out::Table(changed)
            } else {
                let mut events = stream(node, &outs, &input);
                events.sort_by_key(|event| event.stamp);
                if let Op::To { .. } = node.op {
                    written.insert(number, events.clone());
                }
                Out::Stream(events)
            };
            outs.push(out);
        }
        written
    }

    fn table(
        &mut self,
        number: usize,
        node: Node,
        outs: &[Out],
        input: &[(usize, K, Option<V>, Stamp)],
    ) -> Changed {
        let before = &self.rows[number];
        let n = node.n;
        match node.op {
            Op::Table { topic } => upserted(before, of_topic(input, topic)),
            Op::TableByTime { topic } => {
                let times = &mut self.times[number];
                let newest = of_topic(input, topic).filter(|(key, _, stamp)| {
                    let last = times.entry(*key).or_insert(stamp.timestamp_ms);
                    let wins = *last <= stamp.timestamp_ms;
                    *last = (*last).max(stamp.timestamp_ms);
                    wins
                });
                upserted(before, newest)
            }
            Op::ToTable { stream } => {
                upserted(before, events(outs, stream).iter().map(|e| (e.key, Some(e.value), e.stamp)))
            }
            Op::Count { stream } => folded(before, events(outs, stream), |acc, _| acc.unwrap_or(0) + 1),
            Op::Sum { stream } => folded(before, events(outs, stream), |acc, v| {
                acc.unwrap_or(0).wrapping_add(graph::weighed(n, v))
            }),
            Op::Reduce { stream } => {
                folded(before, events(outs, stream), |acc, v| acc.map_or(v, |acc| graph::reduced(n, acc, v)))
            }
            Op::Chain { stream } => {
                folded(before, events(outs, stream), |acc, v| graph::chained(acc.unwrap_or(0), v))
            }
            Op::TableFilter { table } => mapped(changed(outs, table), |_, v| graph::keeps(n, v).then_some(v)),
            Op::TableMap { table } => mapped(changed(outs, table), |k, v| Some(graph::mapped_value(n, k, v))),
            Op::Regroup { table } => regrouped(n, before, changed(outs, table), |members| {
                members.iter().fold(0, |sum: V, v| sum.wrapping_add(graph::weighed(n, *v)))
            }),
            Op::RegroupCount { table } => {
                regrouped(n, before, changed(outs, table), |members| members.len() as V)
            }
            Op::RegroupMax { table } => {
                regrouped(n, before, changed(outs, table), |members| *members.iter().max().unwrap())
            }
            Op::Join { left, right } => {
                joined(outs, left, right, |l, r| Some(graph::joined(Some(l?), Some(r?))))
            }
            Op::LeftJoin { left, right } => {
                joined(outs, left, right, |l, r| Some(graph::joined(Some(l?), r)))
            }
            Op::OuterJoin { left, right } => {
                joined(outs, left, right, |l, r| (l.is_some() || r.is_some()).then(|| graph::joined(l, r)))
            }
            Op::Foreign { left, right } => {
                foreign(n, before, changed(outs, left), changed(outs, right), true)
            }
            Op::ForeignLeft { left, right } => {
                foreign(n, before, changed(outs, left), changed(outs, right), false)
            }
            op => panic!("{op:?} makes no table"),
        }
    }
}

/// The input in the order of its stamps.
fn stamped(input: &[Arrival]) -> Vec<(usize, K, Option<V>, Stamp)> {
    let mut reached: BTreeMap<(usize, u32), i64> = BTreeMap::new();
    let mut stamped: Vec<_> = input
        .iter()
        .map(|arrival| {
            let &Arrival { topic, partition, offset, timestamp_ms, .. } = arrival;
            let merge_ms = reached.entry((topic, partition)).or_insert(timestamp_ms);
            *merge_ms = (*merge_ms).max(timestamp_ms);
            let stamp = Stamp { merge_ms: *merge_ms, topic, partition, offset, branch: 0, timestamp_ms };
            (topic, arrival.key, arrival.value, stamp)
        })
        .collect();
    stamped.sort_by_key(|(.., stamp)| *stamp);
    stamped
}

fn of_topic(
    input: &[(usize, K, Option<V>, Stamp)],
    topic: usize,
) -> impl Iterator<Item = (K, Option<V>, Stamp)> {
    input.iter().filter(move |(of, ..)| *of == topic).map(|(_, key, value, stamp)| (*key, *value, *stamp))
}

fn events(outs: &[Out], node: usize) -> &[Event] {
    match &outs[node] {
        Out::Stream(events) => events,
        Out::Table(_) => panic!("node {node} is no stream"),
    }
}

fn changed(outs: &[Out], node: usize) -> &Changed {
    match &outs[node] {
        Out::Table(changed) => changed,
        Out::Stream(_) => panic!("node {node} is no table"),
    }
}

fn stream(node: Node, outs: &[Out], input: &[(usize, K, Option<V>, Stamp)]) -> Vec<Event> {
    let n = node.n;
    let each = |stream: usize, map: &dyn Fn(Event) -> Vec<Event>| {
        events(outs, stream).iter().flat_map(|event| map(*event)).collect()
    };
    match node.op {
        Op::Stream { topic } => of_topic(input, topic)
            .filter_map(|(key, value, stamp)| Some(Event { key, value: value?, stamp }))
            .collect(),
        Op::To { stream } => events(outs, stream).to_vec(),
        Op::Filter { stream } => each(stream, &|e| if graph::keeps(n, e.value) { vec![e] } else { vec![] }),
        Op::MapValues { stream } => {
            each(stream, &|e| vec![Event { value: graph::mapped_value(n, e.key, e.value), ..e }])
        }
        Op::Map { stream } => each(stream, &|e| {
            let (key, value) = graph::mapped(n, e.key, e.value);
            vec![Event { key, value, ..e }]
        }),
        Op::ReKey { stream } => {
            each(stream, &|e| vec![Event { key: graph::re_keyed(n, e.key, e.value), ..e }])
        }
        Op::FlatMap { stream } => each(stream, &|e| {
            let parts = graph::parts(e.key, e.value).into_iter().enumerate();
            parts.map(|(i, (key, value))| Event { key, value, stamp: e.stamp.branch(i) }).collect()
        }),
        Op::Merge { left, right } => {
            let side = |node, second| {
                events(outs, node).iter().map(move |e| Event { stamp: e.stamp.side(second), ..*e })
            };
            side(left, false).chain(side(right, true)).collect()
        }
        Op::StreamJoin { stream, table } => each(stream, &|e| {
            let row = changed(outs, table).at(e.key, e.stamp);
            row.map(|row| Event { value: graph::joined(Some(e.value), Some(row)), ..e }).into_iter().collect()
        }),
        Op::StreamLeftJoin { stream, table } => each(stream, &|e| {
            let row = changed(outs, table).at(e.key, e.stamp);
            vec![Event { value: graph::joined(Some(e.value), row), ..e }]
        }),
        Op::ToStream { table } => {
            let table = changed(outs, table);
            let event = |(key, stamp): (&K, &Stamp)| Event {
                key: *key,
                value: table.rows.get(key).copied().unwrap_or(DELETED),
                stamp: stamp.branch_by_key(*key),
            };
            table.changes.iter().map(event).collect()
        }
        op => panic!("{op:?} makes no stream"),
    }
}

fn upserted(before: &Rows, upserts: impl Iterator<Item = (K, Option<V>, Stamp)>) -> Changed {
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

fn folded(before: &Rows, events: &[Event], fold: impl Fn(Option<V>, V) -> V) -> Changed {
    let mut rows = before.clone();
    let mut updates = Vec::new();
    for event in events {
        let value = fold(rows.get(&event.key).copied(), event.value);
        rows.insert(event.key, value);
        updates.push((event.key, Some(value), event.stamp));
    }
    Changed::new(before, rows, updates)
}

fn mapped(table: &Changed, map: impl Fn(K, V) -> Option<V>) -> Changed {
    let all = |rows: &Rows| rows.iter().filter_map(|(k, v)| Some((*k, map(*k, *v)?))).collect::<Rows>();
    let update = |(k, v, stamp): &(K, Option<V>, Stamp)| (*k, v.and_then(|v| map(*k, v)), *stamp);
    Changed::touched(
        &all(&table.before),
        all(&table.rows),
        table.changes.clone(),
        table.updates.iter().map(update).collect(),
    )
}

fn joined(
    outs: &[Out],
    left: usize,
    right: usize,
    join: impl Fn(Option<V>, Option<V>) -> Option<V>,
) -> Changed {
    let (left, right) = (changed(outs, left), changed(outs, right));
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

fn regrouped(n: u8, before: &Rows, table: &Changed, value: impl Fn(&[V]) -> V) -> Changed {
    let groups = |rows: &Rows| {
        let mut groups = Groups::new();
        for (key, row) in rows {
            let (group, member) = graph::regrouped(n, *key, *row);
            groups.entry(group).or_default().push(member);
        }
        groups
    };
    let group_row = |members: &Vec<V>| (!members.is_empty()).then(|| of_group(members.len(), value(members)));
    // Who leaves and who joins, in the order of the changes.
    let mut deltas = Vec::new();
    for (key, stamp) in &table.changes {
        let stamp = stamp.branch_by_key(*key);
        let old =
            table.before.get(key).map(|row| (graph::regrouped(n, *key, *row), false, stamp.side(false)));
        let new = table.rows.get(key).map(|row| (graph::regrouped(n, *key, *row), true, stamp.side(true)));
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
    Changed::new(before, rows, updates)
}

fn foreign(n: u8, before: &Rows, left: &Changed, right: &Changed, inner: bool) -> Changed {
    let join =
        |row: V, partner: Option<V>| (!inner || partner.is_some()).then(|| graph::joined(Some(row), partner));
    let mut updates = Vec::new();
    let mut touched: BTreeSet<(K, K)> = BTreeSet::new();
    for (key, stamp) in &left.changes {
        let stamp = stamp.branch_by_key(*key);
        let (old, new) = (left.before.get(key), left.rows.get(key));
        let old_name = old.map(|row| graph::named(n, *key, *row));
        let new_name = new.map(|row| graph::named(n, *key, *row));
        touched.extend(old_name.into_iter().chain(new_name).map(|name| (name, *key)));
        let result = new.and_then(|row| join(*row, right.rows.get(&new_name?).copied()));
        if old_name == new_name {
            updates.push((*key, result, stamp.side(true)));
        } else {
            updates.extend(old_name.map(|_| (*key, None, stamp.side(false))));
            updates.extend(new_name.map(|_| (*key, result, stamp.side(true))));
        }
    }
    for (name, stamp) in &right.changes {
        for (key, row) in &left.before {
            if graph::named(n, *key, *row) == *name && !touched.contains(&(*name, *key)) {
                let result = join(*row, right.rows.get(name).copied());
                updates.push((*key, result, stamp.branch_by_key(*key)));
            }
        }
    }
    updates.sort_by_key(|(_, _, stamp)| *stamp);
    let partner = |key: &K, row: &V| right.rows.get(&graph::named(n, *key, *row)).copied();
    let rows: Rows =
        left.rows.iter().filter_map(|(key, row)| Some((*key, join(*row, partner(key, row))?))).collect();
    Changed::new(before, rows, updates)
}
