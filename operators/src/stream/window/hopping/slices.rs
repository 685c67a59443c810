//! Slices: where records are folded, each in one.

use super::Hopping;
use super::under_way::{Front, Open};
use crate::stream::window::{Windowed, clamped, floor};
use millpond_engine::dataflow::Stamp;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::{iter, mem};

/// A row of a table of hopping windows: what was folded of a slice of time, in parts by the windows that it counts to. Windows are put
/// together of it when the table is [asked](super::HoppingTable::windows_of).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Slice<A>(pub(super) Row<A>);

/// The rows of the tables that hopping windows keep, which have one type so that they share the codec that the user has chosen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Row<A> {
    /// Of a slice: what counts to all windows over it but the first so many, by this number, and further such parts in ascending order.
    /// There mostly are none, which takes no memory of its own.
    Slice((u64, A), Vec<(u64, A)>),
    /// Of a window that is not closed.
    Open(Box<Open<A>>),
    /// Of a part of a window that stays in the next ones.
    Front(Box<Front<A>>),
}

impl<A> Slice<A> {
    /// The parts of a slice.
    pub(super) fn parts(&self) -> impl Iterator<Item = &(u64, A)> {
        let parts = if let Self(Row::Slice(first, more)) = self { Some((first, more)) } else { None };
        parts.into_iter().flat_map(|(first, more)| iter::once(first).chain(more))
    }

    pub(super) fn into_parts(self) -> impl Iterator<Item = (u64, A)> {
        let parts = if let Self(Row::Slice(first, more)) = self { Some((first, more)) } else { None };
        parts.into_iter().flat_map(|(first, more)| iter::once(first).chain(more))
    }

    pub(super) fn into_open(self) -> Option<Open<A>> {
        if let Self(Row::Open(open)) = self { Some(*open) } else { None }
    }

    pub(super) fn into_front(self) -> Option<Front<A>> {
        if let Self(Row::Front(front)) = self { Some(*front) } else { None }
    }
}

/// Takes `value` in that counts to all windows over the slice but the first `class`.
pub(super) fn add<A, V>(
    row: &mut Option<Slice<A>>,
    class: u64,
    value: V,
    first: impl FnOnce(V) -> A,
    more: impl FnOnce(&mut A, V),
) {
    let Some(Slice(Row::Slice(head, rest))) = row else {
        *row = Some(Slice(Row::Slice((class, first(value)), Vec::new())));
        return;
    };
    if head.0 == class {
        return more(&mut head.1, value);
    }
    if class < head.0 {
        let head = mem::replace(head, (class, first(value)));
        return rest.insert(0, head);
    }
    let at = rest.partition_point(|(there, _)| *there < class);
    match rest.get_mut(at) {
        Some((there, acc)) if *there == class => more(acc, value),
        _ => rest.insert(at, (class, first(value))),
    }
}

impl Hopping {
    /// Where the first window over the slice at `slice_ms` would begin, were time without end.
    fn base(self, slice_ms: i64) -> i128 {
        self.first_ending_after(i128::from(slice_ms))
    }

    /// Where the first window begins to which a part of a slice counts.
    pub(super) fn first_of(self, slice_ms: i64, class: u64) -> i64 {
        clamped(self.base(slice_ms) + i128::from(class) * i128::from(self.hop_ms))
    }
}

/// The slice of `timestamp_ms`, and the part of it that counts from the window at `first_ms` on.
pub(super) fn place(windows: Hopping, timestamp_ms: i64, first_ms: i64) -> (i64, u64) {
    let slice = clamped(floor(i128::from(timestamp_ms), windows.slice_ms));
    let class = (i128::from(first_ms) - windows.base(slice)) / i128::from(windows.hop_ms.max(1));
    (slice, u64::try_from(class).unwrap_or_default())
}

/// The key of the row of a slice.
pub(super) fn slice_key<K>(windows: Hopping, slice_ms: i64, key: K) -> Windowed<K> {
    Windowed::new(slice_ms, slice_ms.saturating_add(windows.slice_ms), key)
}

/// A slice, and up to which stream time its records count to all windows over it.
#[derive(Debug, Default)]
pub struct Whole {
    slice: Range<i64>,
    below_ms: i64,
}

impl Whole {
    /// The slice and part of a record. Most are in the slice of the one before, and count to all windows over it.
    pub(super) fn place(&mut self, windows: Hopping, stamp: &Stamp) -> Option<(i64, u64)> {
        if self.slice.contains(&stamp.timestamp_ms) && stamp.stream_time_ms < self.below_ms {
            return Some((self.slice.start, 0));
        }
        let (first, _) = windows.windows_of(stamp.timestamp_ms, stamp.stream_time_ms)?;
        let (slice, class) = place(windows, stamp.timestamp_ms, first);
        if class == 0 {
            let slice = slice..slice.saturating_add(windows.slice_ms);
            *self = Self { slice, below_ms: windows.close_of(first) };
        }
        Some((slice, class))
    }
}
