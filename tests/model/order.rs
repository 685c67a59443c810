//! What of a node is the same however epochs are cut.
//!
//! What closes stands behind all records of its epoch. So where closings and records, or the closings of two nodes, come together
//! their order is that of the epochs, and only what does not mind the order is the same for every cut.

use super::grammar::{Op, Unmatched, Windowing};
use super::graph_in_time as graph;

/// How much of what a node puts out is a function of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All of it, in the order of the log.
    Log,
    /// All of it, in the order of the closings of one node.
    Closings(usize),
    /// Of each key, all of it in its order.
    Keys,
    /// What there is in all, with its times, but not in which order.
    Any,
    /// Of a table, which rows there are, but not what they were in between.
    Rows,
    /// Nothing.
    Cuts,
}

/// That of the node with this `number`, whose operands have `orders`.
#[expect(clippy::too_many_lines, reason = "one arm for each operator")]
pub fn of(op: Op, n: u8, number: usize, orders: &[Order]) -> Order {
    use Order::{Any, Closings, Cuts, Keys, Log, Rows};
    let first = orders.first().copied().unwrap_or(Log);
    let is_total = |order: Order| matches!(order, Log | Closings(_));
    let is_one = orders.iter().all(|order| *order == first);
    match op {
        Op::Stream { .. } | Op::Table { .. } | Op::TableByTime { .. } | Op::Versioned { .. } => Log,
        Op::ExpireUpserts { .. } => Keys,
        // Each record by itself, under its own key.
        Op::Filter { .. }
        | Op::MapValues { .. }
        | Op::FlatMapValues { .. }
        | Op::Timed { .. }
        | Op::Split { .. }
        | Op::To { .. }
        | Op::Late { .. }
        | Op::OrderLate { .. }
        | Op::JoinLate { .. }
        | Op::TableFilter { .. }
        | Op::TableMap { .. } => late_of(op, n, orders),
        Op::ToStream { .. } if first == Rows => Cuts,
        Op::ToStream { .. } => first,
        // Under other keys.
        Op::Map { .. } | Op::FlatMap { .. } | Op::ReKey { .. } | Op::FilterMap { .. } => match first {
            Keys => Any,
            other => other,
        },
        Op::Count { .. } | Op::Sum { .. } | Op::Reduce { .. } | Op::Least { .. } | Op::Distinct { .. } => {
            if first == Any {
                Rows
            } else {
                first
            }
        }
        Op::Chain { .. } | Op::ToTable { .. } | Op::ProcessState { .. } | Op::DistinctWithin { .. } => {
            if first == Any {
                Cuts
            } else {
                first
            }
        }
        Op::Process { .. } => match first {
            Keys => Any,
            Any => Cuts,
            other => other,
        },
        // A function of the rows.
        Op::Regroup { .. }
        | Op::RegroupCount { .. }
        | Op::RegroupMax { .. }
        | Op::RegroupLeast { .. }
        | Op::RegroupTop { .. }
        | Op::RegroupDistinct { .. }
        | Op::TableReKey { .. } => {
            if first == Keys {
                Rows
            } else {
                first
            }
        }
        Op::Join { .. }
        | Op::LeftJoin { .. }
        | Op::OuterJoin { .. }
        | Op::Foreign { .. }
        | Op::ForeignLeft { .. } => {
            if is_one && is_total(first) {
                first
            } else if orders.contains(&Cuts) {
                Cuts
            } else {
                Rows
            }
        }
        Op::Merge { .. } | Op::MergeAll { .. } => together(orders),
        Op::StreamJoin { .. }
        | Op::StreamLeftJoin { .. }
        | Op::JoinBy { .. }
        | Op::LeftJoinBy { .. }
        | Op::Cogroup { .. } => {
            if is_one && is_total(first) {
                first
            } else {
                Cuts
            }
        }
        Op::Finals { windows, .. } => {
            let minds_order = windows == Windowing::Tumbling && graph::is_chained(n);
            if first == Cuts || (first == Any && minds_order) { Cuts } else { Closings(number) }
        }
        Op::CogroupFinals { .. } => {
            if is_one && is_total(first) {
                Closings(number)
            } else {
                Cuts
            }
        }
        Op::Windows { windows, .. } => {
            let minds_order = windows == Windowing::Tumbling && graph::is_chained(n);
            match first {
                Log | Closings(_) => first,
                Keys => Rows,
                Any if !minds_order => Rows,
                _ => Cuts,
            }
        }
        // Of equal timestamps the first is that which was made first.
        Op::InTimeOrder { .. } | Op::JoinAsOf { .. } | Op::LeftJoinAsOf { .. } => match first {
            Log | Closings(_) => Closings(number),
            Keys | Any => Any,
            other => other,
        },
        Op::JoinWithin { unmatched, .. } => match together(orders) {
            order if is_total(order) && unmatched == Unmatched::Neither => order,
            Cuts => Cuts,
            _ => Any,
        },
        Op::ExpireAfter { .. }
        | Op::ExpireAt { .. }
        | Op::WhileValid { .. }
        | Op::Settled { .. }
        | Op::AlarmsState { .. } => {
            if is_total(first) || first == Keys {
                Keys
            } else {
                Cuts
            }
        }
        Op::Alarms { .. } => {
            if is_total(first) || first == Keys {
                Any
            } else {
                Cuts
            }
        }
    }
}

/// Two streams in one.
fn together(orders: &[Order]) -> Order {
    let first = orders[0];
    if orders.contains(&Order::Cuts) {
        Order::Cuts
    } else if orders.iter().all(|order| *order == first) && first != Order::Keys {
        first
    } else {
        Order::Any
    }
}

fn late_of(op: Op, n: u8, orders: &[Order]) -> Order {
    match op {
        Op::JoinLate { .. } => orders[usize::from(n % 2)],
        _ => orders[0],
    }
}
