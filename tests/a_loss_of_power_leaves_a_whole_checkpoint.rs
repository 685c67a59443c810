//! After a loss of power a checkpoint that was answered is there, and any that is there is whole.
//!
//! Property: what `checkpoint` has answered survives, with its parents; one that was being made is a whole state or
//! none. Each opens at its position, goes on with the changelog, and equals the plain fold.
//!
//! Method: a child process pays and copies on a medium that forgets what was not synced, bytes and names alike, until the
//! power goes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::Engine;
use millpond::changelog::Changelog;
use millpond_support::environment::{rounds, seed, variable};
use millpond_support::ledger::{Acknowledged, Ledger, audit, open_changelog, pay, take_up};
use millpond_support::medium::{Medium, shim};
use millpond_support::process::{ChildProcess, given, tell};
use millpond_support::random::Random;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The body of the child processes; nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = given() else { return };
    let mut random = Random::new(variable("MILLPOND_SEED").unwrap());
    let next: u64 = variable("MILLPOND_NEXT").unwrap();
    let ledger = Ledger::new(1);
    let changelog = Arc::new(open_changelog(&dir.join("changelog")).unwrap());
    let engine = ledger.builder(&dir, &mut random, Arc::clone(&changelog)).start().unwrap();
    tell("open");
    for number in 0.. {
        pay(&*changelog, &mut random, next + (number << 16), 2).unwrap();
        let name = format!("{next}/{number}");
        let position = engine.checkpoint_blocking(dir.join("copies").join(&name)).unwrap();
        tell(&format!("copied {name} {position}"));
    }
}

#[test]
fn a_loss_of_power_leaves_a_whole_checkpoint() {
    let Some(shim) = shim() else { return };
    let mut random = Random::new(seed());
    let medium = Medium::new();
    let ledger = Ledger::new(1);
    let mut acknowledged = Acknowledged::new();
    let (mut answered, mut others) = (0, 0);
    for loss in 0..rounds(8) {
        let next = (loss as u64) << 32;
        let copied = run_and_lose(&medium, shim, next, &mut random, &mut acknowledged);
        let changelog = Arc::new(open_changelog(&medium.disk().join("changelog")).unwrap());
        let dir = medium.disk().join("copies").join(next.to_string());
        let mut found = Vec::new();
        if let Ok(entries) = std::fs::read_dir(&dir) {
            found.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
        }
        found.retain(|name: &String| !name.starts_with('.'));
        for name in copied.keys() {
            assert!(found.contains(name), "loss {loss}: the copy {name} is gone: {found:?}");
        }
        for name in found {
            let builder =
                Engine::builder(&ledger.graph).changelog(Arc::clone(&changelog) as Arc<dyn Changelog>);
            let builder = builder.state_dir(dir.join(&name)).open_existing(true);
            let mut stepper =
                builder.stepper().unwrap_or_else(|error| panic!("loss {loss}, copy {name}: {error}"));
            match copied.get(&name) {
                Some(position) => assert_eq!(stepper.position().to_string(), *position, "copy {name}"),
                None => others += 1,
            }
            audit(&ledger, &mut stepper, &acknowledged)
                .unwrap_or_else(|error| panic!("loss {loss}, copy {name}: {error}"));
            answered += 1;
        }
        std::fs::remove_dir_all(medium.disk().join("copies")).ok();
        drop(changelog);
        medium.keep();
    }
    println!("{answered} checkpoints, {others} of which were there and not answered yet");
    assert!(answered > 0, "the children did nothing");
}

/// The copies that were answered, with their positions.
fn run_and_lose(
    medium: &Medium,
    shim: &Path,
    next: u64,
    random: &mut Random,
    acknowledged: &mut Acknowledged,
) -> BTreeMap<String, String> {
    let mut environment = medium.environment(shim);
    environment.extend([("MILLPOND_SEED", random.number().to_string()), ("MILLPOND_NEXT", next.to_string())]);
    let mut child = ChildProcess::spawn(&medium.disk(), &environment);
    let mut copied = BTreeMap::new();
    let mut take = |line: &str| {
        take_up(acknowledged, line);
        if let Some((name, position)) = line.strip_prefix("copied ").and_then(|line| line.split_once(' ')) {
            let (_, number) = name.split_once('/').unwrap();
            copied.insert(number.to_owned(), position.to_owned());
        }
    };
    let mut left = 1 + random.below(4);
    while let Some(line) = child.line() {
        take(&line);
        left -= u64::from(line.starts_with("copied "));
        if left == 0 {
            break;
        }
    }
    child.kill_after(random.below(3_000_000)).iter().for_each(|line| take(line));
    medium.lose_power();
    copied
}
