//! The final rows of sliding windows: each once, when it is closed, if a record counted to it.
//!
//! A window is closed when the watermark comes to its end and the grace; records of the same epoch are folded before, and what is closed
//! in an epoch is put out in the order of closes and keys, dated with the last millisecond of the window. Records are late, early, equal
//! or negative where they are folded, and not here. Empty input closes windows all the same, as far as time has come.
//!
//! The table `<store>.open` has a row for each window that is defined and not closed. Its keys begin with time, so that what is due is a
//! range of it: one shard reads it, and sends the keys where their rows are.

use super::Sliding;
use super::moments::{Moments, Row, contents, key_of_row};
use crate::stream::due;
use crate::stream::window::folding::Merging;
use crate::stream::window::{WindowStart, Windowed};
use millpond_engine::Result;
use millpond_engine::codec::{Key, KeyCodec, Value};
use millpond_engine::dataflow::{Changes, Context, Detail, Event, Exchange, Failure, Operator, Stamp};
use millpond_engine::graph::TableRef;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

/// About so many windows are put together at once.
const TOGETHER: usize = 1024;

/// Tells which windows are defined.
pub(super) struct Defining<K, A> {
    pub(super) windows: Sliding,
    pub(super) types: PhantomData<fn() -> (K, A)>,
}

impl<K: Key, A: Value> Operator for Defining<K, A> {
    type Input = (Changes<Windowed<K>, Moments<A>>,);
    type Output = Vec<Event<Windowed<K>, ()>>;

    fn run(&self, _: &mut Context<'_>, (folded,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        let windows = self.windows;
        let mut defined = Vec::new();
        for change in folded.changes {
            let Windowed { start_ms: row, key, .. } = change.key;
            // Moments are never taken away, and both are in their order.
            let mut before = change.old.iter().flat_map(Moments::moments).peekable();
            for moment in change.new.iter().flat_map(Moments::moments) {
                if before.next_if(|before| before.is(moment)).is_some() {
                    continue;
                }
                for start in windows.defined_by(moment.at(windows, row), moment.behind_ms) {
                    let key = Windowed::new(start, windows.end_of(start), key.clone());
                    defined.push(Event { key, value: (), stamp: change.stamp });
                }
            }
        }
        Ok(Some(defined))
    }
}

/// Finds the windows that are closed and were defined before the epoch.
///
/// It reads the table as it was before the epoch, and so may stand before the node that writes it.
pub(super) struct Due<K, A> {
    pub(super) windows: Sliding,
    pub(super) open: TableRef<Windowed<K>, Moments<A>>,
}

impl<K: Key, A: Value> Exchange for Due<K, A> {
    type Input = (Vec<Event<Windowed<K>, ()>>,);
    type Item = Event<Windowed<K>, ()>;

    fn route(&self, context: &mut Context<'_>, _: Self::Input) -> Result<Vec<Vec<Self::Item>>, Failure> {
        let mut found = Vec::new();
        for row in due::rows(context, &self.open, self.starts(context))? {
            let (key, _) = row?;
            let stamp = stamp(self.windows, &key);
            found.push(Event { key, value: (), stamp });
        }
        Ok(context.router().split(found, |event| &event.key))
    }

    fn is_due(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        due::has_rows(context, &self.open, self.starts(context))
    }
}

impl<K, A> Due<K, A> {
    /// Where windows begin that are due with this epoch.
    fn starts(&self, context: &Context<'_>) -> Range<WindowStart> {
        due::between(context, |at| WindowStart(self.windows.first_open(at)))
    }
}

fn stamp<K: KeyCodec>(windows: Sliding, windowed: &Windowed<K>) -> Stamp {
    let mut encoded = Vec::new();
    windowed.key.encode_key(&mut encoded);
    Stamp::of_closing(windows.close_of(windowed.start_ms), &encoded, windowed.end_ms.saturating_sub(1))
}

/// Puts out the rows of windows that are closed.
pub(super) struct Close<K, A> {
    pub(super) windows: Sliding,
    pub(super) rows: TableRef<Windowed<K>, Moments<A>>,
    pub(super) open: TableRef<Windowed<K>, Moments<A>>,
    pub(super) merge: Arc<Merging<A>>,
}

impl<K: Key, A: Value> Operator for Close<K, A> {
    type Input = (Vec<Event<Windowed<K>, ()>>, Vec<Event<Windowed<K>, ()>>);
    type Output = Vec<Event<Windowed<K>, A>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (defined, due): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let until = self.windows.first_open(context.watermark());
        let (now, later): (Vec<_>, Vec<_>) =
            defined.into_iter().partition(|event| event.key.start_ms < until);
        let closing: BTreeSet<Windowed<K>> = due.iter().chain(&now).map(|event| event.key.clone()).collect();
        let gone = due.into_iter().map(|event| Event { key: event.key, value: false, stamp: event.stamp });
        let opens = later.into_iter().map(|event| Event { key: event.key, value: true, stamp: event.stamp });
        let open = context.table(&self.open)?;
        open.fold(context, gone.chain(opens).collect(), Detail::Changes, |_, row, is_open| {
            *row = is_open.then(|| Moments(Row::Open));
        })?;
        let closing: Vec<Windowed<K>> = closing.into_iter().collect();
        let mut closed = Vec::new();
        for together in closing.chunks(TOGETHER) {
            self.close(context, together, &mut closed)?;
        }
        closed.sort_by_key(|event: &Event<_, _>| event.stamp);
        context.tell(&mut closed);
        Ok(Some(closed))
    }
}

impl<K: Key, A: Value> Close<K, A> {
    /// The rows that the window at `start_ms` lies over.
    fn rows_over(&self, windowed: &Windowed<K>) -> [Windowed<K>; 2] {
        let last_ms = self.windows.last_of(windowed.start_ms);
        [windowed.start_ms, last_ms].map(|at| key_of_row(self.windows.row_of(at), windowed.key.clone()))
    }

    /// Puts the windows `together` together, which are in the order in which they are told.
    fn close(
        &self,
        context: &mut Context<'_>,
        together: &[Windowed<K>],
        closed: &mut Vec<Event<Windowed<K>, A>>,
    ) -> Result<(), Failure> {
        let keys: BTreeSet<Windowed<K>> =
            together.iter().flat_map(|windowed| self.rows_over(windowed)).collect();
        let found = context.table(&self.rows)?.look_up(context, &keys.iter().collect::<Vec<_>>())?;
        let found: BTreeMap<&Windowed<K>, Moments<A>> =
            keys.iter().zip(found).filter_map(|(key, row)| Some((key, row?))).collect();
        for windowed in together {
            let stamp = stamp(self.windows, windowed);
            context.at_closing(&stamp, windowed);
            let [first, second] = self.rows_over(windowed);
            let rows = if first == second { vec![first] } else { vec![first, second] };
            let rows = rows.iter().filter_map(|row| Some((row.start_ms, found.get(row)?)));
            let value = contents(self.windows, &*self.merge, windowed.start_ms, rows);
            closed.extend(value.map(|value| Event { key: windowed.clone(), value, stamp }));
        }
        Ok(())
    }
}
