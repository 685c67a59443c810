//! Alarms: rows of which something becomes at a time of their own.
//!
//! | file | what it is |
//! |---|---|
//! | `rows` | rows that carry an alarm each, and what is done to them where one is due |
//! | `index` | the alarms in the order of time, and those that have come due |
//!
//! An alarm is due for its key before the first record of that key whose stream time has come to it, and at the latest at the end of
//! the epoch with which the watermark has. These are one moment in the sequence of what happens to the key, as no record can follow
//! with less stream time than the watermark: so that sequence is a function of the log, whatever the epochs. How the keys follow each
//! other is not: what is due before a record is told there, and what time alone has made due behind all records of the epoch.
//!
//! Invariant: a row with an alarm that is not due yet is in the index, under a time that is not later than the alarm. The row says
//! under which, and there is no other of its key. So an alarm that is put off again and again costs nothing: when the entry comes due the
//! row is looked at, and filed anew if its alarm is later. The index is written from what an epoch has changed of that, never looked into
//! by key, and read in the order of time.

mod index;
mod rows;

pub(crate) use rows::{AlarmedRows, Given, Kept, Moment, When, shown};
