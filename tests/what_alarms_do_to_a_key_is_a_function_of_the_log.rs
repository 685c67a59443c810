//! When an alarm is due, in the sequence of what happens to its key, is a function of the log: what it and the records around it emit, in
//! which order, every step of the state, and what windows make of it, are the same for every way to cut epochs, every number of shards
//! and every crash; and where code fails at an alarm, no record is left out for it.
//!
//! Method: random records of several partitions out of order, with equal and negative timestamps and some far ahead, on a log that is
//! one sequence, where partitions share keys, and on one with gaps, where they do not. A process sets alarms to come, alarms that are past,
//! earlier and later ones than are set, takes some back and deletes states under them; alarms set the next ones. What is emitted is
//! appended to a topic and compared key by key; what alarms emit is folded by windows, whose finals are compared as they are. The oracle
//! takes one record after the other: alarms are due before the record whose partition has come to them, and in the end up to the least
//! that a partition has come to.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::prelude::*;
use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::store::MemoryStore;
use millpond::stream::{Alarmed, Emit, Tumbling};
use millpond::{
    Engine, Error, ErrorKind, FailurePolicy, Graph, GraphBuilder, Process, StoredTable, TableOptions, Topic,
    TopicPartition, Windowed,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::life::Life;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const PARTITIONS: u32 = 3;
const SIZE_MS: i64 = 100;

/// Told of a record or, the first of the two, of an alarm: its value or its time, and the state from then on.
type Told = (bool, i64, Vec<u64>);
type Finals = Vec<(Windowed<u8>, Vec<i64>)>;

fn readings() -> Topic<u8, u64> {
    Topic::new("readings")
}

fn told() -> Topic<u8, Told> {
    Topic::new("told").partitions(1)
}

fn finals() -> Topic<Windowed<u8>, Vec<i64>> {
    Topic::new("finals").partitions(1)
}

/// What a record makes of a state, and of its alarm.
fn take(number: u64, at_ms: i64, stream_ms: i64, state: &mut Option<Vec<u64>>, alarm: &mut Option<i64>) {
    let all = state.get_or_insert_default();
    all.push(number);
    if all.len() > 5 {
        all.clear();
    }
    match number % 11 {
        0..3 => *alarm = Some(at_ms + 50),
        3 => *alarm = Some(at_ms + 400),
        4 => *alarm = None,
        5 => *alarm = Some(stream_ms),
        6 => (*state, *alarm) = (None, None),
        7 => *alarm = Some(at_ms.saturating_add(i64::MAX)),
        // Its alarm goes with it, as an alarm stands with a state.
        8 => *state = None,
        _ => {}
    }
}

/// What an alarm makes of a state, and the next one.
fn ring(at_ms: i64, state: &mut Option<Vec<u64>>) -> Option<i64> {
    let count = state.as_ref().map_or(0, Vec::len);
    match count % 3 {
        0 => {
            *state = None;
            None
        }
        1 => {
            state.get_or_insert_default().push(0);
            Some(at_ms + 70)
        }
        _ => {
            state.get_or_insert_default().push(1);
            None
        }
    }
}

struct Watch;

impl Process<u8, u64> for Watch {
    type State = Vec<u64>;
    type OutKey = u8;
    type OutValue = Told;

    fn process(&self, key: &u8, number: u64, state: &mut Option<Vec<u64>>, emit: &mut Emit<u8, Told>) {
        let carried = emit.alarm();
        let mut alarm = carried;
        take(number, emit.timestamp_ms(), emit.stream_time_ms(), state, &mut alarm);
        if alarm != carried {
            emit.set_alarm(alarm);
        }
        emit.push(*key, (false, i64::try_from(number).unwrap(), state.clone().unwrap_or_default()));
    }
}

impl Alarmed<u8, u64> for Watch {
    fn alarm(&self, key: &u8, at_ms: i64, state: &mut Option<Vec<u64>>, emit: &mut Emit<u8, Told>) {
        assert_eq!((emit.alarm(), emit.timestamp_ms(), emit.stream_time_ms()), (None, at_ms, at_ms));
        if let Some(next) = ring(at_ms, state) {
            emit.set_alarm(Some(next));
        }
        emit.push(*key, (true, at_ms, state.clone().unwrap_or_default()));
        emit.push(*key, (true, at_ms, Vec::new()));
    }
}

struct Case {
    graph: Graph,
    states: StoredTable<u8, Vec<u64>>,
    steps: StoredTable<u8, Vec<Option<Vec<u64>>>>,
}

fn case(version: u32) -> Case {
    let graph = GraphBuilder::new();
    let states = TableOptions::from("states").version(version);
    let (emitted, states) = graph.stream(&readings()).process_with_alarms(states, Watch);
    emitted.to(&told());
    let alarms = emitted.filter(|_, (is_alarm, ..)| *is_alarm).map_values(|_, (_, at_ms, _)| at_ms);
    let windows = Tumbling::of(Duration::from_millis(SIZE_MS as u64)).grace(Duration::ZERO);
    let windows = alarms.group_by_key().windowed(windows);
    windows
        .fold("windows", Vec::new, |all: &mut Vec<i64>, _, at_ms| all.push(at_ms))
        .on_close()
        .to(&finals());
    let steps = states.to_stream().group_by_key().fold("steps", Vec::new, |all: &mut Vec<_>, _, step| {
        all.push(step.into_option());
    });
    Case { graph: graph.build().unwrap(), states, steps }
}

/// What must be there once everything is folded.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    /// By key, in the order in which it is told, with the time that it is dated with.
    told: BTreeMap<u8, Vec<(i64, Told)>>,
    states: BTreeMap<u8, Vec<u64>>,
    steps: BTreeMap<u8, Vec<Option<Vec<u64>>>>,
    finals: Finals,
}

#[derive(Default)]
struct Row {
    state: Option<Vec<u64>>,
    alarm: Option<i64>,
}

impl Expected {
    fn step(&mut self, key: u8, before: Option<&Vec<u64>>, row: &Row, told: (i64, Told)) {
        if before != row.state.as_ref() {
            self.steps.entry(key).or_default().push(row.state.clone());
        }
        self.told.entry(key).or_default().push(told);
    }

    fn ring_up_to(&mut self, key: u8, row: &mut Row, now_ms: i64) {
        while let Some(at_ms) = row.alarm.filter(|at_ms| *at_ms <= now_ms) {
            let before = row.state.clone();
            row.alarm = ring(at_ms, &mut row.state).filter(|_| row.state.is_some());
            self.step(
                key,
                before.as_ref(),
                row,
                (at_ms, (true, at_ms, row.state.clone().unwrap_or_default())),
            );
            self.told.entry(key).or_default().push((at_ms, (true, at_ms, Vec::new())));
        }
    }
}

/// A record: its partition, key, value and timestamp.
type Appended = (usize, u8, u64, i64);

fn expected(all: &[Appended]) -> Expected {
    let mut expected = Expected::default();
    let mut reached = [i64::MIN; PARTITIONS as usize];
    let mut rows: BTreeMap<u8, Row> = BTreeMap::new();
    for &(partition, key, number, at_ms) in all {
        reached[partition] = reached[partition].max(at_ms);
        let row = rows.entry(key).or_default();
        expected.ring_up_to(key, row, reached[partition]);
        let before = row.state.clone();
        take(number, at_ms, reached[partition], &mut row.state, &mut row.alarm);
        row.alarm = row.alarm.map(|alarm| alarm.max(reached[partition])).filter(|_| row.state.is_some());
        row.alarm = row.alarm.filter(|alarm| *alarm < i64::MAX);
        let told = (false, i64::try_from(number).unwrap(), row.state.clone().unwrap_or_default());
        expected.step(key, before.as_ref(), row, (at_ms, told));
    }
    let watermark = reached.into_iter().min().unwrap();
    let mut windows: BTreeMap<Windowed<u8>, Vec<i64>> = BTreeMap::new();
    for (key, mut row) in rows {
        expected.ring_up_to(key, &mut row, watermark);
        expected.states.extend(row.state.map(|state| (key, state)));
        for (at_ms, _) in expected.told[&key].iter().filter(|(_, (is_alarm, ..))| *is_alarm) {
            let start = at_ms.div_euclid(SIZE_MS) * SIZE_MS;
            windows.entry(Windowed::new(start, start + SIZE_MS, key)).or_default().push(*at_ms);
        }
    }
    expected.finals = windows.into_iter().filter(|(windowed, _)| windowed.end_ms <= watermark).collect();
    expected
}

fn found(life: &mut Life<Case>) -> Expected {
    let (stepper, case) = life.fold_all();
    let states = stepper.view(&case.states).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let steps = stepper.view(&case.steps).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let mut found = Expected { states, steps, ..Expected::default() };
    for record in records::read(&*life.log, &TopicPartition::new("told", 0)).unwrap() {
        let value = told().codec().decode(record.value.as_ref().unwrap()).unwrap();
        found.told.entry(record.key.unwrap()[0]).or_default().push((record.timestamp_ms, value));
    }
    for record in records::read(&*life.log, &TopicPartition::new("finals", 0)).unwrap() {
        let key = <Windowed<u8> as millpond::codec::KeyCodec>::decode_whole_key(record.key.as_ref().unwrap());
        let times = finals().codec().decode(record.value.as_ref().unwrap()).unwrap();
        found.finals.push((key.unwrap(), times));
    }
    found
}

fn log(random: &mut Random) -> (Arc<dyn Changelog>, bool) {
    let is_sequence = random.below(2) == 0;
    let log: Arc<dyn Changelog> =
        if is_sequence { Arc::new(MemoryChangelog::new()) } else { OwnLog::with_gaps(random.number()) };
    log.create_topic("readings", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
    (log, is_sequence)
}

#[test]
fn what_alarms_do_to_a_key_is_a_function_of_the_log() {
    let seed = seed();
    let mut random = Random::new(seed);
    let (mut alarms, mut closed) = (0, 0);
    for round in 0..rounds(80) {
        let (log, is_sequence) = log(&mut random);
        let version = Rc::new(Cell::new(0));
        let opened = Rc::clone(&version);
        let mut life = Life::new(log, move || {
            let case = case(opened.get());
            (case.graph.clone(), case)
        });
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
                let behind = if random.below(3) == 0 { random.below(400) } else { 0 };
                let at_ms = reached[partition] - i64::try_from(behind).unwrap();
                let own = random.below(3) * u64::from(PARTITIONS) + partition as u64;
                let key = u8::try_from(if is_sequence { random.below(6) } else { own }).unwrap();
                let value = (number * 10 + part) * 11 + random.below(11);
                all.push((partition, key, value, at_ms));
                records::record(&readings(), &key, Some(&value)).at(at_ms)
            });
            let batch = batch.collect();
            let id = records::partition(&readings(), u32::try_from(partition).unwrap());
            records::append(&*life.log, id, batch).unwrap();
        }
        let expected = expected(&all);
        assert_eq!(found(&mut life), expected, "round {round}");
        if random.below(2) == 0 {
            life.forget();
        } else {
            life.crash();
            version.set(1);
        }
        assert_eq!(found(&mut life), expected, "round {round}, folded anew");
        alarms += expected.told.values().flatten().filter(|(_, (is_alarm, ..))| *is_alarm).count();
        closed += expected.finals.len();
    }
    assert!(alarms > 1_000 && closed > 300, "{alarms} alarms, {closed} windows");
}

/// Sets alarms as it is told, and fails where it is told to.
struct Odd {
    fails: bool,
}

impl Process<u8, u64> for Odd {
    type State = u64;
    type OutKey = u8;
    type OutValue = i64;

    fn process(&self, _: &u8, number: u64, state: &mut Option<u64>, emit: &mut Emit<u8, i64>) {
        *state = (number < 9).then_some(number);
        if number > 0 && number < 10 {
            emit.set_alarm(Some(emit.timestamp_ms() + 10));
        }
    }
}

impl Alarmed<u8, u64> for Odd {
    fn alarm(&self, key: &u8, at_ms: i64, state: &mut Option<u64>, emit: &mut Emit<u8, i64>) {
        match *state {
            Some(1) if self.fails => emit.fail("bad luck"),
            Some(2) if self.fails => panic!("bad luck"),
            Some(3) if self.fails => emit.set_alarm(Some(at_ms)),
            Some(4) if self.fails => {
                *state = None;
                emit.set_alarm(Some(at_ms + 1));
            }
            _ => emit.push(*key, at_ms),
        }
    }
}

fn fold_until_it_fails(
    (log, store): (&Arc<MemoryChangelog>, &Arc<MemoryStore>),
    graph: &Graph,
    records: usize,
) -> Result<(), Error> {
    let builder = Engine::builder(graph).store(store.clone()).changelog(log.clone());
    let mut stepper = builder.on_failure(FailurePolicy::DeadLetter("letters".into())).stepper()?;
    while stepper.epoch(records)? {}
    stepper.drain()?;
    Ok(())
}

/// Whether time alone has made the alarm due or the record before which it was due is there: no record is to blame.
#[test]
fn code_that_fails_at_an_alarm_stops_the_engine_and_loses_nothing() {
    for (number, reason) in
        [(1, "bad luck"), (2, "bad luck"), (3, "no later"), (4, "no state"), (5, "behind it")]
    {
        // What the second record is of, how far the other partition is, and how large epochs are.
        for (second_key, other_ms, records) in
            [(7, 500, 1), (7, 500, 10), (8, 500, 1), (8, 500, 10), (7, 0, 1), (7, 0, 10)]
        {
            let (log, store): (Arc<MemoryChangelog>, Arc<MemoryStore>) = Default::default();
            log.create_topic("readings", &TopicConfig::default().partitions(2)).unwrap();
            let case = |fails: bool| {
                let graph = GraphBuilder::new();
                let (rung, _) = graph.stream(&readings()).process_with_alarms("states", Odd { fails });
                let rung =
                    rung.try_map_values(
                        move |_, at_ms| {
                            if fails && number == 5 { Err("behind it") } else { Ok(at_ms) }
                        },
                    );
                let rung = rung.to_table("rung");
                (graph.build().unwrap(), rung)
            };
            for (partition, key, value, at) in
                [(1, 9, 0, other_ms), (0, 7, number, 100), (0, second_key, 0, 150)]
            {
                let record = records::record(&readings(), &key, Some(&value)).at(at);
                records::append(&*log, records::partition(&readings(), partition), vec![record]).unwrap();
            }
            let error = fold_until_it_fails((&log, &store), &case(true).0, records).unwrap_err();
            let said = error.to_string();
            assert_eq!(error.kind(), ErrorKind::User, "{said}");
            assert!(said.contains(reason) && said.contains("no record is to blame"), "{number}: {said}");
            if number < 5 {
                assert!(
                    said.contains("the alarm of the key \\x07") && said.contains("at 110 ms"),
                    "{number}: {said}"
                );
            }
            let (graph, rung) = case(false);
            fold_until_it_fails((&log, &store), &graph, records).unwrap();
            let stepper = Engine::builder(&graph).store(store).changelog(log.clone()).stepper().unwrap();
            let rows: Vec<_> = stepper.view(&rung).unwrap().scan().unwrap().map(Result::unwrap).collect();
            assert_eq!(rows, [(7, 110)], "{number}");
            assert_eq!(log.offsets(&TopicPartition::new("letters", 0)).unwrap().end, 0, "{number}");
        }
    }
}

#[test]
fn an_alarm_that_cannot_be_set_is_the_failure_of_its_record() {
    for with_alarms in [true, false] {
        let (log, store): (Arc<MemoryChangelog>, Arc<MemoryStore>) = Default::default();
        log.create_topic("readings", &TopicConfig::default()).unwrap();
        let graph = GraphBuilder::new();
        let stream = graph.stream(&readings());
        let odd = Odd { fails: false };
        let states = if with_alarms {
            stream.process_with_alarms("states", odd).1
        } else {
            stream.process("states", odd).1
        };
        let graph = graph.build().unwrap();
        for (key, value) in [(1, 9), (2, 0)] {
            let record = records::record(&readings(), &key, Some(&value)).at(100);
            records::append(&*log, records::partition(&readings(), 0), vec![record]).unwrap();
        }
        fold_until_it_fails((&log, &store), &graph, 10).unwrap();
        let letters = records::read(&*log, &TopicPartition::new("letters", 0)).unwrap();
        assert_eq!(letters.len(), 1, "{with_alarms}");
        let said = format!("{:?}", letters[0]);
        assert!(said.contains(if with_alarms { "no state" } else { "process_with_alarms" }), "{said}");
        let stepper = Engine::builder(&graph).store(store).changelog(log).stepper().unwrap();
        let rows: Vec<_> = stepper.view(&states).unwrap().scan().unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, [(2, 0)], "{with_alarms}");
    }
}

/// An alarm that is put off again and again is filed once; one that has gone leaves nothing behind.
#[test]
fn the_index_holds_one_entry_for_each_alarm() {
    let (log, store): (Arc<MemoryChangelog>, Arc<MemoryStore>) = Default::default();
    log.create_topic("readings", &TopicConfig::default()).unwrap();
    let graph = GraphBuilder::new();
    let _ = graph.stream(&readings()).process_with_alarms("states", Odd { fails: false });
    let graph = graph.build().unwrap();
    let builder = Engine::builder(&graph).store(store).changelog(log.clone());
    let mut stepper = builder.on_failure(FailurePolicy::Stop).stepper().unwrap();
    let mut append = |key: u8, value: u64, at: i64| {
        let record = records::record(&readings(), &key, Some(&value)).at(at);
        records::append(&*log, records::partition(&readings(), 0), vec![record]).unwrap();
        while stepper.epoch(1).unwrap() {}
        stepper.drain().unwrap();
        let stats = stepper.stats();
        let rows = |name: &str| stats.tables[name].rows;
        (rows("states"), rows("states.alarms"))
    };
    assert_eq!(append(1, 1, 100), (1, 1));
    for at in 101..109 {
        assert_eq!(append(1, 1, at), (1, 1), "put off, {at}");
    }
    assert_eq!(append(2, 1, 108), (2, 2));
    // Both have come due, and nothing is set any more.
    assert_eq!(append(3, 0, 200), (3, 0));
    assert_eq!(append(1, 1, 300), (3, 1));
    assert_eq!(append(1, 1, 295), (3, 1), "an earlier one than is set");
    assert_eq!(append(1, 10, 301), (2, 0), "it goes with its row");
    assert_eq!(append(1, 1, 400), (3, 1));
    assert_eq!(append(2, 0, 410), (3, 0), "it is due at its own time");
}
