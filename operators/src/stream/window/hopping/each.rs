//! A row for each window.
//!
//! As for the rows of slices, which records count to a window is decided by their own partitions; those that count to none are left out.
//! Equal timestamps are in the same windows, negative ones as others. Streams have no tombstones. Repeated keys count each. Empty input
//! puts nothing out.

use super::{Hopping, HoppingTable};
use crate::stream::step::CHARGED_TOGETHER;
use crate::stream::window::{WindowStart, Windowed};
use crate::stream::{GroupedStream, Stream};
use crate::table::StoredTable;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Operator};
use millpond_engine::graph::TableOptions;
use std::convert::Infallible;
use std::marker::PhantomData;

impl<K: Key, V: Value, A: Value> HoppingTable<K, V, A> {
    /// The windows as a table `store` of their own, with a row for each from its first record on: to be joined, grouped, subscribed to.
    /// It forgets its rows as the [windows](crate::stream::OverlappingStream::keep) are forgotten.
    ///
    /// IMPORTANT: each record is folded into every window that it counts to, so it costs in proportion to how many windows overlap.
    pub fn table(&self, store: impl Into<TableOptions<A>>) -> StoredTable<Windowed<K>, A> {
        let (Stream { builder, node, .. }, windows) = (&self.grouped.stream, self.windows);
        let assign = AssignAll { windows, types: PhantomData::<fn() -> (K, V)> };
        let assigned = builder.operator("windowed", *node, &[], &[], assign);
        builder.looks_at_time(assigned, 0);
        let assigned = GroupedStream { stream: Stream::new(builder.clone(), assigned, true) };
        let (first, more) = (self.folding.first.clone(), self.folding.more.clone());
        let store = store.into().written_by(self.written_by.as_str());
        let (table, rows) =
            assigned.folded("fold", store, move |windowed: &Windowed<K>, row: &mut Option<A>, value| {
                match row {
                    Some(acc) => more(acc, &windowed.key, value),
                    None => *row = Some(first(&windowed.key, value)),
                }
                Ok::<(), Infallible>(())
            });
        self.keep.forget(builder, &rows, move |watermark| WindowStart(windows.first_open(watermark)));
        table.commuting()
    }
}

/// Gives records the keys of all windows that they count to: as many events as windows.
struct AssignAll<K, V> {
    windows: Hopping,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: Value> Operator for AssignAll<K, V> {
    type Input = (Vec<Event<K, V>>,);
    type Output = Vec<Event<Windowed<K>, V>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (events,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let windows = self.windows;
        let mut charged = events.len();
        let mut assigned = Vec::with_capacity(events.len());
        for Event { key, value, stamp } in events {
            let Some((first, last)) = windows.windows_of(stamp.timestamp_ms, stamp.stream_time_ms) else {
                continue;
            };
            let mut start = first;
            for index in 0.. {
                let key = Windowed::new(start, windows.end_of(start), key.clone());
                assigned.push(Event { key, value: value.clone(), stamp: stamp.branch(index) });
                match start.checked_add(windows.hop_ms) {
                    Some(next) if next <= last => start = next,
                    _ => break,
                }
            }
            if assigned.len() >= charged + CHARGED_TOGETHER {
                context.charge::<Event<Windowed<K>, V>>(assigned.len() - charged)?;
                charged = assigned.len();
            }
        }
        Ok(Some(assigned))
    }
}
