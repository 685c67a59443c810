//! The clients of librdkafka, as they are set up: what a user says first, and what promises rest on behind it.

use crate::Kafka;
use rdkafka::config::ClientConfig;
use std::time::Duration;

/// How long a transaction may be open, unless `transaction.timeout.ms` says otherwise.
pub(super) const TRANSACTION: Duration = Duration::from_secs(10);

/// What every client is told.
pub(super) fn base(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    // Of what is not said; each may be set otherwise.
    config.set("client.id", "millpond").set("linger.ms", "5").set("compression.type", "lz4");
    config.set("batch.size", "1000000").set("retry.backoff.ms", "5").set("retry.backoff.max.ms", "20");
    for (name, value) in &kafka.properties {
        config.set(name, value);
    }
    // A topic that somebody has deleted is not made anew by whoever writes to it.
    config.set("allow.auto.create.topics", "false");
    config
}

/// The largest record that is sent, in bytes, unless `message.max.bytes` says otherwise: it is for topics to refuse one, and each
/// has a limit of its own. What librdkafka has for it is less than what they take unless told otherwise, so that some records
/// that were read could not be written.
const MOST_BYTES: usize = 16 << 20;

/// The largest record that is sent, in bytes.
pub(super) fn most_bytes(kafka: &Kafka) -> usize {
    let said = kafka.properties.get("message.max.bytes").and_then(|bytes| bytes.parse().ok());
    said.unwrap_or(MOST_BYTES)
}

/// One that appends, each record once.
pub(super) fn idempotent(kafka: &Kafka) -> ClientConfig {
    let mut config = base(kafka);
    config.set("enable.idempotence", "true").set("message.max.bytes", most_bytes(kafka).to_string());
    // More than is ever on its way, so that it refuses nothing that was admitted.
    config.set("queue.buffering.max.messages", "0").set("queue.buffering.max.kbytes", "2097151");
    config
}

/// One that appends in transactions as `name`.
pub(super) fn transactional(kafka: &Kafka, name: &str) -> ClientConfig {
    let mut config = idempotent(kafka);
    if !kafka.properties.contains_key("transaction.timeout.ms") {
        // Whoever reads what is committed waits for it.
        config.set("transaction.timeout.ms", TRANSACTION.as_millis().to_string());
    }
    config.set("transactional.id", name);
    config
}

/// A member of the group `name`, which reads nothing.
pub(super) fn member(kafka: &Kafka, name: &str) -> ClientConfig {
    let mut config = base(kafka);
    let given = |property: &str| kafka.properties.contains_key(property);
    if !given("group.protocol") {
        let usual =
            [("session.timeout.ms", "10000"), ("partition.assignment.strategy", "cooperative-sticky")];
        for (property, value) in usual.into_iter().filter(|(property, _)| !given(property)) {
            config.set(property, value);
        }
    }
    config.set("group.id", name).set("enable.auto.commit", "false").set("auto.offset.reset", "latest");
    // By which it is known whether it is a member.
    config.set("statistics.interval.ms", "1000");
    config
}
