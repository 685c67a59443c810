//! A directory belongs to one changelog, one state, at a time, whatever happens to the files in it.
//!
//! Property: while a changelog or a state is open, opening its directory again is refused as `Unavailable`, by this
//! process and by another one, under every path that leads to it; also after the program has copied its own directory,
//! all files of it, as a backup does. Once it is closed it can be opened.
//!
//! Once, a copy dropped the lock of RocksDB, which is lost with the first handle on the file that the process closes: a
//! second process then opened the directory, both were told that their records are durable, and 100 of 300 were gone. A
//! bind mount was opened twice in one process.
#![cfg(feature = "rocks")]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use millpond_engine::ErrorKind;
use millpond_engine::changelog::{
    Append, AppendLog, Changelog, EmbeddedChangelog, EmbeddedOptions, ReadLog, Record, TopicConfig, TopicLog,
};
use millpond_engine::store::{RocksOptions, RocksStore, StateStore};
use millpond_engine::{Error, TopicPartition};
use millpond_support::environment::variable;
use millpond_support::process::{ChildProcess, given, tell};
use std::any::Any;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const KINDS: [&str; 2] = ["log", "state"];

fn open(kind: &str, dir: &Path) -> Result<Box<dyn Any>, Error> {
    match kind {
        "log" => Ok(Box::new(EmbeddedChangelog::open(dir, EmbeddedOptions::default())?)),
        _ => Ok(Box::new(RocksStore::open(dir, &RocksOptions::default())?)),
    }
}

/// What another process is told that opens the directory.
fn another_process(kind: &str, dir: &Path) -> String {
    let (lines, stderr, _) = ChildProcess::spawn(dir, &[("MILLPOND_KIND", kind.to_owned())]).end();
    let told = lines.iter().find_map(|line| line.strip_prefix("told: "));
    told.unwrap_or_else(|| panic!("it told nothing: {stderr}")).to_owned()
}

/// The body of the other process; nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = given() else { return };
    match open(&variable::<String>("MILLPOND_KIND").unwrap(), &dir) {
        Ok(_) => tell("told: opened"),
        Err(error) => tell(&format!("told: {:?}", error.kind())),
    }
}

fn copy(dir: &Path) {
    let copy = tempfile::tempdir().unwrap();
    let mut copied = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        copied.push(entry.file_name());
    }
    assert!(copied.contains(&"LOCK".into()), "{copied:?}");
}

#[test]
fn a_program_that_copies_its_own_directory_keeps_it() {
    for kind in KINDS {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(kind, dir.path()).unwrap();
        assert_eq!(another_process(kind, dir.path()), "Unavailable", "{kind}");
        copy(dir.path());
        assert_eq!(another_process(kind, dir.path()), "Unavailable", "{kind}, copied");
        assert_eq!(open(kind, dir.path()).err().unwrap().kind(), ErrorKind::Unavailable, "{kind}, copied");
        drop(opened);
        assert_eq!(another_process(kind, dir.path()), "opened", "{kind}, closed");
    }
}

/// The lock goes with the last thing that reads the directory, not with the handle it was opened by.
#[test]
fn a_snapshot_keeps_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let store = RocksStore::open(dir.path(), &RocksOptions::default()).unwrap();
    let snapshot = store.snapshot().unwrap();
    drop(store);
    copy(dir.path());
    assert_eq!(another_process("state", dir.path()), "Unavailable");
    drop(snapshot);
    assert_eq!(another_process("state", dir.path()), "opened");
}

#[test]
fn a_reader_of_a_closed_changelog_does_not_keep_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedChangelog::open(dir.path(), EmbeddedOptions::default()).unwrap();
    log.create_topic("a", &TopicConfig::default()).unwrap();
    let partition = TopicPartition::new("a", 0);
    let append = Append { partition: partition.clone(), records: vec![Record::new("k", "v")] };
    log.append(vec![append]).wait_blocking().unwrap();
    let mut reader = log.reader(&partition, 0).unwrap();
    log.close().unwrap();
    assert_eq!(another_process("log", dir.path()), "opened");
    assert_eq!(reader.poll(1).unwrap_err().kind(), ErrorKind::Closed);
}

/// Takes the mount away, also when the test fails.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}

#[test]
fn every_path_to_a_directory_leads_to_the_same_lock() {
    for kind in KINDS {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let link = elsewhere.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        let mounted = elsewhere.path().join("mounted");
        fs::create_dir(&mounted).unwrap();
        let bind = Command::new("mount").arg("--bind").arg(dir.path()).arg(&mounted).output();
        let is_mounted = bind.is_ok_and(|output| output.status.success());
        let _mounted = is_mounted.then(|| Mounted(mounted.clone()));
        if !is_mounted {
            println!("skipped: this process may not mount, so a bind mount of a {kind} was not tried");
        }
        let opened = open(kind, dir.path()).unwrap();
        for path in [link, mounted].iter().filter(|path| is_mounted || !path.ends_with("mounted")) {
            let refused =
                open(kind, path).err().unwrap_or_else(|| panic!("{kind} opened by {}", path.display()));
            assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
            assert_eq!(another_process(kind, path), "Unavailable", "{kind} by {}", path.display());
        }
        drop(opened);
    }
}
