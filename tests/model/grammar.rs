//! Random graphs from a small grammar.
//!
//! A graph is drawn as a list of [`Draw`]s and resolved into [`Node`]s: an operand that a draw names by number is looked
//! up among the streams or tables before it, so that any draw can be left out and what remains is still a graph.

use super::graph::operands;
use super::order::{self, Order};
use proptest::prelude::*;
use proptest::sample::select;

/// A kind of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windowing {
    Tumbling,
    Hopping,
    Sliding,
    Session,
}

/// Which records that have met none a join of streams tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmatched {
    Neither,
    Left,
    Both,
}

/// An operator. Operands are numbers of nodes; `n` varies what its closure does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Stream {
        topic: usize,
    },
    Filter {
        stream: usize,
    },
    MapValues {
        stream: usize,
    },
    Map {
        stream: usize,
    },
    FlatMap {
        stream: usize,
    },
    ReKey {
        stream: usize,
    },
    Merge {
        left: usize,
        right: usize,
    },
    FilterMap {
        stream: usize,
    },
    FlatMapValues {
        stream: usize,
    },
    Timed {
        stream: usize,
    },
    /// One way of three.
    Split {
        stream: usize,
    },
    /// A stream comes on the first and on the third way.
    MergeAll {
        left: usize,
        right: usize,
    },
    /// What a process emits.
    Process {
        stream: usize,
    },
    /// What a process keeps.
    ProcessState {
        stream: usize,
    },
    StreamJoin {
        stream: usize,
        table: usize,
    },
    StreamLeftJoin {
        stream: usize,
        table: usize,
    },
    ToStream {
        table: usize,
    },
    To {
        stream: usize,
    },
    Table {
        topic: usize,
    },
    TableByTime {
        topic: usize,
    },
    Count {
        stream: usize,
    },
    Sum {
        stream: usize,
    },
    Reduce {
        stream: usize,
    },
    /// The least value of a group.
    Least {
        stream: usize,
    },
    /// How many different values a group has.
    Distinct {
        stream: usize,
    },
    /// A fold that minds the order of its records.
    Chain {
        stream: usize,
    },
    ToTable {
        stream: usize,
    },
    TableFilter {
        table: usize,
    },
    TableMap {
        table: usize,
    },
    Regroup {
        table: usize,
    },
    RegroupCount {
        table: usize,
    },
    /// The greatest value of a group, which must survive being taken back.
    RegroupMax {
        table: usize,
    },
    /// The extremes of a group with a row for each value, and how many different values there are.
    RegroupLeast {
        table: usize,
    },
    RegroupTop {
        table: usize,
    },
    RegroupDistinct {
        table: usize,
    },
    TableReKey {
        table: usize,
    },
    Join {
        left: usize,
        right: usize,
    },
    LeftJoin {
        left: usize,
        right: usize,
    },
    OuterJoin {
        left: usize,
        right: usize,
    },
    Foreign {
        left: usize,
        right: usize,
    },
    ForeignLeft {
        left: usize,
        right: usize,
    },
    /// The finals of windows.
    Finals {
        windows: Windowing,
        stream: usize,
    },
    /// What counts to no window.
    Late {
        windows: Windowing,
        stream: usize,
    },
    /// The table of all windows, by other groups.
    Windows {
        windows: Windowing,
        stream: usize,
    },
    /// Two streams into one table.
    Cogroup {
        left: usize,
        right: usize,
    },
    /// The finals of windows of two streams.
    CogroupFinals {
        left: usize,
        right: usize,
    },
    JoinWithin {
        unmatched: Unmatched,
        left: usize,
        right: usize,
    },
    /// What comes too late to meet anything, on one side.
    JoinLate {
        left: usize,
        right: usize,
    },
    JoinBy {
        stream: usize,
        table: usize,
    },
    LeftJoinBy {
        stream: usize,
        table: usize,
    },
    Versioned {
        topic: usize,
    },
    JoinAsOf {
        stream: usize,
        versioned: usize,
    },
    LeftJoinAsOf {
        stream: usize,
        versioned: usize,
    },
    ExpireAfter {
        table: usize,
    },
    /// The updates of a topic until they expire.
    ExpireUpserts {
        topic: usize,
    },
    ExpireAt {
        table: usize,
    },
    WhileValid {
        table: usize,
    },
    Settled {
        table: usize,
    },
    /// What a process with alarms emits.
    Alarms {
        stream: usize,
    },
    /// What it keeps.
    AlarmsState {
        stream: usize,
    },
    InTimeOrder {
        stream: usize,
    },
    /// What comes too late to be put in order.
    OrderLate {
        stream: usize,
    },
    DistinctWithin {
        stream: usize,
    },
}

impl Op {
    /// The topic that is read.
    pub fn topic(self) -> Option<usize> {
        match self {
            Self::Stream { topic }
            | Self::Table { topic }
            | Self::TableByTime { topic }
            | Self::Versioned { topic }
            | Self::ExpireUpserts { topic } => Some(topic),
            _ => None,
        }
    }
}

/// What kind of thing a draw asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stream,
    Filter,
    MapValues,
    Map,
    FlatMap,
    ReKey,
    Merge,
    FilterMap,
    FlatMapValues,
    Timed,
    Split,
    MergeAll,
    Process,
    ProcessState,
    StreamJoin,
    StreamLeftJoin,
    ToStream,
    To,
    Table,
    TableByTime,
    Count,
    Sum,
    Reduce,
    Least,
    Distinct,
    Chain,
    ToTable,
    TableFilter,
    TableMap,
    Regroup,
    RegroupCount,
    RegroupMax,
    RegroupLeast,
    RegroupTop,
    RegroupDistinct,
    TableReKey,
    Join,
    LeftJoin,
    OuterJoin,
    Foreign,
    ForeignLeft,
    Finals(Windowing),
    Late(Windowing),
    Windows(Windowing),
    Cogroup,
    CogroupFinals,
    JoinWithin(Unmatched),
    JoinLate,
    JoinBy,
    LeftJoinBy,
    Versioned,
    JoinAsOf,
    LeftJoinAsOf,
    ExpireAfter,
    ExpireUpserts,
    ExpireAt,
    WhileValid,
    Settled,
    Alarms,
    AlarmsState,
    InTimeOrder,
    OrderLate,
    DistinctWithin,
}

/// Those that look at time.
const TIME: &[Kind] = &[
    Kind::Finals(Windowing::Tumbling),
    Kind::Finals(Windowing::Hopping),
    Kind::Finals(Windowing::Sliding),
    Kind::Finals(Windowing::Session),
    Kind::Late(Windowing::Tumbling),
    Kind::Late(Windowing::Hopping),
    Kind::Late(Windowing::Sliding),
    Kind::Late(Windowing::Session),
    Kind::Windows(Windowing::Tumbling),
    Kind::Windows(Windowing::Hopping),
    Kind::Windows(Windowing::Session),
    Kind::Cogroup,
    Kind::CogroupFinals,
    Kind::JoinWithin(Unmatched::Neither),
    Kind::JoinWithin(Unmatched::Left),
    Kind::JoinWithin(Unmatched::Both),
    Kind::JoinLate,
    Kind::JoinBy,
    Kind::LeftJoinBy,
    Kind::Versioned,
    Kind::JoinAsOf,
    Kind::LeftJoinAsOf,
    Kind::ExpireAfter,
    Kind::ExpireUpserts,
    Kind::ExpireAt,
    Kind::WhileValid,
    Kind::Settled,
    Kind::Alarms,
    Kind::AlarmsState,
    Kind::InTimeOrder,
    Kind::OrderLate,
    Kind::DistinctWithin,
];

const KINDS: &[Kind] = &[
    Kind::Table,
    Kind::Stream,
    Kind::Count,
    Kind::Sum,
    Kind::Filter,
    Kind::MapValues,
    Kind::Map,
    Kind::FlatMap,
    Kind::ReKey,
    Kind::Merge,
    Kind::TableFilter,
    Kind::TableMap,
    Kind::Regroup,
    Kind::RegroupCount,
    Kind::RegroupMax,
    Kind::RegroupLeast,
    Kind::RegroupTop,
    Kind::RegroupDistinct,
    Kind::TableReKey,
    Kind::Join,
    Kind::LeftJoin,
    Kind::OuterJoin,
    Kind::Foreign,
    Kind::ForeignLeft,
    Kind::TableByTime,
    Kind::Reduce,
    Kind::Least,
    Kind::Distinct,
    Kind::ToTable,
    Kind::Chain,
    Kind::StreamJoin,
    Kind::StreamLeftJoin,
    Kind::ToStream,
    Kind::To,
    Kind::FilterMap,
    Kind::FlatMapValues,
    Kind::Timed,
    Kind::Split,
    Kind::MergeAll,
    Kind::Process,
    Kind::ProcessState,
];

/// One operator as drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    kind: Kind,
    a: usize,
    b: usize,
    n: u8,
    version: u32,
}

impl Draw {
    /// The same operator with another closure, and the version of its table raised.
    pub fn raised(self) -> Self {
        Self { n: self.n.wrapping_add(1), version: self.version + 1, ..self }
    }
}

/// One operator of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each says one thing of the node")]
pub struct Node {
    /// The number of the draw it comes from, which names its table.
    pub id: usize,
    pub op: Op,
    pub n: u8,
    pub version: u32,
    pub is_table: bool,
    /// Whether its content depends on its input only, not on where epochs were cut.
    pub is_pure: bool,
    /// Whether it is a stream of the changes of a table, which are as many as epochs make of them if nothing but topics
    /// get to see them.
    is_cut: bool,
    /// What of it is the same however epochs are cut.
    pub order: Order,
}

/// What becomes of the partitions of a topic that are silent, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silent {
    Waits,
    Follows { after: u64 },
    Clock { after: u64, behind: u64 },
}

/// A graph and the partitions of the topics it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub partitions: Vec<u32>,
    pub silent: Vec<Silent>,
    pub draws: Vec<Draw>,
}

pub const TOPICS: usize = 3;

impl Spec {
    /// The numbers of the draws whose tables can be given another fold without changing any other node.
    pub fn raisable(&self) -> Vec<usize> {
        let is_fold = |node: &&Node| {
            matches!(
                node.op,
                Op::Table { .. }
                    | Op::TableByTime { .. }
                    | Op::Count { .. }
                    | Op::Sum { .. }
                    | Op::Reduce { .. }
                    | Op::ProcessState { .. }
                    | Op::Regroup { .. }
                    | Op::RegroupCount { .. }
                    | Op::RegroupMax { .. }
                    | Op::RegroupLeast { .. }
                    | Op::RegroupTop { .. }
                    | Op::RegroupDistinct { .. }
                    | Op::TableReKey { .. }
                    | Op::Distinct { .. }
                    | Op::Foreign { .. }
                    | Op::ForeignLeft { .. }
                    | Op::Cogroup { .. }
                    | Op::ExpireAfter { .. }
                    | Op::ExpireUpserts { .. }
                    | Op::ExpireAt { .. }
                    | Op::WhileValid { .. }
                    | Op::Settled { .. }
                    | Op::AlarmsState { .. }
                    | Op::Finals {
                        windows: Windowing::Hopping | Windowing::Sliding | Windowing::Session,
                        ..
                    }
                    | Op::Windows { windows: Windowing::Hopping | Windowing::Session, .. }
                    | Op::InTimeOrder { .. }
                    | Op::DistinctWithin { .. }
                    | Op::JoinWithin { .. }
            )
        };
        self.nodes(true).iter().filter(is_fold).map(|node| node.id).collect()
    }

    /// The operators. With `pure`, those whose result could depend on epochs are left out.
    pub fn nodes(&self, pure: bool) -> Vec<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        for (id, draw) in self.draws.iter().enumerate() {
            let Some((op, is_table, is_pure)) = resolve(draw, &nodes) else { continue };
            let is_cut = match op {
                Op::ToStream { .. } => true,
                op if follows(op) => false,
                op => !is_table && operands(op).into_iter().any(|operand| nodes[operand].is_cut),
            };
            let orders: Vec<Order> = operands(op).into_iter().map(|operand| nodes[operand].order).collect();
            let order = order::of(op, draw.n, nodes.len(), &orders);
            let is_pure = is_pure && order != Order::Cuts && !(is_cut && matches!(op, Op::To { .. }));
            if is_pure || !pure {
                let (n, version) = (draw.n, draw.version);
                nodes.push(Node { id, op, n, version, is_table, is_pure, is_cut, order });
            }
        }
        nodes
    }
}

/// Whether what the operator does depends on every step of what it reads: it joins a stream, or keeps a state of one.
pub fn follows(op: Op) -> bool {
    matches!(
        op,
        Op::StreamJoin { .. }
            | Op::StreamLeftJoin { .. }
            | Op::JoinBy { .. }
            | Op::LeftJoinBy { .. }
            | Op::JoinAsOf { .. }
            | Op::LeftJoinAsOf { .. }
            | Op::JoinWithin { .. }
            // What is late is told beside what is in time.
            | Op::JoinLate { .. }
            | Op::OrderLate { .. }
            | Op::InTimeOrder { .. }
            | Op::Count { .. }
            | Op::Sum { .. }
            | Op::Reduce { .. }
            | Op::Least { .. }
            | Op::Distinct { .. }
            | Op::Chain { .. }
            | Op::Cogroup { .. }
            | Op::CogroupFinals { .. }
            | Op::ToTable { .. }
            | Op::Process { .. }
            | Op::ProcessState { .. }
            | Op::Finals { .. }
            | Op::Windows { .. }
            | Op::DistinctWithin { .. }
            | Op::ExpireAfter { .. }
            | Op::ExpireAt { .. }
            | Op::WhileValid { .. }
            | Op::Settled { .. }
            | Op::Alarms { .. }
            | Op::AlarmsState { .. }
    )
}

/// The `wanted`th stream or table, counted from the last.
fn pick(nodes: &[Node], table: bool, wanted: usize) -> Option<(usize, bool)> {
    let is_one = |node: &Node| node.is_table == table && !matches!(node.op, Op::To { .. });
    pick_of(nodes, is_one, wanted)
}

fn pick_of(nodes: &[Node], is_one: impl Fn(&Node) -> bool, wanted: usize) -> Option<(usize, bool)> {
    let fits = |node: &&(usize, &Node)| is_one(node.1);
    let all: Vec<_> = nodes.iter().enumerate().filter(|node| fits(&node)).collect();
    let (index, node) = all.get(all.len().checked_sub(1 + wanted % all.len().max(1))?)?;
    Some((*index, node.is_pure))
}

#[expect(clippy::too_many_lines, reason = "one arm for each operator")]
fn resolve(draw: &Draw, nodes: &[Node]) -> Option<(Op, bool, bool)> {
    let topic = draw.a % TOPICS;
    let stream = |wanted| pick(nodes, false, wanted);
    let table = |wanted| pick(nodes, true, wanted);
    let one_stream = |make: fn(usize) -> Op, to_table| {
        let (stream, is_pure) = stream(draw.a)?;
        Some((make(stream), to_table, is_pure))
    };
    let one_table = |make: fn(usize) -> Op| {
        let (table, is_pure) = table(draw.a)?;
        Some((make(table), true, is_pure))
    };
    let two_tables = |make: fn(usize, usize) -> Op| {
        let ((left, left_pure), (right, right_pure)) = (table(draw.a)?, table(draw.b)?);
        Some((make(left, right), true, left_pure && right_pure))
    };
    let two_streams = |make: fn(usize, usize) -> Op, to_table| {
        let ((left, left_pure), (right, right_pure)) = (stream(draw.a)?, stream(draw.b)?);
        Some((make(left, right), to_table, left_pure && right_pure))
    };
    let looking_up = |make: fn(usize, usize) -> Op| {
        let ((stream, stream_pure), (table, table_pure)) = (stream(draw.a)?, table(draw.b)?);
        Some((make(stream, table), false, stream_pure && table_pure))
    };
    let as_of = |make: fn(usize, usize) -> Op| {
        let is_one = |node: &Node| matches!(node.op, Op::Versioned { .. });
        let ((stream, stream_pure), (versioned, table_pure)) =
            (stream(draw.a)?, pick_of(nodes, is_one, draw.b)?);
        Some((make(stream, versioned), false, stream_pure && table_pure))
    };
    match draw.kind {
        Kind::Stream => Some((Op::Stream { topic }, false, true)),
        Kind::Table => Some((Op::Table { topic }, true, true)),
        Kind::TableByTime => Some((Op::TableByTime { topic }, true, true)),
        Kind::Filter => one_stream(|stream| Op::Filter { stream }, false),
        Kind::MapValues => one_stream(|stream| Op::MapValues { stream }, false),
        Kind::Map => one_stream(|stream| Op::Map { stream }, false),
        Kind::FlatMap => one_stream(|stream| Op::FlatMap { stream }, false),
        Kind::ReKey => one_stream(|stream| Op::ReKey { stream }, false),
        Kind::FilterMap => one_stream(|stream| Op::FilterMap { stream }, false),
        Kind::FlatMapValues => one_stream(|stream| Op::FlatMapValues { stream }, false),
        Kind::Timed => one_stream(|stream| Op::Timed { stream }, false),
        Kind::Split => one_stream(|stream| Op::Split { stream }, false),
        Kind::Process => one_stream(|stream| Op::Process { stream }, false),
        Kind::ProcessState => one_stream(|stream| Op::ProcessState { stream }, true),
        Kind::To => one_stream(|stream| Op::To { stream }, false),
        Kind::Count => one_stream(|stream| Op::Count { stream }, true),
        Kind::Sum => one_stream(|stream| Op::Sum { stream }, true),
        Kind::Reduce => one_stream(|stream| Op::Reduce { stream }, true),
        Kind::Least => one_stream(|stream| Op::Least { stream }, true),
        Kind::Distinct => one_stream(|stream| Op::Distinct { stream }, true),
        Kind::Chain => one_stream(|stream| Op::Chain { stream }, true),
        Kind::ToTable => one_stream(|stream| Op::ToTable { stream }, true),
        Kind::Finals(windows) => {
            let (stream, is_pure) = stream(draw.a)?;
            Some((Op::Finals { windows, stream }, false, is_pure))
        }
        Kind::Late(windows) => {
            let (stream, is_pure) = stream(draw.a)?;
            Some((Op::Late { windows, stream }, false, is_pure))
        }
        Kind::Windows(windows) => {
            let (stream, is_pure) = stream(draw.a)?;
            Some((Op::Windows { windows, stream }, true, is_pure))
        }
        Kind::Cogroup => two_streams(|left, right| Op::Cogroup { left, right }, true),
        Kind::CogroupFinals => two_streams(|left, right| Op::CogroupFinals { left, right }, false),
        Kind::JoinLate => two_streams(|left, right| Op::JoinLate { left, right }, false),
        Kind::JoinWithin(unmatched) => {
            let ((left, left_pure), (right, right_pure)) = (stream(draw.a)?, stream(draw.b)?);
            Some((Op::JoinWithin { unmatched, left, right }, false, left_pure && right_pure))
        }
        Kind::JoinBy => looking_up(|stream, table| Op::JoinBy { stream, table }),
        Kind::LeftJoinBy => looking_up(|stream, table| Op::LeftJoinBy { stream, table }),
        Kind::Versioned => Some((Op::Versioned { topic }, true, true)),
        Kind::JoinAsOf => as_of(|stream, versioned| Op::JoinAsOf { stream, versioned }),
        Kind::LeftJoinAsOf => as_of(|stream, versioned| Op::LeftJoinAsOf { stream, versioned }),
        Kind::ExpireAfter => one_table(|table| Op::ExpireAfter { table }),
        Kind::ExpireUpserts => Some((Op::ExpireUpserts { topic }, true, true)),
        Kind::ExpireAt => one_table(|table| Op::ExpireAt { table }),
        Kind::WhileValid => one_table(|table| Op::WhileValid { table }),
        Kind::Settled => one_table(|table| Op::Settled { table }),
        Kind::Alarms => one_stream(|stream| Op::Alarms { stream }, false),
        Kind::AlarmsState => one_stream(|stream| Op::AlarmsState { stream }, true),
        Kind::InTimeOrder => one_stream(|stream| Op::InTimeOrder { stream }, false),
        Kind::OrderLate => one_stream(|stream| Op::OrderLate { stream }, false),
        Kind::DistinctWithin => one_stream(|stream| Op::DistinctWithin { stream }, false),
        Kind::Merge => two_streams(|left, right| Op::Merge { left, right }, false),
        Kind::MergeAll => two_streams(|left, right| Op::MergeAll { left, right }, false),
        Kind::StreamJoin => looking_up(|stream, table| Op::StreamJoin { stream, table }),
        Kind::StreamLeftJoin => looking_up(|stream, table| Op::StreamLeftJoin { stream, table }),
        Kind::ToStream => {
            let (table, is_pure) = table(draw.a)?;
            Some((Op::ToStream { table }, false, is_pure))
        }
        Kind::TableFilter => one_table(|table| Op::TableFilter { table }),
        Kind::TableMap => one_table(|table| Op::TableMap { table }),
        Kind::Regroup => one_table(|table| Op::Regroup { table }),
        Kind::RegroupCount => one_table(|table| Op::RegroupCount { table }),
        Kind::RegroupMax => one_table(|table| Op::RegroupMax { table }),
        Kind::RegroupLeast => one_table(|table| Op::RegroupLeast { table }),
        Kind::RegroupTop => one_table(|table| Op::RegroupTop { table }),
        Kind::RegroupDistinct => one_table(|table| Op::RegroupDistinct { table }),
        Kind::TableReKey => one_table(|table| Op::TableReKey { table }),
        Kind::Join => two_tables(|left, right| Op::Join { left, right }),
        Kind::LeftJoin => two_tables(|left, right| Op::LeftJoin { left, right }),
        Kind::OuterJoin => two_tables(|left, right| Op::OuterJoin { left, right }),
        Kind::Foreign => two_tables(|left, right| Op::Foreign { left, right }),
        Kind::ForeignLeft => two_tables(|left, right| Op::ForeignLeft { left, right }),
    }
}

pub fn draw() -> impl Strategy<Value = Draw> {
    draw_of(select(KINDS).boxed())
}

fn draw_of(kind: BoxedStrategy<Kind>) -> impl Strategy<Value = Draw> {
    // Operands near the end make deep graphs, others make wide ones.
    let operand = || prop_oneof![2 => 0..2_usize, 1 => 0..8_usize];
    (kind, operand(), operand(), 0..6_u8).prop_map(|(kind, a, b, n)| Draw { kind, a, b, n, version: 1 })
}

/// Graphs of at most `most` operators over up to four partitions of each topic.
pub fn spec(most: usize) -> impl Strategy<Value = Spec> {
    spec_of(most, draw().boxed())
}

/// As [`spec`], with operators that look at time among the others.
pub fn spec_in_time(most: usize) -> impl Strategy<Value = Spec> {
    let silent = prop_oneof![
        3 => Just(Silent::Waits),
        2 => (0..2_000_u64).prop_map(|after| Silent::Follows { after }),
        1 => (0..2_000_u64, 0..8_000_u64).prop_map(|(after, behind)| Silent::Clock { after, behind }),
    ];
    let spec = spec_of(most, draw_in_time().boxed());
    (spec, proptest::collection::vec(silent, TOPICS)).prop_map(|(spec, silent)| Spec { silent, ..spec })
}

/// As [`draw`], with operators that look at time among the others.
pub fn draw_in_time() -> impl Strategy<Value = Draw> {
    let kind = prop_oneof![1 => select(TIME), 1 => select(KINDS)];
    draw_of(kind.boxed())
}

fn spec_of(most: usize, draw: BoxedStrategy<Draw>) -> impl Strategy<Value = Spec> {
    let first = |kind, a| Draw { kind, a, b: 0, n: 0, version: 1 };
    let partitions = proptest::collection::vec(1..=4_u32, TOPICS);
    (partitions, proptest::collection::vec(draw, 1..most)).prop_map(move |(partitions, mut draws)| {
        draws.splice(0..0, [first(Kind::Stream, 0), first(Kind::Table, 1)]);
        Spec { partitions, silent: vec![Silent::Waits; TOPICS], draws }
    })
}
