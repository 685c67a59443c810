//! What goes wrong with a broker is an error of a kind that says what it is: with topic, partition and offset, with the ACL that
//! is missing, with both sizes, and with what to do. What passes by itself is retried and told.
//!
//! Method: a real broker with users and ACLs, one test for each row of the table of errors in `docs/operating-on-kafka.md` that a
//! broker can be made to cause, by either path of reading where both can meet it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::prelude::*;
use millpond::changelog::{Append, Record, TopicConfig};
use millpond::{Engine, ErrorKind, GraphBuilder, Result, Topic, TopicPartition};
use millpond_kafka::fetch::{FetchConfig, Fetcher};
use millpond_kafka::{Fetch, Kafka, KafkaChangelog};
use millpond_support::broker::Broker;
use millpond_support::expect::{refused, says};
use millpond_support::random::Random;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::OnceLock;
use std::time::Duration;

const PATHS: [Fetch; 2] = [Fetch::Direct, Fetch::Librdkafka];

/// That of all tests but those that kill theirs.
fn broker() -> Option<&'static Broker> {
    static BROKER: OnceLock<Option<Broker>> = OnceLock::new();
    let options = || Broker::options().sasl().acls().user("app", "secret-of-app");
    // Records are dated as a test likes, and kept all the same.
    BROKER.get_or_init(|| options().property("log.retention.ms", "-1").start()).as_ref()
}

/// As somebody who may do everything.
fn anybody(broker: &Broker) -> Kafka {
    Kafka::new("errors").bootstrap(&broker.bootstrap())
}

/// As `app`, who may do what it was allowed.
fn app(broker: &Broker, password: &str) -> Kafka {
    let kafka =
        Kafka::new("errors").bootstrap(&broker.sasl_bootstrap()).property("socket.timeout.ms", "3000");
    let kafka = kafka.property("security.protocol", "sasl_plaintext").property("sasl.mechanism", "PLAIN");
    kafka.property("sasl.username", "app").property("sasl.password", password)
}

fn allow(broker: &Broker, operation: &str, topic: &str) {
    let to = ["--add", "--allow-principal", "User:app", "--operation", operation, "--topic", topic];
    broker.tool("acls", &to, "");
}

fn partition(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

fn append(log: &KafkaChangelog, topic: &str, record: Record) -> Result<u64> {
    let to = partition(topic);
    let after = log.append(vec![Append { partition: to.clone(), records: vec![record] }]).wait_blocking()?;
    Ok(after.offset(&to))
}

fn record(value: impl Into<Vec<u8>>) -> Record {
    Record::new("key", value.into()).at(1)
}

/// How reading from `offset` on ends.
fn failure(log: &KafkaChangelog, topic: &str, offset: u64) -> millpond::Error {
    let mut reader = match log.reader(&partition(topic), offset) {
        Ok(reader) => reader,
        Err(error) => return error,
    };
    end_of(&mut *reader)
}

fn end_of(reader: &mut dyn PartitionReader) -> millpond::Error {
    for _ in 0..600 {
        let decoded = reader
            .poll(1 << 20)
            .and_then(|batches| batches.iter().try_for_each(|batch| batch.decode().map(drop)));
        if let Err(error) = decoded {
            return error;
        }
        reader.wait(Duration::from_millis(200)).unwrap();
    }
    panic!("reading goes on");
}

#[test]
fn a_password_that_is_wrong() {
    let Some(broker) = broker() else { return };
    for path in PATHS {
        let error = refused(app(broker, "guessed").fetch(path).open(), ErrorKind::Invalid, &["log in"]);
        assert!(!format!("{error:?}").contains("guessed"), "{error:?}");
        app(broker, "secret-of-app").fetch(path).open().unwrap().close().unwrap();
    }
}

#[test]
fn mechanisms_that_only_librdkafka_knows_are_told_where_to_go() {
    let kafka = Kafka::new("errors").bootstrap("127.0.0.1:1").property("security.protocol", "sasl_plaintext");
    for mechanism in ["GSSAPI", "OAUTHBEARER"] {
        let kafka = kafka.clone().property("sasl.mechanism", mechanism);
        refused(kafka.open(), ErrorKind::Invalid, &[mechanism, "Fetch::Librdkafka"]);
    }
}

#[test]
fn a_topic_that_must_not_be_read() {
    let Some(broker) = broker() else { return };
    for path in PATHS {
        let topic = broker.create_topic("not-read", 1, &[]);
        append(&anybody(broker).open().unwrap(), &topic, record("1")).unwrap();
        let says_acl = ["READ", "TOPIC", &*topic, "ACL"];
        // Neither seen,
        let log = app(broker, "secret-of-app").fetch(path).open().unwrap();
        refused(log.partitions(&topic), ErrorKind::Invalid, &says_acl);
        let graph = GraphBuilder::new();
        graph.table(&Topic::<u32, u64>::new(&topic), "rows");
        let graph = graph.build().unwrap();
        let kafka = app(broker, "secret-of-app").fetch(path);
        refused(Engine::builder(&graph).in_memory().changelog(kafka).start(), ErrorKind::Invalid, &says_acl);
        // nor read.
        allow(broker, "Describe", &topic);
        let error = failure(&log, &topic, 0);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{path:?}: {error}");
        says(&error, &says_acl);
        allow(broker, "Read", &topic);
        let log = app(broker, "secret-of-app").fetch(path).open().unwrap();
        let mut reader = log.reader(&partition(&topic), 0).unwrap();
        millpond::changelog::backend::read_below(&mut *reader, 1, |_| Ok(())).unwrap();
    }
}

#[test]
fn a_topic_that_must_not_be_written_or_created() {
    let Some(broker) = broker() else { return };
    let [one, other] = ["not-written", "written"].map(|name| broker.create_topic(name, 1, &[]));
    for topic in [&one, &other] {
        allow(broker, "Describe", topic);
    }
    let log = || app(broker, "secret-of-app").property("message.timeout.ms", "5000").open().unwrap();
    // Who may write nothing at all is refused by the cluster,
    refused(append(&log(), &one, record("1")), ErrorKind::Invalid, &["WRITE", "TOPIC", &one, "ACL"]);
    allow(broker, "Write", &other);
    // who may write to others, by the topic.
    refused(append(&log(), &one, record("1")), ErrorKind::Invalid, &["WRITE", "TOPIC", &one, "ACL"]);
    append(&log(), &other, record("1")).unwrap();

    let missing = broker.topic("not-created");
    allow(broker, "Describe", &missing);
    let create = app(broker, "secret-of-app").create_topics(1).open().unwrap();
    refused(
        create.create_topic(&missing, &TopicConfig::default()),
        ErrorKind::Invalid,
        &["CREATE", &missing, "ACL"],
    );
    // Of a topic that dates its records it cannot be seen that it does.
    let dated = TopicConfig::default().timestamps(millpond::changelog::Timestamps::Appended);
    refused(create.ensure_topic(&other, &dated), ErrorKind::Invalid, &["DESCRIBE_CONFIGS", &other]);
}

#[test]
fn a_topic_that_cannot_be_created_as_it_is_wanted() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("replicated");
    let log = anybody(broker).create_topics(3).open().unwrap();
    refused(
        log.create_topic(&topic, &TopicConfig::default()),
        ErrorKind::Invalid,
        &[&topic, "cannot be created"],
    );
}

/// At the start it is one at once: see `kafka_runs_an_engine`.
#[test]
fn a_topic_that_is_gone_while_it_is_read() {
    let Some(broker) = broker() else { return };
    let topic = broker.create_topic("gone", 1, &[]);
    let log = anybody(broker).open().unwrap();
    append(&log, &topic, record("1")).unwrap();
    let mut config = FetchConfig::new(&broker.bootstrap());
    config.missing_topic_timeout = Duration::from_secs(1);
    let mut direct = Fetcher::connect(config).unwrap().reader(&partition(&topic), 1).unwrap();
    let settings =
        [("topic.metadata.propagation.max.ms", "1000"), ("topic.metadata.refresh.interval.ms", "500")];
    let kafka = settings.iter().fold(anybody(broker), |kafka, (name, value)| kafka.property(name, *value));
    let log = kafka.fetch(Fetch::Librdkafka).open().unwrap();
    let mut other = log.reader(&partition(&topic), 1).unwrap();
    for reader in [&mut direct as &mut dyn PartitionReader, &mut *other] {
        assert!(reader.poll(1000).unwrap().is_empty());
    }
    broker.tool("topics", &["--delete", "--topic", &topic], "");
    for reader in [&mut direct as &mut dyn PartitionReader, &mut *other] {
        let error = end_of(reader);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        says(&error, &[&topic, "does not exist", "create it"]);
    }
}

#[test]
fn a_position_that_is_not_there() {
    let Some(broker) = broker() else { return };
    for path in PATHS {
        let topic = broker.create_topic("recreated", 1, &[]);
        let rows = Topic::<u32, u64>::new(&topic);
        let graph = GraphBuilder::new();
        graph.stream(&rows).group_by_key().count("counts");
        let graph = graph.build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let open =
            || Engine::builder(&graph).state_dir(dir.path()).changelog(anybody(broker).fetch(path)).start();
        let engine = open().unwrap();
        engine.append(&rows, &1, &1).wait_blocking().unwrap();
        engine.catch_up_blocking().unwrap();
        engine.close_blocking().unwrap();
        let log = anybody(broker).fetch(path).open().unwrap();
        let mut reader = log.reader(&partition(&topic), 1).unwrap();
        assert!(reader.poll(1000).unwrap().is_empty());
        // Made anew, it is shorter than what was read of it.
        broker.tool("topics", &["--delete", "--topic", &topic], "");
        let made = anybody(broker).create_topics(1).open().unwrap();
        made.create_topic(&topic, &TopicConfig::default().partitions(1)).unwrap();
        refused(open(), ErrorKind::AheadOfChangelog, &[&topic]);
        // Whoever reads meanwhile finds it out, too.
        let error = end_of(&mut *reader);
        assert_eq!(error.kind(), ErrorKind::AheadOfChangelog, "{path:?}: {error}");
        says(&error, &[&topic]);
        let log = anybody(broker).fetch(path).open().unwrap();
        refused(log.reader(&partition(&topic), 1), ErrorKind::AheadOfChangelog, &["offset 1", "0 to 0"]);
    }
}

#[test]
fn a_record_that_is_too_large() {
    let Some(broker) = broker() else { return };
    let topic = broker.create_topic("large", 1, &[]);
    let log = anybody(broker).open().unwrap();
    let large = || record(vec![b'x'; 64 << 20]);
    let bytes = large().payload_bytes().to_string();
    refused(
        append(&log, &topic, large()),
        ErrorKind::Invalid,
        &["large", &bytes, "16777216", "message.max.bytes"],
    );
    // The producer would, and the topic does not take it.
    let log = anybody(broker).property("message.max.bytes", "100000000").property("compression.type", "none");
    let log = log.open().unwrap();
    let error = append(&log, &topic, large());
    refused(error, ErrorKind::Invalid, &[&bytes, "100000000", "max.message.bytes", "1048588"]);
    // What comes behind it is not held up.
    assert_eq!(append(&log, &topic, record("1")).unwrap(), 1);
    // What topics take unless told otherwise is sent, whatever librdkafka has for it, and one byte more is refused by the topic.
    let log = anybody(broker).open().unwrap();
    let mut random = Random::new(1);
    let mut fits = || record(random.bytes((1 << 20) - 100));
    assert_eq!(append(&log, &topic, fits()).unwrap(), 2);
    let mut larger = fits();
    larger.value = Some([&larger.value.unwrap()[..], &[0; 200]].concat().into());
    refused(append(&log, &topic, larger), ErrorKind::Invalid, &["16777216", "max.message.bytes", "1048588"]);
}

#[test]
fn a_batch_that_is_damaged() {
    let Some(broker) = broker() else { return };
    let topic = broker.create_topic("damaged", 1, &[]);
    let log = anybody(broker).property("compression.type", "none").open().unwrap();
    append(&log, &topic, record("an early record")).unwrap();
    append(&log, &topic, record("the record that is damaged")).unwrap();
    // What the broker has on its disk is what it sends.
    let stored = broker.log().with_file_name("data").join(format!("{topic}-0/00000000000000000000.log"));
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(stored).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let at = bytes.windows(7).position(|bytes| bytes == b"damaged").unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(b"D").unwrap();
    file.sync_all().unwrap();
    for path in PATHS {
        let log = anybody(broker).fetch(path).open().unwrap();
        let error = failure(&log, &topic, 0);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{path:?}: {error}");
        says(&error, &[&topic, "damaged"]);
    }
    // The direct path knows which one it is.
    says(&failure(&anybody(broker).open().unwrap(), &topic, 1), &[&format!("{topic}/0 at offset 1")]);
}

/// Two processes held at once, each assigned a partition; and what a graph made of its own marks was marked without an end.
#[test]
fn marks_that_the_graph_names_itself() {
    let Some(broker) = broker() else { return };
    let input = Topic::<u32, u64>::new(&broker.create_topic("marked", 1, &[]));
    let start = |graph: GraphBuilder, service: &str| {
        let kafka = Kafka::new(service).bootstrap(&broker.bootstrap());
        Engine::builder(&graph.build().unwrap()).in_memory().changelog(kafka).memory(64 << 20).start()
    };
    let service = broker.topic("own");
    let marks = format!("{service}.epochs");
    broker.tool("topics", &["--create", "--topic", &marks, "--partitions", "1"], "");
    let graph = GraphBuilder::new();
    graph.stream(&input).to(&Topic::new(&marks));
    refused(start(graph, &service), ErrorKind::Invalid, &[&marks, "another name"]);
    let graph = GraphBuilder::new();
    let out = Topic::new(&broker.create_topic("marked-out", 1, &[]));
    graph.stream(&Topic::<u32, u64>::new(&marks)).to(&out);
    refused(start(graph, &service), ErrorKind::Invalid, &[&marks, "another name"]);
}

#[test]
fn replicas_and_names_that_no_broker_takes() {
    let Some(broker) = broker() else { return };
    for replicas in [-7, 100_000, 3] {
        let log = anybody(broker).create_topics(replicas).open().unwrap();
        let created = log.create_topic(&broker.topic("replicated"), &TopicConfig::default());
        refused(created, ErrorKind::Invalid, &["cannot be created as it is wanted"]);
    }
    let topic = broker.create_topic("collides.with", 1, &[]);
    let log = anybody(broker).create_topics(1).open().unwrap();
    let created = log.create_topic(&topic.replace('.', "_"), &TopicConfig::default());
    refused(created, ErrorKind::Invalid, &["`.` and `_`"]);
}

/// What it says was taken for a damaged record batch of the topic.
#[test]
fn an_address_at_which_no_broker_answers_beside_one_at_which_one_does() {
    let Some(broker) = broker() else { return };
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in stranger.incoming() {
            let _ =
                stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\nwhat is that supposed to mean");
        }
    });
    for path in PATHS {
        let topic = Topic::<u32, u64>::new(&broker.create_topic("stranger", 1, &[]));
        let graph = GraphBuilder::new();
        let counts = graph.stream(&topic).group_by_key().count("counts");
        let kafka =
            Kafka::new("stranger").bootstrap(&format!("{address},{}", broker.bootstrap())).fetch(path);
        let engine = Engine::builder(&graph.build().unwrap()).in_memory().changelog(kafka).start().unwrap();
        // For longer than it takes to believe what it says.
        let began = std::time::Instant::now();
        let mut appended = 0;
        while began.elapsed() < Duration::from_secs(12) {
            let position = engine.append_blocking(&topic, &1, &1).unwrap();
            engine.wait_for_blocking(&position).unwrap();
            appended += 1;
            std::thread::park_timeout(Duration::from_millis(1500));
        }
        assert_eq!(engine.view(&counts).unwrap().get(&1).unwrap(), Some(appended), "{path:?}");
        engine.close_blocking().unwrap();
    }
}

/// It was waited for, for ever.
#[test]
fn a_codec_that_librdkafka_was_built_without() {
    let Some(broker) = broker() else { return };
    let topic = broker.create_topic("zstd", 1, &[("compression.type", "zstd")]);
    append(&anybody(broker).open().unwrap(), &topic, record("1")).unwrap();
    let log = anybody(broker).fetch(Fetch::Librdkafka).open().unwrap();
    let error = failure(&log, &topic, 0);
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    says(&error, &[&topic, "zstd", "direct path"]);
    let log = anybody(broker).open().unwrap();
    let mut reader = log.reader(&partition(&topic), 0).unwrap();
    millpond::changelog::backend::read_below(&mut *reader, 1, |_| Ok(())).unwrap();
}

/// The first answer.
fn within_a_minute<T>(ask: impl Fn() -> Option<T>) -> Option<T> {
    let began = std::time::Instant::now();
    while began.elapsed() < std::time::Duration::from_secs(60) {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    None
}

/// Nothing is lost, answers go on, and it is told.
#[test]
fn a_broker_that_is_away() {
    let Some(_) = broker() else { return };
    let broker = Broker::options().start().unwrap();
    for path in PATHS {
        let topic = Topic::<u32, u64>::new(&broker.create_topic("away", 1, &[]));
        let graph = GraphBuilder::new();
        let counts = graph.stream(&topic).group_by_key().count("counts");
        let engine = Engine::builder(&graph.build().unwrap()).in_memory();
        // So short that what lasts for three times as long is told soon.
        let kafka = anybody(&broker).fetch(path).property("socket.timeout.ms", "2000");
        let engine = engine.changelog(kafka).start().unwrap();
        let position = engine.append(&topic, &1, &1).wait_blocking().unwrap();
        engine.wait_for_blocking(&position).unwrap();
        assert_eq!(engine.stats().trouble, None);
        broker.kill();
        let told = within_a_minute(|| engine.stats().trouble);
        assert!(told.is_some(), "{path:?}");
        assert_eq!(engine.view(&counts).unwrap().get(&1).unwrap(), Some(1));
        let appended = engine.append(&topic, &1, &1);
        broker.restart();
        let position = appended.wait_blocking().unwrap();
        engine.wait_for_blocking(&position).unwrap();
        assert_eq!(engine.view(&counts).unwrap().get(&1).unwrap(), Some(2));
        let over = within_a_minute(|| engine.stats().trouble.is_none().then_some(()));
        assert!(over.is_some(), "{path:?}: {:?}", engine.stats().trouble);
        engine.close_blocking().unwrap();
    }
    broker.kill();
    for path in PATHS {
        let kafka = anybody(&broker).fetch(path).property("socket.timeout.ms", "1500");
        refused(kafka.open(), ErrorKind::Unavailable, &[]);
    }
}
