//! The contract of [`Changelog`], run over every implementation: a suite for each part, and random steps against a model.
//!
//! What a log cannot do it says by its [`abilities`](Changelog::abilities), and what is asked of it is asked accordingly. A new
//! implementation is a [`Subject`] and a line of `changelog_contract!`, here or, with the feature `contract-tests`, in a
//! crate of its own: nothing in here needs more than the crate itself.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "tests, which fail by panicking, and are compiled as a part of the crate for others that run them"
)]

pub mod appending;
pub mod closing;
pub mod epochs;
pub mod model;
pub mod names;
#[cfg(test)]
#[cfg(feature = "rocks")]
mod own;
pub mod reading;
pub mod retention;
pub mod term;
pub mod topics;

use super::*;
use crate::{ErrorKind, ManualClock, Position, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// An implementation under test: how to open it, and how to open it again with what it holds.
pub trait Subject: Sized {
    type Log: Changelog;
    /// Whether it is reopened within the process that leased a name, so that the name stays leased.
    const LEASES_OUTLIVE_IT: bool;
    /// Whether it remembers what topics hold, who uses a name, and how long records are kept.
    const REMEMBERS: bool;
    /// Whether each opening that appends begins a term; if not, its terms are always the same.
    const BEGINS_TERMS: bool;

    /// Whether it can be had here; who answers `false` has said why.
    fn is_available() -> bool {
        true
    }

    /// A new and empty one.
    fn open(clock: Arc<ManualClock>) -> Self;
    fn log(&self) -> &Self::Log;
    fn reopen(self) -> Self;
}

pub(crate) fn subject<S: Subject>() -> S {
    let subject = S::open(Arc::new(ManualClock::new(1_000_000)));
    subject.log().create_topic("a", &topic(2)).unwrap();
    subject.log().create_topic("b", &topic(1)).unwrap();
    subject
}

pub(crate) fn topic(partitions: u32) -> TopicConfig {
    TopicConfig::default().partitions(partitions)
}

pub(crate) fn a(partition: u32) -> TopicPartition {
    TopicPartition::new("a", partition)
}

pub(crate) fn b() -> TopicPartition {
    TopicPartition::new("b", 0)
}

pub(crate) fn position(offsets: &[(TopicPartition, u64)]) -> Position {
    offsets.iter().cloned().collect()
}

pub(crate) fn record(number: u64) -> Record {
    let filler = "x".repeat(usize::try_from(number % 50).unwrap());
    let mut record = Record::new(format!("key-{number}"), format!("value-{number}-{filler}"));
    record.key.take_if(|_| number % 7 == 3);
    // 0 is none to some.
    record.at(number.cast_signed() + 1)
}

pub(crate) fn records(numbers: Range<u64>) -> Vec<Record> {
    numbers.map(record).collect()
}

pub(crate) fn to(partition: TopicPartition, records: Vec<Record>) -> Vec<Append> {
    vec![Append { partition, records }]
}

/// Whether whoever has the log open appends epochs, without joining others of its name first.
pub(crate) fn appends_epochs(log: &impl Changelog) -> bool {
    let can = log.abilities();
    can.atomic_epochs && can.exclusive_names
}

pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// Where a partition begins and ends now.
pub(crate) fn ends(log: &impl Changelog, partition: &TopicPartition) -> Range<u64> {
    log.latest_offsets(partition).unwrap()
}

/// Everything from `offset` on, polled in small steps, with its offsets; asserts that those are dense if they are to be.
pub(crate) fn read_placed(
    log: &impl Changelog,
    partition: &TopicPartition,
    offset: u64,
    max_bytes: usize,
) -> Vec<(u64, Record)> {
    let (is_dense, end) = (log.abilities().dense_offsets, ends(log, partition).end);
    let mut reader = log.reader(partition, offset).unwrap();
    let mut read: Vec<(u64, Record)> = Vec::new();
    let mut waits = 0;
    loop {
        let (before, batches) = (reader.offset(), reader.poll(max_bytes).unwrap());
        for batch in &batches {
            let (base, batch_end) = (batch.base_offset(), batch.end_offset());
            for record in &batch.decode().unwrap() {
                assert!(
                    (base..batch_end).contains(&record.offset),
                    "{partition}: {} of {base}..{batch_end}",
                    record.offset
                );
                if record.offset < offset {
                    continue;
                }
                let next = read.last().map_or(offset, |(last, _)| last + 1);
                assert!(
                    record.offset == next || (record.offset > next && !is_dense),
                    "{partition}: {}",
                    record.offset
                );
                read.push((record.offset, record.to_record()));
            }
        }
        assert!(!is_dense || reader.offset() == offset + read.len() as u64);
        if reader.offset() > before {
            waits = 0;
        } else if reader.offset() >= end {
            assert_eq!(reader.offset(), end);
            return read;
        } else {
            assert!(!is_dense && waits < 100, "{partition}: nothing comes from {before} on up to {end}");
            waits += 1;
            reader.wait(Duration::from_millis(300)).unwrap();
        }
    }
}

/// The records of [`read_placed`].
pub(crate) fn read_from(
    log: &impl Changelog,
    partition: &TopicPartition,
    offset: u64,
    max_bytes: usize,
) -> Vec<Record> {
    read_placed(log, partition, offset, max_bytes).into_iter().map(|(_, record)| record).collect()
}

/// The guarantees as tests of an implementation.
#[macro_export]
#[doc(hidden)]
macro_rules! changelog_contract {
    ($implementation:ident: $subject:ty) => {
        mod $implementation {
            use super::*;

            $crate::changelog_contract! { $subject =>
                appending::offsets_ascend_and_records_keep_them
                appending::an_append_is_all_or_nothing
                appending::an_append_keeps_its_order
                topics::topics_are_created_once
                topics::a_topic_without_a_number_is_taken_as_it_is
                topics::a_topic_may_be_dated_by_the_log
                topics::a_topic_remembers_what_it_holds
                topics::only_who_decides_changes_the_retention
                reading::a_log_says_what_it_can_do
                reading::readers_know_where_a_partition_begins_and_ends
                reading::who_reads_one_partition_does_not_hinder_others
                epochs::an_epoch_is_appended_once
                reading::all_records_are_one_sequence
                reading::whoever_follows_the_sequence_learns_where_to_look
                retention::nothing_held_is_trimmed
                retention::an_emptied_partition_keeps_its_offsets
                names::a_name_is_leased_to_one_at_a_time
                names::a_name_keeps_its_owner
                names::the_names_in_use_are_told
                names::a_released_name_is_a_new_one
                term::every_opening_that_appends_begins_a_term
                term::terms_of_two_logs_have_nothing_in_common
                closing::a_closed_changelog_says_so
                model::some_random_steps
            }
        }
    };
    ($subject:ty => $($suite:ident::$guarantee:ident)*) => {
        $(#[test]
        fn $guarantee() {
            if <$subject as $crate::changelog::contract_tests::Subject>::is_available() {
                $crate::changelog::contract_tests::$suite::$guarantee::<$subject>();
            }
        })*
    };
}
