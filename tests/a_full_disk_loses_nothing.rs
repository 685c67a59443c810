//! A full disk stops the service with a clear error and loses nothing that was acknowledged.
//!
//! Property: when the disk of the state is full, the engine stops with an error that says so; when that of the
//! changelog is full, appends are refused with one. With room again and reopened, every acknowledged record is there
//! and the tables equal the plain fold.
//!
//! Method: a small tmpfs, filled up by a ballast file while the service pays. Who cannot mount (not root, or in a
//! sandbox) skips this, and says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::Changelog;
use millpond::changelog::backend::AppendLog;
use millpond::{Engine, ErrorKind, Health};
use millpond_support::environment::seed;
use millpond_support::ledger::{Acknowledged, Ledger, audit, batch, open_changelog};
use millpond_support::random::Random;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// A small medium, gone when it is dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(&at);
        command.output().is_ok_and(|output| output.status.success()).then_some(Self(at))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all the room there is.
    fn fill_up(&self) {
        let mut file = std::fs::File::options().append(true).create(true).open(self.ballast()).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "cannot unmount {}", self.0.display());
    }
}

/// Pays until something fails, filling the disk up all the time, and returns how appends and engine failed.
fn pay_until_full(
    disk: &Tmpfs,
    dir: &Path,
    random: &mut Random,
    acknowledged: &mut Acknowledged,
) -> (Option<millpond::Error>, millpond::Error) {
    let ledger = Ledger::new(1);
    let changelog = Arc::new(open_changelog(&dir.join("changelog")).unwrap());
    let builder = Engine::builder(&ledger.graph).changelog(Arc::clone(&changelog) as Arc<dyn Changelog>);
    let engine =
        builder.state_dir(dir.join("state")).drain_interval(Duration::from_millis(5)).start().unwrap();
    let mut failed = None;
    for number in 0..20_000 {
        if number > 20 {
            disk.fill_up();
        }
        let (appends, numbers) = batch(random, number * 50, 50);
        match changelog.append(appends).wait_blocking() {
            Ok(position) => acknowledged.extend(numbers.at(&position)),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
        if engine.health() != Health::Running {
            break;
        }
    }
    let view = engine.view(&ledger.balances).unwrap();
    let read = view.get(&1);
    let closed = engine.close_blocking().and_then(|()| changelog.close());
    let closed = closed.err().or(read.err()).or_else(|| failed.as_ref().map(millpond::Error::summary));
    (failed, closed.expect("nothing failed on a full disk"))
}

fn run(small: &str) {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(dir.path().join(small)) else {
        println!("skipped: mounting is not possible here");
        return;
    };
    let mut acknowledged = Acknowledged::new();
    let (append, end) = pay_until_full(&disk, dir.path(), &mut random, &mut acknowledged);
    println!("append: {append:?}, end: {end}");
    for error in append.iter().chain([&end]) {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("No space left on device"), "{error}");
    }
    if small == "state" {
        assert!(end.to_string().contains("the disk is full: free some space"), "it says what to do: {end}");
    }
    assert!(!acknowledged.is_empty());
    disk.make_room();
    let ledger = Ledger::new(1);
    let changelog = Arc::new(open_changelog(&dir.path().join("changelog")).unwrap());
    let mut stepper = ledger.builder(dir.path(), &mut random, changelog).stepper().unwrap();
    audit(&ledger, &mut stepper, &acknowledged).unwrap();
}

#[test]
fn a_full_disk_of_the_state() {
    run("state");
}

#[test]
fn a_full_disk_of_the_changelog() {
    run("changelog");
}
