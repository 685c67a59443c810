//! What only the embedded changelog has to show: that it survives what happens to files.

use super::*;
use crate::ErrorKind;
use crate::changelog::Record;
use std::fs;
use std::path::PathBuf;
use tempfile::{TempDir, tempdir};

fn small() -> EmbeddedOptions {
    EmbeddedOptions {
        durability: Durability::Os,
        segment_bytes: 20_000,
        max_batch_bytes: 1000,
        ..EmbeddedOptions::default()
    }
}

fn a(partition: u32) -> TopicPartition {
    TopicPartition::new("a", partition)
}

/// Too irregular to compress, so that sizes are what they look like.
fn record(number: u64) -> Record {
    let noise = (0..12_u64).flat_map(|word| (number * 31 + word + 1).wrapping_pow(13).to_le_bytes());
    Record::new(number.to_be_bytes().to_vec(), noise.collect::<Vec<u8>>())
}

fn open(dir: &Path) -> Result<EmbeddedChangelog> {
    EmbeddedChangelog::open(dir, small())
}

fn opened(dir: &Path) -> EmbeddedChangelog {
    let log = open(dir).unwrap();
    log.create_topic("a", &TopicConfig::default().partitions(2)).unwrap();
    log
}

/// Appends the records of `numbers` to both partitions, a few at a time.
fn fill(log: &EmbeddedChangelog, numbers: Range<u64>) {
    for first in numbers.clone().step_by(5) {
        let records: Vec<_> = (first..numbers.end.min(first + 5)).map(record).collect();
        let appends = (0..2).map(|partition| Append { partition: a(partition), records: records.clone() });
        log.append(appends.collect()).wait_blocking().unwrap();
    }
}

fn read(log: &EmbeddedChangelog, partition: u32) -> Result<Vec<Record>> {
    let start = log.offsets(&a(partition))?.start;
    let mut reader = log.reader(&a(partition), start)?;
    let mut records = Vec::new();
    loop {
        let batches = reader.poll(3000)?;
        if batches.is_empty() {
            return Ok(records);
        }
        for batch in batches {
            records.extend(batch.decode()?.iter().map(|record| record.to_record()));
        }
    }
}

/// What a crash of the process leaves: the files as they are, without a close.
fn copied(dir: &Path) -> TempDir {
    let copy = tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != "LOCK" {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    paths
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn assert_prefix(log: &EmbeddedChangelog) -> u64 {
    let records = read(log, 0).unwrap();
    let end = records.len() as u64;
    assert_eq!(records, (0..end).map(record).collect::<Vec<_>>());
    // Both partitions were written in one step each time.
    assert_eq!(read(log, 1).unwrap(), records);
    end
}

#[test]
fn a_torn_tail_is_cut() {
    let dir = tempdir().unwrap();
    let log = opened(dir.path());
    fill(&log, 0..100);
    let whole = copied(dir.path());
    assert_eq!(assert_prefix(&open(whole.path()).unwrap()), 100);

    let newest = fs::metadata(files(dir.path(), "log").last().unwrap()).unwrap().len();
    let mut ends = Vec::new();
    for cut in (0..newest).step_by(211).chain([newest - 1]) {
        let torn = copied(dir.path());
        let wal = files(torn.path(), "log").pop().unwrap();
        fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(cut).unwrap();
        let log = opened(torn.path());
        ends.push(assert_prefix(&log));
        let end = *ends.last().unwrap();
        fill(&log, end..end + 7);
        assert_eq!(assert_prefix(&log), end + 7);
    }
    assert!(ends.is_sorted(), "{ends:?}");
    assert!(ends.last().is_some_and(|&last| (90..100).contains(&last)), "{ends:?}");
}

#[test]
fn damage_before_the_tail_is_an_error_and_can_be_salvaged() {
    let dir = tempdir().unwrap();
    let log = opened(dir.path());
    fill(&log, 0..60);
    let damaged = copied(dir.path());
    let wal = files(damaged.path(), "log").pop().unwrap();
    let length = usize::try_from(fs::metadata(&wal).unwrap().len()).unwrap();
    flip(&wal, length / 2);
    let error = open(damaged.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("salvage"), "{error}");

    let salvaged =
        EmbeddedChangelog::open(damaged.path(), EmbeddedOptions { salvage: true, ..small() }).unwrap();
    let end = assert_prefix(&salvaged);
    assert!((1..60).contains(&end), "{end}");
}

#[test]
fn a_damaged_segment_names_the_place() {
    let dir = tempdir().unwrap();
    drop(opened(dir.path()));
    // Segments of many blocks, so that the two partitions share hardly any.
    let open = || {
        EmbeddedChangelog::open(dir.path(), EmbeddedOptions { segment_bytes: 200_000, ..small() }).unwrap()
    };
    let log = open();
    fill(&log, 0..6000);
    log.close().unwrap();
    let mut tables = files(dir.path(), "sst");
    tables.retain(|path| fs::metadata(path).unwrap().len() > 200_000);
    assert!(tables.len() > 2);
    // The first half of a table is its first partition.
    flip(&tables[1], 2000);
    let log = open();
    let error = read(&log, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("a/0 at offset"), "{error}");
    assert_eq!(read(&log, 1).unwrap().len(), 6000);
}

#[test]
fn a_missing_file_is_an_error() {
    let dir = tempdir().unwrap();
    let log = opened(dir.path());
    fill(&log, 0..400);
    log.close().unwrap();
    fs::remove_file(&files(dir.path(), "sst")[0]).unwrap();
    assert_eq!(open(dir.path()).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_gap_is_damage() {
    let dir = tempdir().unwrap();
    let log = opened(dir.path());
    fill(&log, 0..50);
    let slot = log.shared.index().slot(&a(0)).unwrap();
    let key = RecordKey { segment: 0, slot, base_offset: 20 };
    log.shared.database.write(true, |rows| rows.delete_frame(key)).unwrap();
    let error = read(&log, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("a/0 is damaged at offset 20"), "{error}");
    assert_eq!(read(&log, 1).unwrap().len(), 50);
    log.close().unwrap();
    // Nothing tells of the segment yet, so that it is scanned.
    assert_eq!(open(dir.path()).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn an_unknown_format_version_is_refused() {
    let dir = tempdir().unwrap();
    let log = opened(dir.path());
    log.shared.database.write(true, |rows| rows.put_meta(layout::FORMAT, &7_u32.to_le_bytes())).unwrap();
    drop(log);
    let error = open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("format version is 7"), "{error}");
}

#[test]
fn a_directory_in_use_is_refused_however_it_is_spelt() {
    let dir = tempdir().unwrap();
    let log = opened(dir.path());
    fill(&log, 0..5);
    let other_spelling = dir.path().join("..").join(dir.path().file_name().unwrap());
    for path in [dir.path(), &other_spelling] {
        let error = open(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("in use"), "{error}");
    }
    log.close().unwrap();
    assert_eq!(assert_prefix(&open(dir.path()).unwrap()), 5);
}

#[test]
fn a_directory_that_cannot_be_made_is_unavailable() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(open(&file.path().join("log")).unwrap_err().kind(), ErrorKind::Unavailable);
    let zero = EmbeddedOptions { segment_bytes: 0, ..small() };
    assert_eq!(EmbeddedChangelog::open(file.path(), zero).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn segments_are_written_once_also_after_a_reopen() {
    let dir = tempdir().unwrap();
    for round in 0..4 {
        let log = opened(dir.path());
        fill(&log, round * 300..(round + 1) * 300);
        assert!(log.shared.database.settle(Duration::from_secs(60)).unwrap());
        let files = log.shared.database.files();
        assert!(files.len() as u64 > 2 * round, "{files:?}");
        assert!(files.iter().all(|(first, last)| first == last), "a file was merged: {files:?}");
        assert_eq!(assert_prefix(&log), (round + 1) * 300);
    }
}

/// A medium that is slow to take a file over once poisoned the log: the trim that waited for it failed.
#[test]
fn files_that_are_slow_to_sink_are_no_failure() {
    let dir = tempdir().unwrap();
    let log = opened(dir.path());
    let database = &log.shared.database;
    // A file takes longer to be written than a microsecond, but for whims of the scheduler.
    let slow = (0..200).any(|number: u64| {
        let key = RecordKey {
            segment: 1000 + number,
            slot: layout::PartitionSlot { topic: 0, partition: 0 },
            base_offset: 0,
        };
        database.write(false, |rows| rows.put_frame(key, &vec![7; 100_000])).unwrap();
        database.flush().unwrap();
        !database.settle(Duration::from_micros(1)).unwrap()
    });
    assert!(slow, "two hundred files were written within a microsecond each");
    assert!(database.settle(Duration::from_secs(60)).unwrap());
    fill(&log, 0..5);
}

#[test]
fn a_living_neighbour_is_not_dropped() {
    let dir = tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let topic = |retention_bytes| TopicConfig { retention_bytes, ..TopicConfig::default() };
    log.create_topic("kept", &topic(None)).unwrap();
    log.create_topic("a", &topic(Some(0))).unwrap();
    fill_one(&log, a(0));
    drop(log);
    // A segment that holds nothing but the very first key that it can hold.
    let log = open(dir.path()).unwrap();
    let kept = TopicPartition::new("kept", 0);
    fill_one(&log, kept.clone());
    drop(log);
    let log = open(dir.path()).unwrap();
    assert_eq!(log.shared.database.files(), [(0, 0), (1, 1)]);
    assert!(log.enforce_retention().unwrap() > 0);
    assert_eq!(log.shared.database.files(), [(1, 1)]);
    assert_eq!(log.offsets(&a(0)).unwrap(), 1..1);
    assert_eq!(log.reader(&kept, 0).unwrap().poll(1).unwrap().len(), 1);
    drop(log);
    assert_eq!(open(dir.path()).unwrap().reader(&kept, 0).unwrap().poll(1).unwrap().len(), 1);
}

fn fill_one(log: &EmbeddedChangelog, partition: TopicPartition) {
    log.append(vec![Append { partition, records: vec![record(0)] }]).wait_blocking().unwrap();
}

#[test]
fn a_large_value_goes_through() {
    let dir = tempdir().unwrap();
    let log = opened(dir.path());
    let value: Vec<u8> = (0..8_u64 << 20).flat_map(|word| word.wrapping_pow(11).to_be_bytes()).collect();
    let large = Record::new("big", value);
    let records = vec![record(0), large.clone(), record(2)];
    log.append(vec![Append { partition: a(0), records: records.clone() }]).wait_blocking().unwrap();
    assert_eq!(read(&log, 0).unwrap(), records);
    let log = {
        drop(log);
        open(dir.path()).unwrap()
    };
    assert_eq!(read(&log, 0).unwrap(), records);
}

#[test]
fn concurrent_appends_each_get_their_own_place() {
    let dir = tempdir().unwrap();
    let log = opened(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..100 {
                    let number = thread * 1000 + number;
                    let append = Append { partition: a(0), records: vec![record(number)] };
                    let after = log.append(vec![append]).wait_blocking().unwrap().offset(&a(0));
                    let mut reader = log.reader(&a(0), after - 1).unwrap();
                    let batch = reader.poll(1).unwrap().remove(0).decode().unwrap();
                    let found = batch.iter().find(|found| found.offset == after - 1).unwrap();
                    assert_eq!(found.to_record(), record(number));
                }
            });
        }
    });
    assert_eq!(log.offsets(&a(0)).unwrap(), 0..800);
}

#[test]
fn a_tail_of_zeros_is_cut_and_damage_before_it_leaves_the_file_as_it_was() {
    let dir = tempdir().unwrap();
    drop(opened(dir.path()));
    // One write-ahead log for all of it.
    let log =
        EmbeddedChangelog::open(dir.path(), EmbeddedOptions { segment_bytes: 1 << 20, ..small() }).unwrap();
    fill(&log, 0..100);
    for zeros in [600, 3000, 5000] {
        let torn = copied(dir.path());
        let wal = files(torn.path(), "log").pop().unwrap();
        let mut bytes = fs::read(&wal).unwrap();
        let kept = bytes.len().saturating_sub(700);
        bytes.truncate(kept);
        bytes.resize(kept + zeros, 0);
        fs::write(&wal, &bytes).unwrap();
        let end = assert_prefix(&open(torn.path()).unwrap());
        assert!((80..100).contains(&end), "{end}");

        let damaged = copied(dir.path());
        bytes[kept / 3] ^= 1;
        let wal = files(damaged.path(), "log").pop().unwrap();
        fs::write(&wal, &bytes).unwrap();
        assert_eq!(open(damaged.path()).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(fs::read(&wal).unwrap(), bytes);
    }
}
