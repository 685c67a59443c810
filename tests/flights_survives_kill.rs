//! The flights example, killed at any moment and started again, ends with the answers of an uninterrupted run.
//!
//! Method: the program is started over and over on one state and killed (SIGKILL) after a random part of the time that
//! an uninterrupted run takes, until it has been killed often enough; then it may finish. Every row of every table that
//! can be asked (all carriers and all routes, and a sample of the aircraft) must be the same, byte for byte. Several
//! states are filled like this, so that kills fall on first opens, on reopens and into the middle of the intake.
//!
//! `MILLPOND_SEED` sets the seed, `MILLPOND_KILLS` the number of kills per state.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use millpond_support::environment::{seed, variable};
use millpond_support::process::example;
use millpond_support::random::Random;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const JANUARY: &[u8] = include_bytes!("../examples/flights/data/flights-2013-01.csv.gz");
const STATES: u64 = 4;

fn questions() -> Vec<Vec<String>> {
    let mut csv = csv::Reader::from_reader(flate2::read::GzDecoder::new(JANUARY));
    let headers = csv.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let (carrier, aircraft, origin) = (column("carrier"), column("tailnum"), column("origin"));
    let mut asked = BTreeSet::new();
    for (index, row) in csv.records().enumerate() {
        let row = row.unwrap();
        asked.insert(vec!["carrier".to_owned(), row[carrier].to_owned()]);
        asked.insert(vec!["routes".to_owned(), row[origin].to_owned()]);
        if index % 100 == 0 && &row[aircraft] != "NA" {
            asked.insert(vec!["aircraft".to_owned(), row[aircraft].to_owned()]);
        }
    }
    asked.into_iter().collect()
}

fn command(state: &Path, questions: &[Vec<String>]) -> Command {
    let mut command = Command::new(example("flights"));
    command.arg("--state").arg(state).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for question in questions {
        command.arg("--lookup").args(question);
    }
    command
}

fn run_to_the_end(state: &Path, questions: &[Vec<String>]) -> String {
    let output = command(state, questions).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program for at most `longest`. `true` if it had to be killed.
fn run_and_kill(state: &Path, longest: Duration) -> bool {
    let mut child = command(state, &[vec!["stats".to_owned()]]).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (ended, end) = channel();
    let watch = std::thread::spawn(move || {
        // Both pipes close when the process is gone.
        let mut said = String::new();
        stdout.read_to_string(&mut said).ok();
        stderr.read_to_string(&mut said).ok();
        ended.send(()).ok();
        said
    });
    let killed = end.recv_timeout(longest) == Err(RecvTimeoutError::Timeout);
    if killed {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let said = watch.join().unwrap();
    assert!(killed || status.success(), "a restart failed: {said}");
    killed
}

#[test]
fn answers_after_kills_are_those_of_an_uninterrupted_run() {
    let seed = seed();
    let kills = variable("MILLPOND_KILLS").unwrap_or(6);
    let mut random = Random::new(seed);
    let questions = questions();

    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let expected = run_to_the_end(&dir.path().join("uninterrupted"), &questions);
    let whole_us = u64::try_from(begun.elapsed().as_micros()).unwrap();
    assert!(expected.lines().count() > 300, "only {} answers", expected.lines().count());

    for state in 0..STATES {
        let state = dir.path().join(format!("killed-{state}"));
        let mut killed = 0;
        for _ in 0..kills {
            // Each start has less to do, so most kills come early.
            let longest = Duration::from_micros(random.below(whole_us / 2));
            killed += u64::from(run_and_kill(&state, longest));
        }
        assert!(killed > 0, "seed {seed}: the program was always faster than the kill");
        let answers = run_to_the_end(&state, &questions);
        assert!(answers == expected, "seed {seed}: after {killed} kills:\n{answers}\ninstead of\n{expected}");
        assert_eq!(
            run_to_the_end(&state, &questions),
            expected,
            "seed {seed}: a finished state answers otherwise"
        );
    }
}
