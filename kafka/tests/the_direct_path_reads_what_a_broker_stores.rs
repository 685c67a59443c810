//! What producers write to a real broker is read by the direct path: once, in order, whatever it is compressed by, however one
//! logs in, and whatever becomes of the broker meanwhile.
//!
//! librdkafka writes. Where no broker is to be had the tests say so; see `millpond_support::broker`.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond_engine::changelog::PartitionReader;
use millpond_engine::{Error, ErrorKind, Result, TopicPartition};
use millpond_kafka::fetch::{FetchConfig, FetchReader, Fetcher, Sasl, SaslMechanism};
use millpond_support::broker::Broker;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// That of all tests but those that kill theirs.
fn broker() -> Option<&'static Broker> {
    static BROKER: OnceLock<Option<Broker>> = OnceLock::new();
    let start = || Broker::options().sasl().ssl().sasl_ssl().user("reader", "secret-of-reader").start();
    BROKER.get_or_init(start).as_ref()
}

fn librdkafka(broker: &Broker, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap());
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

fn producer(broker: &Broker, settings: &[(&str, &str)]) -> BaseProducer {
    librdkafka(broker, settings).create().unwrap()
}

/// Writes these numbers as values, to partition 0.
fn write(producer: &BaseProducer, topic: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let (key, value) = (format!("key {}", number % 10), number.to_string());
        let record = BaseRecord::to(topic).partition(0).key(&key).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

/// A fetcher, and a way to wait for what it fetches.
struct Client {
    fetcher: Fetcher,
    woken: Receiver<()>,
    _waker: Arc<dyn Fn() + Send + Sync>,
}

impl Client {
    fn connect(config: FetchConfig) -> Result<Self> {
        let fetcher = Fetcher::connect(config)?;
        let (sender, woken) = channel();
        let waker: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            let _ = sender.send(());
        });
        fetcher.watch(Arc::downgrade(&waker));
        Ok(Self { fetcher, woken, _waker: waker })
    }

    fn to(broker: &Broker) -> Self {
        Self::connect(FetchConfig::new(&broker.bootstrap())).unwrap()
    }

    fn reader(&self, topic: &str, offset: u64) -> FetchReader {
        self.fetcher.reader(&TopicPartition::new(topic, 0), offset).unwrap()
    }

    /// The values up to the offset `end`, as numbers.
    fn read_to(&self, reader: &mut FetchReader, end: u64) -> Result<Vec<u32>> {
        let mut numbers = Vec::new();
        while reader.offset() < end {
            let batches = reader.poll(1 << 20)?;
            for batch in &batches {
                for record in &batch.decode()? {
                    let value = std::str::from_utf8(record.value.unwrap_or_default()).unwrap();
                    numbers.push(value.parse().unwrap());
                }
            }
            if batches.is_empty() && reader.offset() < end {
                self.woken.recv_timeout(LIMIT).expect("nothing has happened for long");
            }
        }
        Ok(numbers)
    }

    fn failure(&self, reader: &mut FetchReader) -> Error {
        self.read_to(reader, u64::MAX).unwrap_err()
    }
}

#[test]
fn batches_of_every_codec_of_librdkafka() {
    let Some(broker) = broker() else { return };
    for codec in ["none", "snappy", "lz4"] {
        let topic = broker.create_topic(&format!("codec-{codec}"), 1, &[]);
        write(&producer(broker, &[("compression.type", codec), ("linger.ms", "5")]), &topic, 0..20_000);
        let client = Client::to(broker);
        let mut reader = client.reader(&topic, 0);
        assert_eq!(client.read_to(&mut reader, 20_000).unwrap(), (0..20_000).collect::<Vec<_>>(), "{codec}");
    }
}

/// Behind a transaction that is not decided nothing is read; a control record is the last of the partition.
#[test]
fn what_was_committed_and_nothing_else() {
    let Some(broker) = broker() else { return };
    let topic = broker.create_topic("transactions", 1, &[]);
    let (one, other) = ("transactions-one", "transactions-other");
    let [one, other] = [one, other].map(|id| producer(broker, &[("transactional.id", id)]));
    for producer in [&one, &other] {
        producer.init_transactions(LIMIT).unwrap();
    }
    let client = Client::to(broker);
    let mut reader = client.reader(&topic, 0);
    let partition = TopicPartition::new(&*topic, 0);
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let numbers = round * 100..round * 100 + 50;
        one.begin_transaction().unwrap();
        write(&one, &topic, numbers.clone());
        other.begin_transaction().unwrap();
        write(&other, &topic, numbers.start + 50..numbers.end + 50);
        let undecided = client.fetcher.latest_offsets(&partition).unwrap().end;
        found.extend(client.read_to(&mut reader, undecided).unwrap());
        assert_eq!((&found, reader.offset()), (&expected, undecided));
        // Each of the four combinations.
        for (producer, commit, numbers) in [
            (&one, round % 2 == 0, numbers.clone()),
            (&other, round % 3 == 0, numbers.start + 50..numbers.end + 50),
        ] {
            if commit {
                producer.commit_transaction(LIMIT).unwrap();
                expected.extend(numbers);
            } else {
                producer.abort_transaction(LIMIT).unwrap();
            }
        }
        // 100 records and two control records.
        let end = (u64::from(round) + 1) * 102;
        found.extend(client.read_to(&mut reader, end).unwrap());
        assert_eq!((&found, reader.offset()), (&expected, end));
    }
}

#[test]
fn for_users_who_log_in() {
    let Some(broker) = broker() else { return };
    let topic = broker.create_topic("logins", 1, &[]);
    write(&producer(broker, &[]), &topic, 0..100);
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        let login = |password: &str| {
            let mut config = FetchConfig::new(&broker.sasl_bootstrap());
            config.security.sasl = Some(Sasl::new(mechanism, "reader", password));
            Client::connect(config)
        };
        let client = login("secret-of-reader").unwrap();
        let mut reader = client.reader(&topic, 0);
        assert_eq!(client.read_to(&mut reader, 100).unwrap().len(), 100, "{mechanism:?}");
        let refused = login("guessed").err().expect("nobody may guess");
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{mechanism:?}: {refused}");
        assert!(
            refused.message().contains("reader") && !refused.to_string().contains("guessed"),
            "{refused}"
        );
    }
}

#[cfg(feature = "tls")]
#[test]
fn over_connections_that_are_encrypted() {
    use millpond_kafka::fetch::Tls;
    let Some(broker) = broker() else { return };
    let topic = broker.create_topic("encrypted", 1, &[]);
    write(&producer(broker, &[]), &topic, 0..100);
    let authority = std::fs::read(broker.authority()).unwrap();
    for (bootstrap, logs_in) in [(broker.ssl_bootstrap(), false), (broker.sasl_ssl_bootstrap(), true)] {
        let mut config = FetchConfig::new(&bootstrap);
        if logs_in {
            let sasl = Sasl::new(SaslMechanism::ScramSha512, "reader", "secret-of-reader");
            config.security.sasl = Some(sasl);
        }
        config.security.tls = Some(Tls::trusting(authority.clone()));
        let client = Client::connect(config.clone()).unwrap();
        let mut reader = client.reader(&topic, 0);
        assert_eq!(client.read_to(&mut reader, 100).unwrap().len(), 100);
        // The system does not know the authority of a test.
        config.security.tls = Some(Tls::default());
        config.request_timeout = Duration::from_millis(500);
        assert!(Client::connect(config).is_err(), "a certificate by nobody knows whom was trusted");
    }
}

#[test]
fn after_the_broker_was_killed_and_started_again() {
    let Some(broker) = Broker::options().start() else { return };
    let topic = broker.create_topic("killed", 1, &[]);
    let producer = producer(&broker, &[("compression.type", "lz4"), ("enable.idempotence", "true")]);
    let client = Client::to(&broker);
    let mut reader = client.reader(&topic, 0);
    for round in 0..3 {
        let numbers = round * 1_000..(round + 1) * 1_000;
        write(&producer, &topic, numbers.clone());
        broker.kill();
        broker.restart();
        let found = client.read_to(&mut reader, numbers.end.into()).unwrap();
        assert_eq!(found, numbers.collect::<Vec<_>>());
    }
    // What comes now was fetched from the broker as it runs, so that it was found again.
    write(&producer, &topic, 3_000..3_001);
    assert_eq!(client.read_to(&mut reader, 3_001).unwrap(), [3_000]);
    assert_eq!(client.fetcher.trouble(), None);
}

#[test]
fn and_says_so_if_records_or_the_topic_were_deleted() {
    let Some(broker) = broker() else { return };
    let topic = broker.create_topic("deleted", 1, &[]);
    let producer = producer(broker, &[]);
    write(&producer, &topic, 0..100);
    let client = Client::to(broker);
    let mut reader = client.reader(&topic, 100);

    let admin: AdminClient<DefaultClientContext> = librdkafka(broker, &[]).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(60)).unwrap();
    futures_executor::block_on(admin.delete_records(&offsets, &AdminOptions::new())).unwrap();
    let partition = TopicPartition::new(&*topic, 0);
    assert_eq!(client.fetcher.latest_offsets(&partition).unwrap(), 60..100);
    let behind = client.fetcher.reader(&partition, 59).unwrap_err();
    assert_eq!(behind.kind(), ErrorKind::BehindChangelog);
    assert!(behind.message().contains("60 to 100"), "{behind}");
    let ahead = client.fetcher.reader(&partition, 101).unwrap_err();
    assert_eq!(ahead.kind(), ErrorKind::AheadOfChangelog);

    futures_executor::block_on(admin.delete_topics(&[&topic], &AdminOptions::new())).unwrap();
    let again = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    let made = futures_executor::block_on(admin.create_topics([&again], &AdminOptions::new())).unwrap();
    assert_eq!(made, [Ok(topic.clone())]);
    let anew = client.failure(&mut reader);
    assert_eq!(anew.kind(), ErrorKind::AheadOfChangelog);
    assert!(anew.message().contains("made anew"), "{anew}");
}
