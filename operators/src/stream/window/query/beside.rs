//! Rows of several times, key by key.

use crate::stream::window::{WindowStart, Windowed};
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::query::{Scan, TableSnapshot};
use std::iter::Peekable;

/// The rows of some times, which are each in the order of keys, side by side: the keys in their order, each with its rows in the order of
/// times, and an error at most, which ends it.
pub(in crate::stream::window) struct Beside<K: Key, R: Value> {
    scans: Vec<Peekable<Scan<Windowed<K>, R>>>,
}

/// A key with its rows, each with its time.
pub(in crate::stream::window) type RowsOfKey<K, R> = (K, Vec<(i64, R)>);

impl<K: Key, R: Value> Beside<K, R> {
    /// The rows of `snapshot` with these times, which ascend.
    pub(in crate::stream::window) fn new(
        snapshot: &TableSnapshot<Windowed<K>, R>,
        times: impl Iterator<Item = i64>,
    ) -> Self {
        Self { scans: times.map(|time| snapshot.prefix(&WindowStart(time)).peekable()).collect() }
    }

    fn step(&mut self) -> Result<Option<RowsOfKey<K, R>>> {
        let mut least: Option<K> = None;
        for scan in &mut self.scans {
            match scan.peek() {
                Some(Ok((windowed, _))) if least.as_ref().is_none_or(|least| windowed.key < *least) => {
                    least = Some(windowed.key.clone());
                }
                Some(Err(_)) => return scan.next().transpose().map(|_| None),
                _ => {}
            }
        }
        let Some(key) = least else { return Ok(None) };
        let mut rows = Vec::new();
        for scan in &mut self.scans {
            let row = scan.next_if(|row| row.as_ref().is_ok_and(|(windowed, _)| windowed.key == key));
            rows.extend(row.transpose()?.map(|(windowed, row)| (windowed.start_ms, row)));
        }
        Ok(Some((key, rows)))
    }
}

impl<K: Key, R: Value> Iterator for Beside<K, R> {
    type Item = Result<RowsOfKey<K, R>>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.step().transpose();
        if row.as_ref().is_some_and(Result::is_err) {
            self.scans.clear();
        }
        row
    }
}
