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
use millpond_engine::dataflow::{Changes, Context, Event, Exchange, Failure, Operator, Stamp};
use millpond_engine::graph::TableRef;
use std::collections::BTreeMap;

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
    type Item = Event<Windowed<K>, ()>;

    fn route(&self, context: &mut Context<'_>, _: Self::Input) -> Result<Vec<Vec<Self::Item>>, Failure> {
        let starts = [context.watermark_before(), context.watermark()].map(|at| self.windows.first_open(at));
        let mut due = Vec::new();
        if context.shard() == 0 && starts[0] < starts[1] {
            let rows =
                context.table_before(&self.table)?.prefixes(WindowStart(starts[0])..WindowStart(starts[1]));
            for row in rows {
                let (key, _) = row?;
                let stamp = stamp(self.windows.close_of(key.end_ms), &key);
                due.push(Event { key, value: (), stamp });
            }
        }
        Ok(context.router().split(due, |event| &event.key))
    }
}

/// Puts out the rows of windows that are closed.
pub(super) struct Close<K, A, W> {
    pub(super) table: TableRef<Windowed<K>, A>,
    pub(super) windows: W,
}

impl<K: Key, A: Value, W: Windows> Operator for Close<K, A, W> {
    type Input = (Changes<Windowed<K>, A>, Vec<Event<Windowed<K>, ()>>);
    type Output = Vec<Event<Windowed<K>, A>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (folded, due): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let watermark = context.watermark();
        let close_of = |windowed: &Windowed<K>| self.windows.close_of(windowed.end_ms);
        let mut closed: BTreeMap<(i64, Windowed<K>), Option<A>> = BTreeMap::new();
        for change in folded.changes {
            let close = close_of(&change.key);
            if close <= watermark {
                closed.insert((close, change.key), change.new);
            }
        }
        let known = |windowed: &Windowed<K>| (close_of(windowed), windowed.clone());
        let untouched: Vec<_> =
            due.into_iter().map(|event| known(&event.key)).filter(|key| !closed.contains_key(key)).collect();
        let keys: Vec<&Windowed<K>> = untouched.iter().map(|(_, windowed)| windowed).collect();
        let rows = context.table(&self.table)?.look_up(context, &keys)?;
        closed.extend(untouched.into_iter().zip(rows));
        let finals = closed.into_iter().filter_map(|((close, windowed), row)| {
            let stamp = stamp(close, &windowed);
            Some(Event { key: windowed, value: row?, stamp })
        });
        Ok(Some(finals.collect()))
    }
}
