//! Retention frees what nobody needs, whatever shares the log with it.
//!
//! Property: the embedded changelog takes a few times what can be read of it, plus a few segments, on disk: also if one
//! record in a hundred belongs to a topic that keeps its records for ever, if records of many ages are mixed, and after a
//! thousand starts. A record is gone once its age has passed, also if hardly anything is appended after it and if it, or
//! one beside it, is dated in the future. What is kept stays as it was, in its order, through restarts.
//!
//! Once, one record in a thousand of a topic without retention kept all the others' space (155 MiB where 3 were alive); a
//! record with an age of an hour could be read after ten days; one that was dated 2286 stopped the retention of its
//! topic; and each of a thousand starts left a file.
#![cfg(feature = "rocks")]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use millpond_engine::changelog::{
    Changelog, Durability, EmbeddedChangelog, EmbeddedOptions, MemoryChangelog, Record, TopicConfig,
};
use millpond_engine::changelog::{ReadLog, RetentionLog, TopicLog};
use millpond_engine::{Clock, ManualClock, TopicPartition};
use millpond_support::records;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const SEGMENT_BYTES: usize = 64 << 10;

fn open(dir: &Path, clock: &Arc<ManualClock>) -> EmbeddedChangelog {
    let options = EmbeddedOptions::default()
        .clock(clock.clone())
        .durability(Durability::Os)
        .segment_bytes(SEGMENT_BYTES);
    EmbeddedChangelog::open(dir, options).unwrap()
}

fn kept_for(retention_age: Option<Duration>) -> TopicConfig {
    TopicConfig::default().retention_age(retention_age)
}

fn partition(topic: &'static str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

/// Too irregular to compress.
fn value(number: u64, bytes: u64) -> Vec<u8> {
    (0..bytes / 8).flat_map(|word| (number * 31 + word + 1).wrapping_pow(13).to_le_bytes()).collect()
}

fn append(log: &dyn Changelog, topic: &'static str, value: Vec<u8>, at_ms: i64) {
    records::append(log, partition(topic), vec![Record::new("key", value).at(at_ms)]).unwrap();
}

fn read(log: &dyn Changelog, topic: &'static str) -> Vec<Vec<u8>> {
    let records = records::read(log, &partition(topic)).unwrap();
    records.into_iter().map(|record| record.value.unwrap().to_vec()).collect()
}

fn tables(dir: &Path) -> Vec<u64> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let tables = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "sst"));
    tables.map(|table| table.metadata().unwrap().len()).collect()
}

#[test]
fn what_is_kept_for_ever_does_not_keep_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(0));
    let mut log = open(dir.path(), &clock);
    log.create_topic("brief", &kept_for(Some(HOUR))).unwrap();
    log.create_topic("for-ever", &kept_for(None)).unwrap();
    let mut expected = Vec::new();
    for number in 0..8000 {
        clock.advance(1000);
        append(&log, "brief", value(number, 800), clock.now_ms());
        if number % 100 == 0 {
            expected.push(value(number, 400));
            append(&log, "for-ever", value(number, 400), clock.now_ms());
        }
        if number % 500 == 499 {
            log.enforce_retention().unwrap();
        }
        if number % 3000 == 2999 {
            drop(log);
            log = open(dir.path(), &clock);
        }
    }
    clock.advance(2 * 3_600_000);
    for _ in 0..3 {
        log.enforce_retention().unwrap();
    }
    assert!(read(&log, "brief").is_empty());
    assert_eq!(read(&log, "for-ever"), expected);
    let taken: u64 = tables(dir.path()).iter().sum();
    let alive = log.stored_bytes().unwrap().unwrap();
    // Without moving, it is nearly all of the 6.6 MB that were appended.
    assert!(
        alive > 30_000 && taken < 3 * alive + 4 * SEGMENT_BYTES as u64,
        "{taken} bytes where {alive} are alive"
    );
    let told = log.disk_bytes().unwrap().unwrap();
    assert!(told >= taken && told < taken + (1 << 20), "{told} bytes on disk, {taken} of records");
    drop(log);
    let log = open(dir.path(), &clock);
    assert_eq!(read(&log, "for-ever"), expected);
}

/// A reader does not notice that what it reads is moved meanwhile.
#[test]
fn readers_go_on_while_records_are_moved() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(0));
    let log = open(dir.path(), &clock);
    log.create_topic("brief", &kept_for(Some(HOUR))).unwrap();
    log.create_topic("for-ever", &kept_for(None)).unwrap();
    let numbers = 0..3000;
    // The writer holds it: the reader ends with the writer, also if it panics.
    let writing = Arc::new(());
    let written = Arc::downgrade(&writing);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut rounds = 0;
            while written.strong_count() > 0 || rounds == 0 {
                let values = read(&log, "for-ever");
                for (number, found) in (0..).step_by(50).zip(&values) {
                    assert_eq!(*found, value(number, 400));
                }
                rounds += 1;
            }
            rounds
        });
        for number in numbers {
            clock.advance(10_000);
            append(&log, "brief", value(number, 800), clock.now_ms());
            if number % 50 == 0 {
                append(&log, "for-ever", value(number, 400), clock.now_ms());
            }
            if number % 100 == 99 {
                log.enforce_retention().unwrap();
            }
        }
        drop(writing);
        assert!(reading.join().unwrap() > 0);
    });
    assert_eq!(read(&log, "for-ever").len(), 60);
    let taken: u64 = tables(dir.path()).iter().sum();
    assert!(taken < 1_000_000, "{taken}: nothing was moved");
}

/// Both logs, each with a clock of its own.
fn with_both(test: impl Fn(&dyn Changelog, &ManualClock)) {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_000_000_000));
    test(&open(dir.path(), &clock), &clock);
    let clock = Arc::new(ManualClock::new(1_000_000_000));
    test(&MemoryChangelog::with_clock(clock.clone()), &clock);
}

#[test]
fn a_record_is_gone_once_its_age_has_passed() {
    with_both(|log, clock| {
        log.create_topic("brief", &kept_for(Some(HOUR))).unwrap();
        append(log, "brief", value(0, 8), clock.now_ms());
        clock.advance(3_500_000);
        log.enforce_retention().unwrap();
        assert_eq!(read(log, "brief").len(), 1);
        clock.advance(10 * 24 * 3_600_000);
        log.enforce_retention().unwrap();
        assert!(read(log, "brief").is_empty());
    });
}

#[test]
fn a_trickle_of_records_keeps_no_old_one() {
    with_both(|log, clock| {
        log.create_topic("brief", &kept_for(Some(HOUR))).unwrap();
        for minute in 0..600 {
            append(log, "brief", value(minute, 8), clock.now_ms());
            clock.advance(60_000);
            log.enforce_retention().unwrap();
            let kept = read(log, "brief").len();
            assert!(kept <= 70 && (kept >= 59 || minute < 60), "{kept} after {minute} minutes");
        }
    });
}

#[test]
fn a_record_of_the_future_does_not_stop_retention() {
    with_both(|log, clock| {
        log.create_topic("brief", &kept_for(Some(HOUR))).unwrap();
        append(log, "brief", value(0, 8), 9_999_999_999_999);
        append(log, "brief", value(1, 8), clock.now_ms());
        clock.advance(3_000_000);
        log.enforce_retention().unwrap();
        assert_eq!(read(log, "brief").len(), 2);
        append(log, "brief", value(2, 8), clock.now_ms());
        clock.advance(2_000_000);
        log.enforce_retention().unwrap();
        assert_eq!(read(log, "brief").len(), 1);
    });
}

#[test]
fn many_starts_leave_few_files() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(0));
    for number in 0..150 {
        let log = open(dir.path(), &clock);
        log.ensure_topic("for-ever", &kept_for(None)).unwrap();
        append(&log, "for-ever", value(number, 400), 0);
    }
    let log = open(dir.path(), &clock);
    assert_eq!(read(&log, "for-ever"), (0..150).map(|number| value(number, 400)).collect::<Vec<_>>());
    let files = tables(dir.path()).len();
    assert!(files < 40, "{files} files after 150 starts");
}
