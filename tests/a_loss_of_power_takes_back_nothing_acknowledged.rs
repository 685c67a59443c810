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

use millpond::changelog::backend::{AppendLog, TopicLog};
use millpond::changelog::{Changelog, Durability, EmbeddedChangelog, EmbeddedOptions};
use millpond_support::environment::{rounds, seed, variable};
use millpond_support::ledger::{
    Acknowledged, Ledger, audit, batch, open_changelog, pay_and_kill, pay_until_killed,
};
use millpond_support::medium::{Medium, calls, shim};
use millpond_support::process::{ChildProcess, given, tell};
use millpond_support::random::Random;
use std::path::Path;
use std::sync::Arc;

/// The body of the child processes; nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = given() else { return };
    match variable::<String>("MILLPOND_DURABILITY") {
        Some(durability) => append_one_by_one(&dir, &durability),
        None => pay_until_killed(&dir),
    }
}

const APPENDS: u64 = 20;

fn append_one_by_one(dir: &Path, durability: &str) {
    let mut random = Random::new(1);
    let durability = if durability == "Fsync" { Durability::Fsync } else { Durability::Os };
    let options = EmbeddedOptions::default().durability(durability);
    let changelog = EmbeddedChangelog::open(dir.join("changelog"), options).unwrap();
    changelog.create_topic("payments", Ledger::new(1).payments.topic_config()).unwrap();
    tell("open");
    for number in 0..APPENDS {
        changelog.append(batch(&mut random, number, 1).0).wait_blocking().unwrap();
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
            ("MILLPOND_DURABILITY", durability.to_owned()),
            ("MEDIUM_COUNT", counted.display().to_string()),
        ]);
        let (lines, stderr, _) = ChildProcess::spawn(&medium.disk(), &environment).end();
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
        pay_and_kill(&dir, medium.environment(shim), (next, 300), &mut random, &mut acknowledged);
        medium.lose_power();
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
