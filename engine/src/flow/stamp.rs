//! Stamps: where a value in the graph comes from, and the order in which an exchange puts values.
//!
//! Invariant: the order is total over the values of one node and depends only on the input, never on epochs, shards or
//! threads. It is the order in which the values would be made if records were taken one after the other.

use super::branch::Branch;
use super::{Event, Origin};

/// Where the places of what no record has caused begin.
const FIRST_CLOSING: u64 = 1 << 63;

/// So many milliseconds on either side of 1970 are told apart.
const CLOSINGS: i64 = 1 << 62;

/// The origin of a value.
///
/// Stamps are ordered by the place of their record in the log, and then by how the values were made from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stamp {
    /// The place of the record in the order of the log.
    pub(crate) sequence: u64,
    pub(crate) branch: Branch,
    /// When it happened, in milliseconds since the Unix epoch, as the record carried it. It orders nothing.
    pub timestamp_ms: i64,
    /// How far its partition had come in time: the greatest timestamp of the record and of all before it there, over all of
    /// the partition's history. Whether it is late is decided by this.
    pub stream_time_ms: i64,
}

/// What closes for one key, as far as stamps tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClosingPlace {
    sequence: u64,
    first_bytes: u64,
    /// A hash of the key.
    of_key: u64,
}

impl ClosingPlace {
    /// Whether both close at one time, for keys whose order stamps do not tell.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        (self.sequence, self.first_bytes) == (other.sequence, other.first_bytes)
    }
}

impl Stamp {
    /// The stamp of a record with this place in the order of the log. Sources get theirs from the engine; this one is for
    /// tests of operators of one's own.
    #[must_use]
    pub fn new(timestamp_ms: i64, sequence: u64) -> Self {
        Self { sequence, branch: Branch::default(), timestamp_ms, stream_time_ms: timestamp_ms }
    }

    /// The stamp of what is made where something closes at `close_ms` for the key with this encoding: no record has caused it. It
    /// stands behind all records of its epoch, in the order of times, and then of keys as far as their first bytes tell them apart; a
    /// topic gets what closes at one time in the order of the keys that it has there. A place has 63 bits for the time, so that all of
    /// what closes more than 2^62 ms from 1970 closes at one time.
    #[must_use]
    pub fn of_closing(close_ms: i64, encoded_key: &[u8], timestamp_ms: i64) -> Self {
        // No log comes to 2^63 records, and no date is so far away that half of the range would not do.
        let since = (close_ms.clamp(-CLOSINGS, CLOSINGS - 1) + CLOSINGS).cast_unsigned();
        let branch = Branch::default().then_in_order(encoded_key).of_time();
        Self { sequence: FIRST_CLOSING | since, branch, timestamp_ms, stream_time_ms: timestamp_ms }
    }

    /// The stamp of a value that has waited for its time, and is let go at `close_ms`. It stands behind all records of its epoch,
    /// in the order of times, and then of origins.
    #[must_use]
    pub fn of_release(close_ms: i64, origin: Origin, timestamp_ms: i64) -> Self {
        let branch = Branch::of_value(origin.branch, origin.sequence);
        Self { branch, ..Self::of_closing(close_ms, &[], timestamp_ms) }
    }

    /// Whether no record has caused it.
    pub(crate) fn is_of_closing(&self) -> bool {
        self.sequence >= FIRST_CLOSING || self.branch.is_of_time()
    }

    /// The place of what closes, and of what is made of it; `None` of what a record has caused, or was due before one.
    pub(crate) fn closing_place(&self) -> Option<u64> {
        (self.sequence >= FIRST_CLOSING).then_some(self.sequence)
    }

    /// When that closes which has such a [place](Self::closing_place).
    pub(crate) fn close_ms_of(place: u64) -> i64 {
        (place & !FIRST_CLOSING).cast_signed() - CLOSINGS
    }

    /// What closes for a key; `None` of what a record has caused, and of what was [let go](Self::of_release), which follows the order of
    /// records.
    pub(crate) fn closing(&self) -> Option<ClosingPlace> {
        let is_for_a_key = self.sequence >= FIRST_CLOSING && self.branch.is_of_time();
        let (first_bytes, of_key) = self.branch.left();
        is_for_a_key.then_some(ClosingPlace { sequence: self.sequence, first_bytes, of_key })
    }

    /// The stamp of what was due for a key at `due_ms`, the `index`th such before this record was worked on for the key: it stands
    /// before what [is made of the record then](Self::behind_what_was_due). The record has not caused it, and is not to blame.
    #[must_use]
    pub fn of_due_before(mut self, index: usize, due_ms: i64) -> Self {
        self.branch = self.branch.then(0).then(index as u64).of_time();
        (self.timestamp_ms, self.stream_time_ms) = (due_ms, due_ms);
        self
    }

    /// The stamp of this record for a key of which something may have been [due before](Self::of_due_before).
    #[must_use]
    pub fn behind_what_was_due(self) -> Self {
        self.branch(1)
    }

    /// The stamp of what was due for a key at `due_ms` once time had come so far, behind all records of the epoch, of which this was the
    /// last one of the key, before anything [was due before it](Self::of_due_before): that of a [closing](Self::of_closing). Where this one
    /// has itself come of a closing that stands no earlier, it stands behind what [is made of that](Self::behind_what_was_due), the
    /// `index`th such: what happens to a key keeps its order.
    #[must_use]
    pub fn of_due_behind(mut self, index: usize, due_ms: i64, encoded_key: &[u8]) -> Self {
        let closing = Self::of_closing(due_ms, encoded_key, due_ms);
        if closing.sequence > self.sequence {
            return closing;
        }
        self.branch = self.branch.then(2).then(index as u64).of_time();
        (self.timestamp_ms, self.stream_time_ms) = (due_ms, due_ms);
        self
    }

    /// The stamp of the same record where its partition had come as far as `stream_time_ms`.
    #[must_use]
    pub fn at_stream_time(mut self, stream_time_ms: i64) -> Self {
        self.stream_time_ms = stream_time_ms;
        self
    }

    /// The stamp of the `index`th value made from the value with this stamp, all of which come before what is made from
    /// the next one.
    ///
    /// Values keep their order as long as there is room: for about 15 levels of some values each, or 5 of a million. Beyond
    /// that it is still a function of the input, but arbitrary.
    #[must_use]
    pub fn branch(mut self, index: usize) -> Self {
        self.branch = self.branch.then(index as u64);
        self
    }

    /// The stamp of a value that stands in this place, but was made from one with the stamp `cause`: it has the times of that, and whoever
    /// is to blame for that is to blame for it.
    #[must_use]
    pub fn caused_by(mut self, cause: &Self) -> Self {
        self.branch = self.branch.caused_as(cause.branch);
        (self.timestamp_ms, self.stream_time_ms) = (cause.timestamp_ms, cause.stream_time_ms);
        self
    }

    /// The stamp of this value where two streams become one: of one record, all that comes on the first way stands before
    /// all that comes on the second, whatever was made of it on either.
    #[must_use]
    pub fn side(self, second: bool) -> Self {
        self.way(usize::from(second), 2)
    }

    /// As [`side`](Self::side), where so many `ways` become one, of which this value comes on the `index`th, counted from 0.
    #[must_use]
    pub fn way(mut self, index: usize, ways: usize) -> Self {
        self.branch = self.branch.on_way(index, ways);
        self
    }

    /// The stamp of a value that was made from this one and belongs to the key with this encoding: it orders
    /// the changes of different keys that one record caused. Several values of one key lose their order, for the
    /// hash of the key is mixed into their branches: [`branch`](Self::branch) what this makes of the first one instead.
    #[must_use]
    pub fn branch_by_key(mut self, encoded_key: &[u8]) -> Self {
        self.branch = self.branch.then_key(encoded_key);
        self
    }

    /// Whether both values come from the same record.
    #[must_use]
    pub fn shares_record(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }

    /// Whether a table update with stamp `update` is visible to a stream record with this stamp: one that an earlier
    /// record has caused, or the same one, which changes its tables first.
    #[must_use]
    pub fn sees(&self, update: &Self) -> bool {
        update.sequence <= self.sequence
    }
}

/// A value that an exchange can put in order.
pub trait Stamped {
    /// Its stamp.
    fn stamp(&self) -> &Stamp;

    /// Its stamp, to be changed.
    fn stamp_mut(&mut self) -> &mut Stamp;
}

impl<K, V> Stamped for Event<K, V> {
    fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    fn stamp_mut(&mut self) -> &mut Stamp {
        &mut self.stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_in_the_log_decides_whatever_the_timestamps_are() {
        let stamps = [Stamp::new(9, 4), Stamp::new(1, 5), Stamp::new(9, 6).branch(3), Stamp::new(0, 7)];
        assert!(stamps.is_sorted());
    }

    /// Once, the side stood below the branch, and the raw record came before what was made of it.
    #[test]
    fn what_comes_on_the_first_way_stands_before_what_comes_on_the_second() {
        let record = Stamp::new(1, 1);
        let made = (0..100_000).map(|index| record.branch(index).side(false));
        let merged: Vec<Stamp> = made.chain([record.side(true)]).collect();
        assert!(merged.is_sorted_by(|a, b| a < b));
        let again: Vec<Stamp> =
            merged.iter().map(|stamp| stamp.side(false)).chain([record.branch(0).side(true)]).collect();
        assert!(again.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn many_ways_keep_their_order_as_two_do() {
        let record = Stamp::new(1, 1);
        for ways in [1, 2, 3, 8, 9, 1000] {
            let merged: Vec<Stamp> = (0..ways)
                .flat_map(|way| (0..100).map(move |index| record.branch(index).way(way, ways)))
                .collect();
            assert!(merged.is_sorted_by(|a, b| a < b), "{ways} ways");
        }
        assert_eq!(record.branch(3).way(1, 2), record.branch(3).side(true));
        assert_eq!(record.branch(3).way(0, 1), record.branch(3), "one way takes no room");
    }

    #[test]
    fn what_was_due_stands_before_its_record_and_behind_the_one_before() {
        let record = Stamp::new(7, 3);
        let stamps = [
            Stamp::new(9, 2).behind_what_was_due().branch(70_000),
            record.of_due_before(0, 50).branch(3),
            record.of_due_before(1, 60),
            record.behind_what_was_due(),
            Stamp::of_closing(1, b"key", 1),
        ];
        assert!(stamps.is_sorted_by(|a, b| a < b));
        assert_eq!(stamps.map(|stamp| stamp.is_of_closing()), [false, true, true, false, true]);
    }

    #[test]
    fn what_takes_the_place_of_another_keeps_its_own_time_and_cause() {
        let record = Stamp::new(7, 3);
        let (due, own) = (record.of_due_before(0, 5), record.behind_what_was_due());
        let place = due.branch_by_key(b"key");
        let made = [place.branch(0).caused_by(&due), place.branch(1).caused_by(&own)];
        assert!(made.is_sorted_by(|a, b| a < b));
        assert_eq!(made.map(|stamp| stamp.is_of_closing()), [true, false]);
        assert_eq!(made.map(|stamp| (stamp.timestamp_ms, stamp.stream_time_ms)), [(5, 5), (7, 7)]);
    }

    /// Once, what was due with the watermark stood before the closing behind which it was due, where that is closed a grace later.
    #[test]
    fn what_was_due_behind_a_closing_stands_behind_it() {
        let last = Stamp::of_closing(70, b"key", 59);
        let stamps = [
            last.of_due_before(0, 50),
            last.behind_what_was_due().branch(70_000),
            last.of_due_behind(0, 60, b"key").branch(3),
            last.of_due_behind(1, 70, b"key"),
            last.of_due_behind(2, 71, b"key"),
        ];
        assert!(stamps.is_sorted_by(|a, b| a < b));
        assert!(last.of_due_behind(0, 60, b"key").is_of_closing());
        assert_eq!(Stamp::new(9, 4).of_due_behind(3, 5, b"key"), Stamp::of_closing(5, b"key", 5));
    }

    #[test]
    fn an_event_of_two_integers_takes_56_bytes() {
        assert_eq!(size_of::<Event<u64, u64>>(), 56);
    }
}
