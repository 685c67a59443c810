//! Which sessions there are, what is in them, when they are told and in which order is a function of the log: the same for every way to
//! cut epochs, every number of shards, every crash and rebuild, and however far partitions are apart.
//!
//! Method: random records of several partitions out of order, with equal and negative timestamps and some far ahead, on a log that is
//! one sequence, where partitions share keys, and on one with gaps, where they do not; finals are appended to a topic. Whether every
//! update of the table is followed or only what an epoch made of it is drawn, and what the table says is folded with retractions. The
//! oracle sorts the records that count, cuts them where a step is longer than the gap, and tells those sessions that all partitions have
//! come to the close of.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::aggregate::sum;
use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::codec::{KeyCodec, Value};
use millpond::store::MemoryStore;
use millpond::stream::{Session, SessionKey, Tumbling};
use millpond::testing::Driver;
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, Stepper, StoredTable, TableOptions, Topic, Windowed};
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

fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks")
}

/// Told once each: a session of a key, and what was in it.
fn told() -> Topic<Windowed<u8>, Vec<u64>> {
    Topic::new("told").partitions(1)
}

/// Told once each: how many sessions were closed whose last record was in a window.
fn chained() -> Topic<Windowed<u8>, u64> {
    Topic::new("chained").partitions(1)
}

/// Short, so that windows end where the watermark stands.
const CHAINED_MS: i64 = 3;

struct Case {
    graph: Graph,
    all: StoredTable<SessionKey<u8>, Vec<u64>>,
    largest: StoredTable<SessionKey<u8>, u64>,
    totals: StoredTable<u8, i128>,
    late: StoredTable<u8, u64>,
}

fn sessions(gap_ms: i64, grace_ms: i64) -> Session {
    Session::gap(Duration::from_millis(gap_ms.cast_unsigned()))
        .grace(Duration::from_millis(grace_ms.cast_unsigned()))
}

fn case(gap_ms: i64, grace_ms: i64, follows: bool) -> Case {
    let graph = GraphBuilder::new();
    let sessions = graph.stream(&clicks()).group_by_key().windowed(sessions(gap_ms, grace_ms));
    let join = |list: &mut Vec<u64>, more: Vec<u64>| {
        list.extend(more);
        list.sort_unstable();
    };
    let all = sessions.fold("all", Vec::new, move |list, _, number| join(list, vec![number]), join);
    all.on_close().to(&told());
    // Nothing of them is late for windows that wait no longer than they have to.
    let tumbling = Tumbling::of(Duration::from_millis(CHAINED_MS as u64)).grace(Duration::ZERO);
    let windows = all.on_close().group_by(|windowed, _| windowed.key % 2).windowed(tumbling);
    windows.count("chained").on_close().to(&chained());
    let largest = sessions.reduce("largest", u64::max);
    let totals = all.table().group_by(|windowed, list| (windowed.key, list.len() as u64));
    let totals = totals.aggregate("totals", sum(|count: &u64| *count)).materialize("total_counts");
    if follows {
        let stream = all.table().to_stream();
        stream.group_by_key().fold("updates", || 0_u64, |count, _, _| *count += 1);
    }
    let late = sessions.late().group_by_key().count("late");
    let (all, largest) = (all.table().clone(), largest.table().clone());
    Case { graph: graph.build().unwrap(), all, largest, totals, late }
}

/// What must be there once everything is folded.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    all: BTreeMap<Windowed<u8>, Vec<u64>>,
    largest: BTreeMap<Windowed<u8>, u64>,
    totals: BTreeMap<u8, i128>,
    late: BTreeMap<u8, u64>,
    /// In the order in which they are told, with the times that they are dated with.
    finals: Vec<(i64, Windowed<u8>, Vec<u64>)>,
    chained: Vec<(Windowed<u8>, u64)>,
}

/// A record: its partition, key, value and timestamp.
type Appended = (usize, u8, u64, i64);

fn expected(all: &[Appended], gap_ms: i64, grace_ms: i64) -> Expected {
    let mut expected = Expected::default();
    let mut reached = [i64::MIN; PARTITIONS as usize];
    let mut counted: BTreeMap<u8, Vec<(i64, u64)>> = BTreeMap::new();
    for &(partition, key, number, at_ms) in all {
        reached[partition] = reached[partition].max(at_ms);
        if reached[partition] < at_ms + 1 + grace_ms {
            counted.entry(key).or_default().push((at_ms, number));
            *expected.totals.entry(key).or_default() += 1;
        } else {
            *expected.late.entry(key).or_default() += 1;
        }
    }
    let watermark = reached.into_iter().min().unwrap();
    for (key, mut records) in counted {
        records.sort_unstable();
        for session in records.chunk_by(|a, b| b.0 - a.0 <= gap_ms) {
            let windowed = Windowed::new(session[0].0, session.last().unwrap().0 + 1, key);
            let mut list: Vec<u64> = session.iter().map(|(_, number)| *number).collect();
            list.sort_unstable();
            expected.largest.insert(windowed, *list.last().unwrap());
            expected.all.insert(windowed, list);
        }
    }
    let last = |windowed: &Windowed<u8>| windowed.end_ms - 1;
    let closed =
        expected.all.iter().filter(|(windowed, _)| last(windowed) + gap_ms + 1 + grace_ms <= watermark);
    expected.finals = closed.map(|(windowed, list)| (last(windowed), *windowed, list.clone())).collect();
    expected.finals.sort_by_key(|(last_ms, windowed, _)| (*last_ms, windowed.key));
    let mut windows: BTreeMap<Windowed<u8>, u64> = BTreeMap::new();
    for (last_ms, windowed, _) in &expected.finals {
        let start = last_ms.div_euclid(CHAINED_MS) * CHAINED_MS;
        *windows.entry(Windowed::new(start, start + CHAINED_MS, windowed.key % 2)).or_default() += 1;
    }
    let held_back = watermark.saturating_sub(gap_ms + grace_ms);
    expected.chained = windows.into_iter().filter(|(windowed, _)| windowed.end_ms <= held_back).collect();
    expected
}

fn rows<V: Value>(stepper: &Stepper, table: &StoredTable<SessionKey<u8>, V>) -> BTreeMap<Windowed<u8>, V> {
    let rows = stepper.view(table).unwrap().scan().unwrap().map(Result::unwrap);
    rows.map(|(session, value)| (session.into(), value)).collect()
}

fn found(life: &mut Life<Case>) -> Expected {
    let (stepper, case) = life.fold_all();
    let all = rows(stepper, &case.all);
    let largest = rows(stepper, &case.largest);
    let totals = stepper.view(&case.totals).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let late = stepper.view(&case.late).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let (finals, chained) = (read(&*life.log, &told()), read(&*life.log, &chained()));
    let chained = chained.into_iter().map(|(_, windowed, count)| (windowed, count)).collect();
    Expected { all, largest, totals, late, finals, chained }
}

/// What was appended of windows, with its timestamps.
fn read<V: Value>(log: &dyn Changelog, topic: &Topic<Windowed<u8>, V>) -> Vec<(i64, Windowed<u8>, V)> {
    let records = records::read(log, &records::partition(topic, 0)).unwrap().into_iter().map(|record| {
        let key = Windowed::decode_whole_key(record.key.as_ref().unwrap()).unwrap();
        (record.timestamp_ms, key, topic.codec().decode(record.value.as_ref().unwrap()).unwrap())
    });
    records.collect()
}

#[test]
fn sessions_are_a_function_of_the_log() {
    let seed = seed();
    let mut random = Random::new(seed);
    let mut closed = BTreeSet::new();
    for round in 0..rounds(80) {
        let is_sequence = random.below(2) == 0;
        let log: Arc<dyn Changelog> =
            if is_sequence { Arc::new(MemoryChangelog::new()) } else { OwnLog::with_gaps(random.number()) };
        log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
        let (gap_ms, grace_ms) = (random.pick(&[1, 20, 60]), random.pick(&[0, 30, 250]));
        let follows = random.below(2) == 0;
        let mut life = Life::new(log, move || {
            let case = case(gap_ms, grace_ms, follows);
            (case.graph.clone(), case)
        });
        // How far each partition is, roughly.
        let mut reached = [0_i64, -300, 450];
        let mut all = Vec::new();
        for number in 0..200_u64 {
            if random.below(14) < 8 {
                life.step(&mut random);
                continue;
            }
            let partition = random.index(PARTITIONS as usize);
            let batch = (0..=random.below(4)).map(|part| {
                reached[partition] += i64::try_from(random.below(40)).unwrap();
                if random.below(60) == 0 {
                    reached[partition] += 700;
                }
                let behind = if random.below(3) == 0 { random.below(300) } else { 0 };
                let at_ms = reached[partition] - i64::try_from(behind).unwrap();
                let own = random.below(3) * u64::from(PARTITIONS) + partition as u64;
                let key = u8::try_from(if is_sequence { random.below(6) } else { own }).unwrap();
                all.push((partition, key, number * 10 + part, at_ms));
                records::record(&clicks(), &key, Some(&(number * 10 + part))).at(at_ms)
            });
            let batch = batch.collect();
            let id = records::partition(&clicks(), u32::try_from(partition).unwrap());
            records::append(&*life.log, id, batch).unwrap();
        }
        let expected = expected(&all, gap_ms, grace_ms);
        assert_eq!(found(&mut life), expected, "round {round}");
        if is_sequence {
            // What was told is told again to nobody.
            life.forget();
            assert_eq!(found(&mut life), expected, "round {round}, folded anew");
        }
        closed.insert(expected.finals.len());
    }
    assert!(closed.last() > Some(&20), "sessions close");
}

/// Others had them closed a millisecond off, or without the gap (KAFKA-8289), or left two sessions where one record joined them.
#[test]
fn sessions_end_where_a_step_is_longer_than_the_gap_and_close_a_gap_and_a_grace_later() {
    let graph = GraphBuilder::new();
    let counts = graph.stream(&clicks()).group_by_key().windowed(sessions(10, 5)).count("counts");
    let finals = counts.on_close().to_table("finals");
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    let mut put = |key: u8, at: i64| {
        driver.put(&clicks(), key, 1, at).unwrap();
        driver.run().unwrap();
        let rows = driver.table(counts.table()).unwrap();
        let rows = rows.iter().filter(|(windowed, _)| windowed.key == 1);
        let rows: Vec<_> =
            rows.map(|(windowed, count)| (windowed.start_ms, windowed.end_ms - 1, *count)).collect();
        (rows, driver.table(&finals).unwrap().len())
    };
    assert_eq!(put(1, -4).0, [(-4, -4, 1)]);
    assert_eq!(put(1, 6).0, [(-4, 6, 2)], "a step of the gap");
    assert_eq!(put(1, 17).0, [(-4, 6, 2), (17, 17, 1)], "a step longer than it");
    assert_eq!(put(1, 12).0, [(-4, 17, 4)], "as late as the grace, and between two");
    assert_eq!(put(1, 11).0, [(-4, 17, 4)], "later than the grace, although the session is open");
    assert_eq!(put(2, 32), (vec![(-4, 17, 4)], 0), "17 + 10 + 5 have passed");
    assert_eq!(put(2, 33), (vec![(-4, 17, 4)], 1), "and one more: closed");
    assert_eq!(put(1, 28).0, [(-4, 17, 4), (28, 28, 1)], "a record that counts never comes to a closed one");
}

#[test]
fn sessions_without_a_gap_are_refused_and_with_other_ones_it_is_another_table() {
    let graph = GraphBuilder::new();
    let none = Session::gap(Duration::from_micros(999)).grace(Duration::ZERO);
    graph.stream(&clicks()).group_by_key().windowed(none).count("counts");
    refused(graph.build(), ErrorKind::Invalid, &["at least a millisecond"]);
    let (log, store): (Arc<MemoryChangelog>, Arc<MemoryStore>) = Default::default();
    let open = |gap_ms, version| {
        let graph = GraphBuilder::new();
        let counts = TableOptions::from("counts").version(version);
        graph.stream(&clicks()).group_by_key().windowed(sessions(gap_ms, 10)).count(counts);
        Engine::builder(&graph.build().unwrap()).store(store.clone()).changelog(log.clone()).stepper()
    };
    drop(open(100, 1).unwrap());
    refused(open(101, 1), ErrorKind::Invalid, &["counts", "session(gap 100 ms, grace 10 ms)", "version"]);
    open(101, 2).unwrap();
}
