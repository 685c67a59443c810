//! Folding from Kafka: count, sum and last amount of each key of a topic, until durable.
//!
//! *engine*: millpond, from an empty state until every record is folded and drained. *hand*: rdkafka's consumer, well set, and a
//! `HashMap`; nothing is durable. *direct*: the direct path by itself, decoding and counting on one thread. All read the same
//! topic of 8-byte keys and 16-byte values in lz4, which Kafka's own producer has written, from a broker on this machine, whose
//! processor time is told apart. Needs Java: see `scripts/broker --help`.

use clap::Parser;
use millpond::changelog::backend::{PartitionReader, read_below};
use millpond::codec::{BigEndian, Raw};
use millpond::{Engine, GraphBuilder, Position, Topic, TopicPartition};
use millpond_kafka::Kafka;
use millpond_kafka::fetch::{FetchConfig, Fetcher};
use millpond_support::bench::args::{self, Distribution};
use millpond_support::bench::measured::{Clock, Digest, Measured, Rounds, ratio};
use millpond_support::bench::report::{Targets, rounded};
use millpond_support::bench::{Outcome, phase};
use millpond_support::broker::Broker;
use millpond_support::java;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const TOPIC: &str = "payments";
const PARTITIONS: u32 = 2;
/// The file that tells the phases where the broker is.
const BOOTSTRAP: &str = "bootstrap";
/// Of so many keys the results of all ways are compared.
const COMPARED_KEYS: i64 = 1_000;

/// Count, sum and last amount of each key of a topic in Kafka.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
}

impl Args {
    fn records(&self) -> u64 {
        self.common.records(10_000_000, 20_000)
    }

    fn keys(&self) -> u64 {
        self.common.keys(1_000_000, 2_000)
    }
}

/// What is kept of each key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Summary {
    count: u64,
    sum: i64,
    last: i64,
}

impl Summary {
    fn fold(&mut self, value: &[u8]) {
        let amount = value.first_chunk().map_or(0, |amount| i64::from_be_bytes(*amount));
        self.count += 1;
        self.sum = self.sum.wrapping_add(amount);
        self.last = amount;
    }
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let Some(way) = args.common.phase.as_deref() else { return compare(&args) };
    let scratch = phase::given(&args.common)?;
    let bootstrap = std::fs::read_to_string(scratch.join(BOOTSTRAP))?;
    match way {
        "engine" => phase::report(&engine(&args, &bootstrap, scratch)?),
        "hand" => phase::report(&hand(&bootstrap)?),
        "direct" => phase::report(&direct(&bootstrap)?),
        other => Err(format!("there is no phase `{other}`").into()),
    }
}

fn compare(args: &Args) -> Outcome<()> {
    let Some(broker) = Broker::shared() else { return Ok(()) };
    let scratch = phase::scratch(&args.common)?;
    eprintln!("writing the topic");
    let distribution = match args.common.distribution {
        Distribution::Uniform => "uniform",
        Distribution::Zipf => "zipf",
    };
    let (records, keys) = (args.records().to_string(), args.keys().to_string());
    let written = ["--topic", TOPIC, "--records", &records, "--keys", &keys, "--distribution", distribution];
    java::run(broker, "Produce", &written, "");
    std::fs::write(scratch.path().join(BOOTSTRAP), broker.bootstrap())?;
    let ways = ["engine", "hand", "direct"];
    let used = || broker.cpu_seconds().unwrap_or(f64::NAN);
    let before = used();
    let all = Rounds::measure(&args.common, &ways, scratch.path())?;
    let broker_seconds = used() - before;
    println!(
        "kafka: {records} records over {keys} keys, {distribution}; broker {broker_seconds:.1} s of processor time\n"
    );
    Rounds::print(&all);
    let [engine, hand, direct] = ways.map(|way| Rounds::of(&all, way));
    let per_cpu = |way: Option<&Rounds>| way.map_or(0.0, Rounds::per_cpu_second);
    let vs_hand = per_cpu(engine) / per_cpu(hand).max(1.0);
    Targets::default()
        .at_least("engine_vs_hand_cpu", vs_hand, 1.0)
        .at_least("direct_per_cpu_second", per_cpu(direct), 10_000_000.0)
        .finish(json!({
            "bench": "kafka",
            "records": args.records(),
            "keys": args.keys(),
            "distribution": args.common.distribution,
            "engine_per_cpu_second": per_cpu(engine).round(),
            "hand_per_cpu_second": per_cpu(hand).round(),
            "direct_per_cpu_second": per_cpu(direct).round(),
            "engine_vs_hand": rounded(ratio(engine, hand)),
            "engine_vs_hand_cpu": rounded(vs_hand),
            "engine_peak_rss_bytes": engine.map_or(0, Rounds::peak_bytes),
            "broker_cpu_seconds": rounded(broker_seconds),
        }));
    Ok(())
}

fn ends(fetcher: &Fetcher) -> Outcome<Position> {
    let partitions = (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition));
    Ok(partitions
        .map(|id| fetcher.latest_offsets(&id).map(|kept| (id, kept.end)))
        .collect::<Result<_, _>>()?)
}

fn total(ends: &Position) -> u64 {
    ends.iter().map(|(_, end)| end).sum()
}

fn digest(summary: impl Fn(i64) -> Outcome<Option<Summary>>) -> Outcome<u64> {
    let mut digest = Digest::default();
    for key in 0..COMPARED_KEYS {
        let Summary { count, sum, last } = summary(key)?.unwrap_or_default();
        digest.add([key.cast_unsigned(), count, sum.cast_unsigned(), last.cast_unsigned()]);
    }
    Ok(digest.value())
}

fn engine(args: &Args, bootstrap: &str, scratch: &Path) -> Outcome<Measured> {
    let topic = Topic::<i64, [u8; 16]>::with_codec(TOPIC, Raw).keys(BigEndian).partitions(PARTITIONS);
    let graph = GraphBuilder::new();
    let fold = |summary: &mut Summary, _: &i64, value: [u8; 16]| summary.fold(&value);
    let summaries = graph.stream(&topic).group_by_key().fold("summaries", Summary::default, fold);
    let end = ends(&Fetcher::connect(FetchConfig::new(bootstrap))?)?;
    let state = scratch.join("engine");
    let clock = Clock::start();
    let kafka = Kafka::new("bench").bootstrap(bootstrap);
    let engine: Engine = args.common.engine(&graph.build()?).state_dir(&state).changelog(kafka).start()?;
    engine.wait_for_blocking(&end)?;
    engine.drain_blocking()?;
    let measured = clock.stop(total(&end));
    let counted = engine.stats();
    eprintln!("  {} epochs, {} drains", counted.epochs, counted.drains);
    let view = engine.view(&summaries)?;
    let digest = digest(|key| Ok(view.get(&key)?))?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

/// With the settings of librdkafka without which it waits more than it reads.
fn hand(bootstrap: &str) -> Outcome<Measured> {
    let end = ends(&Fetcher::connect(FetchConfig::new(bootstrap))?)?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "hand").set("enable.auto.commit", "false");
    config.set("queued.min.messages", "1000000").set("fetch.queue.backoff.ms", "5");
    let clock = Clock::start();
    let consumer: BaseConsumer = config.create()?;
    let mut assigned = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assigned.add_partition_offset(TOPIC, i32::try_from(partition)?, Offset::Beginning)?;
    }
    consumer.assign(&assigned)?;
    let mut summaries: FxHashMap<i64, Summary> = FxHashMap::default();
    let mut left = total(&end);
    while left > 0 {
        let Some(message) = consumer.poll(Duration::from_secs(10)) else {
            return Err("nothing arrives".into());
        };
        let message = message?;
        let key = message.key().and_then(|key| key.try_into().ok()).map_or(0, i64::from_be_bytes);
        summaries.entry(key).or_default().fold(message.payload().unwrap_or_default());
        left -= 1;
    }
    let measured = clock.stop(total(&end));
    Ok(measured.with_digest(digest(|key| Ok(summaries.get(&key).copied()))?))
}

fn direct(bootstrap: &str) -> Outcome<Measured> {
    let fetcher = Fetcher::connect(FetchConfig::new(bootstrap))?;
    let end = ends(&fetcher)?;
    let clock = Clock::start();
    let mut readers = Vec::new();
    for (id, end) in end.iter() {
        readers.push((fetcher.reader(id, 0)?, end));
    }
    let mut records = 0;
    for (reader, end) in &mut readers {
        let reader: &mut dyn PartitionReader = reader;
        read_below(reader, *end, |batch| {
            records += batch.decode()?.iter().len() as u64;
            Ok(())
        })?;
    }
    Ok(clock.stop(records))
}
