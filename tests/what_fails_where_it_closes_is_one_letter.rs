//! What closes, and fails where it is told, is left out on every way, and has one letter, with its table, its key and its time: whichever cut
//! it closes in, however often it is folded, and also where it fails because of what closed before. Without dead letters the engine stops and
//! says which it is.
//!
//! Method: random records of several partitions, windows that are closed as they come, code behind that fails by what it is told (with an
//! error, and with a panic) or by a sum of what came before. Lives with random epochs, drains, crashes and newer versions. The oracle takes
//! one window after the other, in the order of closes and keys.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use millpond::changelog::prelude::ReadLog;
use millpond::changelog::{Changelog, MemoryChangelog};
use millpond::codec::KeyCodec;
use millpond::store::MemoryStore;
use millpond::stream::{Hopping, Session, Sliding, Tumbling, Within};
use millpond::testing::{Driver, Settings};
use millpond::{
    Engine, ErrorKind, FailurePolicy, Graph, GraphBuilder, StoredTable, Stream, TableOptions, Topic,
    TopicPartition, Windowed,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::life::Life;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use millpond_support::timed::{self, Appending};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const SIZE_MS: i64 = 100;
const GRACE_MS: i64 = 30;

fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks")
}

fn told() -> Topic<Windowed<u8>, u64> {
    Topic::new("told").partitions(1)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

/// Whether, and how, telling of a window fails: by itself, or as a panic of another way.
fn fails(windowed: &Windowed<u8>) -> Option<bool> {
    match (windowed.start_ms / SIZE_MS + i64::from(windowed.key)).rem_euclid(7) {
        0 => Some(true),
        3 => Some(false),
        _ => None,
    }
}

/// Whether a sum does not take a count.
fn is_refused(sum: u64, count: u64) -> bool {
    (sum + count).is_multiple_of(5)
}

type Tables = (StoredTable<(), u64>, StoredTable<Windowed<u8>, u64>);

fn graph(version: u32) -> (Graph, Tables) {
    let graph = GraphBuilder::new();
    let windows = Tumbling::of(millis(SIZE_MS)).grace(millis(GRACE_MS));
    let counts = graph.stream(&clicks()).group_by_key().windowed(windows).count("counts");
    let closed = counts.on_close();
    // One way takes all of them, the others fail.
    closed.to(&told());
    let fit = closed.try_map_values(|windowed, count| match fails(windowed) {
        Some(true) => Err(format!("{count} is bad luck")),
        _ => Ok(count),
    });
    let of_all = fit.map(|windowed, count| {
        assert!(fails(&windowed) != Some(false), "this is worse");
        ((), count)
    });
    let sum = TableOptions::from("sum").version(version);
    let sum = of_all.group_by_key().try_fold(
        sum,
        || 0_u64,
        |sum, (), count| {
            if is_refused(*sum, count) {
                return Err("the sum is full");
            }
            *sum += count;
            Ok(())
        },
    );
    (graph.build().unwrap(), (sum, counts.table().clone()))
}

/// What must be told, the sum, and the letters: of which windows, and when they were closed.
struct Expected {
    told: Vec<(Windowed<u8>, u64)>,
    sum: u64,
    letters: Vec<(Windowed<u8>, i64)>,
}

fn expected(log: &dyn Changelog) -> Expected {
    let (records, watermark) = timed::read(log, &clicks()).unwrap();
    let mut all = BTreeMap::<Windowed<u8>, u64>::new();
    for record in records {
        let start = record.timestamp_ms.div_euclid(SIZE_MS) * SIZE_MS;
        if record.value.is_some() && record.stream_time_ms < start + SIZE_MS + GRACE_MS {
            *all.entry(Windowed::new(start, start + SIZE_MS, record.key)).or_default() += 1;
        }
    }
    let mut expected = Expected { told: Vec::new(), sum: 0, letters: Vec::new() };
    for (windowed, count) in all.into_iter().filter(|(windowed, _)| windowed.end_ms + GRACE_MS <= watermark) {
        if fails(&windowed).is_some() || is_refused(expected.sum, count) {
            expected.letters.push((windowed, windowed.end_ms + GRACE_MS));
        } else {
            expected.sum += count;
            expected.told.push((windowed, count));
        }
    }
    expected
}

fn key(record: &millpond::changelog::Record) -> Windowed<u8> {
    Windowed::decode_whole_key(record.key.as_ref().unwrap()).unwrap()
}

fn check(log: &dyn Changelog, stepper: &millpond::Stepper, (sum, _): &Tables, context: &str) -> usize {
    let expected = expected(log);
    let there = records::read(log, &TopicPartition::new("told", 0)).unwrap();
    let value = |bytes: &[u8]| told().codec().decode(bytes).unwrap();
    let there: Vec<_> =
        there.iter().map(|record| (key(record), value(record.value.as_ref().unwrap()))).collect();
    assert_eq!(there, expected.told, "{context}");
    let sums = stepper.view(sum).unwrap().get(&()).unwrap().unwrap_or_default();
    assert_eq!(sums, expected.sum, "{context}");
    let letters = records::read(log, &TopicPartition::new("dead", 0)).unwrap();
    let letters: Vec<_> = letters
        .iter()
        .map(|letter| {
            let header = |name: &str| {
                let found = letter.headers.iter().find(|header| *header.name == *name).unwrap();
                String::from_utf8(found.value.as_ref().unwrap().to_vec()).unwrap()
            };
            assert_eq!(
                (header("millpond.table"), header("millpond.engine")),
                ("counts".into(), "millpond".into())
            );
            let windowed = key(letter);
            let reason = header("millpond.reason");
            let word = match fails(&windowed) {
                Some(true) => "bad luck",
                Some(false) => "worse",
                None => "full",
            };
            assert!(reason.contains(word), "{reason}");
            assert_eq!(letter.timestamp_ms, windowed.end_ms - 1);
            (windowed, header("millpond.closed").parse().unwrap())
        })
        .collect();
    assert_eq!(letters, expected.letters, "each has one, in order: {context}");
    letters.len()
}

#[test]
fn what_fails_where_it_closes_is_one_letter() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    let mut letters = 0;
    for round in 0..rounds(40) {
        let log: Arc<dyn Changelog> = match random.below(2) {
            0 => OwnLog::with_gaps(random.number()),
            _ => Arc::new(MemoryChangelog::new()),
        };
        Appending::create(&*log, &clicks());
        let mut appending = Appending::new(random.below(2) == 0, 1 + random.below(40));
        let version = Arc::new(AtomicU32::new(1));
        let newest = version.clone();
        let mut life = Life::new(log.clone(), move || graph(newest.load(Ordering::Relaxed)))
            .with(|builder| builder.on_failure(FailurePolicy::DeadLetter("dead".into())));
        for _ in 0..150 {
            match random.below(12) {
                0..6 => appending.append(&*log, &clicks(), &mut random),
                6 if random.below(20) == 0 => {
                    life.crash();
                    version.fetch_add(1, Ordering::Relaxed);
                }
                _ => life.step(&mut random),
            }
        }
        let context = format!("round {round}");
        let (stepper, tables) = life.fold_all();
        letters += check(&*log, stepper, tables, &context);
        life.forget();
        let (stepper, tables) = life.fold_all();
        check(&*log, stepper, tables, &format!("{context}, folded again"));
    }
    assert!(letters > rounds(40), "{letters}");
}

/// Something that closes, and is told to code behind.
type Waits = fn(&GraphBuilder, &Topic<u8, u64>) -> Stream<u8, u64>;

const ALL: [(&str, &str, Waits); 5] = [
    ("sessions", "counts", |graph, topic| {
        let sessions = Session::gap(millis(100)).grace(Duration::ZERO);
        let counts = graph.stream(topic).group_by_key().windowed(sessions).count("counts");
        counts.on_close().map(|windowed, count| (windowed.key, count))
    }),
    ("hopping", "counts", |graph, topic| {
        let hopping = Hopping::of(millis(100)).every(millis(100)).grace(Duration::ZERO);
        let counts = graph.stream(topic).group_by_key().windowed(hopping).count("counts");
        counts.on_close().map(|windowed, count| (windowed.key, count))
    }),
    ("sliding", "counts", |graph, topic| {
        let sliding = millpond::stream::Sliding::of(millis(100)).grace(Duration::ZERO);
        let counts = graph.stream(topic).group_by_key().windowed(sliding).count("counts");
        counts.on_close().map(|windowed, count| (windowed.key, count))
    }),
    ("padding", "met", |graph, topic| {
        let within = Within::after(millis(100)).grace(Duration::ZERO);
        let none = graph.stream(topic).filter(|_, _| false);
        let met = graph.stream(topic).try_left_join_within(&none, within, "met", |key, click, _| {
            if *key == 2 { Err("bad luck") } else { Ok(*click) }
        });
        met.map_values(|_, click| click)
    }),
    ("an order in time", "waiting", |graph, topic| {
        graph.stream(topic).in_time_order("waiting", millis(100)).map_values(|_, value| value)
    }),
];

/// Whatever closes, what is told of it is left out, and the engine says which it is where nothing is.
#[test]
fn whatever_closes_is_named() {
    for sets_aside in [true, false] {
        for (what, table, waits) in ALL {
            let topic = clicks().partitions(1);
            let graph = GraphBuilder::new();
            let fit = waits(&graph, &topic)
                .try_map_values(|key, value| if *key == 2 { Err("bad luck") } else { Ok(value) });
            let last = fit.to_table("last");
            let policy =
                if sets_aside { FailurePolicy::DeadLetter("dead".into()) } else { FailurePolicy::Stop };
            let settings = Settings { policy, ..Settings::default() };
            let mut driver = Driver::with_settings(&graph.build().unwrap(), settings).unwrap();
            for key in [1, 2, 3] {
                driver.put(&topic, key, 1, 1_000).unwrap();
            }
            driver.run().unwrap();
            let moved = driver.advance_time(5_000);
            if !sets_aside {
                let error = moved.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::User);
                for word in ["bad luck", &format!("in table `{table}`"), "closed at 1", "\\x02"] {
                    assert!(error.message().contains(word), "{what}, {word}: {error}");
                }
                continue;
            }
            moved.unwrap();
            assert_eq!(driver.table(&last).unwrap().into_keys().collect::<Vec<_>>(), [1, 3], "{what}");
            let dead = records::read(&**driver.changelog(), &TopicPartition::new("dead", 0)).unwrap();
            let letters = driver.stats().unwrap().dead_letters;
            assert!(!dead.is_empty() && dead.len() as u64 == letters, "{what}: {dead:?}");
            driver.crash().unwrap();
            driver.run().unwrap();
            let again = records::read(&**driver.changelog(), &TopicPartition::new("dead", 0)).unwrap();
            assert_eq!(again, dead, "{what}");
        }
    }
}

/// What cannot be left out stops the engine as before: the code of an alarm may have changed its state already.
#[test]
fn an_alarm_that_fails_stops_the_engine() {
    use millpond::Process;
    use millpond::stream::{Alarmed, Emit};

    struct Fails;

    impl Process<u8, u64> for Fails {
        type State = u64;
        type OutKey = u8;
        type OutValue = u64;

        fn process(&self, _: &u8, value: u64, state: &mut Option<u64>, emit: &mut Emit<u8, u64>) {
            *state = Some(value);
            emit.set_alarm(Some(2_000));
        }
    }

    impl Alarmed<u8, u64> for Fails {
        fn alarm(&self, _: &u8, _: i64, _: &mut Option<u64>, _: &mut Emit<u8, u64>) {
            panic!("it does not ring");
        }
    }

    let topic = clicks().partitions(1);
    let graph = GraphBuilder::new();
    let _ = graph.stream(&topic).process_with_alarms("rings", Fails);
    let log = Arc::new(MemoryChangelog::new());
    let builder = Engine::builder(&graph.build().unwrap()).in_memory().changelog(log.clone());
    let mut stepper = builder.on_failure(FailurePolicy::DeadLetter("dead".into())).stepper().unwrap();
    let record = records::record(&topic, &1, Some(&1)).at(1_000);
    records::append(&*log, TopicPartition::new("clicks", 0), vec![record]).unwrap();
    assert!(stepper.epoch(1).unwrap());
    let error = stepper.advance_time(3_000).unwrap_err();
    let said = ["does not ring", "no record is to blame", "the alarm of the key \\x01", "due at 2000 ms"];
    assert!(said.iter().all(|said| error.message().contains(said)), "{error}");
}

/// Nor can what a window comes to be left out: others go on with it.
#[test]
fn a_merge_that_fails_where_windows_close_stops_the_engine() {
    for is_sliding in [false, true] {
        let log = Arc::new(MemoryChangelog::new());
        let topic = clicks().partitions(1);
        let build = |fails: bool| {
            let graph = GraphBuilder::new();
            let grouped = graph.stream(&topic).group_by_key();
            let init = || 0_u64;
            let fold = |sum: &mut u64, _: &u8, _| *sum += 1;
            let merge = move |sum: &mut u64, more: u64| {
                assert!(!fails, "oil and water");
                *sum += more;
            };
            let counts = if is_sliding {
                let windows = Sliding::of(millis(100)).grace(Duration::ZERO);
                grouped.windowed(windows).fold("counts", init, fold, merge).on_close()
            } else {
                let windows = Hopping::of(millis(200)).every(millis(100)).grace(Duration::ZERO);
                grouped.windowed(windows).fold("counts", init, fold, merge).on_close()
            };
            let counts = counts.to_table("told");
            (graph.build().unwrap(), counts)
        };
        let open = |graph: &Graph, store: &Arc<MemoryStore>| {
            let builder = Engine::builder(graph).store(store.clone()).changelog(log.clone());
            builder.on_failure(FailurePolicy::DeadLetter("dead".into())).stepper().unwrap()
        };
        let store = Arc::new(MemoryStore::new());
        let (graph, _) = build(true);
        let mut stepper = open(&graph, &store);
        for (key, at_ms) in [(1, 1_010), (1, 1_060), (1, 1_110), (2, 3_000)] {
            let record = records::record(&topic, &key, Some(&1)).at(at_ms);
            records::append(&*log, TopicPartition::new("clicks", 0), vec![record]).unwrap();
        }
        let error = (0..4).find_map(|_| stepper.epoch(1).err()).unwrap();
        let said = [
            "oil and water",
            "no record is to blame",
            "the closing of the key ",
            "\\x01 (as it",
            "was due at 1",
        ];
        assert!(said.iter().all(|said| error.message().contains(said)), "{error}");
        assert_eq!(log.offsets(&TopicPartition::new("dead", 0)).unwrap(), 0..0, "{error}");
        drop(stepper);
        let (graph, told) = build(false);
        let mut stepper = open(&graph, &store);
        while stepper.epoch(10).unwrap() {}
        assert!(stepper.view(&told).unwrap().count().unwrap() >= 2, "they are told once it is mended");
    }
}
