//! A bit that flips in any field of a stored batch is noticed, in a segment that is still open as in a closed one.
//!
//! RocksDB's own checksums stand before this. Here the batch is put back damaged, as a defect of the store or of the memory
//! would leave it: an index that was made from its header would know a wrong end, and the next append would get an offset
//! that is taken.

use super::*;
use crate::ErrorKind;
use crate::changelog::Record;
use std::collections::BTreeSet;
use tempfile::tempdir;

fn partition() -> TopicPartition {
    TopicPartition::new("a", 0)
}

fn open(dir: &Path) -> Result<EmbeddedChangelog> {
    EmbeddedChangelog::open(dir, EmbeddedOptions { durability: Durability::Os, ..EmbeddedOptions::default() })
}

/// Batches between which others were appended to another partition, so that one has several runs.
fn fill(dir: &Path) {
    let log = open(dir).unwrap();
    for topic in ["a", "b"] {
        log.create_topic(topic, &TopicConfig::default()).unwrap();
    }
    for number in 0..4 {
        let records = (0..3).map(|more| Record::new(format!("{number}{more}"), "value").at(number)).collect();
        let other = vec![Record::new("other", "value")];
        let appends = [(partition(), records), (TopicPartition::new("b", 0), other)];
        let appends = appends.map(|(partition, records)| Append { partition, records });
        log.append(appends.to_vec()).wait_blocking().unwrap();
    }
}

fn batches(dir: &Path) -> Vec<(RecordKey, Vec<u8>)> {
    let (database, ..) = Database::open(dir, &EmbeddedOptions::default()).unwrap();
    let bounds = RecordKey::segments(0..u64::MAX);
    let mut batches = Vec::new();
    let mut visit = |key: &[u8], frame: &[u8]| {
        batches.push((RecordKey::read(key).unwrap(), frame.to_vec()));
        Ok(true)
    };
    database.read(&Span { from: bounds.start, bounds, readahead_bytes: 0 }, &mut visit).unwrap();
    batches
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn read(log: &EmbeddedChangelog) -> Result<u64> {
    let mut reader = log.reader(&partition(), 0)?;
    let mut records = 0;
    loop {
        let batches = reader.poll(1 << 20)?;
        if batches.is_empty() {
            return Ok(records);
        }
        for batch in batches {
            records += batch.decode()?.iter().len() as u64;
        }
    }
}

fn check(good: &Path, key: RecordKey, frame: &[u8], byte: usize, bit: u32) {
    let context = format!("bit {bit} of byte {byte} of {} at {key:?}", frame.len());
    let dir = tempdir().unwrap();
    copy(good, dir.path());
    let mut flipped = frame.to_vec();
    flipped[byte] ^= 1 << bit;
    let (database, ..) = Database::open(dir.path(), &EmbeddedOptions::default()).unwrap();
    database.write(true, |rows| rows.put_frame(key, &flipped)).unwrap();
    database.close();
    drop(database);
    let error = match open(dir.path()) {
        Ok(log) => {
            assert_eq!(log.offsets(&partition()).unwrap(), 0..12, "{context}");
            read(&log).err().unwrap_or_else(|| panic!("{context}: nobody noticed"))
        }
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{context}: {error}");
    let message = error.to_string();
    assert!(
        message.contains("a/0") && message.contains("offset"),
        "{context}: nobody knows where: {message}"
    );
}

fn check_all(good: &Path) {
    let all = batches(good);
    let (key, frame) = all.iter().rfind(|(key, _)| key.slot.topic == all[0].0.slot.topic).unwrap();
    assert_eq!(key.base_offset + 3, 12, "the last batch of {}", partition());
    // Every byte of the header and some of what follows; always the lowest bits, which make a likely number of another.
    for byte in (0..60).chain((60..frame.len()).step_by(5)) {
        for bit in BTreeSet::from([0, 1, byte % 8]) {
            check(good, *key, frame, byte, u32::try_from(bit).unwrap());
        }
    }
}

#[test]
fn a_flip_in_a_segment_that_was_still_open_is_noticed() {
    let dir = tempdir().unwrap();
    fill(dir.path());
    check_all(dir.path());
}

#[test]
fn a_flip_in_a_closed_segment_is_noticed() {
    let dir = tempdir().unwrap();
    fill(dir.path());
    // Opening ends the segment that was open.
    drop(open(dir.path()).unwrap());
    check_all(dir.path());
}
