//! Folding: count, sum and last value of each `u64` key, from the embedded changelog until durable.
//!
//! *engine*: millpond, from an empty state until every record is folded and drained. *naive*: the same reader, and for
//! each record a get and a put in RocksDB, without its log, the position written every 1,000 records, with a cache as
//! large as the whole budget of the engine. *ceiling*: the same reader and a `HashMap`; nothing is durable.
//!
//! Naive needs many times as long as the others. Where keys repeat it reads the first `4 x keys` records only, of
//! which the first `keys` fill its state and are not timed; where they do not it reads the whole log.

use clap::{Parser, ValueEnum};
use millpond::changelog::Durability;
use millpond::codec::{Bincode, ValueCodec};
use millpond::{GraphBuilder, Topic};
use millpond_support::bench::args::{self, Distribution};
use millpond_support::bench::keys::{Keys, key};
use millpond_support::bench::measured::{self, Clock, Digest, Measured, Rounds, ratio};
use millpond_support::bench::report::{Targets, rounded};
use millpond_support::bench::{Outcome, log, phase, raw};
use rocksdb::WriteBatch;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;

const TOPIC: &str = "payments";

/// Naive writes its position after so many records.
const POSITION_RECORDS: u64 = 1_000;

/// Of so many keys the results of all ways are compared.
const COMPARED_KEYS: u64 = 1_000;

/// Count, sum and last value of each key: millpond against a loop over `RocksDB` and against a `HashMap`.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
    /// The ways to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "engine,naive,ceiling")]
    ways: Vec<Way>,
    /// How many records naive reads, the first of which fill its state if it does not read all.
    #[arg(long)]
    naive_records: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    Engine,
    Naive,
    Ceiling,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Naive => "naive",
            Self::Ceiling => "ceiling",
        }
    }
}

/// What is kept of each key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Summary {
    count: u64,
    sum: u64,
    last: u64,
}

impl Summary {
    fn fold(&mut self, value: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(value);
        self.last = value;
    }
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    match args.common.phase.as_deref() {
        None => compare(&args),
        Some("log") => write(&args, phase::given(&args.common)?),
        Some("engine") => phase::report(&engine(&args, phase::given(&args.common)?)?),
        Some("naive") => phase::report(&naive(&args, phase::given(&args.common)?)?),
        Some("ceiling") => phase::report(&ceiling(&args, phase::given(&args.common)?)?),
        Some(other) => Err(format!("there is no phase `{other}`").into()),
    }
}

impl Args {
    fn records(&self) -> u64 {
        self.common.records(10_000_000, 20_000)
    }

    fn keys(&self) -> u64 {
        self.common.keys(1_000_000, 2_000)
    }

    /// How many records naive reads, and how many of them are not timed.
    fn naive_records(&self) -> (u64, u64) {
        let read = self.naive_records.unwrap_or(4 * self.keys()).min(self.records());
        (read, if read < self.records() { self.keys().min(read / 2) } else { 0 })
    }
}

fn compare(args: &Args) -> Outcome<()> {
    let scratch = phase::scratch(&args.common)?;
    eprintln!("writing the log");
    phase::run::<()>("log", scratch.path())?;
    let ways: Vec<&'static str> = args.ways.iter().map(|way| way.name()).collect();
    let all = Rounds::measure(&args.common, &ways, scratch.path())?;
    println!("fold: {} records over {} keys, {:?}\n", args.records(), args.keys(), args.common.distribution);
    Rounds::print(&all);
    report(args, &all);
    Ok(())
}

fn report(args: &Args, all: &[Rounds]) {
    let [engine, naive, ceiling] =
        [Way::Engine, Way::Naive, Way::Ceiling].map(|way| Rounds::of(all, way.name()));
    let rps = |way: Option<&Rounds>| way.map_or(0.0, Rounds::rps).round();
    let peak_bytes = engine.map_or(0, Rounds::peak_bytes);
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let rss_vs_budget = peak_bytes as f64 / args.common.memory as f64;
    targets(args, ratio(engine, naive), ratio(engine, ceiling), rss_vs_budget).finish(json!({
        "bench": "fold",
        "records": args.records(),
        "keys": args.keys(),
        "distribution": args.common.distribution,
        "memory_bytes": args.common.memory,
        "naive_records": args.naive_records().0,
        "engine_rps": rps(engine),
        "naive_rps": rps(naive),
        "ceiling_rps": rps(ceiling),
        "engine_vs_naive": rounded(ratio(engine, naive)),
        "engine_vs_ceiling": rounded(ratio(engine, ceiling)),
        "engine_peak_rss_bytes": peak_bytes,
        "rss_vs_budget": rounded(rss_vs_budget),
    }));
}

/// A state larger than the budget is held to other targets than one that fits.
fn targets(args: &Args, vs_naive: f64, vs_ceiling: f64, rss_vs_budget: f64) -> Targets {
    let row_bytes = size_of::<(u64, Summary)>() as u64;
    let outgrows = args.keys() * row_bytes > args.common.memory as u64;
    let targets = Targets::default();
    match args.common.distribution {
        _ if outgrows => {
            targets.at_least("engine_vs_naive", vs_naive, 2.0).at_most("rss_vs_budget", rss_vs_budget, 1.5)
        }
        Distribution::Uniform => {
            targets.at_least("engine_vs_naive", vs_naive, 6.0).at_least("engine_vs_ceiling", vs_ceiling, 0.35)
        }
        Distribution::Zipf => {
            targets.at_least("engine_vs_naive", vs_naive, 12.0).at_least("engine_vs_ceiling", vs_ceiling, 0.5)
        }
    }
}

fn write(args: &Args, scratch: &Path) -> Outcome<()> {
    let log = log::open(&scratch.join("log"), Durability::Os)?;
    let mut keys = Keys::new(args.common.distribution, args.keys(), args.common.seed);
    let records = (0..args.records()).map(|_| {
        let key = keys.draw();
        (0, key, keys.random().below(1_000_000))
    });
    log::write(&*log, &[TOPIC], args.common.partitions, records)?;
    drop(log);
    phase::report(&())
}

fn engine(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let graph = GraphBuilder::new();
    let topic = Topic::<u64, u64>::new(TOPIC).partitions(args.common.partitions);
    let fold = |summary: &mut Summary, _: &u64, value: u64| summary.fold(value);
    let summaries = graph.stream(&topic).group_by_key().fold("summaries", Summary::default, fold);
    let state = scratch.join("engine");
    let (engine, measured) = measured::engine(&args.common, &graph.build()?, &[TOPIC], (scratch, &state))?;
    let view = engine.view(&summaries)?;
    let digest = digest(args, |key| Ok(view.get(&key)?))?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

fn naive(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let state = scratch.join("naive");
    let log = log::open(&scratch.join("log"), Durability::Fsync)?;
    let database = raw::open(&state, args.common.memory)?;
    let unlogged = raw::without_log();
    let (read, untimed) = args.naive_records();
    let mut row = Vec::new();
    let mut done = 0;
    let mut clock = Clock::start();
    log::read(&*log, &[TOPIC], args.common.partitions, |_, record| {
        let (_, value): (u64, u64) = log::decode(&record)?;
        let key = record.key.unwrap_or_default();
        let stored = database.get_pinned(key)?;
        let mut summary: Summary = stored.map_or(Ok(Summary::default()), |row| Bincode.decode(&row))?;
        summary.fold(value);
        row.clear();
        Bincode.encode(&summary, &mut row)?;
        done += 1;
        if done % POSITION_RECORDS == 0 {
            let mut batch = WriteBatch::default();
            batch.put(key, &row);
            batch.put(b"position", (record.offset + 1).to_be_bytes());
            database.write_opt(batch, &unlogged)?;
        } else {
            database.put_opt(key, &row, &unlogged)?;
        }
        if done == untimed {
            clock = Clock::start();
        }
        Ok(done < read)
    })?;
    database.flush()?;
    let measured = clock.stop(read - untimed);

    let get = |key: u64| match database.get_pinned(key.to_be_bytes())? {
        Some(row) => Ok(Some(Bincode.decode(&row)?)),
        None => Ok(None),
    };
    let digest = if read == args.records() { Some(digest(args, get)?) } else { None };
    drop(database);
    std::fs::remove_dir_all(state)?;
    Ok(Measured { digest, ..measured })
}

fn ceiling(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let log = log::open(&scratch.join("log"), Durability::Fsync)?;
    let mut rows: FxHashMap<u64, Summary> = FxHashMap::default();
    let clock = Clock::start();
    log::read(&*log, &[TOPIC], args.common.partitions, |_, record| {
        let (key, value): (u64, u64) = log::decode(&record)?;
        rows.entry(key).or_default().fold(value);
        Ok(true)
    })?;
    let measured = clock.stop(args.records());
    Ok(measured.with_digest(digest(args, |key| Ok(rows.get(&key).copied()))?))
}

fn digest(args: &Args, get: impl Fn(u64) -> Outcome<Option<Summary>>) -> Outcome<u64> {
    let mut digest = Digest::default();
    for rank in 0..COMPARED_KEYS.min(args.keys()) {
        let Summary { count, sum, last } = get(key(rank))?.unwrap_or_default();
        digest.add([count, sum, last]);
    }
    Ok(digest.value())
}
