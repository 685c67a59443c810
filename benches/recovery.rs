//! Recovery: how long after `kill -9` the first question is answered, for a large state against a small one.
//!
//! A child process holds a table of `keys` rows and ingests updates at full speed; when a number of them are
//! acknowledged it is killed. Then another child process opens the changelog and the state and asks for a row.
//! *first answer* is the time from before the changelog is opened until it has the row; *caught up* until everything
//! acknowledged is folded again. The files are still in the page cache of the system.

use clap::Parser;
use millpond::changelog::{Changelog, Durability};
use millpond::{Engine, GraphBuilder, StoredTable, Topic};
use millpond_support::bench::keys::key;
use millpond_support::bench::report::{self, Targets, median, rounded};
use millpond_support::bench::{Outcome, args, log, phase};
use millpond_support::random::Random;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const TOPIC: &str = "payments";

/// Updates that are appended together.
const APPEND_RECORDS: u64 = 10_000;

/// Kill -9 while ingesting, then the time to the first answer: many keys against few.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
    /// How many keys the small state has.
    #[arg(long)]
    small_keys: Option<u64>,
}

impl Args {
    /// How many updates are acknowledged before the process is killed.
    fn updates(&self) -> u64 {
        self.common.records(2_000_000, 20_000)
    }

    fn keys(&self, size: Size) -> u64 {
        match size {
            Size::Large => self.common.keys(10_000_000, 10_000),
            Size::Small => self.small_keys.unwrap_or(if self.common.quick { 1_000 } else { 100_000 }),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Large,
    Small,
}

impl Size {
    fn name(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Small => "small",
        }
    }
}

/// One recovery, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Recovery {
    changelog_ms: f64,
    first_answer_ms: f64,
    caught_up_ms: f64,
    /// Records that were folded again.
    replayed: u64,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let Some(phase) = args.common.phase.as_deref() else { return compare(&args) };
    let (step, size) = match phase.split_once('-') {
        Some((step, "large")) => (step, Size::Large),
        Some((step, "small")) => (step, Size::Small),
        _ => return Err(format!("there is no phase `{phase}`").into()),
    };
    let dir = phase::given(&args.common)?.join(size.name());
    match step {
        "load" => load(&args, size, &dir),
        "ingest" => ingest(&args, size, &dir),
        "answer" => answer(&args, size, &dir),
        _ => Err(format!("there is no phase `{phase}`").into()),
    }
}

fn compare(args: &Args) -> Outcome<()> {
    args.common.only_uniform()?;
    let scratch = phase::scratch(&args.common)?;
    let mut recoveries: Vec<(Size, Vec<Recovery>)> =
        vec![(Size::Small, Vec::new()), (Size::Large, Vec::new())];
    for (size, _) in &recoveries {
        eprintln!("loading {} keys", args.keys(*size));
        phase::run::<()>(&format!("load-{}", size.name()), scratch.path())?;
    }
    for round in 1..=args.common.rounds(5) {
        for (size, rounds) in &mut recoveries {
            kill_while_ingesting(&format!("ingest-{}", size.name()), scratch.path())?;
            let recovery: Recovery = phase::run(&format!("answer-{}", size.name()), scratch.path())?;
            eprintln!("round {round}, {} keys: {recovery:?}", args.keys(*size));
            rounds.push(recovery);
        }
    }
    print(args, &recoveries);
    Ok(())
}

/// Runs a phase that reports when it is to be killed, and goes on until it is.
fn kill_while_ingesting(phase: &str, scratch: &Path) -> Outcome<()> {
    let mut child = phase::spawn(phase, scratch)?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("the child has no output")?).read_line(&mut line)?;
    if line.trim() != "now" {
        return Err(format!("the phase `{phase}` ended with {}", child.wait()?).into());
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn print(args: &Args, recoveries: &[(Size, Vec<Recovery>)]) {
    let mut table =
        report::Table::new(["keys", "changelog open", "first answer", "caught up", "records folded again"]);
    let of = |rounds: &[Recovery], figure: fn(&Recovery) -> f64| median(rounds.iter().map(figure).collect());
    let mut answers = Vec::new();
    for (size, rounds) in recoveries {
        let first_answer_ms = of(rounds, |round| round.first_answer_ms);
        #[expect(clippy::cast_precision_loss, reason = "for the eye")]
        let replayed = of(rounds, |round| round.replayed as f64);
        table.row([
            args.keys(*size).to_string(),
            format!("{:.0} ms", of(rounds, |round| round.changelog_ms)),
            format!("{first_answer_ms:.0} ms"),
            format!("{:.0} ms", of(rounds, |round| round.caught_up_ms)),
            report::count(replayed),
        ]);
        answers.push((size.name(), first_answer_ms));
    }
    println!("recovery: medians of {} kills each\n", args.common.rounds(5));
    table.print();
    let answer =
        |size: Size| answers.iter().find(|(name, _)| *name == size.name()).map_or(0.0, |(_, ms)| *ms);
    let ratio = answer(Size::Large) / answer(Size::Small).max(f64::MIN_POSITIVE);
    Targets::default().at_most("large_vs_small", ratio, 2.0).finish(json!({
        "bench": "recovery",
        "large_keys": args.keys(Size::Large),
        "small_keys": args.keys(Size::Small),
        "updates": args.updates(),
        "large_first_answer_ms": rounded(answer(Size::Large)),
        "small_first_answer_ms": rounded(answer(Size::Small)),
        "large_vs_small": rounded(ratio),
        "rounds": recoveries.iter().map(|(size, rounds)| (size.name(), rounds)).collect::<std::collections::BTreeMap<_, _>>(),
    }));
}

/// Opens changelog and engine; reports how long the changelog alone took.
fn open(args: &Args, dir: &Path) -> Outcome<(Engine, StoredTable<u64, u64>, f64)> {
    let begin = Instant::now();
    let log: Arc<dyn Changelog> = log::open(&dir.join("log"), Durability::Fsync)?;
    let changelog_ms = milliseconds(begin);
    let graph = GraphBuilder::new();
    let topic = Topic::<u64, u64>::new(TOPIC).partitions(args.common.partitions);
    let sums = graph.stream(&topic).group_by_key().fold(
        "sums",
        || 0,
        |sum: &mut u64, _, value| {
            *sum = sum.wrapping_add(value);
        },
    );
    let builder = args.common.engine(&graph.build()?).state_dir(dir.join("state")).changelog(log);
    // The first answer may be a stale one; how long it takes until none is, is reported beside it.
    let engine = builder.stale_reads(true).start()?;
    Ok((engine, sums, changelog_ms))
}

fn milliseconds(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}

/// Fills the table with all keys.
fn load(args: &Args, size: Size, dir: &Path) -> Outcome<()> {
    std::fs::create_dir_all(dir)?;
    let log = log::open(&dir.join("log"), Durability::Os)?;
    let records = (0..args.keys(size)).map(|rank| (0, key(rank), 1_u64));
    log::write(&*log, &[TOPIC], args.common.partitions, records)?;
    drop(log);
    let (engine, _, _) = open(args, dir)?;
    catch_up(args, &engine)?;
    engine.close_blocking()?;
    phase::report(&())
}

fn catch_up(args: &Args, engine: &Engine) -> Outcome<()> {
    Ok(engine.wait_for_blocking(&log::end(&**engine.changelog(), &[TOPIC], args.common.partitions)?)?)
}

/// Appends updates at full speed, for ever; says `now` after those that were asked for.
fn ingest(args: &Args, size: Size, dir: &Path) -> Outcome<()> {
    let (engine, _, _) = open(args, dir)?;
    catch_up(args, &engine)?;
    engine.drain_blocking()?;
    let producer = engine.producer(&Topic::<u64, u64>::new(TOPIC).partitions(args.common.partitions))?;
    let mut random = Random::new(args.common.seed);
    let mut acknowledged = 0;
    let mut said = false;
    loop {
        let keys: Vec<u64> = (0..APPEND_RECORDS).map(|_| key(random.below(args.keys(size)))).collect();
        producer.ready_blocking();
        producer.send(keys.iter().map(|key| (key, Some(&1), 0))).wait_blocking()?;
        acknowledged += APPEND_RECORDS;
        if acknowledged >= args.updates() && !said {
            println!("now");
            std::io::stdout().flush()?;
            said = true;
        }
    }
}

/// Opens what the killed process left, and asks for a row.
fn answer(args: &Args, size: Size, dir: &Path) -> Outcome<()> {
    let asked = key(args.keys(size) / 2);
    let begin = Instant::now();
    let (engine, sums, changelog_ms) = open(args, dir)?;
    let sum = engine.view(&sums)?.get(&asked)?;
    let first_answer_ms = milliseconds(begin);
    catch_up(args, &engine)?;
    let caught_up_ms = milliseconds(begin);
    if sum.is_none() {
        return Err("the row that was asked for is lost".into());
    }
    let replayed = engine.stats().records_in;
    engine.close_blocking()?;
    phase::report(&Recovery { changelog_ms, first_answer_ms, caught_up_ms, replayed })
}
