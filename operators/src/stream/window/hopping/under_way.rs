//! What is carried from one window of a key to the next.
//!
//! The windows of a key close one after the other, each a hop behind the one before. To put each together of all its slices would cost as
//! many look-ups as a window has slices. What stays is carried along instead, as two stacks (the technique of queues made of two stacks,
//! as Tangwongsan, Hirzel and Schneider describe it for windows in "Low-Latency Sliding-Window Aggregation in Worst-Case Constant
//! Time", 2017): the *back* has what came in, as one value. When something of it is to leave, it is turned round: its slices are
//! read once more and put together from the last one on, so that for each hop there is a *front*, the value of all that is left once
//! everything before that hop has gone. So each slice is read twice and put together twice, and each window is two values merged,
//! whatever its size.
//!
//! What counts to later windows only comes in when the first of them is put together. If its slice lies in the front by then, it is kept
//! beside it as an *extra*, until it leaves or all is turned round.
//!
//! Invariant: what is carried to a window is what its slices have of parts that count to an earlier one. It is a function of these parts
//! alone, so that the rows are a function of the log.

use super::Hopping;
use crate::stream::window::folding::{Merging, put};
use crate::stream::window::{clamped, floor};
use serde::{Deserialize, Serialize};

/// The row of a window of a key that is not closed, but has something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Open<A> {
    /// The slices of which a part counts from this window on, in ascending order.
    pub(super) enters: Vec<i64>,
    /// What counts to the window before, too.
    pub(super) carried: Option<Carried<A>>,
}

impl<A> Default for Open<A> {
    fn default() -> Self {
        Self { enters: Vec::new(), carried: None }
    }
}

impl<A> Open<A> {
    /// Notes that a part of `slice` counts from this window on.
    pub(super) fn enter(&mut self, slice: i64) {
        if let Err(at) = self.enters.binary_search(&slice) {
            self.enters.insert(at, slice);
        }
    }
}

/// What is carried to a window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Carried<A> {
    /// Slices from here on are in the back, those before in the front and the extras.
    pub(super) from: i64,
    /// The last slice that has something in it.
    pub(super) until: i64,
    pub(super) front: Option<Front<A>>,
    back: Option<A>,
    /// By the hop that they leave with.
    extras: Vec<(i64, A)>,
}

/// So many hops of a front are in one row.
const TOGETHER: usize = 8;

/// The values of all in the front from each of some hops on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Front<A> {
    /// By the hop, the next one to leave at the end.
    values: Vec<(i64, A)>,
    /// The first hop of those that are in another row.
    next: Option<i64>,
}

impl<A> Front<A> {
    /// The first hop in it.
    pub(super) fn hop(&self) -> i64 {
        self.values.last().map_or(i64::MAX, |(hop, _)| *hop)
    }
}

impl<A: Clone> Carried<A> {
    /// Nothing yet, of which the first to come is in the slice `first`.
    pub(super) fn beginning(windows: Hopping, first: i64) -> Self {
        let from = hop_of(windows, first);
        Self { from, until: first, front: None, back: None, extras: Vec::new() }
    }

    /// What counts to the window at `start`, read from its slices: `entries` in ascending order. The fronts of later hops are rows of
    /// their own.
    pub(super) fn turned(
        windows: Hopping,
        merge: &Merging<A>,
        start: i64,
        entries: Vec<(i64, A)>,
    ) -> Option<(Self, Vec<Front<A>>)> {
        let until = entries.last()?.0;
        // So many whole hops are in a window.
        let from = start.saturating_add(windows.size_ms / windows.hop_ms.max(1) * windows.hop_ms);
        let (mut back, mut values) = (None, Vec::<(i64, A)>::new());
        for (slice, value) in entries.into_iter().rev() {
            let hop = hop_of(windows, slice);
            if slice >= from {
                put(merge, &mut back, value);
                continue;
            }
            match values.last_mut() {
                Some((there, acc)) if *there == hop => merge(acc, value),
                behind => {
                    let mut value = Some(value);
                    if let Some((_, behind)) = behind {
                        put(merge, &mut value, behind.clone());
                    }
                    values.extend(value.map(|value| (hop, value)));
                }
            }
        }
        let mut rows: Vec<Front<A>> = Vec::new();
        for values in values.chunks(TOGETHER).rev() {
            if let (Some(before), Some((next, _))) = (rows.last_mut(), values.last()) {
                before.next = Some(*next);
            }
            rows.push(Front { values: values.to_vec(), next: None });
        }
        let mut rows = rows.into_iter();
        let turned = Self { from, until, front: rows.next(), back, extras: Vec::new() };
        Some((turned, rows.collect()))
    }

    /// Whether something of the back leaves before the window at `start`, so that all is to be turned round.
    pub(super) fn is_to_be_turned(&self, start: i64) -> bool {
        start > self.from
    }

    /// Lets go what leaves before the window at `start`. Answers with the hop whose front is to take the place of the one that has gone.
    pub(super) fn leave(&mut self, start: i64) -> Option<i64> {
        self.extras.retain(|(hop, _)| *hop >= start);
        let front = self.front.as_mut()?;
        front.values.pop_if(|(hop, _)| *hop < start);
        if front.values.is_empty() { self.front.take()?.next } else { None }
    }

    /// Takes a part of `slice` in.
    pub(super) fn enter(&mut self, windows: Hopping, merge: &Merging<A>, slice: i64, value: A) {
        self.until = self.until.max(slice);
        if slice >= self.from {
            return put(merge, &mut self.back, value);
        }
        let hop = hop_of(windows, slice);
        let at = self.extras.partition_point(|(there, _)| *there < hop);
        match self.extras.get_mut(at) {
            Some((there, acc)) if *there == hop => merge(acc, value),
            _ => self.extras.insert(at, (hop, value)),
        }
    }

    /// All of it.
    pub(super) fn value(&self, merge: &Merging<A>) -> Option<A> {
        let front = self.front.iter().filter_map(|front| front.values.last());
        let mut value = front.map(|(_, value)| value.clone()).next();
        for part in self.back.iter().chain(self.extras.iter().map(|(_, part)| part)) {
            put(merge, &mut value, part.clone());
        }
        value
    }
}

/// The hop that `slice` lies in, with which it leaves.
fn hop_of(windows: Hopping, slice: i64) -> i64 {
    clamped(floor(i128::from(slice), windows.hop_ms))
}
