//! When a row expires, becomes valid or is told once it has settled, and which records are let through as the first of their key within a
//! time, is a function of the log: every step of these tables, and the records in their order, are the same for every way to cut epochs,
//! every number of shards, every crash and rebuild.
//!
//! Method: random upserts and tombstones of several partitions out of order, with equal and negative timestamps and some far ahead, on a
//! log that is one sequence, where partitions share keys, and on one with gaps, where they do not. Every step of each table is folded
//! into a list, and what is grouped by the values of one retracts. The oracle goes through the records of each key, one after the other,
//! and looks before each what had to happen by then; and in the end at what all partitions have come to.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::store::MemoryStore;
use millpond::stream::Tumbling;
use millpond::testing::{Driver, Settings};
use millpond::{Engine, ErrorKind, FailurePolicy, Graph, GraphBuilder, StoredTable, Topic, Upsert};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::life::Life;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

const PARTITIONS: u32 = 3;
const TTL_MS: i64 = 90;
const SETTLE_MS: i64 = 50;
const ONCE_MS: i64 = 70;

/// A row: a number, and a time that it names.
type Row = (u64, i64);
type Steps = BTreeMap<u8, Vec<Option<Row>>>;

fn rows() -> Topic<u8, Row> {
    Topic::new("rows")
}

fn once() -> Topic<u8, Row> {
    Topic::new("once").partitions(1)
}

/// From when until when a row is valid; for some never.
fn times(&(number, at_ms): &Row) -> Range<i64> {
    let length = i64::try_from(number % 5).unwrap() * 40;
    if number % 7 == 0 { at_ms..i64::MAX } else { at_ms..at_ms + length }
}

const TABLES: [&str; 5] = ["after", "heard", "at", "valid", "settled"];

type Table = StoredTable<u8, Row>;
type StepsTable = StoredTable<u8, Vec<Option<Row>>>;

struct Case {
    graph: Graph,
    tables: Vec<(Table, StepsTable)>,
    groups: StoredTable<u64, u64>,
}

fn case() -> Case {
    let graph = GraphBuilder::new();
    let upserts = graph.upserts(&rows());
    let source = graph.table(&rows(), "rows");
    let ms = |ms: i64| Duration::from_millis(ms.cast_unsigned());
    let tables = [
        source.expire_after("after", ms(TTL_MS)),
        upserts.expire_after("heard", ms(TTL_MS)),
        source.expire_at("at", |_, (_, until)| *until),
        source.while_valid("valid", |_, row| times(row)),
        source.settled("settled", ms(SETTLE_MS)),
    ];
    let groups = tables[0].group_by(|_, (number, _)| (number % 3, ())).count("groups");
    let groups = groups.map_values(|_, count| count).materialize("group_counts");
    graph.stream(&rows()).distinct_within("seen", ms(ONCE_MS)).to(&once());
    let steps = |(name, table): (&str, Table)| {
        let steps = steps(&table, name);
        (table, steps)
    };
    let tables = TABLES.into_iter().zip(tables).map(steps).collect();
    Case { graph: graph.build().unwrap(), tables, groups }
}

fn steps(table: &Table, name: &str) -> StepsTable {
    let steps = format!("{name}_steps");
    table.to_stream().group_by_key().fold(&*steps, Vec::new, |all: &mut Vec<_>, _, step| {
        all.push(step.into_option());
    })
}

/// What must be there once everything is folded.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    steps: BTreeMap<&'static str, Steps>,
    rows: BTreeMap<&'static str, BTreeMap<u8, Row>>,
    groups: BTreeMap<u64, u64>,
    /// By key, with the timestamps.
    once: BTreeMap<u8, Vec<(i64, Row)>>,
}

/// A row of a table, as it is shown, and what is to happen to it.
#[derive(Default)]
struct Shown {
    row: Option<Row>,
    steps: Vec<Option<Row>>,
    alarm: Option<i64>,
    waiting: Option<Upsert<Row>>,
}

impl Shown {
    fn show(&mut self, row: Option<Row>) {
        if self.row != row {
            self.row = row;
            self.steps.push(row);
        }
    }

    /// What is due up to `now_ms` happens.
    fn come_to(&mut self, name: &str, now_ms: i64) {
        while let Some(at_ms) = self.alarm.filter(|at_ms| *at_ms <= now_ms) {
            self.alarm = None;
            match (name, self.waiting.take()) {
                ("valid", Some(Upsert::Put(row))) => {
                    self.show(Some(row));
                    self.alarm = Some(times(&row).end).filter(|end| *end < i64::MAX);
                }
                ("settled", Some(waiting)) => self.show(waiting.into_option()),
                _ => self.show(None),
            }
            assert!(self.alarm.is_none_or(|next| next > at_ms));
        }
    }

    fn update(&mut self, name: &str, upsert: Option<Row>, (at_ms, now_ms): (i64, i64)) {
        match (name, upsert) {
            ("settled", _) => {
                let begun = self.alarm.filter(|_| self.waiting.is_some());
                self.alarm = begun.or(Some(now_ms + SETTLE_MS));
                self.waiting = Some(upsert.into());
            }
            (_, None) => {
                self.show(None);
                (self.alarm, self.waiting) = (None, None);
            }
            ("after" | "heard", Some(_)) => {
                if now_ms < at_ms + TTL_MS {
                    self.alarm = self.alarm.max(Some(at_ms + TTL_MS));
                    self.show(upsert);
                }
            }
            ("at", Some((_, until))) => {
                self.alarm = (until > now_ms).then_some(until);
                self.show(upsert.filter(|_| until > now_ms));
            }
            (_, Some(row)) => {
                let Range { start, end } = times(&row);
                (self.alarm, self.waiting) = (None, None);
                if (start..end).contains(&now_ms) {
                    self.alarm = Some(end).filter(|end| *end < i64::MAX);
                    self.show(upsert);
                } else {
                    self.show(None);
                    if now_ms < start && start < end {
                        (self.alarm, self.waiting) = (Some(start), Some(Upsert::Put(row)));
                    }
                }
            }
        }
    }
}

/// A record: its partition, key, value and timestamp.
type Appended = (usize, u8, Option<Row>, i64);

fn expected(all: &[Appended]) -> Expected {
    let mut expected = Expected::default();
    let mut reached = [i64::MIN; PARTITIONS as usize];
    let mut source: BTreeMap<u8, Row> = BTreeMap::new();
    let mut shown: BTreeMap<(&str, u8), Shown> = BTreeMap::new();
    let mut seen: BTreeMap<u8, i64> = BTreeMap::new();
    for &(partition, key, upsert, at_ms) in all {
        reached[partition] = reached[partition].max(at_ms);
        let now_ms = reached[partition];
        let before = match upsert {
            Some(row) => source.insert(key, row),
            None => source.remove(&key),
        };
        for name in TABLES {
            if before == upsert && name != "heard" {
                continue;
            }
            let row = shown.entry((name, key)).or_default();
            row.come_to(name, now_ms);
            row.update(name, upsert, (at_ms, now_ms));
        }
        if let Some(row) = upsert
            && seen.get(&key).is_none_or(|until| *until <= now_ms)
        {
            seen.insert(key, now_ms + ONCE_MS);
            expected.once.entry(key).or_default().push((at_ms, row));
        }
    }
    let watermark = reached.into_iter().min().unwrap();
    for ((name, key), mut row) in shown {
        row.come_to(name, watermark);
        if let Some(row) = row.row {
            expected.rows.entry(name).or_default().insert(key, row);
            if name == "after" {
                *expected.groups.entry(row.0 % 3).or_default() += 1;
            }
        }
        if !row.steps.is_empty() {
            expected.steps.entry(name).or_default().insert(key, row.steps);
        }
    }
    expected
}

fn found(life: &mut Life<Case>) -> Expected {
    let (stepper, case) = life.fold_all();
    let mut found = Expected::default();
    for (name, (table, steps)) in TABLES.into_iter().zip(&case.tables) {
        for row in stepper.view(table).unwrap().scan().unwrap() {
            found.rows.entry(name).or_default().extend([row.unwrap()]);
        }
        for row in stepper.view(steps).unwrap().scan().unwrap() {
            found.steps.entry(name).or_default().extend([row.unwrap()]);
        }
    }
    found.groups = stepper.view(&case.groups).unwrap().scan().unwrap().map(Result::unwrap).collect();
    for record in records::read(&*life.log, &records::partition(&once(), 0)).unwrap() {
        let row = once().codec().decode(record.value.as_ref().unwrap()).unwrap();
        found.once.entry(record.key.unwrap()[0]).or_default().push((record.timestamp_ms, row));
    }
    found
}

#[test]
fn what_expires_does_so_as_a_function_of_the_log() {
    let seed = seed();
    let mut random = Random::new(seed);
    let mut steps = 0;
    for round in 0..rounds(60) {
        let is_sequence = random.below(2) == 0;
        let log: Arc<dyn Changelog> =
            if is_sequence { Arc::new(MemoryChangelog::new()) } else { OwnLog::with_gaps(random.number()) };
        log.create_topic("rows", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
        let mut life = Life::new(log, || {
            let case = case();
            (case.graph.clone(), case)
        });
        let mut reached = [0_i64, -300, 450];
        let mut all = Vec::new();
        for _ in 0..200 {
            if random.below(14) < 8 {
                life.step(&mut random);
                continue;
            }
            let partition = random.index(PARTITIONS as usize);
            let batch = (0..=random.below(4)).map(|_| {
                reached[partition] += i64::try_from(random.below(30)).unwrap();
                if random.below(60) == 0 {
                    reached[partition] += 700;
                }
                let behind = if random.below(3) == 0 { random.below(200) } else { 0 };
                let at_ms = reached[partition] - i64::try_from(behind).unwrap();
                let own = random.below(2) * u64::from(PARTITIONS) + partition as u64;
                let key = u8::try_from(if is_sequence { random.below(6) } else { own }).unwrap();
                let named = at_ms - 50 + i64::try_from(random.below(200)).unwrap();
                // Few numbers and times, so that some say what the row says.
                let row = (random.below(20) > 3).then(|| (random.below(4), named.div_euclid(30) * 30));
                all.push((partition, key, row, at_ms));
                records::record(&rows(), &key, row.as_ref()).at(at_ms)
            });
            let batch = batch.collect();
            let id = records::partition(&rows(), u32::try_from(partition).unwrap());
            records::append(&*life.log, id, batch).unwrap();
        }
        let expected = expected(&all);
        assert_eq!(found(&mut life), expected, "round {round}");
        if is_sequence {
            life.forget();
            assert_eq!(found(&mut life), expected, "round {round}, folded anew");
        }
        steps += expected.steps.values().flat_map(BTreeMap::values).map(Vec::len).sum::<usize>();
    }
    assert!(steps > 5_000, "rows come and go: {steps}");
}

/// Each to the millisecond, while time goes on by the records of another key.
#[test]
fn rows_come_and_go_at_their_time_and_not_a_millisecond_off() {
    let topic = rows().partitions(1);
    let ms = Duration::from_millis;
    let graph = GraphBuilder::new();
    let source = graph.table(&topic, "rows");
    let tables = [
        source.expire_after("after", ms(12)),
        source.expire_at("at", |_, (_, until)| *until),
        source.while_valid("valid", |_, (number, until)| i64::try_from(*number).unwrap()..*until),
        source.settled("settled", ms(7)),
        graph.stream(&topic).distinct_within("seen", ms(4)).to_table("once"),
    ];
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    // When the first row is there, and when the last one of those let through.
    let (mut there, mut last): (Vec<Vec<i64>>, Vec<i64>) = (vec![Vec::new(); 5], Vec::new());
    driver.put(&topic, 1, (10, 20), 5).unwrap();
    for at in 5..30 {
        driver.put(&topic, 2, (0, at), at).unwrap();
        driver.run().unwrap();
        for (table, there) in tables.iter().zip(&mut there) {
            let rows = driver.table(table).unwrap();
            there.extend(rows.contains_key(&1).then_some(at));
        }
        last.extend(driver.table(&tables[4]).unwrap().get(&2).map(|(_, at)| *at));
    }
    let between = |times: &Vec<i64>| (times[0], *times.last().unwrap());
    let there: Vec<_> = there.iter().map(between).collect();
    assert_eq!(there, [(5, 16), (5, 19), (10, 19), (12, 29), (5, 29)]);
    last.dedup();
    assert_eq!(last, [5, 9, 13, 17, 21, 25, 29]);
}

/// What windows tell in one epoch is settled as if each had been told in its own. (Once, what had waited with the last of them stood before
/// it, where windows have a grace, and the row was the one before.)
#[test]
fn what_is_told_behind_closings_is_told_in_their_order() {
    let ms = Duration::from_millis;
    for records in [1, 100] {
        let topic = rows().partitions(1);
        let graph = GraphBuilder::new();
        let tens = Tumbling::of(ms(10)).grace(ms(5));
        let counts = graph.stream(&topic).group_by_key().windowed(tens).count("counts");
        let last = counts.on_close().map(|windowed, count| (windowed.key, count)).to_table("last");
        let settled = last.settled("settled", ms(1));
        let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
        for at in [0, 12, 13, 40] {
            driver.put(&topic, 1, (7, 0), at).unwrap();
        }
        while driver.epoch(records).unwrap() {}
        assert_eq!(driver.table(&settled).unwrap(), [(1, 2)].into(), "in epochs of {records}");
    }
}

/// A row has gone before a record that makes a new one: what is told of this is dated with the record, and fails as that does. (Once, it had
/// the time of the row that went, and the engine stopped.)
#[test]
fn what_is_told_of_a_record_behind_a_row_that_went_is_of_the_record() {
    let topic = rows().partitions(1);
    let graph = GraphBuilder::new();
    let live = graph.table(&topic, "rows").expire_after("live", Duration::from_millis(10)).to_stream();
    let times = live.with_timestamps().map_values(|_, (_, at_ms)| at_ms);
    let times =
        times.group_by_key().fold("times", Vec::new, |times: &mut Vec<i64>, _, at_ms| times.push(at_ms));
    let taste = |_: &u8, row: Upsert<Row>| match row.into_option() {
        Some((13, _)) => Err("13 brings bad luck"),
        row => Ok(row.map_or(0, |(number, _)| number)),
    };
    live.try_map_values(taste).to_table("numbers");
    let policy = FailurePolicy::DeadLetter("letters".into());
    let mut driver =
        Driver::with_settings(&graph.build().unwrap(), Settings { policy, ..Settings::default() }).unwrap();
    for (number, at) in [(1, 0), (2, 50), (13, 100), (4, 150)] {
        driver.put(&topic, 1, (number, 0), at).unwrap();
    }
    driver.run().unwrap();
    assert_eq!(driver.table(&times).unwrap(), [(1, vec![0, 10, 50, 60, 150])].into());
    assert_eq!(driver.stats().unwrap().dead_letters, 1);
}

#[test]
fn with_another_time_it_is_another_table() {
    let (log, store): (Arc<MemoryChangelog>, Arc<MemoryStore>) = Default::default();
    let open = |ms| {
        let graph = GraphBuilder::new();
        let _ = graph.table(&rows(), "rows").expire_after("live", Duration::from_millis(ms));
        Engine::builder(&graph.build().unwrap()).store(store.clone()).changelog(log.clone()).stepper()
    };
    drop(open(100).unwrap());
    refused(open(101), ErrorKind::Invalid, &["live", "expire_after(100 ms)", "version"]);
    drop(open(100).unwrap());
}
