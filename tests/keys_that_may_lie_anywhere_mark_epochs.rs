//! Where records of one key may come from several partitions, a log that is no sequence has its epochs marked, so that a replay
//! takes them in the same order; where they cannot, nothing is marked.
//!
//! Property: with keys that are made of values (`Topic::keyed_by`), and with codecs in which a key has several forms, a fold
//! that depends on the order of its records marks its epochs, and a state that is built anew is the same; a sum does not, nor
//! does that fold over keys which have one form.
//!
//! Method: records of one key in two partitions of a log without an order, taken as they arrive and then again by another
//! state; the marks are counted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::aggregate::sum;
use millpond::changelog::Record;
use millpond::codec::{Json, Ordered, Raw, Utf8, ValueCodec};
use millpond::store::MemoryStore;
use millpond::{Engine, GraphBuilder, Stepper, Topic};
use millpond_support::own_log::OwnLog;
use millpond_support::records::{append, key_bytes_of, partition, value_bytes};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Appends `records` one after the other to two partitions in turns, and folds each by itself.
fn folded_as_they_come(topic: &Topic<String, u64>, keyless: bool, stepper: &mut Stepper, log: &OwnLog) {
    for number in 0..12_u32 {
        let value = u64::from(number);
        let record = if keyless {
            Record::without_key(value_bytes(topic, &value))
        } else {
            Record::new(key_bytes_of(topic, &"k".to_owned()), value_bytes(topic, &value))
        };
        // The later one has the earlier time: by their times they would follow each other otherwise.
        append(log, partition(topic, number % 2), vec![record.at(100 - i64::from(number))]).unwrap();
        while stepper.epoch(10).unwrap() {}
    }
}

/// How many epochs were marked, and what was folded, first and by a state that is built anew.
fn folded(
    topic: &Topic<String, u64>,
    keyless: bool,
    commutes: bool,
) -> (usize, [BTreeMap<String, Vec<u64>>; 2]) {
    let graph = GraphBuilder::new();
    let grouped = graph.stream(topic).group_by_key();
    let table = if commutes {
        let sums = grouped.aggregate("sums", sum(|value: &u64| *value));
        sums.map_values(|_, sum| vec![u64::try_from(sum).unwrap()]).materialize("lists")
    } else {
        grouped.fold("lists", Vec::new, |list, _, value| list.push(value))
    };
    let graph = graph.build().unwrap();
    let log = OwnLog::new();
    let open = |store: Arc<MemoryStore>| {
        Engine::builder(&graph).store(store).changelog(log.clone()).shards(2).stepper().unwrap()
    };
    let rows =
        |stepper: &Stepper| stepper.view(&table).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let mut stepper = open(Arc::default());
    folded_as_they_come(topic, keyless, &mut stepper, &log);
    let first = rows(&stepper);
    drop(stepper);
    let marks = log.marks("millpond");
    let mut again = open(Arc::default());
    while again.epoch(10).unwrap() {}
    (marks, [first, rows(&again)])
}

fn topic() -> Topic<String, u64> {
    Topic::new("numbers").partitions(2)
}

fn spread(codec: impl ValueCodec<String>) -> usize {
    let (marks, [first, again]) = folded(&topic().keys(codec), false, false);
    if marks > 0 {
        assert_eq!(first, again);
        assert_eq!(first, [("k".to_owned(), (0..12).collect())].into());
    }
    marks
}

#[test]
fn keys_that_are_made_mark_epochs_where_the_order_counts() {
    let made = topic().keys(Utf8).keyed_by(|_| "k".to_owned());
    let (marks, [first, again]) = folded(&made, true, false);
    assert!(marks > 0);
    assert_eq!(first, [("k".to_owned(), (0..12).collect())].into(), "as they came");
    assert_eq!(first, again);
    let (marks, [first, again]) = folded(&made, true, true);
    assert_eq!((marks, first), (0, again), "a sum is the same in any order");
}

#[test]
fn so_do_keys_that_may_be_written_in_several_ways() {
    assert!(spread(Json) > 0);
    assert!(spread(Any) > 0);
    assert_eq!(spread(Utf8), 0);
    assert_eq!(spread(Ordered), 0);
    let raw = Topic::<Vec<u8>, u64>::new("numbers").partitions(2).keys(Raw);
    let graph = GraphBuilder::new();
    graph.stream(&raw).group_by_key().fold("lists", Vec::new, |list, _, value| list.push(value));
    let log = OwnLog::new();
    let graph = graph.build().unwrap();
    let mut stepper = Engine::builder(&graph).in_memory().changelog(log.clone()).stepper().unwrap();
    append(&*log, partition(&raw, 0), vec![Record::new("k", value_bytes(&raw, &1))]).unwrap();
    while stepper.epoch(10).unwrap() {}
    assert_eq!(log.marks("millpond"), 0);
}

/// A codec of which nothing is known.
struct Any;

impl ValueCodec<String> for Any {
    fn id(&self) -> &'static str {
        "any"
    }

    fn encode(&self, key: &String, out: &mut Vec<u8>) -> Result<(), millpond::codec::CodecError> {
        Utf8.encode(key, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, millpond::codec::CodecError> {
        Utf8.decode(bytes)
    }
}
