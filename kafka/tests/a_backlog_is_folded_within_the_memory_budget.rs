//! A backlog that is many times larger than the memory budget is folded within it, however many partitions it has, however slowly
//! it is folded, and however well it is compressed; by either path of reading.
//!
//! Method: topics at a real broker, of values of 1 KiB and some of 500 KiB, each folded by a process of its own. The most that
//! it has had resident is compared with its budget and what may be beside it ([`BESIDE_BYTES`]); its tables with a model. Values
//! that do not compress are stored as they are; those of a well compressed topic are zeros but for a number in front, so that what
//! is fetched becomes fifty times as much and more. `MILLPOND_BACKLOG_MIB` says how large each backlog is, and
//! `MILLPOND_BUDGET_MIB` the budget: 1024 and 256 are the long form. By librdkafka, a fetch of a well compressed topic once took
//! twice the budget by itself, and messages of a few bytes some hundred more that nobody counted.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::codec::Raw;
use millpond::{Engine, Graph, GraphBuilder, StoredTable, TableOptions, Topic};
use millpond_kafka::{Fetch, Kafka};
use millpond_support::bench::measured::Digest;
use millpond_support::bench::phase::resident_bytes;
use millpond_support::broker::Broker;
use millpond_support::environment::variable;
use millpond_support::process::{self, ChildProcess};
use millpond_support::random::Random;
use millpond_support::records::key_bytes;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

const PATHS: [Fetch; 2] = [Fetch::Direct, Fetch::Librdkafka];

const LARGE_BYTES: usize = 500 << 10;

/// As large as librdkafka makes them.
const BATCH_BYTES: usize = 1 << 20;

/// What is kept of each key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Folded {
    count: u64,
    bytes: u64,
    digest: u64,
}

impl Folded {
    fn fold(&mut self, value: &[u8]) {
        self.count += 1;
        self.bytes += value.len() as u64;
        self.digest = self.digest.rotate_left(13) ^ u64::from(crc32c::crc32c(value));
    }
}

struct Case {
    graph: Graph,
    folded: StoredTable<u32, Folded>,
    latest: StoredTable<u32, Vec<u8>>,
}

/// Folds each record, so many times over for the sake of the time that it takes, and keeps the last one of each key.
fn case(topic: &str, times: usize) -> Case {
    let topic = Topic::<u32, Vec<u8>>::with_codec(topic, Raw);
    let graph = GraphBuilder::new();
    let fold = move |folded: &mut Folded, _: &u32, value: Vec<u8>| {
        for _ in 1..times {
            std::hint::black_box(crc32c::crc32c(&value));
        }
        folded.fold(&value);
    };
    let folded = graph.stream(&topic).group_by_key().fold("folded", Folded::default, fold);
    let latest = graph.table(&topic, TableOptions::with_codec("latest", Raw));
    Case { graph: graph.build().unwrap(), folded, latest }
}

/// What tells rows of both tables from others.
fn digest(rows: impl Iterator<Item = (u32, Folded)>, latest: impl Iterator<Item = (u32, u32)>) -> u64 {
    let mut digest = Digest::default();
    rows.for_each(|(key, Folded { count, bytes, digest: of_values })| {
        digest.add([key.into(), count, bytes, of_values]);
    });
    latest.for_each(|(key, crc)| digest.add([key.into(), crc.into()]));
    digest.value()
}

/// A process that folds.
#[test]
fn child() {
    let Some(dir) = process::given() else { return };
    let given = |name: &str| std::env::var(name).unwrap();
    let case = case(&given("TOPIC"), given("TIMES").parse().unwrap());
    let path = if given("FETCH") == "Direct" { Fetch::Direct } else { Fetch::Librdkafka };
    let kafka = Kafka::new("backlog").bootstrap(&given("BOOTSTRAP")).fetch(path);
    let builder = Engine::builder(&case.graph).state_dir(dir.join("state")).changelog(kafka);
    let engine = builder.memory(given("BUDGET").parse().unwrap()).start().unwrap();
    engine.catch_up_blocking().unwrap();
    engine.drain_blocking().unwrap();
    let (folded, latest) = (engine.view(&case.folded).unwrap(), engine.view(&case.latest).unwrap());
    let latest = latest.scan().unwrap().map(Result::unwrap).map(|(key, value)| (key, crc32c::crc32c(&value)));
    let digest = digest(folded.scan().unwrap().map(Result::unwrap), latest);
    engine.close_blocking().unwrap();
    process::tell(&format!("{digest} {}", resident_bytes().1));
}

/// A topic, and what its tables must come to.
struct Backlog {
    topic: String,
    digest: u64,
}

/// A backlog as it is to be.
#[derive(Debug, Clone, Copy)]
struct Shape {
    partitions: u32,
    /// The size of values, and of how many one is large instead.
    value_bytes: usize,
    one_large_in: u64,
    /// How the broker stores batches of zeros; what is no zeros is not compressed.
    zeros_stored_as: Option<&'static str>,
    /// The most that a batch has before it is compressed.
    batch_bytes: usize,
    /// Of all keys and values.
    bytes: u64,
}

impl Shape {
    /// Values of 1 KiB and as much of large ones, in large batches.
    fn of(partitions: u32) -> Self {
        let bytes = backlog_bytes();
        Self {
            partitions,
            value_bytes: 1 << 10,
            one_large_in: 512,
            zeros_stored_as: None,
            batch_bytes: BATCH_BYTES,
            bytes,
        }
    }

    /// The same, of values of this size alone.
    fn only(self, value_bytes: usize) -> Self {
        Self { value_bytes, one_large_in: u64::MAX, ..self }
    }

    fn write(&self, broker: &Broker) -> Backlog {
        let codec = self.zeros_stored_as.map_or("none", |_| "lz4");
        let settings = [("compression.type", self.zeros_stored_as.unwrap_or("producer"))];
        let topic = broker.create_topic("backlog", self.partitions, &settings);
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap()).set("enable.idempotence", "true");
        config.set("queue.buffering.max.kbytes", "16384").set("queue.buffering.max.messages", "0");
        config.set("batch.size", self.batch_bytes.to_string()).set("batch.num.messages", "1000000");
        config.set("compression.type", codec);
        let producer: BaseProducer = config.create().unwrap();
        let noise = if codec == "none" { Random::new(7).bytes(2 << 20) } else { vec![0; 2 << 20] };
        let value_bytes = self.value_bytes as u64;
        let records = self.bytes / (4 + value_bytes + LARGE_BYTES as u64 / self.one_large_in);
        let keys = records / 8 + 1;
        let mut rows: BTreeMap<u32, (Folded, u32)> = BTreeMap::new();
        for number in 0..records {
            let key = u32::try_from(number * 7919 % keys).unwrap();
            let is_large = number % self.one_large_in == self.one_large_in - 1;
            let bytes = if is_large { LARGE_BYTES } else { self.value_bytes };
            let from = usize::try_from(number * 61 % (1 << 20)).unwrap();
            let mut value = noise[from..from + bytes].to_vec();
            value[..8].copy_from_slice(&number.to_le_bytes());
            let (folded, latest) = rows.entry(key).or_default();
            folded.fold(&value);
            *latest = crc32c::crc32c(&value);
            let partition = i32::try_from(key % self.partitions).unwrap();
            let key = key_bytes(&key);
            let mut record = BaseRecord::to(&topic).partition(partition).key(&key).payload(&value);
            while let Err((error, refused)) = producer.send(record) {
                assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull));
                producer.poll(Duration::from_millis(10));
                record = refused;
            }
        }
        producer.flush(Duration::from_secs(60)).unwrap();
        let folded = rows.iter().map(|(key, (folded, _))| (*key, *folded));
        let digest = digest(folded, rows.iter().map(|(key, (_, latest))| (*key, *latest)));
        Backlog { topic, digest }
    }
}

fn backlog_bytes() -> u64 {
    variable::<u64>("MILLPOND_BACKLOG_MIB").unwrap_or(100) << 20
}

fn budget_bytes() -> u64 {
    variable::<u64>("MILLPOND_BUDGET_MIB").unwrap_or(64) << 20
}

/// Folds a topic in a process of its own: what its tables come to, and the most that it had resident.
fn fold(broker: &Broker, topic: &str, fetch: Fetch, times: usize) -> (u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let task = [
        ("BOOTSTRAP", broker.bootstrap()),
        ("TOPIC", topic.to_owned()),
        ("FETCH", format!("{fetch:?}")),
        ("TIMES", times.to_string()),
        ("BUDGET", budget_bytes().to_string()),
        // What is freed is given back, so that what is measured is what is held.
        ("MALLOC_ARENA_MAX", "2".to_owned()),
        ("MALLOC_MMAP_THRESHOLD_", (256 << 10).to_string()),
    ];
    let (lines, stderr, status) = ChildProcess::spawn(dir.path(), &task).end();
    assert!(status.success(), "{fetch:?}: {stderr}");
    let told = lines.iter().find_map(|line| {
        let (digest, peak) = line.split_once(' ')?;
        Some((digest.parse().ok()?, peak.parse().ok()?))
    });
    told.unwrap()
}

/// What an idle process takes at the most, with Kafka's clients and their threads.
const IDLE_BYTES: u64 = 32 << 20;

/// What may be resident beside the budget: what an idle process takes beyond the 20 MiB that are left to it; of what is never cut
/// into pieces, ten values of the largest size, which are in several places of an engine at once ([`millpond::Memory`]), and two
/// batches, as one comes where there is hardly room left, and another one for who lacks everything.
const BESIDE_BYTES: u64 = IDLE_BYTES - (20 << 20) + 10 * (LARGE_BYTES as u64) + 2 * (BATCH_BYTES as u64);

fn check(shape: Shape, paths: &[Fetch], times: usize) {
    let Some(broker) = Broker::shared() else { return };
    let backlog = shape.write(broker);
    for fetch in paths {
        let (digest, peak) = fold(broker, &backlog.topic, *fetch, times);
        println!("{shape:?} by {fetch:?}: at most {} MiB", peak >> 20);
        assert_eq!(digest, backlog.digest, "the tables, read by {fetch:?}");
        let most = budget_bytes() + BESIDE_BYTES;
        assert!(peak <= most, "{} MiB by {fetch:?}, of {}", peak >> 20, most >> 20);
    }
}

#[test]
fn by_an_idle_process() {
    let Some(broker) = Broker::shared() else { return };
    let empty = broker.create_topic("empty", 2, &[]);
    for fetch in PATHS {
        let (_, idle) = fold(broker, &empty, fetch, 1);
        assert!(idle <= IDLE_BYTES, "{} MiB by {fetch:?}", idle >> 20);
    }
}

#[test]
fn of_few_partitions() {
    check(Shape::of(2), &[Fetch::Direct], 1);
}

#[test]
fn of_many_partitions() {
    check(Shape::of(24), &PATHS, 1);
}

#[test]
fn that_is_folded_slowly() {
    check(Shape { bytes: backlog_bytes() / 2, ..Shape::of(24) }, &PATHS, 400);
}

/// Of which a batch has tens of thousands, more than an epoch: one partition's batch is decoded at a time, and not each one's.
#[test]
fn of_small_values() {
    let shape = Shape { bytes: backlog_bytes() / 4, zeros_stored_as: Some("lz4"), ..Shape::of(24).only(16) };
    check(shape, &[Fetch::Direct], 1);
    check(Shape { bytes: backlog_bytes() / 12, ..Shape::of(6).only(16) }, &[Fetch::Librdkafka], 1);
}

#[test]
fn that_is_well_compressed_by_lz4() {
    let shape = Shape { zeros_stored_as: Some("lz4"), ..Shape::of(6) };
    check(shape, &PATHS, 1);
    check(Shape { batch_bytes: 50_000, ..shape.only(10 << 10) }, &PATHS, 1);
}

/// Not by librdkafka, which is built without it.
#[test]
fn that_is_well_compressed_by_zstd() {
    check(Shape { zeros_stored_as: Some("zstd"), ..Shape::of(6) }, &[Fetch::Direct], 1);
}
