//! The rows of records: folded by the moments at which they happened, and by how much they were behind.
//!
//! Late: a record counts to the windows that have it and whose close its partition had not come to; if there can be none, it is left out
//! here, and put out by `late`. Early: there is no such thing. Equal timestamps are one moment, negative ones as others. Streams have no
//! tombstones. Repeated keys count each. Empty input puts nothing out.

use super::Sliding;
use crate::stream::window::Windowed;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Operator};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

/// A row of a table of sliding windows: what was folded of the records of a stretch of time, moment by moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Moments<A>(pub(super) Row<A>);

/// The rows of the tables that sliding windows keep.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Row<A> {
    /// Of a stretch of time, in ascending order.
    Moments(Vec<Moment<A>>),
    /// Of a window that is defined and not closed.
    Open,
}

/// What was folded of the records of a moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Moment<A> {
    /// Since the stretch began.
    since_ms: u64,
    /// So much later than the moment does a window have to end that has them.
    pub(super) behind_ms: u64,
    pub(super) value: A,
}

impl<A> Moment<A> {
    /// When it was, in the stretch that begins at `row_ms`.
    pub(super) fn at(&self, row_ms: i64) -> i64 {
        row_ms.saturating_add_unsigned(self.since_ms)
    }

    fn place(&self) -> (u64, u64) {
        (self.since_ms, self.behind_ms)
    }

    /// Whether it is the same one, whatever the value.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl<A> Moments<A> {
    pub(super) fn moments(&self) -> &[Moment<A>] {
        if let Self(Row::Moments(moments)) = self { moments } else { &[] }
    }
}

/// Takes `value` in at a place: so long since the row begins, and so much behind.
pub(super) fn add<A, V>(
    row: &mut Option<Moments<A>>,
    (since_ms, behind_ms): (u64, u64),
    value: V,
    first: impl FnOnce(V) -> A,
    more: impl FnOnce(&mut A, V),
) {
    let Moments(Row::Moments(moments)) = row.get_or_insert_with(|| Moments(Row::Moments(Vec::new()))) else {
        return;
    };
    let at = moments.partition_point(|moment| moment.place() < (since_ms, behind_ms));
    match moments.get_mut(at) {
        Some(moment) if moment.place() == (since_ms, behind_ms) => more(&mut moment.value, value),
        _ => moments.insert(at, Moment { since_ms, behind_ms, value: first(value) }),
    }
}

/// Gives records the keys of their rows, and leaves out those that count to no window.
pub(super) struct Assign<K, V> {
    windows: Sliding,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Assign<K, V> {
    pub(super) fn new(windows: Sliding) -> Self {
        Self { windows, types: PhantomData }
    }
}

/// A record at its place within a row.
pub(super) type Placed<V> = ((u64, u64), V);

impl<K: Key, V: Value> Operator for Assign<K, V> {
    type Input = (Vec<Event<K, V>>,);
    type Output = Vec<Event<Windowed<K>, Placed<V>>>;

    fn run(&self, _: &mut Context<'_>, (events,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        let windows = self.windows;
        let assigned = events.into_iter().filter_map(|Event { key, value, stamp }| {
            let behind = windows.behind(stamp.timestamp_ms, stamp.stream_time_ms)?;
            let row = windows.row_of(stamp.timestamp_ms);
            let since = stamp.timestamp_ms.abs_diff(row);
            let key = Windowed::new(row, windows.end_of(row), key);
            Some(Event { key, value: ((since, behind), value), stamp })
        });
        Ok(Some(assigned.collect()))
    }
}

/// Leaves out the records that count to a window.
pub(super) struct Late<K, V>(Assign<K, V>);

impl<K, V> Late<K, V> {
    pub(super) fn new(windows: Sliding) -> Self {
        Self(Assign::new(windows))
    }
}

impl<K: Key, V: Value> Operator for Late<K, V> {
    type Input = (Vec<Event<K, V>>,);
    type Output = Vec<Event<K, V>>;

    fn run(&self, _: &mut Context<'_>, (mut events,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        let windows = self.0.windows;
        events.retain(|event| windows.behind(event.stamp.timestamp_ms, event.stamp.stream_time_ms).is_none());
        Ok(Some(events))
    }
}
