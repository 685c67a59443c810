//! Nexmark: the queries of an auction house over people, auctions and bids, each with its rows compared with what one thread computes
//! from the same events, and then its events a second, processor time and peak memory.
//!
//! The events come from a generator of ours with the published proportions and lie in the embedded log before anything is timed. Each
//! query runs in a process of its own, from an empty state until every event is folded, every window is closed, and all of it is
//! durable; meanwhile a thread looks up a thousand rows a second. A query that comes to anything else than the oracle fails the run.
//!
//! With `--kill` each query is run once more, by a process that is killed (`kill -9`) at random moments and begins again with what
//! is there, and must come to the same.

mod digest;
mod events;
mod generator;
mod input;
mod oracle;
mod queries;

use clap::Parser;
use digest::Digest;
use generator::{Generator, Shape};
use millpond::Engine;
use millpond::changelog::{Changelog, Durability};
use millpond_support::bench::latency::{Latencies, Summary};
use millpond_support::bench::measured::{Clock, Measured};
use millpond_support::bench::report::{Table, Targets, count, duration, mebibytes};
use millpond_support::bench::{Outcome, args, log, phase};
use millpond_support::random::Random;
use queries::{QUERIES, Query, Running};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Rows are looked up this far apart.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(1);

/// How often a query is killed before it may come to its end.
const KILLS: u32 = 5;

/// The queries of Nexmark: checked, then measured.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
    /// Which queries, such as `q5`; all of them unless set.
    #[arg(long = "query", value_delimiter = ',')]
    queries: Vec<String>,
    /// How many events happen in a second; how long all of them take to happen is up to this.
    #[arg(long)]
    per_second: Option<u64>,
    /// Within groups of how many events they are out of order; no event may be more than four seconds late by it.
    #[arg(long, default_value_t = 1)]
    group: u64,
    /// Has each query also come to its end in spite of being killed.
    #[arg(long)]
    kill: bool,
}

impl Args {
    fn events(&self) -> u64 {
        self.common.records(10_000_000, 20_000)
    }

    fn shape(&self) -> Shape {
        let per_second = self.per_second.unwrap_or(if self.common.quick { 500 } else { 10_000 });
        let (per_second, group) = (per_second.max(1), self.group.max(1));
        Shape { seed: self.common.seed, per_second, step_ms: 1, group }
    }

    fn chosen(&self) -> Outcome<Vec<&'static Query>> {
        if self.queries.is_empty() {
            return Ok(QUERIES.iter().collect());
        }
        self.queries.iter().map(|name| query(name)).collect()
    }
}

fn query(name: &str) -> Outcome<&'static Query> {
    let found = QUERIES.iter().find(|query| query.name == name);
    found.ok_or_else(|| format!("there is no query `{name}`").into())
}

/// What a query took, and what it came to.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    measured: Measured,
    digest: Digest,
    lookups: Summary,
    /// How many of the rows that were looked up were there.
    found: u64,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    args.common.only_uniform()?;
    args.common.only_one_round()?;
    match args.common.phase.as_deref().map(|phase| phase.split_once('-').unwrap_or((phase, ""))) {
        None => compare(&args),
        Some(("log", _)) => write(&args, phase::given(&args.common)?),
        Some(("oracle", name)) => phase::report(&expected(&args, name)?),
        Some(("run", name)) => phase::report(&run(&args, query(name)?, phase::given(&args.common)?)?),
        Some((other, _)) => Err(format!("there is no phase `{other}`").into()),
    }
}

fn compare(args: &Args) -> Outcome<()> {
    let chosen = args.chosen()?;
    let scratch = phase::scratch(&args.common)?;
    eprintln!("writing the log");
    phase::run::<()>("log", scratch.path())?;
    let mut runs = Vec::new();
    for query in chosen {
        let expected: Digest = phase::run(&format!("oracle-{}", query.name), scratch.path())?;
        let phase = format!("run-{}", query.name);
        let run: Run = phase::run(&phase, scratch.path())?;
        check(query, "", &run, expected)?;
        if args.kill {
            let killed = run_and_kill(args, &phase, run.measured.seconds, scratch.path())?;
            check(query, ", killed and begun again", &killed, expected)?;
        }
        eprintln!("{}: {} rows, {} events/s", query.name, run.digest.rows, count(run.measured.rps()));
        runs.push((query, run));
    }
    print(args, &runs);
    Ok(())
}

fn check(query: &Query, how: &str, run: &Run, expected: Digest) -> Outcome<()> {
    if run.digest == expected {
        return Ok(());
    }
    let Query { name, asks, .. } = query;
    Err(format!("{name} ({asks}){how} came to {:?} instead of {expected:?}", run.digest).into())
}

/// Kills the phase at random moments of the time that it takes, and has it come to its end.
fn run_and_kill(args: &Args, phase: &str, seconds: f64, scratch: &Path) -> Outcome<Run> {
    let mut random = Random::new(args.common.seed);
    for _ in 0..KILLS {
        let mut child = phase::spawn(phase, scratch)?;
        // So that all of them together take about as long as one that is not killed.
        let lives = Duration::from_secs_f64(seconds / f64::from(KILLS) * 2.0 * random_part(&mut random));
        let born = Instant::now();
        while let Some(left) = lives.checked_sub(born.elapsed()) {
            std::thread::park_timeout(left);
        }
        child.kill()?;
        child.wait()?;
    }
    phase::run(phase, scratch)
}

/// Any part of one.
fn random_part(random: &mut Random) -> f64 {
    f64::from(u8::try_from(random.below(256)).unwrap_or_default()) / 256.0
}

fn print(args: &Args, runs: &[(&Query, Run)]) {
    println!(
        "nexmark: {} events, {} in a second of theirs, {} partitions; every query came to what the oracle says{}\n",
        args.events(),
        args.shape().per_second,
        args.common.partitions,
        if args.kill { ", also killed and begun again" } else { "" },
    );
    let mut table = Table::new([
        "query",
        "events/s",
        "CPU s",
        "events/CPU s",
        "peak resident",
        "rows",
        "look-ups",
        "found",
        "median",
        "p99",
        "asks",
    ]);
    let mut figures = Map::new();
    for (query, Run { measured, digest, lookups, found }) in runs {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let per_cpu_second = measured.records as f64 / measured.cpu_seconds.max(1e-9);
        table.row([
            query.name.to_owned(),
            count(measured.rps()),
            format!("{:.2}", measured.cpu_seconds),
            count(per_cpu_second),
            mebibytes(measured.peak_bytes),
            digest.rows.to_string(),
            lookups.count.to_string(),
            found.to_string(),
            duration(lookups.median_ns),
            duration(lookups.p99_ns),
            query.asks.to_owned(),
        ]);
        let figure = json!({
            "rps": measured.rps().round(),
            "cpu_s": measured.cpu_seconds,
            "peak_bytes": measured.peak_bytes,
            "rows": digest.rows,
            "lookup_p99_ns": lookups.p99_ns,
        });
        figures.insert(query.name.to_owned(), figure);
    }
    table.print();
    figures.insert("bench".to_owned(), json!("nexmark"));
    figures.insert("events".to_owned(), json!(args.events()));
    Targets::default().finish(Value::Object(figures));
}

fn write(args: &Args, scratch: &Path) -> Outcome<()> {
    let log = log::open(&scratch.join("log"), Durability::Os)?;
    input::write(&*log, args.common.partitions, args.shape(), args.events())?;
    drop(log);
    phase::report(&())
}

fn expected(args: &Args, name: &str) -> Outcome<Digest> {
    let events = Generator::new(args.shape()).take(usize::try_from(args.events())?);
    oracle::digest(name, events).ok_or_else(|| format!("the oracle does not know `{name}`").into())
}

/// Runs the query with what is there of its state, if a process was killed that had begun with it.
fn run(args: &Args, query: &'static Query, scratch: &Path) -> Outcome<Run> {
    let (graph, answers) = query.graph(args.common.partitions, args.shape())?;
    let log = log::open(&scratch.join("log"), Durability::Fsync)?;
    let end = log::end(&*log, &[input::EVENTS], args.common.partitions)?;
    let log: Arc<dyn Changelog> = log;
    let state = scratch.join(query.name);

    let clock = Clock::start();
    let builder = args.common.engine(&graph).name(query.name).stale_reads(true);
    let engine = builder.state_dir(&state).changelog(log).start()?;
    let lookup = answers.lookup(&engine)?;
    let is_over = AtomicBool::new(false);
    let (measured, looked) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| look_up(args, &engine, lookup, &is_over));
        let folded = engine.wait_for_blocking(&end);
        // What is appended to topics on the way is folded as well.
        let folded = folded.and_then(|()| engine.catch_up_blocking()).and_then(|_| engine.drain_blocking());
        let measured = clock.stop(args.events());
        is_over.store(true, Ordering::Relaxed);
        let looked = reader.join().map_err(|_| "the thread that looks rows up has panicked")?;
        folded?;
        Outcome::Ok((measured, looked?))
    })?;
    let digest = answers.digest(Running::Engine(&engine))?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    let (lookups, found) = looked;
    Ok(Run { measured, digest, lookups: lookups.summary(), found })
}

/// Looks rows up that may be there by now, one after the other, until it is over.
fn look_up(
    args: &Args,
    engine: &Engine,
    mut lookup: impl FnMut(u64) -> millpond::Result<bool>,
    is_over: &AtomicBool,
) -> Outcome<(Latencies, u64)> {
    let (mut latencies, mut found) = (Latencies::new(), 0);
    let mut random = Random::new(args.common.seed);
    let mut due = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            std::thread::park_timeout(early);
            continue;
        }
        due += LOOKUP_INTERVAL;
        let folded: u64 = engine.position().iter().map(|(_, offset)| offset).sum();
        let number = random.below(folded.clamp(1, args.events()));
        found += u64::from(latencies.time(|| lookup(number))?);
    }
    Ok((latencies, found))
}
