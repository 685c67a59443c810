//! What a process emits and says of a record or of an alarm.

use millpond_engine::dataflow::{Event, Stamp};
use std::fmt;

/// Collects what a [`Process`](super::Process) emits for one record, and an [`Alarmed`](super::Alarmed) one at one alarm.
pub struct Emit<K, V> {
    pub(super) events: Vec<Event<K, V>>,
    stamp: Stamp,
    index: usize,
    pub(super) failed: Option<String>,
    /// Whether rows carry alarms.
    carries_alarms: bool,
    /// When the row is to be looked at again.
    alarm: Option<i64>,
}

impl<K, V> Emit<K, V> {
    pub(super) fn with_capacity(events: usize) -> Self {
        let events = Vec::with_capacity(events);
        Self { events, stamp: Stamp::default(), index: 0, failed: None, carries_alarms: false, alarm: None }
    }

    pub(super) fn begin(&mut self, stamp: Stamp) {
        self.stamp = stamp;
        self.index = 0;
    }

    /// As [`begin`](Self::begin), for a row whose alarm is this.
    pub(super) fn begin_with_alarm(&mut self, stamp: Stamp, alarm: Option<i64>) {
        self.begin(stamp);
        (self.carries_alarms, self.alarm) = (true, alarm);
    }

    /// Emits a record, behind those that were emitted before.
    pub fn push(&mut self, key: K, value: V) {
        self.events.push(Event { key, value, stamp: self.stamp.branch(self.index) });
        self.index += 1;
    }

    /// Says that the record cannot be worked on, for this `reason`: that is its failure, for the failure policy to handle.
    /// All that was and will be emitted for it, and made of the state, is undone. Of several reasons the first counts. For what fails
    /// at an alarm no record is to blame: the engine stops.
    pub fn fail(&mut self, reason: impl fmt::Display) {
        self.failed.get_or_insert_with(|| reason.to_string());
    }

    /// The timestamp of the record: milliseconds since the Unix epoch, as the record carried it. It orders nothing. At an alarm: when
    /// that was due.
    #[must_use]
    pub fn timestamp_ms(&self) -> i64 {
        self.stamp.timestamp_ms
    }

    /// How far the record's partition had come in time: the greatest timestamp of it and of all before it there, in milliseconds
    /// since the Unix epoch. By this a record is late or not, whatever other partitions hold and however it was read. At an alarm: when
    /// that was due.
    #[must_use]
    #[doc(alias = "currentStreamTimeMs")]
    pub fn stream_time_ms(&self) -> i64 {
        self.stamp.stream_time_ms
    }

    /// When the alarm of the key is due, in milliseconds since the Unix epoch, if one is set; at an alarm only if it was set again.
    #[must_use]
    pub fn alarm(&self) -> Option<i64> {
        self.alarm
    }

    /// Sets the alarm of the key to `at_ms`, in milliseconds since the Unix epoch, in place of the one that is set; `None` takes it
    /// back. One that is past, as the record's partition has come as far, is due at once: before the next record of the key that has
    /// come as far, or with the watermark, dated with the stream time of this record. The greatest time there is never comes. See
    /// [`Alarmed`](super::Alarmed).
    ///
    /// The alarm stands with the state and goes with it: to set one and leave no state is a failure. So is it at an alarm to set one that
    /// is no later than that, and in a [process without alarms](super::Stream::process) to set one at all.
    #[doc(alias = "schedule")]
    #[doc(alias = "Punctuator")]
    pub fn set_alarm(&mut self, at_ms: Option<i64>) {
        if !self.carries_alarms {
            self.fail("an alarm is set in `process`, which has none: use `process_with_alarms`");
        }
        self.alarm = at_ms;
    }
}

impl<K, V> fmt::Debug for Emit<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emit")
            .field("emitted", &self.index)
            .field("timestamp_ms", &self.timestamp_ms())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
