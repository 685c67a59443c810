//! The Kafka Streams programs that millpond is measured beside do all of the work and say so: every record folded once and
//! committed, every record in the other topic.
//!
//! Method: small topics; what the programs count themselves in a second look at their state is compared with what was written.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use millpond_support::broker::Broker;
use millpond_support::java;
use serde_json::{Value, json};

fn run(broker: &Broker, program: &str, arguments: &[&str]) -> Value {
    let lines = java::run(broker, program, arguments, "");
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

#[test]
fn every_record_counts_once() {
    let Some(broker) = Broker::shared() else { return };
    let topic = broker.create_topic("measured", 2, &[]);
    let written = ["--topic", &topic, "--records", "20000", "--keys", "500", "--distribution", "zipf"];
    run(broker, "Produce", &written);
    let folded = run(
        broker,
        "Aggregate",
        &[
            "--topic",
            &topic,
            "--mode",
            "tuned",
            "--guarantee",
            "exactly_once_v2",
            "--probe",
            "0",
            "--keys",
            "500",
        ],
    );
    // Each thousand of amounts is 1 to 1000.
    for (part, expected) in [
        ("right", json!(true)),
        ("records", json!(20_000)),
        ("counted", json!(20_000)),
        ("sum", json!(20 * 500_500)),
    ] {
        assert_eq!(folded[part], expected, "{part} of {folded}");
    }
    for part in ["elapsed_s", "cpu_s", "records_per_cpu_s", "peak_bytes"] {
        assert!(folded[part].as_f64().unwrap() > 0.0, "{part} of {folded}");
    }

    let other = broker.topic("filtered");
    let filtered =
        run(broker, "Filter", &["--topic", &topic, "--to", &other, "--guarantee", "exactly_once_v2"]);
    assert_eq!((&filtered["right"], &filtered["written"]), (&json!(true), &json!(20_000)), "{filtered}");
    assert_eq!(in_order(broker, &other), in_order(broker, &topic));
}

/// Keys and values of a topic, by partition.
fn in_order(broker: &Broker, topic: &str) -> Vec<[Value; 3]> {
    let mut records: Vec<_> = java::read(broker, topic, ("long", "bytes"))
        .into_iter()
        .map(|record| ["partition", "key", "value"].map(|part| record[part].clone()))
        .collect();
    records.sort_by_key(|[partition, ..]| partition.as_u64());
    records
}
