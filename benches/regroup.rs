//! Grouping twice: payments summed by account, and the accounts counted and summed by their class, which changes with
//! their balance; against the same by hand over `HashMap`s, from the embedded changelog.
//!
//! *engine*: a stream folded into a table, grouped again and folded into another table, until both are durable.
//! *hand*: the same reader and two `HashMap`s; nothing is durable and nothing can be asked meanwhile.

use clap::Parser;
use millpond::changelog::Durability;
use millpond::{GraphBuilder, Topic};
use millpond_support::bench::keys::Keys;
use millpond_support::bench::measured::{self, Clock, Digest, Measured, Rounds, ratio};
use millpond_support::bench::report::{Targets, rounded};
use millpond_support::bench::{Outcome, args, log, phase};
use rustc_hash::FxHashMap;
use serde_json::json;
use std::path::Path;

const TOPIC: &str = "payments";

/// How many classes of accounts there are.
const CLASSES: u64 = 1_000;

/// Accounts, counted and summed by class: millpond against two `HashMap`s.
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

/// The class of an account by its balance: about every payment moves it to another one.
fn class(balance: u64) -> u64 {
    balance / 1_000 % CLASSES
}

/// How many accounts, and their balances added up.
type Total = (u64, u64);

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
    println!(
        "regroup: {} records over {} keys and {CLASSES} classes, {:?}\n",
        args.records(),
        args.keys(),
        args.common.distribution
    );
    Rounds::print(&all);
    let (engine, hand) = (Rounds::of(&all, "engine"), Rounds::of(&all, "hand"));
    Targets::default().finish(json!({
        "bench": "regroup",
        "records": args.records(),
        "keys": args.keys(),
        "classes": CLASSES,
        "distribution": args.common.distribution,
        "engine_rps": engine.map_or(0.0, Rounds::rps).round(),
        "hand_rps": hand.map_or(0.0, Rounds::rps).round(),
        "engine_vs_hand": rounded(ratio(engine, hand)),
    }));
    Ok(())
}

fn write(args: &Args, scratch: &Path) -> Outcome<()> {
    let log = log::open(&scratch.join("log"), Durability::Os)?;
    let mut keys = Keys::new(args.common.distribution, args.keys(), args.common.seed);
    let records = (0..args.records()).map(|_| {
        let key = keys.draw();
        (0, key, keys.random().below(10_000))
    });
    log::write(&*log, &[TOPIC], args.common.partitions, records)?;
    drop(log);
    phase::report(&())
}

fn engine(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let graph = GraphBuilder::new();
    let topic = Topic::<u64, u64>::new(TOPIC).partitions(args.common.partitions);
    let balances =
        graph.stream(&topic).group_by_key().fold("balances", || 0, |balance, _, paid| *balance += paid);
    let totals = balances.group_by(|_, balance: &u64| (class(*balance), *balance)).fold(
        "totals",
        || 0,
        |sum: &mut u64, _, balance| *sum += balance,
        |sum: &mut u64, _, balance| *sum -= balance,
    );
    let state = scratch.join("engine");
    let (engine, measured) = measured::engine(&args.common, &graph.build()?, &[TOPIC], (scratch, &state))?;
    let view = engine.view(&totals)?;
    let digest = digest(|class| Ok(view.get(&class)?))?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

fn hand(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let log = log::open(&scratch.join("log"), Durability::Fsync)?;
    let mut balances: FxHashMap<u64, u64> = FxHashMap::default();
    let mut totals: FxHashMap<u64, Total> = FxHashMap::default();
    let clock = Clock::start();
    log::read(&*log, &[TOPIC], args.common.partitions, |_, record| {
        let (key, paid): (u64, u64) = log::decode(&record)?;
        let before = balances.get(&key).copied();
        if let Some(before) = before {
            let (members, sum) = totals.entry(class(before)).or_default();
            (*members, *sum) = (*members - 1, *sum - before);
        }
        let balance = before.unwrap_or_default() + paid;
        balances.insert(key, balance);
        let (members, sum) = totals.entry(class(balance)).or_default();
        (*members, *sum) = (*members + 1, *sum + balance);
        Ok(true)
    })?;
    let measured = clock.stop(args.records());
    Ok(measured.with_digest(digest(|class| Ok(totals.get(&class).map(|(_, sum)| *sum)))?))
}

fn digest(get: impl Fn(u64) -> Outcome<Option<u64>>) -> Outcome<u64> {
    let mut digest = Digest::default();
    for class in 0..CLASSES {
        digest.add([get(class)?.unwrap_or_default()]);
    }
    Ok(digest.value())
}
