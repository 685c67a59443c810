//! After a loss of power at any moment a service goes on as if nothing had happened.
//!
//! Property: as for a killed engine, on a medium that forgets whatever was not synced, bytes of files and entries of
//! directories alike. And an append that is acknowledged as durable has been synced; one that is only handed to the
//! system has not.
//!
//! Method: a child process (this program again) pays, folds and drains on a directory whose files and directories are
//! remembered as they were at their last sync; it is killed after a random number of acknowledgements, what is remembered
//! takes the place of what was there, and the parent audits it. `MILLPOND_ROUNDS` says how often, `MILLPOND_SEED` repeats
//! the draw. Before this test the log could have lost its sync, and no other would have failed. Without a C
//! compiler this is skipped, and says so.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

#[allow(dead_code, reason = "each test needs its own part of the ledger")]
mod ledger;
mod medium;

use ledger::{
    Acknowledged, ChildProcess, Ledger, Random, audit, batch, open_changelog, pay, rounds, seed, take_up,
    tell,
};
use medium::{Medium, calls, shim};
use millpond::changelog::{AppendLog, Changelog, Durability, EmbeddedChangelog, EmbeddedOptions, TopicLog};
use std::path::Path;
use std::sync::Arc;

/// The body of the child processes; nothing when it is run as a test.
#[test]
fn child() {
    let Ok(dir) = std::env::var("MILLPOND_CHILD") else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let dir = Path::new(&dir);
    let mut random = Random::new(number("MILLPOND_SEED"));
    if let Ok(durability) = std::env::var("MILLPOND_DURABILITY") {
        return append_one_by_one(dir, &mut random, &durability);
    }
    let ledger = Ledger::new(1);
    tell("opening");
    let changelog = Arc::new(open_changelog(&dir.join("changelog")).unwrap());
    let builder = ledger.builder(dir, &mut random, Arc::clone(&changelog));
    let _engine = builder.start().unwrap();
    tell("open");
    pay(&*changelog, &mut random, number("MILLPOND_NEXT"), usize::MAX).unwrap();
}

const APPENDS: u64 = 20;

fn append_one_by_one(dir: &Path, random: &mut Random, durability: &str) {
    let durability = if durability == "Fsync" { Durability::Fsync } else { Durability::Os };
    let options = EmbeddedOptions { durability, ..EmbeddedOptions::default() };
    let changelog = EmbeddedChangelog::open(dir.join("changelog"), options).unwrap();
    changelog.create_topic("payments", Ledger::new(1).payments.topic_config()).unwrap();
    tell("open");
    for number in 0..APPENDS {
        changelog.append(batch(random, number, 1).0).wait_blocking().unwrap();
    }
    // Not closed, which would sync.
    std::process::abort();
}

#[test]
fn what_is_acknowledged_as_durable_was_synced() {
    let Some(shim) = shim() else { return };
    for durability in ["Fsync", "Os"] {
        let (medium, counts) = (Medium::new(), tempfile::tempdir().unwrap());
        let counted = counts.path().join("calls");
        let mut environment = medium.environment(shim);
        environment.extend([
            ("MILLPOND_CHILD", medium.disk().display().to_string()),
            ("MILLPOND_SEED", "1".to_owned()),
            ("MILLPOND_DURABILITY", durability.to_owned()),
            ("MEDIUM_COUNT", counted.display().to_string()),
        ]);
        let (lines, stderr, _) = ChildProcess::spawn(&environment).end();
        assert!(lines.iter().any(|line| line == "open"), "{stderr}");
        let calls = calls(&counted, ".log");
        let [writes, syncs] = ["write", "sync"].map(|call| calls.get(call).copied().unwrap_or(0));
        assert!(writes >= APPENDS, "{durability}: {calls:?}: does the shim see anything?");
        if durability == "Fsync" {
            assert!(syncs >= APPENDS, "{durability}: {calls:?}");
        } else {
            assert!(syncs < APPENDS, "{durability}: {calls:?}: they need not wait for the medium");
        }
    }
}

#[test]
fn a_loss_of_power_takes_back_nothing_acknowledged() {
    let Some(shim) = shim() else { return };
    let mut random = Random::new(seed());
    let medium = Medium::new();
    let dir = medium.disk();
    let ledger = Ledger::new(1);
    let mut acknowledged = Acknowledged::new();
    let losses = rounds(25);
    for loss in 0..losses {
        let next = (loss as u64) << 32;
        run_and_lose(&medium, shim, next, &mut random, &mut acknowledged);
        let changelog = open_changelog(&dir.join("changelog"));
        let changelog = Arc::new(changelog.unwrap_or_else(|error| panic!("loss {loss}: {error}")));
        let builder = ledger.builder(&dir, &mut random, Arc::clone(&changelog));
        let mut stepper = builder.stepper().unwrap_or_else(|error| panic!("loss {loss}: {error}"));
        audit(&ledger, &mut stepper, &acknowledged).unwrap_or_else(|error| panic!("loss {loss}: {error}"));
        drop(stepper);
        changelog.close().unwrap();
        // What the audit did is there: this process has no such medium.
        medium.keep();
    }
    println!("{losses} losses of power, {} payments were acknowledged", acknowledged.len());
    assert!(acknowledged.len() > losses, "the children did nothing");
}

fn run_and_lose(
    medium: &Medium,
    shim: &Path,
    next: u64,
    random: &mut Random,
    acknowledged: &mut Acknowledged,
) {
    let mut environment = medium.environment(shim);
    environment.extend([
        ("MILLPOND_CHILD", medium.disk().display().to_string()),
        ("MILLPOND_SEED", random.next().to_string()),
        ("MILLPOND_NEXT", next.to_string()),
    ]);
    let mut child = ChildProcess::spawn(&environment);
    // One in eight goes down while it opens.
    let opening = random.below(8) == 0;
    let mut left = if opening { 0 } else { 1 + random.below(300) };
    let spins = random.below(if opening { 20_000_000 } else { 300_000 });
    while let Some(line) = child.line() {
        if take_up(acknowledged, &line) {
            left -= 1;
        }
        if left == 0 && (!opening || line == "opening") {
            break;
        }
    }
    for _ in 0..spins {
        std::hint::spin_loop();
    }
    child.kill();
    let (lines, stderr, status) = child.end();
    assert!(status.code().is_none(), "the child ended by itself: {status}: {stderr}");
    for line in lines {
        take_up(acknowledged, &line);
    }
    medium.lose_power();
}
