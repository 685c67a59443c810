//! Reads of random keys at a fixed rate while the topic is folded from an empty state: `View::get` beside Kafka Streams'
//! interactive queries. Both may answer from what is folded so far.

use super::latency::milliseconds;
use super::payments::Input;
use super::streams::{TUNED_AT_LEAST_ONCE, TUNED_EXACTLY_ONCE, number};
use super::{Args, Bench, Found, Way};
use millpond_support::bench::latency::{Latencies, Summary};
use millpond_support::bench::report::{self, Targets, duration, rounded};
use millpond_support::bench::{Outcome, phase};
use millpond_support::random::Random;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(super) fn section(bench: &Bench<'_>) -> Outcome<Found> {
    let args = bench.args;
    let (_, dir) = Input::write(bench, args.records(), args.common.distribution)?;
    eprintln!("reading beside the folding");
    let ours: Summary = phase::run("reads", &dir)?;
    let mut figures = Map::from_iter([("engine".to_owned(), json!(ours))]);
    let mut table =
        report::Table::new(["reads beside the folding", "reads", "median", "p99", "p99.9", "max"]);
    let [median, p99, p999, max] = [ours.median_ns, ours.p99_ns, ours.p999_ns, ours.max_ns].map(duration);
    table.row(["engine".to_owned(), ours.count.to_string(), median, p99, p999, max]);
    let mut least = f64::INFINITY;
    if args.measures(Way::Streams) {
        let (few, _) = Input::write(bench, args.streams_records(), args.common.distribution)?;
        let (rate, keys) = (args.reads_per_second.to_string(), args.keys().to_string());
        for setting in [TUNED_AT_LEAST_ONCE, TUNED_EXACTLY_ONCE] {
            let arguments = ["--topic", &few.topic, "--probe", &rate, "--keys", &keys];
            let said = setting.run(bench, "Aggregate", &arguments)?;
            let reads = said.get("reads").cloned().unwrap_or_default();
            let of = |name| number(&reads, name);
            least = least.min(of("p99_us") * 1e3);
            let shown = |name| format!("{:.1} us", of(name));
            table.row([
                setting.name.to_owned(),
                of("count").to_string(),
                shown("p50_us"),
                shown("p99_us"),
                shown("p999_us"),
                shown("max_us"),
            ]);
            figures.insert(setting.name.to_owned(), reads);
        }
    }
    table.print();
    let better = if least.is_finite() { least / 1e6 / milliseconds(ours.p99_ns.max(1)) } else { 0.0 };
    figures.insert("p99_times_better_than_kafka_streams".to_owned(), json!(rounded(better)));
    let targets = Targets::default().at_least("reads_p99_times_better_than_kafka_streams", better, 20.0);
    Ok((Value::Object(figures), targets))
}

pub(super) fn phase(args: &Args, dir: &Path) -> Outcome<()> {
    let input = Input::told(dir)?;
    let (graph, summaries) = input.graph()?;
    let state = dir.join("reads");
    let builder = args.common.engine(&graph).state_dir(&state).changelog(input.kafka());
    let engine = builder.stale_reads(true).start()?;
    let view = engine.view(&summaries)?;
    let interval = Duration::from_secs(1) / args.reads_per_second.max(1);
    let folded = AtomicBool::new(false);
    let latencies = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut random, mut latencies) = (Random::new(args.common.seed), Latencies::new());
            let mut due = Instant::now();
            while !folded.load(Ordering::Relaxed) {
                while let Some(early) =
                    due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
                {
                    std::thread::park_timeout(early);
                }
                let key = random.below(args.keys()).cast_signed();
                latencies.time(|| view.get(&key))?;
                due += interval;
            }
            Outcome::Ok(latencies)
        });
        let ended = engine.wait_for_blocking(&input.ends()?);
        folded.store(true, Ordering::Relaxed);
        let latencies = reader.join().map_err(|_| "the reader has panicked")??;
        ended?;
        Outcome::Ok(latencies)
    })?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(&state)?;
    phase::report(&latencies.summary())
}
