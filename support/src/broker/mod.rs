//! A Kafka broker of a test's own, which can be killed, halted and started again, started by `scripts/broker`.
//!
//! Every broker is a process of its own, on ports and in a directory of its own, and ends with the test program however
//! that ends. Nothing is fetched for it: where there is no Java, or `scripts/broker fetch` never ran, there is none to be had,
//! and a test says so and passes, or fails if `MILLPOND_KAFKA` is `required`:
//!
//! ```no_run
//! # use millpond_support::broker::Broker;
//! let Some(broker) = Broker::shared() else { return };
//! let topic = broker.create_topic("payments", 2, &[("retention.ms", "1000")]);
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use tempfile::TempDir;

use crate::process;

pub use options::Options;

mod options;
mod ports;
mod requests;

/// A broker that runs, or ran and may run again.
#[derive(Debug)]
pub struct Broker {
    dir: TempDir,
    arguments: Vec<String>,
    /// Further options of Java.
    java_options: String,
    first_port: u16,
    process: Mutex<Option<Child>>,
}

impl Broker {
    /// The one broker that the tests of a program share, with the usual settings. Who halts or kills it disturbs the others,
    /// and starts one of their own: [`Broker::options`]. `None` where there is no broker to be had.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Broker>> = OnceLock::new();
        SHARED.get_or_init(|| Self::options().start()).as_ref()
    }

    /// A broker of one's own.
    pub fn options() -> Options {
        Options::default()
    }

    /// Why there is no broker to be had, if so.
    pub fn available() -> Result<(), String> {
        let said = Command::new(script()).arg("available").stdin(Stdio::null()).output();
        match said {
            Ok(said) if said.status.success() => Ok(()),
            Ok(said) => Err(String::from_utf8_lossy(&said.stderr).trim().to_owned()),
            Err(error) => Err(format!("{} does not run: {error}", script().display())),
        }
    }

    /// Whether tests with a broker can run; if not, says loudly that they did not, or fails if they must.
    fn available_or_told() -> bool {
        let Err(why) = Self::available() else { return true };
        let required = std::env::var("MILLPOND_KAFKA").is_ok_and(|value| value == "required");
        assert!(!required, "MILLPOND_KAFKA=required, but: {why}");
        // Not `eprintln!`, which the test harness captures.
        std::io::stderr().write_all(format!("KAFKA TESTS DID NOT RUN: {why}\n").as_bytes()).unwrap();
        false
    }

    fn start_with(
        dir: TempDir,
        (arguments, java_options): (Vec<String>, String),
        first_port: u16,
    ) -> Result<Self, String> {
        let broker = Self { dir, arguments, java_options, first_port, process: Mutex::new(None) };
        broker.run().map(|()| broker)
    }

    fn run(&self) -> Result<(), String> {
        let mut child = Command::new(script())
            .args(["run", "--throw-away", "--dir"])
            .arg(self.stored())
            .args(["--port", &self.first_port.to_string()])
            .args(&self.arguments)
            .envs((!self.java_options.is_empty()).then_some(("KAFKA_OPTS", &self.java_options)))
            // What is sent to the test program and all its children, such as an interrupt, is not for the broker.
            .process_group(0)
            // While this end is open the broker lives.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.trim_end() == self.bootstrap() {
            *self.process.lock().unwrap() = Some(child);
            return Ok(());
        }
        child.kill().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        child.wait().unwrap();
        Err(format!("the broker did not start: {said}{}", self.end_of_log()))
    }

    fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Where clients connect, without a proxy, TLS or a name: `127.0.0.1:PORT`.
    pub fn bootstrap(&self) -> String {
        self.at(ports::PLAIN)
    }

    /// Where clients connect with SASL, if [`Options::sasl`] was asked for.
    pub fn sasl_bootstrap(&self) -> String {
        self.at(ports::SASL)
    }

    /// Where clients connect with TLS, if [`Options::ssl`] was asked for.
    pub fn ssl_bootstrap(&self) -> String {
        self.at(ports::SSL)
    }

    /// Where clients connect with SASL and TLS, if [`Options::sasl_ssl`] was asked for.
    pub fn sasl_ssl_bootstrap(&self) -> String {
        self.at(ports::SASL_SSL)
    }

    /// The authority that signed the certificate of the broker, in PEM.
    pub fn authority(&self) -> PathBuf {
        self.stored().join("tls/ca.pem")
    }

    fn at(&self, port: u16) -> String {
        format!("127.0.0.1:{}", self.first_port + port)
    }

    fn stored(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// What the broker writes: warnings and errors.
    pub fn log(&self) -> PathBuf {
        self.stored().join("broker.log")
    }

    /// Kills the broker as `kill -9` does, and returns when it has ended.
    pub fn kill(&self) {
        let mut child = self.process.lock().unwrap().take().expect("the broker was killed already");
        // Still open until the process is gone, so that its directory is left.
        let stdin = child.stdin.take();
        child.kill().unwrap();
        child.wait().unwrap();
        drop(stdin);
    }

    /// Starts the broker again after [`kill`](Self::kill), with the same ports on the same directory, and waits until it
    /// answers. Some seconds pass until a broker that was killed is let in again.
    pub fn restart(&self) {
        assert!(self.process.lock().unwrap().is_none(), "the broker runs");
        self.run().unwrap();
    }

    /// Halts the broker, which then answers nobody: `kill -STOP`.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets a halted broker go on: `kill -CONT`.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(sent.success(), "the broker has ended by itself: {}", self.end_of_log());
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.process.lock().unwrap().as_ref().expect("the broker was killed").id()
    }

    /// Seconds of all cores together that the broker has used since it was started, where `/proc` says so.
    pub fn cpu_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        // The name of the program, which comes before, may hold anything.
        let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
        let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        // Linux counts in hundredths for programs, whatever it does inside.
        Some((user + system) / 100.0)
    }

    /// A name for a topic that no other test of the program uses. There is no such topic yet.
    pub fn topic(&self, name: &str) -> String {
        static NAMED: AtomicUsize = AtomicUsize::new(0);
        format!("{name}-{}", NAMED.fetch_add(1, Ordering::Relaxed))
    }

    /// A new topic with so many partitions and with settings as Kafka names them; returns its name, which is no other's.
    pub fn create_topic(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) -> String {
        let topic = self.topic(name);
        requests::create_topic(&self.bootstrap(), &topic, partitions, settings);
        topic
    }

    /// Runs one of Kafka's own tools, such as `console-consumer` (`scripts/broker --help` lists them), with arguments and what
    /// it reads from its standard input; returns what it printed. It connects to this broker unless it is told another.
    ///
    /// Each takes a second to start.
    pub fn tool(&self, name: &str, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new(script());
        command.arg(name).args(arguments);
        if !arguments.contains(&"--bootstrap-server") {
            command.args(["--bootstrap-server", &self.bootstrap()]);
        }
        let mut log = tempfile::NamedTempFile::new().unwrap();
        let output = process::output_with_input(command.stderr(log.reopen().unwrap()), input);
        let said = std::io::read_to_string(&mut log).unwrap();
        assert!(output.status.success(), "{name} {arguments:?} failed: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.process.get_mut().is_ok_and(|process| process.is_some()) {
            self.kill();
        }
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/broker")
}
