//! What alarms mean: one for each key, which is due before the first record of it that has come so far, and at the latest with the
//! watermark. Everything is a list of what is done to a key, one thing after the other.

use super::changed::Updated;
use super::graph_in_time as graph;
use super::time::Watermark;
use super::{K, V};
use millpond::codec::KeyCodec;
use millpond::dataflow::Stamp;
use std::collections::BTreeMap;

/// What is kept of a key, and its alarm.
type Kept = (State, Option<i64>);

/// The keys with something.
pub type Alarms = BTreeMap<K, Kept>;

/// What a key is about: a value that is shown, or one that waits, with the end of its time; nothing waits where a deletion does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Shown(V),
    Waits(Option<(V, i64)>),
}

/// What happens to a key.
#[derive(Debug, Clone, Copy)]
pub enum Moment {
    Record(Option<V>),
    Alarm(i64),
}

/// What is done at a moment: given the state and the alarm, what both are from then on. What is emitted is noted.
pub trait Step:
    FnMut(K, Moment, (Option<State>, Option<i64>), Stamp) -> (Option<State>, Option<i64>)
{
}

impl<F: FnMut(K, Moment, (Option<State>, Option<i64>), Stamp) -> (Option<State>, Option<i64>)> Step for F {}

/// Goes through an epoch. Returns what became of the states, step by step.
fn run(
    alarms: &mut Alarms,
    events: &[(K, Option<V>, Stamp)],
    watermark: Watermark,
    mut step: impl Step,
) -> Vec<(K, Option<State>, Stamp)> {
    let mut updates = Vec::new();
    let mut at = |alarms: &mut Alarms, key: K, moment, stamp: Stamp, at_least: Option<i64>| {
        let (state, alarm) = alarms.remove(&key).map_or((None, None), |(state, alarm)| (Some(state), alarm));
        let alarm = if let Moment::Alarm(_) = moment { None } else { alarm };
        let (state, alarm) = step(key, moment, (state, alarm), stamp);
        let alarm = alarm.map(|at_ms| at_least.map_or(at_ms, |least| at_ms.max(least)));
        if let Some(state) = state {
            alarms.insert(key, (state, alarm.filter(|at_ms| *at_ms < i64::MAX)));
        }
        updates.push((key, state, stamp));
    };
    let due = |alarms: &Alarms, key: &K, now_ms: i64| {
        alarms.get(key).and_then(|(_, alarm)| *alarm).filter(|at_ms| *at_ms <= now_ms)
    };
    for (key, value, stamp) in events {
        let mut sounded = 0;
        while let Some(at_ms) = due(alarms, key, stamp.stream_time_ms) {
            at(alarms, *key, Moment::Alarm(at_ms), stamp.of_due_before(sounded, at_ms), None);
            sounded += 1;
        }
        let own = stamp.behind_what_was_due();
        at(alarms, *key, Moment::Record(*value), own, Some(stamp.stream_time_ms));
    }
    for key in alarms.keys().copied().collect::<Vec<K>>() {
        let last = events.iter().rev().find(|(other, ..)| *other == key).map(|(.., stamp)| *stamp);
        let (mut encoded, mut sounded) = (Vec::new(), 0);
        key.encode_key(&mut encoded);
        while let Some(at_ms) = due(alarms, &key, watermark.after) {
            let stamp = last.unwrap_or_default().of_due_behind(sounded, at_ms, &encoded);
            at(alarms, key, Moment::Alarm(at_ms), stamp, None);
            sounded += 1;
        }
    }
    updates
}

/// Rows that are shown until their alarm.
fn shown(updates: Vec<(K, Option<State>, Stamp)>) -> Vec<Updated<K>> {
    let value = |state| match state {
        State::Shown(value) => Some(value),
        State::Waits(_) => None,
    };
    updates.into_iter().map(|(key, state, stamp)| (key, state.and_then(value), stamp)).collect()
}

/// Rows that go so long after their last update.
pub fn expire_after(
    size_ms: i64,
    alarms: &mut Alarms,
    events: &[(K, Option<V>, Stamp)],
    watermark: Watermark,
) -> Vec<Updated<K>> {
    shown(run(alarms, events, watermark, |_, moment, (state, alarm), stamp| match moment {
        Moment::Alarm(_) | Moment::Record(None) => (None, None),
        Moment::Record(Some(value)) => {
            let until_ms = stamp.timestamp_ms + size_ms;
            if until_ms <= stamp.stream_time_ms {
                return (state, alarm);
            }
            (Some(State::Shown(value)), Some(alarm.map_or(until_ms, |known| known.max(until_ms))))
        }
    }))
}

/// Rows that go when they say.
pub fn expire_at(
    n: u8,
    alarms: &mut Alarms,
    events: &[(K, Option<V>, Stamp)],
    watermark: Watermark,
) -> Vec<Updated<K>> {
    shown(run(alarms, events, watermark, |_, moment, _, stamp| match moment {
        Moment::Record(Some(value)) if graph::until_ms(n, value) > stamp.stream_time_ms => {
            (Some(State::Shown(value)), Some(graph::until_ms(n, value)))
        }
        _ => (None, None),
    }))
}

/// Rows that come and go when they say: what is told of them.
pub fn while_valid(
    n: u8,
    alarms: &mut Alarms,
    events: &[(K, Option<V>, Stamp)],
    watermark: Watermark,
) -> Vec<Updated<K>> {
    let mut told = Vec::new();
    run(alarms, events, watermark, |key, moment, (state, _), stamp| {
        let is_valid = state == Some(State::Waits(None));
        let mut tell = |value| told.push((key, value, stamp.branch(0)));
        match moment {
            Moment::Record(value) => {
                let times = value.map(|value| graph::valid_ms(n, value));
                let times = times.filter(|times| !times.is_empty() && times.end > stamp.stream_time_ms);
                match (value, times) {
                    (Some(value), Some(times)) if times.start <= stamp.stream_time_ms => {
                        tell(Some(value));
                        (Some(State::Waits(None)), Some(times.end))
                    }
                    (Some(value), Some(times)) => {
                        if is_valid {
                            tell(None);
                        }
                        (Some(State::Waits(Some((value, times.end)))), Some(times.start))
                    }
                    _ => {
                        if is_valid {
                            tell(None);
                        }
                        (None, None)
                    }
                }
            }
            Moment::Alarm(_) => {
                if let Some(State::Waits(Some((value, end)))) = state {
                    tell(Some(value));
                    return (Some(State::Waits(None)), Some(end));
                }
                tell(None);
                (None, None)
            }
        }
    });
    told
}

/// Rows that change once in a time: what is told of them.
pub fn settled(
    size_ms: i64,
    alarms: &mut Alarms,
    events: &[(K, Option<V>, Stamp)],
    watermark: Watermark,
) -> Vec<Updated<K>> {
    let mut told = Vec::new();
    run(alarms, events, watermark, |key, moment, (state, alarm), stamp| match moment {
        Moment::Record(value) => {
            let alarm = if state.is_none() { Some(stamp.stream_time_ms + size_ms) } else { alarm };
            (Some(State::Waits(value.map(|value| (value, 0)))), alarm)
        }
        Moment::Alarm(_) => {
            let Some(State::Waits(waits)) = state else { panic!("an alarm of nothing") };
            told.push((key, waits.map(|(value, _)| value), stamp.branch(0)));
            (None, None)
        }
    });
    told
}

/// What a process emits.
type Emitted = (K, V, Stamp);

/// What a process with alarms does to its states, and what it emits.
pub fn process(
    n: u8,
    alarms: &mut Alarms,
    events: &[(K, Option<V>, Stamp)],
    watermark: Watermark,
) -> (Vec<Updated<K>>, Vec<Emitted>) {
    let mut emitted = Vec::new();
    let updates = run(alarms, events, watermark, |key, moment, (state, alarm), stamp| {
        let state = state.map(|state| match state {
            State::Shown(value) => value,
            State::Waits(_) => panic!("a state that waits"),
        });
        let times = (stamp.timestamp_ms, stamp.stream_time_ms);
        let ((state, alarm), out) = match moment {
            Moment::Record(value) => graph::alarm_process(n, value.unwrap(), times, (state, alarm)),
            Moment::Alarm(at_ms) => graph::alarm_sound(n, at_ms, state),
        };
        emitted.push((graph::alarm_key(n, key, out), out, stamp.branch(0)));
        (state.map(State::Shown), alarm)
    });
    (shown(updates), emitted)
}
