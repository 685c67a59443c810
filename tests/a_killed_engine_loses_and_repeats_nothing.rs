//! After `kill -9` at any moment a service goes on as if nothing had happened.
//!
//! Property: reopened, the state equals the plain fold of exactly the records below its position; that position is
//! never beyond the changelog; every acknowledged append is there, at its offset, once; and the derived topic has one
//! record for each one that was folded, never two.
//!
//! Method: a child process (this program again) pays, folds and drains on a directory and is killed after a random
//! number of acknowledgements and a random moment more, or while it opens; the parent audits the directory, and the
//! next child goes on with it. 40 kills, or as many as `MILLPOND_ROUNDS` says; `MILLPOND_SEED` repeats the draw.
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

use ledger::{
    Acknowledged, ChildProcess, Ledger, Random, audit, open_changelog, pay, rounds, seed, take_up, tell,
};
use std::path::Path;
use std::sync::Arc;

/// The body of the child process; nothing when it is run as a test.
#[test]
fn child() {
    let Ok(dir) = std::env::var("MILLPOND_CHILD") else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let mut random = Random::new(number("MILLPOND_SEED"));
    let ledger = Ledger::new(1);
    tell("opening");
    let changelog = Arc::new(open_changelog(&Path::new(&dir).join("changelog")).unwrap());
    let builder = ledger.builder(Path::new(&dir), &mut random, Arc::clone(&changelog));
    let _engine = builder.start().unwrap();
    tell("open");
    pay(&*changelog, &mut random, number("MILLPOND_NEXT"), usize::MAX).unwrap();
}

#[test]
fn a_killed_engine_loses_and_repeats_nothing() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(1);
    let mut acknowledged = Acknowledged::new();
    let mut payments = 0;
    let kills = rounds(200);
    for kill in 0..kills {
        // Numbers are never used again, also not those that were appended and not acknowledged.
        let next = (kill as u64) << 32;
        run_and_kill(dir.path(), next, &mut random, &mut acknowledged);
        let changelog = Arc::new(open_changelog(&dir.path().join("changelog")).unwrap());
        let builder = ledger.builder(dir.path(), &mut random, changelog);
        let mut stepper = builder.stepper().unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        let found = audit(&ledger, &mut stepper, &acknowledged)
            .unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        assert!(found >= payments, "kill {kill}: {found} payments after {payments}");
        payments = found;
    }
    println!("{kills} kills, {payments} payments, {} of them acknowledged", acknowledged.len());
    assert!(acknowledged.len() > kills, "the children did nothing");
}

fn run_and_kill(dir: &Path, next: u64, random: &mut Random, acknowledged: &mut Acknowledged) {
    let mut child = ChildProcess::spawn(&[
        ("MILLPOND_CHILD", dir.display().to_string()),
        ("MILLPOND_SEED", random.next().to_string()),
        ("MILLPOND_NEXT", next.to_string()),
    ]);
    // One in eight is killed while it opens.
    let opening = random.below(8) == 0;
    let mut left = if opening { 0 } else { 1 + random.below(600) };
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
}
