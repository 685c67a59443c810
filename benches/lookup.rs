//! Looking keys up: `View::get`, beside a get in `RocksDB` by hand and decoding the same row.
//!
//! A table of `keys` rows is loaded and closed. Then updates of one half of its keys are appended, most of them of a
//! few *hot* keys, and the engine is opened again. *Hot* reads ask for those: they are in memory from the first epoch
//! on. *Cold* reads ask for keys of the other half, which no fold brings into memory: the store answers them. Both
//! are measured while the engine folds the updates at full speed, and again when it is idle. The database by hand has
//! the same rows, written in batches over the same history, and the same cache; its reads take turns with ours, so that
//! both meet the same machine. Caches are warm in either phase: it is the fold that is to show, not the first touch of a
//! block.
//!
//! *scarce*: the engine once more, with a block cache of a quarter of its state, against the cold reads with a cache
//! that holds all of it. Blocks that are not in the cache come from the page cache of the system.
//!
//! Times are without the time that looking at the clock takes.

use clap::Parser;
use millpond::changelog::{Changelog, Durability};
use millpond::codec::{Bincode, ValueCodec};
use millpond::store::{RocksOptions, RocksStore, StateStore};
use millpond::{Engine, Graph, GraphBuilder, Memory, Position, StoredTable, Topic, TopicPartition, View};
use millpond_support::bench::keys::key;
use millpond_support::bench::latency::{Latencies, Summary};
use millpond_support::bench::report::{Targets, duration, rounded};
use millpond_support::bench::{Outcome, args, log, phase, raw, report};
use millpond_support::random::Random;
use rocksdb::DB;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const TOPIC: &str = "payments";

/// Reads of one kind, one after the other, before it is the turn of the next kind.
const TURN_READS: u64 = 500;

/// By hand, so many records are folded before the rows that they changed are written.
const BATCH_RECORDS: u64 = 1_000_000;

/// Point look-ups, in memory and in the store, idle and while folding: millpond against `RocksDB` by hand.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
    /// How many reads of each kind are measured when the engine is idle.
    #[arg(long)]
    reads: Option<u64>,
}

impl Args {
    /// How many updates are folded while reads are measured.
    fn updates(&self) -> u64 {
        self.common.records(10_000_000, 50_000)
    }

    fn keys(&self) -> u64 {
        self.common.keys(2_000_000, 5_000).max(100)
    }

    fn hot_keys(&self) -> u64 {
        (self.keys() / 100).min(10_000)
    }

    fn reads(&self) -> u64 {
        self.reads.unwrap_or(if self.common.quick { 1_000 } else { 300_000 })
    }
}

/// What is kept of each key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Payments {
    count: u64,
    sum: u64,
    last: u64,
}

impl Payments {
    fn fold(&mut self, value: u64) {
        *self = Self { count: self.count + 1, sum: self.sum.wrapping_add(value), last: value };
    }
}

fn graph(args: &Args) -> Outcome<(Graph, StoredTable<u64, Payments>)> {
    let graph = GraphBuilder::new();
    let topic = Topic::<u64, u64>::new(TOPIC).partitions(args.common.partitions);
    let fold = |row: &mut Payments, _: &u64, value: u64| row.fold(value);
    let table = graph.stream(&topic).group_by_key().fold("payments", Payments::default, fold);
    Ok((graph.build()?, table))
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    args.common.only_uniform()?;
    args.common.only_one_round()?;
    let scratch = phase::scratch(&args.common)?;
    let log = log::open(&scratch.path().join("log"), Durability::Os)?;
    load(&args, &log, scratch.path())?;
    append_updates(&args, &*log)?;
    let database = by_hand_database(&args, &*log, scratch.path())?;
    let (folding, idle) = measure(&args, &log, scratch.path(), &database)?;
    let scarce = measure_scarce(&args, &log, scratch.path())?;
    print(&args, &folding, &idle, &scarce);
    Ok(())
}

/// Loads the table.
fn load(args: &Args, log: &Arc<impl Changelog>, scratch: &Path) -> Outcome<()> {
    eprintln!("loading {} rows", args.keys());
    let mut random = Random::new(args.common.seed);
    let records = (0..args.keys()).map(|rank| (0, key(rank), random.below(1_000_000)));
    log::write(&**log, &[TOPIC], args.common.partitions, records)?;
    let (graph, _) = graph(args)?;
    let engine = open(args, &graph, log, scratch, Memory::budget(args.common.memory))?;
    engine.wait_for_blocking(&log::end(&**log, &[TOPIC], args.common.partitions)?)?;
    Ok(engine.close_blocking()?)
}

/// The database by hand: the log folded in memory, and the rows that changed written once for each `BATCH_RECORDS`.
fn by_hand_database(args: &Args, log: &dyn Changelog, scratch: &Path) -> Outcome<DB> {
    eprintln!("folding the same by hand");
    let database = raw::open(&scratch.join("raw"), Memory::budget(args.common.memory).block_cache_bytes)?;
    let mut rows: FxHashMap<u64, Payments> = FxHashMap::default();
    let mut changed: BTreeSet<u64> = BTreeSet::new();
    let mut row = Vec::new();
    let mut write = |changed: &mut BTreeSet<u64>, rows: &FxHashMap<u64, Payments>| {
        for key in std::mem::take(changed) {
            row.clear();
            Bincode.encode(rows.get(&key).ok_or("a row is missing")?, &mut row)?;
            database.put_opt(key.to_be_bytes(), &row, &raw::without_log())?;
        }
        Outcome::Ok(())
    };
    log::read(log, &[TOPIC], args.common.partitions, |_, record| {
        let (key, value) = log::decode(&record)?;
        rows.entry(key).or_default().fold(value);
        changed.insert(key);
        if (record.offset + 1) % BATCH_RECORDS == 0 {
            write(&mut changed, &rows)?;
        }
        Ok(true)
    })?;
    write(&mut changed, &rows)?;
    database.flush()?;
    Ok(database)
}

fn append_updates(args: &Args, log: &dyn Changelog) -> Outcome<()> {
    eprintln!("appending {} updates", args.updates());
    let mut random = Random::new(args.common.seed + 1);
    let records = (0..args.updates()).map(|number| {
        let ranks = if number % 2 == 0 { args.hot_keys() } else { args.keys() / 2 };
        (0, key(random.below(ranks)), random.below(1_000_000))
    });
    log::write(log, &[TOPIC], args.common.partitions, records)
}

fn open(
    args: &Args,
    graph: &Graph,
    log: &Arc<impl Changelog>,
    scratch: &Path,
    memory: Memory,
) -> Outcome<Engine> {
    let log: Arc<dyn Changelog> = Arc::clone(log) as _;
    let engine = args.common.engine(graph).memory_split(memory).state_dir(scratch.join("state"));
    Ok(engine.changelog(log).start()?)
}

/// Reads of each kind.
struct Kinds {
    random: Random,
    hot: Latencies,
    cold: Latencies,
    raw_hot: Latencies,
    raw_cold: Latencies,
}

/// What is reported of each kind.
#[derive(Serialize)]
struct Measured {
    hot: Summary,
    cold: Summary,
    raw_hot: Summary,
    raw_cold: Summary,
}

impl Kinds {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            hot: Latencies::new(),
            cold: Latencies::new(),
            raw_hot: Latencies::new(),
            raw_cold: Latencies::new(),
        }
    }

    /// One turn of each kind.
    fn turn(&mut self, args: &Args, view: &View<u64, Payments>, database: &DB) -> Outcome<()> {
        let random = &mut self.random;
        let mut hot = || key(random.below(args.hot_keys()));
        read(&mut self.hot, &mut hot, |key| Ok(view.get(&key)?))?;
        read(&mut self.raw_hot, &mut hot, |key| by_hand(database, key))?;
        let mut cold = || cold_key(args, random);
        read(&mut self.cold, &mut cold, |key| Ok(view.get(&key)?))?;
        read(&mut self.raw_cold, &mut cold, |key| by_hand(database, key))
    }

    fn summary(&self) -> Measured {
        Measured {
            hot: self.hot.summary(),
            cold: self.cold.summary(),
            raw_hot: self.raw_hot.summary(),
            raw_cold: self.raw_cold.summary(),
        }
    }
}

/// A key that no update touches.
fn cold_key(args: &Args, random: &mut Random) -> u64 {
    let untouched = args.keys() / 2;
    key(untouched + random.below(args.keys() - untouched))
}

fn read(
    latencies: &mut Latencies,
    key: &mut impl FnMut() -> u64,
    mut get: impl FnMut(u64) -> Outcome<Option<Payments>>,
) -> Outcome<()> {
    for _ in 0..TURN_READS {
        let key = key();
        if latencies.time(|| get(key))?.is_none() {
            return Err(format!("the row of key {key} is missing").into());
        }
    }
    Ok(())
}

fn by_hand(database: &DB, key: u64) -> Outcome<Option<Payments>> {
    match database.get_pinned(key.to_be_bytes())? {
        Some(row) => Ok(Some(Bincode.decode(&row)?)),
        None => Ok(None),
    }
}

/// The position after the first record that is not one of the rows loaded.
fn first_update(args: &Args) -> Position {
    [(TopicPartition::new(TOPIC, 0), args.keys() / u64::from(args.common.partitions) + 1)]
        .into_iter()
        .collect()
}

/// The state with every row read once, by an engine that is not moved.
fn warm_store(
    args: &Args,
    log: &Arc<impl Changelog>,
    scratch: &Path,
    graph: &Graph,
    table: &StoredTable<u64, Payments>,
) -> Outcome<Arc<dyn StateStore>> {
    eprintln!("warming the caches");
    let block_cache_bytes = Memory::budget(args.common.memory).block_cache_bytes;
    let mut options = RocksOptions::default();
    options.block_cache_bytes = block_cache_bytes;
    let store: Arc<dyn StateStore> = Arc::new(RocksStore::open(&scratch.join("state"), &options)?);
    let changelog: Arc<dyn Changelog> = Arc::clone(log) as _;
    let stepper = args.common.engine(graph).store(Arc::clone(&store)).changelog(changelog).stepper()?;
    let view = stepper.view(table)?;
    for rank in 0..args.keys() {
        view.get(&key(rank))?;
    }
    Ok(store)
}

/// Reads while the updates are folded, and when all of them are.
fn measure(
    args: &Args,
    log: &Arc<impl Changelog>,
    scratch: &Path,
    database: &DB,
) -> Outcome<(Measured, Measured)> {
    let (graph, table) = graph(args)?;
    let end = log::end(&**log, &[TOPIC], args.common.partitions)?;
    let store = warm_store(args, log, scratch, &graph, &table)?;
    for rank in 0..args.keys() {
        by_hand(database, key(rank))?;
    }
    let changelog: Arc<dyn Changelog> = Arc::clone(log) as _;
    // What is read beside the fold is read before it has caught up.
    let builder = args.common.engine(&graph).store(store).changelog(changelog);
    let engine = builder.stale_reads(true).start()?;
    let view = engine.view(&table)?;
    eprintln!("reading while folding");
    let mut folding = Kinds::new(args.common.seed + 2);
    // What is hot is hot after the first epoch.
    engine.wait_for_blocking(&first_update(args))?;
    loop {
        folding.turn(args, &view, database)?;
        if engine.position().includes(&end) {
            break;
        }
    }
    engine.drain_blocking()?;
    // An idle engine compacts what it has drained; how long that takes is not what is measured here.
    eprintln!("waiting until the store has settled");
    while engine.stats().store.level_zero_files > 0 {
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    eprintln!("reading idle");
    // The first reads bring both into their caches.
    let mut warming = Kinds::new(args.common.seed + 3);
    while warming.cold.count() < args.keys() / 2 {
        warming.turn(args, &view, database)?;
    }
    let mut idle = Kinds::new(args.common.seed + 4);
    while idle.cold.count() < args.reads() {
        idle.turn(args, &view, database)?;
    }
    for rank in 0..args.keys().min(1_000) {
        if view.get(&key(rank))? != by_hand(database, key(rank))? {
            return Err("the engine and the database by hand came to different rows".into());
        }
    }
    engine.close_blocking()?;
    Ok((folding.summary(), idle.summary()))
}

/// What reads take with much and with little block cache.
#[derive(Serialize)]
struct Caches {
    state_bytes: u64,
    ample: Summary,
    scarce: Summary,
}

fn measure_scarce(args: &Args, log: &Arc<impl Changelog>, scratch: &Path) -> Outcome<Caches> {
    eprintln!("reading with a small block cache");
    let state_bytes = phase::directory_bytes(&scratch.join("state"))?;
    let memory = Memory::budget(args.common.memory);
    let with_cache = |block_cache_bytes| {
        let (graph, table) = graph(args)?;
        let engine = open(args, &graph, log, scratch, memory.block_cache_bytes(block_cache_bytes))?;
        let view = engine.view(&table)?;
        let mut random = Random::new(args.common.seed + 5);
        // Nothing is folded here, so that every key is cold.
        let mut any = || key(random.below(args.keys()));
        let mut warming = Latencies::new();
        while warming.count() < args.keys() {
            read(&mut warming, &mut any, |key| Ok(view.get(&key)?))?;
        }
        let mut latencies = Latencies::new();
        while latencies.count() < args.reads() {
            read(&mut latencies, &mut any, |key| Ok(view.get(&key)?))?;
        }
        engine.close_blocking()?;
        Outcome::Ok(latencies.summary())
    };
    let state = usize::try_from(state_bytes)?;
    Ok(Caches { state_bytes, ample: with_cache(state * 4)?, scarce: with_cache(state / 4)? })
}

#[expect(clippy::cast_precision_loss, reason = "ratios")]
fn print(args: &Args, folding: &Measured, idle: &Measured, caches: &Caches) {
    println!("lookup: {} keys, {} updates\n", args.keys(), args.updates());
    let mut table = report::Table::new(["reads", "count", "median", "p99", "p99.9", "max"]);
    let mut row = |name: &str, summary: &Summary| {
        let Summary { count, median_ns, p99_ns, p999_ns, max_ns } = *summary;
        let [median, p99, p999, max] = [median_ns, p99_ns, p999_ns, max_ns].map(duration);
        table.row([name.to_owned(), count.to_string(), median, p99, p999, max]);
    };
    for (when, measured) in [("idle", idle), ("folding", folding)] {
        row(&format!("hot, {when}"), &measured.hot);
        row(&format!("by hand, hot keys, {when}"), &measured.raw_hot);
        row(&format!("cold, {when}"), &measured.cold);
        row(&format!("by hand, cold keys, {when}"), &measured.raw_cold);
    }
    row("cold, cache 4x the state", &caches.ample);
    row("cold, cache 1/4 of the state", &caches.scarce);
    table.print();
    let ratio = |one: u64, other: u64| one as f64 / other.max(1) as f64;
    let hot_vs_raw = ratio(idle.raw_hot.median_ns, idle.hot.median_ns);
    let cold_vs_raw = ratio(idle.cold.median_ns, idle.raw_cold.median_ns);
    let hot_p99 = ratio(folding.hot.p99_ns, idle.hot.p99_ns);
    let cold_p99 = ratio(folding.cold.p99_ns, idle.cold.p99_ns);
    let slowest_ms = folding.hot.max_ns.max(folding.cold.max_ns) as f64 / 1e6;
    let cliff = ratio(caches.scarce.median_ns, caches.ample.median_ns);
    let targets = Targets::default()
        .at_least("hot_speedup", hot_vs_raw, 3.0)
        .at_most("cold_vs_raw", cold_vs_raw, 1.3)
        .at_most("hot_p99_folding_vs_idle", hot_p99, 10.0)
        .at_most("cold_p99_folding_vs_idle", cold_p99, 10.0)
        .at_most("slowest_folding_ms", slowest_ms, 50.0)
        .at_most("scarce_vs_ample", cliff, 4.0);
    targets.finish(json!({
        "bench": "lookup",
        "keys": args.keys(),
        "updates": args.updates(),
        "memory_bytes": args.common.memory,
        "idle": idle,
        "folding": folding,
        "cache": caches,
        "hot_speedup": rounded(hot_vs_raw),
        "cold_vs_raw": rounded(cold_vs_raw),
        "hot_p99_folding_vs_idle": rounded(hot_p99),
        "cold_p99_folding_vs_idle": rounded(cold_p99),
        "slowest_folding_ms": rounded(slowest_ms),
        "scarce_vs_ample": rounded(cliff),
    }));
}
