//! A broker keeps its topics and records over `kill -9` and a restart at the same address; one that is halted answers nobody
//! until it is let go on; and each ends, and leaves nothing behind, with the test program, even one that is killed.
//!
//! Method: Kafka's own console tools write and read; a test program of its own is killed with its broker running.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use millpond_support::broker::Broker;
use millpond_support::process::{self, ChildProcess};

fn records(broker: &Broker, topic: &str, count: usize) -> Vec<String> {
    let count = count.to_string();
    let read = broker.tool(
        "console-consumer",
        &["--topic", topic, "--from-beginning", "--max-messages", &count],
        "",
    );
    let mut records: Vec<String> = read.lines().map(str::to_owned).collect();
    records.sort();
    records
}

#[test]
fn records_outlive_a_killed_broker() {
    let Some(broker) = Broker::options().property("message.max.bytes", "2000").start() else { return };
    let topic = broker.create_topic("kept", 2, &[("retention.ms", "-1")]);
    broker.tool("console-producer", &["--topic", &topic], "one\ntwo\n");
    let address = broker.bootstrap();
    for _ in 0..2 {
        broker.kill();
        assert_eq!(TcpStream::connect(&address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        broker.restart();
        assert_eq!(broker.bootstrap(), address);
        assert_eq!(records(&broker, &topic, 2), ["one", "two"]);
    }
    assert!(broker.cpu_seconds().unwrap() > 0.1, "it has started, which takes more than that");
    let described = broker.tool("topics", &["--describe", "--topic", &topic], "");
    for setting in ["PartitionCount: 2", "retention.ms=-1", "max.message.bytes=2000"] {
        assert!(described.contains(setting), "{setting}: {described}");
    }
}

/// A request for the versions of the API, which every broker answers.
const VERSIONS: &[u8] = b"\0\0\0\x0e\0\x12\0\0\0\0\0\x07\0\x04test";

#[test]
fn a_halted_broker_answers_when_it_goes_on() {
    let Some(broker) = Broker::options().start() else { return };
    let mut connection = TcpStream::connect(broker.bootstrap()).unwrap();
    let mut reply = [0; 8];
    connection.write_all(VERSIONS).unwrap();
    connection.read_exact(&mut reply).unwrap();
    assert_eq!(reply[4..], [0, 0, 0, 7]);

    let mut connection = TcpStream::connect(broker.bootstrap()).unwrap();
    broker.pause();
    connection.write_all(VERSIONS).unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(connection.read(&mut reply).unwrap_err().kind(), ErrorKind::WouldBlock);
    broker.resume();
    connection.set_read_timeout(None).unwrap();
    connection.read_exact(&mut reply).unwrap();
    assert_eq!(reply[4..], [0, 0, 0, 7]);
}

#[test]
fn brokers_run_beside_each_other() {
    let (Some(shared), Some(other)) = (Broker::shared(), Broker::options().heap_mb(256).start()) else {
        return;
    };
    let topic = shared.create_topic("here", 1, &[]);
    assert_ne!(topic, shared.topic("here"));
    assert!(shared.tool("topics", &["--list"], "").contains(&topic));
    assert!(!other.tool("topics", &["--list"], "").contains(&topic));
}

#[test]
fn who_has_no_leave_is_refused() {
    let options = Broker::options().sasl().ssl().sasl_ssl().acls().user("alice", "in").user("bob", "out");
    let Some(broker) = options.start() else { return };
    let topic = broker.create_topic("guarded", 1, &[]);
    let grant = ["--add", "--allow-principal", "User:alice", "--operation", "All", "--topic", &topic];
    broker.tool("acls", &grant, "");
    let produce = |bootstrap: &str, settings: &[String]| {
        let mut arguments = vec!["--bootstrap-server", bootstrap, "--topic", topic.as_str()];
        for setting in settings {
            arguments.extend(["--command-property", setting.as_str()]);
        }
        broker.tool("console-producer", &arguments, "a record\n");
        let offsets = broker.tool("offsets", &["--topic", &topic], "");
        offsets.trim().rsplit(':').next().unwrap().parse::<u64>().unwrap()
    };
    let login = |mechanism: &str, module: &str, user: &str, password: &str| {
        let module = format!("org.apache.kafka.common.security.{module}");
        vec![
            format!("sasl.mechanism={mechanism}"),
            format!("sasl.jaas.config={module} required username=\"{user}\" password=\"{password}\";"),
            // A refusal is to come soon, and is not repeated.
            "retries=0".to_owned(),
            "delivery.timeout.ms=5000".to_owned(),
            "request.timeout.ms=4000".to_owned(),
            "max.block.ms=4000".to_owned(),
        ]
    };
    let plain = |user: &str, password: &str| {
        let mut settings = login("PLAIN", "plain.PlainLoginModule", user, password);
        settings.push("security.protocol=SASL_PLAINTEXT".to_owned());
        settings
    };
    let mut scram = login("SCRAM-SHA-512", "scram.ScramLoginModule", "alice", "in");
    let tls = [
        format!("ssl.truststore.location={}", broker.authority().display()),
        "ssl.truststore.type=PEM".to_owned(),
    ];
    scram.extend(tls.iter().cloned().chain(["security.protocol=SASL_SSL".to_owned()]));
    let mut anonymous = tls.to_vec();
    anonymous.push("security.protocol=SSL".to_owned());

    // The tool does not fail when a record is refused; what counts is what arrived.
    assert_eq!(produce(&broker.sasl_bootstrap(), &plain("alice", "in")), 1);
    assert_eq!(produce(&broker.sasl_bootstrap(), &plain("alice", "wrong")), 1);
    assert_eq!(produce(&broker.sasl_bootstrap(), &plain("bob", "out")), 1);
    assert_eq!(produce(&broker.sasl_ssl_bootstrap(), &scram), 2);
    assert_eq!(produce(&broker.ssl_bootstrap(), &anonymous), 3);
}

/// This program once more, in a group of its own, with a broker that runs, and the process of that.
fn program_with_a_broker(dir: &Path) -> (ChildProcess, Command, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .envs([("MILLPOND_CHILD", dir), ("TMPDIR", dir)])
        .process_group(0);
    let mut program = ChildProcess::start(command);
    let told = |line: &String| line.starts_with("runs ");
    let line = std::iter::from_fn(|| program.line()).find(told).expect("the broker started");
    let mut pids = line.split(' ').skip(1).map(str::to_owned);
    let (program_pid, broker_pid) = (pids.next().unwrap(), pids.next().unwrap());
    let mut end_of_group = Command::new("kill");
    end_of_group.args(["-TERM", "--", &format!("-{program_pid}")]);
    (program, end_of_group, broker_pid)
}

#[test]
fn nothing_is_left_of_a_killed_test_program() {
    if Broker::available().is_err() {
        return;
    }
    for with_its_group in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (mut program, mut end_of_group, broker) = program_with_a_broker(dir.path());
        assert!(Path::new("/proc").join(&broker).exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "it stores in one directory");
        if with_its_group {
            assert!(end_of_group.status().unwrap().success());
        } else {
            // It may be halted, and then must end all the same.
            assert!(Command::new("kill").args(["-STOP", &broker]).status().unwrap().success());
            program.kill();
        }
        let ended = Command::new("tail").args(["--pid", &broker, "-f", "/dev/null"]).status().unwrap();
        assert!(ended.success());
        while std::fs::read_dir(dir.path()).unwrap().count() > 0 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn child() {
    if process::given().is_none() {
        return;
    }
    let broker = Broker::options().start().expect("there was one to be had just now");
    process::tell(&format!("runs {} {}", std::process::id(), broker.pid()));
    loop {
        std::thread::park();
    }
}
