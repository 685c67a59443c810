//! The final rows of windows: each once, when it is closed.
//!
//! A window is closed when the watermark comes to its end and the grace. Records of the same epoch are folded before, and those that
//! come later count for nothing in it. What is closed in an epoch is put out in the order of closes and keys, dated with the last
//! millisecond of the window. Empty input closes windows all the same, as far as time has come.
//!
//! Of windows that were not touched in the epoch, the shards look for the rows in the table, which begins its keys with time, each for
//! a part of them, and send them where their groups are; those that were touched are known where they are.

use super::{WindowStart, Windowed, Windows};
use crate::stream::due;
use millpond_engine::codec::{Key, KeyCodec, Value};
use millpond_engine::dataflow::{
    Behind, Change, Changes, Context, Event, Exchange, Failure, Operator, Stamp, Unread,
};
use millpond_engine::graph::TableRef;
use std::collections::HashSet;
use std::ops::Range;

/// Where windows begin that are due with this epoch.
fn starts(windows: &impl Windows, context: &Context<'_>) -> Range<WindowStart> {
    due::between(context, |at| WindowStart(windows.first_open(at)))
}

/// `encoded` is a buffer.
fn stamp<K: KeyCodec>(close_ms: i64, windowed: &Windowed<K>, encoded: &mut Vec<u8>) -> Stamp {
    encoded.clear();
    windowed.key.encode_key(encoded);
    Stamp::of_closing(close_ms, encoded, windowed.end_ms.saturating_sub(1))
}

/// Finds the rows of windows that are closed and were there before the epoch.
pub(super) struct Due<K, A, W> {
    pub(super) table: TableRef<Windowed<K>, A>,
    pub(super) windows: W,
}

impl<K: Key, A: Value, W: Windows> Exchange for Due<K, A, W> {
    type Input = Unread<Changes<Windowed<K>, A>>;
    type Item = Event<Windowed<K>, A>;

    fn route(&self, context: &mut Context<'_>, _: Self::Input) -> Result<Vec<Vec<Self::Item>>, Failure> {
        let (mut found, mut encoded) = (Vec::new(), Vec::new());
        for row in due::rows(context, &self.table, starts(&self.windows, context))? {
            let (key, value) = row?;
            let stamp = stamp(self.windows.close_of(key.end_ms), &key, &mut encoded);
            found.push(Event { key, value, stamp });
        }
        Ok(context.router().split(found, |event| &event.key))
    }

    fn is_due(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        due::has_rows(context, &self.table, starts(&self.windows, context))
    }
}

/// Puts out the rows of windows that are closed.
pub(super) struct Close<K, A, W> {
    pub(super) table: TableRef<Windowed<K>, A>,
    pub(super) windows: W,
}

impl<K: Key, A: Value, W: Windows> Operator for Close<K, A, W> {
    type Input = Behind<Changes<Windowed<K>, A>, Vec<Event<Windowed<K>, A>>>;
    type Output = Vec<Event<Windowed<K>, A>>;

    fn run(&self, context: &mut Context<'_>, due: Self::Input) -> Result<Option<Self::Output>, Failure> {
        let starts = starts(&self.windows, context);
        if starts.is_empty() {
            // Nothing closes. What closed before is touched no more.
            return Ok(Some(Vec::new()));
        }
        let close_of = |windowed: &Windowed<K>| self.windows.close_of(windowed.end_ms);
        let is_closed = |windowed: &Windowed<K>| WindowStart(windowed.start_ms) < starts.end;
        let touched = context.table(&self.table)?.changes_of(context, is_closed)?;
        let known: HashSet<&Windowed<K>> = touched.iter().map(|change| &change.key).collect();
        // What was not touched is what it was before.
        let (mut closed, mut encoded) = (due.0, Vec::new());
        closed.retain(|event| !known.contains(&event.key));
        closed.extend(touched.into_iter().filter_map(|Change { key, new, .. }| {
            let stamp = stamp(close_of(&key), &key, &mut encoded);
            Some(Event { key, value: new?, stamp })
        }));
        closed.sort_by_key(|event| event.stamp);
        context.tell(&mut closed);
        Ok(Some(closed))
    }
}
