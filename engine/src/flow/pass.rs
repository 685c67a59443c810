//! A pass: one shard on its way through one epoch, as far as tables have to know of it.

use super::closings::{Closing, Closings};
use super::{Event, Failure, Meter, Stamp};
use crate::Result;
use crate::codec::KeyCodec;
use std::fmt;

/// Whether a fold hands on every single update of a table, or only what became of each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Only the change of each key.
    Changes,
    /// Every update too, but for those that leave the value as it was.
    Updates,
}

/// What is done to a key at a time, and not for a record.
#[derive(Debug)]
pub(crate) struct Due {
    what: &'static str,
    at_ms: i64,
    /// Encoded.
    key: Vec<u8>,
}

impl Due {
    fn alarm(at_ms: i64, key: &impl KeyCodec) -> Self {
        Self::of("alarm", at_ms, key)
    }

    fn of(what: &'static str, at_ms: i64, key: &impl KeyCodec) -> Self {
        let mut encoded = Vec::new();
        key.encode_key(&mut encoded);
        Self { what, at_ms, key: encoded }
    }
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, at_ms, key } = self;
        write!(
            f,
            "the {what} of the key {} (as it is encoded), which was due at {at_ms} ms",
            key.escape_ascii()
        )
    }
}

/// One shard on its way through one epoch.
pub struct Pass<'a> {
    pub(crate) shard: usize,
    pub(crate) epoch: u64,
    pub(crate) meter: &'a Meter,
    /// Whether to note which record is being worked on.
    pub(crate) tracing: bool,
    pub(crate) current: Option<Stamp>,
    /// What is due, if that is what is worked on.
    pub(crate) due: Option<Due>,
    /// The node that runs.
    pub(crate) node: usize,
    /// What is told of what closes, unless it is everything.
    pub(crate) closings: Option<&'a Closings<'a>>,
}

impl fmt::Debug for Pass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("shard", &self.shard).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Where an operator [charges](Pass::charge), for closures that cannot hold its context.
#[derive(Clone, Copy)]
pub struct Charges<'a>(&'a Meter);

impl fmt::Debug for Charges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charges").finish_non_exhaustive()
    }
}

impl Charges<'_> {
    /// As [`Pass::charge`].
    ///
    /// # Errors
    /// As there.
    pub fn charge<T>(&self, values: usize) -> Result<(), Failure> {
        self.0.add::<T>(values)
    }
}

impl<'a> Pass<'a> {
    /// Where the operator charges while its context is borrowed.
    #[must_use]
    pub fn charges(&self) -> Charges<'a> {
        Charges(self.meter)
    }
}

impl Pass<'_> {
    /// The shard that runs.
    #[must_use]
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// Says that `values` values of type `T` were made beyond those that came in. An operator that makes many values of one
    /// calls this now and then, in steps of a thousand or so, so that an epoch whose records become more than its part of
    /// the memory budget is cut smaller.
    ///
    /// # Errors
    /// The epoch has become too large: hand the error on.
    pub fn charge<T>(&self, values: usize) -> Result<(), Failure> {
        self.charges().charge::<T>(values)
    }

    /// As [`charge`](Self::charge), where the bytes are known.
    pub(crate) fn charge_bytes(&self, bytes: usize) -> Result<(), Failure> {
        self.meter.add_bytes(bytes)
    }

    /// Names the value that user code is about to see, so that a failure can be attributed to its record. Free
    /// unless the engine is looking for the record of a failure.
    #[inline]
    pub fn at(&mut self, stamp: &Stamp) {
        if self.tracing {
            self.current = Some(*stamp);
            self.due = None;
        }
    }

    /// As [`at`](Self::at), where that is the alarm of `key` that was set for `at_ms`: no record is to blame for what fails there, and the
    /// error says at which alarm it did.
    #[inline]
    pub fn at_alarm<K: KeyCodec>(&mut self, stamp: &Stamp, at_ms: i64, key: &K) {
        self.at(stamp);
        if self.tracing {
            self.due = Some(Due::alarm(at_ms, key));
        }
    }

    /// As [`at_alarm`](Self::at_alarm), where something closes for `key`, and `stamp` is that [of the closing](Stamp::of_closing): before
    /// code of the user takes part in what it comes to.
    #[inline]
    pub fn at_closing<K: KeyCodec>(&mut self, stamp: &Stamp, key: &K) {
        self.at(stamp);
        if let Some(place) = stamp.closing_place().filter(|_| self.tracing) {
            self.due = Some(Due::of("closing", Stamp::close_ms_of(place), key));
        }
    }

    /// Whether to tell of what closes for `key` and is told with `stamp`, one [of a closing](Stamp::of_closing): not if code failed at it and
    /// it is left out, or while the engine looks for which it is. Whatever else the operator makes of it stays as it is. Free unless
    /// code has failed.
    #[must_use]
    pub fn tells<K: KeyCodec>(&self, stamp: &Stamp, key: &K) -> bool {
        let Some(closings) = self.closings.filter(|_| stamp.closing_place().is_some()) else { return true };
        let mut encoded = Vec::new();
        key.encode_key(&mut encoded);
        closings.tells(Closing::new(stamp, encoded, self.node))
    }

    /// Leaves of `events` what is [told](Self::tells): an operator that puts out what closes calls it last.
    pub fn tell<K: KeyCodec, V>(&self, events: &mut Vec<Event<K, V>>) {
        if self.closings.is_some() {
            events.retain(|event| self.tells(&event.stamp, &event.key));
        }
    }

    /// The error of an operator at whose value with `stamp` code of the user has failed, for this `reason`: the failure
    /// policy handles the record that it was made from. Nothing has to be run again to find it.
    #[must_use]
    pub fn failed(&self, stamp: &Stamp, reason: impl fmt::Display) -> Failure {
        Failure::of_record(*stamp, reason)
    }

    /// As [`failed`](Self::failed), at the alarm of `key` that was set for `at_ms`.
    #[must_use]
    pub fn failed_at_alarm<K: KeyCodec>(
        &self,
        stamp: &Stamp,
        at_ms: i64,
        key: &K,
        reason: impl fmt::Display,
    ) -> Failure {
        Failure::of_record(*stamp, reason).at_alarm(Due::alarm(at_ms, key))
    }
}
