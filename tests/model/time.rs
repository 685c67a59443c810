//! What the operators of time mean: how far nodes come, what is held until its time, order in time, and what counts once within a time.
//!
//! A record is late by how far its own partition had come, which its stamp says; what closes in an epoch does by the watermarks
//! of the node before the epoch and behind it, after all records. Bounds are compared as 128 bits, in which nothing overflows.

use super::alarms::Alarms;
use super::grammar::{Node, Op, Unmatched, Windowing};
use super::graph_in_time as graph;
use super::interpreter::Event;
use super::versions::Update;
use super::within::Waiting;
use super::{K, V};
use millpond::Windowed;
use millpond::dataflow::Stamp;
use std::collections::BTreeMap;

/// No time yet.
pub const NEVER: i64 = i64::MIN;

/// What a partition has come to in time.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    pub topic: usize,
    pub partition: u32,
    pub time_ms: i64,
}

/// Windows and what is in them.
pub type Windows = BTreeMap<Windowed<K>, V>;

/// What a node holds until its time.
#[derive(Debug, Clone, Default)]
pub struct Held {
    pub windows: Windows,
    /// Every record that has ever counted to a window.
    pub(super) counted: Vec<Event>,
    waiting: Vec<Event>,
    /// Of the keys that count once, until when.
    until: BTreeMap<K, i64>,
    pub(super) alarms: Alarms,
    /// Every record of either side of a join.
    pub(super) met: Vec<Waiting>,
    /// Every update that has ever counted.
    pub versions: Vec<Update>,
}

/// The watermarks of a node before an epoch and behind it.
#[derive(Debug, Clone, Copy)]
pub struct Watermark {
    pub before: i64,
    pub after: i64,
}

impl Watermark {
    /// Whether what closes so long `behind` a moment does in this epoch.
    pub fn closes(self, moment_ms: i64, behind_ms: i64) -> bool {
        !is_over(moment_ms, behind_ms, self.before) && is_over(moment_ms, behind_ms, self.after)
    }
}

/// How much the outputs of a node are behind it in time.
pub fn delay_ms(node: &Node) -> i64 {
    let grace = graph::grace_ms(node.n);
    let (before, after) = graph::reach_ms(node.n);
    match node.op {
        Op::Finals { windows: Windowing::Session, .. } => graph::size_ms(node.n) + grace,
        Op::Finals { .. }
        | Op::CogroupFinals { .. }
        | Op::InTimeOrder { .. }
        | Op::JoinAsOf { .. }
        | Op::LeftJoinAsOf { .. } => grace,
        Op::JoinWithin { unmatched: Unmatched::Left, .. } => after + grace,
        Op::JoinWithin { unmatched: Unmatched::Both, .. } => before.max(after) + grace,
        _ => 0,
    }
}

/// How far each node has come, by the partitions of all topics.
pub fn watermarks(nodes: &[Node], reached: &BTreeMap<(usize, u32), i64>) -> Vec<i64> {
    let mut watermarks: Vec<i64> = Vec::new();
    for node in nodes {
        let behind = |operand: usize| watermarks[operand].saturating_sub(delay_ms(&nodes[operand]));
        let of_topic = |topic| reached.range((topic, 0)..(topic + 1, 0)).map(|(_, at)| *at).min();
        let watermark = match node.op {
            Op::Stream { topic }
            | Op::Table { topic }
            | Op::TableByTime { topic }
            | Op::Versioned { topic }
            | Op::ExpireUpserts { topic } => of_topic(topic),
            // A table does not hold up the stream that looks into it.
            Op::StreamJoin { stream, .. }
            | Op::StreamLeftJoin { stream, .. }
            | Op::JoinBy { stream, .. }
            | Op::LeftJoinBy { stream, .. } => Some(behind(stream)),
            // What is late on a side waits for nobody.
            Op::JoinLate { left, right } => Some(behind(if node.n.is_multiple_of(2) { left } else { right })),
            op => super::graph::operands(op).into_iter().map(behind).min(),
        };
        watermarks.push(watermark.unwrap_or(NEVER));
    }
    watermarks
}

/// Whether what closes so long `behind` a moment is over.
pub fn is_over(moment_ms: i64, behind_ms: i64, at_ms: i64) -> bool {
    i128::from(moment_ms) + i128::from(behind_ms) <= i128::from(at_ms)
}

/// Whether a record is too late to be put in order.
pub fn is_late_for_order(n: u8, event: &Event) -> bool {
    is_over(event.timestamp_ms(), graph::grace_ms(n) + 1, event.stamp.stream_time_ms)
}

/// Lets go what is due.
pub fn in_time_order(n: u8, held: &mut Held, events: &[Event], watermark: Watermark) -> Vec<Event> {
    held.waiting.extend(events.iter().filter(|event| !is_late_for_order(n, event)));
    let grace = graph::grace_ms(n);
    let is_due = |event: &Event| is_over(event.timestamp_ms(), grace + 1, watermark.after);
    let (due, waiting) = held.waiting.iter().partition(|event| is_due(event));
    held.waiting = waiting;
    let due: Vec<Event> = due;
    let released = due.into_iter().map(|event| {
        let at = event.timestamp_ms();
        Event { stamp: Stamp::of_release(at + grace + 1, event.stamp.origin(), at), ..event }
    });
    released.collect()
}

/// Lets the first record of a key through, until time has come further than that.
pub fn distinct_within(n: u8, held: &mut Held, events: &[Event], watermark: Watermark) -> Vec<Event> {
    let mut first = Vec::new();
    for event in events {
        let now = event.stamp.stream_time_ms;
        if held.until.get(&event.key).is_none_or(|until| *until <= now) {
            held.until.insert(event.key, now + graph::size_ms(n));
            first.push(Event { stamp: event.stamp.behind_what_was_due().branch(0), ..*event });
        }
    }
    held.until.retain(|_, until| *until > watermark.after);
    first
}
