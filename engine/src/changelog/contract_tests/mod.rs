//! The contract of [`Changelog`], run over every implementation: a suite for each part, and random steps against a model.
//!
//! A new implementation is a [`Subject`] and a line in the list at the end.

mod appending;
mod closing;
mod epochs;
mod model;
mod names;
mod reading;
mod retention;
mod term;
mod topics;

use super::*;
use crate::{ErrorKind, ManualClock, Position, TopicPartition};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// An implementation under test: how to open it, and how to open it again with what it holds.
trait Subject: Sized {
    type Log: Changelog;
    /// Whether it is reopened within the process that leased a name, so that the name stays leased.
    const LEASES_OUTLIVE_IT: bool;

    fn open(clock: Arc<ManualClock>) -> Self;
    fn log(&self) -> &Self::Log;
    fn reopen(self) -> Self;
}

struct InMemory(MemoryChangelog);

impl Subject for InMemory {
    type Log = MemoryChangelog;
    const LEASES_OUTLIVE_IT: bool = true;

    fn open(clock: Arc<ManualClock>) -> Self {
        Self(MemoryChangelog::with_clock(clock))
    }

    fn log(&self) -> &MemoryChangelog {
        &self.0
    }

    fn reopen(self) -> Self {
        self.0.close().unwrap();
        Self(self.0.reopen())
    }
}

struct Embedded {
    log: Option<EmbeddedChangelog>,
    clock: Arc<ManualClock>,
    dir: TempDir,
}

impl Embedded {
    fn options(clock: Arc<ManualClock>) -> EmbeddedOptions {
        EmbeddedOptions {
            clock,
            durability: Durability::Os,
            segment_bytes: 2000,
            max_batch_bytes: 300,
            ..EmbeddedOptions::default()
        }
    }
}

impl Subject for Embedded {
    type Log = EmbeddedChangelog;
    const LEASES_OUTLIVE_IT: bool = false;

    fn open(clock: Arc<ManualClock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = EmbeddedChangelog::open(dir.path(), Self::options(clock.clone())).unwrap();
        Self { log: Some(log), clock, dir }
    }

    fn log(&self) -> &EmbeddedChangelog {
        self.log.as_ref().unwrap()
    }

    fn reopen(mut self) -> Self {
        self.log.take().unwrap().close().unwrap();
        self.log = Some(EmbeddedChangelog::open(self.dir.path(), Self::options(self.clock.clone())).unwrap());
        self
    }
}

fn subject<S: Subject>() -> S {
    let subject = S::open(Arc::new(ManualClock::new(1_000_000)));
    subject.log().create_topic("a", &topic(2)).unwrap();
    subject.log().create_topic("b", &topic(1)).unwrap();
    subject
}

fn topic(partitions: u32) -> TopicConfig {
    TopicConfig::default().partitions(partitions)
}

fn a(partition: u32) -> TopicPartition {
    TopicPartition::new("a", partition)
}

fn b() -> TopicPartition {
    TopicPartition::new("b", 0)
}

fn position(offsets: &[(TopicPartition, u64)]) -> Position {
    offsets.iter().cloned().collect()
}

fn record(number: u64) -> Record {
    let filler = "x".repeat(usize::try_from(number % 50).unwrap());
    let mut record = Record::new(format!("key-{number}"), format!("value-{number}-{filler}"));
    record.key.take_if(|_| number % 7 == 3);
    record.at(number.cast_signed())
}

fn records(numbers: Range<u64>) -> Vec<Record> {
    numbers.map(record).collect()
}

fn to(partition: TopicPartition, records: Vec<Record>) -> Vec<Append> {
    vec![Append { partition, records }]
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// Everything from `offset` on, polled in small steps; asserts that offsets are dense.
fn read_from(log: &impl Changelog, partition: &TopicPartition, offset: u64, max_bytes: usize) -> Vec<Record> {
    let mut reader = log.reader(partition, offset).unwrap();
    let mut read = Vec::new();
    loop {
        let batches = reader.poll(max_bytes).unwrap();
        if batches.is_empty() {
            assert_eq!(reader.offset(), log.offsets(partition).unwrap().end);
            return read;
        }
        for batch in &batches {
            for record in batch.decode().unwrap().iter().filter(|record| record.offset >= offset) {
                assert_eq!(record.offset, offset + read.len() as u64, "{partition}");
                read.push(record.to_record());
            }
        }
        assert_eq!(reader.offset(), offset + read.len() as u64);
    }
}

macro_rules! contract {
    ($implementation:ident: $subject:ty, $($suite:ident::$guarantee:ident)*) => {
        mod $implementation {
            use super::*;

            $(#[test] fn $guarantee() { super::$suite::$guarantee::<$subject>(); })*

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(24))]
                #[test]
                fn behaves_as_a_vector(steps in model::any_steps()) {
                    super::model::behaves_as_a_vector::<$subject>(steps);
                }
            }
        }
    };
    ($($implementation:ident: $subject:ty;)*) => {
        $(contract! { $implementation: $subject,
            appending::offsets_are_dense_and_records_keep_them
            appending::an_append_is_all_or_nothing
            topics::topics_are_created_once
            topics::a_topic_without_a_number_is_taken_as_it_is
            topics::a_topic_remembers_what_it_holds
            topics::only_who_decides_changes_the_retention
            reading::a_log_says_what_it_can_do
            reading::readers_know_where_a_partition_begins_and_ends
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
        })*
    };
}

contract! {
    in_memory: InMemory;
    embedded: Embedded;
}

#[test]
fn a_crash_in_memory_takes_back_what_was_not_synced() {
    let mark = |from, to| EpochMark { from: position(&[(b(), from)]), to: position(&[(b(), to)]) };
    let log = subject::<InMemory>().0;
    log.append_epoch("p", &mark(0, 1), to(a(0), records(0..1))).unwrap();
    log.sync().unwrap();
    log.append_epoch("p", &mark(1, 2), to(a(0), records(1..2))).unwrap();
    let after = log.crash();
    assert_eq!(kind(log.topics()), ErrorKind::Closed);
    assert_eq!(read_from(&after, &a(0), 0, 100), records(0..1));
    assert!(!after.append_epoch("p", &mark(0, 1), vec![]).unwrap());
    assert!(after.append_epoch("p", &mark(1, 2), to(a(0), records(1..2))).unwrap());
}
