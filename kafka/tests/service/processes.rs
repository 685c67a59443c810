//! A process of the service by itself, to be killed or halted; a producer that keeps what it has appended; and what the processes
//! that are left must have come to.

use super::{Case, case_of, check, check_telling, kafka, rows, start, telling_of};
use millpond::changelog::{Changelog, Producer};
use millpond::{Engine, Health, Position, SystemClock};
use millpond_kafka::KafkaChangelog;
use millpond_support::broker::Broker;
use millpond_support::process::{self, ChildProcess};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where a process is told that nothing more comes, and how far it has to come.
const END: &str = "end";

/// Where a process says what it is among those of the service, a line for each change.
const ROLES: &str = "roles";

/// Runs a process of the service in `dir`, until it is told the end.
pub(crate) fn run(dir: &Path) {
    let given = |name: &str| std::env::var(name).unwrap();
    let case = case_of_kind(&given("KIND"), &given("INPUT"), &given("OUTPUT"));
    let kafka = kafka(&given("BOOTSTRAP"), &given("SERVICE"));
    let builder = Engine::builder(&case.graph).state_dir(dir.join("state")).changelog(kafka);
    let engine = builder.memory(64 << 20).drain_interval(Duration::from_millis(50)).start().unwrap();
    process::tell("started");
    let mut roles = std::fs::File::options().create(true).append(true).open(dir.join(ROLES)).unwrap();
    let mut said = None;
    let end = loop {
        assert!(!matches!(engine.health(), Health::Stopped { .. }), "{:?}", engine.health());
        let role = engine.stats().role;
        if role != said {
            roles.write_all(format!("{:?}\n", role.unwrap()).as_bytes()).unwrap();
            said = role;
        }
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

/// Appends, and keeps what was appended by key.
pub(crate) struct Appending {
    producer: Producer<u32, u64>,
    number: u64,
    appended: BTreeMap<u32, Vec<u64>>,
    position: Position,
}

impl Appending {
    fn new(log: Arc<KafkaChangelog>, case: &Case) -> Self {
        let producer = Producer::new(log, &case.input, Arc::new(SystemClock)).unwrap();
        Self { producer, number: 0, appended: BTreeMap::new(), position: Position::new() }
    }

    pub(crate) fn some(&mut self, count: u64) {
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

/// A service of which each process has a place of its own, and whoever looks at it from outside.
pub(crate) struct Service<'a> {
    broker: &'a Broker,
    kind: &'static str,
    name: String,
    pub(crate) case: Case,
    pub(crate) log: Arc<KafkaChangelog>,
    dir: tempfile::TempDir,
}

impl<'a> Service<'a> {
    /// One without a process yet; `kind` says of which graph.
    pub(crate) fn new(broker: &'a Broker, name: &str, kind: &'static str) -> Self {
        let name = broker.topic(&format!("{name}-{kind}"));
        let [input, output] = ["in", "out"].map(|of| broker.create_topic(&format!("{name}-{of}"), 3, &[]));
        let case = case_of_kind(kind, &input, &output);
        let log = Arc::new(kafka(&broker.bootstrap(), "outside").open().unwrap());
        Self { broker, kind, name, case, log, dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn appending(&self) -> Appending {
        Appending::new(Arc::clone(&self.log), &self.case)
    }

    fn place(&self, number: usize) -> PathBuf {
        self.dir.path().join(number.to_string())
    }

    pub(crate) fn spawn(&self, number: usize) -> ChildProcess {
        let dir = self.place(number);
        std::fs::create_dir_all(&dir).unwrap();
        let task = [
            ("KIND", self.kind.to_owned()),
            ("BOOTSTRAP", self.broker.bootstrap()),
            ("SERVICE", self.name.clone()),
            ("INPUT", self.case.input.name().to_string()),
            ("OUTPUT", self.case.output.name().to_string()),
        ];
        ChildProcess::spawn(&dir, &task)
    }

    /// What the process has said that it is, one after the other.
    pub(crate) fn roles(&self, number: usize) -> Vec<String> {
        let said = std::fs::read_to_string(self.place(number).join(ROLES)).unwrap_or_default();
        // The last line may be torn.
        said.split_inclusive('\n').filter_map(|line| Some(line.strip_suffix('\n')?.to_owned())).collect()
    }

    /// Tells all processes the end, and checks what they and their outputs have come to: every output is there once, all tables
    /// are equal, and those of whoever begins anew.
    pub(crate) fn end(&self, children: Vec<ChildProcess>, appending: &Appending) {
        let end = appending.position.to_string();
        for number in 0..children.len() {
            // A process looks for it all the time, and must not find half of it.
            let place = self.place(number);
            std::fs::write(place.join("unfinished"), &end).unwrap();
            std::fs::rename(place.join("unfinished"), place.join(END)).unwrap();
        }
        let expected = self.check(appending);
        let shown: Vec<String> = expected.iter().map(|(key, count)| format!("{key}={count}")).collect();
        for child in children {
            let (lines, stderr, status) = child.end();
            assert!(status.success(), "{stderr}");
            assert!(lines.contains(&format!("rows {}", shown.join(" "))), "{lines:?}");
        }
        let last = start(&self.case, kafka(&self.broker.bootstrap(), &self.name));
        last.wait_for_blocking(&appending.position).unwrap();
        assert_eq!(rows(&self.case, &last), expected);
        last.close_blocking().unwrap();
        self.check(appending);
    }

    /// Checks the outputs, and returns the rows that tables must have.
    fn check(&self, appending: &Appending) -> BTreeMap<u32, u64> {
        let log: &dyn Changelog = &*self.log;
        if self.kind == "telling" {
            return check_telling(&self.case, log, &appending.appended);
        }
        check(&self.case, log, &appending.appended);
        appending.appended.iter().map(|(key, values)| (*key, values.len() as u64)).collect()
    }
}
