//! A medium that fails, once or from then on, in any call that changes it, loses nothing and makes no wrong answer.
//!
//! Property: as for a killed engine; a service that meets the fault ends with an error or does not notice, and never
//! hangs; and once the medium is whole again, its directory opens and goes on, also after a loss of power. A sync of the
//! state that fails may cost the state, which says so and is built anew from the log.
//!
//! Method: for every kind of call (write, sync, allocate, truncate, create, rename, unlink), on the log and on the
//! state, with EIO, a full medium and, for writes, a half that arrives, a child process pays, folds, drains and rebuilds
//! its tables; one of the calls fails, drawn at random among as many as a run makes, or all from there on. The parent
//! audits what it left. `MILLPOND_ROUNDS` says how often for each kind, `MILLPOND_SEED` repeats the draw, and
//! `MILLPOND_ONLY` names one kind. Without a C compiler this is skipped, and says so.
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

use millpond::{Error, ErrorKind};
use millpond_support::environment::{rounds, seed, variable};
use millpond_support::ledger::{audit_lives, live_thrice};
use millpond_support::medium::{Medium, calls, shim};
use millpond_support::process::{ChildProcess, given, tell};
use millpond_support::random::Random;
use std::path::Path;

/// The body of the child process; nothing when it is run as a test.
#[test]
fn child() {
    if let Some(dir) = given() {
        live_thrice(&dir, 30, |_| Ok(()));
        tell("done");
    }
}

const CALLS: [(&str, &[&str]); 7] = [
    ("write", &["EIO", "ENOSPC", "short"]),
    ("sync", &["EIO"]),
    ("allocate", &["ENOSPC"]),
    ("truncate", &["EIO"]),
    ("create", &["EIO", "ENOSPC"]),
    ("rename", &["EIO"]),
    ("unlink", &["EIO"]),
];

#[test]
fn a_failing_medium_loses_nothing() {
    let Some(shim) = shim() else { return };
    let mut random = Random::new(seed());
    let only: String = variable("MILLPOND_ONLY").unwrap_or_default();
    let (mut met, mut runs) = (0, 0);
    for part in ["/changelog/", "/state/"] {
        let made = dry_run(shim, part);
        for (call, failures) in CALLS {
            let Some(&most) = made.get(call) else { continue };
            for what in failures {
                for _ in 0..rounds(1) {
                    // Early ones more often: those of an opening are few.
                    let nth =
                        1 + if random.below(2) == 0 { random.below(most) } else { random.below(most.min(8)) };
                    let lasting = random.pick(&["", "+"]);
                    let fault = format!("{call}:{nth}{lasting}:{what}:{part}");
                    if fault.contains(&only) {
                        runs += 1;
                        met += usize::from(run(shim, &fault, random.number()));
                    }
                }
            }
        }
    }
    println!("{met} of {runs} faults were met");
    assert!(met * 2 >= runs, "hardly any fault was met: {met} of {runs}");
}

/// How often a run makes each call.
fn dry_run(shim: &Path, part: &str) -> std::collections::BTreeMap<String, u64> {
    let (medium, counts) = (Medium::new(), tempfile::tempdir().unwrap());
    let counted = counts.path().join("calls");
    let (lines, stderr, status) =
        spawn(&medium, shim, 1, ("MEDIUM_COUNT", counted.display().to_string())).end();
    assert!(status.success() && !lines.iter().any(|line| line.starts_with("stopped")), "{lines:?}\n{stderr}");
    let calls = calls(&counted, part);
    assert!(calls["write"] > 20 && calls["sync"] > 20, "does the shim see anything? {calls:?}");
    calls
}

fn spawn(medium: &Medium, shim: &Path, seed: u64, task: (&'static str, String)) -> ChildProcess {
    let mut environment = medium.environment(shim);
    environment.extend([("MILLPOND_SEED", seed.to_string()), task]);
    ChildProcess::spawn(&medium.disk(), &environment)
}

/// Runs a child with the fault and audits what it left. Returns whether it was met.
fn run(shim: &Path, fault: &str, seed: u64) -> bool {
    println!("{fault} with seed {seed}");
    let medium = Medium::new();
    let (lines, stderr, status) = spawn(&medium, shim, seed, ("MEDIUM_FAULT", fault.to_owned())).end();
    let told: Vec<&String> =
        lines.iter().filter(|line| line.starts_with("stopped") || *line == "panicked").collect();
    let context = format!("{fault} with seed {seed}: {status}, {told:?}\n{stderr}");
    assert!(status.success() && lines.iter().any(|line| line == "done"), "the child died or hung: {context}");
    assert!(!lines.iter().any(|line| line == "panicked"), "{context}");
    let mut random = Random::new(!seed);
    if random.below(2) == 0 {
        medium.lose_power();
    }
    let mend = |error: &Error| {
        let may_cost = may_cost_the_state(fault, error);
        if may_cost {
            println!("the state is gone: {error}");
            std::fs::remove_dir_all(medium.disk().join("state")).unwrap();
        }
        may_cost
    };
    audit_lives(&medium.disk(), &mut random, &lines, mend, &context);
    !told.is_empty()
}

/// Whether the state may have to be built anew: after a failed sync of its manifest RocksDB deletes the file that it was to
/// take over, although the record of it may have arrived.
fn may_cost_the_state(fault: &str, error: &Error) -> bool {
    let of_state = fault.starts_with("sync") && fault.ends_with("/state/");
    of_state && error.kind() == ErrorKind::Corrupt && error.to_string().contains("delete the directory")
}
