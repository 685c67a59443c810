//! A random graph, built with the library as a user would; and what the closures in it do.

use super::grammar::{Node, Op, Silent, Spec, TOPICS};
use super::order::Order;
use super::{K, V};
use millpond::TableOptions;
use millpond::aggregate::{Multiset, max};
use millpond::codec::Json;
use millpond::stream::{Emit, SessionKey};
use millpond::testing::Driver;
use millpond::{
    Graph, GraphBuilder, Idle, Latest, Process, StoredTable, Stream, Table, Topic, Upsert, VersionedTable,
    Windowed,
};
use std::collections::BTreeMap;

pub fn topic(topic: usize, partitions: &[u32]) -> Topic<K, V> {
    let made = keyed(Topic::new(&format!("in{topic}")).partitions(partitions[topic % TOPICS]), topic);
    if topic == 2 { made.timestamps_from(|k, v| v.wrapping_mul(7).wrapping_sub(V::from(k.1))) } else { made }
}

/// The topic with one of several codecs for its keys, which decides where they lie and nothing else.
fn keyed(topic: Topic<K, V>, number: usize) -> Topic<K, V> {
    if number.is_multiple_of(2) { topic } else { topic.keys(Json) }
}

pub fn keeps(n: u8, v: V) -> bool {
    v.rem_euclid(3) != V::from(n % 3)
}

pub fn mapped_value(n: u8, k: K, v: V) -> V {
    v.wrapping_mul(3).wrapping_add(V::from(n + k.0))
}

pub fn mapped(n: u8, k: K, v: V) -> (K, V) {
    ((k.1 % 3, k.0), v.wrapping_add(V::from(n)))
}

/// None, one or two records in place of one.
pub fn parts(k: K, v: V) -> Vec<(K, V)> {
    (0..v.rem_euclid(3)).map(|i| ((k.0, (k.1 + i as u8) % 4), v.wrapping_add(i))).collect()
}

pub fn re_keyed(n: u8, k: K, v: V) -> K {
    (v.rem_euclid(V::from(2 + n % 3)) as u8, k.1)
}

pub fn regrouped(n: u8, k: K, v: V) -> (K, V) {
    (((k.1 + n) % 3, v.rem_euclid(2) as u8), v)
}

/// The partner of a row; with some closures a row may name none.
pub fn named(n: u8, k: K, v: V) -> Option<K> {
    (n < 3 || v.rem_euclid(5) != 0).then_some((v.rem_euclid(3) as u8, (k.0 + n) % 4))
}

/// A value as one of few.
pub fn coarse(n: u8, v: V) -> V {
    v.rem_euclid(V::from(n) + 2)
}

/// How many values `RegroupTop` tells.
pub fn most(n: u8) -> usize {
    usize::from(n % 4)
}

pub fn weighed(n: u8, v: V) -> V {
    v.wrapping_mul(V::from(n) + 1)
}

pub fn chained(acc: V, v: V) -> V {
    acc.wrapping_mul(31).wrapping_add(v)
}

pub fn reduced(n: u8, a: V, b: V) -> V {
    if n.is_multiple_of(2) { a.max(b) } else { a.wrapping_add(b) }
}

/// The way that a record takes of three.
pub fn way(n: u8, k: K, v: V) -> usize {
    (v.rem_euclid(3) as usize + usize::from(k.0) + usize::from(n)) % 3
}

/// None, one or two values in place of one.
pub fn pieces(n: u8, v: V) -> Vec<V> {
    (0..v.wrapping_add(V::from(n)).rem_euclid(3)).map(|i| v.wrapping_add(i)).collect()
}

/// What a process keeps after a value, which it sometimes forgets, and what it emits.
pub fn processed(n: u8, k: K, v: V, state: Option<V>) -> (Option<V>, Vec<(K, V)>) {
    let now = chained(state.unwrap_or(V::from(n)), v);
    let emitted = pieces(n, v).into_iter().map(|piece| (re_keyed(n, k, piece), piece.wrapping_add(now)));
    ((now.rem_euclid(4) != 0).then_some(now), emitted.collect())
}

/// [`processed`] as a user would write it.
struct Remember(u8);

impl Process<K, V> for Remember {
    type State = V;
    type OutKey = K;
    type OutValue = V;

    fn process(&self, key: &K, value: V, state: &mut Option<V>, emit: &mut Emit<K, V>) {
        let (now, emitted) = processed(self.0, *key, value, *state);
        *state = now;
        for (key, value) in emitted {
            emit.push(key, value);
        }
    }
}

pub fn joined(left: Option<V>, right: Option<V>) -> V {
    left.unwrap_or(7).wrapping_mul(31).wrapping_add(right.unwrap_or(11))
}

/// Whether the operator is built from the form of its step that may fail, and is therefore asked about every update of the
/// tables above.
pub fn may_fail(node: &Node) -> bool {
    !node.n.is_multiple_of(2)
        && matches!(
            node.op,
            Op::TableFilter { .. }
                | Op::TableMap { .. }
                | Op::Regroup { .. }
                | Op::RegroupCount { .. }
                | Op::RegroupMax { .. }
                | Op::RegroupLeast { .. }
                | Op::RegroupTop { .. }
                | Op::RegroupDistinct { .. }
                | Op::TableReKey { .. }
                | Op::Join { .. }
                | Op::LeftJoin { .. }
                | Op::OuterJoin { .. }
                | Op::Foreign { .. }
                | Op::ForeignLeft { .. }
        )
}

/// What a step that may fail makes of `v`, which it does not like if values are bitter.
fn tasted<T>(bitter: bool, v: V, made: T) -> Result<T, String> {
    if bitter && v.rem_euclid(11) == 7 { Err(format!("{v} is bitter")) } else { Ok(made) }
}

/// What a deletion becomes in the stream of a table's changes.
pub const DELETED: V = -1_000_000;

/// A table that can be asked, with the number of its node.
#[derive(Clone)]
pub struct Handle {
    pub node: usize,
    pub name: String,
    pub table: Stored,
}

/// The tables have different types of values; as an `i64`, a value is what the model says.
#[derive(Clone)]
pub enum Stored {
    Plain(StoredTable<K, V>),
    Count(StoredTable<K, u64>),
    Reduced(StoredTable<K, V>),
    Max(StoredTable<K, Multiset<V>>),
    Top(StoredTable<K, Vec<V>>),
}

pub fn of_count(count: u64) -> V {
    count as V
}

/// Of the members of a group the greatest, and how many there are.
#[expect(clippy::needless_pass_by_value, reason = "as the others of its kind")]
pub fn of_max(members: Multiset<V>) -> V {
    greatest(members.len(), *members.max().unwrap())
}

pub fn greatest(members: u64, greatest: V) -> V {
    (members as V).wrapping_mul(1_000).wrapping_add(greatest)
}

#[expect(clippy::needless_pass_by_value, reason = "as the others of its kind")]
pub fn of_top(top: Vec<V>) -> V {
    top.iter().fold(top.len() as V, |acc, v| chained(acc, *v))
}

/// A table of windows.
pub enum WindowTable {
    Windows(StoredTable<Windowed<K>, V>),
    Sessions(StoredTable<SessionKey<K>, V>),
}

impl WindowTable {
    pub fn rows(&self, driver: &Driver) -> millpond::Result<BTreeMap<Windowed<K>, V>> {
        Ok(match self {
            Self::Windows(table) => driver.table(table)?,
            Self::Sessions(table) => {
                driver.table(table)?.into_iter().map(|(key, v)| (key.into(), v)).collect()
            }
        })
    }
}

pub struct Built {
    pub graph: Graph,
    pub handles: Vec<Handle>,
    /// The tables of windows, with the numbers of their nodes.
    pub windows: Vec<(usize, WindowTable)>,
    /// The tables that keep what their rows were.
    pub versions: Vec<(usize, VersionedTable<K, V>)>,
    /// The derived topics, with the numbers of the nodes that write them.
    pub outputs: Vec<(usize, Topic<K, V>)>,
}

enum Made {
    Stream(Stream<K, V>),
    Table(Table<K, V>),
    Output,
}

pub(super) struct Building<'a> {
    pub(super) bitter: bool,
    pub(super) builder: GraphBuilder,
    spec: &'a Spec,
    made: Vec<Made>,
    built: Vec<Handle>,
    pub(super) windows: Vec<(usize, WindowTable)>,
    pub(super) versions: Vec<(usize, VersionedTable<K, V>)>,
    outputs: Vec<(usize, Topic<K, V>)>,
}

pub fn build(nodes: &[Node], spec: &Spec) -> Built {
    build_with(nodes, spec, false)
}

/// The graph of `nodes`; the steps that may fail do at some values if these are `bitter`.
pub fn build_with(nodes: &[Node], spec: &Spec, bitter: bool) -> Built {
    let mut building = Building {
        bitter,
        builder: GraphBuilder::new(),
        spec,
        made: Vec::new(),
        built: Vec::new(),
        windows: Vec::new(),
        versions: Vec::new(),
        outputs: Vec::new(),
    };
    for (number, node) in nodes.iter().enumerate() {
        // For what closes no record is to blame.
        building.bitter = bitter && node.order == Order::Log;
        let made = if node.is_table {
            Made::Table(building.table(number, node))
        } else if let Op::To { stream } = node.op {
            let topic = keyed(Topic::new(&format!("out{}", node.id)).partitions(2), node.id);
            building.stream_of(stream).to(&topic);
            building.outputs.push((number, topic));
            Made::Output
        } else {
            Made::Stream(building.stream(number, node))
        };
        building.made.push(made);
    }
    building.materialize(nodes);
    let graph = building.builder.build().unwrap();
    let Building { built: handles, windows, versions, outputs, .. } = building;
    Built { graph, handles, windows, versions, outputs }
}

pub(super) fn options<T: serde::Serialize + serde::de::DeserializeOwned + Clone + Send + Sync + 'static>(
    node: &Node,
) -> TableOptions<T> {
    TableOptions::named(&format!("t{}", node.id)).version(node.version)
}

impl Building<'_> {
    pub(super) fn stream_of(&self, node: usize) -> &Stream<K, V> {
        match &self.made[node] {
            Made::Stream(stream) => stream,
            _ => panic!("node {node} is no stream"),
        }
    }

    pub(super) fn table_of(&self, node: usize) -> &Table<K, V> {
        match &self.made[node] {
            Made::Table(table) => table,
            _ => panic!("node {node} is no table"),
        }
    }

    pub(super) fn topic(&self, number: usize) -> Topic<K, V> {
        let millis = std::time::Duration::from_millis;
        let idle = match self.spec.silent[number % TOPICS] {
            Silent::Waits => Idle::never(),
            Silent::Follows { after } => Idle::follow(millis(after)),
            Silent::Clock { after, behind } => Idle::clock(millis(after), millis(behind)),
        };
        topic(number, &self.spec.partitions).idle(idle)
    }

    fn stream(&mut self, number: usize, node: &Node) -> Stream<K, V> {
        let (n, bitter) = (node.n, self.bitter);
        match node.op {
            Op::MapValues { stream } if !n.is_multiple_of(2) => {
                self.stream_of(stream).try_map_values(move |k, v| tasted(bitter, v, mapped_value(n, *k, v)))
            }
            Op::StreamJoin { stream, table } if !n.is_multiple_of(2) => {
                let join = move |_: &K, v: V, row: &V| tasted(bitter, *row, joined(Some(v), Some(*row)));
                self.stream_of(stream).try_join(self.table_of(table), join)
            }
            Op::StreamLeftJoin { stream, table } if !n.is_multiple_of(2) => {
                let join = move |_: &K, v: V, row: Option<&V>| {
                    tasted(bitter, row.copied().unwrap_or(0), joined(Some(v), row.copied()))
                };
                self.stream_of(stream).try_left_join(self.table_of(table), join)
            }
            Op::Stream { topic } => self.builder.stream(&self.topic(topic)),
            Op::Filter { stream } => self.stream_of(stream).filter(move |_, v| keeps(n, *v)),
            Op::MapValues { stream } => self.stream_of(stream).map_values(move |k, v| mapped_value(n, *k, v)),
            Op::Map { stream } => self.stream_of(stream).map(move |k, v| mapped(n, k, v)),
            Op::FlatMap { stream } => self.stream_of(stream).flat_map(parts),
            Op::ReKey { stream } => self.stream_of(stream).re_key(move |k, v| re_keyed(n, *k, *v)),
            Op::Merge { left, right } => self.stream_of(left).merge(self.stream_of(right)),
            Op::FilterMap { stream } => {
                self.stream_of(stream).filter_map(move |k, v| keeps(n, v).then(|| (re_keyed(n, k, v), v)))
            }
            Op::FlatMapValues { stream } => self.stream_of(stream).flat_map_values(move |_, v| pieces(n, v)),
            Op::Timed { stream } => {
                self.stream_of(stream).with_timestamps().map_values(|_, (v, ms)| v.wrapping_add(ms))
            }
            Op::Split { stream } => {
                let [first, second, third] = self.stream_of(stream).split(move |k, v| way(n, *k, *v));
                if n.is_multiple_of(2) { second } else { first.merge(&third) }
            }
            Op::MergeAll { left, right } => {
                let (left, right) = (self.stream_of(left), self.stream_of(right));
                left.merge_all([right, left])
            }
            Op::Process { stream } => self.stream_of(stream).process(options::<V>(node), Remember(n)).0,
            Op::StreamJoin { stream, table } => {
                self.stream_of(stream).join(self.table_of(table), |_, v, row| joined(Some(v), Some(*row)))
            }
            Op::StreamLeftJoin { stream, table } => self
                .stream_of(stream)
                .left_join(self.table_of(table), |_, v, row| joined(Some(v), row.copied())),
            Op::ToStream { table } => {
                let changes: Stream<K, Upsert<V>> = self.table_of(table).to_stream();
                changes.map_values(|_, change| change.into_option().unwrap_or(DELETED))
            }
            _ => self.stream_in_time(number, node),
        }
    }

    /// Notes a stored table.
    fn keep(&mut self, number: usize, node: &Node, table: Stored) {
        self.built.push(Handle { node: number, name: format!("t{}", node.id), table });
    }

    pub(super) fn plain(&mut self, number: usize, node: &Node, table: StoredTable<K, V>) -> Table<K, V> {
        self.keep(number, node, Stored::Plain(table.clone()));
        table.into()
    }

    fn table(&mut self, number: usize, node: &Node) -> Table<K, V> {
        let (n, bitter) = (node.n, self.bitter);
        match node.op {
            Op::Table { topic } => {
                let table = self.builder.table(&self.topic(topic), options(node));
                self.plain(number, node, table)
            }
            Op::TableByTime { topic } => {
                let table = self.builder.table_by(&self.topic(topic), options(node), Latest::Timestamp);
                self.plain(number, node, table)
            }
            Op::ToTable { stream } => {
                let table = self.stream_of(stream).to_table(options(node));
                self.plain(number, node, table)
            }
            Op::ProcessState { stream } => {
                let (_, state) = self.stream_of(stream).process(options::<V>(node), Remember(n));
                self.plain(number, node, state)
            }
            Op::Count { .. }
            | Op::Sum { .. }
            | Op::Reduce { .. }
            | Op::Least { .. }
            | Op::Distinct { .. }
            | Op::Chain { .. } => self.fold(number, node),
            Op::Regroup { .. }
            | Op::RegroupCount { .. }
            | Op::RegroupMax { .. }
            | Op::RegroupLeast { .. }
            | Op::RegroupTop { .. }
            | Op::RegroupDistinct { .. } => self.regroup(number, node),
            Op::TableReKey { table } if may_fail(node) => {
                let key = move |k: &K, v: &V| tasted(bitter, *v, re_keyed(n, *k, *v));
                let table = self.table_of(table).try_re_key(options::<V>(node), key);
                self.plain(number, node, table)
            }
            Op::TableReKey { table } => {
                let table = self.table_of(table).re_key(options::<V>(node), move |k, v| re_keyed(n, *k, *v));
                self.plain(number, node, table)
            }
            Op::TableFilter { .. }
            | Op::TableMap { .. }
            | Op::Join { .. }
            | Op::LeftJoin { .. }
            | Op::OuterJoin { .. }
                if may_fail(node) =>
            {
                self.fallible(node)
            }
            Op::TableFilter { table } => self.table_of(table).filter(move |_, v| keeps(n, *v)),
            Op::TableMap { table } => self.table_of(table).map_values(move |k, v| mapped_value(n, *k, v)),
            Op::Join { left, right } => {
                self.table_of(left).join(self.table_of(right), |_, l, r| joined(Some(*l), Some(*r)))
            }
            Op::LeftJoin { left, right } => {
                self.table_of(left).left_join(self.table_of(right), |_, l, r| joined(Some(*l), r.copied()))
            }
            Op::OuterJoin { left, right } => {
                self.table_of(left).outer_join(self.table_of(right), |_, l, r| joined(l.copied(), r.copied()))
            }
            Op::Foreign { .. } | Op::ForeignLeft { .. } => self.foreign(number, node),
            _ => self.table_in_time(number, node),
        }
    }

    fn fallible(&self, node: &Node) -> Table<K, V> {
        let (n, bitter) = (node.n, self.bitter);
        match node.op {
            Op::TableFilter { table } => {
                self.table_of(table).try_filter(move |_, v| tasted(bitter, *v, keeps(n, *v)))
            }
            Op::TableMap { table } => {
                self.table_of(table).try_map_values(move |k, v| tasted(bitter, v, mapped_value(n, *k, v)))
            }
            Op::Join { left, right } => self.table_of(left).try_join(self.table_of(right), move |_, l, r| {
                tasted(bitter, l.wrapping_sub(*r), joined(Some(*l), Some(*r)))
            }),
            Op::LeftJoin { left, right } => {
                self.table_of(left).try_left_join(self.table_of(right), move |_, l, r| {
                    tasted(bitter, r.map_or(*l, |r| l.wrapping_sub(*r)), joined(Some(*l), r.copied()))
                })
            }
            Op::OuterJoin { left, right } => {
                self.table_of(left).try_outer_join(self.table_of(right), move |_, l, r| {
                    tasted(bitter, l.copied().unwrap_or(0), joined(l.copied(), r.copied()))
                })
            }
            op => panic!("{op:?} cannot fail"),
        }
    }

    fn fold(&mut self, number: usize, node: &Node) -> Table<K, V> {
        let n = node.n;
        match node.op {
            Op::Count { stream } => {
                let table = self.stream_of(stream).group_by_key().count(options(node));
                self.keep(number, node, Stored::Count(table.clone()));
                table.map_values(|_, count| of_count(count))
            }
            Op::Reduce { stream } => {
                let grouped = self.stream_of(stream).group_by_key();
                let table = grouped.reduce(options(node), move |a, b| reduced(n, a, b));
                self.keep(number, node, Stored::Reduced(table.clone()));
                table.into()
            }
            Op::Sum { stream } => {
                let grouped = self.stream_of(stream).group_by_key();
                let table = grouped.fold(
                    options(node),
                    || 0,
                    move |acc: &mut V, _, v| *acc = acc.wrapping_add(weighed(n, v)),
                );
                self.plain(number, node, table)
            }
            Op::Least { stream } => {
                let table = self.stream_of(stream).group_by_key().min(options(node), |v| *v);
                self.plain(number, node, table)
            }
            Op::Distinct { stream } => {
                let grouped = self.stream_of(stream).group_by_key();
                let table = grouped.distinct_count(options(node), move |v| coarse(n, *v));
                self.keep(number, node, Stored::Count(table.clone()));
                table.map_values(|_, count| of_count(count))
            }
            Op::Chain { stream } => {
                let grouped = self.stream_of(stream).group_by_key();
                let table = grouped.fold(options(node), || 0, |acc: &mut V, _, v| *acc = chained(*acc, v));
                self.plain(number, node, table)
            }
            op => panic!("{op:?} is no fold"),
        }
    }

    fn regroup(&mut self, number: usize, node: &Node) -> Table<K, V> {
        let (n, bitter) = (node.n, self.bitter);
        let group = |table| match self.table_of(table) {
            table if may_fail(node) => {
                table.try_group_by(move |k, v| tasted(bitter, *v, regrouped(n, *k, *v)))
            }
            table => table.group_by(move |k, v| regrouped(n, *k, *v)),
        };
        match node.op {
            Op::Regroup { table } if may_fail(node) => {
                let table = group(table).try_fold(
                    options(node),
                    || 0,
                    move |acc: &mut V, _, v| {
                        *acc = acc.wrapping_add(weighed(n, v));
                        tasted(bitter, *acc, ())
                    },
                    move |acc, _, v| {
                        *acc = acc.wrapping_sub(weighed(n, v));
                        tasted(bitter, *acc, ())
                    },
                );
                self.plain(number, node, table)
            }
            Op::Regroup { table } => {
                let table = group(table).fold(
                    options(node),
                    || 0,
                    move |acc: &mut V, _, v| *acc = acc.wrapping_add(weighed(n, v)),
                    move |acc, _, v| *acc = acc.wrapping_sub(weighed(n, v)),
                );
                self.plain(number, node, table)
            }
            Op::RegroupCount { table } => {
                let table = group(table).count(options(node));
                self.keep(number, node, Stored::Count(table.clone()));
                table.map_values(|_, count| of_count(count))
            }
            Op::RegroupMax { table } => {
                let table = group(table).aggregate(options(node), max(|v: &V| *v).retractable());
                self.keep(number, node, Stored::Max(table.clone()));
                table.map_values(|_, members| of_max(members))
            }
            Op::RegroupLeast { table } => {
                let table = group(table).min(options(node), |v| *v);
                self.plain(number, node, table)
            }
            Op::RegroupTop { table } => {
                let table = group(table).top_k(options(node), most(n), |v| *v);
                self.keep(number, node, Stored::Top(table.clone()));
                table.map_values(|_, top| of_top(top))
            }
            Op::RegroupDistinct { table } => {
                let table = group(table).distinct_count(options(node), move |v| coarse(n, *v));
                self.keep(number, node, Stored::Count(table.clone()));
                table.map_values(|_, count| of_count(count))
            }
            op => panic!("{op:?} groups no table"),
        }
    }

    fn foreign(&mut self, number: usize, node: &Node) -> Table<K, V> {
        let (n, bitter) = (node.n, self.bitter);
        let name = move |k: &K, v: &V| named(n, *k, *v);
        let table = match node.op {
            Op::Foreign { left, right } if may_fail(node) => {
                let (name, join) = (
                    move |k: &K, v: &V| tasted(bitter, *v, name(k, v)),
                    move |_: &K, l: &V, r: &V| tasted(bitter, l.wrapping_sub(*r), joined(Some(*l), Some(*r))),
                );
                self.table_of(left).try_foreign_join(self.table_of(right), options::<V>(node), name, join)
            }
            Op::ForeignLeft { left, right } if may_fail(node) => {
                let (name, join) = (
                    move |k: &K, v: &V| tasted(bitter, *v, name(k, v)),
                    move |_: &K, l: &V, r: Option<&V>| {
                        tasted(bitter, r.map_or(*l, |r| l.wrapping_sub(*r)), joined(Some(*l), r.copied()))
                    },
                );
                let (left, right) = (self.table_of(left), self.table_of(right));
                left.try_foreign_left_join(right, options::<V>(node), name, join)
            }
            Op::Foreign { left, right } => {
                let join = |_: &K, l: &V, r: &V| joined(Some(*l), Some(*r));
                self.table_of(left).foreign_join(self.table_of(right), options::<V>(node), name, join)
            }
            Op::ForeignLeft { left, right } => {
                let join = |_: &K, l: &V, r: Option<&V>| joined(Some(*l), r.copied());
                self.table_of(left).foreign_left_join(self.table_of(right), options::<V>(node), name, join)
            }
            op => panic!("{op:?} is no foreign-key join"),
        };
        self.plain(number, node, table)
    }

    /// Stores some of the tables that are computed on the fly: those that nothing reads, and every other one. What comes
    /// after reads the computed one, so that both ways to look a row up are taken.
    fn materialize(&mut self, nodes: &[Node]) {
        for (number, node) in nodes.iter().enumerate() {
            let is_stored = self.built.iter().any(|handle| handle.node == number);
            let is_read = nodes.iter().any(|reader| operands(reader.op).contains(&number));
            if node.is_table && !is_stored && (!is_read || node.id.is_multiple_of(2)) {
                let table = self.table_of(number).materialize(options(node));
                self.plain(number, node, table);
            }
        }
    }
}

/// The nodes that `op` reads.
pub fn operands(op: Op) -> Vec<usize> {
    match op {
        Op::Stream { .. }
        | Op::Table { .. }
        | Op::TableByTime { .. }
        | Op::Versioned { .. }
        | Op::ExpireUpserts { .. } => Vec::new(),
        Op::Filter { stream }
        | Op::MapValues { stream }
        | Op::Map { stream }
        | Op::FlatMap { stream }
        | Op::ReKey { stream }
        | Op::FilterMap { stream }
        | Op::FlatMapValues { stream }
        | Op::Timed { stream }
        | Op::Split { stream }
        | Op::Process { stream }
        | Op::ProcessState { stream }
        | Op::To { stream }
        | Op::Finals { stream, .. }
        | Op::Late { stream, .. }
        | Op::Windows { stream, .. }
        | Op::Alarms { stream }
        | Op::AlarmsState { stream }
        | Op::InTimeOrder { stream }
        | Op::OrderLate { stream }
        | Op::DistinctWithin { stream }
        | Op::Count { stream }
        | Op::Sum { stream }
        | Op::Reduce { stream }
        | Op::Least { stream }
        | Op::Distinct { stream }
        | Op::Chain { stream }
        | Op::ToTable { stream } => vec![stream],
        Op::ToStream { table }
        | Op::TableFilter { table }
        | Op::TableMap { table }
        | Op::Regroup { table }
        | Op::RegroupCount { table }
        | Op::RegroupMax { table }
        | Op::RegroupLeast { table }
        | Op::RegroupTop { table }
        | Op::RegroupDistinct { table }
        | Op::ExpireAfter { table }
        | Op::ExpireAt { table }
        | Op::WhileValid { table }
        | Op::Settled { table }
        | Op::TableReKey { table } => vec![table],
        Op::StreamJoin { stream, table }
        | Op::StreamLeftJoin { stream, table }
        | Op::JoinBy { stream, table }
        | Op::LeftJoinBy { stream, table } => vec![stream, table],
        Op::JoinAsOf { stream, versioned } | Op::LeftJoinAsOf { stream, versioned } => {
            vec![stream, versioned]
        }
        Op::Merge { left, right }
        | Op::MergeAll { left, right }
        | Op::Cogroup { left, right }
        | Op::CogroupFinals { left, right }
        | Op::JoinWithin { left, right, .. }
        | Op::JoinLate { left, right }
        | Op::Join { left, right }
        | Op::LeftJoin { left, right }
        | Op::OuterJoin { left, right }
        | Op::Foreign { left, right }
        | Op::ForeignLeft { left, right } => vec![left, right],
    }
}
