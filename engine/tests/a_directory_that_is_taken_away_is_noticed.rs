//! What is appended to a changelog whose directory is gone is not acknowledged.
//!
//! Property: once the directory of an open changelog was deleted, emptied but for its lock, moved or replaced, the next append
//! and every later one is an error, whatever the durability; a state refuses to drain. What was acknowledged before is there if the
//! directory is put back.
//!
//! Once, 2,784 appends were acknowledged in the eight seconds after the directory had been deleted, and lost.
#![cfg(feature = "rocks")]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use millpond_engine::changelog::{
    Append, AppendLog, Durability, EmbeddedChangelog, EmbeddedOptions, ReadLog, Record, TopicConfig, TopicLog,
};
use millpond_engine::store::{RocksOptions, RocksStore, StateStore};
use millpond_engine::{Error, ErrorKind, TopicPartition};
use std::fs;
use std::path::Path;

/// Ways to lose a directory; each may put it back.
const WAYS: [fn(&Path, bool); 4] = [deleted, emptied, moved, replaced];

fn deleted(dir: &Path, back: bool) {
    if !back {
        fs::remove_dir_all(dir).unwrap();
    }
}

fn emptied(dir: &Path, back: bool) {
    if back {
        return;
    }
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_name() != "millpond.lock" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn moved(dir: &Path, back: bool) {
    let (from, to) = (dir.to_owned(), dir.with_extension("moved"));
    let (from, to) = if back { (to, from) } else { (from, to) };
    fs::rename(from, to).unwrap();
}

fn replaced(dir: &Path, back: bool) {
    if back {
        fs::remove_dir_all(dir).unwrap();
        return moved(dir, true);
    }
    moved(dir, false);
    fs::create_dir(dir).unwrap();
    for entry in fs::read_dir(dir.with_extension("moved")).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
    }
}

fn open(dir: &Path, durability: Durability) -> EmbeddedChangelog {
    EmbeddedChangelog::open(dir, EmbeddedOptions::default().durability(durability)).unwrap()
}

fn append(log: &EmbeddedChangelog) -> Result<u64, Error> {
    let partition = TopicPartition::new("a", 0);
    let append = Append { partition: partition.clone(), records: vec![Record::new("key", "value")] };
    log.append(vec![append]).wait_blocking().map(|after| after.offset(&partition))
}

#[test]
fn a_changelog_acknowledges_nothing_any_more() {
    for durability in [Durability::Fsync, Durability::Os] {
        for (number, way) in WAYS.iter().enumerate() {
            let root = tempfile::tempdir().unwrap();
            let dir = root.path().join("log");
            let log = open(&dir, durability);
            log.create_topic("a", &TopicConfig::default()).unwrap();
            for end in 1..=5 {
                assert_eq!(append(&log).unwrap(), end);
            }
            way(&dir, false);
            for _ in 0..3 {
                let refused = append(&log).expect_err("appended to a directory that is gone");
                assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
                assert!(refused.message().contains("deleted, emptied, moved or replaced"), "{refused}");
            }
            assert!(log.sync().is_err());
            drop(log);
            way(&dir, true);
            if number > 1 {
                let end = open(&dir, durability).offsets(&TopicPartition::new("a", 0)).unwrap().end;
                assert!(end >= 5, "{end}");
            }
        }
    }
}

#[test]
fn a_state_refuses_to_drain() {
    for way in WAYS {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("state");
        let store = RocksStore::open(&dir, &RocksOptions::default()).unwrap();
        let drain = || store.ingest(&mut [(&b"a"[..], Some(&b"1"[..]))].into_iter());
        drain().unwrap();
        // What a replacement is made of lies in a directory of its own.
        fs::remove_dir_all(dir.join("ingest")).unwrap();
        way(&dir, false);
        let refused = drain().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        assert!(refused.message().contains("deleted, emptied, moved or replaced"), "{refused}");
    }
}
