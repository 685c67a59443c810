//! A record that does not decode, or at which user code fails, stops the engine exactly there or is set aside.
//!
//! Property: under the policy *stop* the error is of kind `User` and names topic, partition and offset; everything
//! before the record is applied, nothing after it, and the position says so. Under *dead letter* the record is left
//! out, all others are folded, and the dead-letter topic has it once, with its reason and origin, however often the
//! epoch is run again. A fold that fails once and not again is reported as what it is.
//!
//! Method: the step-by-step engine on a changelog in memory, with the bad record in the midst of an epoch, for several
//! numbers of shards and epoch sizes; crashes between append and drain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::backend::TopicLog;
use millpond::changelog::{MAX_KEY_BYTES, MemoryChangelog, Record};
use millpond::codec::{Bincode, CodecError, Json, ValueCodec};
use millpond::store::{MemoryStore, StateStore};
use millpond::stream::Emit;
use millpond::testing::laws::Laws;
use millpond::{
    Engine, ErrorKind, Graph, GraphBuilder, Latest, Process, StoredTable, Stream, TableOptions, Topic,
    TopicPartition,
};
use millpond_support::failing::{Picky, dead_lettering, dead_letters, engine, occurrences, record};
use millpond_support::records::{append, value_bytes};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BAD: u64 = 130;
const RECORDS: u64 = 300;

/// A changelog of 300 records, number 130 of which has the value `bad`.
fn log_with<V: millpond::codec::Value>(topic: &Topic<u32, V>, good: &V, bad: Vec<u8>) -> MemoryChangelog {
    let mut records: Vec<Record> =
        (0..RECORDS).map(|offset| record(offset, value_bytes(topic, good))).collect();
    records[BAD as usize].value = Some(bad.into());
    log_of(topic, &records)
}

fn log_of<V: millpond::codec::Value>(topic: &Topic<u32, V>, records: &[Record]) -> MemoryChangelog {
    let log = MemoryChangelog::new();
    log.create_topic(topic.name(), topic.topic_config()).unwrap();
    for records in records.chunks(37) {
        let partition = TopicPartition::new(Arc::clone(topic.name()), 0);
        append(&log, partition, records.to_vec()).unwrap();
    }
    log
}

/// Checks both policies on `graph`, whose table counts the records of each key.
fn check(
    graph: &Graph,
    counts: &StoredTable<u32, u64>,
    log: &MemoryChangelog,
    bad_value: &[u8],
    reason: &str,
) {
    let at = TopicPartition::new("events", 0);
    for (shards, epoch) in [(1, 1), (1, 1000), (3, 50), (4, 1000)] {
        let log = log.crash();
        let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
        let mut stepper = engine(graph, &log, &store, shards).stepper().unwrap();
        let error = loop {
            match stepper.epoch(epoch) {
                Ok(more) => assert!(more, "the bad record was passed over"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::User, "{error}");
        for part in ["events/0 offset 130", reason, "dead-letter"] {
            assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
        }
        assert_eq!(stepper.position().offset(&at), BAD, "{shards} shards, epochs of {epoch}");
        let view = stepper.view(counts).unwrap();
        let shown: BTreeMap<u32, u64> = view.scan().unwrap().map(Result::unwrap).collect();
        assert_eq!(shown, occurrences(0..BAD));
        stepper.drain().unwrap();
        drop(stepper);

        let again = engine(graph, &log, &store, shards).stepper().unwrap().epoch(epoch).unwrap_err();
        assert!(again.to_string().contains("events/0 offset 130"), "stopped there once more: {again}");

        for crash in [true, true, false] {
            let mut stepper = dead_lettering(graph, &log, &store, shards);
            while stepper.epoch(epoch).unwrap() {}
            let view = stepper.view(counts).unwrap();
            let shown: BTreeMap<u32, u64> = view.scan().unwrap().map(Result::unwrap).collect();
            assert_eq!(shown, occurrences((0..RECORDS).filter(|&offset| offset != BAD)), "crash: {crash}");
            let letters = dead_letters(&log);
            assert_eq!(letters.len(), 1, "{shards} shards, epochs of {epoch}");
            let (letter, headers) = &letters[0];
            assert_eq!(letter.value.as_deref(), Some(bad_value));
            assert_eq!(headers["millpond.topic"], "events");
            assert_eq!(headers["millpond.partition"], "0");
            assert_eq!(headers["millpond.offset"], "130");
            assert!(headers["millpond.reason"].contains(reason), "{headers:?}");
            if !crash {
                stepper.drain().unwrap();
            }
        }
    }
}

#[test]
fn a_record_that_does_not_decode() {
    let events = Topic::<u32, String>::new("events");
    let graph = GraphBuilder::new();
    let counts = graph.stream(&events).group_by_key().count("counts");
    let graph = graph.build().unwrap();
    let bad = vec![3, 0xff, 0xfe, 0xfd];
    let log = log_with(&events, &"good".to_owned(), bad.clone());
    check(&graph, &counts, &log, &bad, "does not decode");
}

/// Dead letters of all records are no way out of that.
#[test]
fn a_topic_that_was_written_with_another_codec_is_to_be_read_with_that() {
    let written = Topic::<u32, BTreeMap<String, u64>>::with_codec("events", Json);
    let row = BTreeMap::from([("amount".to_owned(), 7)]);
    let log = log_with(&written, &row, value_bytes(&written, &row));
    let graph = GraphBuilder::new();
    graph.stream(&Topic::<u32, BTreeMap<String, u64>>::new("events")).to_table("rows");
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let error = engine(&graph.build().unwrap(), &log, &store, 1).stepper().unwrap().epoch(10).unwrap_err();
    let told = error.to_string();
    let advised = told.find("another one than it was written with, go back to that").expect(&told);
    assert!(told.find("dead-letter").is_some_and(|last| last > advised), "{told}");
}

#[test]
fn a_key_that_does_not_decode() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let counts = graph.stream(&events).group_by_key().count("counts");
    let graph = graph.build().unwrap();
    let good = value_bytes(&events, &1);
    let mut records: Vec<Record> = (0..RECORDS).map(|offset| record(offset, good.clone())).collect();
    records[BAD as usize].key = Some(vec![1, 2].into());
    check(&graph, &counts, &log_of(&events, &records), &good, "does not decode");
}

type AddSource = fn(&GraphBuilder, &Topic<u32, String>);

/// The sources of tables read records in ways of their own.
#[test]
fn a_row_that_does_not_decode() {
    let events = Topic::<u32, String>::new("events");
    let raw = Topic::<u32, Vec<u8>>::with_codec("events", millpond::codec::Raw);
    let sources: [AddSource; 3] = [
        |graph, events| drop(graph.table(events, "rows")),
        |graph, events| drop(graph.table_by(events, "rows", Latest::Timestamp)),
        |graph, events| drop(graph.upserts(events).upsert_table("rows")),
    ];
    for source in sources {
        let graph = GraphBuilder::new();
        let counts = graph.stream(&raw).group_by_key().count("counts");
        source(&graph, &events);
        let graph = graph.build().unwrap();
        let bad = vec![3, 0xff, 0xfe, 0xfd];
        let log = log_with(&events, &"good".to_owned(), bad.clone());
        check(&graph, &counts, &log, &bad, "does not decode");
    }
}

type AddStep = fn(&Stream<u32, u64>, &StoredTable<u32, u64>) -> Stream<u32, u64>;

/// Passes every value on, but for one.
struct Superstitious;

impl Process<u32, u64> for Superstitious {
    type State = u64;
    type OutKey = u32;
    type OutValue = u64;

    fn process(&self, key: &u32, value: u64, _: &mut Option<u64>, emit: &mut Emit<u32, u64>) {
        assert!(value != 666, "the number of the beast");
        emit.push(*key, value);
    }
}

#[test]
fn a_process_or_a_join_that_panics() {
    let events = Topic::<u32, u64>::new("events");
    let steps: [AddStep; 2] = [
        |stream, _| stream.process("state", Superstitious).0,
        |stream, counts| {
            stream.left_join(counts, |_, value, _| {
                assert!(value != 666, "the number of the beast");
                value
            })
        },
    ];
    for step in steps {
        let graph = GraphBuilder::new();
        let stream = graph.stream(&events);
        let counts = stream.group_by_key().count("counts");
        step(&stream, &counts).to_table("results");
        let graph = graph.build().unwrap();
        let bad = value_bytes(&events, &666);
        let log = log_with(&events, &1, bad.clone());
        check(&graph, &counts, &log, &bad, "the number of the beast");
    }
}

#[test]
fn a_length_of_two_to_the_sixtieth_allocates_nothing() {
    let events = Topic::<u32, Vec<String>>::new("events");
    let graph = GraphBuilder::new();
    let counts = graph.stream(&events).group_by_key().count("counts");
    let graph = graph.build().unwrap();
    // What bincode writes for a length of 2^60, in its variable and in its fixed form.
    for bad in [vec![253, 0, 0, 0, 0, 0, 0, 0, 16], (1_u64 << 60).to_le_bytes().to_vec()] {
        let log = log_with(&events, &vec!["good".to_owned()], bad.clone());
        check(&graph, &counts, &log, &bad, "does not decode");
    }
}

#[test]
fn a_fold_that_panics() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let counts = graph.stream(&events).group_by_key().fold(
        "counts",
        || 0_u64,
        |count, _, value| {
            assert!(value != 666, "the number of the beast");
            *count += 1;
        },
    );
    let graph = graph.build().unwrap();
    let bad = value_bytes(&events, &666);
    let log = log_with(&events, &1, bad.clone());
    check(&graph, &counts, &log, &bad, "the number of the beast");
}

#[test]
fn a_map_that_panics_behind_an_exchange() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let rekeyed = graph.stream(&events).re_key(|key, _| (*key, 7_u32)).group_by_key();
    let table = rekeyed.fold(
        "rekeyed",
        || 0_u64,
        |count, _, value| {
            assert!(value != 666, "the number of the beast");
            *count += 1;
        },
    );
    let counts = table
        .group_by(|(key, _), count| (*key, *count))
        .fold("counts", || 0_u64, |sum, _, n| *sum += n, |sum, _, n| *sum -= n)
        .materialize("plain");
    let graph = graph.build().unwrap();
    let bad = value_bytes(&events, &666);
    let log = log_with(&events, &1, bad.clone());
    check(&graph, &counts, &log, &bad, "the number of the beast");
}

/// The value that no closure of a table likes.
fn taste(value: u64) -> u64 {
    assert!(value != 666, "the number of the beast");
    value
}

/// What the next record of its key replaces within the epoch is shown to the closures of tables all the same.
#[test]
fn a_closure_of_a_table_that_panics_at_a_value_which_is_replaced() {
    let events = Topic::<u32, u64>::new("events");
    for kind in 0..10 {
        let graph = GraphBuilder::new();
        let rows = graph.table(&events, "rows");
        let other = graph.stream(&events).group_by_key().count("other");
        match kind {
            0 => _ = rows.map_values(|_, value| taste(value)).materialize("plain"),
            1 => _ = rows.filter(|_, value| taste(*value) > 0).materialize("plain"),
            2 => _ = rows.join(&other, |_, value, _| taste(*value)).materialize("plain"),
            3 => _ = other.left_join(&rows, |_, _, value| value.copied().map(taste)).materialize("plain"),
            6 => rows.to_stream().map_values(|_, row| row.into_option().map(taste)).to(&Topic::new("out")),
            7 => {
                let (some, _) = rows
                    .to_stream()
                    .branch(|_, row| row.clone().into_option().is_some_and(|row| taste(row) > 0));
                some.to_upserts(&Topic::new("out"));
            }
            4 => _ = rows.group_by(|key, value| (taste(*value), *key)).count("plain"),
            // Nobody reads these, and their closures are asked all the same. A join was asked only about what was left of an epoch.
            8 => _ = rows.join(&other, |_, value, _| taste(*value)),
            9 => _ = rows.map_values(|_, value| taste(value)),
            _ => {
                _ = rows.foreign_left_join(
                    &other,
                    "plain",
                    |_, value| taste(*value) as u32,
                    |_, value, _| *value,
                );
            }
        }
        let graph = graph.build().unwrap();
        let log = log_with(&events, &1, value_bytes(&events, &666));
        for (shards, epoch) in [(1, 1), (1, 1000), (3, 50), (4, 1000)] {
            let log = log.crash();
            let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
            let mut stepper = dead_lettering(&graph, &log, &store, shards);
            while stepper.epoch(epoch).unwrap() {}
            let shown: BTreeMap<u32, u64> =
                stepper.view(&other).unwrap().scan().unwrap().map(Result::unwrap).collect();
            let expected = occurrences((0..RECORDS).filter(|&offset| offset != BAD));
            assert_eq!(shown, expected, "closure {kind}, {shards} shards, epochs of {epoch}");
            let letters = dead_letters(&log);
            assert_eq!(letters.len(), 1, "closure {kind}, {shards} shards, epochs of {epoch}");
            assert_eq!(letters[0].1["millpond.offset"], "130");
        }
    }
}

/// Of what fails at one record, one shard and many tell the same: a letter is known by its reason.
#[test]
fn a_record_that_fails_at_several_places() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let many = graph.stream(&events).flat_map(|key, value| (0..8).map(move |n| (n * 100 + key, value)));
    for table in ["one", "two"] {
        many.group_by_key().fold(
            table,
            || 0_u64,
            move |count, key, value| {
                assert!(value != 666, "{table} at {key}");
                *count += 1;
            },
        );
    }
    let graph = graph.build().unwrap();
    let log = log_with(&events, &1, value_bytes(&events, &666));
    let reasons: Vec<String> = (1..6)
        .map(|shards| {
            let log = log.crash();
            let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
            let mut stepper = dead_lettering(&graph, &log, &store, shards);
            while stepper.epoch(50).unwrap() {}
            let letters = dead_letters(&log);
            assert_eq!(letters.len(), 1, "{shards} shards");
            letters[0].1["millpond.reason"].clone()
        })
        .collect();
    assert!(reasons[0].contains("one at 9"), "{reasons:?}");
    assert!(reasons.iter().all(|reason| *reason == reasons[0]), "{reasons:?}");
}

/// Checks a fold that leaves a value which its table cannot encode; `keep` makes the next value of the last one and a record.
fn check_unwritable(keep: fn(u64, u64) -> u64) {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let stream = graph.stream(&events);
    let counts = stream.group_by_key().count("counts");
    let picky = TableOptions::with_codec("picky", Picky);
    stream.group_by_key().fold(picky, || 0, move |kept, _, n| *kept = keep(*kept, n));
    let graph = graph.build().unwrap();
    let bad = value_bytes(&events, &666);
    let log = log_with(&events, &1, bad.clone());
    check(&graph, &counts, &log, &bad, "table `picky`: a value does not encode");
}

/// Such a value was once found when the epoch was over, with no record to blame: nothing could be left out.
#[test]
fn a_value_that_its_table_cannot_encode() {
    // The bad value stays, so that it also shows at every later record of its key.
    check_unwritable(u64::max);
}

/// Such a value was once stored nowhere and blamed on nobody where the record that replaced it was of the same epoch.
#[test]
fn a_value_that_its_table_cannot_encode_and_another_record_replaces() {
    check_unwritable(|_, new| new);
}

/// Such a record was once refused by the changelog, which does not know what it was made from.
#[test]
fn a_record_that_is_too_large_for_the_changelog() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let stream = graph.stream(&events);
    let counts = stream.group_by_key().count("counts");
    let length = |value: &u64| if *value == 666 { MAX_KEY_BYTES + 1 } else { 1 };
    stream.re_key(move |_, value| "k".repeat(length(value))).to(&Topic::new("long"));
    let graph = graph.build().unwrap();
    let bad = value_bytes(&events, &666);
    let log = log_with(&events, &1, bad.clone());
    check(&graph, &counts, &log, &bad, "topic `long`");
}

/// Nobody said which value the codec was looking at.
#[test]
fn a_codec_that_panics() {
    for (decode, reason) in [(true, "decoding"), (false, "encoding")] {
        let events = Topic::<u32, u64>::new("events");
        let read = if decode { Topic::with_codec("events", Explosive) } else { events.clone() };
        let graph = GraphBuilder::new();
        let stream = graph.stream(&read);
        let counts = stream.group_by_key().count("counts");
        let explosive = TableOptions::with_codec("explosive", Explosive);
        stream.group_by_key().fold(explosive, || 0, |most, _, n| *most = n.max(*most));
        let graph = graph.build().unwrap();
        let bad = value_bytes(&events, &if decode { 777 } else { 666 });
        let log = log_with(&events, &1, bad.clone());
        check(&graph, &counts, &log, &bad, reason);
    }
}

/// Panics where it should report an error.
struct Explosive;

impl ValueCodec<u64> for Explosive {
    fn id(&self) -> &'static str {
        "explosive"
    }

    fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        assert!(*value != 666, "encoding");
        Bincode.encode(value, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64, CodecError> {
        let value = Bincode.decode(bytes)?;
        assert!(value != 777, "decoding");
        Ok(value)
    }
}

#[test]
fn an_engine_that_stopped_says_why_to_everyone() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let counts = graph.stream(&events).group_by_key().fold(
        "counts",
        || 0_u64,
        |count, _, value| {
            assert!(value != 666, "the number of the beast");
            *count += 1;
        },
    );
    let graph = graph.build().unwrap();
    let log = log_with(&events, &1, value_bytes(&events, &666));
    let engine = Engine::builder(&graph).changelog(Arc::new(log.reopen())).in_memory().start().unwrap();
    let mut end = engine.position();
    end.set(TopicPartition::new("events", 0), RECORDS);
    let error = engine.wait_for_blocking(&end).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User, "{error}");
    let view = engine.view(&counts).unwrap();
    let answers = [
        error,
        view.get(&1).unwrap_err(),
        view.multi_get(&[1]).unwrap_err(),
        view.scan().map(drop).unwrap_err(),
        view.count().unwrap_err(),
        view.changes().map(drop).unwrap_err(),
        view.subscribe(&1).map(drop).unwrap_err(),
        engine.snapshot().map(drop).unwrap_err(),
        engine.catch_up_blocking().unwrap_err(),
        engine.drain_blocking().unwrap_err(),
        engine.ready_blocking().unwrap_err(),
        engine.close_blocking().unwrap_err(),
    ];
    for error in answers {
        assert!(error.to_string().contains("events/0 offset 130"), "{error}");
    }
}

#[test]
fn a_fold_that_fails_only_once_is_not_deterministic() {
    let events = Topic::<u32, u64>::new("events");
    let calls = Arc::new(AtomicU64::new(0));
    let graph = GraphBuilder::new();
    let counted = Arc::clone(&calls);
    let counts = graph.stream(&events).group_by_key().fold(
        "counts",
        || 0_u64,
        move |count, _, _| {
            assert!(counted.fetch_add(1, Ordering::Relaxed) != 50, "once");
            *count += 1;
        },
    );
    let graph = graph.build().unwrap();
    let log = log_with(&events, &1, value_bytes(&events, &1));
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let mut stepper = engine(&graph, &log, &store, 1).stepper().unwrap();
    let error = stepper.epoch(1000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User, "{error}");
    assert!(error.to_string().contains("not deterministic"), "{error}");
    assert!(error.to_string().contains("laws"), "it says what to do: {error}");
    assert_eq!(stepper.view(&counts).unwrap().count().unwrap(), 0, "nothing of the epoch was applied");
    assert_eq!(stepper.position().offset(&TopicPartition::new("events", 0)), 0);
}

#[test]
fn the_laws_find_a_fold_that_is_not_deterministic() {
    let calls = AtomicU64::new(0);
    let fold = millpond::aggregate::Fold::new(
        || 0_u64,
        move |acc: &mut u64, _: &u32, value: u64| *acc += value + calls.fetch_add(1, Ordering::Relaxed) % 2,
    );
    let violation = Laws::new().seed(1).aggregate(&fold, 0..3_u32, 0..9_u64).unwrap_err();
    assert!(violation.law().contains("determin") || violation.law().contains("accumulator"), "{violation}");
}
