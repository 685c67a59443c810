//! What joins of two streams mean: every record of either side is kept, and looked at anew by each of the other side.

use super::grammar::{Node, Op, Unmatched};
use super::graph;
use super::graph_in_time::{grace_ms, reach_ms};
use super::interpreter::Event;
use super::time::{Held, Watermark, is_over};
use millpond::codec::KeyCodec;
use millpond::dataflow::Stamp;
use std::collections::BTreeMap;

/// A record of a join.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    event: Event,
    is_right: bool,
    is_matched: bool,
}

/// So long behind it a record is closed.
fn behind_ms(n: u8, is_right: bool) -> i64 {
    let (before, after) = reach_ms(n);
    (if is_right { before } else { after }) + grace_ms(n) + 1
}

/// Whether a record has come behind the close of another of the same side, or of its own.
fn is_behind(n: u8, is_right: bool, event: &Event, of: &Event) -> bool {
    is_over(of.timestamp_ms(), behind_ms(n, is_right), event.stamp.stream_time_ms)
}

/// Whether a record of a side is too late to meet anything.
pub fn is_late(n: u8, is_right: bool, event: &Event) -> bool {
    is_behind(n, is_right, event, event)
}

/// Has the records of an epoch meet, and tells of those that met none until their close.
pub fn join(node: &Node, held: &mut Held, [left, right]: [&[Event]; 2], watermark: Watermark) -> Vec<Event> {
    let n = node.n;
    let side = |events: &[Event], is_right: bool| {
        let of_side = events.iter().map(move |e| (Event { stamp: e.stamp.side(is_right), ..*e }, is_right));
        of_side.collect::<Vec<_>>()
    };
    let mut arrivals = [side(left, false), side(right, true)].concat();
    arrivals.sort_by_key(|(event, _)| event.stamp);
    let mut out = Vec::new();
    for (event, is_right) in arrivals {
        if is_late(n, is_right, &event) {
            continue;
        }
        let partners = meet(n, &held.met, &event, is_right);
        for (number, partner) in partners.iter().enumerate() {
            let other = &mut held.met[*partner];
            other.is_matched = true;
            let (mine, other) = (event.stamp, other.event);
            let mut stamp = mine.branch(number);
            stamp.timestamp_ms = mine.timestamp_ms.max(other.timestamp_ms());
            stamp.stream_time_ms = mine.stream_time_ms.max(other.stamp.stream_time_ms);
            let (l, r) = if is_right { (other, event) } else { (event, other) };
            out.push(Event { key: event.key, value: graph::joined(Some(l.value), Some(r.value)), stamp });
        }
        held.met.push(Waiting { event, is_right, is_matched: !partners.is_empty() });
    }
    out.extend(unmatched(node, &held.met, watermark));
    out
}

/// The records of the other side that `event` meets, in the order of their times.
fn meet(n: u8, waiting: &[Waiting], event: &Event, is_right: bool) -> Vec<usize> {
    let (before, after) = reach_ms(n);
    let (back, ahead) = if is_right { (after, before) } else { (before, after) };
    let at = event.timestamp_ms();
    let meets = |other: &Waiting| {
        other.is_right != is_right
            && other.event.key == event.key
            && (at - back..=at + ahead).contains(&other.event.timestamp_ms())
            && !is_behind(n, is_right, &other.event, event)
            && !is_behind(n, !is_right, event, &other.event)
    };
    let mut met: Vec<usize> = (0..waiting.len()).filter(|index| meets(&waiting[*index])).collect();
    met.sort_by_key(|index| (waiting[*index].event.timestamp_ms(), waiting[*index].event.stamp.origin()));
    met
}

fn unmatched(node: &Node, waiting: &[Waiting], watermark: Watermark) -> Vec<Event> {
    let n = node.n;
    let Op::JoinWithin { unmatched, .. } = node.op else { panic!("no join of streams") };
    let is_told = |waits: &&Waiting| {
        let tells = unmatched == Unmatched::Both || (unmatched == Unmatched::Left && !waits.is_right);
        tells
            && !waits.is_matched
            && watermark.closes(waits.event.timestamp_ms(), behind_ms(n, waits.is_right))
    };
    let mut told: Vec<_> = waiting.iter().filter(is_told).collect();
    let close_ms = |waits: &Waiting| waits.event.timestamp_ms() + behind_ms(n, waits.is_right);
    told.sort_by_key(|waits| (close_ms(waits), waits.event.key, waits.event.stamp.origin()));
    let mut numbers: BTreeMap<_, usize> = BTreeMap::new();
    let tell = |waits: &Waiting| {
        let Event { key, value, .. } = waits.event;
        let mut encoded = Vec::new();
        key.encode_key(&mut encoded);
        let number = numbers.entry((close_ms(waits), key)).or_default();
        let stamp = Stamp::of_closing(close_ms(waits), &encoded, waits.event.timestamp_ms()).branch(*number);
        *number += 1;
        let value =
            if waits.is_right { graph::joined(None, Some(value)) } else { graph::joined(Some(value), None) };
        Event { key, value, stamp }
    };
    told.into_iter().map(tell).collect()
}
