//! The weather example, killed at any moment and started again, ends with the answers of an uninterrupted run.
//!
//! Method: the program is started over and over on one state and killed (SIGKILL) after a random part of the time that an
//! uninterrupted run takes; then it may finish. The days of January of all airports, whether they are final, and the gusts must be
//! the same, byte for byte. Several states are filled like this, so that kills fall on first opens, on reopens, into the middle of
//! the intake and behind the last record of it.
//!
//! `MILLPOND_SEED` sets the seed, `MILLPOND_KILLS` the number of kills per state.
#![cfg(all(feature = "rocks", feature = "calendar"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond_support::environment::{seed, variable};
use millpond_support::process::{example, output_with_input};
use millpond_support::random::Random;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const STATES: u64 = 4;

fn program(state: &Path) -> Command {
    let mut command = Command::new(example("weather"));
    command.arg("--state").arg(state);
    command
}

/// Every answer there is.
fn run_to_the_end(state: &Path) -> String {
    let mut questions = String::new();
    for origin in ["EWR", "JFK", "LGA"] {
        writeln!(questions, "gusts {origin}").unwrap();
        for day in 1..=31 {
            writeln!(questions, "day {origin} 2013-01-{day:02}").unwrap();
        }
    }
    let output = output_with_input(&mut program(state), &questions);
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program for at most `longest`. `true` if it had to be killed.
fn run_and_kill(state: &Path, longest: Duration) -> bool {
    let mut command = program(state);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < longest {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "a restart failed");
            return false;
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

#[test]
fn answers_after_kills_are_those_of_an_uninterrupted_run() {
    let seed = seed();
    let kills = variable("MILLPOND_KILLS").unwrap_or(6);
    let mut random = Random::new(seed);

    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let expected = run_to_the_end(&dir.path().join("uninterrupted"));
    let whole_us = u64::try_from(begun.elapsed().as_micros()).unwrap();
    assert_eq!(expected.lines().count(), 3 * 32);
    assert_eq!(expected.matches("\"final\":true").count(), 3 * 31);

    for state in 0..STATES {
        let state = dir.path().join(format!("killed-{state}"));
        let mut killed = 0;
        for _ in 0..kills {
            killed += u64::from(run_and_kill(&state, Duration::from_micros(random.below(whole_us))));
        }
        assert!(killed > 0, "seed {seed}: the program was always faster than the kill");
        let answers = run_to_the_end(&state);
        assert!(answers == expected, "seed {seed}: after {killed} kills:\n{answers}\ninstead of\n{expected}");
    }
}
