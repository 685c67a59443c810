//! Which window a record counts to, if any.
//!
//! Late: a record counts as long as its stream time is below the close of its window. Early: there is no such thing, as a timestamp
//! ahead of others only takes its own partition on. Equal timestamps are in one window, negative ones in windows as others. Streams
//! have no tombstones. Repeated keys count each. Empty input puts nothing out.

use super::{Windowed, Windows};
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Operator, Stamp};
use std::marker::PhantomData;

/// Gives records the keys of their windows, and leaves out those that count to none.
pub(super) struct Assign<K, V, W> {
    windows: W,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V, W> Assign<K, V, W> {
    pub(super) fn new(windows: W) -> Self {
        Self { windows, types: PhantomData }
    }
}

impl<K: Key, V: Value, W: Windows> Operator for Assign<K, V, W> {
    type Input = (Vec<Event<K, V>>,);
    type Output = Vec<Event<Windowed<K>, V>>;

    fn run(&self, _: &mut Context<'_>, (events,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        let mut assigned = Vec::with_capacity(events.len());
        let mut last = 0..0;
        for Event { key, value, stamp } in events {
            // Most records are in the window of the one before.
            if !last.contains(&stamp.timestamp_ms) {
                let (start_ms, end_ms) = self.windows.window_of(stamp.timestamp_ms);
                last = start_ms..end_ms;
            }
            let (start_ms, end_ms) = (last.start, last.end);
            if !self.windows.has_closed(end_ms, stamp.stream_time_ms) {
                assigned.push(Event { key: Windowed { start_ms, end_ms, key }, value, stamp });
            }
        }
        Ok(Some(assigned))
    }
}

/// Leaves out the records that count to a window.
pub(super) struct Late<K, V, W>(Assign<K, V, W>);

impl<K, V, W> Late<K, V, W> {
    pub(super) fn new(windows: W) -> Self {
        Self(Assign::new(windows))
    }
}

impl<K: Key, V: Value, W: Windows> Operator for Late<K, V, W> {
    type Input = (Vec<Event<K, V>>,);
    type Output = Vec<Event<K, V>>;

    fn run(&self, _: &mut Context<'_>, (mut events,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        let windows = &self.0.windows;
        let end_of = |stamp: &Stamp| windows.window_of(stamp.timestamp_ms).1;
        events.retain(|event| windows.has_closed(end_of(&event.stamp), event.stamp.stream_time_ms));
        Ok(Some(events))
    }
}
