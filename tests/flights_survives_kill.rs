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

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const JANUARY: &[u8] = include_bytes!("../examples/flights/data/flights-2013-01.csv.gz");
const STATES: u64 = 4;

/// Small, seeded, and the same on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The program, which cargo builds beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(format!("flights{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is not built; `cargo build --examples` does it", program.display());
    program
}

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
    let mut command = Command::new(program());
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
    let seed = from_environment("MILLPOND_SEED", RandomState::new().build_hasher().finish());
    let kills = from_environment("MILLPOND_KILLS", 6);
    println!("MILLPOND_SEED={seed}");
    let mut random = SplitMix(seed);
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
