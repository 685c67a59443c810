//! What windows mean: all records that have ever counted are kept, and what is in a window is computed from them anew.

use super::changed::{Changed, Updated};
use super::grammar::{Node, Op, Windowing};
use super::graph_in_time as graph;
use super::interpreter::Event;
use super::time::{Held, Watermark, Windows, is_over};
use super::{K, V};
use millpond::Windowed;
use millpond::codec::KeyCodec;
use millpond::dataflow::Stamp;
use std::collections::BTreeSet;

/// The windows that have the moment of `event`, as far as its own partition had not come to their close: where each begins, and the
/// first moment behind it. Of sessions it is a moment of its own.
fn counting(windows: Windowing, n: u8, event: &Event) -> Vec<(i64, i64)> {
    let (at, grace, size) = (event.timestamp_ms(), graph::grace_ms(n), graph::size_ms(n));
    let every = |size: i64, hop: i64| {
        let last = at.div_euclid(hop) * hop;
        let starts = (0..).map(|back| last - back * hop).take_while(|start| start + size > at);
        starts.map(|start| (start, start + size)).collect::<Vec<_>>()
    };
    let mut all = match windows {
        Windowing::Tumbling => every(size, size),
        Windowing::Hopping => every(graph::hopping_ms(n).0, graph::hopping_ms(n).1),
        Windowing::Session => vec![(at, at + 1)],
        Windowing::Sliding => (at - size..=at).map(|start| (start, start + size + 1)).collect(),
    };
    all.retain(|(_, end)| !is_over(*end, grace, event.stamp.stream_time_ms));
    all.sort_unstable();
    all
}

/// Whether a record counts to no window any more.
pub fn is_late(windows: Windowing, n: u8, event: &Event) -> bool {
    counting(windows, n, event).is_empty()
}

/// How long behind its end a window is closed.
fn behind_ms(windows: Windowing, n: u8) -> i64 {
    let gap = if windows == Windowing::Session { graph::size_ms(n) } else { 0 };
    gap + graph::grace_ms(n)
}

/// What is in each window, of the records `counted`.
fn contents(windows: Windowing, n: u8, counted: &[Event]) -> Windows {
    match windows {
        Windowing::Tumbling | Windowing::Hopping => {
            let mut all = Windows::new();
            for event in counted {
                for (start, end) in counting(windows, n, event) {
                    let acc = all.entry(Windowed::new(start, end, event.key)).or_default();
                    *acc = graph::windowed(windows, n, *acc, event.value);
                }
            }
            all
        }
        Windowing::Session => sessions(n, counted),
        Windowing::Sliding => slides(n, counted),
    }
}

/// The runs without a step longer than the gap.
fn sessions(n: u8, counted: &[Event]) -> Windows {
    let keys: BTreeSet<K> = counted.iter().map(|event| event.key).collect();
    let mut all = Windows::new();
    for key in keys {
        let mut own: Vec<&Event> = counted.iter().filter(|event| event.key == key).collect();
        own.sort_by_key(|event| event.timestamp_ms());
        for run in own.chunk_by(|a, b| b.timestamp_ms() - a.timestamp_ms() <= graph::size_ms(n)) {
            let (first, last) = (run[0].timestamp_ms(), run[run.len() - 1].timestamp_ms());
            let value = run.iter().fold(0, |acc, e| graph::windowed(Windowing::Session, n, acc, e.value));
            all.insert(Windowed::new(first, last + 1, key), value);
        }
    }
    all
}

/// The windows that end with a record, and that begin behind one, and have something in them.
fn slides(n: u8, counted: &[Event]) -> Windows {
    let (difference, mut defined) = (graph::size_ms(n), BTreeSet::new());
    for event in counted {
        let at = event.timestamp_ms();
        let own = (at - difference, at + 1);
        if counting(Windowing::Sliding, n, event).contains(&own) {
            defined.insert((event.key, own.0));
        }
        defined.insert((event.key, at + 1));
    }
    let mut all = Windows::new();
    for (key, start) in defined {
        let window = (start, start + difference + 1);
        let is_in =
            |event: &&Event| event.key == key && counting(Windowing::Sliding, n, event).contains(&window);
        let within: Vec<&Event> = counted.iter().filter(is_in).collect();
        if !within.is_empty() {
            let value = within.iter().fold(0, |acc, e| graph::windowed(Windowing::Sliding, n, acc, e.value));
            all.insert(Windowed::new(window.0, window.1, key), value);
        }
    }
    all
}

fn closing(windowed: &Windowed<K>, close_ms: i64, timestamp_ms: i64) -> Stamp {
    let mut encoded = Vec::new();
    windowed.key.encode_key(&mut encoded);
    Stamp::of_closing(close_ms, &encoded, timestamp_ms)
}

/// What is folded of the records of an epoch, in the order of records.
fn folded(
    windows: Windowing,
    n: u8,
    held: &mut Held,
    events: &[Event],
    told: &mut impl FnMut(&Event, &Held),
) {
    for event in events.iter().filter(|event| !is_late(windows, n, event)) {
        held.counted.push(*event);
        told(event, held);
    }
}

/// Folds an epoch into windows. Returns the finals.
pub fn finals(node: &Node, held: &mut Held, events: &[Event], watermark: Watermark) -> Vec<Event> {
    let (n, windows) = (node.n, kind(node));
    folded(windows, n, held, events, &mut |_, _| {});
    let all = contents_of(node, windows, &held.counted);
    let behind = behind_ms(windows, n);
    let told = all.iter().filter(|(windowed, _)| watermark.closes(windowed.end_ms, behind));
    let finals = told.map(|(windowed, value)| {
        let stamp = closing(windowed, windowed.end_ms + behind, windowed.end_ms - 1);
        Event { key: windowed.key, value: graph::final_value(windowed, *value), stamp }
    });
    let finals = finals.collect();
    held.windows = all;
    if let (Op::Finals { windows: Windowing::Tumbling, .. }, Some(keep)) = (node.op, graph::keep_ms(n)) {
        held.windows.retain(|windowed, _| !is_over(windowed.end_ms, behind + keep, watermark.after));
    }
    finals
}

fn kind(node: &Node) -> Windowing {
    match node.op {
        Op::Finals { windows, .. } | Op::Windows { windows, .. } => windows,
        Op::CogroupFinals { .. } => Windowing::Tumbling,
        op => panic!("{op:?} has no windows"),
    }
}

fn contents_of(node: &Node, windows: Windowing, counted: &[Event]) -> Windows {
    if let Op::CogroupFinals { .. } = node.op {
        // Always in the order of records.
        let mut all = Windows::new();
        for event in counted {
            for (start, end) in counting(windows, node.n, event) {
                let acc = all.entry(Windowed::new(start, end, event.key)).or_default();
                *acc = super::graph::chained(*acc, event.value);
            }
        }
        return all;
    }
    contents(windows, node.n, counted)
}

/// What an epoch does to the table of all windows.
pub fn table(node: &Node, held: &mut Held, events: &[Event], watermark: Watermark) -> Changed<Windowed<K>> {
    let (n, windows) = (node.n, kind(node));
    let before = held.windows.clone();
    let (mut now, mut updates): (Windows, Vec<Updated<Windowed<K>>>) = (before.clone(), Vec::new());
    folded(windows, n, held, events, &mut |event, held| {
        let then = std::mem::replace(&mut now, contents(windows, n, &held.counted));
        if windows == Windowing::Session {
            let stamp = event.stamp.behind_what_was_due();
            let gone = then.keys().filter(|windowed| !now.contains_key(windowed));
            updates.extend(gone.map(|windowed| (*windowed, None, stamp)));
            let at = event.timestamp_ms();
            let whole = now.iter().find(|(w, _)| w.key == event.key && (w.start_ms..w.end_ms).contains(&at));
            updates.extend(whole.map(|(windowed, value)| (*windowed, Some(*value), stamp)));
        } else {
            for (number, (start, end)) in counting(windows, n, event).into_iter().enumerate() {
                let windowed = Windowed::new(start, end, event.key);
                let is_many = windows == Windowing::Hopping;
                let stamp = if is_many { event.stamp.branch(number) } else { event.stamp };
                updates.push((windowed, Some(now[&windowed]), stamp));
            }
        }
    });
    if windows == Windowing::Session {
        let behind = behind_ms(windows, n);
        for (windowed, value) in now.iter().filter(|(windowed, _)| watermark.closes(windowed.end_ms, behind))
        {
            let close_ms = windowed.end_ms + behind;
            updates.push((*windowed, Some(*value), closing(windowed, close_ms, close_ms)));
        }
    }
    held.windows.clone_from(&now);
    Changed::new(&before, now, updates)
}

/// What becomes of the value of a window on the way to its group.
pub fn by_group(n: u8) -> impl Fn(Windowed<K>, V) -> (K, V) {
    move |windowed, v| graph::window_group(n, &windowed, v)
}
