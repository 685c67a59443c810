//! How far a partition had come in time at each of its records is a function of the log: of its own records up to that one, and of
//! nothing else. Not of where epochs are cut, of shards, crashes or rebuilds, of what else there is, nor of which records fail.
//!
//! Method: random records of several partitions, with timestamps in any order, equal ones and the ends of `i64` among them; each
//! record is kept with the stream time that an operator was told. Random epochs, drains, crashes, fresh states and raised versions,
//! on a log that is one sequence and on one with gaps, dated by the records and by their readers. The oracle is a loop over the
//! partition.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::stream::{ConsumerRecord, Emit, Tumbling};
use millpond::{ErrorKind, FailurePolicy, Graph, GraphBuilder, Process, StoredTable, TableOptions, Topic};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
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

/// A number, and when it says that it happened.
type Reading = (u64, i64);

/// By partition and offset: the timestamp of the record, and how far its partition had come.
type Times = BTreeMap<(u32, u64), (i64, i64)>;

/// Who says when a record happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dated {
    ByRecord,
    ByReader,
}

fn readings(dated: Dated) -> Topic<u8, Reading> {
    let topic = Topic::new("readings").partitions(PARTITIONS);
    if dated == Dated::ByReader { topic.timestamps_from(|_, (_, at)| *at) } else { topic }
}

/// Says of each record how far its partition had come.
struct Told;

impl Process<u8, ConsumerRecord<Reading>> for Told {
    type State = ();
    type OutKey = (u32, u64);
    type OutValue = (i64, i64);

    fn process(
        &self,
        _: &u8,
        record: ConsumerRecord<Reading>,
        _: &mut Option<()>,
        emit: &mut Emit<(u32, u64), (i64, i64)>,
    ) {
        if record.value.is_some_and(|(number, _)| number % 13 == 5) {
            return emit.fail("bad luck");
        }
        let times = (emit.timestamp_ms(), emit.stream_time_ms());
        emit.push((record.partition, record.offset), times);
    }
}

type TimesTable = StoredTable<(u32, u64), (i64, i64)>;

fn graph(dated: Dated, version: u32) -> (Graph, TimesTable) {
    let graph = GraphBuilder::new();
    let (told, _) = graph.records(&readings(dated)).process("nothing", Told);
    let told = told.to_table(TableOptions::from("times").version(version));
    // Another reader of the topic, which looks at nothing, and one of its tombstones.
    graph.stream(&readings(dated)).group_by_key().count("counts");
    (graph.build().unwrap(), told)
}

fn timestamp(random: &mut Random) -> i64 {
    match random.below(40) {
        0 => i64::MIN,
        1 => -1,
        2 if random.below(4) == 0 => i64::MAX,
        _ => i64::try_from(random.below(1_000)).unwrap() - 200,
    }
}

/// The lives of a state, each with the version that there is then.
fn life(log: Arc<dyn Changelog>, dated: Dated, version: &Rc<Cell<u32>>) -> Life<TimesTable> {
    let version = Rc::clone(version);
    let life = Life::new(log, move || graph(dated, version.get()));
    life.with(|builder| builder.on_failure(FailurePolicy::DeadLetter("letters".into())))
}

/// Folds everything, and answers with what was told.
fn told(life: &mut Life<TimesTable>) -> Times {
    let (stepper, told) = life.fold_all();
    stepper.view(told).unwrap().scan().unwrap().map(Result::unwrap).collect()
}

/// One partition after the other.
fn expected(log: &dyn Changelog, dated: Dated) -> Times {
    let topic = readings(dated);
    let mut times = Times::new();
    for number in 0..PARTITIONS {
        let id = records::partition(&topic, number);
        let mut latest: Option<i64> = None;
        let kept = log.offsets(&id).unwrap();
        let mut reader = log.reader(&id, kept.start).unwrap();
        millpond::changelog::backend::read_below(&mut *reader, kept.end, |batch| {
            for record in &batch.decode()? {
                let value = record.value.map(|bytes| topic.codec().decode(bytes).unwrap());
                let fails = value.is_some_and(|(number, _)| number % 13 == 5);
                let at = match (dated, value) {
                    (Dated::ByReader, Some((_, at))) => at,
                    _ => record.timestamp_ms,
                };
                latest = latest.max(Some(at));
                if !fails {
                    times.insert((number, record.offset), (at, latest.unwrap()));
                }
            }
            Ok(())
        })
        .unwrap();
    }
    times
}

#[test]
fn stream_time_is_a_function_of_the_log() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    for round in 0..rounds(80) {
        let dated = random.pick(&[Dated::ByRecord, Dated::ByReader]);
        let log: Arc<dyn Changelog> = if random.below(2) == 0 {
            Arc::new(MemoryChangelog::new())
        } else {
            OwnLog::with_gaps(random.number())
        };
        log.create_topic("readings", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
        let version = Rc::new(Cell::new(1));
        let mut life = life(log, dated, &version);
        for number in 0..150 {
            match random.below(14) {
                0 => {
                    life.crash();
                    version.set(version.get() + u32::from(random.below(3) == 0));
                }
                1 if random.below(4) == 0 => life.forget(),
                1..8 => life.step(&mut random),
                _ => {
                    let id = records::partition(&readings(dated), u32::try_from(random.below(3)).unwrap());
                    let batch = (0..=random.below(4)).map(|part| {
                        let at = timestamp(&mut random);
                        let value =
                            (random.below(8) > 0).then_some((number * 10 + part, timestamp(&mut random)));
                        let key = u8::try_from(random.below(20)).unwrap();
                        records::record(&readings(dated), &key, value.as_ref()).at(at)
                    });
                    records::append(&*life.log, id, batch.collect()).unwrap();
                }
            }
        }
        let (told, expected) = (told(&mut life), expected(&*life.log, dated));
        let wrong: Vec<_> = expected.iter().filter(|(at, times)| told.get(at) != Some(times)).collect();
        let first = wrong.first().map(|(at, _)| told.get(at));
        assert!(wrong.is_empty(), "round {round}, {dated:?}: {first:?}, and expected were {wrong:?}");
        assert_eq!(told.len(), expected.len(), "round {round}");
    }
}

#[test]
fn where_time_decides_a_topic_is_dated_in_the_same_way_wherever_it_is_read() {
    let graph = |closes: bool| {
        let graph = GraphBuilder::new();
        let tumbling = Tumbling::of(Duration::from_secs(1)).grace(Duration::ZERO);
        let counts =
            graph.stream(&readings(Dated::ByReader)).group_by_key().windowed(tumbling).count("counts");
        graph.table(&readings(Dated::ByRecord), "latest");
        if closes {
            counts.on_close().to_table("finals");
        }
        graph.build()
    };
    refused(graph(true), ErrorKind::Invalid, &["readings", "timestamps_from", "say the same everywhere"]);
    refused(graph(false), ErrorKind::Invalid, &["readings"]);
}
