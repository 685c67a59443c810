//! The final rows of windows: each once, when it is closed.
//!
//! A window is closed when the watermark comes to its end and the grace. Records of the same epoch are folded before, and those that
//! come later count for nothing in it. What is closed in an epoch is put out in the order of closes and keys, dated with the last
//! millisecond of the window. Empty input closes windows all the same, as far as time has come.
//!
//! Of windows that were not touched in the epoch, one shard looks for the rows in the table, which begins its keys with time, and
//! sends them where their groups are; those that were touched are known where they are.

use super::{WindowStart, Windowed, Windows};
use millpond_engine::codec::{Key, KeyCodec, Value};
use millpond_engine::dataflow::{Change, Changes, Context, Event, Exchange, Failure, Operator, Stamp};
use millpond_engine::graph::TableRef;
use std::collections::HashSet;
use std::marker::PhantomData;

fn stamp<K: KeyCodec>(close_ms: i64, windowed: &Windowed<K>) -> Stamp {
    let mut encoded = Vec::new();
    windowed.key.encode_key(&mut encoded);
    Stamp::of_closing(close_ms, &encoded, windowed.end_ms.saturating_sub(1))
}

/// Finds the rows of windows that are closed and were there before the epoch.
pub(super) struct Due<K, A, W> {
    pub(super) table: TableRef<Windowed<K>, A>,
    pub(super) windows: W,
}

impl<K: Key, A: Value, W: Windows> Exchange for Due<K, A, W> {
    type Input = (Changes<Windowed<K>, A>,);
    type Item = Event<Windowed<K>, A>;

    fn route(&self, context: &mut Context<'_>, _: Self::Input) -> Result<Vec<Vec<Self::Item>>, Failure> {
        let mut due = Vec::new();
        let [start, end] = self.starts(context);
        if context.shard() == 0 && start < end {
            for row in context.table_before(&self.table)?.prefixes(WindowStart(start)..WindowStart(end)) {
                let (key, value) = row?;
                let stamp = stamp(self.windows.close_of(key.end_ms), &key);
                due.push(Event { key, value, stamp });
            }
        }
        Ok(context.router().split(due, |event| &event.key))
    }

    fn is_due(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let [start, end] = self.starts(context);
        Ok(start < end && context.has_rows(&self.table, WindowStart(start)..WindowStart(end))?)
    }
}

impl<K: Key, A: Value, W: Windows> Due<K, A, W> {
    /// Where the first window begins that is due with this epoch, and the first one that is not.
    fn starts(&self, context: &Context<'_>) -> [i64; 2] {
        [context.watermark_before(), context.watermark()].map(|at| self.windows.first_open(at))
    }
}

/// Puts out the rows of windows that are closed.
pub(super) struct Close<K, A, W> {
    windows: W,
    types: PhantomData<fn() -> (K, A)>,
}

impl<K, A, W> Close<K, A, W> {
    pub(super) fn new(windows: W) -> Self {
        Self { windows, types: PhantomData }
    }
}

impl<K: Key, A: Value, W: Windows> Operator for Close<K, A, W> {
    type Input = (Changes<Windowed<K>, A>, Vec<Event<Windowed<K>, A>>);
    type Output = Vec<Event<Windowed<K>, A>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (folded, due): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let watermark = context.watermark();
        let close_of = |windowed: &Windowed<K>| self.windows.close_of(windowed.end_ms);
        let is_closed =
            |change: &Change<Windowed<K>, A>| self.windows.has_closed(change.key.end_ms, watermark);
        let touched: Vec<_> = folded.changes.into_iter().filter(is_closed).collect();
        let known: HashSet<&Windowed<K>> = touched.iter().map(|change| &change.key).collect();
        // What was not touched is what it was before.
        let mut closed = due;
        closed.retain(|event| !known.contains(&event.key));
        closed.extend(touched.into_iter().filter_map(|Change { key, new, .. }| {
            let stamp = stamp(close_of(&key), &key);
            Some(Event { key, value: new?, stamp })
        }));
        closed.sort_by_key(|event| event.stamp);
        context.tell(&mut closed);
        Ok(Some(closed))
    }
}
