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
    (
        "enable.gapless.guarantee",
        "an append that fails is an error of its own, and no end of those that follow",
    ),
    (
        "allow.auto.create.topics",
        "topics are created where `Kafka::create_topics` asks for it, and nowhere else",
    ),
    ("topic.blacklist", "a topic that the graph names is read or written"),
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
    // librdkafka takes `5s` for 5, and parts of a millisecond of one property only.
    let no_number = |(name, value): &(&String, &String)| match name.rsplit('.').next() {
        Some("ms") if *name == "linger.ms" => value.trim().parse::<f64>().is_err(),
        Some("ms") => value.parse::<i64>().is_err(),
        _ => false,
    };
    if let Some((name, value)) = properties.iter().find(no_number) {
        return Err(Error::invalid(format!(
            "the property `{name}` of Kafka is a number of milliseconds, and `{value}` is none"
        )));
    }
    brokers(properties).map(drop)
}

/// The brokers to ask first, each as `host:port`, as librdkafka understands them: without a port, it is Kafka's usual one; what
/// stands before `://` has been said by `security.protocol`.
pub(crate) fn brokers(properties: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let said = properties.get("bootstrap.servers").map_or("", String::as_str);
    let addresses = said.split(',').map(str::trim).filter(|address| !address.is_empty());
    let addresses = addresses.map(|address| {
        let place = address.split_once("://").map_or(address, |(_, place)| place);
        let unfit =
            || Error::invalid(format!("`{address}` is no address of a broker: name it as in `b1:9092`"));
        let is_bare = place.ends_with(']') || !place.contains(':');
        let (host, port) =
            if is_bare { (place, "9092") } else { place.rsplit_once(':').ok_or_else(unfit)? };
        match port.parse::<u16>() {
            Ok(1..) if !host.is_empty() && (host.starts_with('[') || !host.contains(':')) => {
                Ok(format!("{host}:{port}"))
            }
            _ => Err(unfit()),
        }
    });
    let addresses = addresses.collect::<Result<Vec<_>>>()?;
    if addresses.is_empty() {
        return Err(Error::invalid("no broker was named: call `Kafka::bootstrap` with one, as in `b1:9092`"));
    }
    Ok(addresses)
}

/// Longer than any process runs.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What is asked for every so often, unless `topic.metadata.refresh.interval.ms` says otherwise.
const METADATA_AGE: Duration = Duration::from_secs(30);

/// How often topics are asked for anew.
pub(crate) fn metadata_age(properties: &BTreeMap<String, String>) -> Result<Duration> {
    let name = "topic.metadata.refresh.interval.ms";
    let Some(millis) = properties.get(name) else { return Ok(METADATA_AGE) };
    let millis: i64 = millis.parse().map_err(|_| Error::invalid(format!("`{name}` is no number")))?;
    // As librdkafka reads it: nothing, and below nothing, is never.
    Ok(u64::try_from(millis).ok().filter(|millis| *millis > 0).map_or(NEVER, Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn of(name: &str, value: &str) -> BTreeMap<String, String> {
        [("bootstrap.servers".to_owned(), "b:9092".to_owned()), (name.to_owned(), value.to_owned())].into()
    }

    #[test]
    fn what_is_no_address_and_no_number_is_refused_at_once() {
        for brokers in ["h:abc", "h:99999", "h:0", ":9092", "a:1,h:", "::1", "a:1;b:2"] {
            let error = check(&of("bootstrap.servers", brokers)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{brokers}");
        }
        for (name, value) in [
            ("linger.ms", "5s"),
            ("socket.timeout.ms", "1.5"),
            ("enable.gapless.guarantee", "true"),
            ("topic.blacklist", "t"),
        ] {
            assert_eq!(check(&of(name, value)).unwrap_err().kind(), ErrorKind::Invalid, "{name}");
        }
        check(&of("linger.ms", "0.5")).unwrap();
    }

    #[test]
    fn addresses_are_read_as_librdkafka_reads_them() {
        let said = of("bootstrap.servers", " PLAINTEXT://a:1, b ,[::1]:2,[::1],,10.0.0.1:9092");
        let expected = ["a:1", "b:9092", "[::1]:2", "[::1]:9092", "10.0.0.1:9092"];
        assert_eq!(brokers(&said).unwrap(), expected);
    }

    /// Topics were asked for without a pause.
    #[test]
    fn no_interval_is_never() {
        let name = "topic.metadata.refresh.interval.ms";
        for never in ["0", "-1"] {
            assert_eq!(metadata_age(&of(name, never)).unwrap(), NEVER);
        }
        assert_eq!(metadata_age(&of(name, "250")).unwrap(), Duration::from_millis(250));
        assert_eq!(metadata_age(&of("linger.ms", "1")).unwrap(), METADATA_AGE);
    }

    #[test]
    fn secrets_are_not_shown() {
        let kafka = Kafka::new("s").property("sasl.password", "hunter2").property("ssl.key.pem", "hunter2");
        let shown = format!("{:?}", kafka.property("sasl.username", "reader"));
        assert!(shown.contains("reader") && !shown.contains("hunter2"), "{shown}");
    }
}
