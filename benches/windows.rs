//! Counting by windows: clicks counted by page in tumbling windows, with their final counts counted by page again, until both are
//! durable; beside a count without windows in the same engine, and a `HashMap` by hand that does the same as the windows.
//!
//! One record happens in each millisecond, and one in ten up to a second before those around it. *fold*: `count`. *tumbling*:
//! `windowed(..).count`, and what `on_close` tells. *hand*: the same reader and a `HashMap` of windows and pages; nothing is durable
//! and nothing can be asked meanwhile.
//!
//! With `--overlap 60`, hopping windows instead: *`hopping_1`* has a window for each hop, and *hopping* windows of 60 hops, one
//! beginning with each. Both count the same records and tell what is in the windows that close. So that most windows have most keys, and the
//! two tell about as much, there should be no more keys than records in a hop.

use clap::Parser;
use millpond::changelog::Durability;
use millpond::stream::{Hopping, Tumbling};
use millpond::{GraphBuilder, Topic};
use millpond_support::bench::keys::{Keys, key};
use millpond_support::bench::measured::{self, Clock, Digest, Measured, Rounds, ratio};
use millpond_support::bench::report::{Targets, rounded};
use millpond_support::bench::{Outcome, args, log, phase};
use rustc_hash::FxHashMap;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const TOPIC: &str = "clicks";

/// How late a record may be.
const GRACE_MS: i64 = 1_000;

/// Clicks counted by page and window: millpond against the same without windows, and against a `HashMap`.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
    /// How long a window is: so many milliseconds, and so many records. A tenth of all unless set.
    #[arg(long)]
    window_ms: Option<u64>,
    /// Measures hopping windows instead, of so many hops.
    #[arg(long)]
    overlap: Option<u64>,
    /// How long a hop is: so many milliseconds, and so many records. A 500th of all unless set.
    #[arg(long)]
    hop_ms: Option<u64>,
}

impl Args {
    fn records(&self) -> u64 {
        self.common.records(10_000_000, 50_000)
    }

    fn keys(&self) -> u64 {
        self.common.keys(1_000_000, 2_000)
    }

    fn window_ms(&self) -> u64 {
        self.window_ms.unwrap_or_else(|| (self.records() / 10).max(1))
    }

    fn hop_ms(&self) -> u64 {
        self.hop_ms.unwrap_or_else(|| (self.records() / 500).max(1))
    }

    fn topic(&self) -> Topic<u64, u64> {
        Topic::new(TOPIC).partitions(self.common.partitions)
    }
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    match args.common.phase.as_deref() {
        None => compare(&args),
        Some("log") => write(&args, phase::given(&args.common)?),
        Some("fold") => phase::report(&fold(&args, phase::given(&args.common)?)?),
        Some("tumbling") => phase::report(&tumbling(&args, phase::given(&args.common)?)?),
        Some("hopping_1") => phase::report(&hopping(&args, phase::given(&args.common)?, 1)?),
        Some("hopping") => {
            phase::report(&hopping(&args, phase::given(&args.common)?, args.overlap.unwrap_or(60))?)
        }
        Some("hand") => phase::report(&hand(&args, phase::given(&args.common)?)?),
        Some(other) => Err(format!("there is no phase `{other}`").into()),
    }
}

fn compare(args: &Args) -> Outcome<()> {
    let scratch = phase::scratch(&args.common)?;
    eprintln!("writing the log");
    phase::run::<()>("log", scratch.path())?;
    if let Some(overlap) = args.overlap {
        return compare_hopping(args, scratch.path(), overlap);
    }
    let all = Rounds::measure(&args.common, &["fold", "tumbling", "hand"], scratch.path())?;
    println!(
        "windows: {} records over {} keys, {:?}, windows of {} records\n",
        args.records(),
        args.keys(),
        args.common.distribution,
        args.window_ms()
    );
    Rounds::print(&all);
    let [fold, tumbling, hand] = ["fold", "tumbling", "hand"].map(|way| Rounds::of(&all, way));
    Targets::default().finish(json!({
        "bench": "windows",
        "records": args.records(),
        "keys": args.keys(),
        "window_records": args.window_ms(),
        "distribution": args.common.distribution,
        "fold_rps": fold.map_or(0.0, Rounds::rps).round(),
        "tumbling_rps": tumbling.map_or(0.0, Rounds::rps).round(),
        "hand_rps": hand.map_or(0.0, Rounds::rps).round(),
        "tumbling_vs_fold": rounded(ratio(tumbling, fold)),
        "tumbling_vs_hand": rounded(ratio(tumbling, hand)),
    }));
    Ok(())
}

fn compare_hopping(args: &Args, scratch: &Path, overlap: u64) -> Outcome<()> {
    let all = Rounds::measure(&args.common, &["hopping_1", "hopping"], scratch)?;
    println!(
        "windows: {} records over {} keys, {:?}, hops of {} records, windows of 1 and of {overlap} of them\n",
        args.records(),
        args.keys(),
        args.common.distribution,
        args.hop_ms()
    );
    Rounds::print(&all);
    let [one, many] = ["hopping_1", "hopping"].map(|way| Rounds::of(&all, way));
    Targets::default().finish(json!({
        "bench": "windows",
        "records": args.records(),
        "keys": args.keys(),
        "hop_records": args.hop_ms(),
        "overlap": overlap,
        "distribution": args.common.distribution,
        "hopping_1_rps": one.map_or(0.0, Rounds::rps).round(),
        "hopping_rps": many.map_or(0.0, Rounds::rps).round(),
        "hopping_vs_hopping_1": rounded(ratio(many, one)),
    }));
    Ok(())
}

fn write(args: &Args, scratch: &Path) -> Outcome<()> {
    let log = log::open(&scratch.join("log"), Durability::Os)?;
    let mut keys = Keys::new(args.common.distribution, args.keys(), args.common.seed);
    let records = (0..args.records()).map(|number| {
        let key = keys.draw();
        let late = if keys.random().below(10) == 0 { keys.random().below(1_000) } else { 0 };
        (number.cast_signed() - late.cast_signed(), (0, key, number))
    });
    log::write_dated(&*log, &[TOPIC], args.common.partitions, records)?;
    drop(log);
    phase::report(&())
}

fn fold(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let graph = GraphBuilder::new();
    let counts = graph.stream(&args.topic()).group_by_key().count("counts");
    let state = scratch.join("fold");
    let (engine, measured) = measured::engine(&args.common, &graph.build()?, &[TOPIC], (scratch, &state))?;
    let view = engine.view(&counts)?;
    let digest = digest(args, |key| Ok(view.get(&key)?))?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

fn tumbling(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let graph = GraphBuilder::new();
    let windows = Tumbling::of(Duration::from_millis(args.window_ms()))
        .grace(Duration::from_millis(GRACE_MS.cast_unsigned()));
    let counts = graph.stream(&args.topic()).group_by_key().windowed(windows).count("counts");
    let finals = counts.on_close().re_key(|windowed, _| windowed.start_ms).group_by_key();
    let finals = finals.fold("finals", || (0_u64, 0_u64), |sum, _, count| *sum = (sum.0 + 1, sum.1 + count));
    let state = scratch.join("tumbling");
    let (engine, measured) = measured::engine(&args.common, &graph.build()?, &[TOPIC], (scratch, &state))?;
    let view = engine.view(&finals)?;
    eprintln!("  {} windows are closed", view.count()?);
    let mut totals: FxHashMap<u64, u64> = FxHashMap::default();
    for row in engine.view(&counts)?.scan()? {
        let (windowed, count) = row?;
        *totals.entry(windowed.key).or_default() += count;
    }
    let digest = digest(args, |key| Ok(totals.get(&key).copied()))?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

fn hopping(args: &Args, scratch: &Path, overlap: u64) -> Outcome<Measured> {
    let graph = GraphBuilder::new();
    let [size, hop] = [args.hop_ms() * overlap, args.hop_ms()].map(Duration::from_millis);
    let windows = Hopping::of(size).every(hop).grace(Duration::from_millis(GRACE_MS.cast_unsigned()));
    let counts = graph.stream(&args.topic()).group_by_key().windowed(windows).count("counts");
    let finals = counts.on_close().re_key(|windowed, _| windowed.start_ms).group_by_key();
    let finals = finals.fold("finals", || (0_u64, 0_u64), |sum, _, count| *sum = (sum.0 + 1, sum.1 + count));
    let state = scratch.join("hopping");
    let (engine, measured) = measured::engine(&args.common, &graph.build()?, &[TOPIC], (scratch, &state))?;
    let rows = engine.view(&finals)?.scan()?.map(|row| row.map(|(_, (rows, _))| rows));
    eprintln!("  {} rows of closed windows", rows.sum::<millpond::Result<u64>>()?);
    let view = counts.windows_of(&engine.view(&counts)?);
    // No record is so late that a window was closed for it: each is in as many of them.
    let mut digest = Digest::default();
    for rank in 0..args.keys().min(1_000) {
        let counts = view.windows(&key(rank), ..)?.map(|row| row.map(|(_, count)| count));
        digest.add([counts.sum::<millpond::Result<u64>>()? / overlap]);
    }
    let digest = digest.value();
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

fn hand(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let log = log::open(&scratch.join("log"), Durability::Fsync)?;
    let size = i64::try_from(args.window_ms())?;
    let mut open: FxHashMap<(i64, u64), u64> = FxHashMap::default();
    let mut latest = vec![i64::MIN; args.common.partitions as usize];
    let mut closed: FxHashMap<(i64, u64), u64> = FxHashMap::default();
    let mut first = 0;
    let clock = Clock::start();
    log::read(&*log, &[TOPIC], args.common.partitions, |_, record| {
        let (key, _): (u64, u64) = log::decode(&record)?;
        let at = record.timestamp_ms;
        let bytes = record.key.unwrap_or_default();
        let partition = millpond::changelog::partition_for_key(bytes, args.common.partitions);
        let reached = latest.get_mut(partition as usize).ok_or("a partition that is not there")?;
        *reached = at.max(*reached);
        let start = at.div_euclid(size) * size;
        if *reached < start + size + GRACE_MS {
            *open.entry((start, key)).or_default() += 1;
        }
        let watermark = latest.iter().copied().min().unwrap_or(i64::MIN);
        while first + size + GRACE_MS <= watermark {
            closed.extend(open.extract_if(|(start, _), _| *start == first));
            first += size;
        }
        Ok(true)
    })?;
    let measured = clock.stop(args.records());
    let mut totals: FxHashMap<u64, u64> = FxHashMap::default();
    for ((_, key), count) in open.into_iter().chain(closed) {
        *totals.entry(key).or_default() += count;
    }
    Ok(measured.with_digest(digest(args, |key| Ok(totals.get(&key).copied()))?))
}

fn digest(args: &Args, get: impl Fn(u64) -> Outcome<Option<u64>>) -> Outcome<u64> {
    let mut digest = Digest::default();
    for rank in 0..args.keys() {
        digest.add([get(key(rank))?.unwrap_or_default()]);
    }
    Ok(digest.value())
}
