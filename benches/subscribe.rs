//! What subscribers cost a service that reads its own writes: append, wait, get, beside keys that many subscribe to.
//!
//! *none*: nobody subscribes. *keys*: so many subscribers, each of another key, none of which changes. *told*: the same,
//! and the key that changes has one too, which is not read. *stream*: one stream of all changes that nobody reads.

use clap::Parser;
use millpond::changelog::MemoryChangelog;
use millpond::{Engine, GraphBuilder, Topic};
use millpond_support::bench::latency::{Latencies, Summary};
use millpond_support::bench::report::{Table, Targets, duration, mebibytes, rounded};
use millpond_support::bench::{Outcome, args, phase};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// Reads of own writes beside many subscribers.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
    /// How many subscribers of keys.
    #[arg(long, value_delimiter = ',')]
    subscribers: Option<Vec<u32>>,
    /// The size of a value.
    #[arg(long, value_parser = args::bytes, default_value = "100B")]
    value: usize,
}

impl Args {
    fn subscribers(&self) -> Vec<u32> {
        let usual = if self.common.quick { vec![100] } else { vec![10_000, 100_000] };
        self.subscribers.clone().unwrap_or(usual)
    }
}

/// What one way took.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Measured {
    latency: Summary,
    /// Resident bytes that the subscribers took, before anything changed.
    subscribed_bytes: u64,
    peak_bytes: u64,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let Some(phase) = args.common.phase.as_deref() else { return compare(&args) };
    let (way, subscribers) = phase.split_once(' ').unwrap_or((phase, "0"));
    phase::report(&measure(&args, way, subscribers.parse()?)?)
}

fn compare(args: &Args) -> Outcome<()> {
    args.common.only_uniform()?;
    args.common.only_one_round()?;
    let scratch = phase::scratch(&args.common)?;
    let mut ways = vec!["none".to_owned(), "stream".to_owned()];
    for subscribers in args.subscribers() {
        ways.extend([format!("keys {subscribers}"), format!("told {subscribers}")]);
    }
    let mut table = Table::new(["subscribers", "median", "p99", "max", "to subscribe", "peak resident"]);
    let (mut figures, mut none, mut worst) = (Vec::new(), 0, 0.0_f64);
    for way in &ways {
        let Measured { latency, subscribed_bytes, peak_bytes } = phase::run(way, scratch.path())?;
        if way == "none" {
            none = latency.median_ns.max(1);
        }
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let ratio = latency.median_ns as f64 / none as f64;
        worst = worst.max(ratio);
        table.row([
            way.clone(),
            duration(latency.median_ns),
            duration(latency.p99_ns),
            duration(latency.max_ns),
            mebibytes(subscribed_bytes),
            mebibytes(peak_bytes),
        ]);
        figures.push(json!({
            "subscribers": way,
            "median_ns": latency.median_ns,
            "p99_ns": latency.p99_ns,
            "subscribed_bytes": subscribed_bytes,
            "peak_bytes": peak_bytes,
            "to_none": rounded(ratio),
        }));
    }
    println!("subscribe: a read of an own write, values of {} bytes\n", args.value);
    table.print();
    Targets::default().at_most("worst_to_none", worst, 2.0).finish(json!({
        "bench": "subscribe",
        "value_bytes": args.value,
        "worst_to_none": rounded(worst),
        "ways": figures,
    }));
    Ok(())
}

fn measure(args: &Args, way: &str, subscribers: u32) -> Outcome<Measured> {
    const KEY: u32 = 0;
    let topic = Topic::<u32, Vec<u8>>::new("values");
    let graph = GraphBuilder::new();
    let latest = graph.table(&topic, "latest");
    let builder: millpond::EngineBuilder = args.common.engine(&graph.build()?);
    let engine: Engine = builder.in_memory().changelog(Arc::new(MemoryChangelog::new())).start()?;
    let (view, producer) = (engine.view(&latest)?, engine.producer(&topic)?);
    let value = vec![7; args.value];
    let before = phase::resident_bytes().0;
    let first = if way == "told" { KEY } else { KEY + 1 };
    let keys: Vec<_> =
        (first..first + subscribers).map(|key| view.subscribe(&key)).collect::<Result<_, _>>()?;
    let stream = if way == "stream" { Some(view.changes()?.1) } else { None };
    let subscribed_bytes = phase::resident_bytes().0.saturating_sub(before);

    let mut latencies = Latencies::new();
    let rounds = args.common.records(20_000, 200);
    for _ in 0..rounds {
        let read = latencies.time(|| -> millpond::Result<bool> {
            let position = producer.put(&KEY, &value).wait_blocking()?;
            engine.wait_for_blocking(&position)?;
            Ok(view.get(&KEY)?.is_some())
        });
        if !read? {
            return Err("an own write was not there".into());
        }
    }
    drop((keys, stream));
    engine.close_blocking()?;
    Ok(Measured { latency: latencies.summary(), subscribed_bytes, peak_bytes: phase::resident_bytes().1 })
}
