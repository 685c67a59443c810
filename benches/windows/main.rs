//! Counting by windows: clicks counted by page in windows, with their final counts counted by window again, until both are durable;
//! beside a count without windows in the same engine, and `HashMap`s by hand that do the same as the windows.
//!
//! There are `--rate` records in a second of event time, 100 k unless set, and one in ten is up to a second late, which the grace allows.
//! *fold*: `count`. *tumbling*: `windowed(..).count` by windows of `--size-ms`, a minute unless set, and what `on_close` tells. *`hopping_1`*,
//! *`hopping_12`*, *`hopping_60`*: windows of so many hops, each as long as a tumbling window, one beginning with each; so that all tell of
//! about as many rows, but for the windows that close behind the end of the log. *session*: sessions with a gap of `--gap-ms`, ten
//! seconds unless set. *hand*, *`hand_session`*: the same reader and `HashMap`s of windows and pages, and of the open sessions of pages;
//! nothing is durable and nothing can be asked meanwhile. What they have counted must be the same, and so must the sessions.
//!
//! *stall*, *`stall_session`*: each key has one record in one window, and all of them close with one record, while a thread reads rows one
//! after the other as fast as it can: how long its reads take beside that, until all is durable, and for some seconds before.
//!
//! `--rate 1000 --size-ms 1000000` is the hard case: windows of a million records, in which most keys come up once.

mod by_hand;
mod stall;
mod windowed;

use clap::{Parser, ValueEnum};
use millpond::Topic;
use millpond::changelog::Durability;
use millpond_support::bench::keys::{Keys, key};
use millpond_support::bench::measured::{Digest, Rounds, ratio};
use millpond_support::bench::report::{Targets, rounded};
use millpond_support::bench::{Outcome, args, log, phase};
use serde_json::{Map, Value, json};
use stall::Stall;
use std::path::Path;
use std::time::Duration;

const TOPIC: &str = "clicks";

/// How late a record may be, which is longer than any is.
const GRACE_MS: i64 = 1_000;

/// Of so many keys the counts of all ways are compared.
const COMPARED_KEYS: u64 = 1_000;

/// Clicks counted by page and window: millpond against the same without windows, and against `HashMap`s.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
    /// The ways to measure.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "fold,tumbling,hopping_1,hopping_12,hopping_60,session,hand,hand_session,stall,stall_session"
    )]
    ways: Vec<Way>,
    /// How many records happen in a second.
    #[arg(long)]
    rate: Option<u64>,
    /// How long a tumbling window is, and a hop, in milliseconds.
    #[arg(long, default_value_t = 60_000)]
    size_ms: u64,
    /// The longest step within a session, in milliseconds.
    #[arg(long, default_value_t = 10_000)]
    gap_ms: u64,
}

/// A phase of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Way {
    Fold,
    Tumbling,
    #[value(name = "hopping_1")]
    Hopping1,
    #[value(name = "hopping_12")]
    Hopping12,
    #[value(name = "hopping_60")]
    Hopping60,
    Session,
    Hand,
    HandSession,
    Stall,
    StallSession,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Fold => "fold",
            Self::Tumbling => "tumbling",
            Self::Hopping1 => "hopping_1",
            Self::Hopping12 => "hopping_12",
            Self::Hopping60 => "hopping_60",
            Self::Session => "session",
            Self::Hand => "hand",
            Self::HandSession => "hand_session",
            Self::Stall => "stall",
            Self::StallSession => "stall_session",
        }
    }

    /// Whether it is about reads beside what closes, and not about how long a log takes.
    fn is_stall(self) -> bool {
        matches!(self, Self::Stall | Self::StallSession)
    }
}

impl Args {
    fn records(&self) -> u64 {
        self.common.records(10_000_000, 50_000)
    }

    fn keys(&self) -> u64 {
        self.common.keys(1_000_000, 2_000)
    }

    /// So few where there are few records that they take as long.
    fn rate(&self) -> u64 {
        self.rate.unwrap_or(if self.common.quick { 500 } else { 100_000 }).max(1)
    }

    fn size(&self) -> Duration {
        Duration::from_millis(self.size_ms.max(1))
    }

    fn gap(&self) -> Duration {
        Duration::from_millis(self.gap_ms.max(1))
    }

    fn topic(&self) -> Topic<u64, u64> {
        Topic::new(TOPIC).partitions(self.common.partitions)
    }
}

fn grace() -> Duration {
    Duration::from_millis(GRACE_MS.cast_unsigned())
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let Some(phase) = args.common.phase.as_deref() else { return compare(&args) };
    let scratch = phase::given(&args.common)?;
    if phase == "log" {
        return write(&args, scratch);
    }
    let measured = match Way::from_str(phase, false)? {
        Way::Fold => windowed::fold(&args, scratch),
        Way::Tumbling => windowed::tumbling(&args, scratch),
        Way::Hopping1 => windowed::hopping(&args, scratch, 1),
        Way::Hopping12 => windowed::hopping(&args, scratch, 12),
        Way::Hopping60 => windowed::hopping(&args, scratch, 60),
        Way::Session => windowed::session(&args, scratch),
        Way::Hand => by_hand::tumbling(&args, scratch),
        Way::HandSession => by_hand::session(&args, scratch),
        Way::Stall => return phase::report(&stall::tumbling(&args, scratch)?),
        Way::StallSession => return phase::report(&stall::session(&args, scratch)?),
    };
    phase::report(&measured?)
}

fn compare(args: &Args) -> Outcome<()> {
    let scratch = phase::scratch(&args.common)?;
    let (stalls, ways): (Vec<Way>, Vec<Way>) = args.ways.iter().copied().partition(|way| way.is_stall());
    let ways: Vec<&'static str> = ways.into_iter().map(Way::name).collect();
    if !ways.is_empty() {
        eprintln!("writing the log");
        phase::run::<()>("log", scratch.path())?;
    }
    let all = Rounds::measure(&args.common, &ways, scratch.path())?;
    let stalls = stalls.into_iter().map(|way| Ok((way.name(), phase::run(way.name(), scratch.path())?)));
    let stalls = stalls.collect::<Outcome<Vec<(&str, Stall)>>>()?;
    println!(
        "windows: {} records over {} keys, {:?}, {} a second, windows and hops of {} ms, sessions with a gap of {} ms\n",
        args.records(),
        args.keys(),
        args.common.distribution,
        args.rate(),
        args.size_ms,
        args.gap_ms,
    );
    Rounds::print(&all);
    Stall::print(&stalls);
    finish(args, &all, &stalls);
    Ok(())
}

fn finish(args: &Args, all: &[Rounds], stalls: &[(&str, Stall)]) {
    let of = |way| Rounds::of(all, way);
    let mut figures = Map::new();
    let mut figure = |name: String, value: Value| drop(figures.insert(name, value));
    figure("bench".to_owned(), "windows".into());
    figure("distribution".to_owned(), json!(args.common.distribution));
    let sizes = [("records", args.records()), ("keys", args.keys()), ("rate", args.rate())];
    for (name, size) in sizes.into_iter().chain([("size_ms", args.size_ms), ("gap_ms", args.gap_ms)]) {
        figure(name.to_owned(), size.into());
    }
    let by_cpu = |one, other| {
        of(one).zip(of(other)).map_or(0.0, |(one, other)| one.per_cpu_second() / other.per_cpu_second())
    };
    let mut targets = Targets::default();
    for (one, other, bound) in [
        ("tumbling", "fold", Some(0.7)),
        ("session", "fold", Some(0.4)),
        ("hopping_60", "hopping_1", Some(0.5)),
        ("hopping_12", "hopping_1", None),
        ("hopping_1", "fold", None),
        ("tumbling", "hand", None),
        ("session", "hand_session", None),
    ] {
        let (name, vs) = (format!("{one}_vs_{other}"), ratio(of(one), of(other)));
        figure(format!("{name}_by_cpu"), rounded(by_cpu(one, other)).into());
        figure(name.clone(), rounded(vs).into());
        if let Some(bound) = bound {
            targets = targets.at_least(name, vs, bound);
        }
    }
    for way in all {
        figure(format!("{}_rps", way.way), way.rps().round().into());
    }
    for (way, stall) in stalls {
        targets = targets.at_most(format!("{way}_ms"), stall.worst_ms(), 50.0);
        figure((*way).to_owned(), json!(stall));
    }
    targets.finish(figures.into());
}

fn write(args: &Args, scratch: &Path) -> Outcome<()> {
    let log = log::open(&scratch.join("log"), Durability::Os)?;
    let mut keys = Keys::new(args.common.distribution, args.keys(), args.common.seed);
    let records = (0..args.records()).map(|number| {
        let key = keys.draw();
        let late =
            if keys.random().below(10) == 0 { keys.random().below(GRACE_MS.cast_unsigned()) } else { 0 };
        ((number * 1_000 / args.rate()).cast_signed() - late.cast_signed(), (0, key, number))
    });
    log::write_dated(&*log, &[TOPIC], args.common.partitions, records)?;
    drop(log);
    phase::report(&())
}

/// What was counted of some keys, in all of their windows together.
fn digest(args: &Args, get: impl Fn(u64) -> Outcome<Option<u64>>) -> Outcome<u64> {
    let mut digest = Digest::default();
    for rank in 0..args.keys().min(COMPARED_KEYS) {
        digest.add([get(key(rank))?.unwrap_or_default()]);
    }
    Ok(digest.value())
}

/// What was counted in each session, in any order: by the engine the same as by hand.
fn agree(scratch: &Path, sessions: impl Iterator<Item = Outcome<[u64; 4]>>) -> Outcome<()> {
    let (mut count, mut sum) = (0_u64, 0_u64);
    for session in sessions {
        let mut digest = Digest::default();
        digest.add(session?);
        (count, sum) = (count + 1, sum.wrapping_add(digest.value()));
    }
    eprintln!("  {count} sessions");
    let (path, text) = (scratch.join("sessions"), format!("{count} {sum}"));
    match std::fs::read_to_string(&path) {
        Ok(before) if before != text => Err("the ways came to different sessions".into()),
        _ => Ok(std::fs::write(path, text)?),
    }
}
