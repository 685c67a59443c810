//! Which row a record belongs to, and which records count to no window.
//!
//! Late: a record counts to the windows that have it and that its partition had not come to the close of; where there are none, it is left
//! out, and put out by `late`. Early: there is no such thing. Equal timestamps are in the same windows, negative ones as others. Streams
//! have no tombstones. Repeated keys count each. Empty input puts nothing out.

use super::Overlapping;
use crate::stream::window::Windowed;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Operator};
use std::marker::PhantomData;

/// Gives records the keys of their rows, and leaves out those that count to no window.
pub(super) struct Assign<K, V, W> {
    windows: W,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V, W> Assign<K, V, W> {
    pub(super) fn new(windows: W) -> Self {
        Self { windows, types: PhantomData }
    }
}

/// A record at its place within a row.
pub(super) type Placed<V, W> = (<W as Overlapping>::Place, V);

impl<K: Key, V: Value, W: Overlapping> Operator for Assign<K, V, W> {
    type Input = (Vec<Event<K, V>>,);
    type Output = Vec<Event<Windowed<K>, Placed<V, W>>>;

    fn run(&self, _: &mut Context<'_>, (events,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        let mut near = W::Near::default();
        let assigned = events.into_iter().filter_map(|Event { key, value, stamp }| {
            let (row, place) = self.windows.place(&stamp, &mut near)?;
            Some(Event { key: self.windows.row_key(row, key), value: (place, value), stamp })
        });
        Ok(Some(assigned.collect()))
    }
}

/// Leaves out the records that count to a window.
pub(super) struct Late<K, V, W>(Assign<K, V, W>);

impl<K, V, W> Late<K, V, W> {
    pub(super) fn new(windows: W) -> Self {
        Self(Assign::new(windows))
    }
}

impl<K: Key, V: Value, W: Overlapping> Operator for Late<K, V, W> {
    type Input = (Vec<Event<K, V>>,);
    type Output = Vec<Event<K, V>>;

    fn run(&self, _: &mut Context<'_>, (mut events,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        let mut near = W::Near::default();
        events.retain(|event| self.0.windows.place(&event.stamp, &mut near).is_none());
        Ok(Some(events))
    }
}
