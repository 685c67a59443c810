//! Asking for sessions, which lie in the order of their ends.
//!
//! The sessions of a key do not overlap, so that they lie in the order of their beginnings, too, among those of other keys. What is behind a
//! moment are the rows that end behind it.

use super::{Session, SessionEnd, SessionKey};
use crate::stream::window::Windowed;
use crate::stream::window::query::{Asked, Left, WindowRows, WindowsAt, WindowsOfKey};
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::Feeds;
use std::sync::Arc;

/// Sessions, as they are asked.
#[derive(Clone)]
pub(super) struct InOrderOfEnds<K, A> {
    pub(super) rows: WindowRows<SessionKey<K>, A>,
    pub(super) windows: Session,
    pub(super) feeds: Feeds,
}

type Row<K, A> = Result<(SessionKey<K>, A)>;

impl<K: Key, A: Value> InOrderOfEnds<K, A> {
    /// The sessions of all keys that end at `first_end_ms` or later, of one moment.
    fn ending_from(
        &self,
        first_end_ms: i64,
    ) -> Result<impl DoubleEndedIterator<Item = Row<K, A>> + Send + use<K, A>> {
        let snapshot = self.rows.snapshot()?;
        let before_last = snapshot.prefixes(SessionEnd(first_end_ms)..SessionEnd(i64::MAX));
        Ok(before_last.chain(snapshot.prefix(&SessionEnd(i64::MAX))))
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
        let rows = self.ending_from(first_ms.saturating_add(1))?;
        Ok(WindowsOfKey::new(OfKey { rows: Some(rows), key, first_ms, last_ms }))
    }

    fn open(&self, key: K) -> Result<WindowsOfKey<K, A>> {
        let rows = self.ending_from(self.windows.first_open_end(self.watermark()?))?;
        Ok(WindowsOfKey::new(OfKey { rows: Some(rows), key, first_ms: i64::MIN, last_ms: i64::MAX }))
    }

    fn at(&self, ms: i64) -> Result<WindowsAt<K, A>> {
        let has_moment = move |row: &Row<K, A>| row.as_ref().map_or(true, |(key, _)| key.start_ms <= ms);
        let rows = self.ending_from(ms.saturating_add(1))?.filter(has_moment);
        Ok(Box::new(rows.map(|row| row.map(|(session, value)| (session.into(), value)))))
    }
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
