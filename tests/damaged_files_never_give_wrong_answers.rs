//! A damaged file makes an error or does no harm; it never makes a wrong answer.
//!
//! Property: with one bit flipped in, or the end cut off, any file of a state or of a changelog, opening and reading
//! the whole of it either gives the right answers or an error that is not `Internal`. No panic, no abort, no hang, and
//! what was read before an error was right too.
//!
//! Method: copies of a good directory, one damage each, drawn at random for every file that matters (tables, logs,
//! manifests, CURRENT). A child process opens each, since a damage might end the process.
//!
//! What a cut of the very end of the changelog's log takes from a derived topic cannot be seen, since it looks like
//! the torn write of a crash; for `receipts` the test asks only that none is wrong or there twice.
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
use millpond::changelog::backend::{AppendLog, TopicLog};
use millpond::{ErrorKind, Result};
use millpond_support::environment::{rounds, seed};
use millpond_support::files::copy;
use millpond_support::ledger::{Books, Ledger, batch, open_changelog, read};
use millpond_support::process::{ChildProcess, given, tell};
use millpond_support::random::Random;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const GOOD_SEED: u64 = 42;
const BATCHES: usize = 200;

/// Fills `dir`, always with the same payments.
fn fill(dir: &Path) {
    let ledger = Ledger::new(1);
    let mut random = Random::new(GOOD_SEED);
    let mut next = 0;
    for _ in 0..4 {
        let changelog = Arc::new(open_changelog(&dir.join("changelog")).unwrap());
        let engine = ledger.builder(dir, &mut Random::new(1), Arc::clone(&changelog)).start().unwrap();
        for _ in 0..BATCHES / 4 {
            changelog.append(batch(&mut random, next, 20).0).wait_blocking().unwrap();
            next += 20;
        }
        engine.catch_up_blocking().unwrap();
        engine.drain_blocking().unwrap();
        engine.close_blocking().unwrap();
        changelog.close().unwrap();
    }
}

/// The payments of [`fill`], by partition, as the changelog must have them.
fn payments() -> Vec<Vec<(u32, u64)>> {
    let log = millpond::changelog::MemoryChangelog::new();
    let ledger = Ledger::new(1);
    log.create_topic("payments", ledger.payments.topic_config()).unwrap();
    let mut random = Random::new(GOOD_SEED);
    for number in 0..BATCHES as u64 {
        log.append(batch(&mut random, number * 20, 20).0).wait_blocking().unwrap();
    }
    read(&log, &ledger.payments).unwrap()
}

/// Opens and reads everything.
fn check(dir: &Path, payments: &[Vec<(u32, u64)>]) -> Result<()> {
    let ledger = Ledger::new(1);
    let changelog = Arc::new(open_changelog(&dir.join("changelog"))?);
    let mut stepper = ledger.builder(dir, &mut Random::new(1), Arc::clone(&changelog)).stepper()?;
    for caught_up in [false, true] {
        while caught_up && stepper.epoch(10_000)? {}
        let snapshot = stepper.snapshot()?;
        let (balances, branches) = (stepper.view(&ledger.balances)?, stepper.view(&ledger.branches)?);
        let expected = Books::folded(payments, snapshot.position());
        assert!(
            Books::shown(&snapshot, &balances, &branches)? == expected,
            "wrong rows at {}",
            snapshot.position()
        );
        if caught_up {
            let all: u64 = payments.iter().map(|partition| partition.len() as u64).sum();
            let folded: u64 = snapshot.position().iter().map(|(_, offset)| offset).sum();
            assert_eq!(folded, all, "records are missing at {}", snapshot.position());
        }
    }
    assert!(read(&*changelog, &ledger.payments)? == payments, "wrong records");
    let receipts = read(&*changelog, &ledger.receipts)?;
    let known: BTreeSet<(u32, u64)> = payments.iter().flatten().copied().collect();
    let issued: BTreeSet<(u32, u64)> = receipts.iter().flatten().copied().collect();
    assert!(issued.is_subset(&known) && issued.len() == receipts.iter().flatten().count(), "wrong receipts");
    Ok(())
}

/// The body of the child process; nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = given() else { return };
    match check(&dir, &payments()) {
        Ok(()) => tell("right"),
        Err(error) if error.kind() == ErrorKind::Internal => tell(&format!("internal: {error}")),
        Err(error) => tell(&format!("refused: {error}")),
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for part in ["state", "changelog"] {
        for entry in std::fs::read_dir(dir.join(part)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let matters = path.extension().is_some_and(|kind| kind == "sst" || kind == "log")
                || name.starts_with("MANIFEST");
            if matters || name == "CURRENT" {
                files.push(PathBuf::from(part).join(name));
            }
        }
    }
    files.sort();
    files
}

/// Damages a file; returns what was done, or `None` if there is nothing to damage.
fn damage(path: &Path, cut: bool, random: &mut Random) -> Option<String> {
    let mut bytes = std::fs::read(path).unwrap();
    if bytes.is_empty() {
        return None;
    }
    let at = random.below(bytes.len() as u64) as usize;
    let what = if cut {
        bytes.truncate(at);
        format!("cut to {at} bytes")
    } else {
        let bit = random.below(8);
        bytes[at] ^= 1 << bit;
        format!("bit {bit} of byte {at} of {} flipped", bytes.len())
    };
    std::fs::write(path, bytes).unwrap();
    Some(what)
}

/// Runs the child on a damaged copy.
fn judge(good: &Path, file: &Path, cut: bool, random: &mut Random) -> Option<(String, bool)> {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("copy");
    copy(good, &dir);
    let what = format!("{}: {}", file.display(), damage(&dir.join(file), cut, random)?);
    let (lines, stderr, status) = ChildProcess::spawn(&dir, &[]).end();
    let told = |text: &str| lines.iter().find(|line| line.starts_with(text)).cloned();
    if told("right").is_some() {
        return Some((what, false));
    }
    let Some(refused) = told("refused") else {
        panic!("{what}: {status}, {:?}\n{stderr}", told("internal"));
    };
    // It says where: the directory, or a partition or a table in it.
    let places =
        [&*dir.display().to_string(), "/0", "/1", "/2", "table `", "position", "catalogue", "the state"];
    assert!(places.iter().any(|place| refused.contains(place)), "{what}: nobody knows where: {refused}");
    Some((format!("{what}: {refused}"), true))
}

#[test]
fn damaged_files_never_give_wrong_answers() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    fill(&good);
    check(&good, &payments()).unwrap();
    let files = files(&good);
    assert!(files.len() >= 8, "{files:?}");
    let (mut right, mut refused) = (0, 0);
    for _ in 0..rounds(2) {
        for file in &files {
            for cut in [false, true] {
                match judge(&good, file, cut, &mut random) {
                    Some((_, false)) => right += 1,
                    Some((what, true)) => {
                        println!("{what}");
                        refused += 1;
                    }
                    None => {}
                }
            }
        }
    }
    println!("{} files, {right} damages did no harm, {refused} were refused", files.len());
    assert!(refused > right / 10, "hardly any damage was noticed: were the files read at all?");
}
