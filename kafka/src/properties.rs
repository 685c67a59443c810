//! Which properties of librdkafka may be set, and what those mean that more than librdkafka reads.

use millpond_engine::{Error, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// Properties on which what millpond promises rests, each with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("transactional.id", "it is the name of the service, by which another process of it is fenced"),
    ("group.id", "it is the name of the service"),
    (
        "enable.idempotence",
        "without it a record that is sent again could stand there twice, or behind later ones",
    ),
    ("acks", "an append is acknowledged once all replicas in sync have it"),
    ("max.in.flight.requests.per.connection", "with more than five, records could change places"),
    ("isolation.level", "records of transactions that were aborted would be folded"),
    ("auto.offset.reset", "a position that is gone is an error and no reason to begin elsewhere"),
    ("enable.auto.commit", "a position is durable together with the rows that were folded up to there"),
    ("enable.auto.offset.store", "a position is durable together with the rows that were folded up to there"),
    ("enable.partition.eof", "the end of a partition is known by its offsets"),
    ("check.crcs", "damage must be found before it is folded"),
    ("partitioner", "records are placed by millpond, as Kafka's own clients do it"),
    ("dr_msg_cb", "it is how appends are acknowledged"),
    ("delivery.report.only.error", "appends are acknowledged by reports of their delivery"),
    ("queue.buffering.max.messages", QUEUE),
    ("queue.buffering.max.kbytes", QUEUE),
];

const QUEUE: &str = "what is on its way is counted before it is handed to librdkafka, so that an append is taken or refused as a \
                     whole (`Producer::room`)";

/// How long a broker may take to answer, unless `socket.timeout.ms` says otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Other names for the same.
const ALIASES: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("request.required.acks", "acks"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("compression.codec", "compression.type"),
    ("queue.buffering.max.ms", "linger.ms"),
];

/// The name that is used here for the property `name`.
pub(crate) fn canonical(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name)
}

/// Whether the value of the property must not be shown.
pub(crate) fn is_secret(name: &str) -> bool {
    let tells = ["password", "secret", "pem", "jaas", "oauthbearer.config"];
    (name.starts_with("sasl.") || name.starts_with("ssl.")) && tells.iter().any(|tell| name.contains(tell))
}

/// A property that says how many milliseconds something takes, if it says so.
pub(crate) fn millis(properties: &BTreeMap<String, String>, name: &str) -> Option<Duration> {
    properties.get(name)?.parse().ok().map(Duration::from_millis)
}

/// How long a broker may take to answer.
pub(crate) fn request_timeout(properties: &BTreeMap<String, String>) -> Duration {
    millis(properties, "socket.timeout.ms").unwrap_or(REQUEST_TIMEOUT)
}

/// Refuses properties that would break what millpond promises.
pub(crate) fn check(properties: &BTreeMap<String, String>) -> Result<()> {
    for (name, why) in REFUSED {
        if properties.contains_key(*name) {
            return Err(Error::invalid(format!(
                "the property `{name}` of Kafka cannot be set: {why}; leave it out"
            )));
        }
    }
    if properties.get("bootstrap.servers").is_none_or(|brokers| brokers.trim().is_empty()) {
        return Err(Error::invalid("no broker was named: call `Kafka::bootstrap` with one, as in `b1:9092`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Kafka;
    use millpond_engine::ErrorKind;

    #[test]
    fn what_would_break_a_promise_is_refused_by_each_of_its_names() {
        for name in ["acks", "request.required.acks", "isolation.level", "max.in.flight", "group.id"] {
            let error = Kafka::new("s").bootstrap("b:9092").property(name, "1").open().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("cannot be set"), "{error}");
        }
        let error = Kafka::new("s").open().unwrap_err();
        assert!(error.to_string().contains("Kafka::bootstrap"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let kafka = Kafka::new("s").property("sasl.password", "hunter2").property("ssl.key.pem", "hunter2");
        let shown = format!("{:?}", kafka.property("sasl.username", "reader"));
        assert!(shown.contains("reader") && !shown.contains("hunter2"), "{shown}");
    }
}
