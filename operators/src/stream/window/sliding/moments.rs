//! The rows of records: folded by the moments at which they happened, and by how much they were behind.
//!
//! A row has the moments of a stretch of time as long as a window, so that a window lies over two of them. It is keyed by the last moment
//! of the stretch: windows begin there that it takes to tell which there are and what is in them, and one behind it, but none later.

use super::Sliding;
use crate::stream::window::folding::{Merging, put};
use crate::stream::window::{Windowed, clamped, floor};
use serde::{Deserialize, Serialize};

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
    /// When it was, in the row of `row_ms`.
    pub(super) fn at(&self, windows: Sliding, row_ms: i64) -> i64 {
        clamped(windows.begin_of(row_ms) + i128::from(self.since_ms))
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

/// Where in its row a record of `timestamp_ms` belongs that is so much behind.
pub(super) fn place(windows: Sliding, timestamp_ms: i64, behind_ms: u64) -> (u64, u64) {
    let since = i128::from(timestamp_ms) - windows.begin_of(timestamp_ms);
    (u64::try_from(since).unwrap_or_default(), behind_ms)
}

/// What counts to the window that begins at `start_ms`, of the rows of its key that it lies over.
pub(super) fn contents<'r, A: Clone + 'r>(
    windows: Sliding,
    merge: &Merging<A>,
    start_ms: i64,
    rows: impl Iterator<Item = (i64, &'r Moments<A>)>,
) -> Option<A> {
    let last_ms = windows.last_of(start_ms);
    let mut value = None;
    for (row, moments) in rows {
        let moments = moments.moments();
        let begins = moments.partition_point(|moment| moment.at(windows, row) < start_ms);
        let within = moments.iter().skip(begins).map(|moment| (moment.at(windows, row), moment));
        let counted = within
            .take_while(|(at, _)| *at <= last_ms)
            .filter(|(at, moment)| at.saturating_add_unsigned(moment.behind_ms) <= last_ms);
        counted.for_each(|(_, moment)| put(merge, &mut value, moment.value.clone()));
    }
    value
}

impl Sliding {
    /// Where the stretch begins that has the moment `ms`; it may be before all time.
    fn begin_of(self, ms: i64) -> i128 {
        floor(i128::from(ms), self.size_ms())
    }

    /// The last moment of the stretch that has the moment `ms`, as its row is keyed: there are two for any window.
    pub(super) fn row_of(self, ms: i64) -> i64 {
        clamped(self.begin_of(ms) + i128::from(self.difference_ms))
    }

    /// The rows from that of the moment `first_ms` to that of `last_ms`.
    pub(super) fn rows_between(self, first_ms: i64, last_ms: i64) -> impl Iterator<Item = i64> {
        let last = self.row_of(last_ms);
        let next = move |row: &i64| (*row < last).then(|| row.saturating_add(self.size_ms()));
        std::iter::successors(Some(self.row_of(first_ms)).filter(|first| *first <= last), next)
    }
}

/// The key of the row of `row_ms`.
pub(super) fn key_of_row<K>(row_ms: i64, key: K) -> Windowed<K> {
    Windowed::new(row_ms, row_ms.saturating_add(1), key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::window::tests::moments;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_moment_is_found_again_in_its_row_at_both_ends_of_time_too(
            difference_ms in prop_oneof![0..50_i64, 0..i64::MAX],
            at in moments(),
            ahead in 0..200_i64,
        ) {
            let windows = Sliding { difference_ms, grace_ms: 0 };
            let row = windows.row_of(at);
            prop_assert!(row >= at && windows.row_of(row) == row);
            let (since_ms, behind_ms) = place(windows, at, 3);
            prop_assert_eq!(Moment { since_ms, behind_ms, value: () }.at(windows, row), at);
            // A window lies over two of them, and rows follow each other.
            let last = windows.last_of(at);
            let over: Vec<i64> = windows.rows_between(at, last).collect();
            prop_assert!((1..=2).contains(&over.len()));
            prop_assert_eq!((over.first(), over.last()), (Some(&row), Some(&windows.row_of(last))));
            let until = at.saturating_add(ahead);
            let between: Vec<i64> = windows.rows_between(at, until).collect();
            let mut expected: Vec<i64> = (at..=until).map(|ms| windows.row_of(ms)).collect();
            expected.dedup();
            prop_assert_eq!(between, expected);
        }
    }
}
