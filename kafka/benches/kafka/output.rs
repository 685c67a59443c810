//! Every record of a topic written to another: Kafka Streams, and librdkafka's producer by itself, which is what there is to be
//! had.

use super::payments::{Input, PARTITIONS};
use super::streams::{self, TUNED_AT_LEAST_ONCE, TUNED_EXACTLY_ONCE};
use super::{Args, Bench, Found, Way, load};
use millpond_support::bench::measured::{Clock, Measured, Rounds};
use millpond_support::bench::report::{Targets, rounded};
use millpond_support::bench::{Outcome, phase};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// More tell nothing new.
const MOST_RECORDS: u64 = 3_000_000;

pub(super) fn section(bench: &Bench<'_>) -> Outcome<Found> {
    let args = bench.args;
    let mut ways = vec!["producer"];
    if args.measures(Way::Streams) {
        ways.extend([TUNED_AT_LEAST_ONCE.name, TUNED_EXACTLY_ONCE.name]);
    }
    let mut broker_seconds: BTreeMap<&'static str, f64> = BTreeMap::new();
    let all = Rounds::measure_by(1, &ways, |way| {
        let (measured, broker) = bench.beside_broker(|| run(bench, way))?;
        broker_seconds.insert(way, broker);
        Ok(measured)
    })?;
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
    Ok((Value::Object(figures), Targets::default()))
}

fn run(bench: &Bench<'_>, way: &'static str) -> Outcome<Measured> {
    let to = bench.broker.create_topic("output", PARTITIONS, &[]);
    if way == "producer" {
        let dir = bench.scratch.join(&to);
        let records = bench.args.records().min(MOST_RECORDS);
        Input { bootstrap: bench.broker.bootstrap(), topic: to, records }.tell(&dir)?;
        return phase::run(way, &dir);
    }
    let setting = [TUNED_AT_LEAST_ONCE, TUNED_EXACTLY_ONCE].into_iter().find(|setting| setting.name == way);
    let setting = setting.ok_or("an unknown way")?;
    let (few, _) = Input::write(bench, bench.args.streams_records(), bench.args.common.distribution)?;
    let warm_up = (few.records / 4).to_string();
    let arguments = ["--topic", &few.topic, "--to", &to, "--warm-up", &warm_up];
    Ok(streams::measured(&setting.run(bench, "Filter", &arguments)?))
}

/// Librdkafka's producer by itself, of records that are made up on the way.
pub(super) fn phase(args: &Args, dir: &Path) -> Outcome<()> {
    let input = Input::told(dir)?;
    let clock = Clock::start();
    load::send(&input, input.records, args.keys(), None)?;
    phase::report(&clock.stop(input.records))
}
