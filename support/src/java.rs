//! Programs on Kafka's Java client (`benches/kafka_streams`): what they write others must read, and the other way round.
//!
//! They are built beforehand: `benches/kafka_streams/run --build`. Each takes a second to start.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::broker::Broker;
use crate::process;

/// Runs a program against a broker, with what it reads from its standard input; returns the lines of JSON that it printed.
pub fn run(broker: &Broker, program: &str, arguments: &[&str], input: &str) -> Vec<Value> {
    // Quick to start.
    let mut command = command(broker, &["--gc", "Serial", "--heap", "256"], program);
    command.env("JAVA_OPTS", "-XX:TieredStopAtLevel=1").args(arguments);
    let output = process::output_with_input(&mut command, input);
    assert!(output.status.success(), "{program} {arguments:?} failed: {}", output.status);
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A program against a broker, to be given its arguments and run; `options` are those of `benches/kafka_streams/run`.
pub fn command(broker: &Broker, options: &[&str], program: &str) -> Command {
    let mut command = Command::new(script());
    command.args(options).arg(program).args(["--bootstrap", &broker.bootstrap()]);
    // Read by whoever looks at why something failed.
    command.stderr(Stdio::inherit());
    command
}

/// Writes records with Kafka's own serializers: objects with `key`, `value`, `partition`, `timestamp` and `headers`, any of which
/// may be left out, and, with `--transaction ID` among the further arguments, the strings `commit` and `abort`. See
/// `benches/kafka_streams/run WriteTyped --help`.
pub fn write(broker: &Broker, topic: &str, types: (&str, &str), records: &[Value], further: &[&str]) {
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    let mut arguments = vec!["--topic", topic, "--key-type", types.0, "--value-type", types.1];
    arguments.extend(further);
    run(broker, "WriteTyped", &arguments, &lines.join("\n"));
}

/// All committed records of a topic, in the order of each partition, read with Kafka's own deserializers.
pub fn read(broker: &Broker, topic: &str, types: (&str, &str)) -> Vec<Value> {
    run(broker, "ReadTyped", &["--topic", topic, "--key-type", types.0, "--value-type", types.1], "")
}

/// Count and last value of each key of a topic, folded by Kafka Streams of what was committed: objects with `key`, `count` and
/// `last`.
pub fn fold(broker: &Broker, topic: &str, types: (&str, &str)) -> Vec<Value> {
    run(broker, "FoldTyped", &["--topic", topic, "--key-type", types.0, "--value-type", types.1], "")
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/kafka_streams/run")
}
