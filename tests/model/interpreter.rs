//! What a graph means: an interpreter over plain maps.
//!
//! Folds over streams go through all records of the epoch in the order of their stamps; what tables that derive from tables
//! are at its end is computed from scratch, see [`changed`](super::changed). Nothing is sharded, cached, encoded or drained.
//!
//! Given the epochs as they were cut, every graph has exactly one meaning, its derived topics included. A pure graph has
//! the same meaning if all its input is one epoch, or every record one of its own.

use super::changed::{
    Changed, Step, counted, folded, foreign, grouped, joined, mapped, processed, re_keyed, regrouped,
    upserted,
};
use super::grammar::{Node, Op, Windowing, follows};
use super::graph::{self, DELETED};
use super::time::{self, Held, NEVER, Reached, Watermark};
use super::{K, Rows, V};
use super::{alarms, graph_in_time, versions, windows, within};
use millpond::Windowed;
use millpond::codec::KeyCodec;
use millpond::dataflow::Stamp;
use millpond::stream::SessionKey;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// A record of the input.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub topic: usize,
    pub partition: u32,
    pub offset: u64,
    /// Its place in the order of the log.
    pub place: u64,
    pub key: K,
    pub value: Option<V>,
    pub timestamp_ms: i64,
    /// How far its partition had come in time.
    pub stream_time_ms: i64,
}

/// A record on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub key: K,
    pub value: V,
    pub(super) stamp: Stamp,
}

impl Event {
    pub fn timestamp_ms(&self) -> i64 {
        self.stamp.timestamp_ms
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
    /// The values that `Distinct` has seen.
    seen: Vec<BTreeSet<(K, V)>>,
    /// Whether what derives from the node depends on every step of a row.
    by_step: Vec<bool>,
    /// What waits for its time.
    pub held: Vec<Held>,
    /// How far the partitions of each topic have come.
    pub reached: BTreeMap<(usize, u32), i64>,
}

impl Interpreter {
    pub fn new(nodes: &[Node]) -> Self {
        Self {
            nodes: nodes.to_vec(),
            rows: vec![Rows::new(); nodes.len()],
            times: vec![BTreeMap::new(); nodes.len()],
            seen: vec![BTreeSet::new(); nodes.len()],
            by_step: followed(nodes),
            held: vec![Held::default(); nodes.len()],
            reached: BTreeMap::new(),
        }
    }

    /// As [`new`](Self::new), where time is looked at in topics of so many partitions.
    pub fn in_time(nodes: &[Node], partitions: &[u32]) -> Self {
        let all =
            partitions.iter().enumerate().flat_map(|(topic, count)| (0..*count).map(move |p| (topic, p)));
        Self { reached: all.map(|partition| (partition, NEVER)).collect(), ..Self::new(nodes) }
    }

    /// How far each node has come.
    pub fn watermarks(&self) -> Vec<i64> {
        time::watermarks(&self.nodes, &self.reached)
    }

    /// Folds an epoch. Returns what each `To` wrote, by its node.
    pub fn epoch(&mut self, input: &[Arrival]) -> BTreeMap<usize, Vec<Event>> {
        self.epoch_in_time(input, &[])
    }

    /// As [`epoch`](Self::epoch), after which partitions have come as far as was `noted` of them.
    pub fn epoch_in_time(&mut self, input: &[Arrival], noted: &[Reached]) -> BTreeMap<usize, Vec<Event>> {
        let before = time::watermarks(&self.nodes, &self.reached);
        let shown = input.iter().map(|a| ((a.topic, a.partition), a.stream_time_ms));
        for (id, time_ms) in shown.chain(noted.iter().map(|n| ((n.topic, n.partition), n.time_ms))) {
            self.reached.entry(id).and_modify(|at| *at = (*at).max(time_ms));
        }
        let after = time::watermarks(&self.nodes, &self.reached);
        let input = stamped(input);
        let mut outs: Vec<Out> = Vec::new();
        let mut written = BTreeMap::new();
        for number in 0..self.nodes.len() {
            let node = self.nodes[number];
            let watermark = Watermark { before: before[number], after: after[number] };
            let out = if node.is_table {
                let changed = self.table(number, node, &outs, &input, watermark);
                self.rows[number].clone_from(&changed.rows);
                Out::Table(changed)
            } else {
                let mut events = if let Op::Process { stream } = node.op {
                    let (changed, emitted) = processed(node.n, &self.rows[number], events(&outs, stream));
                    self.rows[number] = changed.rows;
                    emitted
                } else if let Some(events) = self.held_back(number, node, &outs, watermark) {
                    events
                } else {
                    stream(node, self.by_step[number], &outs, &input)
                };
                events.sort_by_key(|event| event.stamp);
                if let Op::To { .. } = node.op {
                    // Keys are so short that stamps tell the order of all of them.
                    written.insert(number, events.clone());
                }
                Out::Stream(events)
            };
            outs.push(out);
        }
        written
    }

    /// What an operator puts out that holds something until its time.
    fn held_back(
        &mut self,
        number: usize,
        node: Node,
        outs: &[Out],
        watermark: Watermark,
    ) -> Option<Vec<Event>> {
        let n = node.n;
        let of = |stream| events(outs, stream);
        if let Op::JoinAsOf { stream, versioned } | Op::LeftJoinAsOf { stream, versioned } = node.op {
            let released = time::in_time_order(n, &mut self.held[number], of(stream), watermark);
            let is_left = matches!(node.op, Op::LeftJoinAsOf { .. });
            return Some(versions::join((n, is_left), &self.held[versioned].versions, released));
        }
        let held = &mut self.held[number];
        Some(match node.op {
            Op::Finals { stream, .. } => windows::finals(&node, held, of(stream), watermark),
            Op::CogroupFinals { left, right } => {
                windows::finals(&node, held, &cogrouped(n, of(left), of(right)), watermark)
            }
            Op::InTimeOrder { stream } => time::in_time_order(n, held, of(stream), watermark),
            Op::DistinctWithin { stream } => time::distinct_within(n, held, of(stream), watermark),
            Op::JoinWithin { left, right, .. } => within::join(&node, held, [of(left), of(right)], watermark),
            Op::Alarms { stream } => {
                let (_, emitted) = alarms::process(n, &mut held.alarms, &valued(of(stream)), watermark);
                emitted.into_iter().map(|(key, value, stamp)| Event { key, value, stamp }).collect()
            }
            _ => return None,
        })
    }

    fn table_in_time(
        &mut self,
        number: usize,
        node: Node,
        outs: &[Out],
        input: &[(usize, K, Option<V>, Stamp)],
        watermark: Watermark,
    ) -> Option<Changed> {
        let n = node.n;
        let (before, held, by_step) = (&self.rows[number], &mut self.held[number], self.by_step[number]);
        let upserts = |table: usize| told(changed(outs, table).steps(true));
        let size_ms = graph_in_time::size_ms(n);
        let updates = match node.op {
            Op::Windows { windows, stream } => {
                let all = windows::table(&node, held, events(outs, stream), watermark);
                return Some(if windows == Windowing::Session {
                    by_other_groups((n, by_step), before, &all.keyed(SessionKey::from), Windowed::from)
                } else {
                    by_other_groups((n, by_step), before, &all, |windowed| windowed)
                });
            }
            Op::Cogroup { left, right } => {
                let both = cogrouped(n, events(outs, left), events(outs, right));
                return Some(folded(before, &both, |acc, v| graph::chained(acc.unwrap_or(0), v)));
            }
            Op::Versioned { topic } => versions::update(n, held, of_topic(input, topic)),
            Op::ExpireUpserts { topic } => {
                let upserts: Vec<_> = of_topic(input, topic).collect();
                alarms::expire_after(size_ms, &mut held.alarms, &upserts, watermark)
            }
            Op::ExpireAfter { table } => {
                alarms::expire_after(size_ms, &mut held.alarms, &upserts(table), watermark)
            }
            Op::ExpireAt { table } => alarms::expire_at(n, &mut held.alarms, &upserts(table), watermark),
            Op::WhileValid { table } => {
                sorted(alarms::while_valid(n, &mut held.alarms, &upserts(table), watermark))
            }
            Op::Settled { table } => {
                sorted(alarms::settled(size_ms, &mut held.alarms, &upserts(table), watermark))
            }
            Op::AlarmsState { stream } => {
                alarms::process(n, &mut held.alarms, &valued(events(outs, stream)), watermark).0
            }
            _ => return None,
        };
        Some(upserted(before, updates.into_iter()))
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each operator")]
    fn table(
        &mut self,
        number: usize,
        node: Node,
        outs: &[Out],
        input: &[(usize, K, Option<V>, Stamp)],
        watermark: Watermark,
    ) -> Changed {
        if let Some(changed) = self.table_in_time(number, node, outs, input, watermark) {
            return changed;
        }
        let before = &self.rows[number];
        let n = node.n;
        let by_group = |k, v| graph::regrouped(n, k, v);
        let by_step = self.by_step[number] || graph::may_fail(&node);
        let steps = |table| changed(outs, table).steps(by_step);
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
            Op::Least { stream } => {
                folded(before, events(outs, stream), |acc, v| acc.map_or(v, |acc| acc.min(v)))
            }
            Op::Distinct { stream } => distinct(n, before, events(outs, stream), &mut self.seen[number]),
            Op::Chain { stream } => {
                folded(before, events(outs, stream), |acc, v| graph::chained(acc.unwrap_or(0), v))
            }
            Op::ProcessState { stream } => processed(n, before, events(outs, stream)).0,
            Op::TableFilter { table } => mapped(changed(outs, table), |_, v| graph::keeps(n, v).then_some(v)),
            Op::TableMap { table } => mapped(changed(outs, table), |k, v| Some(graph::mapped_value(n, k, v))),
            Op::Regroup { table } => {
                regrouped(by_group, before, changed(outs, table), steps(table), |members| {
                    members.iter().fold(0, |sum: V, v| sum.wrapping_add(graph::weighed(n, *v)))
                })
            }
            Op::RegroupCount { table } => {
                regrouped(by_group, before, changed(outs, table), steps(table), |members| members.len() as V)
            }
            Op::RegroupMax { table } => {
                regrouped(by_group, before, changed(outs, table), steps(table), |members| {
                    graph::greatest(members.len() as u64, *members.iter().max().unwrap())
                })
            }
            Op::RegroupLeast { table } | Op::RegroupTop { table } | Op::RegroupDistinct { table } => {
                extremes(node, before, changed(outs, table), steps(table))
            }
            Op::TableReKey { table } => {
                re_keyed(|k, v| graph::re_keyed(n, k, v), before, changed(outs, table), steps(table))
            }
            Op::Join { left, right } => joined(changed(outs, left), changed(outs, right), |l, r| {
                Some(graph::joined(Some(l?), Some(r?)))
            }),
            Op::LeftJoin { left, right } => {
                joined(changed(outs, left), changed(outs, right), |l, r| Some(graph::joined(Some(l?), r)))
            }
            Op::OuterJoin { left, right } => joined(changed(outs, left), changed(outs, right), |l, r| {
                (l.is_some() || r.is_some()).then(|| graph::joined(l, r))
            }),
            Op::Foreign { left, right } | Op::ForeignLeft { left, right } => {
                let is_inner = matches!(node.op, Op::Foreign { .. });
                let join = |row: V, partner: Option<V>| {
                    (!is_inner || partner.is_some()).then(|| graph::joined(Some(row), partner))
                };
                foreign(n, before, [changed(outs, left), changed(outs, right)], by_step, is_inner, join)
            }
            op => panic!("{op:?} makes no table"),
        }
    }
}

/// The records of two streams, as the values that are folded together.
fn cogrouped(n: u8, left: &[Event], right: &[Event]) -> Vec<Event> {
    let left = left.iter().map(|e| Event { stamp: e.stamp.side(false), ..*e });
    let value = |e: &Event| graph_in_time::of_second(n, e.value);
    let right = right.iter().map(|e| Event { stamp: e.stamp.side(true), value: value(e), ..*e });
    let mut both: Vec<Event> = left.chain(right).collect();
    both.sort_by_key(|event| event.stamp);
    both
}

/// Windows in a table by groups of another kind.
fn by_other_groups<Q: Ord + Copy + KeyCodec + Debug>(
    (n, by_step): (u8, bool),
    before: &Rows,
    all: &Changed<Q>,
    window: impl Fn(Q) -> Windowed<K> + Copy,
) -> Changed {
    let group = |key: Q, v: V| windows::by_group(n)(window(key), v);
    match n % 3 {
        0 => regrouped(group, before, all, all.steps(by_step), |members| {
            members.iter().fold(0, |sum: V, v| sum.wrapping_add(*v))
        }),
        1 => {
            let some = mapped(all, |key, v| graph_in_time::window_value(n, &window(key), v));
            regrouped(group, before, &some, some.steps(by_step), |members| *members.iter().min().unwrap())
        }
        _ => re_keyed(|key, _| graph_in_time::window_key(n, &window(key)), before, all, all.steps(by_step)),
    }
}

/// The updates of a table as they are told to a stream.
fn told(steps: Vec<Step>) -> Vec<(K, Option<V>, Stamp)> {
    // A row that a filter has never let through is not there to be deleted.
    let told = steps.into_iter().filter(|step| step.old.is_some() || step.new.is_some());
    sorted(told.map(|Step { key, new, stamp, .. }| (key, new, stamp)).collect())
}

fn sorted(mut updates: Vec<(K, Option<V>, Stamp)>) -> Vec<(K, Option<V>, Stamp)> {
    updates.sort_by_key(|(.., stamp)| *stamp);
    updates
}

fn valued(events: &[Event]) -> Vec<(K, Option<V>, Stamp)> {
    events.iter().map(|event| (event.key, Some(event.value), event.stamp)).collect()
}

/// Counts the values that were not `seen` before.
fn distinct(n: u8, before: &Rows, events: &[Event], seen: &mut BTreeSet<(K, V)>) -> Changed {
    let mut counts = before.clone();
    let mut updates = Vec::new();
    for event in events {
        if seen.insert((event.key, graph::coarse(n, event.value))) {
            let count = counts.entry(event.key).or_default();
            *count += 1;
            updates.push((event.key, Some(*count), event.stamp));
        }
    }
    upserted(before, updates.into_iter())
}

/// What the members of each group come to, if there are any.
fn extremes(node: Node, before: &Rows, table: &Changed, steps: Vec<Step>) -> Changed {
    let n = node.n;
    if let Op::RegroupDistinct { .. } = node.op {
        return counted(n, before, table, steps, |members| {
            let different: BTreeSet<V> = members.iter().map(|v| graph::coarse(n, *v)).collect();
            (!different.is_empty()).then_some(different.len() as V)
        });
    }
    let (rows, updates) = grouped(
        |k, v| graph::regrouped(n, k, v),
        table,
        steps,
        |members| {
            if let Op::RegroupLeast { .. } = node.op {
                return members.iter().min().copied();
            }
            let mut top = members.to_vec();
            top.sort_unstable_by(|a, b| b.cmp(a));
            top.truncate(graph::most(n));
            (!top.is_empty()).then(|| graph::of_top(top))
        },
    );
    Changed::new(before, rows, updates)
}

/// The nodes from which something derives that depends on every step of their rows: a join of a stream, or a state that is
/// kept of a stream.
fn followed(nodes: &[Node]) -> Vec<bool> {
    let mut followed = vec![false; nodes.len()];
    for (number, node) in nodes.iter().enumerate().rev() {
        if follows(node.op) || graph::may_fail(node) || followed[number] {
            for operand in graph::operands(node.op) {
                followed[operand] = true;
            }
        }
    }
    followed
}

/// The input in the order of the log.
fn stamped(input: &[Arrival]) -> Vec<(usize, K, Option<V>, Stamp)> {
    let mut stamped: Vec<_> = input
        .iter()
        .map(|arrival| {
            let stamp =
                Stamp::new(arrival.timestamp_ms, arrival.place).at_stream_time(arrival.stream_time_ms);
            (arrival.topic, arrival.key, arrival.value, stamp)
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

#[expect(clippy::too_many_lines, reason = "one arm for each operator")]
fn stream(node: Node, by_step: bool, outs: &[Out], input: &[(usize, K, Option<V>, Stamp)]) -> Vec<Event> {
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
        Op::Late { windows, stream } => {
            each(stream, &|e| Vec::from_iter(windows::is_late(windows, n, &e).then_some(e)))
        }
        Op::JoinLate { left, right } => {
            let is_right = !n.is_multiple_of(2);
            let late = |e| Vec::from_iter(within::is_late(n, is_right, &e).then_some(e));
            each(if is_right { right } else { left }, &late)
        }
        Op::OrderLate { stream } => {
            each(stream, &|e| Vec::from_iter(time::is_late_for_order(n, &e).then_some(e)))
        }
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
        Op::FilterMap { stream } => each(stream, &|e| {
            let kept = graph::keeps(n, e.value);
            kept.then(|| Event { key: graph::re_keyed(n, e.key, e.value), ..e }).into_iter().collect()
        }),
        Op::FlatMapValues { stream } => each(stream, &|e| {
            let pieces = graph::pieces(n, e.value).into_iter().enumerate();
            pieces.map(|(i, value)| Event { value, stamp: e.stamp.branch(i), ..e }).collect()
        }),
        Op::Timed { stream } => {
            each(stream, &|e| vec![Event { value: e.value.wrapping_add(e.timestamp_ms()), ..e }])
        }
        // The first and the third way are merged again, or the second one goes on.
        Op::Split { stream } => {
            each(stream, &|e| match (graph::way(n, e.key, e.value), n.is_multiple_of(2)) {
                (1, true) => vec![e],
                (0, false) => vec![Event { stamp: e.stamp.side(false), ..e }],
                (2, false) => vec![Event { stamp: e.stamp.side(true), ..e }],
                _ => vec![],
            })
        }
        Op::MergeAll { left, right } => {
            let ways = [left, right, left].into_iter().enumerate();
            ways.flat_map(|(way, node)| {
                events(outs, node).iter().map(move |e| Event { stamp: e.stamp.way(way, 3), ..*e })
            })
            .collect()
        }
        Op::StreamJoin { stream, table } => each(stream, &|e| {
            let row = changed(outs, table).at(e.key, e.stamp);
            row.map(|row| Event { value: graph::joined(Some(e.value), Some(row)), ..e }).into_iter().collect()
        }),
        Op::StreamLeftJoin { stream, table } => each(stream, &|e| {
            let row = changed(outs, table).at(e.key, e.stamp);
            vec![Event { value: graph::joined(Some(e.value), row), ..e }]
        }),
        Op::JoinBy { stream, table } => each(stream, &|e| {
            let row = graph::named(n, e.key, e.value).and_then(|name| changed(outs, table).at(name, e.stamp));
            row.map(|row| Event { value: graph::joined(Some(e.value), Some(row)), ..e }).into_iter().collect()
        }),
        Op::LeftJoinBy { stream, table } => each(stream, &|e| {
            let row = graph::named(n, e.key, e.value).and_then(|name| changed(outs, table).at(name, e.stamp));
            vec![Event { value: graph::joined(Some(e.value), row), ..e }]
        }),
        Op::ToStream { table } => {
            let told = told(changed(outs, table).steps(by_step)).into_iter();
            told.map(|(key, new, stamp)| Event { key, value: new.unwrap_or(DELETED), stamp }).collect()
        }
        op => panic!("{op:?} makes no stream"),
    }
}
