//! The examples on Kafka do what their documentation says: counts of words are there as text for any tool of Kafka, replicas take
//! over from each other, and the flights on Kafka have the answers that they have without it; killed or not.
//!
//! Method: the programs themselves, as child processes on a real broker, killed (SIGKILL) in the middle; Kafka's own console tools
//! write what they read, and read what they write. `MILLPOND_SEED` sets the seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use millpond_support::broker::Broker;
use millpond_support::environment::seed;
use millpond_support::process::{ChildProcess, example};
use millpond_support::random::Random;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Waits until a program says what is looked for, and returns that line.
fn await_line(child: &mut ChildProcess, found: impl Fn(&str) -> bool) -> String {
    loop {
        let line = child.line().expect("the program has ended");
        if found(&line) {
            return line;
        }
    }
}

#[test]
fn counts_of_words_are_text_that_every_tool_of_kafka_shows() {
    let Some(broker) = Broker::shared() else { return };
    let (lines, counts) = (broker.create_topic("lines", 2, &[]), broker.create_topic("counts", 2, &[]));
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = Command::new(example("kafka_word_count"));
        command.args(["--bootstrap", &broker.bootstrap(), "--lines", &lines, "--counts", &counts, "--dir"]);
        command.arg(dir.path());
        ChildProcess::start(command)
    };
    let say = |text: &str| drop(broker.tool("console-producer", &["--topic", &lines], text));

    say("to be or not to be\nthat is the question\n");
    let mut first = start();
    await_line(&mut first, |line| line == "question\t1");
    first.kill();
    let (_, said, status) = first.end();
    assert!(status.code().is_none(), "it had ended by itself: {said}");
    let mut second = start();
    say("Not to be\n");
    await_line(&mut second, |line| line == "be\t3");
    second.terminate();
    let (_, said, status) = second.end();
    assert!(status.success(), "{said}");

    // A new word is behind all that was written before, in either partition.
    let shown = broker.tool(
        "console-consumer",
        &[
            &["--topic", &counts, "--from-beginning", "--isolation-level", "read_committed"][..],
            &["--formatter-property", "print.key=true", "--timeout-ms", "5000"],
        ]
        .concat(),
        "",
    );
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for line in shown.lines() {
        let (word, count) = line.split_once('\t').unwrap();
        let count: u64 = count.parse().unwrap();
        let before = last.insert(word, count).unwrap_or(0);
        assert!(before < count, "{word} was written again: {shown}");
    }
    let expected =
        [("to", 3), ("be", 3), ("or", 1), ("not", 2), ("that", 1), ("is", 1), ("the", 1), ("question", 1)];
    assert_eq!(last, expected.into());
}

fn replicas(broker: &Broker, arguments: &[&str]) -> Command {
    let mut command = Command::new(example("replicas"));
    command.args(arguments).args(["--bootstrap", &broker.bootstrap()]);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The process that says it is the holder, of those that run.
fn holder(processes: &mut Vec<ChildProcess>) -> usize {
    loop {
        for number in 0..processes.len() {
            let Some(line) = processes[number].line() else {
                let (_, said, status) = processes.remove(number).end();
                panic!("a process has ended: {status}: {said}");
            };
            if line.starts_with("holder") {
                return number;
            }
        }
    }
}

#[test]
fn replicas_take_over_and_write_each_receipt_once() {
    let Some(broker) = Broker::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let start = |number: usize| {
        let mut command = replicas(broker, &["run", "--session-ms", "2000"]);
        command.arg("--dir").arg(dir.path().join(number.to_string()));
        ChildProcess::start(command)
    };
    let feed = || {
        let fed = replicas(broker, &["feed", "--rate", "2000", "--count", "1000"]).output().unwrap();
        assert!(fed.status.success(), "{}", said(&fed));
    };
    let mut processes: Vec<_> = (0..3).map(start).collect();
    feed();
    let killed = holder(&mut processes);
    let mut process = processes.remove(killed);
    process.kill();
    process.end();
    feed();
    let closed = holder(&mut processes);
    processes.push(start(killed));
    let process = processes.remove(closed);
    process.terminate();
    let (_, told, status) = process.end();
    assert!(status.success(), "{told}");
    feed();
    holder(&mut processes);
    let checked = replicas(broker, &["check"]).output().unwrap();
    let verdict = "3000 payments, 3000 receipts: each payment has its receipt, once\n";
    assert_eq!((checked.status.success(), &*said(&checked)), (true, verdict));
    // Both that are left show the same accounts.
    for process in &mut processes {
        let line = await_line(process, |line| line.contains("lag 0 ") && line.contains("ada: 600 payments"));
        assert!(line.contains("bob: 600 payments") && line.contains("cy: 600 payments"), "{line}");
    }
    for process in processes {
        process.terminate();
        let (_, told, status) = process.end();
        assert!(status.success(), "{told}");
    }
}

/// Carriers, routes and some aircraft.
const QUESTIONS: [&[&str]; 9] = [
    &["carrier", "UA"],
    &["carrier", "EV"],
    &["carrier", "OO"],
    &["routes", "JFK"],
    &["routes", "EWR"],
    &["routes", "LGA"],
    &["aircraft", "N14228"],
    &["aircraft", "N24211"],
    &["aircraft", "N619AA"],
];

fn flights(state: &Path, kafka: Option<&Broker>, questions: &[&[&str]]) -> Command {
    let mut command = Command::new(example("flights"));
    command.arg("--state").arg(state).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(broker) = kafka {
        command.args(["--kafka", &broker.bootstrap()]);
    }
    for question in questions {
        command.arg("--lookup").args(*question);
    }
    command
}

fn answers(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program for at most `longest`. `true` if it had to be killed.
fn is_killed(mut command: Command, longest: Duration) -> bool {
    let mut child = command.spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (ended, end) = channel();
    let watch = std::thread::spawn(move || {
        // Both pipes close when the process is gone.
        let mut told = std::io::read_to_string(&mut stdout).unwrap_or_default();
        told += &std::io::read_to_string(&mut stderr).unwrap_or_default();
        ended.send(()).ok();
        told
    });
    let killed = end.recv_timeout(longest) == Err(RecvTimeoutError::Timeout);
    if killed {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let told = watch.join().unwrap();
    assert!(killed || status.success(), "a restart failed: {told}");
    killed
}

#[test]
fn flights_on_kafka_have_the_answers_that_they_have_without_it() {
    // One of its own, as the topics have names that are given.
    let Some(_) = Broker::shared() else { return };
    let seed = seed();
    let mut random = Random::new(seed);
    let broker = Broker::options().start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let expected = answers(flights(&dir.path().join("embedded"), None, &QUESTIONS));
    assert!(expected.lines().count() > 100, "only {} answers", expected.lines().count());

    let state = dir.path().join("killed");
    let begun = Instant::now();
    let mut killed = 0;
    for _ in 0..6 {
        let longest = Duration::from_millis(50 + random.below(1_000));
        killed += u64::from(is_killed(flights(&state, Some(&broker), &[&["stats"]]), longest));
    }
    assert!(killed > 0, "seed {seed}: in {:?} the program was always faster", begun.elapsed());
    assert_eq!(answers(flights(&state, Some(&broker), &QUESTIONS)), expected, "seed {seed}");
    // Its folds commute, so that nobody has to hold.
    let topics = broker.tool("topics", &["--list"], "");
    assert!(topics.contains("flights") && !topics.contains("flights.epochs"), "{topics}");
    // Whoever has no state folds the topics anew, and finds in them each flight once.
    assert_eq!(
        answers(flights(&dir.path().join("anew"), Some(&broker), &QUESTIONS)),
        expected,
        "seed {seed}"
    );
}
