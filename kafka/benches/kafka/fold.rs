//! How fast, and at what cost: every way folds the same topic in turn, Kafka Streams one that is shorter.

use super::payments::{Input, PARTITIONS, Summary, digest};
use super::streams::{self, SETTINGS};
use super::{Args, Bench, Found, Way};
use millpond::changelog::backend::{AppendLog, PartitionReader, TopicLog, read_below};
use millpond::changelog::{Append, Changelog, Durability, Record, TopicConfig};
use millpond::{Engine, Graph, StoredTable};
use millpond_support::bench::args::Distribution;
use millpond_support::bench::measured::{Clock, Measured, Rounds, ratio};
use millpond_support::bench::report::{Targets, rounded};
use millpond_support::bench::{Outcome, log, phase};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rustc_hash::FxHashMap;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The ways that are phases of this program.
const OWN_WAYS: [(Way, &str); 4] =
    [(Way::Engine, "engine"), (Way::Hand, "hand"), (Way::Direct, "direct"), (Way::Embedded, "embedded")];

pub(super) fn section(bench: &Bench<'_>, distribution: Distribution, prefix: &'static str) -> Outcome<Found> {
    let args = bench.args;
    let (input, dir) = Input::write(bench, args.records(), distribution)?;
    if args.measures(Way::Embedded) {
        eprintln!("writing the same to an embedded log");
        phase::run::<()>("log", &dir)?;
    }
    let mut broker_seconds: BTreeMap<&'static str, f64> = BTreeMap::new();
    let own: Vec<&'static str> =
        OWN_WAYS.iter().filter(|(way, _)| args.measures(*way)).map(|(_, name)| *name).collect();
    let mut all = Rounds::measure_by(args.common.rounds(3), &own, |way| {
        let (measured, broker) = bench.beside_broker(|| phase::run::<Measured>(way, &dir))?;
        // That of one round.
        broker_seconds.insert(way, broker);
        Ok(measured)
    })?;
    if args.measures(Way::Streams) {
        let (few, _) = Input::write(bench, args.streams_records(), distribution)?;
        all.extend(streams_rounds(bench, &few, &mut broker_seconds)?);
    }
    std::fs::remove_dir_all(dir.join("log")).ok();
    println!("fold: {} records of {} over {} keys\n", input.records, input.topic, args.keys());
    Rounds::print(&all);
    Ok(report(&all, &broker_seconds, prefix))
}

/// Kafka Streams in its settings, each in turn.
fn streams_rounds(
    bench: &Bench<'_>,
    few: &Input,
    broker_seconds: &mut BTreeMap<&'static str, f64>,
) -> Outcome<Vec<Rounds>> {
    let warm_up = (few.records / 4).to_string();
    Rounds::measure_by(bench.args.streams_rounds, &SETTINGS.map(|setting| setting.name), |name| {
        let setting = SETTINGS.iter().find(|setting| setting.name == name).ok_or("an unknown setting")?;
        let arguments = ["--topic", &few.topic, "--warm-up", &warm_up];
        let (said, broker) = bench.beside_broker(|| setting.run(bench, "Aggregate", &arguments))?;
        broker_seconds.insert(name, broker);
        Ok(streams::measured(&said))
    })
}

fn report(all: &[Rounds], broker_seconds: &BTreeMap<&'static str, f64>, prefix: &'static str) -> Found {
    let mut ways = Map::new();
    for rounds in all {
        ways.insert(
            rounds.way.to_owned(),
            json!({
                "records_per_second": rounds.rps().round(),
                "records_per_cpu_second": rounds.per_cpu_second().round(),
                "broker_cpu_seconds": broker_seconds.get(rounds.way).map(|seconds| rounded(*seconds)),
                "peak_rss_bytes": rounds.peak_bytes(),
            }),
        );
    }
    let of = |way: &str| Rounds::of(all, way);
    let cpu = |way: Option<&Rounds>| way.map_or(0.0, Rounds::per_cpu_second);
    let best = SETTINGS.iter().map(|setting| cpu(of(setting.name))).fold(0.0, f64::max);
    let over = |other: f64| if other > 0.0 { cpu(of("engine")) / other } else { 0.0 };
    let figures = [
        ("engine_vs_kafka_streams_cpu", over(best), 20.0),
        ("engine_vs_hand_cpu", over(cpu(of("hand"))), 1.0),
        ("engine_vs_embedded_cpu", over(cpu(of("embedded"))), 0.9),
        ("engine_vs_embedded", ratio(of("engine"), of("embedded")), 0.9),
        ("direct_per_cpu_second", cpu(of("direct")), 10_000_000.0),
    ];
    let mut targets = Targets::default();
    let mut line = Map::new();
    for (name, measured, bound) in figures {
        targets = targets.at_least(format!("{prefix}{name}"), measured, bound);
        line.insert(name.to_owned(), json!(rounded(measured)));
    }
    line.insert("engine_vs_hand".to_owned(), json!(rounded(ratio(of("engine"), of("hand")))));
    line.insert("ways".to_owned(), Value::Object(ways));
    (Value::Object(line), targets)
}

pub(super) fn phase(name: &str, args: &Args, dir: &Path) -> Outcome<()> {
    let input = Input::told(dir)?;
    match name {
        "log" => phase::report(&copy(&input, dir)?),
        "engine" => phase::report(&engine(args, &input, dir)?),
        "embedded" => phase::report(&embedded(args, &input, dir)?),
        "hand" => phase::report(&hand(args, &input)?),
        _ => phase::report(&direct(&input)?),
    }
}

/// Copies the topic into an embedded log, partition by partition.
fn copy(input: &Input, dir: &Path) -> Outcome<()> {
    let log = log::open(&dir.join("log"), Durability::Os)?;
    log.create_topic(&input.topic, &TopicConfig::default().partitions(PARTITIONS))?;
    let fetcher = input.fetcher()?;
    let mut acks = Vec::new();
    // In turn, so that the partitions lie in the log as if they had been written together.
    let mut readers = Vec::new();
    for (id, end) in input.ends()?.iter() {
        readers.push((fetcher.reader(id, 0)?, id.clone(), end));
    }
    while !readers.is_empty() {
        for (reader, id, _) in &mut readers {
            reader.wait(Duration::from_secs(1))?;
            for batch in reader.poll(1 << 20)? {
                let decoded = batch.decode()?;
                let records = decoded.iter().map(|record| {
                    let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
                    Record::new(key.to_vec(), value.to_vec()).at(record.timestamp_ms)
                });
                let records = records.collect();
                acks.push(log.append(vec![Append { partition: id.clone(), records }]));
            }
            acks.drain(..).try_for_each(|ack| ack.wait_blocking().map(drop))?;
        }
        readers.retain(|(reader, _, end)| reader.offset() < *end);
    }
    Ok(log.sync()?)
}

/// From Kafka.
fn engine(args: &Args, input: &Input, dir: &Path) -> Outcome<Measured> {
    let (graph, summaries) = input.graph()?;
    let clock = Clock::start();
    let start = |graph: &Graph, state: &Path| {
        args.common.engine(graph).state_dir(state).changelog(input.kafka()).start()
    };
    fold(args, input, (&graph, &summaries), (&clock, &dir.join("engine")), start)
}

/// From an embedded log.
fn embedded(args: &Args, input: &Input, dir: &Path) -> Outcome<Measured> {
    let (graph, summaries) = input.graph()?;
    let clock = Clock::start();
    let log: Arc<dyn Changelog> = log::open(&dir.join("log"), Durability::Fsync)?;
    let start =
        |graph: &Graph, state: &Path| args.common.engine(graph).state_dir(state).changelog(log).start();
    fold(args, input, (&graph, &summaries), (&clock, &dir.join("embedded")), start)
}

/// From an empty state until all is folded and durable.
fn fold(
    args: &Args,
    input: &Input,
    (graph, summaries): (&Graph, &StoredTable<i64, Summary>),
    (clock, state): (&Clock, &Path),
    start: impl FnOnce(&Graph, &Path) -> millpond::Result<Engine>,
) -> Outcome<Measured> {
    let engine = start(graph, state)?;
    engine.wait_for_blocking(&input.ends()?)?;
    engine.drain_blocking()?;
    let measured = clock.stop(input.records);
    let counted = engine.stats();
    eprintln!("  {} epochs, {} drains", counted.epochs, counted.drains);
    let view = engine.view(summaries)?;
    let digest = digest(args, |key| Ok(view.get(&key)?))?;
    if !input.is_right(&view)? {
        return Err("the rows do not count every record once".into());
    }
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

/// With the settings of librdkafka without which it waits more than it reads.
fn hand(args: &Args, input: &Input) -> Outcome<Measured> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &input.bootstrap).set("group.id", "hand");
    config.set("enable.auto.commit", "false");
    config.set("queued.min.messages", "1000000").set("fetch.queue.backoff.ms", "5");
    let clock = Clock::start();
    let consumer: BaseConsumer = config.create()?;
    let mut assigned = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assigned.add_partition_offset(&input.topic, i32::try_from(partition)?, Offset::Beginning)?;
    }
    consumer.assign(&assigned)?;
    let mut summaries: FxHashMap<i64, Summary> = FxHashMap::default();
    for _ in 0..input.records {
        let Some(message) = consumer.poll(Duration::from_secs(10)) else {
            return Err("nothing arrives".into());
        };
        let message = message?;
        let key = message.key().and_then(|key| key.try_into().ok()).map_or(0, i64::from_be_bytes);
        summaries.entry(key).or_default().fold(message.payload().unwrap_or_default());
    }
    let measured = clock.stop(input.records);
    Ok(measured.with_digest(digest(args, |key| Ok(summaries.get(&key).copied()))?))
}

/// Everything is decoded, and nothing done with it.
fn direct(input: &Input) -> Outcome<Measured> {
    let fetcher = input.fetcher()?;
    let ends = input.ends()?;
    let clock = Clock::start();
    let mut readers = Vec::new();
    for (id, end) in ends.iter() {
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
