//! What tables mean that keep what their rows were, and joins with them: every update that has ever counted is kept.

use super::graph;
use super::graph_in_time::{grace_ms, history_ms};
use super::interpreter::Event;
use super::time::{Held, is_over};
use super::{K, V};
use millpond::dataflow::{Origin, Stamp};

/// An update that has counted.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    pub key: K,
    pub value: Option<V>,
    pub(super) stamp: Stamp,
}

/// Which of two updates replaces the other.
type Order = (i64, i64, Origin);

impl Update {
    fn order(&self) -> Order {
        (self.stamp.timestamp_ms, self.stamp.stream_time_ms, self.stamp.origin())
    }

    pub fn timestamp_ms(&self) -> i64 {
        self.stamp.timestamp_ms
    }
}

/// What a key was at a time, as far as is told by the updates that are `known`.
pub fn as_of(versions: &[Update], key: K, at_ms: i64, known: impl Fn(&Update) -> bool) -> Option<V> {
    let of_it = versions.iter().filter(|update| update.key == key && update.stamp.timestamp_ms <= at_ms);
    of_it.filter(|update| known(update)).max_by_key(|update| update.order())?.value
}

/// The first moment of which it is known what rows were.
pub fn known_from_ms(n: u8, watermark_ms: i64) -> i64 {
    watermark_ms.saturating_sub(history_ms(n))
}

/// Takes updates in. Returns those that replace the latest row.
pub fn update(
    n: u8,
    held: &mut Held,
    updates: impl Iterator<Item = (K, Option<V>, Stamp)>,
) -> Vec<(K, Option<V>, Stamp)> {
    let mut latest = Vec::new();
    for (key, value, stamp) in updates {
        if is_over(stamp.timestamp_ms, history_ms(n) + 1, stamp.stream_time_ms) {
            continue;
        }
        let update = Update { key, value, stamp };
        let mut others = held.versions.iter().filter(|other| other.key == key);
        if others.all(|other| other.order() < update.order()) {
            latest.push((key, value, stamp));
        }
        held.versions.push(update);
    }
    latest
}

/// Has the records that were let go meet what the table was at their time.
pub fn join((n, is_left): (u8, bool), versions: &[Update], released: Vec<Event>) -> Vec<Event> {
    let met = released.into_iter().filter_map(|event| {
        let at_ms = event.timestamp_ms();
        let in_time = |update: &Update| !is_over(at_ms, grace_ms(n) + 1, update.stamp.stream_time_ms);
        let row = as_of(versions, event.key, at_ms, in_time);
        (is_left || row.is_some()).then(|| Event { value: graph::joined(Some(event.value), row), ..event })
    });
    met.collect()
}
