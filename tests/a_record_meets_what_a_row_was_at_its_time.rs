//! What a record meets in a join as of its time, when it is let go and in which order is a function of the log: the same for every way
//! to cut epochs, every number of shards, every crash and rebuild, whether the update or the record came first; and nothing behind the
//! join comes late.
//!
//! Method: random records and random updates, tombstones among them, of three partitions each, out of order, with equal and negative
//! timestamps; what is joined is appended to a topic. Random epochs, drains, crashes and fresh states, on a log that is one sequence
//! and on one with gaps, where the keys of a partition are its own. The oracle looks at every record and every update: a record
//! meets the last of those that are not beyond it and were known when it was to be let go.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog};
use millpond::stream::Tumbling;
use millpond::{ErrorKind, Graph, GraphBuilder, StoredTable, Topic, TopicPartition, Windowed};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::life::Life;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use millpond_support::timed::{self, Appending};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Short, so that windows end where the watermark stands.
const SIZE_MS: i64 = 3;

fn payments() -> Topic<u8, u64> {
    Topic::new("payments")
}

fn rates() -> Topic<u8, u64> {
    Topic::new("rates")
}

fn told(kind: &str) -> Topic<u8, (u64, Option<u64>)> {
    Topic::new(kind).partitions(1)
}

struct Case {
    graph: Graph,
    late: StoredTable<u8, Vec<u64>>,
    finals: StoredTable<Windowed<u8>, u64>,
}

fn case(history_ms: u64, grace_ms: u64) -> Case {
    let graph = GraphBuilder::new();
    let table = graph.versioned(&rates(), "rates", Duration::from_millis(history_ms));
    let (stream, grace) = (graph.stream(&payments()), Duration::from_millis(grace_ms));
    stream.join_as_of(&table, "some", grace, |_, number, rate| (number, Some(*rate))).to(&told("inner"));
    // Not on the shards of its keys.
    let shared = stream.re_key(|key, _| *key);
    let all = shared.left_join_as_of(&table, "all", grace, |_, number, rate| (number, rate.copied()));
    all.to(&told("outer"));
    let tumbling = Tumbling::of(Duration::from_millis(SIZE_MS as u64)).grace(Duration::ZERO);
    let finals = all.group_by_key().windowed(tumbling).count("counts").on_close().to_table("finals");
    let late = all.late().group_by_key().fold("late", Vec::new, |list, _, number| {
        list.push(number);
        list.sort_unstable();
    });
    Case { graph: graph.build().unwrap(), late, finals }
}

/// Times, keys, numbers, and what they met.
type Told = Vec<(i64, u8, u64, Option<u64>)>;

#[derive(Debug, Default, PartialEq)]
struct Expected {
    outer: Told,
    late: BTreeMap<u8, Vec<u64>>,
    /// How many, by windows behind the join that are closed.
    finals: BTreeMap<Windowed<u8>, u64>,
    waiting: u64,
    /// Rows of versions that the join keeps.
    kept: u64,
}

fn expected(log: &dyn Changelog, history_ms: i64, grace_ms: i64) -> Expected {
    let (records, time) = timed::read(log, &payments()).unwrap();
    let (mut updates, time_of_updates) = timed::read(log, &rates()).unwrap();
    updates.retain(|update| update.stream_time_ms < update.timestamp_ms + 1 + history_ms);
    let watermark = time.min(time_of_updates);
    let mut expected = Expected::default();
    for record in records {
        let (number, close) = (record.value.unwrap(), record.timestamp_ms + 1 + grace_ms);
        if record.stream_time_ms >= close {
            expected.late.entry(record.key).or_default().push(number);
        } else if close > watermark {
            expected.waiting += 1;
        } else {
            let known = updates.iter().filter(|update| {
                update.key == record.key
                    && update.timestamp_ms <= record.timestamp_ms
                    && update.stream_time_ms < close
            });
            let met = known.max_by_key(|update| (update.timestamp_ms, update.stream_time_ms, update.number));
            let row = met.and_then(|update| update.value);
            expected.outer.push((record.timestamp_ms, record.key, number, row));
        }
    }
    expected.outer.sort_by_key(|(at_ms, _, number, _)| (*at_ms, *number));
    for list in expected.late.values_mut() {
        list.sort_unstable();
    }
    for (at_ms, key, ..) in &expected.outer {
        let start = at_ms.div_euclid(SIZE_MS) * SIZE_MS;
        if start + SIZE_MS <= watermark.saturating_sub(grace_ms) {
            *expected.finals.entry(Windowed::new(start, start + SIZE_MS, *key)).or_default() += 1;
        }
    }
    updates.sort_by_key(|update| (update.timestamp_ms, update.stream_time_ms, update.number));
    let mut last_closed = BTreeMap::new();
    for update in updates {
        if update.timestamp_ms < watermark.saturating_sub(history_ms) {
            last_closed.insert(update.key, update.value.is_some());
        } else {
            expected.kept += 1;
        }
    }
    expected.kept += last_closed.values().filter(|stays| **stays).count() as u64;
    expected
}

fn read(log: &dyn Changelog, kind: &str) -> Told {
    let found = records::read(log, &TopicPartition::new(kind, 0)).unwrap();
    let joined = found.iter().map(|record| {
        let (number, row) = told(kind).codec().decode(record.value.as_ref().unwrap()).unwrap();
        (record.timestamp_ms, record.key.as_ref().unwrap()[0], number, row)
    });
    joined.collect()
}

#[test]
fn a_record_meets_what_a_row_was_at_its_time() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    let mut met = 0;
    for round in 0..rounds(80) {
        let is_sequence = random.below(2) == 0;
        let log: Arc<dyn Changelog> =
            if is_sequence { Arc::new(MemoryChangelog::new()) } else { OwnLog::with_gaps(random.number()) };
        for topic in [payments(), rates()] {
            Appending::create(&*log, &topic);
        }
        let (history_ms, grace_ms) = random.pick(&[(0, 0), (40, 0), (40, 10), (40, 40), (500, 90)]);
        let mut life = Life::new(log, move || {
            let case = case(history_ms, grace_ms);
            (case.graph.clone(), case)
        });
        let pace = random.pick(&[3, 20]);
        let mut appending = Appending::new(!is_sequence, pace).with_keys(2);
        for _ in 0..150 {
            match random.below(14) {
                0..8 => life.step(&mut random),
                8..11 => appending.append(&*life.log.clone(), &payments(), &mut random),
                _ => {
                    appending = appending.with_tombstones(4);
                    appending.append(&*life.log.clone(), &rates(), &mut random);
                    appending = appending.without_tombstones();
                }
            }
        }
        let [history, grace] = [history_ms, grace_ms].map(|ms| i64::try_from(ms).unwrap());
        let mut expected = expected(&*life.log, history, grace);
        let (stepper, case) = life.fold_all();
        let late = stepper.view(&case.late).unwrap().scan().unwrap().map(Result::unwrap).collect();
        let finals = stepper.view(&case.finals).unwrap().scan().unwrap().map(Result::unwrap).collect();
        let [waiting, kept] = ["all", "all.versions"].map(|name| stepper.stats().tables[name].rows);
        let mut found = Expected { outer: read(&*life.log, "outer"), late, finals, waiting, kept };
        let mut inner = read(&*life.log, "inner");
        let context = format!("round {round}: {history_ms} ms, {grace_ms} ms, {is_sequence}");
        if !is_sequence {
            // How records of several partitions and of one time follow each other is decided where epochs are cut.
            assert!(found.outer.is_sorted_by_key(|(at_ms, ..)| *at_ms), "{context}");
            for told in [&mut found.outer, &mut expected.outer, &mut inner] {
                told.sort_by_key(|(at_ms, _, number, _)| (*at_ms, *number));
            }
        }
        assert_eq!(found, expected, "{context}");
        expected.outer.retain(|(.., row)| row.is_some());
        assert_eq!(inner, expected.outer, "{context}");
        met += inner.len();
    }
    assert!(met > 500, "records meet rows: {met}");
}

#[test]
fn a_grace_beyond_the_history_is_refused() {
    let graph = GraphBuilder::new();
    let table = graph.versioned(&rates(), "rates", Duration::from_millis(10));
    let joined =
        graph.stream(&payments()).join_as_of(&table, "waiting", Duration::from_millis(11), |_, _, _| ());
    joined.to_table("joined");
    refused(graph.build(), ErrorKind::Invalid, &["`waiting`", "11 ms", "10 ms", "history"]);
}
