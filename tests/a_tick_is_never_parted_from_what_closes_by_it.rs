//! A process that ends, or whose medium fails, at any step between a tick and the rows that it has closed loses and repeats nothing: a
//! tick is in the log with all that was told by it or not at all, and whoever goes on comes to the same. So is one of the clock, which is a
//! record by itself.
//!
//! Method: a child process folds windows over partitions that fall silent, and tells each second, on disk, with a clock that is moved by hand and one of the steps
//! of an epoch, an append or a drain armed to fail. Another life without a fault goes on. The parent folds what is left, and compares
//! the rows, and what was told, with a loop over the log; and so does a state that begins from nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::prelude::*;
use millpond::changelog::{EmbeddedChangelog, EmbeddedOptions, TopicConfig};
use millpond::codec::KeyCodec;
use millpond::stream::Tumbling;
use millpond::testing::Input;
use millpond::{
    Clock, Engine, EngineBuilder, Graph, GraphBuilder, Idle, ManualClock, Position, Result, StoredTable,
    Topic, TopicPartition, Windowed, fault,
};
use millpond_support::environment::{rounds, seed, variable};
use millpond_support::process::{ChildProcess, given, tell};
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PARTITIONS: u32 = 2;
const SIZE_MS: i64 = 1_000;
const GRACE_MS: i64 = 200;

/// The steps of which a process may not come to the end.
const POINTS: [&str; 10] = [
    "epoch.before_append",
    "changelog.append.before_write",
    "changelog.append.after_write",
    "changelog.append.before_ack",
    "epoch.after_append",
    "epoch.before_publish",
    "epoch.after_publish",
    "drain.after_sync",
    "drain.before_ingest",
    "drain.after_ingest",
];

fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks").idle(Idle::clock(Duration::from_secs(1), Duration::ZERO))
}

fn told() -> Topic<Windowed<u8>, u64> {
    Topic::new("told").partitions(1)
}

fn moments() -> Topic<(), i64> {
    Topic::new("moments").partitions(1)
}

fn graph() -> (Graph, StoredTable<Windowed<u8>, u64>) {
    let graph = GraphBuilder::new();
    let tumbling = Tumbling::of(Duration::from_secs(1)).grace(Duration::from_millis(200));
    let counts = graph.stream(&clicks()).group_by_key().windowed(tumbling).count("counts");
    counts.on_close().to(&told());
    graph.ticks("second", Duration::from_secs(1)).to(&moments());
    let counts = counts.table().clone();
    (graph.build().unwrap(), counts)
}

fn open_log(dir: &Path, clock: &Arc<ManualClock>) -> Result<Arc<EmbeddedChangelog>> {
    let options = EmbeddedOptions::default().clock(clock.clone());
    EmbeddedChangelog::open(dir.join("log"), options).map(Arc::new)
}

fn builder(
    graph: &Graph,
    dir: &Path,
    log: &Arc<EmbeddedChangelog>,
    clock: &Arc<ManualClock>,
) -> EngineBuilder {
    Engine::builder(graph).changelog(log.clone()).clock(clock.clone()).state_dir(dir.join("state")).shards(2)
}

/// The body of the child process; nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = given() else { return };
    let mut random = Random::new(variable("MILLPOND_SEED").unwrap());
    if let Err(error) = live(&dir, &mut random) {
        tell(&format!("stopped: {error}"));
    }
    let point: String = variable("MILLPOND_POINT").unwrap();
    tell(if fault::fired(&point) { "fired" } else { "never fired" });
}

fn live(dir: &Path, random: &mut Random) -> Result<()> {
    let clock = Arc::new(ManualClock::new(variable("MILLPOND_NOW").unwrap()));
    let log = open_log(dir, &clock)?;
    log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS))?;
    let mut stepper = builder(&graph().0, dir, &log, &clock).stepper()?;
    for _ in 0..8 {
        let now = clock.now_ms();
        // One of both is silent for the most part.
        for partition in 0..=u32::from(random.below(4) == 0) {
            let batch = (0..=random.below(3)).map(|_| {
                let at = now - i64::try_from(random.below(1_500)).unwrap();
                let key = u8::try_from(random.below(3) * 2 + u64::from(partition)).unwrap();
                records::record(&clicks(), &key, Some(&1)).at(at)
            });
            records::append(&*log, TopicPartition::new("clicks", partition), batch.collect())?;
        }
        for _ in 0..=random.below(4) {
            stepper.epoch(1 + random.index(4))?;
        }
        if random.below(3) == 0 {
            stepper.drain()?;
        }
        clock.advance(i64::try_from(random.below(2_500)).unwrap());
    }
    while stepper.epoch(10)? {}
    stepper.drain()?;
    Ok(())
}

type Rows = BTreeMap<Windowed<u8>, u64>;

/// Every row, and those that are final, by a loop over the log.
fn expected(log: &Arc<EmbeddedChangelog>, position: &Position) -> (Rows, Rows) {
    let input = Input::new(log.clone(), position.clone());
    let mut all = Rows::new();
    for (record, reached) in input.records_in_time(&clicks()) {
        let start = record.timestamp_ms.div_euclid(SIZE_MS) * SIZE_MS;
        if reached < start + SIZE_MS + GRACE_MS {
            *all.entry(Windowed::new(start, start + SIZE_MS, record.key)).or_default() += 1;
        }
    }
    let watermark = input.watermark(&clicks()).unwrap_or(i64::MIN);
    let finals = all.iter().filter(|(windowed, _)| windowed.end_ms.saturating_add(GRACE_MS) <= watermark);
    let finals = finals.map(|(windowed, count)| (*windowed, *count)).collect();
    (all, finals)
}

/// Folds what is left with the state in `dir`, and compares. Answers with how many windows were told.
fn audit(log: &Arc<EmbeddedChangelog>, clock: &Arc<ManualClock>, dir: &Path, context: &str) -> usize {
    let (graph, counts) = graph();
    let mut stepper = builder(&graph, dir, log, clock).stepper().unwrap();
    while stepper.epoch(3).unwrap() {}
    let rows: Rows = stepper.view(&counts).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let (all, finals) = expected(log, &stepper.position());
    assert_eq!(rows, all, "{context}");
    let records = records::read(&**log, &TopicPartition::new("told", 0)).unwrap();
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            let key = Windowed::<u8>::decode_whole_key(record.key.as_ref().unwrap()).unwrap();
            (key, told().codec().decode(record.value.as_ref().unwrap()).unwrap())
        })
        .collect();
    let finals: Vec<_> = finals.into_iter().collect();
    assert_eq!(told, finals, "each is told once, and in order: {context}");
    assert_eq!(told_moments(log), ticked_moments(log), "each is told once, and in order: {context}");
    told.len()
}

fn told_moments(log: &Arc<EmbeddedChangelog>) -> Vec<i64> {
    let records = records::read(&**log, &TopicPartition::new("moments", 0)).unwrap();
    records.iter().map(|record| moments().codec().decode(record.value.as_ref().unwrap()).unwrap()).collect()
}

/// The moments that are noted.
fn ticked_moments(log: &Arc<EmbeddedChangelog>) -> Vec<i64> {
    let mut moments = Vec::new();
    for record in records::read(&**log, &TopicPartition::new("millpond.time", 0)).unwrap() {
        let tick: serde_json::Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        let named = tick.get("partitions").and_then(serde_json::Value::as_array).unwrap().iter();
        let second = named.filter(|reach| reach["topic"].as_str() == Some("ticks:second"));
        moments.extend(second.map(|reach| reach["time_ms"].as_i64().unwrap()));
    }
    assert!(moments.is_sorted_by(|one, other| one < other), "{moments:?}");
    moments
}

#[test]
fn a_tick_is_never_parted_from_what_closes_by_it() {
    let mut random = Random::new(seed());
    let (mut told, mut fired) = (0, 0);
    for point in POINTS {
        for action in ["error", "abort"] {
            for _ in 0..rounds(2) {
                // The first epochs have records; ticks come among the later ones.
                let hit = 1 + random.below(12);
                let dir = tempfile::tempdir().unwrap();
                let fault = format!("{point}:{hit}:{action}");
                let seed = random.number();
                let context = format!("{fault} with seed {seed}");
                for (life, faults) in [(0_u64, fault.as_str()), (1, "")] {
                    let task = [
                        ("MILLPOND_POINT", point.to_owned()),
                        ("MILLPOND_FAULTS", faults.to_owned()),
                        ("MILLPOND_SEED", (seed ^ life).to_string()),
                        ("MILLPOND_NOW", (1_000_000 + life * 20_000).to_string()),
                    ];
                    let (lines, stderr, status) = ChildProcess::spawn(dir.path(), &task).end();
                    let has_told = |text: &str| lines.iter().any(|line| line == text);
                    fired += usize::from(status.code().is_none() || has_told("fired"));
                    assert!(
                        status.code().is_none() || has_told("fired") || has_told("never fired"),
                        "{context}: {status}\n{stderr}"
                    );
                }
                let clock = Arc::new(ManualClock::new(1_040_000));
                let log = open_log(dir.path(), &clock).unwrap();
                let elsewhere = tempfile::tempdir().unwrap();
                told += audit(&log, &clock, dir.path(), &context);
                audit(&log, &clock, elsewhere.path(), &format!("from nothing, after {context}"));
            }
        }
    }
    assert!(told > 100 && fired > 10, "{told} windows were told, {fired} faults fired");
}
