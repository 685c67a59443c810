//! Joining two tables by primary key, against the same join by hand over `HashMap`s, from the embedded changelog.
//!
//! *engine*: two topics as tables, joined and the join materialized, until all three tables are durable. *hand*: the
//! same reader and three `HashMap`s; nothing is durable and nothing can be asked meanwhile.

use clap::Parser;
use millpond::changelog::Durability;
use millpond::{GraphBuilder, Topic};
use millpond_support::bench::keys::{Keys, key};
use millpond_support::bench::measured::{self, Clock, Digest, Measured, Rounds, ratio};
use millpond_support::bench::report::{Targets, rounded};
use millpond_support::bench::{Outcome, args, log, phase};
use rustc_hash::FxHashMap;
use serde_json::json;
use std::path::Path;

const TOPICS: [&str; 2] = ["orders", "payments"];

/// Of so many keys the results of both ways are compared.
const COMPARED_KEYS: u64 = 1_000;

/// A table-table join: millpond against three `HashMap`s.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
}

impl Args {
    fn records(&self) -> u64 {
        self.common.records(4_000_000, 20_000)
    }

    fn keys(&self) -> u64 {
        self.common.keys(500_000, 2_000)
    }
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    match args.common.phase.as_deref() {
        None => compare(&args),
        Some("log") => write(&args, phase::given(&args.common)?),
        Some("engine") => phase::report(&engine(&args, phase::given(&args.common)?)?),
        Some("hand") => phase::report(&hand(&args, phase::given(&args.common)?)?),
        Some(other) => Err(format!("there is no phase `{other}`").into()),
    }
}

fn compare(args: &Args) -> Outcome<()> {
    let scratch = phase::scratch(&args.common)?;
    eprintln!("writing the log");
    phase::run::<()>("log", scratch.path())?;
    let all = Rounds::measure(&args.common, &["engine", "hand"], scratch.path())?;
    println!("join: {} records over {} keys, {:?}\n", args.records(), args.keys(), args.common.distribution);
    Rounds::print(&all);
    let (engine, hand) = (Rounds::of(&all, "engine"), Rounds::of(&all, "hand"));
    Targets::default().finish(json!({
        "bench": "join",
        "records": args.records(),
        "keys": args.keys(),
        "distribution": args.common.distribution,
        "engine_rps": engine.map_or(0.0, Rounds::rps).round(),
        "hand_rps": hand.map_or(0.0, Rounds::rps).round(),
        "engine_vs_hand": rounded(ratio(engine, hand)),
    }));
    Ok(())
}

/// Half of the records are orders, half are payments.
fn write(args: &Args, scratch: &Path) -> Outcome<()> {
    let log = log::open(&scratch.join("log"), Durability::Os)?;
    let mut keys = Keys::new(args.common.distribution, args.keys(), args.common.seed);
    let records = (0..args.records()).map(|number| {
        let key = keys.draw();
        (usize::from(number % 2 == 1), key, keys.random().below(1_000_000))
    });
    log::write(&*log, &TOPICS, args.common.partitions, records)?;
    drop(log);
    phase::report(&())
}

fn engine(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let graph = GraphBuilder::new();
    let [orders, payments] = TOPICS
        .map(|topic| graph.table(&Topic::<u64, u64>::new(topic).partitions(args.common.partitions), topic));
    let open = orders.join(&payments, |_, ordered, paid| (*ordered, *paid)).materialize("open");
    let state = scratch.join("engine");
    let (engine, measured) = measured::engine(&args.common, &graph.build()?, &TOPICS, (scratch, &state))?;
    let view = engine.view(&open)?;
    let digest = digest(args, |key| Ok(view.get(&key)?))?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

fn hand(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let log = log::open(&scratch.join("log"), Durability::Fsync)?;
    let mut orders: FxHashMap<u64, u64> = FxHashMap::default();
    let mut payments: FxHashMap<u64, u64> = FxHashMap::default();
    let mut open: FxHashMap<u64, (u64, u64)> = FxHashMap::default();
    let clock = Clock::start();
    log::read(&*log, &TOPICS, args.common.partitions, |topic, record| {
        let (key, value): (u64, u64) = log::decode(&record)?;
        let (row, other) = if topic == 0 { (&mut orders, &payments) } else { (&mut payments, &orders) };
        row.insert(key, value);
        if let Some(&other) = other.get(&key) {
            open.insert(key, if topic == 0 { (value, other) } else { (other, value) });
        }
        Ok(true)
    })?;
    let measured = clock.stop(args.records());
    Ok(measured.with_digest(digest(args, |key| Ok(open.get(&key).copied()))?))
}

fn digest(args: &Args, get: impl Fn(u64) -> Outcome<Option<(u64, u64)>>) -> Outcome<u64> {
    let mut digest = Digest::default();
    for rank in 0..COMPARED_KEYS.min(args.keys()) {
        let (ordered, paid) = get(key(rank))?.unwrap_or_default();
        digest.add([ordered, paid]);
    }
    Ok(digest.value())
}
