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

use super::{Hopping, clamped, floor};
use serde::{Deserialize, Serialize};

/// How two values become one.
pub(super) type Merging<A> = dyn Fn(&mut A, A) + Send + Sync;

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

/// The value of all in the front from a hop on, and the next hop that has something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Front<A> {
    pub(super) hop: i64,
    value: A,
    pub(super) next: Option<i64>,
}

fn put<A>(merge: &Merging<A>, into: &mut Option<A>, value: A) {
    match into {
        Some(there) => merge(there, value),
        None => *into = Some(value),
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
        let mut turned = Self { from, until, front: None, back: None, extras: Vec::new() };
        let mut later = Vec::new();
        for (slice, value) in entries.into_iter().rev() {
            let hop = hop_of(windows, slice);
            if slice >= from {
                put(merge, &mut turned.back, value);
                continue;
            }
            match &mut turned.front {
                Some(front) if front.hop == hop => merge(&mut front.value, value),
                front => {
                    let mut next = Front { hop, value, next: front.as_ref().map(|front| front.hop) };
                    if let Some(behind) = front.take() {
                        merge(&mut next.value, behind.value.clone());
                        later.push(behind);
                    }
                    *front = Some(next);
                }
            }
        }
        Some((turned, later))
    }

    /// Whether something of the back leaves before the window at `start`, so that all is to be turned round.
    pub(super) fn is_to_be_turned(&self, start: i64) -> bool {
        start > self.from
    }

    /// Lets go what leaves before the window at `start`. Answers with the hop whose front is to take the place of the one that has gone.
    pub(super) fn leave(&mut self, start: i64) -> Option<i64> {
        self.extras.retain(|(hop, _)| *hop >= start);
        let gone = self.front.take_if(|front| front.hop < start)?;
        gone.next
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
        let mut value = self.front.as_ref().map(|front| front.value.clone());
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
