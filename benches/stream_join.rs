//! Joining two streams within a time: orders and payments of one key at most ten seconds apart, their pairs counted and added up by
//! key, until that is durable; beside the same by hand over `HashMap`s, from the embedded changelog.
//!
//! However many records there are, half of them in each stream, they happen within a hundred seconds: 10 M are 100 k in a second. One in
//! ten up to a tenth of a second before those around it. With ten times fewer keys than records each meets one of the other stream.
//! *join*: `join_within` and a fold. It fails if more rows wait at its end than there are records in three times the bound and the grace.
//! *hand*: the same reader, a `HashMap` of queues for each stream, from which records are taken once they are closed, and one of
//! sums; nothing is durable and nothing can be asked meanwhile.

use clap::Parser;
use millpond::changelog::Durability;
use millpond::stream::Within;
use millpond::{GraphBuilder, Topic};
use millpond_support::bench::keys::{Keys, key};
use millpond_support::bench::measured::{self, Clock, Digest, Measured, Rounds, ratio};
use millpond_support::bench::report::{Targets, rounded};
use millpond_support::bench::{Outcome, args, log, phase};
use rustc_hash::FxHashMap;
use serde_json::json;
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

/// The streams that are joined.
const TOPICS: [&str; 2] = ["orders", "payments"];

/// From the first record to the last.
const SPAN_MS: u64 = 100_000;

/// How far apart the records of a pair may be.
const BOUND_MS: u32 = 10_000;

/// How late a record may be.
const GRACE_MS: u32 = 1_000;

/// How late a record is at the most.
const LATE_MS: u64 = 100;

/// What is known of the pairs of a key: how many, and their values added up.
type Pairs = (u64, u64);

/// Pairs of two streams: millpond against `HashMap`s.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
}

impl Args {
    fn records(&self) -> u64 {
        self.common.records(10_000_000, 50_000)
    }

    fn keys(&self) -> u64 {
        self.common.keys(1_000_000, 5_000)
    }

    /// The records of both streams that may be kept at any moment. A row has those of a key in a time as long as both bounds together,
    /// and goes when the last of them is closed.
    fn waiting(&self) -> u64 {
        self.records() * (u64::from(3 * BOUND_MS + GRACE_MS) + 2 * LATE_MS) / SPAN_MS
    }
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    match args.common.phase.as_deref() {
        None => compare(&args),
        Some("log") => write(&args, phase::given(&args.common)?),
        Some("join") => phase::report(&join(&args, phase::given(&args.common)?)?),
        Some("hand") => phase::report(&hand(&args, phase::given(&args.common)?)?),
        Some(other) => Err(format!("there is no phase `{other}`").into()),
    }
}

fn compare(args: &Args) -> Outcome<()> {
    let scratch = phase::scratch(&args.common)?;
    eprintln!("writing the log");
    phase::run::<()>("log", scratch.path())?;
    let all = Rounds::measure(&args.common, &["join", "hand"], scratch.path())?;
    println!(
        "stream_join: {} records over {} keys, {:?}, {BOUND_MS} ms either way, {} records a second\n",
        args.records(),
        args.keys(),
        args.common.distribution,
        args.records() * 1_000 / SPAN_MS
    );
    Rounds::print(&all);
    let (join, hand) = (Rounds::of(&all, "join"), Rounds::of(&all, "hand"));
    let by_cpu = hand.zip(join).map_or(0.0, |(hand, join)| join.per_cpu_second() / hand.per_cpu_second());
    let targets = Targets::default().at_least("join_vs_hand", ratio(join, hand), 0.35);
    targets.finish(json!({
        "bench": "stream_join",
        "records": args.records(),
        "keys": args.keys(),
        "distribution": args.common.distribution,
        "join_rps": join.map_or(0.0, Rounds::rps).round(),
        "hand_rps": hand.map_or(0.0, Rounds::rps).round(),
        "join_vs_hand": rounded(ratio(join, hand)),
        "join_vs_hand_by_cpu": rounded(by_cpu),
    }));
    Ok(())
}

fn write(args: &Args, scratch: &Path) -> Outcome<()> {
    let log = log::open(&scratch.join("log"), Durability::Os)?;
    let mut keys = Keys::new(args.common.distribution, args.keys(), args.common.seed);
    let records = (0..args.records()).map(|number| {
        let key = keys.draw();
        let late = if keys.random().below(10) == 0 { keys.random().below(LATE_MS) } else { 0 };
        let at_ms = (number * SPAN_MS / args.records()).cast_signed() - late.cast_signed();
        (at_ms, (keys.random().index(TOPICS.len()), key, number))
    });
    log::write_dated(&*log, &TOPICS, args.common.partitions, records)?;
    drop(log);
    phase::report(&())
}

fn join(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let graph = GraphBuilder::new();
    let [orders, payments] = TOPICS.map(|name| {
        let topic = Topic::<u64, u64>::new(name).partitions(args.common.partitions);
        graph.stream(&topic)
    });
    let within =
        Within::of(Duration::from_millis(BOUND_MS.into())).grace(Duration::from_millis(GRACE_MS.into()));
    let pairs = orders
        .join_within(&payments, within, "waiting", |_, order, payment| sum(*order, *payment))
        .group_by_key()
        .fold("pairs", Pairs::default, |pairs, _, sum| add(pairs, sum));
    let state = scratch.join("join");
    let (engine, measured) = measured::engine(&args.common, &graph.build()?, &TOPICS, (scratch, &state))?;
    let tables = engine.stats().tables;
    let waiting: u64 = tables.iter().filter(|(name, _)| *name != "pairs").map(|(_, table)| table.rows).sum();
    eprintln!("  {waiting} rows wait, and at most {} may", args.waiting());
    if waiting > args.waiting() {
        return Err("more is kept than the bounds ask for".into());
    }
    let view = engine.view(&pairs)?;
    let digest = digest(args, |key| Ok(view.get(&key)?))?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

fn hand(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let log = log::open(&scratch.join("log"), Durability::Fsync)?;
    let mut sides = [Side::default(), Side::default()];
    let mut latest = TOPICS.map(|_| vec![i64::MIN; args.common.partitions as usize]);
    let mut pairs: FxHashMap<u64, Pairs> = FxHashMap::default();
    let clock = Clock::start();
    log::read(&*log, &TOPICS, args.common.partitions, |topic, record| {
        let (key, value): (u64, u64) = log::decode(&record)?;
        let at_ms = record.timestamp_ms;
        let bytes = record.key.unwrap_or_default();
        let partition = millpond::changelog::partition_for_key(bytes, args.common.partitions);
        let reached = latest.get_mut(topic).and_then(|topic| topic.get_mut(partition as usize));
        let reached = reached.ok_or("a partition that is not there")?;
        *reached = at_ms.max(*reached);
        let [left, right] = &mut sides;
        let (own, other) = if topic == 0 { (left, right) } else { (right, left) };
        for (other_ms, met) in other.waiting.get(&key).into_iter().flatten() {
            if at_ms.abs_diff(*other_ms) <= u64::from(BOUND_MS) {
                add(pairs.entry(key).or_default(), sum(value, *met));
            }
        }
        own.wait(key, at_ms, value);
        let watermark_ms = latest.iter().flatten().copied().min().unwrap_or(i64::MIN);
        own.close(watermark_ms);
        other.close(watermark_ms);
        Ok(true)
    })?;
    let measured = clock.stop(args.records());
    Ok(measured.with_digest(digest(args, |key| Ok(pairs.get(&key).copied()))?))
}

/// The records of a stream that may still meet others.
#[derive(Default)]
struct Side {
    waiting: FxHashMap<u64, VecDeque<(i64, u64)>>,
    /// In the order in which they came, which is nearly that in which they close.
    closing: VecDeque<(i64, u64)>,
}

impl Side {
    fn wait(&mut self, key: u64, at_ms: i64, value: u64) {
        self.waiting.entry(key).or_default().push_back((at_ms, value));
        self.closing.push_back((at_ms, key));
    }

    /// Lets go of what no record to come can meet. That one may go instead of another that closes a little earlier is made up for by
    /// the grace, which is longer than any record is late.
    fn close(&mut self, watermark_ms: i64) {
        let closed = watermark_ms.saturating_sub(i64::from(BOUND_MS + GRACE_MS));
        while let Some((_, key)) = self.closing.front().copied().filter(|(at_ms, _)| *at_ms <= closed) {
            self.closing.pop_front();
            if let Some(records) = self.waiting.get_mut(&key) {
                records.pop_front();
                if records.is_empty() {
                    self.waiting.remove(&key);
                }
            }
        }
    }
}

/// What a pair comes to, whichever of the two is which.
fn sum(one: u64, other: u64) -> u64 {
    one.wrapping_add(other)
}

fn add(pairs: &mut Pairs, sum: u64) {
    *pairs = (pairs.0 + 1, pairs.1.wrapping_add(sum));
}

fn digest(args: &Args, get: impl Fn(u64) -> Outcome<Option<Pairs>>) -> Outcome<u64> {
    let mut digest = Digest::default();
    for rank in 0..args.keys() {
        let (pairs, sum) = get(key(rank))?.unwrap_or_default();
        digest.add([pairs, sum]);
    }
    Ok(digest.value())
}
