//! What Kafka's Java client writes with its own serializers is folded, and what a service appends is what Kafka Streams folds of it:
//! keys that are text, numbers, UUIDs and JSON, and nothing of a transaction that was aborted.
//!
//! Method: Java programs (`benches/kafka_streams`) on a real broker. They write records in transactions, one of them aborted, and the
//! tables of an engine are compared with a model; and a program on Kafka Streams, which reads what was committed, folds the outputs
//! of an engine, with an aborted transaction of another producer among them, and comes to the rows of that engine.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::codec::{BigEndian, Json, Utf8, UuidText, ValueCodec};
use millpond::{Engine, GraphBuilder, Key, StoredTable, Topic};
use millpond_kafka::Kafka;
use millpond_support::broker::Broker;
use millpond_support::{java, records};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(30);

/// Of which kinds keys are: as the Java programs call them, and as they are here.
trait Kind: millpond::codec::Key + Serialize + DeserializeOwned + Debug {
    const TYPE: &'static str;

    fn codec() -> impl ValueCodec<Self>;

    /// One of five.
    fn of(number: u64) -> Self;
}

impl Kind for String {
    const TYPE: &'static str = "string";

    fn codec() -> impl ValueCodec<Self> {
        Utf8
    }

    fn of(number: u64) -> Self {
        ["", "mühle", "teich", "a\0b", "🦆"][usize::try_from(number % 5).unwrap()].to_owned()
    }
}

impl Kind for i64 {
    const TYPE: &'static str = "long";

    fn codec() -> impl ValueCodec<Self> {
        BigEndian
    }

    fn of(number: u64) -> Self {
        [0, -1, 42, Self::MAX, Self::MIN][usize::try_from(number % 5).unwrap()]
    }
}

impl Kind for Uuid {
    const TYPE: &'static str = "uuid";

    fn codec() -> impl ValueCodec<Self> {
        UuidText
    }

    fn of(number: u64) -> Self {
        Self::from_u128(u128::MAX / (u128::from(number % 5) + 1))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key, Serialize, Deserialize)]
struct Route {
    from: String,
    stops: u32,
}

impl Kind for Route {
    const TYPE: &'static str = "json";

    fn codec() -> impl ValueCodec<Self> {
        Json
    }

    fn of(number: u64) -> Self {
        Self { from: String::of(number), stops: 7 }
    }
}

/// What is written as a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sold {
    number: u64,
    what: String,
}

impl Sold {
    fn of(number: u64) -> Self {
        Self { number, what: format!("\"{number}\" ä") }
    }
}

fn topic<K: Kind>(name: &str) -> Topic<K, Sold> {
    Topic::with_codec(name, Json).keys(K::codec())
}

/// Count and last value of each key.
type Rows<K> = BTreeMap<K, (u64, Option<Sold>)>;

fn fold<K: Kind>(rows: &mut Rows<K>, number: u64) {
    let row = rows.entry(K::of(number)).or_default();
    *row = (row.0 + 1, Some(Sold::of(number)));
}

/// A graph that folds `from`, and hands on all of it.
fn start<K: Kind>(
    broker: &Broker,
    from: &Topic<K, Sold>,
    to: Option<&Topic<K, Sold>>,
) -> (Engine, StoredTable<K, (u64, Option<Sold>)>) {
    let graph = GraphBuilder::new();
    let stream = graph.stream(from);
    if let Some(to) = to {
        stream.to(to);
    }
    let rows =
        stream.group_by_key().fold("rows", || (0, None), |row, _, sold| *row = (row.0 + 1, Some(sold)));
    let kafka = Kafka::new(&broker.topic("understood")).bootstrap(&broker.bootstrap());
    let engine = Engine::builder(&graph.build().unwrap()).in_memory().changelog(kafka).start().unwrap();
    engine.ready_blocking().unwrap();
    (engine, rows)
}

fn rows<K: Kind>(engine: &Engine, table: &StoredTable<K, (u64, Option<Sold>)>) -> Rows<K> {
    engine.view(table).unwrap().scan().unwrap().map(Result::unwrap).collect()
}

fn what_java_writes<K: Kind>() {
    let Some(broker) = Broker::shared() else { return };
    let name = broker.create_topic(&format!("java-{}", K::TYPE), 2, &[]);
    let (mut written, mut expected) = (Vec::new(), Rows::new());
    for (numbers, end) in [(0..20, "commit"), (20..30, "abort"), (30..40, "commit"), (40..50, "abort")] {
        for number in numbers {
            written.push(json!({"key": K::of(number), "value": Sold::of(number)}));
            if end == "commit" {
                fold(&mut expected, number);
            }
        }
        written.push(json!(end));
    }
    java::write(broker, &name, (K::TYPE, "json"), &written, &["--transaction", &name]);
    let (engine, table) = start::<K>(broker, &topic(&name), None);
    engine.catch_up_blocking().unwrap();
    assert_eq!(rows(&engine, &table), expected);
    engine.close_blocking().unwrap();
}

#[test]
fn text_that_java_writes() {
    what_java_writes::<String>();
}

#[test]
fn numbers_that_java_writes() {
    what_java_writes::<i64>();
}

#[test]
fn uuids_that_java_writes() {
    what_java_writes::<Uuid>();
}

#[test]
fn json_that_java_writes() {
    what_java_writes::<Route>();
}

/// Appends records to an output beside the service, and takes them back.
fn abort<K: Kind>(broker: &Broker, to: &Topic<K, Sold>) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap()).set("transactional.id", &**to.name());
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    for number in 0..20 {
        let key = records::key_bytes_of(to, &K::of(number));
        let value = records::value_bytes(to, &Sold::of(1_000 + number));
        let record = BaseRecord::to(to.name()).partition(i32::try_from(number % 2).unwrap());
        producer.send(record.key(&key).payload(&value)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    producer.abort_transaction(LIMIT).unwrap();
}

fn what_kafka_streams_makes_of_it<K: Kind>() {
    let Some(broker) = Broker::shared() else { return };
    let [from, to] =
        ["in", "out"].map(|of| topic::<K>(&broker.create_topic(&format!("{of}-{}", K::TYPE), 2, &[])));
    let (engine, table) = start(broker, &from, Some(&to));
    let mut expected = Rows::new();
    for numbers in [0..20, 20..40] {
        for number in numbers {
            engine.append_blocking(&from, &K::of(number), &Sold::of(number)).unwrap();
            fold(&mut expected, number);
        }
        engine.catch_up_blocking().unwrap();
        engine.drain_blocking().unwrap();
        abort(broker, &to);
    }
    assert_eq!(rows(&engine, &table), expected);
    engine.close_blocking().unwrap();
    let read = |row: &Value| {
        let key: K = serde_json::from_value(row["key"].clone()).unwrap();
        let last: Sold = serde_json::from_value(row["last"].clone()).unwrap();
        (key, (row["count"].as_u64().unwrap(), Some(last)))
    };
    let folded = java::fold(broker, to.name(), (K::TYPE, "json"));
    assert_eq!(folded.iter().map(read).collect::<Rows<K>>(), expected);
    assert_eq!(folded.len(), expected.len());
}

#[test]
fn text_that_kafka_streams_folds() {
    what_kafka_streams_makes_of_it::<String>();
}

#[test]
fn numbers_that_kafka_streams_folds() {
    what_kafka_streams_makes_of_it::<i64>();
}

#[test]
fn json_that_kafka_streams_folds() {
    what_kafka_streams_makes_of_it::<Route>();
}
