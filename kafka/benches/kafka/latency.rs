//! How late: from a record being sent until a query shows it, alone and beside a load of half of what the machine can do.
//!
//! What the machine can do is found out first: a load as fast as librdkafka sends it, until all of it is folded, with producer,
//! broker and engine on the same cores. Beside half of that load several threads send a record each at fixed times; one that is
//! late counts from when it was due, so that no delay hides the next.

use super::payments::{Input, PARTITIONS};
use super::{Args, Bench, Found, load};
use millpond::Engine;
use millpond_support::bench::latency::{Latencies, Summary};
use millpond_support::bench::report::{self, Targets, duration, rounded};
use millpond_support::bench::{Outcome, phase};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// Records that are sent alone follow each other after this time.
const IDLE_INTERVAL: Duration = Duration::from_millis(20);
/// Beside a load each of so many threads sends one after this time.
const THREADS: u32 = 16;
const BUSY_INTERVAL: Duration = Duration::from_millis(320);

#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    idle: Summary,
    half: Summary,
    full_rps: f64,
    /// As far as it was reached.
    half_rps: f64,
}

pub(super) fn section(bench: &Bench<'_>) -> Outcome<Found> {
    let topic = bench.broker.create_topic("latency", PARTITIONS, &[]);
    let dir = bench.scratch.join(&topic);
    Input { bootstrap: bench.broker.bootstrap(), topic, records: 0 }.tell(&dir)?;
    eprintln!("measuring latency");
    let Measured { idle, half, full_rps, half_rps } = phase::run("latency", &dir)?;
    println!("latency, produced to published; full speed {} records/s\n", report::count(full_rps));
    let mut table = report::Table::new(["load", "records", "median", "p99", "p99.9", "max"]);
    for (load, Summary { count, median_ns, p99_ns, p999_ns, max_ns }) in
        [("none".to_owned(), idle), (format!("{} records/s", report::count(half_rps)), half)]
    {
        let [median, p99, p999, max] = [median_ns, p99_ns, p999_ns, max_ns].map(duration);
        table.row([load, count.to_string(), median, p99, p999, max]);
    }
    table.print();
    let (idle_ms, half_ms) = (milliseconds(idle.p99_ns), milliseconds(half.p99_ns));
    let targets = Targets::default().at_most("latency_idle_p99_ms", idle_ms, 20.0).at_most(
        "latency_half_speed_p99_ms",
        half_ms,
        250.0,
    );
    let figures = json!({
        "idle_p99_ms": rounded(idle_ms),
        "half_speed_p99_ms": rounded(half_ms),
        "full_records_per_second": full_rps.round(),
        "half_records_per_second": half_rps.round(),
        "idle": idle,
        "half_speed": half,
    });
    Ok((figures, targets))
}

#[expect(clippy::cast_precision_loss, reason = "for the eye")]
pub(super) fn milliseconds(ns: u64) -> f64 {
    ns as f64 / 1e6
}

pub(super) fn phase(args: &Args, dir: &Path) -> Outcome<()> {
    let input = Input::told(dir)?;
    let (graph, _) = input.graph()?;
    let state = dir.join("latency");
    let engine = args.common.engine(&graph).state_dir(&state).changelog(input.kafka()).start()?;
    engine.ready_blocking()?;
    let lasting = Duration::from_secs(args.seconds());
    // What is done for the first time takes longer.
    probe(&engine, &input, 0, IDLE_INTERVAL, Duration::from_secs(1))?;
    let idle = probe(&engine, &input, 0, IDLE_INTERVAL, lasting)?.summary();

    let records = args.common.records(2_000_000, 20_000).min(2_000_000);
    let begin = Instant::now();
    load::send(&input, records, args.keys(), None)?;
    engine.catch_up_blocking()?;
    let full_rps = per_second(records, begin.elapsed());

    let (half, half_rps) = beside_load(&engine, &input, full_rps / 2.0, lasting, args.keys())?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(&state)?;
    phase::report(&Measured { idle, half: half.summary(), full_rps, half_rps })
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn per_second(records: u64, time: Duration) -> f64 {
    records as f64 / time.as_secs_f64()
}

/// Sends records at fixed times for so long, each once the one before can be read.
fn probe(
    engine: &Engine,
    input: &Input,
    key: i64,
    interval: Duration,
    lasting: Duration,
) -> Outcome<Latencies> {
    let topic = input.typed();
    let mut latencies = Latencies::new();
    let begin = Instant::now();
    let mut due = begin;
    while due - begin < lasting {
        while let Some(early) = due.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
            std::thread::park_timeout(early);
        }
        let position = engine.append(&topic, &key, &[0; 16]).wait_blocking()?;
        engine.wait_for_blocking(&position)?;
        latencies.note(due.elapsed());
        due += interval;
    }
    Ok(latencies)
}

/// The same by many threads, beside a load of so many records a second. Answers with the rate that the load has reached, too.
fn beside_load(
    engine: &Engine,
    input: &Input,
    rate: f64,
    lasting: Duration,
    keys: u64,
) -> Outcome<(Latencies, f64)> {
    /// The load has begun by then.
    const LEAD: Duration = Duration::from_secs(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some millions")]
    let records = (rate * (lasting + 2 * LEAD).as_secs_f64()) as u64;
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let begin = Instant::now();
            load::send(input, records.max(1), keys, Some(rate)).map(|()| per_second(records, begin.elapsed()))
        });
        std::thread::park_timeout(LEAD);
        let probes: Vec<_> = (0..THREADS)
            .map(|number| {
                std::thread::park_timeout(BUSY_INTERVAL / THREADS);
                scope.spawn(move || probe(engine, input, -1 - i64::from(number), BUSY_INTERVAL, lasting))
            })
            .collect();
        let mut all = Latencies::new();
        for probe in probes {
            all.add(&probe.join().map_err(|_| "a thread that sends records has panicked")??);
        }
        let reached = load.join().map_err(|_| "the load has panicked")??;
        Ok((all, reached))
    })
}
