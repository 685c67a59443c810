//! An error that a step returns is the failure of its record: nothing is printed for it, and nothing run again to find it.
//!
//! Property: whatever the shards and cuts, the records that fail are left out, on every way through the graph, and are dead
//! letters whose reason is the text of the error; all others are folded in their order, as if those had never been. Under
//! the policy *stop* the engine stops at the first, with its topic, partition and offset.
//!
//! Method: one record in five fails, in steps of every kind, before and behind an exchange, with a half-changed accumulator,
//! or in one of several values that it became; compared with a plain loop. A hook counts panics, of which there are none.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::backend::ReadLog;
use millpond::stream::Emit;
use millpond::testing::{Driver, Settings};
use millpond::{FailurePolicy, Graph, GraphBuilder, Process, StoredTable, Stream, Topic, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const RECORDS: u64 = 60;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A value that no step likes, and why.
fn taste(value: u64) -> Result<u64, String> {
    if is_bad(value) { Err(format!("{value} is bitter")) } else { Ok(value) }
}

fn is_bad(value: u64) -> bool {
    value % 5 == 3
}

fn key_of(value: u64) -> u32 {
    (value % 4) as u32
}

type Kept = BTreeMap<u32, Vec<u64>>;
type Build = fn(&Stream<u32, u64>) -> StoredTable<u32, Vec<u64>>;

fn kept(stream: &Stream<u32, u64>) -> StoredTable<u32, Vec<u64>> {
    stream.group_by_key().fold("kept", Vec::new, |all, _, value| all.push(value))
}

/// Passes on what it has taken into its state, and then finds that it does not like it.
struct Taster;

impl Process<u32, u64> for Taster {
    type State = Vec<u64>;
    type OutKey = u32;
    type OutValue = u64;

    fn process(&self, key: &u32, value: u64, state: &mut Option<Vec<u64>>, emit: &mut Emit<u32, u64>) {
        state.get_or_insert_default().push(value);
        emit.push(*key, value);
        if let Err(reason) = taste(value) {
            emit.fail(reason);
            emit.fail("of several reasons the first counts");
        }
    }
}

/// Each keeps the values of every key as they come, but for those that fail.
const STEPS: [(&str, Build); 13] = [
    ("try_map", |stream| kept(&stream.try_map(|key, value| taste(value).map(|value| (key, value))))),
    ("try_map_values", |stream| kept(&stream.try_map_values(|_, value| taste(value)))),
    ("try_filter", |stream| kept(&stream.try_filter(|_, value| taste(*value).map(|_| true)))),
    ("try_filter_map", |stream| {
        kept(&stream.try_filter_map(|key, value| taste(value).map(|value| Some((key, value)))))
    }),
    ("try_flat_map", |stream| {
        kept(&stream.try_flat_map(|key, value| taste(value).map(|value| [(key, value)])))
    }),
    ("try_flat_map_values", |stream| {
        kept(&stream.try_flat_map_values(|_, value| taste(value).map(|value| [value])))
    }),
    ("try_map behind an exchange", |stream| {
        let there = stream.re_key(|_, value| value % 7).process("state", PassOn).0;
        kept(&there.try_map(|_, value| taste(value).map(|value| (key_of(value), value))))
    }),
    ("try_map behind a join", |stream| {
        let last = stream.to_table("last");
        let joined = stream.left_join(&last, |_, value, last| (value, last.copied()));
        let checked = joined.try_map_values(|_, (value, last)| {
            if last != Some(value) {
                return Err(format!("{value} met {last:?}"));
            }
            taste(value)
        });
        kept(&checked)
    }),
    ("try_fold", |stream| {
        stream.group_by_key().try_fold("kept", Vec::new, |all, _, value| {
            all.push(value);
            taste(value).map(drop)
        })
    }),
    ("try_fold of one of many", |stream| {
        let many = stream.flat_map(|key, value| [(key, value + 5), (key + 100, value), (key, value)]);
        // What fails at one key is undone at all.
        let folded = many.group_by_key().try_fold("folded", Vec::new, |all: &mut Vec<u64>, key, value| {
            all.push(value);
            if *key >= 100 { taste(value).map(drop) } else { Ok(()) }
        });
        let own = folded.filter(|key, _| *key < 100);
        own.map_values(|_, all| all.into_iter().skip(1).step_by(2).collect::<Vec<u64>>()).materialize("kept")
    }),
    ("emit.fail, what is emitted", |stream| kept(&stream.process("state", Taster).0)),
    ("emit.fail, the state", |stream| stream.process("kept", Taster).1),
    ("a way that is not there", |stream| {
        let [all] = stream.split(|_, value| usize::from(is_bad(*value)));
        kept(&all)
    }),
];

/// Passes every record on from the shard of its key.
struct PassOn;

impl Process<u64, u64> for PassOn {
    type State = u64;
    type OutKey = u64;
    type OutValue = u64;

    fn process(&self, key: &u64, value: u64, _: &mut Option<u64>, emit: &mut Emit<u64, u64>) {
        emit.push(*key, value);
    }
}

fn driver(graph: &Graph, events: &Topic<u32, u64>, shards: usize, policy: FailurePolicy) -> Driver {
    let settings = Settings { shards, policy, ..Settings::default() };
    let driver = Driver::with_settings(graph, settings).unwrap();
    for value in 0..RECORDS {
        driver.put(events, key_of(value), value, value as i64).unwrap();
    }
    driver
}

fn expected(values: impl Iterator<Item = u64>) -> Kept {
    let mut kept = Kept::new();
    for value in values {
        kept.entry(key_of(value)).or_default().push(value);
    }
    kept
}

/// The offsets and reasons of the dead letters.
fn letters(driver: &Driver) -> Vec<(u64, String)> {
    let mut reader = driver.changelog().reader(&TopicPartition::new("dead", 0), 0).unwrap();
    let mut letters = Vec::new();
    loop {
        let batches = reader.poll(1 << 20).unwrap();
        if batches.is_empty() {
            return letters;
        }
        for batch in batches {
            for record in &batch.decode().unwrap() {
                let headers: BTreeMap<&str, &[u8]> = record.headers().collect();
                let text = |name: &str| String::from_utf8(headers[name].to_vec()).unwrap();
                letters.push((text("millpond.offset").parse().unwrap(), text("millpond.reason")));
            }
        }
    }
}

#[test]
fn what_fails_is_left_out_whatever_the_shards_and_cuts() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        eprintln!("{panic}");
    }));
    for (name, build) in STEPS {
        let events = Topic::<u32, u64>::new("events");
        let graph = GraphBuilder::new();
        let kept = build(&graph.stream(&events));
        let graph = graph.build().unwrap();
        for (shards, epoch) in [(1, 1), (1, 1000), (1, 7), (3, 1), (3, 7), (3, 1000)] {
            let what = format!("{name}, {shards} shards, epochs of {epoch}");
            let policy = FailurePolicy::DeadLetter("dead".into());
            let mut driver = driver(&graph, &events, shards, policy);
            while driver.epoch(epoch).unwrap() {}
            assert_eq!(
                driver.table(&kept).unwrap(),
                expected((0..RECORDS).filter(|value| !is_bad(*value))),
                "{what}"
            );
            let reason = |value: u64| match name {
                "a way that is not there" => {
                    "`split` has 1 ways, counted from 0, and was told to take number 1".to_owned()
                }
                _ => format!("{value} is bitter"),
            };
            let failed: Vec<_> =
                (0..RECORDS).filter(|value| is_bad(*value)).map(|value| (value, reason(value))).collect();
            assert_eq!(letters(&driver), failed, "{what}");
        }
        for (shards, epoch) in [(1, 1), (3, 1000)] {
            let mut driver = driver(&graph, &events, shards, FailurePolicy::Stop);
            let error = loop {
                match driver.epoch(epoch) {
                    Ok(more) => assert!(more, "{name}: the bad record was passed over"),
                    Err(error) => break error.to_string(),
                }
            };
            assert!(error.contains("events/0 offset 3"), "{name}: {error}");
            assert_eq!(driver.table(&kept).unwrap(), expected(0..3), "{name}");
        }
    }
    // Neither a panic of a step nor one of the kind that a test fails by.
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

/// A panic is looked for by running the epoch a second time; an error says where it is.
#[test]
fn the_record_is_known_without_a_second_run() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let stream = graph.stream(&events).try_map_values(move |_, value| {
        counted.fetch_add(1, Ordering::Relaxed);
        taste(value)
    });
    kept(&stream);
    let graph = graph.build().unwrap();
    let mut driver = driver(&graph, &events, 1, FailurePolicy::Stop);
    for _ in 0..3 {
        driver.epoch(1).unwrap();
    }
    driver.epoch(1).unwrap_err();
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}
