//! What a versioned table says that a row was at a time, from when on it says so, and what its rows are now, is a function of the log:
//! the same for every way to cut epochs, every number of shards, every crash and rebuild, in whatever order updates came.
//!
//! Method: random puts and tombstones of three partitions out of order, with equal and negative timestamps. Random epochs, drains, crashes
//! and fresh states, on a log that is one sequence and on one with gaps, where the keys of a partition are its own. The oracle sorts
//! the updates that are not late. Every row that is kept is counted, so that nothing stays that no question can reach.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog};
use millpond::store::MemoryStore;
use millpond::{
    AsOf, Engine, ErrorKind, Graph, GraphBuilder, StoredTable, TableOptions, Topic, Upsert, Version,
    VersionedTable,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::life::Life;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use millpond_support::timed::{self, Appending, TimedRecord};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn rates() -> Topic<u8, u64> {
    Topic::new("rates")
}

struct Case {
    graph: Graph,
    table: VersionedTable<u8, u64>,
    derived: StoredTable<u8, u64>,
    late: StoredTable<u8, Vec<Option<u64>>>,
}

fn case(history_ms: u64) -> Case {
    let graph = GraphBuilder::new();
    let table = graph.versioned(&rates(), "rates", Duration::from_millis(history_ms));
    let derived = table.map_values(|_, rate| rate + 1).materialize("derived");
    let late = table.late().group_by_key().fold("late", Vec::new, |list, _, update| {
        list.push(match update {
            Upsert::Put(rate) => Some(rate),
            Upsert::Delete => None,
        });
        list.sort_unstable();
    });
    Case { graph: graph.build().unwrap(), table, derived, late }
}

/// The updates of each key that count, in the order in which they replace each other.
type Counted = BTreeMap<u8, Vec<TimedRecord>>;

#[derive(Debug, Default, PartialEq)]
struct Rows {
    latest: BTreeMap<u8, u64>,
    derived: BTreeMap<u8, u64>,
    late: BTreeMap<u8, Vec<Option<u64>>>,
    /// Of versions, of those that are not closed, and of the updates that are the latest.
    kept: [u64; 3],
}

fn expected(log: &dyn Changelog, history_ms: i64) -> (Counted, Rows, i64) {
    let (mut records, watermark) = timed::read(log, &rates()).unwrap();
    let first_open = watermark.saturating_sub(history_ms);
    records.sort_by_key(|record| (record.timestamp_ms, record.stream_time_ms, record.number));
    let (mut counted, mut rows) = (Counted::new(), Rows::default());
    for record in records {
        if record.stream_time_ms < record.timestamp_ms + 1 + history_ms {
            counted.entry(record.key).or_default().push(record);
        } else {
            rows.late.entry(record.key).or_default().push(record.value);
        }
    }
    for list in rows.late.values_mut() {
        list.sort_unstable();
    }
    let mut kept = [u64::from(first_open > i64::MIN), 0, 0];
    for (key, versions) in &counted {
        let latest = versions.last().unwrap();
        rows.latest.extend(latest.value.map(|value| (*key, value)));
        rows.derived.extend(latest.value.map(|value| (*key, value + 1)));
        let closed = versions.partition_point(|version| version.timestamp_ms < first_open);
        let stays = closed > 0 && versions[closed - 1].value.is_some();
        let open = (versions.len() - closed) as u64;
        kept[0] += open + u64::from(stays);
        kept[1] += open;
        kept[2] += u64::from(open > 0 || stays);
    }
    rows.kept = kept;
    (counted, rows, first_open)
}

/// The version of `versions` at `at_ms`.
fn at(versions: &[TimedRecord], at_ms: i64) -> Option<u64> {
    versions.iter().rev().find(|version| version.timestamp_ms <= at_ms)?.value
}

/// Those of `versions` that were valid within `start..end`.
fn within(versions: &[TimedRecord], start: i64, end: i64) -> Vec<Version<u64>> {
    // Of versions of one time the last one counts.
    let times: BTreeMap<i64, Option<u64>> =
        versions.iter().map(|version| (version.timestamp_ms, version.value)).collect();
    let all: Vec<_> = times.iter().collect();
    let mut found = Vec::new();
    for (index, (from_ms, value)) in all.iter().enumerate() {
        let until_ms = all.get(index + 1).map(|(next, _)| **next);
        if **from_ms < end && until_ms.is_none_or(|until| until > start) {
            found.push(Version { from_ms: **from_ms, until_ms, value: **value });
        }
    }
    found
}

fn check(life: &mut Life<Case>, history_ms: i64, random: &mut Random, context: &str) -> usize {
    let log = life.log.clone();
    let (stepper, case) = life.fold_all();
    let (counted, rows, first_open) = expected(&*log, history_ms);
    let latest = stepper.view(&case.table).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let derived = stepper.view(&case.derived).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let late = stepper.view(&case.late).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let tables = stepper.stats().tables;
    let kept = ["rates.versions", "rates.open", "rates.newest"].map(|name| tables[name].rows);
    assert_eq!(Rows { latest, derived, late, kept }, rows, "{context}");
    let view = stepper.view(case.table.versions()).unwrap();
    let nothing = Vec::new();
    let mut asked = 0;
    for key in 0..9 {
        let versions = counted.get(&key).unwrap_or(&nothing);
        let edges = versions.iter().flat_map(|version| [version.timestamp_ms - 1, version.timestamp_ms]);
        let around = [first_open.saturating_sub(1), first_open, first_open.saturating_add(1)];
        for at_ms in edges.chain(around).chain([i64::MIN, i64::MAX]) {
            let end = at_ms.saturating_add(i64::try_from(random.below(60)).unwrap());
            if at_ms < first_open {
                assert_eq!(view.as_of(&key, at_ms).unwrap_err().kind(), ErrorKind::Expired);
                refused(view.versions_in(&key, at_ms..end), ErrorKind::Expired, &["not kept any more"]);
                continue;
            }
            assert_eq!(view.as_of(&key, at_ms).unwrap(), at(versions, at_ms), "{context}: {key} at {at_ms}");
            if at_ms < end {
                let mut expected = within(versions, at_ms, end);
                // A deletion that nothing needs is not kept.
                expected.retain(|version| version.value.is_some() || version.from_ms >= first_open);
                let found = view.versions_in(&key, at_ms..end).unwrap();
                assert_eq!(found, expected, "{context}: {key} in {at_ms}..{end}");
            }
            asked += 1;
        }
    }
    asked
}

#[test]
fn versions_of_rows_are_a_function_of_the_log() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    let mut asked = 0;
    for round in 0..rounds(80) {
        let is_sequence = random.below(2) == 0;
        let log: Arc<dyn Changelog> =
            if is_sequence { Arc::new(MemoryChangelog::new()) } else { OwnLog::with_gaps(random.number()) };
        Appending::create(&*log, &rates());
        let history_ms = random.pick(&[0, 10, 90, 600]);
        let mut life = Life::new(log, move || {
            let case = case(history_ms);
            (case.graph.clone(), case)
        });
        let mut appending =
            Appending::new(!is_sequence, random.pick(&[3, 20])).with_keys(2).with_tombstones(4);
        for _ in 0..120 {
            if random.below(14) < 8 {
                life.step(&mut random);
            } else {
                appending.append(&*life.log.clone(), &rates(), &mut random);
            }
        }
        let context = format!("round {round}: {history_ms} ms, {is_sequence}");
        asked += check(&mut life, i64::try_from(history_ms).unwrap(), &mut random, &context);
    }
    assert!(asked > 1_000, "questions are answered: {asked}");
}

#[test]
fn with_another_history_it_is_another_table() {
    let (log, store): (Arc<MemoryChangelog>, Arc<MemoryStore>) = Default::default();
    let open = |history_ms, version| {
        let graph = GraphBuilder::new();
        let options = TableOptions::named("rates").version(version);
        graph.versioned(&rates(), options, Duration::from_millis(history_ms));
        Engine::builder(&graph.build().unwrap()).store(store.clone()).changelog(log.clone()).stepper()
    };
    drop(open(10, 1).unwrap());
    refused(open(11, 1), ErrorKind::Invalid, &["rates", "versioned(history 10 ms)", "version"]);
    open(11, 2).unwrap();
}

/// Where a key is written by several partitions, which update of one time counts must not depend on which was read first.
#[test]
fn of_updates_of_one_time_that_of_the_partition_which_had_come_further_counts() {
    // The partition 1 had come to 100 with its record of 50, and the partition 0 to no more than that.
    let updates = [(1, 9, 100, 1), (1, 7, 50, 2), (0, 7, 50, 3)];
    for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1]] {
        let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
        Appending::create(&*log, &rates());
        for (partition, key, at, value) in order.map(|index| updates[index]) {
            let record = records::record(&rates(), &key, Some(&value)).at(at);
            records::append(&*log, records::partition(&rates(), partition), vec![record]).unwrap();
        }
        let mut life = Life::new(log, || {
            let case = case(100);
            (case.graph.clone(), case)
        });
        let (stepper, case) = life.fold_all();
        assert_eq!(stepper.view(&case.table).unwrap().get(&7).unwrap(), Some(2), "{order:?}");
        assert_eq!(stepper.view(case.table.versions()).unwrap().as_of(&7, 50).unwrap(), Some(2), "{order:?}");
    }
}
