//! Reads while windows close: one after the other, as fast as a thread can, before and while the windows of all keys close at once.

use crate::{Args, TOPIC, grace};
use millpond::changelog::{Changelog, Durability, partition_for_key};
use millpond::codec::Key;
use millpond::stream::{Session, Stream, Tumbling};
use millpond::{Engine, GraphBuilder, Stored, View, Windowed};
use millpond_support::bench::keys::key;
use millpond_support::bench::latency::{Latencies, Summary};
use millpond_support::bench::report::{Table, duration, mebibytes};
use millpond_support::bench::{Outcome, log, phase};
use millpond_support::random::Random;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// When each key has its record.
const AT_MS: i64 = 500;

/// What reads took, and what the closing did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stall {
    rows: u64,
    quiet: Summary,
    closing: Summary,
    /// From the record that closes until all is folded, and until it is durable.
    folded_seconds: f64,
    seconds: f64,
    cpu_seconds: f64,
    /// What the process took before, and at the most meanwhile.
    before_bytes: u64,
    peak_bytes: u64,
}

impl Stall {
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    pub(crate) fn worst_ms(&self) -> f64 {
        self.closing.max_ns as f64 / 1e6
    }

    pub(crate) fn print(stalls: &[(&str, Self)]) {
        if stalls.is_empty() {
            return;
        }
        let mut table = Table::new(["reads", "count", "median", "p99", "p99.9", "max"]);
        let mut row = |name: String, summary: &Summary| {
            let Summary { count, median_ns, p99_ns, p999_ns, max_ns } = *summary;
            let [median, p99, p999, max] = [median_ns, p99_ns, p999_ns, max_ns].map(duration);
            table.row([name, count.to_string(), median, p99, p999, max]);
        };
        for (way, stall) in stalls {
            row(format!("{way}, before"), &stall.quiet);
            row(format!("{way}, while {} rows close", stall.rows), &stall.closing);
        }
        table.print();
        let mut table =
            Table::new(["closing", "seconds", "until durable", "CPU s", "resident before", "peak"]);
        for (way, stall) in stalls {
            table.row([
                (*way).to_owned(),
                format!("{:.2}", stall.folded_seconds),
                format!("{:.2}", stall.seconds),
                format!("{:.2}", stall.cpu_seconds),
                mebibytes(stall.before_bytes),
                mebibytes(stall.peak_bytes),
            ]);
        }
        table.print();
    }
}

pub(crate) fn tumbling(args: &Args, scratch: &Path) -> Outcome<Stall> {
    let graph = GraphBuilder::new();
    let windows = Tumbling::of(args.size()).grace(grace());
    let counts = graph.stream(&args.topic()).group_by_key().windowed(windows).count("counts");
    let size_ms = i64::try_from(args.size_ms.max(1))?;
    let start_ms = AT_MS.div_euclid(size_ms) * size_ms;
    measure(args, scratch, &graph, (&counts, &counts.on_close()), (start_ms, start_ms + size_ms))
}

pub(crate) fn session(args: &Args, scratch: &Path) -> Outcome<Stall> {
    let graph = GraphBuilder::new();
    let windows = Session::gap(args.gap()).grace(grace());
    let counts = graph.stream(&args.topic()).group_by_key().windowed(windows).count("counts");
    measure(args, scratch, &graph, (&counts, &counts.on_close()), (AT_MS, AT_MS + 1))
}

/// Reads the rows of `counts`, whose windows are all between these times, while what is in them is told and kept in another table.
fn measure<W: Key + From<Windowed<u64>>>(
    args: &Args,
    scratch: &Path,
    graph: &GraphBuilder,
    (counts, closed): (&impl Stored<Key = W, Value = u64>, &Stream<Windowed<u64>, u64>),
    (start_ms, end_ms): (i64, i64),
) -> Outcome<Stall> {
    let finals = closed.to_table("finals");
    let dir = scratch.join("stall");
    let log = log::open(&dir.join("log"), Durability::Os)?;
    let records = (0..args.keys()).map(|rank| (AT_MS, (0, key(rank), rank)));
    log::write_dated(&*log, &[TOPIC], args.common.partitions, records)?;
    let changelog: Arc<dyn Changelog> = Arc::clone(&log) as _;
    let builder = args.common.engine(&graph.build()?).state_dir(dir.join("state")).changelog(changelog);
    // What is read beside the fold is read before it has caught up.
    let engine = builder.stale_reads(true).start()?;
    engine.wait_for_blocking(&log::end(&*log, &[TOPIC], args.common.partitions)?)?;
    engine.drain_blocking()?;
    while engine.stats().store.level_zero_files > 0 {
        thread::park_timeout(Duration::from_millis(100));
    }
    let random = Random::new(args.common.seed);
    let mut reads = Reads { view: engine.view(counts)?, keys: args.keys(), start_ms, end_ms, random };
    let quiet_for = Duration::from_millis(if args.common.quick { 100 } else { 3_000 });
    // The first reads bring what they read near.
    reads.until(|begin| begin.elapsed() >= quiet_for)?;
    let quiet = reads.until(|begin| begin.elapsed() >= quiet_for)?;
    phase::forget_peak();
    let (before_bytes, cpu_before, begin) = (phase::resident_bytes().0, phase::cpu_seconds(), Instant::now());
    let is_durable = AtomicBool::new(false);
    let closing_ms = end_ms + i64::try_from(args.gap_ms.max(args.size_ms))? + 10_000;
    let (closing, folded_seconds) = thread::scope(|scope| {
        let reader = scope.spawn(|| reads.until(|_| is_durable.load(Ordering::Relaxed)));
        let closed = close(args, &*log, &engine, closing_ms);
        is_durable.store(true, Ordering::Relaxed);
        Outcome::Ok((reader.join().map_err(|_| "the reader has panicked")??, closed?))
    })?;
    let (seconds, cpu_seconds) = (begin.elapsed().as_secs_f64(), phase::cpu_seconds() - cpu_before);
    let peak_bytes = phase::resident_bytes().1;
    let rows = engine.view(&finals)?.count()?;
    if rows != args.keys() {
        return Err(format!("{rows} rows were told of {}", args.keys()).into());
    }
    engine.close_blocking()?;
    std::fs::remove_dir_all(dir)?;
    Ok(Stall { rows, quiet, closing, folded_seconds, seconds, cpu_seconds, before_bytes, peak_bytes })
}

/// Takes every partition on to `closing_ms` with a record, and waits until that is folded and durable. Answers how long folding took.
fn close(args: &Args, log: &dyn Changelog, engine: &Engine, closing_ms: i64) -> Outcome<f64> {
    let begin = Instant::now();
    let partition = |rank: u64| partition_for_key(&key(rank).to_be_bytes(), args.common.partitions);
    let ranks = (0..args.common.partitions)
        .filter_map(|number| (0..args.keys()).find(|rank| partition(*rank) == number));
    let records = ranks.map(|rank| (closing_ms, (0, key(rank), 0)));
    log::write_dated(log, &[TOPIC], args.common.partitions, records)?;
    engine.wait_for_blocking(&log::end(log, &[TOPIC], args.common.partitions)?)?;
    let folded_seconds = begin.elapsed().as_secs_f64();
    engine.drain_blocking()?;
    Ok(folded_seconds)
}

/// Reads of the rows of any keys, one after the other.
struct Reads<W> {
    view: View<W, u64>,
    keys: u64,
    start_ms: i64,
    end_ms: i64,
    random: Random,
}

impl<W: Key + From<Windowed<u64>>> Reads<W> {
    /// How long each takes until this is the case of when they began.
    fn until(&mut self, is_over: impl Fn(Instant) -> bool) -> Outcome<Summary> {
        let (begin, mut latencies) = (Instant::now(), Latencies::new());
        while !is_over(begin) {
            let windowed = Windowed::new(self.start_ms, self.end_ms, key(self.random.below(self.keys)));
            let key = W::from(windowed);
            let row = latencies.time(|| self.view.get(&key))?;
            if row != Some(1) {
                return Err(format!("the row of {windowed:?} is {row:?}").into());
            }
        }
        Ok(latencies.summary())
    }
}
