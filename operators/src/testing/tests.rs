//! The driver does what it says, and the check catches what it is there to catch.

use super::changelogs::TypedRecord;
use super::{Driver, GraphCheck, Input, Settings};
use crate::{GraphBuilder, StoredTable};
use millpond_engine::changelog::{Headers, Record};
use millpond_engine::graph::TableOptions;
use millpond_engine::{ErrorKind, FailurePolicy, Topic, TopicPartition};
use proptest::prelude::any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

fn orders() -> Topic<u8, u64> {
    Topic::new("orders").partitions(2)
}

/// The sum of each key, and every order once more on the topic `copies`.
fn sums() -> (GraphBuilder, StoredTable<u8, u64>, Topic<u8, u64>) {
    let graph = GraphBuilder::new();
    let copies = Topic::new("copies");
    let stream = graph.stream(&orders());
    stream.to(&copies);
    let sums = stream.group_by_key().fold("sums", || 0_u64, |sum, _, value| *sum += value);
    (graph, sums, copies)
}

fn expected_sums(input: &Input) -> BTreeMap<u8, u64> {
    let mut sums = BTreeMap::new();
    for TypedRecord { key, value, .. } in input.records(&orders()) {
        if let Some(value) = value {
            *sums.entry(key).or_default() += value;
        }
    }
    sums
}

fn check(graph: &GraphBuilder) -> GraphCheck {
    GraphCheck::new(&graph.build().unwrap()).input(&orders(), any::<u8>(), 0..100_u64).seed(1)
}

#[test]
fn epochs_drains_and_crashes_happen_when_told() {
    let (graph, sums, copies) = sums();
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    assert!(!driver.epoch(1).unwrap());
    for key in 1..=4 {
        driver.put(&orders(), key, 10, 0).unwrap();
    }
    driver.delete(&orders(), 1, 0).unwrap();
    assert!(driver.table(&sums).unwrap().is_empty());
    assert!(driver.epoch(2).unwrap());
    let first = driver.table(&sums).unwrap();
    assert!((1..4).contains(&first.len()), "{first:?}");
    assert!(driver.drain().unwrap());
    assert!(!driver.drain().unwrap());
    driver.run().unwrap();
    let all: BTreeMap<u8, u64> = (1..=4).map(|key| (key, 10)).collect();
    assert_eq!(driver.table(&sums).unwrap(), all);
    driver.crash().unwrap();
    assert_eq!(driver.table(&sums).unwrap(), first);
    driver.run().unwrap();
    driver.restart_with(Settings { shards: 1, memory_bytes: 0, ..Settings::default() }).unwrap();
    assert_eq!(driver.table(&sums).unwrap(), all);
    assert_eq!(driver.records(&copies).unwrap().len(), 4);
}

#[test]
fn a_power_cut_takes_what_no_one_synced() {
    let (graph, _, copies) = sums();
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    driver.put(&orders(), 1, 10, 7).unwrap();
    driver.run().unwrap();
    driver.power_cut().unwrap();
    assert!(driver.records(&copies).unwrap().is_empty());
    driver.run().unwrap();
    driver.drain().unwrap();
    driver.power_cut().unwrap();
    let copy =
        TypedRecord { partition: 0, key: 1, value: Some(10), timestamp_ms: 7, headers: Headers::new() };
    assert_eq!(driver.records(&copies).unwrap(), [copy]);
}

#[test]
fn a_raised_version_is_built_beside_the_old_one() {
    let version = |version, factor: u64| {
        let graph = GraphBuilder::new();
        let options = TableOptions::named("sums").version(version);
        let stream = graph.stream(&orders()).group_by_key();
        let sums = stream.fold(options, || 0_u64, move |sum, _, value| *sum += value * factor);
        (graph.build().unwrap(), sums)
    };
    let (graph, sums) = version(1, 1);
    let mut driver = Driver::new(&graph).unwrap();
    driver.put(&orders(), 1, 10, 0).unwrap();
    driver.run().unwrap();
    let (graph, tenfold) = version(2, 10);
    driver.upgrade(&graph).unwrap();
    assert!(driver.is_building().unwrap());
    assert_eq!(driver.table(&tenfold).unwrap(), [(1, 10)].into());
    // The handles of the old graph are no good any more, whatever the name of the table.
    assert_eq!(driver.table(&sums).unwrap_err().kind(), ErrorKind::Invalid);
    driver.run().unwrap();
    assert_eq!(driver.table(&tenfold).unwrap(), [(1, 100)].into());
}

#[test]
fn records_that_do_not_decode_stop_it_or_go_to_the_dead_letters() {
    let (graph, sums, _) = sums();
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    driver.append(TopicPartition::new("orders", 0), vec![Record::new("key", "no order")]).unwrap();
    driver.put(&orders(), 1, 10, 0).unwrap();
    assert_eq!(driver.run().unwrap_err().kind(), ErrorKind::User);
    let letters = Settings { policy: FailurePolicy::DeadLetter("letters".into()), ..Settings::default() };
    driver.restart_with(letters).unwrap();
    driver.run().unwrap();
    assert_eq!(driver.table(&sums).unwrap(), [(1, 10)].into());
    assert_eq!(driver.stats().unwrap().dead_letters, 1);
}

#[test]
fn time_is_moved_by_hand() {
    let (graph, ..) = sums();
    let driver = Driver::new(&graph.build().unwrap()).unwrap();
    driver.advance(42);
    driver.producer(&orders()).unwrap().put(&1, &10).wait_blocking().unwrap();
    assert_eq!(driver.now_ms(), 42);
    assert_eq!(driver.records(&orders()).unwrap()[0].timestamp_ms, 42);
}

#[test]
fn a_graph_that_does_what_its_model_says_passes() {
    let (graph, sums, _) = sums();
    check(&graph).table(&sums, expected_sums).run();
}

#[test]
fn a_wrong_model_is_caught_with_the_smallest_changelog() {
    let (graph, sums, _) = sums();
    let wrong = |input: &Input| {
        // Also counts tombstones.
        let mut sums = BTreeMap::new();
        for record in input.records(&orders()) {
            *sums.entry(record.key).or_default() += record.value.unwrap_or(1);
        }
        sums
    };
    let violation = check(&graph).table(&sums, wrong).try_run().unwrap_err();
    assert!(violation.input().contains("value: None"), "{violation}");
    assert!(!violation.input().contains("Some"), "{violation}");
}

#[test]
fn a_fold_that_is_not_deterministic_is_caught() {
    let calls = AtomicU64::new(0);
    let graph = GraphBuilder::new();
    let numbered = graph.stream(&orders()).group_by_key().fold(
        "numbered",
        || 0_u64,
        move |last, _, _| *last = calls.fetch_add(1, Ordering::Relaxed),
    );
    // No model can know the numbers, but two runs can be compared.
    let violation = check(&graph).repeatable(&numbered).try_run().unwrap_err();
    assert!(violation.reason().contains("user code depends on something"), "{violation}");
}

#[test]
fn an_output_that_is_not_deterministic_is_caught() {
    let calls = AtomicU64::new(0);
    let graph = GraphBuilder::new();
    let numbers = Topic::<u8, u64>::new("numbers");
    graph.stream(&orders()).map_values(move |_, _| calls.fetch_add(1, Ordering::Relaxed)).to(&numbers);
    let violation = check(&graph).try_run().unwrap_err();
    assert!(violation.reason().contains("wrote something else to numbers/0"), "{violation}");
}

/// Counts by windows, and those that are closed, of partitions that are apart and fall silent, in any epochs and moved by hand and by
/// the clock, are what a model makes of the records and of what was noted.
#[test]
fn a_graph_that_looks_at_time_is_checked_against_a_model() {
    use crate::stream::{Tumbling, Windowed, Windows};
    use millpond_engine::Idle;
    use std::time::Duration;

    let second = Duration::from_secs(1);
    let clicks = Topic::<u8, u32>::new("clicks").partitions(3).idle(Idle::follow(2 * second));
    let told = Topic::<Windowed<u8>, u64>::new("told").partitions(1);
    let windows = Tumbling::of(20 * second).grace(5 * second);
    let graph = GraphBuilder::new();
    let counts = graph.stream(&clicks).group_by_key().windowed(windows).count("counts");
    counts.on_close().to(&told);
    let finals = counts.on_close().to_table("finals");
    let model = move |input: &Input, topic: &Topic<u8, u32>| {
        let mut counts = BTreeMap::new();
        for (record, reached) in input.records_in_time(topic) {
            let (start, end) = windows.window_of(record.timestamp_ms);
            if record.value.is_some() && reached < end + 5_000 {
                *counts.entry(Windowed::new(start, end, record.key)).or_insert(0) += 1;
            }
        }
        counts
    };
    let topic = clicks.clone();
    GraphCheck::new(&graph.build().unwrap())
        .input(&clicks, any::<u8>(), any::<u32>())
        .table(counts.table(), move |input| model(input, &topic))
        .table(&finals, move |input| {
            let mut finals = model(input, &clicks);
            let watermark = input.watermark(&clicks);
            finals.retain(|windowed, _| {
                watermark.is_some_and(|watermark| windowed.end_ms + 5_000 <= watermark)
            });
            finals
        })
        .run();
}
