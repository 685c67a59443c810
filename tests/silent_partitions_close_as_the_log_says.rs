//! What silent partitions hold back closes as their policy says, and how they are taken on in time is input as any other: finals are the
//! same for every way to cut epochs, every crash and every rebuild, and each is told once.
//!
//! Method: random records of several partitions, some of which fall silent, and a clock that is moved by hand; finals are appended to a
//! topic. Lives with random epochs, drains and crashes write ticks as they go. Afterwards a state that begins from nothing, under the
//! same name, folds the same log: it must come to the same rows, and tell nothing again. The oracle is a loop over the log, which knows
//! the ticks by reading them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::prelude::*;
use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::codec::KeyCodec;
use millpond::stream::Tumbling;
use millpond::testing::Driver;
use millpond::{
    Clock, Engine, ErrorKind, Graph, GraphBuilder, Idle, ManualClock, StoredTable, Topic, TopicPartition,
    Windowed,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::life::Life;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const PARTITIONS: u32 = 3;
const SIZE_MS: i64 = 100;
const GRACE_MS: i64 = 30;

fn clicks(idle: Idle) -> Topic<u8, u64> {
    Topic::new("clicks").idle(idle)
}

fn told() -> Topic<Windowed<u8>, Vec<u64>> {
    Topic::new("told").partitions(1)
}

type Rows = BTreeMap<Windowed<u8>, Vec<u64>>;
type Table = StoredTable<Windowed<u8>, Vec<u64>>;

fn tumbling(size_ms: i64, grace_ms: i64) -> Tumbling {
    let millis = |ms: i64| Duration::from_millis(ms.unsigned_abs());
    Tumbling::of(millis(size_ms)).grace(millis(grace_ms))
}

/// The table of all windows, and that of those that were told.
fn graph(idle: Idle) -> (Graph, (Table, Table)) {
    let graph = GraphBuilder::new();
    let windows = graph.stream(&clicks(idle)).group_by_key().windowed(tumbling(SIZE_MS, GRACE_MS));
    let list = |list: &mut Vec<u64>, _: &u8, number| {
        list.push(number);
        list.sort_unstable();
    };
    let all = windows.fold("all", Vec::new, list);
    let closed = all.on_close();
    closed.to(&told());
    let finals = closed.group_by_key().fold("finals", Vec::new, |all, _, list| all.extend(list));
    (graph.build().unwrap(), (all.table().clone(), finals))
}

fn windowed(partition: u32, bytes: &[u8]) -> (u32, Windowed<u8>) {
    (partition, Windowed::decode_whole_key(bytes).unwrap())
}

/// All rows that must be there, and those that must have been told, in order.
fn expected(log: &dyn Changelog) -> (Rows, Vec<(Windowed<u8>, Vec<u64>)>) {
    // By partition: from which offset on it has come how far.
    let mut ticks: BTreeMap<u32, Vec<(u64, i64)>> = BTreeMap::new();
    for record in records::read(log, &TopicPartition::new("millpond.time", 0)).unwrap() {
        let tick: serde_json::Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        for reach in tick["partitions"].as_array().unwrap() {
            let partition = u32::try_from(reach["partition"].as_u64().unwrap()).unwrap();
            let reach = (reach["offset"].as_u64().unwrap(), reach["time_ms"].as_i64().unwrap());
            ticks.entry(partition).or_default().push(reach);
        }
    }
    let mut all = Rows::new();
    let mut watermark = i64::MAX;
    for number in 0..PARTITIONS {
        let ticks = ticks.remove(&number).unwrap_or_default();
        let id = TopicPartition::new("clicks", number);
        let kept = log.offsets(&id).unwrap();
        let mut reader = log.reader(&id, kept.start).unwrap();
        let mut reached = i64::MIN;
        let ticked = |end: u64| {
            let below = ticks.iter().filter(move |(offset, _)| *offset <= end);
            below.map(|(_, at)| *at).max().unwrap_or(i64::MIN)
        };
        millpond::changelog::backend::read_below(&mut *reader, kept.end, |batch| {
            for record in &batch.decode()? {
                reached = reached.max(record.timestamp_ms).max(ticked(record.offset));
                let key = record.key.unwrap()[0];
                let value = clicks(Idle::never()).codec().decode(record.value.unwrap()).unwrap();
                let start = record.timestamp_ms.div_euclid(SIZE_MS) * SIZE_MS;
                if reached < start + SIZE_MS + GRACE_MS {
                    all.entry(Windowed::new(start, start + SIZE_MS, key)).or_default().push(value);
                }
            }
            Ok(())
        })
        .unwrap();
        watermark = watermark.min(reached.max(ticked(u64::MAX)));
    }
    all.values_mut().for_each(|list| list.sort_unstable());
    let closed = all.iter().filter(|(windowed, _)| windowed.end_ms + GRACE_MS <= watermark);
    let finals = closed.map(|(windowed, list)| (*windowed, list.clone())).collect();
    (all, finals)
}

/// What is there, and what was told.
fn found(life: &mut Life<(Table, Table)>) -> (Rows, Vec<(Windowed<u8>, Vec<u64>)>) {
    let (stepper, (all, finals)) = life.fold_all();
    let rows = |table| stepper.view(table).unwrap().scan().unwrap().map(Result::unwrap).collect::<Rows>();
    let (all, finals) = (rows(all), rows(finals));
    let records = records::read(&*life.log, &TopicPartition::new("told", 0)).unwrap();
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            let (_, key) = windowed(0, record.key.as_ref().unwrap());
            (key, told().codec().decode(record.value.as_ref().unwrap()).unwrap())
        })
        .collect();
    let kept: Rows = told.iter().cloned().collect();
    if finals != kept {
        let diff: Vec<_> = kept.iter().filter(|(k, v)| finals.get(k) != Some(v)).collect();
        let d2: Vec<_> = finals.iter().filter(|(k, v)| kept.get(k) != Some(v)).collect();
        println!("told not kept {diff:?}\nkept not told {d2:?}");
        println!("in all: {:?}", diff.iter().map(|(k, _)| all.get(k)).collect::<Vec<_>>());
        println!("{:?}", millpond_support::records::read(&*life.log, &TopicPartition::new("millpond.time", 0)).unwrap().iter().map(|r| String::from_utf8_lossy(r.value.as_ref().unwrap()).into_owned()).collect::<Vec<_>>());
    }
    assert!(kept == finals, "each is told once, and kept as it was told");
    (all, told)
}

#[test]
fn silent_partitions_close_as_the_log_says() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    let (mut closed, mut ticked) = (0, BTreeSet::new());
    let second = Duration::from_secs(1);
    for round in 0..rounds(80) {
        let log: Arc<dyn Changelog> = match random.below(3) {
            0 => OwnLog::with_gaps(random.number()),
            _ => Arc::new(MemoryChangelog::new()),
        };
        log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
        println!("one sequence: {}", log.abilities().one_sequence);
        let idle = random.pick(&[
            Idle::follow(second),
            Idle::clock(second, Duration::ZERO),
            Idle::clock(2 * second, Duration::from_millis(150)),
        ]);
        let clock = Arc::new(ManualClock::new(0));
        let ticking = clock.clone();
        let mut life = Life::new(log, move || graph(idle)).with(move |builder| builder.clock(ticking.clone()));
        let mut reached = [0_i64; 3];
        // Whoever is silent, for a while.
        let mut silent = random.index(4);
        for number in 0..250 {
            match random.below(16) {
                0..9 => life.step(&mut random),
                9 | 10 => clock.advance(i64::try_from(random.below(1_500)).unwrap()),
                11 if random.below(3) == 0 => silent = random.index(4),
                11 if random.below(8) == 0 => {
                    let to = clock.now_ms() + i64::try_from(random.below(300)).unwrap() - 150;
                    // Of a log with gaps not all may be there yet.
                    if let Err(error) = life.alive().0.advance_time(to) {
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    }
                }
                _ => {
                    let partition = random.index(3);
                    if partition == silent {
                        continue;
                    }
                    let id = TopicPartition::new("clicks", u32::try_from(partition).unwrap());
                    let now = clock.now_ms();
                    let batch = (0..=random.below(3)).map(|part| {
                        reached[partition] = now.max(reached[partition]) + i64::try_from(random.below(20)).unwrap();
                        let behind = if random.below(3) == 0 { random.below(400) } else { 0 };
                        let at = reached[partition] - i64::try_from(behind).unwrap();
                        let key = u8::try_from(random.below(3) * 3 + partition as u64).unwrap();
                        records::record(&clicks(idle), &key, Some(&(number * 10 + part))).at(at)
                    });
                    records::append(&*life.log, id, batch.collect()).unwrap();
                }
            }
        }
        let (rows, finals) = found(&mut life);
        let expected = expected(&*life.log);
        if rows != expected.0 {
            for (k, v) in &expected.0 { if rows.get(k) != Some(v) { println!("missing {k:?} {v:?} got {:?}", rows.get(k)); } }
            for (k, v) in &rows { if expected.0.get(k) != Some(v) { println!("too much {k:?} {v:?}"); } }
            for r in records::read(&*life.log, &TopicPartition::new("millpond.time", 0)).unwrap() { println!("{}", String::from_utf8_lossy(r.value.as_ref().unwrap())); }
            for p in 0..3 { for (i, r) in records::read(&*life.log, &TopicPartition::new("clicks", p)).unwrap().iter().enumerate() { println!("{p}/{i} at {} {:?} key {:?}", r.timestamp_ms, clicks(idle).codec().decode(r.value.as_ref().unwrap()), r.key); } }
        }
        assert!(rows == expected.0, "round {round}, {idle}");
        if finals != expected.1 {
            let a: Rows = finals.iter().cloned().collect();
            let b: Rows = expected.1.iter().cloned().collect();
            for (k, v) in &b { if a.get(k) != Some(v) { println!("missing {k:?} {v:?} got {:?}", a.get(k)); } }
            for (k, v) in &a { if b.get(k) != Some(v) { println!("too much {k:?} {v:?} got {:?}", b.get(k)); } }
            println!("{} {}", a == b, finals.len() == expected.1.len());
            for (x, y) in finals.iter().zip(&expected.1) { if x != y { println!("{x:?} != {y:?}"); break; } }
            for r in records::read(&*life.log, &TopicPartition::new("millpond.time", 0)).unwrap() { println!("{}", String::from_utf8_lossy(r.value.as_ref().unwrap())); }
            for p in 0..3 { for (i, r) in records::read(&*life.log, &TopicPartition::new("clicks", p)).unwrap().iter().enumerate() { println!("{p}/{i} at {} {:?} key {:?}", r.timestamp_ms, clicks(idle).codec().decode(r.value.as_ref().unwrap()), r.key); } }
            for m in life.log.epochs_after("millpond", &millpond::Position::new()).unwrap() { println!("MARK {} -> {}", m.from, m.to); }
        }
        assert!(finals == expected.1, "round {round}, {idle}");
        // From nothing, the same; the clock stands still, so that nothing new is due.
        let ticks = life.log.offsets(&TopicPartition::new("millpond.time", 0)).unwrap().end;
        life.forget();
        let dump = |life: &Life<(Table, Table)>| {
            for r in records::read(&*life.log, &TopicPartition::new("millpond.time", 0)).unwrap() { println!("{}", String::from_utf8_lossy(r.value.as_ref().unwrap())); }
            for p in 0..3 { for (i, r) in records::read(&*life.log, &TopicPartition::new("clicks", p)).unwrap().iter().enumerate() { println!("{p}/{i} at {} {:?} key {:?}", r.timestamp_ms, clicks(idle).codec().decode(r.value.as_ref().unwrap()), r.key); } }
            for m in life.log.epochs_after("millpond", &millpond::Position::new()).unwrap() { println!("MARK {} -> {}", m.from, m.to); }
        };
        let again = found(&mut life);
        if again.0 != rows { dump(&life);
            for (k, v) in &rows { if again.0.get(k) != Some(v) { println!("missing {k:?} {v:?} got {:?}", again.0.get(k)); } }
        }
        assert_eq!(found(&mut life), (rows, finals), "round {round}, {idle}: folded again");
        assert_eq!(life.log.offsets(&TopicPartition::new("millpond.time", 0)).unwrap().end, ticks);
        closed += expected.1.len();
        ticked.insert(ticks);
    }
    assert!(closed > 1_000, "windows close: {closed}");
    assert!(ticked.last() > Some(&10), "{ticked:?}");
}
