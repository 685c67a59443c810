//! What silent partitions hold back closes as their policy says, and how they are taken on in time is input as any other: finals are the
//! same for every way to cut epochs, every crash and every rebuild, and each is told once.
//!
//! Method: random records of several partitions, some of which fall silent, and a clock that is moved by hand; finals are appended to a
//! topic. Lives with random epochs, drains and crashes write ticks as they go. Afterwards a state that begins from nothing, under the
//! same name, folds the same log: it must come to the same rows, and tell nothing again. The oracle is a loop over the log, which knows
//! the ticks by reading them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::backend::Commit;
use millpond::changelog::prelude::*;
use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::codec::KeyCodec;
use millpond::store::MemoryStore;
use millpond::stream::{Hopping, Session, Sliding, Tumbling, Within};
use millpond::{
    Clock, Engine, ErrorKind, Graph, GraphBuilder, Idle, ManualClock, Stepper, StoredTable, Topic,
    TopicPartition, Upsert, Windowed,
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

/// All rows that must be there, and those that must have been told, in order.
fn expected(log: &dyn Changelog) -> Found {
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
    for list in all.values_mut() {
        list.sort_unstable();
    }
    let closed = all.iter().filter(|(windowed, _)| windowed.end_ms + GRACE_MS <= watermark);
    let finals = closed.map(|(windowed, list)| (*windowed, list.clone())).collect();
    (all, finals)
}

/// What is there, and what was told.
type Found = (Rows, Vec<(Windowed<u8>, Vec<u64>)>);

fn found(life: &mut Life<(Table, Table)>) -> Found {
    let (stepper, tables) = life.fold_all();
    let rows = rows_of(stepper, tables);
    told_once(&*life.log, rows)
}

/// All rows, and those that were told.
fn rows_of(stepper: &Stepper, (all, finals): &(Table, Table)) -> (Rows, Rows) {
    let rows = |table| stepper.view(table).unwrap().scan().unwrap().map(Result::unwrap).collect();
    (rows(all), rows(finals))
}

fn told_once(log: &dyn Changelog, (all, finals): (Rows, Rows)) -> Found {
    let records = records::read(log, &TopicPartition::new("told", 0)).unwrap();
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            let key = Windowed::decode_whole_key(record.key.as_ref().unwrap());
            (key.unwrap(), told().codec().decode(record.value.as_ref().unwrap()).unwrap())
        })
        .collect();
    assert_eq!(finals, told.iter().cloned().collect(), "each is told once, and kept as it was told");
    assert_eq!(finals.len(), told.len(), "each is told once");
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
        let idle = random.pick(&[
            Idle::follow(second),
            Idle::clock(second, Duration::ZERO),
            Idle::clock(2 * second, Duration::from_millis(150)),
        ]);
        let clock = Arc::new(ManualClock::new(0));
        let ticking = clock.clone();
        let mut life =
            Life::new(log, move || graph(idle)).with(move |builder| builder.clock(ticking.clone()));
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
                        reached[partition] =
                            now.max(reached[partition]) + i64::try_from(random.below(20)).unwrap();
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
        assert_eq!(rows, expected.0, "round {round}, {idle}");
        assert_eq!(finals, expected.1, "round {round}, {idle}");
        // From nothing, the same; the clock stands still, so that nothing new is due.
        let ticks = life.log.offsets(&TopicPartition::new("millpond.time", 0)).unwrap().end;
        life.forget();
        assert_eq!(found(&mut life), (rows, finals), "round {round}, {idle}: folded again");
        assert_eq!(life.log.offsets(&TopicPartition::new("millpond.time", 0)).unwrap().end, ticks);
        closed += expected.1.len();
        ticked.insert(ticks);
    }
    assert!(closed > 1_000, "windows close: {closed}");
    assert!(ticked.last() > Some(&10), "{ticked:?}");
}

/// A process of several that share a name: its end of the log, and its state.
struct Member {
    log: Arc<OwnLog>,
    store: Arc<MemoryStore>,
    alive: Option<(Stepper, (Table, Table))>,
}

impl Member {
    fn stepper(&mut self, clock: &Arc<ManualClock>, idle: Idle) -> &mut Stepper {
        let (log, store) = (self.log.clone(), self.store.clone());
        let (stepper, _) = self.alive.get_or_insert_with(|| {
            let (graph, tables) = graph(idle);
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

/// Whoever holds the name makes the ticks, in one step with what closes by them; the others take them where they were made, and so does
/// whoever takes over.
#[test]
fn processes_that_share_a_name_come_to_the_same() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    let mut ticked = 0;
    for round in 0..rounds(60) {
        let first = OwnLog::shared(random.number());
        first.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
        let idle = random.pick(&[
            Idle::follow(Duration::from_secs(1)),
            Idle::clock(Duration::from_secs(1), Duration::ZERO),
        ]);
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
                6 => drop(member.stepper(&clock, idle).drain().unwrap()),
                7 | 8 => clock.advance(i64::try_from(random.below(1_500)).unwrap()),
                9..15 => drop(member.stepper(&clock, idle).epoch(1 + random.index(6)).unwrap()),
                _ => {
                    // The third is silent for the most part.
                    let partition = random.index(if number % 50 == 0 { 3 } else { 2 });
                    let at = clock.now_ms() - i64::try_from(random.below(200)).unwrap();
                    let key = u8::try_from(random.below(3) * 3 + partition as u64).unwrap();
                    let record = records::record(&clicks(idle), &key, Some(&number)).at(at);
                    let id = TopicPartition::new("clicks", u32::try_from(partition).unwrap());
                    records::append(&*first, id, vec![record]).unwrap();
                }
            }
        }
        members.push(member());
        members[random.index(4)].log.take_over("millpond");
        for _ in 0..3 {
            for member in &mut members {
                let mut idling = 0;
                while idling < 20 {
                    idling = if member.stepper(&clock, idle).epoch(100).unwrap() { 0 } else { idling + 1 };
                    member.log.delay_commits("millpond", 0);
                    if member.log.commit("millpond", Duration::ZERO).unwrap() != Commit::Done {
                        idling = 0;
                    }
                }
            }
        }
        let expected = expected(&*first);
        for member in &members {
            let (stepper, tables) = member.alive.as_ref().unwrap();
            let found = told_once(&*first, rows_of(stepper, tables));
            assert_eq!(found, expected, "round {round}, {idle}, at {}", stepper.position());
        }
        ticked += first.offsets(&TopicPartition::new("millpond.time", 0)).unwrap().end;
    }
    assert!(ticked > 100, "{ticked}");
}

#[test]
fn silent_partitions_of_a_topic_are_one_thing_wherever_it_is_read() {
    let graph = GraphBuilder::new();
    graph.stream(&clicks(Idle::never())).group_by_key().count("counts");
    graph.stream(&clicks(Idle::follow(Duration::from_secs(1)))).group_by_key().count("again");
    refused(
        graph.build(),
        ErrorKind::Invalid,
        &["clicks", "holds time back", "follows others", "same everywhere"],
    );
}

/// Nothing is noted where nothing closes, however long it is silent.
#[test]
fn what_closes_nothing_is_not_noted() {
    let log = Arc::new(MemoryChangelog::new());
    let clock = Arc::new(ManualClock::new(0));
    let idle = Idle::clock(Duration::from_secs(1), Duration::ZERO);
    log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
    let ticking = clock.clone();
    let mut life =
        Life::new(log.clone(), move || graph(idle)).with(move |builder| builder.clock(ticking.clone()));
    let ticks = || log.offsets(&TopicPartition::new("millpond.time", 0)).unwrap().end;
    life.fold_all();
    clock.advance(100_000);
    life.fold_all();
    assert_eq!(ticks(), 0);
    let record = records::record(&clicks(idle), &1, Some(&1)).at(100_000);
    records::append(&*log, TopicPartition::new("clicks", 1), vec![record]).unwrap();
    life.fold_all();
    for _ in 0..100 {
        clock.advance(10_000);
        life.fold_all();
    }
    assert_eq!(ticks(), 1);
}

/// What waits for time, of which something is told when it is closed.
type Waits = fn(&GraphBuilder, &Topic<u8, u64>) -> millpond::Stream<u8, u64>;

const ALL: [(&str, Waits); 8] = [
    ("sessions", |graph, topic| {
        let sessions = Session::gap(Duration::from_millis(100)).grace(Duration::ZERO);
        let counts = graph.stream(topic).group_by_key().windowed(sessions).count("counts");
        counts.on_close().map(|windowed, count| (windowed.key, count))
    }),
    ("hopping", |graph, topic| {
        let hopping =
            Hopping::of(Duration::from_millis(200)).every(Duration::from_millis(200)).grace(Duration::ZERO);
        let counts = graph.stream(topic).group_by_key().windowed(hopping).count("counts");
        counts.on_close().map(|windowed, count| (windowed.key, count))
    }),
    ("sliding", |graph, topic| {
        let sliding = Sliding::of(Duration::from_millis(100)).grace(Duration::ZERO);
        let counts = graph.stream(topic).group_by_key().windowed(sliding).count("counts");
        counts.on_close().map(|windowed, count| (windowed.key, count))
    }),
    ("a join", |graph, topic| {
        let within = Within::after(Duration::from_millis(100)).grace(Duration::ZERO);
        let none = graph.stream(topic).filter(|_, _| false);
        graph
            .stream(topic)
            .left_join_within(&none, within, "met", |_, _, met| u64::from(met.is_none()))
            .map_values(|_, met| met)
    }),
    ("an order in time", |graph, topic| {
        graph.stream(topic).in_time_order("waiting", Duration::from_millis(100)).map_values(|_, value| value)
    }),
    ("rows that expire", |graph, topic| {
        let rows = graph.table(topic, "rows").expire_after("young", Duration::from_millis(100));
        rows.to_stream().filter(|_, change| matches!(change, Upsert::Delete)).map_values(|_, _| 1)
    }),
    ("rows that settle", |graph, topic| {
        let settled = graph.table(topic, "rows").settled("settled", Duration::from_millis(100));
        settled.to_stream().map_values(|_, _| 1)
    }),
    ("a join as of a time", |graph, topic| {
        let rates = graph.versioned(topic, "rates", Duration::from_secs(1));
        graph
            .stream(topic)
            .join_as_of(&rates, "waiting", Duration::from_millis(100), |_, value, _| value)
            .map_values(|_, value| value)
    }),
];

/// Whatever waits for time has silent partitions taken on for it, each for itself.
#[test]
fn whatever_waits_for_time_is_closed_where_it_is_silent() {
    let topic = |name| {
        Topic::<u8, u64>::new(name).partitions(2).idle(Idle::clock(Duration::from_secs(1), Duration::ZERO))
    };
    for (what, waits) in ALL {
        let topic = topic("clicks");
        let graph = GraphBuilder::new();
        let told = waits(&graph, &topic).group_by_key().count("told");
        let mut driver = millpond::testing::Driver::new(&graph.build().unwrap()).unwrap();
        driver.advance(10_000);
        driver.put(&topic, 1, 1, 10_000).unwrap();
        driver.run().unwrap();
        assert!(driver.table(&told).unwrap().is_empty(), "{what} waits");
        driver.advance(1_500);
        driver.run().unwrap();
        assert_eq!(driver.table(&told).unwrap().len(), 1, "{what} is closed");
        let ticks = driver.changelog().offsets(&TopicPartition::new("millpond.time", 0)).unwrap().end;
        for _ in 0..10 {
            driver.advance(10_000);
            driver.run().unwrap();
        }
        let later = driver.changelog().offsets(&TopicPartition::new("millpond.time", 0)).unwrap().end;
        assert!(later <= ticks + 1, "{what}: nothing is noted where nothing closes, {ticks} and {later}");
    }
}

/// Once, time could not be moved on where the last marked epoch had just been repeated, and what was there behind it was folded first.
#[test]
fn time_is_moved_on_right_behind_what_was_repeated() {
    for is_late in [false, true] {
        let graph = GraphBuilder::new();
        let windows = graph.stream(&clicks(Idle::never()).partitions(1)).group_by_key();
        let windows = windows.windowed(Tumbling::of(Duration::from_millis(100)).grace(Duration::ZERO));
        let late = windows.late().group_by_key().count("late");
        windows.count("counts").on_close().to(&Topic::<Windowed<u8>, u64>::new("told"));
        let mut driver = millpond::testing::Driver::new(&graph.build().unwrap()).unwrap();
        assert!(driver.advance_time(1_000).unwrap());
        driver.crash().unwrap();
        assert!(driver.epoch(1).unwrap());
        if is_late {
            driver.put(&clicks(Idle::never()).partitions(1), 1, 1, 1_050).unwrap();
        }
        assert!(driver.advance_time(2_000).unwrap());
        driver.run().unwrap();
        assert_eq!(driver.table(&late).unwrap().len(), usize::from(is_late));
        // Once, the first epoch of a new life found nothing to read where all that was noted had been taken.
        driver.restart().unwrap();
        driver.put(&clicks(Idle::never()).partitions(1), 2, 1, 1_050).unwrap();
        assert!(driver.epoch(1).unwrap());
    }
}

/// What a tick closes can fail as any code of the user's, and no record is to blame: the engine stops and says it, where the tick is
/// made, where it is folded again, and where a table is built. It once went round in circles.
#[test]
fn code_that_fails_where_a_tick_closes_stops_the_engine() {
    let log = Arc::new(MemoryChangelog::new());
    let clock = Arc::new(ManualClock::new(10_000));
    log.create_topic("clicks", &TopicConfig::default().partitions(1)).unwrap();
    let idle = Idle::clock(Duration::from_secs(1), Duration::ZERO);
    let graph = |fails: bool, version: u32| {
        let graph = GraphBuilder::new();
        let windows = graph.stream(&clicks(idle)).group_by_key().windowed(tumbling(SIZE_MS, GRACE_MS));
        let closed = windows.count(millpond::TableOptions::from("counts").version(version)).on_close();
        let finals = closed.try_map_values(move |_, count| if fails { Err("bad luck") } else { Ok(count) });
        finals.to_table(millpond::TableOptions::from("finals").version(version));
        graph.build().unwrap()
    };
    let store = Arc::new(MemoryStore::new());
    let open = |graph: &Graph| {
        let builder = Engine::builder(graph).store(store.clone()).changelog(log.clone()).clock(clock.clone());
        builder.stepper().unwrap()
    };
    let stops = |mut stepper: Stepper, what: &str| {
        let error =
            (0..50).find_map(|_| stepper.epoch(10).err()).unwrap_or_else(|| panic!("{what}: it goes on"));
        let told = error.to_string();
        assert!(told.contains("bad luck") && told.contains("no record is to blame"), "{what}: {told}");
        assert_eq!(error.kind(), ErrorKind::User, "{what}: {told}");
    };
    let record = records::record(&clicks(idle), &1, Some(&1)).at(10_000);
    records::append(&*log, TopicPartition::new("clicks", 0), vec![record]).unwrap();
    let mut stepper = open(&graph(true, 1));
    while stepper.epoch(10).unwrap() {}
    clock.advance(2_000);
    stops(stepper, "where the tick is made");
    let mut stepper = open(&graph(false, 1));
    // The silence is measured anew.
    while stepper.epoch(10).unwrap() {}
    clock.advance(2_000);
    while stepper.epoch(10).unwrap() {}
    assert_eq!(log.offsets(&TopicPartition::new("millpond.time", 0)).unwrap().end, 1);
    drop(stepper);
    stops(open(&graph(true, 1)), "where it is folded again");
    let mut stepper = open(&graph(false, 1));
    while stepper.epoch(10).unwrap() {}
    stepper.drain().unwrap();
    drop(stepper);
    stops(open(&graph(true, 2)), "where a table is built");
}
