//! A damaged changelog never opens as if it were whole.
//!
//! Property: whatever bit of its newest files flips, wherever they are cut, whichever of them is gone: the changelog
//! either opens with every record that was acknowledged, or is refused as `Corrupt`; and it is refused again the next
//! time. With `salvage` it opens with a prefix of each partition. What was written and torn before it was acknowledged
//! is cut without a word.
//!
//! Method: a few hundred acknowledged records of all sizes over several topics and partitions, in one write-ahead log and
//! in several; the files are copied as a crash would leave them, and damaged. The seed is printed and can be set with
//! `MILLPOND_SEED`.
//!
//! Once, one flipped bit in the length of a record made RocksDB take all that came behind for a torn end: in 13 of 500
//! trials the log opened up to 15 records short; a log that was cut or deleted was not noticed in 57 of 72.
#![cfg(feature = "rocks")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a test fails by panicking"
)]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use millpond_engine::changelog::{
    Append, AppendLog, Changelog, EmbeddedChangelog, EmbeddedOptions, ReadLog, Record, RetentionLog,
    TopicConfig, TopicLog,
};
use millpond_engine::{Error, ErrorKind, TopicPartition};
use millpond_support::environment::seed_or;
use millpond_support::files::copied;
use millpond_support::random::Random;
use millpond_support::records::append;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const RECORDS: u64 = 300;

fn partition(number: u64) -> TopicPartition {
    TopicPartition::new(["orders", "prices"][usize::try_from(number % 2).unwrap()], (number / 2 % 3) as u32)
}

/// Mostly small, now and then one that spans blocks of the file; too irregular to compress.
fn record(number: u64) -> Record {
    let words = if number % 40 == 7 { 9000 } else { number % 23 };
    let noise = (0..words).flat_map(|word| (number * 31 + word + 1).wrapping_pow(13).to_le_bytes());
    Record::new(number.to_be_bytes().to_vec(), noise.collect::<Vec<u8>>())
}

fn options(segment_bytes: usize) -> EmbeddedOptions {
    EmbeddedOptions::default().segment_bytes(segment_bytes)
}

/// What a crash leaves of a log whose appends were all acknowledged.
fn crashed(segment_bytes: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedChangelog::open(dir.path(), options(segment_bytes)).unwrap();
    for topic in ["orders", "prices"] {
        log.create_topic(topic, &TopicConfig::default().partitions(3)).unwrap();
    }
    for number in 0..RECORDS {
        let append = Append { partition: partition(number), records: vec![record(number)] };
        log.append(vec![append]).wait_blocking().unwrap();
    }
    copied(dir.path())
}

fn files(dir: &Path, wanted: fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = entries
        .filter(|entry| wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

fn logs(dir: &Path) -> Vec<PathBuf> {
    files(dir, |name| name.ends_with(".log"))
}

fn open(dir: &Path) -> Result<EmbeddedChangelog, Error> {
    EmbeddedChangelog::open(dir, options(32 << 20))
}

/// How many records there are; asserts that each partition has the right ones, from its first on.
fn count(log: &EmbeddedChangelog, context: &str) -> Result<u64, Error> {
    let mut found = 0;
    for place in 0..6 {
        let id = partition(place);
        let mut expected = (0..RECORDS).filter(|&number| partition(number) == id);
        if !log.topics()?.iter().any(|(topic, _)| *topic == id.topic) {
            continue;
        }
        let mut reader = log.reader(&id, 0)?;
        loop {
            let batches = reader.poll(1 << 20)?;
            if batches.is_empty() {
                break;
            }
            for batch in batches {
                for read in &batch.decode()? {
                    let stored = record(expected.next().unwrap());
                    // Records carry the time of their append; everything else must be as it was.
                    let read = read.to_record();
                    assert_eq!((&read.key, &read.value), (&stored.key, &stored.value), "{context}");
                    found += 1;
                }
            }
        }
    }
    Ok(found)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Complete,
    Refused,
}

/// Opens a damaged log: complete, or refused for good.
fn outcome(dir: &Path, context: &str) -> Outcome {
    let read = || open(dir).and_then(|log| count(&log, context));
    match read() {
        Ok(found) => {
            assert_eq!(found, RECORDS, "{context}: opened as if whole");
            Outcome::Complete
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{context}: {error}");
            let again = read().expect_err(context);
            assert_eq!(again.kind(), ErrorKind::Corrupt, "{context}, again: {again}");
            Outcome::Refused
        }
    }
}

fn salvaged(dir: &Path, context: &str) -> u64 {
    let log = EmbeddedChangelog::open(dir, options(32 << 20).salvage(true));
    let found = count(&log.unwrap_or_else(|error| panic!("{context}: {error}")), context).unwrap();
    // What was given up is given up: the log opens as any other.
    let again = open(dir).unwrap_or_else(|error| panic!("{context}, after salvage: {error}"));
    assert_eq!(count(&again, context).unwrap(), found, "{context}");
    found
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, length: usize) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length as u64).unwrap();
}

fn length(path: &Path) -> usize {
    usize::try_from(fs::metadata(path).unwrap().len()).unwrap()
}

/// Where the records of a write-ahead log begin, by the lengths in it.
fn boundaries(path: &Path) -> Vec<usize> {
    let bytes = fs::read(path).unwrap();
    let (mut at, mut found) = (0, Vec::new());
    while at + 7 <= bytes.len() {
        let left = 32768 - at % 32768;
        if left < 7 {
            at += left;
            continue;
        }
        found.push(at);
        at += 7 + usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
    }
    found
}

#[test]
fn flipped_bits_of_the_write_ahead_logs() {
    let mut random = Random::new(seed_or(11));
    for segment_bytes in [32 << 20, 300_000] {
        let whole = crashed(segment_bytes);
        assert_eq!(outcome(copied(whole.path()).path(), "undamaged"), Outcome::Complete);
        let mut refused = 0;
        for trial in 0..120 {
            let dir = copied(whole.path());
            // How many there are, and whether the last one is empty, depends on which appends shared a write.
            let mut logs = logs(dir.path());
            logs.retain(|log| length(log) > 0);
            let log = &logs[logs.len() - 1 - random.index(logs.len())];
            // Every third in a length or a kind, where a flip hides what comes behind.
            let bit = if trial % 3 == 0 {
                let starts = boundaries(log);
                starts[random.index(starts.len())] * 8 + 32 + random.index(24)
            } else {
                random.index(length(log) * 8)
            };
            flip(log, bit);
            let name = log.file_name().unwrap().to_string_lossy().into_owned();
            let context = format!("segments of {segment_bytes}, {name}, bit {bit}");
            if outcome(dir.path(), &context) == Outcome::Refused {
                refused += 1;
                if let Some(error) = open(dir.path()).err() {
                    let told = error.to_string();
                    assert!(told.contains("offset") || told.contains("damaged"), "{context}: {told}");
                }
                if trial % 4 == 0 {
                    assert!(salvaged(dir.path(), &context) <= RECORDS);
                }
            }
        }
        assert!(refused > 60, "only {refused} of the flips hit anything");
    }
}

#[test]
fn the_place_is_named() {
    let whole = crashed(32 << 20);
    let log = logs(whole.path()).pop().unwrap();
    let starts = boundaries(&log);
    // A length that reaches far beyond the record: RocksDB takes it for the torn end of the file.
    let dir = copied(whole.path());
    flip(&logs(dir.path())[0], (starts[starts.len() - 40] + 5) * 8 + 6);
    let told = open(dir.path()).unwrap_err().to_string();
    assert!(told.contains("damaged at byte") && told.contains("goes on at offset"), "{told}");
    assert!(["orders/", "prices/"].iter().any(|name| told.contains(name)), "{told}");
    assert!(told.contains("salvage"), "{told}");

    let dir = copied(whole.path());
    cut(&logs(dir.path())[0], starts[starts.len() - 4]);
    let told = open(dir.path()).unwrap_err().to_string();
    assert!(told.contains("was durable up to offset 50"), "{told}");
}

#[test]
fn logs_that_were_cut() {
    let mut random = Random::new(seed_or(12));
    for segment_bytes in [32 << 20, 300_000] {
        let whole = crashed(segment_bytes);
        for which in 0..logs(whole.path()).len() {
            let log = logs(whole.path()).swap_remove(which);
            let starts = boundaries(&log);
            let Some(last) = starts.last() else { continue };
            let mut places = vec![0, 1, 6, 7, *last, last + 3, length(&log) - 1];
            places.extend((0..6).map(|_| starts[random.index(starts.len())]));
            places.extend((0..4).map(|_| random.index(length(&log))));
            for place in places {
                for zeros in [0, 700, 40_000] {
                    let dir = copied(whole.path());
                    cut(&logs(dir.path())[which], place);
                    cut(&logs(dir.path())[which], place + zeros);
                    let context =
                        format!("segments of {segment_bytes}, log {which} cut at {place}, {zeros} zeros");
                    outcome(dir.path(), &context);
                }
            }
        }
    }
}

#[test]
fn files_that_are_gone() {
    for segment_bytes in [32 << 20, 300_000] {
        let whole = crashed(segment_bytes);
        let any = |name: &str| !name.starts_with("LOG") && !name.starts_with("OPTIONS") && name != "LOCK";
        for file in files(whole.path(), any) {
            let dir = copied(whole.path());
            let name = file.file_name().unwrap();
            fs::remove_file(dir.path().join(name)).unwrap();
            let context = format!("segments of {segment_bytes} without {}", name.display());
            let outcome = outcome(dir.path(), &context);
            // What the newest log held was acknowledged, and is nowhere else.
            if logs(whole.path()).last() == Some(&file) && length(&file) > 0 {
                assert_eq!(outcome, Outcome::Refused, "{context}");
            }
        }
    }
}

#[test]
fn flipped_bits_of_the_other_files() {
    let mut random = Random::new(seed_or(13));
    let whole = crashed(300_000);
    let small =
        |name: &str| name.starts_with("MANIFEST") || name.starts_with("millpond") || name == "CURRENT";
    for file in files(whole.path(), small) {
        for _ in 0..(if length(&file) > 0 { 40 } else { 0 }) {
            let dir = copied(whole.path());
            let bit = random.index(length(&file) * 8);
            let name = file.file_name().unwrap();
            flip(&dir.path().join(name), bit);
            outcome(dir.path(), &format!("{}, bit {bit}", name.display()));
        }
    }
}

/// What a crash tears while it is written was never acknowledged.
#[test]
fn a_torn_write_at_the_end_is_cut() {
    let mut random = Random::new(seed_or(14));
    let whole = crashed(32 << 20);
    let log = logs(whole.path()).pop().unwrap();
    let starts = boundaries(&log);
    let bytes = fs::read(&log).unwrap();
    for _ in 0..20 {
        let from = starts[random.index(starts.len() - 1)];
        let end = starts.iter().copied().find(|&start| start > from).unwrap();
        let torn = &bytes[from..from + 1 + random.index(end - from - 1)];
        for zeros in [0, 5000] {
            let dir = copied(whole.path());
            let mut bytes = bytes.clone();
            bytes.extend_from_slice(torn);
            bytes.resize(bytes.len() + zeros, 0);
            fs::write(&logs(dir.path())[0], bytes).unwrap();
            assert_eq!(outcome(dir.path(), &format!("torn at {} of {from}", torn.len())), Outcome::Complete);
        }
    }
}

/// A write-ahead log in which there are no records: how long a topic is kept, and for whom.
#[test]
fn what_is_kept_is_not_forgotten_with_a_log_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let brief = TopicConfig::default().retention_bytes(1);
    let log = open(dir.path()).unwrap();
    log.create_topic("orders", &brief).unwrap();
    append(&log, partition(0), vec![record(1)]).unwrap();
    log.close().unwrap();
    let log = open(dir.path()).unwrap();
    log.create_topic("orders", &TopicConfig::default()).unwrap();
    log.hold("backup", &[(partition(0), 0)].into_iter().collect()).unwrap();
    log.sync().unwrap();
    let crash = copied(dir.path());
    drop(log);
    assert_eq!(outcome_of(crash.path()), None, "as it is it opens");

    for damage in [|path: &Path| fs::remove_file(path).unwrap(), |path: &Path| cut(path, 0)] {
        let damaged = copied(crash.path());
        for path in logs(damaged.path()) {
            damage(&path);
        }
        assert_eq!(outcome_of(damaged.path()), Some(ErrorKind::Corrupt));
        assert_eq!(outcome_of(damaged.path()), Some(ErrorKind::Corrupt), "and so the next time");
    }
}

/// Why `dir` does not open, if so. It is looked at as it is: opening a copy changes nothing.
fn outcome_of(dir: &Path) -> Option<ErrorKind> {
    open(copied(dir).path()).err().map(|error| error.kind())
}
