//! A record of `ticks` is input as any other: it stands between the same records for every way to cut epochs, every crash, every build and
//! whoever follows or takes over, and what is made of it is told once.
//!
//! Method: ticks of two periods look rows of a table up, whose topic goes on meanwhile, and are counted by windows of their own. A clock that
//! is moved by hand goes on, jumps by a year, and is put back. Lives with random epochs, drains, crashes and newer versions of a table make
//! the ticks as they go. The oracle is a loop over the log, which knows the ticks, and up to where each partition was folded before each,
//! by reading them. Afterwards a state that begins from nothing comes to the same, and tells nothing again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::backend::Commit;
use millpond::changelog::prelude::*;
use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::store::MemoryStore;
use millpond::stream::Tumbling;
use millpond::testing::{Driver, Settings};
use millpond::{
    Clock, Engine, ErrorKind, FailurePolicy, Graph, GraphBuilder, ManualClock, Stepper, StoredTable,
    TableOptions, Topic, TopicPartition, Windowed,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::life::Life;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PARTITIONS: u32 = 3;
const KEYS: u64 = 6;
const YEAR_MS: i64 = 365 * 24 * 3_600_000;

/// The names of two streams, in the order of the names, and their periods.
const PERIODS: [(&str, i64); 2] = [("long", 12_000), ("short", 5_000)];
const WINDOW_MS: i64 = 20_000;

/// Which stream, when, and what the row was then that is looked up.
type Met = (String, i64, Option<u64>);

fn rates() -> Topic<u8, u64> {
    Topic::new("rates")
}

fn told() -> Topic<i64, Met> {
    Topic::new("told").partitions(1)
}

fn closed() -> Topic<Windowed<()>, u64> {
    Topic::new("closed").partitions(1)
}

/// The row that is looked up at a moment.
fn key_at(moment: i64) -> u8 {
    u8::try_from((moment / 1_000).rem_euclid(i64::try_from(KEYS).unwrap())).unwrap()
}

/// The table of what was met, by stream and moment, and of how many there were.
type Tables = (StoredTable<(String, i64), Met>, StoredTable<(), u64>);

fn graph(version: u32) -> (Graph, Tables) {
    let graph = GraphBuilder::new();
    let current = graph.table(&rates(), "current");
    let [long, short] = PERIODS.map(|(name, every_ms)| {
        let ticks = graph.ticks(name, Duration::from_millis(every_ms.unsigned_abs()));
        let met = ticks.left_join_by(
            &current,
            |(), moment| key_at(*moment),
            move |(), moment, row| (name.to_owned(), moment, row.copied()),
        );
        met.re_key(|(), (_, moment, _)| *moment)
    });
    let met = long.merge(&short);
    met.to(&told());
    let rows = met.re_key(|moment, (name, _, _)| (name.clone(), *moment));
    let rows = rows.to_table(TableOptions::from("met").version(version));
    let short = graph.ticks(PERIODS[1].0, Duration::from_millis(PERIODS[1].1.unsigned_abs()));
    let count = short.group_by_key().count(TableOptions::from("count").version(version));
    let windows = Tumbling::of(Duration::from_millis(WINDOW_MS.unsigned_abs())).grace(Duration::ZERO);
    short.group_by_key().windowed(windows).count("per_window").on_close().to(&closed());
    (graph.build().unwrap(), (rows, count))
}

/// What every tick must have met, in order, and the windows of the short ones that must have been told.
fn expected(log: &dyn Changelog) -> (Vec<Met>, Vec<(i64, u64)>) {
    let partitions: Vec<Vec<(u64, u8, u64)>> = (0..PARTITIONS)
        .map(|number| {
            let id = TopicPartition::new("rates", number);
            let kept = log.offsets(&id).unwrap();
            let mut rows = Vec::new();
            let mut reader = log.reader(&id, kept.start).unwrap();
            millpond::changelog::backend::read_below(&mut *reader, kept.end, |batch| {
                for record in &batch.decode()? {
                    let value = rates().codec().decode(record.value.unwrap()).unwrap();
                    rows.push((record.offset, record.key.unwrap()[0], value));
                }
                Ok(())
            })
            .unwrap();
            rows
        })
        .collect();
    let (mut met, mut windows) = (Vec::new(), BTreeMap::<i64, u64>::new());
    let mut reached = BTreeMap::<&str, i64>::new();
    for record in records::read(log, &TopicPartition::new("millpond.time", 0)).unwrap() {
        let tick: serde_json::Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        let (mut moments, mut ends) = (Vec::new(), [None; PARTITIONS as usize]);
        for reach in tick["partitions"].as_array().unwrap() {
            let (topic, time_ms) = (reach["topic"].as_str().unwrap(), reach["time_ms"].as_i64());
            if topic == "rates" {
                let partition = usize::try_from(reach["partition"].as_u64().unwrap()).unwrap();
                ends[partition] = reach["offset"].as_u64();
                continue;
            }
            let named = PERIODS.iter().find(|(name, _)| topic == format!("ticks:{name}"));
            let (name, every_ms) = named.unwrap_or_else(|| panic!("of {topic}"));
            let time_ms = time_ms.unwrap();
            let moment = time_ms.div_euclid(*every_ms) * every_ms;
            if moment > reached.insert(name, time_ms).unwrap_or(i64::MIN) {
                moments.push((moment, *name));
            }
        }
        moments.sort_unstable();
        for (moment, name) in moments {
            let key = key_at(moment);
            let partition = usize::from(key) % PARTITIONS as usize;
            let Some(end) = ends[partition] else { panic!("a tick names all partitions") };
            let row = partitions[partition].iter().rev().find(|(offset, of, _)| *offset < end && *of == key);
            met.push((name.to_owned(), moment, row.map(|(_, _, value)| *value)));
            if name == PERIODS[1].0 {
                *windows.entry(moment.div_euclid(WINDOW_MS) * WINDOW_MS).or_default() += 1;
            }
        }
    }
    let watermark = reached.get(PERIODS[1].0).copied().unwrap_or(i64::MIN);
    (met, windows.into_iter().filter(|(start, _)| start + WINDOW_MS <= watermark).collect())
}

fn read<V: millpond::codec::Value>(log: &dyn Changelog, topic: &Topic<impl millpond::Key, V>) -> Vec<V> {
    let records = records::read(log, &TopicPartition::new(&**topic.name(), 0)).unwrap();
    records.iter().map(|record| topic.codec().decode(record.value.as_ref().unwrap()).unwrap()).collect()
}

/// Compares what is there with what must be.
fn check(log: &dyn Changelog, stepper: &Stepper, (met, count): &Tables, context: &str) {
    let (all, windows) = expected(log);
    assert_eq!(read(log, &told()), all, "each is told once, in order: {context}");
    let counts: Vec<u64> = windows.iter().map(|(_, count)| *count).collect();
    assert_eq!(read(log, &closed()), counts, "its windows are told once: {context}");
    let short = all.iter().filter(|(name, ..)| name == PERIODS[1].0).count();
    assert_eq!(
        stepper.view(count).unwrap().get(&()).unwrap(),
        (short > 0).then_some(short as u64),
        "{context}"
    );
    let rows: BTreeMap<_, _> = stepper.view(met).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let wanted = all.iter().map(|met| ((met.0.clone(), met.1), met.clone())).collect();
    assert_eq!(rows, wanted, "{context}");
}

fn append(log: &dyn Changelog, random: &mut Random, number: u64) {
    let key = u8::try_from(random.below(KEYS)).unwrap();
    let record = records::record(&rates(), &key, Some(&number)).at(0);
    let id = TopicPartition::new("rates", u32::from(key) % PARTITIONS);
    records::append(log, id, vec![record]).unwrap();
}

/// By chance: on by little, by many periods, by a year, or back.
fn move_clock(clock: &ManualClock, random: &mut Random) {
    let by_ms = match random.below(12) {
        0 => YEAR_MS,
        1 => -i64::try_from(random.below(100_000)).unwrap(),
        2 => i64::try_from(random.below(200_000)).unwrap(),
        _ => i64::try_from(random.below(6_000)).unwrap(),
    };
    clock.advance(by_ms);
}

fn ticks_of(log: &dyn Changelog) -> usize {
    records::read(log, &TopicPartition::new("millpond.time", 0)).unwrap().len()
}

#[test]
fn a_tick_of_the_clock_is_a_record_of_the_log() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    let mut all = 0;
    for round in 0..rounds(60) {
        let log: Arc<dyn Changelog> = match random.below(2) {
            0 => OwnLog::with_gaps(random.number()),
            _ => Arc::new(MemoryChangelog::new()),
        };
        log.create_topic("rates", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
        // On either side of 1970.
        let clock = Arc::new(ManualClock::new(i64::try_from(random.below(200_000)).unwrap() - 100_000));
        let (ticking, version) = (clock.clone(), Arc::new(AtomicU32::new(1)));
        let newest = version.clone();
        let mut life = Life::new(log, move || graph(newest.load(Ordering::Relaxed)))
            .with(move |builder| builder.clock(ticking.clone()));
        let (mut moves, mut latest_ms) = (1, clock.now_ms());
        for number in 0..200 {
            match random.below(16) {
                0..9 => life.step(&mut random),
                9 | 10 => {
                    move_clock(&clock, &mut random);
                    (moves, latest_ms) = (moves + 1, latest_ms.max(clock.now_ms()));
                }
                11 if random.below(8) == 0 => {
                    // A build may be cut short by the next.
                    life.crash();
                    version.fetch_add(1, Ordering::Relaxed);
                }
                _ => append(&*life.log, &mut random, number),
            }
        }
        clock.advance(latest_ms - clock.now_ms());
        let context = format!("round {round}");
        let log = life.log.clone();
        let (stepper, tables) = life.fold_all();
        check(&*log, stepper, tables, &context);
        let ticks = ticks_of(&*log);
        assert!(ticks <= moves, "{ticks} of {moves}, {context}: what was missed is made up for once");
        for (name, every_ms) in PERIODS {
            let last = expected(&*log).0.into_iter().rev().find(|met| met.0 == name).unwrap();
            assert_eq!(last.1, latest_ms.div_euclid(every_ms) * every_ms, "{name}, {context}");
        }
        life.forget();
        let (stepper, tables) = life.fold_all();
        check(&*log, stepper, tables, &format!("{context}, folded again"));
        assert_eq!(ticks_of(&*log), ticks, "{context}");
        all += ticks;
    }
    assert!(all > 3 * rounds(60) as usize, "{all}");
}

/// A process of several that share a name: its end of the log, and its state.
struct Member {
    log: Arc<OwnLog>,
    store: Arc<MemoryStore>,
    alive: Option<(Stepper, Tables)>,
}

impl Member {
    fn stepper(&mut self, clock: &Arc<ManualClock>) -> &mut Stepper {
        let (log, store) = (self.log.clone(), self.store.clone());
        let (stepper, _) = self.alive.get_or_insert_with(|| {
            let (graph, tables) = graph(1);
            let builder = Engine::builder(&graph).store(store).changelog(log).clock(clock.clone());
            (builder.shards(2).stepper().unwrap(), tables)
        });
        stepper
    }

    fn end(&mut self) {
        self.alive = None;
        self.log = self.log.process();
    }
}

#[test]
fn processes_that_share_a_name_have_the_same_ticks() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    let mut all = 0;
    for round in 0..rounds(40) {
        let first = OwnLog::shared(random.number());
        first.create_topic("rates", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
        let clock = Arc::new(ManualClock::new(0));
        let member = || Member { log: first.process(), store: Arc::default(), alive: None };
        let mut members: Vec<Member> = (0..3).map(|_| member()).collect();
        for number in 0..200 {
            let member = &mut members[random.index(3)];
            match random.below(20) {
                0 => member.log.take_over("millpond"),
                1 => member.end(),
                2 => {
                    member.end();
                    member.store = Arc::default();
                }
                3 => member.log.delay_commits("millpond", u32::try_from(random.below(3)).unwrap()),
                4..6 => drop(member.log.commit("millpond", Duration::ZERO)),
                6 => drop(member.stepper(&clock).drain().unwrap()),
                7 | 8 => move_clock(&clock, &mut random),
                9..15 => drop(member.stepper(&clock).epoch(1 + random.index(6)).unwrap()),
                _ => append(&*first, &mut random, number),
            }
        }
        members.push(member());
        members[random.index(4)].log.take_over("millpond");
        for _ in 0..3 {
            for member in &mut members {
                let mut idling = 0;
                while idling < 20 {
                    idling = if member.stepper(&clock).epoch(100).unwrap() { 0 } else { idling + 1 };
                    member.log.delay_commits("millpond", 0);
                    if member.log.commit("millpond", Duration::ZERO).unwrap() != Commit::Done {
                        idling = 0;
                    }
                }
            }
        }
        for member in &members {
            let (stepper, tables) = member.alive.as_ref().unwrap();
            check(&*first, stepper, tables, &format!("round {round}, at {}", stepper.position()));
        }
        all += ticks_of(&*first);
    }
    assert!(all > rounds(40) as usize, "{all}");
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Whoever has always something to read ticks all the same, and one that starts catches up first.
#[test]
fn ticks_come_between_records_and_behind_what_was_there() {
    let log = Arc::new(MemoryChangelog::new());
    let clock = Arc::new(ManualClock::new(10_000));
    log.create_topic("rates", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
    for number in 0..20 {
        append(&*log, &mut Random::new(number), number);
    }
    let graph = GraphBuilder::new();
    let count = graph.stream(&rates()).map(|_, value| ((), value)).group_by_key().count("count");
    let met =
        graph.ticks("tick", seconds(5)).join_by(&count, |(), _| (), |(), moment, count| (moment, *count));
    let met = met.map(|(), met| met).to_table("met");
    let graph = graph.build().unwrap();
    let mut stepper =
        Engine::builder(&graph).in_memory().changelog(log.clone()).clock(clock.clone()).stepper().unwrap();
    for _ in 0..10 {
        assert!(stepper.epoch(2).unwrap());
        assert_eq!(stepper.view(&met).unwrap().count().unwrap(), 0, "what was there comes first");
    }
    append(&*log, &mut Random::new(1), 20);
    assert!(stepper.epoch(2).unwrap());
    assert_eq!(
        stepper.view(&met).unwrap().get(&10_000).unwrap(),
        Some(20),
        "before what is there to be read"
    );
    for number in 0..20 {
        append(&*log, &mut Random::new(number), number);
    }
    clock.advance(7_000);
    assert!(stepper.epoch(2).unwrap());
    assert_eq!(stepper.view(&met).unwrap().get(&15_000).unwrap(), Some(20));
}

/// A hand that moves time on ticks up to there, once.
#[test]
fn time_that_is_moved_by_hand_ticks() {
    let graph = GraphBuilder::new();
    let ticks = graph.ticks("tick", seconds(5));
    let list = ticks.group_by_key().fold("list", Vec::new, |list, (), moment| list.push(moment));
    let windows =
        graph.stream(&rates()).group_by_key().windowed(Tumbling::of(seconds(1)).grace(Duration::ZERO));
    let finals = windows.count("counts").on_close().group_by_key().count("finals");
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    let list_of = |driver: &Driver| driver.table(&list).unwrap().remove(&()).unwrap_or_default();
    driver.put(&rates(), 1, 1, 0).unwrap();
    driver.run().unwrap();
    assert_eq!(list_of(&driver), [0]);
    assert!(driver.advance_time(12_345).unwrap());
    assert_eq!(list_of(&driver), [0, 10_000]);
    assert_eq!(driver.table(&finals).unwrap().len(), 1);
    assert!(!driver.advance_time(12_345).unwrap(), "all have come as far");
    driver.advance(14_000);
    driver.run().unwrap();
    assert_eq!(list_of(&driver), [0, 10_000], "time was there already");
    assert!(driver.advance_time(14_999).unwrap());
    assert_eq!(list_of(&driver), [0, 10_000], "no period has begun");
    driver.advance(1_000);
    driver.run().unwrap();
    driver.forget().unwrap();
    driver.run().unwrap();
    assert_eq!(list_of(&driver), [0, 10_000, 15_000]);
    let held = driver.stats().unwrap().watermarks;
    let held = held.iter().find(|node| node.label == "ticks").unwrap();
    assert_eq!(
        (held.watermark_ms, held.held_by.clone()),
        (Some(15_000), Some(TopicPartition::new("ticks:tick", 0)))
    );
}

/// A partition that is added has a part in time from the next epoch on, beside streams that are no partitions. It was looked for by how many
/// there are.
#[test]
fn a_partition_that_is_added_is_waited_for() {
    let log = OwnLog::new();
    log.create_topic("rates", &TopicConfig::default().partitions(1)).unwrap();
    let clock = Arc::new(ManualClock::new(0));
    let graph = GraphBuilder::new();
    graph.ticks("tick", seconds(5)).group_by_key().count("ticks");
    let windows =
        graph.stream(&rates()).group_by_key().windowed(Tumbling::of(seconds(1)).grace(Duration::ZERO));
    let counts = windows.count("counts");
    counts.on_close().to(&Topic::<Windowed<u8>, u64>::new("finals").partitions(1));
    let builder = Engine::builder(&graph.build().unwrap()).in_memory().changelog(log.clone()).clock(clock);
    let mut stepper = builder.stepper().unwrap();
    let mut put = |at_ms: i64| {
        let record = records::record(&rates(), &1, Some(&1)).at(at_ms);
        records::append(&*log, TopicPartition::new("rates", 0), vec![record]).unwrap();
        for _ in 0..20 {
            stepper.epoch(10).unwrap();
        }
        stepper.snapshot().unwrap().watermark(&stepper.view(counts.table()).unwrap()).unwrap()
    };
    assert_eq!(put(1_000), Some(1_000));
    log.grow("rates", 2);
    assert_eq!(put(5_000), Some(1_000), "it holds time where it came in");
}

/// A graph may have nothing but ticks.
#[test]
fn ticks_need_no_topic() {
    let graph = GraphBuilder::new();
    let moments = Topic::<(), i64>::new("moments").partitions(1);
    graph.ticks("tick", seconds(1)).to(&moments);
    let count = graph.ticks("tick", seconds(1)).group_by_key().count("count");
    let graph = graph.build().unwrap();
    assert!(graph.describe().contains("ticks tick every 1000 ms"), "{}", graph.describe());
    let settings = Settings { policy: FailurePolicy::DeadLetter("dead".into()), ..Settings::default() };
    let mut driver = Driver::with_settings(&graph, settings).unwrap();
    for second in 0..5_i64 {
        driver.run().unwrap();
        if second % 2 == 0 {
            driver.crash().unwrap();
        }
        driver.advance(1_000);
    }
    driver.restart().unwrap();
    driver.run().unwrap();
    assert_eq!(driver.table(&count).unwrap(), [((), 6)].into());
    let told: Vec<_> =
        driver.records(&moments).unwrap().into_iter().map(|told| (told.value, told.timestamp_ms)).collect();
    assert_eq!(told, [0, 1, 2, 3, 4, 5].map(|second| (Some(second * 1_000), second * 1_000)));
}

#[test]
fn what_cannot_tick_is_refused() {
    let refuse = |names: &[(&str, u64)], words: &[&str]| {
        let graph = GraphBuilder::new();
        for (name, millis) in names {
            let _ = graph.ticks(name, Duration::from_millis(*millis));
        }
        refused(graph.build(), ErrorKind::Invalid, words);
    };
    refuse(&[("fast", 999)], &["fast", "999 ms", "a second"]);
    refuse(&[("", 1_000)], &["0 bytes"]);
    refuse(&[("tick", 1_000), ("tick", 2_000)], &["tick", "two periods"]);
    let graph = GraphBuilder::new();
    let _ = graph.ticks("tick", seconds(1));
    graph.stream(&Topic::<u8, u8>::new("ticks:tick")).group_by_key().count("count");
    refused(graph.build(), ErrorKind::Invalid, &["ticks:tick", "another name"]);
}
