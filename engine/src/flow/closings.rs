//! What closes, each thing by itself, so that one at which code fails can be left out.
//!
//! An operator that tells what has closed asks for each whether it is [told](super::Pass::tells). Nobody keeps account of it, and nothing is
//! encoded, unless something of the epoch is left out or is being looked for.

use super::{Branch, Stamp};
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One thing that closes. They are in the order in which what closes follows each other, and then of keys and nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Closing {
    sequence: u64,
    branch: Branch,
    /// The key, encoded; that of a window has the window.
    pub(crate) key: Vec<u8>,
    /// The node that tells it.
    pub(crate) node: usize,
    /// How what it tells is dated.
    pub(crate) timestamp_ms: i64,
}

impl Closing {
    pub(super) fn new(stamp: &Stamp, key: Vec<u8>, node: usize) -> Self {
        let Stamp { sequence, branch, timestamp_ms, .. } = *stamp;
        Self { sequence, branch, key, node, timestamp_ms }
    }

    /// When it is closed, in milliseconds since the Unix epoch.
    pub(crate) fn close_ms(&self) -> i64 {
        Stamp::close_ms_of(self.sequence)
    }

    /// A stamp at its place, for what is made of it.
    pub(crate) fn stamp(&self) -> Stamp {
        let Self { sequence, branch, timestamp_ms, .. } = *self;
        Stamp { sequence, branch, timestamp_ms, stream_time_ms: timestamp_ms }
    }
}

/// What is left out of what closes, with the reasons.
pub(crate) type LeftOutClosings = BTreeMap<Closing, String>;

/// What is told of what closes in one run of an epoch.
#[derive(Debug)]
pub(crate) struct Closings<'a> {
    left_out: &'a LeftOutClosings,
    /// Nothing that closes at this place is told but up to the one that is named, if any is, and nothing behind it.
    until: Option<(u64, Option<&'a Closing>)>,
    /// All that was to be told, if it is to be known.
    noted: Option<Mutex<BTreeSet<Closing>>>,
}

impl<'a> Closings<'a> {
    /// All but what is left out.
    pub(crate) fn all_but(left_out: &'a LeftOutClosings) -> Self {
        Self { left_out, until: None, noted: None }
    }

    /// The same, noting what there is.
    pub(crate) fn noting(left_out: &'a LeftOutClosings) -> Self {
        Self { noted: Some(Mutex::default()), ..Self::all_but(left_out) }
    }

    /// The same, but of this place only what comes up to `last`, or nothing if that is none; nothing behind it.
    pub(crate) fn until(left_out: &'a LeftOutClosings, place: u64, last: Option<&'a Closing>) -> Self {
        Self { until: Some((place, last)), ..Self::noting(left_out) }
    }

    /// Whether everything is told, and nobody wants to know.
    pub(crate) fn is_plain(&self) -> bool {
        self.left_out.is_empty() && self.until.is_none() && self.noted.is_none()
    }

    fn noted(noted: &Mutex<BTreeSet<Closing>>) -> MutexGuard<'_, BTreeSet<Closing>> {
        noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `closing` is told.
    pub(super) fn tells(&self, closing: Closing) -> bool {
        if self.left_out.contains_key(&closing) {
            return false;
        }
        let is_told = match self.until {
            Some((place, last)) => closing.sequence < place || last.is_some_and(|last| closing <= *last),
            None => true,
        };
        if let Some(noted) = &self.noted {
            Self::noted(noted).insert(closing);
        }
        is_told
    }

    /// What was noted at this place, in order.
    pub(crate) fn at(&self, place: u64) -> Vec<Closing> {
        let at =
            |noted| Self::noted(noted).iter().filter(|closing| closing.sequence == place).cloned().collect();
        self.noted.as_ref().map(at).unwrap_or_default()
    }
}
