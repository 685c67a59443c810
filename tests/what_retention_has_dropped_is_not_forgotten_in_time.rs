//! Whoever begins with what retention has left of a log takes what is late for late, as whoever has read all of it did: the log knows how
//! far each partition had come in time where it begins now.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, EmbeddedChangelog, EmbeddedOptions, MemoryChangelog, TopicConfig};
use millpond::stream::Tumbling;
use millpond::{
    Clock, Engine, GraphBuilder, ManualClock, Stepper, StoredTable, Topic, TopicPartition, Windowed,
};
use millpond_support::records;
use std::sync::Arc;
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;

fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks")
}

/// Appends, drops what is old, and folds what is left from nothing.
fn run(open: impl Fn(Arc<dyn Clock>) -> Arc<dyn Changelog>) {
    let clock = Arc::new(ManualClock::new(0));
    let mut log = open(clock.clone());
    let config = TopicConfig::default().partitions(2).retention_age(Duration::from_secs(3_600));
    log.create_topic("clicks", &config).unwrap();
    let append = |log: &dyn Changelog, partition, at: &[i64]| {
        let records = at
            .iter()
            .map(|at| records::record(&clicks(), &(7 + u8::try_from(partition).unwrap()), Some(&1)).at(*at));
        records::append(log, TopicPartition::new("clicks", partition), records.collect()).unwrap();
    };
    // One record of the first partition is far ahead; the others are of its time.
    append(&*log, 0, &[10_000, HOUR_MS / 2, 20_000]);
    log.sync().unwrap();
    clock.advance(2 * HOUR_MS);
    log.enforce_retention().unwrap();
    assert_eq!(log.offsets(&TopicPartition::new("clicks", 0)).unwrap(), 3..3, "all of it is gone");
    append(&*log, 0, &[30_000, HOUR_MS]);
    append(&*log, 1, &[30_000, 40_000]);
    // It is known to whoever opens the log next, too.
    drop(log);
    log = open(clock.clone());
    let graph = GraphBuilder::new();
    let minute = Tumbling::of(Duration::from_secs(60)).grace(Duration::ZERO);
    let counts = graph.stream(&clicks()).group_by_key().windowed(minute).count("counts");
    let builder = Engine::builder(&graph.build().unwrap()).in_memory().changelog(log).from_oldest_kept(true);
    let mut stepper = builder.stepper().unwrap();
    while stepper.epoch(100).unwrap() {}
    let found = rows(&stepper, counts.table());
    assert_eq!(found, [(Windowed::new(0, 60_000, 8), 2), (Windowed::new(HOUR_MS, HOUR_MS + 60_000, 7), 1)]);
}

fn rows(stepper: &Stepper, table: &StoredTable<Windowed<u8>, u64>) -> Vec<(Windowed<u8>, u64)> {
    stepper.view(table).unwrap().scan().unwrap().map(Result::unwrap).collect()
}

#[test]
fn what_was_late_is_late_in_an_embedded_log() {
    let dir = tempfile::tempdir().unwrap();
    run(|clock| {
        Arc::new(EmbeddedChangelog::open(dir.path(), EmbeddedOptions::default().clock(clock)).unwrap())
    });
}

#[test]
fn what_was_late_is_late_in_a_log_in_memory() {
    let log = std::cell::OnceCell::new();
    run(|clock| {
        let log: &Arc<MemoryChangelog> = log.get_or_init(|| Arc::new(MemoryChangelog::with_clock(clock)));
        log.clone()
    });
}
