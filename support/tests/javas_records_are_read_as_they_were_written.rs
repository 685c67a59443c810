//! What the Java programs write with a type they read with it: every type, records without keys or values, headers,
//! timestamps; of transactions only what was committed.
//!
//! Method: one reads what the other wrote; bytes are compared with what Kafka's serializers are known to write.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use millpond_support::broker::Broker;
use millpond_support::java;
use serde_json::{Value, json};

/// One part of each record.
fn parts(records: &[Value], part: &str) -> Vec<Value> {
    records.iter().map(|record| record[part].clone()).collect()
}

#[test]
fn every_type_comes_back() {
    let Some(broker) = Broker::shared() else { return };
    let topic = broker.create_topic("types", 1, &[]);
    // By type: a value, and its bytes in base64.
    let samples = [
        ("string", json!("mühle"), "bcO8aGxl"),
        ("long", json!(-2), "//////////4="),
        (
            "uuid",
            json!("c0ffee00-0000-4000-8000-000000000001"),
            "YzBmZmVlMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDAx",
        ),
        ("json", json!({"a": [1, null]}), "eyJhIjpbMSxudWxsXX0="),
    ];
    for (at, (name, sample, _)) in samples.iter().enumerate() {
        let records = [json!({"key": sample, "value": null, "timestamp": at}), json!({"value": sample})];
        java::write(broker, &topic, (name, name), &records, &[]);
    }
    let raw = java::read(broker, &topic, ("bytes", "bytes"));
    let mut expected = Vec::new();
    for (_, _, bytes) in &samples {
        expected.extend([(json!(bytes), Value::Null), (Value::Null, json!(bytes))]);
    }
    let read: Vec<_> = parts(&raw, "key").into_iter().zip(parts(&raw, "value")).collect();
    assert_eq!(read, expected);
    let given: Vec<_> = raw.iter().step_by(2).map(|record| record["timestamp"].clone()).collect();
    assert_eq!(given, [0, 1, 2, 3].map(|at| json!(at)));
}

#[test]
fn what_was_not_committed_is_not_there() {
    let Some(broker) = Broker::shared() else { return };
    let topic = broker.create_topic("committed", 2, &[]);
    let headers = json!({"by": "hand"});
    let records = [
        json!({"key": 1, "value": "aborted", "partition": 0}),
        json!("abort"),
        json!({"key": 2, "value": "committed", "partition": 0, "headers": headers}),
        json!({"key": 3, "value": "as well", "partition": 1}),
        json!("commit"),
        json!({"key": 4, "value": "open", "partition": 1}),
    ];
    java::write(broker, &topic, ("integer", "string"), &records, &["--transaction", &topic]);
    let mut read = java::read(broker, &topic, ("integer", "string"));
    read.sort_by_key(|record| record["partition"].as_u64());
    assert_eq!(parts(&read, "value"), ["committed", "as well"]);
    assert_eq!(parts(&read, "headers"), [headers, json!({})]);
    // After a record that was aborted and the mark of it.
    assert_eq!(parts(&read, "offset"), [2, 0]);
}
