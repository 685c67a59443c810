//! Processes of a service that are killed and halted at random, holder and followers alike, lose nothing and append nothing
//! twice; and each that is left has the same tables.
//!
//! Method: three processes with a state each, which follow each other on a real broker; records are appended all the while by a
//! producer of the test's own, and after a random number of them a random process is killed and started again, or halted for
//! longer than the group waits for it and let go on. Then outputs are read as strangers read them and compared with all that was
//! appended, record by record. `MILLPOND_KILLS` says how often; 200 take about a quarter of an hour.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use millpond::changelog::Producer;
use millpond::{Engine, Health, Position, SystemClock};
use millpond_support::broker::Broker;
use millpond_support::environment::seed;
use millpond_support::process::{self, ChildProcess};
use millpond_support::random::Random;
use service::{Case, case_of, check, check_telling, kafka, rows, start, telling_of};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PROCESSES: usize = 3;

/// Where a child is told that nothing more comes, and how far it has to come.
const END: &str = "end";

fn kills() -> u64 {
    std::env::var("MILLPOND_KILLS").map_or(6, |kills| kills.parse().unwrap())
}

/// One process of the service.
#[test]
fn child() {
    let Some(dir) = process::given() else { return };
    let given = |name: &str| std::env::var(name).unwrap();
    let case = case_of_kind(&given("KIND"), &given("INPUT"), &given("OUTPUT"));
    let kafka = kafka(&given("BOOTSTRAP"), &given("SERVICE"));
    let builder = Engine::builder(&case.graph).state_dir(dir.join("state")).changelog(kafka);
    let engine = builder.memory(64 << 20).drain_interval(Duration::from_millis(50)).start().unwrap();
    process::tell("started");
    let end = loop {
        assert!(!matches!(engine.health(), Health::Stopped { .. }), "{:?}", engine.health());
        if let Ok(end) = std::fs::read_to_string(dir.join(END)) {
            break end.parse::<Position>().unwrap();
        }
        std::thread::park_timeout(Duration::from_millis(20));
    };
    engine.wait_for_blocking(&end).unwrap();
    let rows: Vec<String> =
        rows(&case, &engine).iter().map(|(key, count)| format!("{key}={count}")).collect();
    process::tell(&format!("rows {}", rows.join(" ")));
    engine.close_blocking().unwrap();
    process::tell("closed");
}

/// Whether a graph can tell how records of several partitions follow each other.
fn case_of_kind(kind: &str, input: &str, output: &str) -> Case {
    if kind == "telling" { telling_of(input, output) } else { case_of(input, output) }
}

fn spawn(dir: &Path, bootstrap: &str, case: &Case, (name, kind): (&str, &str)) -> ChildProcess {
    std::fs::create_dir_all(dir).unwrap();
    let task = [
        ("KIND", kind.to_owned()),
        ("BOOTSTRAP", bootstrap.to_owned()),
        ("SERVICE", name.to_owned()),
        ("INPUT", case.input.name().to_string()),
        ("OUTPUT", case.output.name().to_string()),
    ];
    ChildProcess::spawn(dir, &task)
}

/// Appends, and keeps what was appended by key.
struct Appending {
    producer: Producer<u32, u64>,
    number: u64,
    appended: BTreeMap<u32, Vec<u64>>,
    position: Position,
}

impl Appending {
    fn some(&mut self, count: u64) {
        let mut acks = Vec::new();
        for _ in 0..count {
            self.number += 1;
            let key = u32::try_from(self.number * 7919 % 101).unwrap();
            self.appended.entry(key).or_default().push(self.number);
            acks.push(self.producer.put(&key, &self.number));
        }
        for ack in acks {
            self.position.advance_to(&ack.wait_blocking().unwrap());
        }
    }
}

#[test]
fn what_was_appended_has_its_outputs_once() {
    let Some(broker) = Broker::shared() else { return };
    live("blind", broker);
}

#[test]
fn so_it_has_where_the_order_of_partitions_matters() {
    let Some(broker) = Broker::shared() else { return };
    live("telling", broker);
}

/// Lives through some deaths, and is looked at afterwards.
fn live(kind: &str, broker: &Broker) {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    let input = broker.create_topic(&format!("{kind}-in"), 3, &[]);
    let output = broker.create_topic(&format!("{kind}-out"), 3, &[]);
    let (name, case) = (&*format!("killed-{kind}"), case_of_kind(kind, &input, &output));
    let log = Arc::new(kafka(&broker.bootstrap(), "outside").open().unwrap());
    let producer = Producer::new(log.clone(), &case.input, Arc::new(SystemClock)).unwrap();
    let mut appending =
        Appending { producer, number: 0, appended: BTreeMap::new(), position: Position::new() };
    let dir = tempfile::tempdir().unwrap();
    let place = |number: usize| dir.path().join(number.to_string());
    let run = |number: usize| spawn(&place(number), &broker.bootstrap(), &case, (name, kind));
    let mut children: Vec<_> = (0..PROCESSES).map(run).collect();
    for kill in 0..kills() {
        for _ in 0..5 + random.below(60) {
            appending.some(50);
        }
        let number = random.index(PROCESSES);
        if random.below(4) == 0 {
            // Longer than the group waits for it.
            children[number].signal("-STOP");
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(3_500) {
                appending.some(50);
            }
            children[number].signal("-CONT");
        } else {
            let mut killed = children.remove(number);
            killed.kill();
            let (_, stderr, status) = killed.end();
            children.insert(number, run(number));
            assert!(status.code().is_none(), "kill {kill}: it had ended by itself: {stderr}");
        }
    }
    appending.some(50);
    let end = appending.position.to_string();
    (0..PROCESSES).for_each(|number| std::fs::write(place(number).join(END), &end).unwrap());
    let expected = if kind == "telling" {
        check_telling(&case, &*log, &appending.appended)
    } else {
        check(&case, &*log, &appending.appended);
        appending.appended.iter().map(|(key, values)| (*key, values.len() as u64)).collect()
    };
    let shown: Vec<String> = expected.iter().map(|(key, count)| format!("{key}={count}")).collect();
    for child in children {
        let (lines, stderr, status) = child.end();
        assert!(status.success(), "{stderr}");
        assert!(lines.contains(&format!("rows {}", shown.join(" "))), "{lines:?}");
    }
    // Whoever begins anew comes to the same.
    let last = start(&case, kafka(&broker.bootstrap(), name));
    last.wait_for_blocking(&appending.position).unwrap();
    assert_eq!(rows(&case, &last), expected);
    last.close_blocking().unwrap();
    match kind {
        "telling" => drop(check_telling(&case, &*log, &appending.appended)),
        _ => check(&case, &*log, &appending.appended),
    }
}
