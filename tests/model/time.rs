//! What the operators of time mean: windows, order in time, and what counts once within a time.
//!
//! A record is late by how far its own partition had come, which its stamp says; what closes in an epoch does by the watermarks
//! of the node before the epoch and behind it, after all records. Bounds are compared as 128 bits, in which nothing overflows.

use super::grammar::{Node, Op};
use super::graph;
use super::interpreter::Event;
use super::{K, V};
use millpond::Windowed;
use millpond::codec::KeyCodec;
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
    waiting: Vec<Event>,
    /// Of the keys that count once, until when.
    until: BTreeMap<K, i64>,
}

/// The watermarks of a node before an epoch and behind it.
#[derive(Debug, Clone, Copy)]
pub struct Watermark {
    pub before: i64,
    pub after: i64,
}

/// How much the outputs of a node are behind it in time.
pub fn delay_ms(node: &Node) -> i64 {
    match node.op {
        Op::Windows { .. } | Op::InTimeOrder { .. } => graph::grace_ms(node.n),
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
            Op::Stream { topic } | Op::Table { topic } | Op::TableByTime { topic } => of_topic(topic),
            // A table does not hold up the stream that looks into it.
            Op::StreamJoin { stream, .. } | Op::StreamLeftJoin { stream, .. } => Some(behind(stream)),
            op => graph::operands(op).into_iter().map(behind).min(),
        };
        watermarks.push(watermark.unwrap_or(NEVER));
    }
    watermarks
}

/// Whether what closes so long `behind` a moment is over.
fn is_over(moment_ms: i64, behind_ms: i64, at_ms: i64) -> bool {
    i128::from(moment_ms) + i128::from(behind_ms) <= i128::from(at_ms)
}

fn window_of(n: u8, timestamp_ms: i64) -> (i64, i64) {
    let size = graph::size_ms(n);
    let start = timestamp_ms.div_euclid(size) * size;
    (start, start + size)
}

/// Whether a record counts to no window any more.
pub fn is_late_for_windows(n: u8, event: &Event) -> bool {
    let (_, end) = window_of(n, event.timestamp_ms());
    is_over(end, graph::grace_ms(n), event.stamp.stream_time_ms)
}

/// Whether a record is too late to be put in order.
pub fn is_late_for_order(n: u8, event: &Event) -> bool {
    is_over(event.timestamp_ms(), graph::grace_ms(n) + 1, event.stamp.stream_time_ms)
}

/// Folds an epoch into windows. Returns the finals.
pub fn windows(n: u8, held: &mut Held, events: &[Event], watermark: Watermark) -> Vec<Event> {
    for event in events.iter().filter(|event| !is_late_for_windows(n, event)) {
        let (start, end) = window_of(n, event.timestamp_ms());
        let acc = held.windows.entry(Windowed::new(start, end, event.key)).or_default();
        *acc = graph::chained(*acc, event.value);
    }
    let grace = graph::grace_ms(n);
    let closes = |end| !is_over(end, grace, watermark.before) && is_over(end, grace, watermark.after);
    let told = held.windows.iter().filter(|(windowed, _)| closes(windowed.end_ms));
    let finals = told.map(|(windowed, value)| {
        let mut encoded = Vec::new();
        windowed.key.encode_key(&mut encoded);
        let stamp = Stamp::of_closing(windowed.end_ms + grace, &encoded, windowed.end_ms - 1);
        Event { key: windowed.key, value: graph::final_value(windowed, *value), stamp }
    });
    finals.collect()
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
