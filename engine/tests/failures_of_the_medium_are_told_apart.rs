//! A failure of the medium is told for what it is, with what to do about it.
//!
//! Property: a full disk, a file system that cannot be written, a device that fails, a file that is gone and a directory
//! in use are told apart by the changelog and by the state, whatever words are in the path: `Unavailable` where nothing
//! is lost, `Corrupt` where something is. Nobody is advised to delete a state that can be had back.
//!
//! Method: the failures are real: a small file system of its own, one that is mounted without the right to write, a file
//! whose read fails with `EIO`. Where this process may not mount, these cases say so and are left out.
//!
//! Once, `LOCK` anywhere in a message was read as "in use", a full disk too; a missing `MANIFEST` of the log was
//! `Unavailable`; `EIO` in the state was `Internal` and came with the advice to delete it.
#![cfg(feature = "rocks")]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use millpond_engine::changelog::{
    Append, AppendLog, EmbeddedChangelog, EmbeddedOptions, Record, TopicConfig, TopicLog,
};
use millpond_engine::store::{RocksOptions, RocksStore, StateStore};
use millpond_engine::{Error, ErrorKind, TopicPartition};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MISLEADING: &str = "LOCK lock No space left on device: Corruption";

fn log(dir: &Path) -> Result<EmbeddedChangelog, Error> {
    EmbeddedChangelog::open(dir, EmbeddedOptions::default().segment_bytes(100_000))
}

fn state(dir: &Path) -> Result<RocksStore, Error> {
    RocksStore::open(dir, &RocksOptions::default())
}

/// Appends until it fails.
fn fill_log(log: &EmbeddedChangelog) -> Error {
    log.create_topic("a", &TopicConfig::default()).unwrap();
    for number in 0_u64.. {
        let noise = (0..1000).flat_map(|word| (number * 31 + word + 1).wrapping_pow(13).to_le_bytes());
        let records = vec![Record::new("key", noise.collect::<Vec<u8>>())];
        if let Err(error) =
            log.append(vec![Append { partition: TopicPartition::new("a", 0), records }]).wait_blocking()
        {
            return error;
        }
    }
    unreachable!("an append without end")
}

fn drain(store: &RocksStore, number: u64) -> Result<(), Error> {
    let noise = (0..20_000).flat_map(|word| (number * 31 + word + 1).wrapping_pow(13).to_le_bytes());
    let value = noise.collect::<Vec<u8>>();
    store.ingest(&mut [(&number.to_be_bytes()[..], Some(value.as_slice()))].into_iter())
}

/// A file system of its own, taken away at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn new(dir: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(dir).unwrap();
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir).output();
        let is_mounted = output.is_ok_and(|output| output.status.success());
        if !is_mounted {
            println!("skipped: this process may not mount a file system ({options})");
        }
        is_mounted.then(|| Self(dir.to_owned()))
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

fn check(error: &Error, kind: ErrorKind, told: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(told), "{error}");
    assert!(
        !error.message().contains("in use") && !error.message().contains("uses the directory"),
        "{error}"
    );
    if kind == ErrorKind::Unavailable {
        assert!(!error.message().contains("delete"), "{error}");
    }
}

#[test]
fn a_full_disk() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(MISLEADING);
    let Some(_mounted) = Mounted::new(&dir, "size=3m") else { return };
    let opened = log(&dir.join("log")).unwrap();
    check(&fill_log(&opened), ErrorKind::Unavailable, "the disk is full");
    drop(opened);
    fs::remove_dir_all(dir.join("log")).unwrap();
    let opened = state(&dir.join("state")).unwrap();
    let full = (0..).find_map(|number| drain(&opened, number).err()).unwrap();
    check(&full, ErrorKind::Unavailable, "the disk is full");
}

#[test]
fn a_file_system_that_cannot_be_written() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(MISLEADING);
    let Some(mounted) = Mounted::new(&dir, "size=20m") else { return };
    drop(log(&dir.join("log")).unwrap());
    drop(state(&dir.join("state")).unwrap());
    mounted.remount("ro");
    assert_eq!(log(&dir.join("log")).unwrap_err().kind(), ErrorKind::Unavailable);
    check(&state(&dir.join("state")).unwrap_err(), ErrorKind::Unavailable, "possible to read and write");
    check(&state(&dir.join("new")).unwrap_err(), ErrorKind::Unavailable, "possible to read and write");
    mounted.remount("rw");
    drop(log(&dir.join("log")).unwrap());
    drop(state(&dir.join("state")).unwrap());
}

/// Reading the memory of a process where it has none fails as a broken device does.
#[test]
fn a_device_that_fails() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(MISLEADING);
    drop(log(&dir.join("log")).unwrap());
    drop(state(&dir.join("state")).unwrap());
    for part in ["log", "state"] {
        let current = dir.join(part).join("CURRENT");
        fs::rename(&current, current.with_extension("whole")).unwrap();
        std::os::unix::fs::symlink("/proc/self/mem", &current).unwrap();
    }
    assert_eq!(fs::read(dir.join("log/CURRENT")).unwrap_err().raw_os_error(), Some(5));
    check(&log(&dir.join("log")).unwrap_err(), ErrorKind::Unavailable, "the medium failed");
    check(&state(&dir.join("state")).unwrap_err(), ErrorKind::Unavailable, "the medium failed");
    // The device is back, and so is everything.
    for part in ["log", "state"] {
        let current = dir.join(part).join("CURRENT");
        fs::rename(current.with_extension("whole"), &current).unwrap();
    }
    drop(log(&dir.join("log")).unwrap());
    drop(state(&dir.join("state")).unwrap());
}

#[test]
fn a_file_that_is_gone() {
    for wanted in ["MANIFEST", "CURRENT"] {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join(MISLEADING);
        let opened = log(&dir.join("log")).unwrap();
        opened.create_topic("a", &TopicConfig::default()).unwrap();
        drop(opened);
        let opened = state(&dir.join("state")).unwrap();
        drain(&opened, 1).unwrap();
        drop(opened);
        for part in ["log", "state"] {
            for entry in fs::read_dir(dir.join(part)).unwrap().map(Result::unwrap) {
                if entry.file_name().to_string_lossy().starts_with(wanted) {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
        }
        check(&log(&dir.join("log")).unwrap_err(), ErrorKind::Corrupt, "restore");
        check(&state(&dir.join("state")).unwrap_err(), ErrorKind::Corrupt, "delete the directory");
    }
}

#[test]
fn a_file_in_place_of_the_directory() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(MISLEADING);
    fs::write(&path, b"").unwrap();
    check(&state(&path).unwrap_err(), ErrorKind::Invalid, "must be a directory");
    check(&log(&path).unwrap_err(), ErrorKind::Unavailable, "cannot be used");
}
