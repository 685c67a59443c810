//! A failing medium, a defect or the end of the process at any step of an append, an epoch, a drain or a rebuild
//! loses and repeats nothing.
//!
//! Property: as for a killed engine, and a call that meets the fault answers with an error instead of hanging.
//!
//! Method: for every fault point that there is and for each of error, panic and abort, a child process with that
//! point armed does everything that passes a point: it pays, folds, drains, trims, and rebuilds its tables under a
//! raised version. The parent audits what it left. A point that did not fire fails the test. Each point
//! fires at its first hit with every action and at a later one with some, as often as `MILLPOND_ROUNDS` says; `MILLPOND_ONLY` names a
//! single point to look at.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::{Changelog, Record, TopicConfig};
use millpond::{Engine, Result, TopicPartition, fault};
use millpond_support::environment::{rounds, seed, variable};
use millpond_support::ledger::{Acknowledged, Ledger, audit, audit_lives, live_thrice, open_changelog, pay};
use millpond_support::process::{ChildProcess, given, tell};
use millpond_support::random::Random;
use millpond_support::records::append;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const PARALLEL: usize = 6;

/// The body of the child process; nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = given() else { return };
    let point: String = variable("MILLPOND_POINT").unwrap();
    live_thrice(&dir, 12, |changelog| trim(changelog));
    if let Err(error) = copy(&dir, &point) {
        tell(&format!("stopped: {error}"));
    }
    tell(if fault::fired(&point) { "fired" } else { "never fired" });
}

/// Copies the state a few times. Whatever becomes of a copy, the engine goes on.
fn copy(dir: &Path, point: &str) -> Result<()> {
    let mut random = Random::new(variable("MILLPOND_SEED").unwrap());
    let changelog = Arc::new(open_changelog(&dir.join("changelog"))?);
    let engine = Ledger::new(2).builder(dir, &mut random, Arc::clone(&changelog)).start()?;
    let mut outcome = Ok(());
    for number in 0..3 {
        pay(&*changelog, &mut random, (9 << 40) + (number << 32), 2)?;
        engine.catch_up_blocking()?;
        let copied = engine.checkpoint_blocking(dir.join(format!("copies/{number}")));
        assert!(copied.is_ok() || fault::fired(point), "{copied:?}");
        outcome = outcome.and(copied.map(drop));
    }
    if point.starts_with("checkpoint") {
        engine.drain_blocking()?;
    }
    engine.close_blocking()?;
    outcome
}

/// A copy of the state is whole where it is there at all.
fn check_copies(dir: &Path, context: &str) {
    for number in 0..3 {
        let copy = dir.join(format!("copies/{number}"));
        if !copy.exists() {
            continue;
        }
        let ledger = Ledger::new(2);
        let changelog = Arc::new(open_changelog(&dir.join("changelog")).unwrap());
        let builder = Engine::builder(&ledger.graph).changelog(changelog).state_dir(copy).open_existing(true);
        let audited =
            builder.stepper().and_then(|mut stepper| audit(&ledger, &mut stepper, &Acknowledged::new()));
        if let Err(error) = audited {
            panic!("copy {number}: {error}: {context}");
        }
    }
}

/// Fills a topic that nobody reads and has it trimmed. What is kept beside it is moved.
fn trim(changelog: &dyn Changelog) -> Result<()> {
    let config = TopicConfig::default().retention_bytes(1);
    changelog.create_topic("noise", &config)?;
    changelog.create_topic("kept", &TopicConfig::default())?;
    let trimmed = TopicPartition::new("noise", 0);
    let kept = TopicPartition::new("kept", 0);
    for number in 0..6_u64 {
        let noise = Random::new(number).bytes(10_000);
        append(changelog, trimmed.clone(), vec![Record::new("noise", noise)])?;
        append(changelog, kept.clone(), vec![Record::new("kept", number.to_be_bytes().to_vec())])?;
    }
    changelog.enforce_retention().map(drop)
}

#[test]
fn a_fault_at_any_step_loses_and_repeats_nothing() {
    let mut random = Random::new(seed());
    let mut faults = Vec::new();
    for point in fault::points() {
        for action in ["error", "panic", "abort"] {
            faults.push((*point, 1, action, random.number()));
        }
        for _ in 0..rounds(1) {
            // Later, in the middle of things, if it is passed so often.
            let hit = 2 + random.below(12);
            faults.push((*point, hit, random.pick(&["error", "panic", "abort"]), random.number()));
        }
    }
    if let Some(only) = variable::<String>("MILLPOND_ONLY") {
        faults.retain(|(point, ..)| *point == only);
    }
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    // Most of the time goes by waiting for the disk.
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let Some(&(point, hit, action, seed)) = faults.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    if !run(point, hit, action, seed) && hit == 1 {
                        missed.lock().unwrap().push(format!("{point}:{action}"));
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "never fired: {missed:?}");
}

/// Runs a child with the fault, audits what it left, and returns whether the fault fired.
fn run(point: &str, hit: u64, action: &str, seed: u64) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let fault = format!("{point}:{hit}:{action}");
    let random = &mut Random::new(!seed);
    let task = [
        ("MILLPOND_POINT", point.to_owned()),
        ("MILLPOND_FAULTS", fault.clone()),
        ("MILLPOND_SEED", seed.to_string()),
    ];
    let (lines, stderr, status) = ChildProcess::spawn(dir.path(), &task).end();
    let told = |text: &str| lines.iter().any(|line| line == text);
    println!("{fault} with seed {seed}");
    let context = format!("{fault} with seed {seed}: {status}, {:?}\n{stderr}", lines.last());
    let fired = if action == "abort" { status.code().is_none() } else { told("fired") };
    assert!(fired || told("never fired"), "the child failed: {context}");
    // What a trim meets is only logged: it frees no space, and that is all.
    let is_told = lines.iter().any(|line| line.starts_with("stopped: ") || line == "panicked");
    let may_pass =
        action == "abort" || point.starts_with("changelog.trim") || point.starts_with("changelog.move");
    assert!(!fired || is_told || may_pass, "nobody was told of the fault: {context}");
    check_copies(dir.path(), &context);
    audit_lives(dir.path(), random, &lines, |_| false, &context);
    fired
}
