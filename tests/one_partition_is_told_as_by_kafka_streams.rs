//! What comes of a log of one partition where time matters is what Kafka Streams makes of it, but where it is said by name that it is not.
//!
//! Method: random logs, out of order, with equal timestamps, leaps and tombstones. millpond folds each in random epochs, with drains and
//! crashes; Kafka Streams does in its own driver of topologies (`benches/kafka_streams/src/millpond/EventTime.java`). A few dozen lines say
//! what either must tell, with a switch for each rule of Kafka Streams that is another (`beside_kafka_streams/rules.rs`): with none of
//! them millpond's answer must come out, with all of them that of Kafka Streams, so what differs otherwise fails. Each switch must
//! matter to some log by itself. Windows are told by `suppress(untilWindowCloses)`, joins and windows alike by stores in memory.
//!
//! The test command has no Java: it takes what Kafka Streams told of the logs in `tests/data/kafka_streams`. `scripts/kafka-streams-time`
//! asks it anew, of logs that nobody has seen.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod beside_kafka_streams;

use beside_kafka_streams::expected;
use beside_kafka_streams::log::Log;
use beside_kafka_streams::ours;
use beside_kafka_streams::rules::Rules;
use beside_kafka_streams::told::Told;
use millpond_support::environment::{rounds, seed, variable};
use millpond_support::process::output_with_input;
use millpond_support::random::Random;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// How many logs Kafka Streams is asked about at a time.
const AT_A_TIME: usize = 100;

/// Of how many logs what either told was compared, in how many it was not the same, and in how many each rule mattered.
#[derive(Debug, Default)]
struct Compared {
    logs: usize,
    differ: [usize; 9],
    mattered: Vec<[usize; 9]>,
}

impl Compared {
    fn compare(&mut self, log: &Log, theirs: &Told, random: &mut Random) {
        let context = log.to_json();
        let ours = ours::told(log, random);
        let by_our_rules = expected(log, &Rules::default()).sorted();
        let by_theirs = expected(log, &Rules::kafka_streams()).sorted();
        for (at, name) in Told::PARTS.iter().enumerate() {
            assert_eq!(ours.parts()[at], by_our_rules.parts()[at], "millpond, {name} of {context}");
            assert_eq!(theirs.parts()[at], by_theirs.parts()[at], "Kafka Streams, {name} of {context}");
            self.differ[at] += usize::from(ours.parts()[at] != theirs.parts()[at]);
        }
        self.logs += 1;
        self.mattered.resize(Rules::NAMES.len(), [0; 9]);
        for (rule, mattered) in self.mattered.iter_mut().enumerate() {
            let without = expected(log, &Rules::without(rule)).sorted().parts();
            for (at, part) in by_theirs.parts().iter().enumerate() {
                mattered[at] += usize::from(*part != without[at]);
            }
        }
    }

    /// Fails if there is a rule that is not listed, or `all_matter` and one did not matter.
    fn report(&self, all_matter: bool) {
        let mut table = format!("{} logs; {:<28}", self.logs, "of so many:");
        for name in Told::PARTS {
            let _ = write!(table, "{name:>12}");
        }
        let mut line = |name: &str, counts: &[usize; 9]| {
            let _ = write!(table, "\n{name:<40}");
            for count in counts {
                let _ = write!(table, "{count:>12}");
            }
        };
        line("not told alike", &self.differ);
        for ((name, _), mattered) in Rules::NAMES.iter().zip(&self.mattered) {
            line(name, mattered);
        }
        println!("{table}\n");
        let listed = include_str!("../docs/time-beside-kafka-streams.md");
        for ((name, what), mattered) in Rules::NAMES.iter().zip(&self.mattered) {
            println!("{name}:{what}");
            assert!(listed.contains(&format!("| `{name}` |")), "{name} is not listed");
            assert!(!all_matter || mattered.iter().any(|count| *count > 0), "{name} mattered to none");
        }
    }
}

/// What Kafka Streams makes of each log.
fn asked(logs: &[Log]) -> Vec<Value> {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/kafka_streams/run");
    let mut command = Command::new(run);
    command.args(["--gc", "Serial", "--heap", "512", "EventTime"]).stderr(Stdio::inherit());
    // It warns of every record that it leaves out.
    command.env("JAVA_OPTS", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
    let lines: Vec<String> = logs.iter().map(|log| log.to_json().to_string()).collect();
    let output = output_with_input(&mut command, &lines.join("\n"));
    assert!(output.status.success(), "{}", output.status);
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn one_partition_is_told_as_kafka_streams_has_told_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kafka_streams/event_time.jsonl");
    let kept = std::fs::read_to_string(path).unwrap();
    let (mut compared, mut random) = (Compared::default(), Random::new(seed()));
    for line in kept.lines() {
        let kept: Value = serde_json::from_str(line).unwrap();
        compared.compare(&Log::read(&kept["log"]), &Told::read(&kept["told"]), &mut random);
    }
    compared.report(true);
}

/// `MILLPOND_KEEP` names a file to which logs, and what was told of them, are written for the test above.
#[test]
#[ignore = "it needs Java: run scripts/kafka-streams-time"]
fn one_partition_is_told_as_kafka_streams_tells_it() {
    let (seed, rounds) = (seed(), rounds(500));
    let (mut compared, mut random, mut kept) = (Compared::default(), Random::new(seed), String::new());
    while compared.logs < rounds {
        let logs: Vec<Log> =
            (0..AT_A_TIME.min(rounds - compared.logs)).map(|_| Log::random(&mut random)).collect();
        let told = asked(&logs);
        for (log, told) in logs.iter().zip(&told) {
            let _ = writeln!(kept, "{}", json!({ "log": log.to_json(), "told": told }));
        }
        if let Some(path) = variable::<String>("MILLPOND_KEEP") {
            std::fs::write(path, &kept).unwrap();
        }
        for (log, told) in logs.iter().zip(&told) {
            compared.compare(log, &Told::read(told), &mut random);
        }
        println!("{} of {rounds} logs", compared.logs);
    }
    compared.report(false);
}
