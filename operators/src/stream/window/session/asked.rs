//! Asking for sessions, which lie in the order of their ends.
//!
//! The sessions of a key do not overlap, so that they lie in the order of their beginnings, too, among those of other keys. What is behind a
//! moment are the rows that end behind it. Those that are open are in one row of the key, too, where they are found at once: of the table
//! of all sessions only those rows are gone through then that are closed.

use super::{Session, SessionEnd, SessionKey, end_of};
use crate::stream::window::Windowed;
use crate::stream::window::query::{Asked, Left, WindowRows, WindowsAt, WindowsOfKey};
use millpond_engine::Result;
use millpond_engine::codec::{Key, Span, Value};
use millpond_engine::graph::Feeds;
use millpond_engine::query::{StoredRef, TableSnapshot};
use std::sync::Arc;

/// Sessions, as they are asked.
#[derive(Clone)]
pub(super) struct InOrderOfEnds<K, A> {
    pub(super) rows: WindowRows<SessionKey<K>, A>,
    pub(super) windows: Session,
    pub(super) feeds: Feeds,
    /// The open ones of each key.
    pub(super) open: StoredRef<K, Vec<Span<A>>>,
}

type Row<K, A> = Result<(SessionKey<K>, A)>;

type Rows<K, A> = Box<dyn DoubleEndedIterator<Item = Row<K, A>> + Send>;

impl<K: Key, A: Value> InOrderOfEnds<K, A> {
    /// The sessions that may be of `key` and end at `first_end_ms` or later: rows of other keys are among them.
    fn ending_from(&self, first_end_ms: i64, key: &K) -> Result<Rows<K, A>> {
        let snapshot = self.rows.snapshot()?;
        let first_open_end = self.windows.first_open_end(snapshot.watermark(&self.feeds));
        let Some(open) = snapshot.beside(self.open) else {
            return Ok(Box::new(ending_from(&snapshot, first_end_ms)));
        };
        let closed = snapshot.prefixes(SessionEnd(first_end_ms)..SessionEnd(first_open_end));
        let open = open.get(key)?.unwrap_or_default().into_iter();
        let open: Vec<_> = open
            .map(|Span { start_ms, last_ms, value }| {
                (SessionKey::new(start_ms, end_of(last_ms), key.clone()), value)
            })
            // One that is over at the last moment there is stays there for ever.
            .filter(|(session, _)| session.end_ms >= first_open_end.max(first_end_ms))
            .collect();
        Ok(Box::new(closed.chain(open.into_iter().map(Ok))))
    }
}

impl<K: Key, A: Value> Asked<K, A> for InOrderOfEnds<K, A> {
    fn now(&self) -> Result<Arc<dyn Asked<K, A>>> {
        Ok(Arc::new(Self { rows: WindowRows::Then(self.rows.snapshot()?), ..self.clone() }))
    }

    fn watermark(&self) -> Result<i64> {
        Ok(self.rows.snapshot()?.watermark(&self.feeds))
    }

    fn get(&self, key: &K, start_ms: i64) -> Result<Option<A>> {
        let mut found = self.windows(key.clone(), Some((start_ms, start_ms)))?;
        Ok(found.next().transpose()?.map(|(_, value)| value))
    }

    fn windows(&self, key: K, span: Left) -> Result<WindowsOfKey<K, A>> {
        let (first_ms, last_ms) = span.unwrap_or((i64::MAX, i64::MIN));
        let rows = self.ending_from(first_ms.saturating_add(1), &key)?;
        Ok(WindowsOfKey::new(OfKey { rows: Some(rows), key, first_ms, last_ms }))
    }

    fn open(&self, key: K) -> Result<WindowsOfKey<K, A>> {
        let rows = self.ending_from(self.windows.first_open_end(self.watermark()?), &key)?;
        Ok(WindowsOfKey::new(OfKey { rows: Some(rows), key, first_ms: i64::MIN, last_ms: i64::MAX }))
    }

    fn at(&self, ms: i64) -> Result<WindowsAt<K, A>> {
        let has_moment = move |row: &Row<K, A>| row.as_ref().map_or(true, |(key, _)| key.start_ms <= ms);
        let rows = ending_from(&self.rows.snapshot()?, ms.saturating_add(1)).filter(has_moment);
        Ok(Box::new(rows.map(|row| row.map(|(session, value)| (session.into(), value)))))
    }
}

/// The sessions of all keys that end at `first_end_ms` or later.
fn ending_from<K: Key, A: Value>(
    snapshot: &TableSnapshot<SessionKey<K>, A>,
    first_end_ms: i64,
) -> impl DoubleEndedIterator<Item = Row<K, A>> + Send + use<K, A> {
    let before_last = snapshot.prefixes(SessionEnd(first_end_ms)..SessionEnd(i64::MAX));
    before_last.chain(snapshot.prefix(&SessionEnd(i64::MAX)))
}

/// The sessions of a key that begin within `first_ms` and `last_ms`, of `rows` that end behind the first of these.
struct OfKey<K, R> {
    /// None once there are no more.
    rows: Option<R>,
    key: K,
    first_ms: i64,
    last_ms: i64,
}

impl<K: Key, R> OfKey<K, R> {
    /// What `row` is to who goes through them, if anything. Where one of the key lies beyond what is asked for, so do all others from there.
    fn take<A>(&mut self, row: Row<K, A>, from_the_end: bool) -> Option<Result<(Windowed<K>, A)>> {
        let (session, value) = match row {
            Ok(row) => row,
            Err(error) => {
                self.rows = None;
                return Some(Err(error));
            }
        };
        if session.key != self.key {
            return None;
        }
        let (is_before, is_behind) = (session.start_ms < self.first_ms, session.start_ms > self.last_ms);
        if (is_behind && !from_the_end) || (is_before && from_the_end) {
            self.rows = None;
        }
        (!is_before && !is_behind).then(|| Ok((session.into(), value)))
    }
}

impl<K: Key, A, R: Iterator<Item = Row<K, A>>> Iterator for OfKey<K, R> {
    type Item = Result<(Windowed<K>, A)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let row = self.rows.as_mut()?.next()?;
            if let Some(found) = self.take(row, false) {
                return Some(found);
            }
        }
    }
}

impl<K: Key, A, R: DoubleEndedIterator<Item = Row<K, A>>> DoubleEndedIterator for OfKey<K, R> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let row = self.rows.as_mut()?.next_back()?;
            if let Some(found) = self.take(row, true) {
                return Some(found);
            }
        }
    }
}
