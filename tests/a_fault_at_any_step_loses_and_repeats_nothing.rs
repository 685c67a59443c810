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

#[allow(dead_code, reason = "each test needs its own part of the ledger")]
mod ledger;

use ledger::{
    Acknowledged, ChildProcess, Ledger, Random, audit, open_changelog, pay, rounds, seed, take_up, tell,
};
use millpond::changelog::{Append, Changelog, Record, TopicConfig};
use millpond::{Result, TopicPartition, fault};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const PARALLEL: usize = 6;

/// The body of the child process; nothing when it is run as a test.
#[test]
fn child() {
    let Ok(dir) = std::env::var("MILLPOND_CHILD") else { return };
    let point = std::env::var("MILLPOND_POINT").unwrap();
    let mut random = Random::new(std::env::var("MILLPOND_SEED").unwrap().parse().unwrap());
    for (phase, version) in [(1, 1), (2, 2), (3, 2)] {
        // A panic in the calling thread unwinds to whoever opened the engine.
        let served = catch_unwind(AssertUnwindSafe(|| serve(Path::new(&dir), phase, version, &mut random)));
        match served {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tell(&format!("stopped: {error}")),
            Err(_) => tell("panicked"),
        }
    }
    tell(if fault::fired(&point) { "fired" } else { "never fired" });
}

fn serve(dir: &Path, phase: u64, version: u32, random: &mut Random) -> Result<()> {
    let changelog = Arc::new(open_changelog(&dir.join("changelog"))?);
    trim(&*changelog)?;
    let ledger = Ledger::new(version);
    let engine = ledger.builder(dir, random, Arc::clone(&changelog)).start()?;
    for part in 0..4 {
        pay(&*changelog, random, (phase << 40) + (part << 32), 12)?;
        engine.catch_up_blocking()?;
        engine.drain_blocking()?;
    }
    engine.ready_blocking()?;
    engine.close_blocking()?;
    changelog.close()
}

/// Fills a topic that nobody reads and has it trimmed. What is kept beside it is moved.
fn trim(changelog: &dyn Changelog) -> Result<()> {
    let config = TopicConfig { retention_bytes: Some(1), ..TopicConfig::default() };
    changelog.create_topic("noise", &config)?;
    changelog.create_topic("kept", &TopicConfig::default())?;
    let partition = TopicPartition::new("noise", 0);
    let kept = TopicPartition::new("kept", 0);
    for number in 0..6_u64 {
        let mut random = Random::new(number);
        let noise: Vec<u8> = (0..10_000).map(|_| random.next() as u8).collect();
        let records = vec![Record::new("noise", noise)];
        changelog.append(vec![Append { partition: partition.clone(), records }]).wait_blocking()?;
        let records = vec![Record::new("kept", number.to_be_bytes().to_vec())];
        changelog.append(vec![Append { partition: kept.clone(), records }]).wait_blocking()?;
    }
    changelog.enforce_retention().map(drop)
}

#[test]
fn a_fault_at_any_step_loses_and_repeats_nothing() {
    let mut random = Random::new(seed());
    let mut faults = Vec::new();
    for point in fault::points() {
        for action in ["error", "panic", "abort"] {
            faults.push((*point, 1, action, random.next()));
        }
        for _ in 0..rounds(1) {
            // Later, in the middle of things, if it is passed so often.
            let hit = 2 + random.below(12);
            faults.push((*point, hit, random.pick(&["error", "panic", "abort"]), random.next()));
        }
    }
    if let Ok(only) = std::env::var("MILLPOND_ONLY") {
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
    let child = ChildProcess::spawn(&[
        ("MILLPOND_CHILD", dir.path().display().to_string()),
        ("MILLPOND_POINT", point.to_owned()),
        ("MILLPOND_FAULTS", fault.clone()),
        ("MILLPOND_SEED", seed.to_string()),
    ]);
    let (lines, stderr, status) = child.end();
    let mut acknowledged = Acknowledged::new();
    for line in &lines {
        take_up(&mut acknowledged, line);
    }
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
    // Under either version of the tables, so that a rebuild that was cut short is dropped or gone on with.
    for version in random.pick(&[&[1, 2][..], &[2]]).iter().copied() {
        let ledger = Ledger::new(version);
        let changelog = Arc::new(open_changelog(&dir.path().join("changelog")).unwrap());
        let opened = ledger.builder(dir.path(), random, changelog).stepper();
        let mut stepper = match opened {
            Ok(stepper) => stepper,
            Err(error) if version == 1 && error.message().contains("the state holds version 2") => continue,
            Err(error) => panic!("{error}: {context}"),
        };
        if let Err(error) = audit(&ledger, &mut stepper, &acknowledged) {
            panic!("{error}: {context}");
        }
    }
    fired
}
