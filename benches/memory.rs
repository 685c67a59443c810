//! The peak of a process beside its memory budget, where records become more, or other, than their size says.
//!
//! *fold*: a count over many keys. *wide*: each record becomes 1,000 values. *mapped*: each becomes a row of 100 kB.
//! *grown*: each is folded into one of 200 accumulators of a mebibyte. *least*: the least values of groups of 200,000 rows. *tables*: one topic folded into 200 tables. *rows*:
//! rows of a mebibyte, written, then scanned. *unread*: a subscriber that does not read, beside values of 100 kB.
//!
//! *tumbled*: windows of ten seconds with a row of 100 bytes for each record, told as they close, and all kept. *sessions*: the same of
//! sessions. *paired*: two streams, all of which waits for a partner. Their rows are more than ten times the budget. *closed*: a million
//! windows that close at once, which is one epoch whatever its size, and so told beside the target.

use clap::Parser;
use millpond::changelog::Durability;
use millpond::stream::{Session, Tumbling, Within};
use millpond::{Engine, Graph, GraphBuilder, StoredTable, Topic};
use millpond_support::bench::keys::key;
use millpond_support::bench::report::{Targets, mebibytes, rounded};
use millpond_support::bench::{Outcome, args, phase, report};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// Peak memory beside the budget.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
}

/// What one shape took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Measured {
    seconds: f64,
    peak_bytes: u64,
}

/// A shape: its name, its budget, its largest value in bytes.
const SHAPES: [(&str, usize, u64); 13] = [
    ("fold", 32 << 20, 16),
    ("fold", 64 << 20, 16),
    ("wide", 64 << 20, 16),
    ("mapped", 64 << 20, 100_000),
    ("grown", 64 << 20, 1 << 20),
    ("least", 64 << 20, 16),
    ("tables", 256 << 20, 16),
    ("rows", 64 << 20, 1 << 20),
    ("unread", 64 << 20, 100_000),
    ("tumbled", 32 << 20, 100),
    ("sessions", 32 << 20, 100),
    ("paired", 32 << 20, 100),
    ("closed", 32 << 20, 100),
];

/// The shape that has no target.
const BESIDE: &str = "closed";

/// How many of the largest values may be beside the budget.
const VALUES_BESIDE: u64 = 8;

fn main() -> Outcome<()> {
    let args = Args::parse();
    let Some(phase) = args.common.phase.as_deref() else { return compare(&args) };
    let (shape, budget) = phase.split_once(' ').ok_or("a phase needs a budget")?;
    phase::report(&measure(&args, shape, budget.parse()?)?)
}

fn compare(args: &Args) -> Outcome<()> {
    args.common.only_uniform()?;
    args.common.only_one_round()?;
    let mut table = report::Table::new(["shape", "budget", "peak resident", "of the budget", "seconds"]);
    let (mut figures, mut worst) = (Vec::new(), 0.0_f64);
    for (shape, budget, value_bytes) in SHAPES {
        let scratch = phase::scratch(&args.common)?;
        let Measured { seconds, peak_bytes } = phase::run(&format!("{shape} {budget}"), scratch.path())?;
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let ratio = peak_bytes.saturating_sub(VALUES_BESIDE * value_bytes) as f64 / budget as f64;
        if shape != BESIDE {
            worst = worst.max(ratio);
        }
        table.row([
            shape.to_owned(),
            mebibytes(budget as u64),
            mebibytes(peak_bytes),
            format!("{ratio:.2}"),
            format!("{seconds:.1}"),
        ]);
        figures.push(json!({
            "shape": shape,
            "budget_bytes": budget,
            "peak_bytes": peak_bytes,
            "of_budget": rounded(ratio),
            "seconds": rounded(seconds),
        }));
    }
    println!("memory: the peak without {VALUES_BESIDE} of the largest values, beside the budget\n");
    table.print();
    Targets::default().at_most("worst_of_budget", worst, 1.25).finish(json!({
        "bench": "memory",
        "worst_of_budget": rounded(worst),
        "shapes": figures,
    }));
    Ok(())
}

type Values = Topic<u64, Vec<u8>>;

fn measure(args: &Args, shape: &str, budget: usize) -> Outcome<Measured> {
    let topic = Values::new("values");
    let begin = std::time::Instant::now();
    let (graph, latest) = graph(shape, &topic)?;
    let engine = Engine::builder(&graph)
        .dir(phase::given(&args.common)?)
        .memory(budget)
        .durability(Durability::Os)
        .start()?;
    let (records, value_bytes) = match shape {
        "fold" => (args.common.records(4_000_000, 2_000), 8),
        "wide" => (args.common.records(10_000, 200), 8),
        "mapped" => (args.common.records(10_000, 20), 8),
        "grown" => (args.common.records(3_000, 20), 8),
        "least" => (args.common.records(1_000_000, 2_000), 8),
        "tables" => (args.common.records(40_000, 200), 8),
        "rows" => (args.common.records(1_000, 5), 1 << 20),
        "tumbled" | "sessions" | "paired" => (args.common.records(4_000_000, 2_000), 100),
        "closed" => (args.common.records(1_000_000, 2_000), 100),
        _ => (args.common.records(10_000, 20), 100_000),
    };
    let view = latest.as_ref().map(|latest| engine.view(latest)).transpose()?;
    let unread = match &view {
        Some(view) if shape == "unread" => Some((view.subscribe(&0)?, view.subscribe(&1)?, view.changes()?)),
        _ => None,
    };
    append(&engine, &topic, (records, value_bytes), step_ms(shape))?;
    if shape == "closed" {
        let end_ms = 1 << 40;
        engine.producer(&topic)?.send([(&0, Some(&Vec::new()), end_ms)]).wait_blocking()?;
    }
    engine.catch_up_blocking()?;
    if let Some(view) = view.filter(|_| shape == "rows") {
        let rows = view.scan()?.chain(view.scan()?.rev()).try_fold(0, |rows, row| row.map(|_| rows + 1))?;
        if rows != 2 * records {
            return Err(format!("a scan found {rows} rows").into());
        }
    }
    drop(unread);
    engine.close_blocking()?;
    let peak_bytes = phase::resident_bytes().1;
    Ok(Measured { seconds: begin.elapsed().as_secs_f64(), peak_bytes })
}

/// A graph, and its table if it is one of values.
type Shaped = (Graph, Option<StoredTable<u64, Vec<u8>>>);

fn graph(shape: &str, topic: &Values) -> Outcome<Shaped> {
    let graph = GraphBuilder::new();
    let mut latest = None;
    match shape {
        "fold" => drop(graph.stream(topic).group_by_key().count("counts")),
        "wide" => {
            let made = graph.stream(topic).flat_map(|key, _| (0..1_000).map(move |n| (key * 7 + n, n)));
            made.group_by_key().count("counts");
        }
        "mapped" => drop(graph.stream(topic).map_values(|key, _| noise(*key, 100_000)).to_table("rows")),
        "grown" => {
            let groups = graph.stream(topic).group_by(|key, _| key % 200);
            groups.fold(
                "accumulators",
                || vec![0_u64; 1 << 17],
                |all: &mut Vec<u64>, key, _| {
                    if let Some(slot) = all.get_mut(usize::try_from(*key % (1 << 17)).unwrap_or(0)) {
                        *slot = slot.wrapping_add(*key);
                    }
                },
            );
        }
        "least" => {
            let groups = graph.table(topic, "latest").group_by(|key, _| (key % 5, *key));
            groups.min("least", |key| *key);
        }
        "tables" => {
            for number in 0..200 {
                graph.stream(topic).group_by_key().count(format!("counts {number}").as_str());
            }
        }
        "tumbled" | "sessions" | "paired" | "closed" => by_time(shape, &graph, topic),
        _ => latest = Some(graph.table(topic, "latest")),
    }
    Ok((graph.build()?, latest))
}

/// By how much each record of a shape is later than the one before.
fn step_ms(shape: &str) -> i64 {
    i64::from(matches!(shape, "tumbled" | "sessions" | "paired"))
}

fn by_time(shape: &str, graph: &GraphBuilder, topic: &Values) {
    let (seconds, stream) = (Duration::from_secs, graph.stream(topic));
    let grouped = stream.group_by_key();
    let tumbling = Tumbling::of(seconds(10)).grace(seconds(1));
    let told = match shape {
        "paired" => {
            let [even, odd] = [0, 1].map(|side| stream.filter(move |key, _| key % 2 == side));
            let within = Within::of(seconds(36_000)).grace(seconds(1));
            let pairs = even
                .left_join_within(&odd.re_key(|key, _| key ^ 1), within, "pairs", |_, _, odd| odd.is_some());
            return drop(pairs.group_by(|_, is_pair| *is_pair).count("told"));
        }
        "sessions" => grouped
            .windowed(Session::gap(seconds(10)).grace(seconds(1)))
            .reduce("rows", |_, new| new)
            .on_close(),
        "tumbled" => {
            let windows = grouped.windowed(tumbling).keep(seconds(36_000));
            windows.reduce("rows", |_, new| new).on_close()
        }
        _ => grouped.windowed(tumbling).reduce("rows", |_, new| new).on_close(),
    };
    told.group_by(|window, _| window.start_ms / 1_000_000).count("told");
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let words = (0..bytes as u64 / 8).map(|word| key(seed.wrapping_mul(0x9e37) + word));
    words.flat_map(u64::to_le_bytes).collect()
}

/// Appends as fast as the engine lets.
fn append(
    engine: &Engine,
    topic: &Values,
    (records, value_bytes): (u64, usize),
    step_ms: i64,
) -> Outcome<()> {
    let producer = engine.producer(topic)?;
    let together = (64 << 10) / (value_bytes as u64 + 64) + 1;
    let mut next = 0;
    while next < records {
        let keys: Vec<u64> = (next..records.min(next + together)).map(key).collect();
        // Nothing that compresses: it would hide what is copied.
        let values: Vec<Vec<u8>> = keys.iter().map(|&key| noise(key, value_bytes)).collect();
        let records = (i64::try_from(next)?..).zip(keys.iter().zip(&values));
        let records = records.map(|(number, (key, value))| (key, Some(value), number * step_ms));
        producer.send(records).wait_blocking()?;
        next += together;
    }
    Ok(())
}
