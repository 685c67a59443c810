//! Every record of a topic written to another: millpond and Kafka Streams, and librdkafka's producer by itself, which is what
//! there is to be had.

use super::payments::{Input, PARTITIONS};
use super::streams::{self, TUNED_AT_LEAST_ONCE, TUNED_EXACTLY_ONCE};
use super::{Args, Bench, Found, Way, load};
use millpond::changelog::backend::{PartitionReader, read_below};
use millpond::{ErrorKind, GraphBuilder};
use millpond_support::bench::measured::{Clock, Measured, Rounds, ratio};
use millpond_support::bench::report::{Targets, rounded};
use millpond_support::bench::{Outcome, phase};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// More tell nothing new.
const MOST_RECORDS: u64 = 3_000_000;

/// The file that tells a phase to which topic it writes.
const TO: &str = "to";

pub(super) fn section(bench: &Bench<'_>) -> Outcome<Found> {
    let args = bench.args;
    let mut ways = Vec::new();
    if args.measures(Way::Engine) {
        ways.push("engine");
    }
    ways.push("producer");
    if args.measures(Way::Streams) {
        ways.extend([TUNED_AT_LEAST_ONCE.name, TUNED_EXACTLY_ONCE.name]);
    }
    let mut broker_seconds: BTreeMap<&'static str, f64> = BTreeMap::new();
    let mut all = Vec::new();
    for way in ways {
        // Beforehand, so that the broker's work for it is not counted.
        input(bench, way)?;
        let (measured, broker) = bench.beside_broker(|| run(bench, way))?;
        if let Some(measured) = measured {
            broker_seconds.insert(way, broker);
            all.extend(Rounds::measure_by(1, &[way], |_| Ok(measured.clone()))?);
        }
    }
    println!("output: every record written to another topic\n");
    Rounds::print(&all);
    let mut figures = Map::new();
    for rounds in &all {
        figures.insert(
            rounds.way.to_owned(),
            json!({
                "records_per_second": rounds.rps().round(),
                "records_per_cpu_second": rounds.per_cpu_second().round(),
                "broker_cpu_seconds": broker_seconds.get(rounds.way).map(|seconds| rounded(*seconds)),
                "peak_rss_bytes": rounds.peak_bytes(),
            }),
        );
    }
    let vs_producer = ratio(Rounds::of(&all, "engine"), Rounds::of(&all, "producer"));
    figures.insert("engine_vs_producer".to_owned(), json!(rounded(vs_producer)));
    let targets = Targets::default().at_least("output_engine_vs_producer", vs_producer, 0.5);
    Ok((Value::Object(figures), targets))
}

/// What `way` reads.
fn input(bench: &Bench<'_>, way: &str) -> Outcome<(Input, PathBuf)> {
    let args = bench.args;
    let is_ours = way == "engine" || way == "producer";
    let records = if is_ours { args.records().min(MOST_RECORDS) } else { args.streams_records() };
    Input::write(bench, records, args.common.distribution)
}

fn run(bench: &Bench<'_>, way: &'static str) -> Outcome<Option<Measured>> {
    let to = bench.broker.create_topic("output", PARTITIONS, &[]);
    let (from, dir) = input(bench, way)?;
    if way == "producer" {
        let dir = bench.scratch.join(&to);
        Input { topic: to, ..from }.tell(&dir)?;
        return phase::run(way, &dir);
    }
    if way == "engine" {
        std::fs::write(dir.join(TO), to)?;
        return phase::run("filter", &dir);
    }
    let setting = [TUNED_AT_LEAST_ONCE, TUNED_EXACTLY_ONCE].into_iter().find(|setting| setting.name == way);
    let setting = setting.ok_or("an unknown way")?;
    let warm_up = (from.records / 4).to_string();
    let arguments = ["--topic", &from.topic, "--to", &to, "--warm-up", &warm_up];
    Ok(Some(streams::measured(&setting.run(bench, "Filter", &arguments)?)))
}

pub(super) fn phase(name: &str, args: &Args, dir: &Path) -> Outcome<()> {
    let input = Input::told(dir)?;
    if name == "filter" {
        return phase::report(&filter(args, &input, dir)?);
    }
    // Librdkafka's producer by itself, of records that are made up on the way.
    let clock = Clock::start();
    load::send(&input, input.records, args.keys(), None)?;
    phase::report(&clock.stop(input.records))
}

/// Every record through a filter that all pass, exactly once, until all are committed. `None` where outputs are refused.
fn filter(args: &Args, input: &Input, dir: &Path) -> Outcome<Option<Measured>> {
    let to = Input { topic: std::fs::read_to_string(dir.join(TO))?, ..input.clone() };
    let graph = GraphBuilder::new();
    graph.stream(&input.typed()).filter(|_, value| value.len() == 16).to(&to.typed());
    let state = dir.join("filter");
    let clock = Clock::start();
    let started = args.common.engine(&graph.build()?).state_dir(&state).changelog(input.kafka()).start();
    let engine = match started {
        Err(error) if error.kind() == ErrorKind::Invalid => {
            eprintln!("  refused: {error}");
            return Ok(None);
        }
        started => started?,
    };
    engine.wait_for_blocking(&input.ends()?)?;
    engine.close_blocking()?;
    let measured = clock.stop(input.records);
    let (fetcher, mut written) = (to.fetcher()?, 0);
    for (id, end) in to.ends()?.iter() {
        let mut reader = fetcher.reader(id, 0)?;
        let reader: &mut dyn PartitionReader = &mut reader;
        read_below(reader, end, |batch| {
            written += batch.decode()?.iter().len() as u64;
            Ok(())
        })?;
    }
    if written != input.records {
        return Err(format!("{written} records were written instead of {}", input.records).into());
    }
    std::fs::remove_dir_all(&state)?;
    Ok(Some(measured))
}
