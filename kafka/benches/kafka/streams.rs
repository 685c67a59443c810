//! Kafka Streams, in the settings that it is measured with.

use super::Bench;
use millpond_support::bench::Outcome;
use millpond_support::bench::measured::Measured;
use millpond_support::java;
use serde_json::Value;

/// A setting of Kafka Streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// Of Java.
    options: [&'static str; 4],
    arguments: [&'static str; 4],
}

const AS_JAVA_COMES: [&str; 4] = ["--gc", "G1", "--heap", "2048"];
/// Its garbage collector matters more to Kafka Streams than its cache.
const WELL_SET: [&str; 4] = ["--gc", "Parallel", "--heap", "6000"];

/// As it comes, and tuned: two threads, 512 MB of cache, a commit a second.
pub(super) const SETTINGS: [Setting; 4] = [
    Setting {
        name: "streams_defaults",
        options: AS_JAVA_COMES,
        arguments: ["--mode", "defaults", "--guarantee", "at_least_once"],
    },
    Setting {
        name: "streams_defaults_exactly_once",
        options: AS_JAVA_COMES,
        arguments: ["--mode", "defaults", "--guarantee", "exactly_once_v2"],
    },
    Setting {
        name: "streams_tuned",
        options: WELL_SET,
        arguments: ["--mode", "tuned", "--guarantee", "at_least_once"],
    },
    TUNED_EXACTLY_ONCE,
];

pub(super) const TUNED_AT_LEAST_ONCE: Setting = SETTINGS[2];

pub(super) const TUNED_EXACTLY_ONCE: Setting = Setting {
    name: "streams_tuned_exactly_once",
    options: WELL_SET,
    arguments: ["--mode", "tuned", "--guarantee", "exactly_once_v2"],
};

impl Setting {
    /// Runs a program with it to its end; what it has printed last.
    pub(super) fn run(&self, bench: &Bench<'_>, program: &str, arguments: &[&str]) -> Outcome<Value> {
        let last = self.run_until(bench, program, arguments, 0)?;
        last.ok_or_else(|| format!("{program} of Kafka Streams printed nothing").into())
    }

    /// Runs a program until it ends with the code `expected`; what it has printed last, if anything.
    pub(super) fn run_until(
        &self,
        bench: &Bench<'_>,
        program: &str,
        arguments: &[&str],
        expected: i32,
    ) -> Outcome<Option<Value>> {
        let mut command = java::command(bench.broker, &self.options, program);
        let output = command.args(self.arguments).args(arguments).output()?;
        if output.status.code() != Some(expected) {
            let name = self.name;
            return Err(format!("{program} of Kafka Streams ({name}) ended with {}", output.status).into());
        }
        let printed = String::from_utf8(output.stdout)?;
        Ok(printed.lines().last().map(serde_json::from_str).transpose()?)
    }
}

/// What a program says of what it took. Whether it came to the right result is told, and is no reason to end.
pub(super) fn measured(said: &Value) -> Measured {
    if said.get("right") != Some(&Value::Bool(true)) {
        eprintln!("Kafka Streams has not counted every record once: {said}");
    }
    Measured {
        records: said.get("records").and_then(Value::as_u64).unwrap_or(0),
        seconds: number(said, "elapsed_s"),
        cpu_seconds: number(said, "cpu_s"),
        peak_bytes: said.get("peak_bytes").and_then(Value::as_u64).unwrap_or(0),
        digest: None,
    }
}

/// A figure of what a program has printed.
pub(super) fn number(said: &Value, name: &str) -> f64 {
    said.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
}
