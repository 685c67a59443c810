//! After `kill -9` at any moment a service goes on as if nothing had happened.
//!
//! Property: reopened, the state equals the plain fold of exactly the records below its position; that position is
//! never beyond the changelog; every acknowledged append is there, at its offset, once; and the derived topic has one
//! record for each one that was folded, never two.
//!
//! Method: a child process (this program again) pays, folds and drains on a directory and is killed after a random
//! number of acknowledgements and a random moment more, or while it opens; the parent audits the directory, and the
//! next child goes on with it. 200 kills, or as many as `MILLPOND_ROUNDS` says; `MILLPOND_SEED` repeats the draw.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond_support::environment::{rounds, seed};
use millpond_support::ledger::{Acknowledged, Ledger, audit, open_changelog, pay_and_kill, pay_until_killed};
use millpond_support::process::given;
use millpond_support::random::Random;
use std::sync::Arc;

/// The body of the child process; nothing when it is run as a test.
#[test]
fn child() {
    if let Some(dir) = given() {
        pay_until_killed(&dir);
    }
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
        pay_and_kill(dir.path(), Vec::new(), (next, 600), &mut random, &mut acknowledged);
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
