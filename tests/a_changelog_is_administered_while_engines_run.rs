//! A changelog tells who needs what of it, and lets that be changed, while engines run on it.
//!
//! Property: topics are listed with partitions, offsets, retention, type and size; consumers with what they hold and how far
//! that is behind; a hold keeps records from retention until it is released, and whatever an engine relies on
//! cannot be taken from it. All of it is the same in memory and on disk, and serializes.
//!
//! Method: the same steps on both implementations.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{
    Admin, Changelog, EmbeddedChangelog, EmbeddedOptions, MemoryChangelog, TopicConfig,
};
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, ManualClock, Position, Topic, TopicPartition};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn both(test: fn(Arc<dyn Changelog>, &ManualClock)) {
    let clock = Arc::new(ManualClock::new(1_000));
    test(Arc::new(MemoryChangelog::with_clock(clock.clone())), &clock);
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_000));
    // Each append is a segment of its own, so that retention can drop it.
    let options = EmbeddedOptions::default().segment_bytes(1).clock(clock.clone());
    test(Arc::new(EmbeddedChangelog::open(dir.path(), options).unwrap()), &clock);
}

fn clicks() -> Topic<String, u64> {
    Topic::new("clicks").partitions(2)
}

fn counting() -> Graph {
    let graph = GraphBuilder::new();
    let stream = graph.stream(&clicks());
    stream.to(&Topic::new("again"));
    stream.group_by_key().count("counts");
    graph.build().unwrap()
}

#[test]
fn topics_and_consumers_are_listed() {
    both(|log, _| {
        let builder = Engine::builder(&counting()).name("counter").in_memory();
        let engine = builder.changelog(Arc::clone(&log)).start().unwrap();
        for key in 0..50_u64 {
            engine.append_blocking(&clicks(), &key.to_string(), &key).unwrap();
        }
        engine.catch_up_blocking().unwrap();
        engine.drain_blocking().unwrap();
        let admin = engine.admin();
        let topics = admin.topics().unwrap();
        let names: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["again", "clicks"]);
        let clicks = &topics[1];
        let ends: u64 = clicks.partitions.iter().map(|partition| partition.offsets.end).sum();
        assert_eq!((clicks.partitions.len(), ends), (2, 50));
        assert!(clicks.stored_bytes > Some(0) && clicks.holds.is_some());
        assert_eq!(
            topics[0].stored_bytes.unwrap() + clicks.stored_bytes.unwrap(),
            admin.stored_bytes().unwrap().unwrap()
        );
        // The changelog is told after whoever waits for the drain.
        let counter = (0..60_000).find_map(|_| {
            std::thread::park_timeout(Duration::from_millis(1));
            let mut consumers = admin.consumers().unwrap().into_iter();
            consumers.find(|consumer| consumer.name == "counter" && consumer.lag == 0)
        });
        let counter = counter.expect("what is durable in the state is not held");
        assert!(counter.running && counter.marks > 0 && counter.owner.is_some());
        engine.pause();
        engine.append_blocking(&self::clicks(), &"one more".to_owned(), &1).unwrap();
        let consumers = admin.consumers().unwrap();
        let counter = consumers.iter().find(|consumer| consumer.name == "counter").unwrap();
        assert_eq!(counter.lag, 1);
        assert_eq!(counter.lag_by_partition.values().sum::<u64>(), 1);
        let json = serde_json::to_value((&topics, &consumers)).unwrap();
        assert_eq!(json[0][1]["partitions"][1]["partition"], 1);
        assert!(json[0][1]["holds"]["codec"].is_string(), "{json}");
        assert!(json[1][0]["hold"]["clicks/0"].is_u64(), "{json}");

        // What the engine relies on stays.
        assert_eq!(admin.release("counter").unwrap_err().kind(), ErrorKind::Unavailable);
        let everything = engine.position();
        assert_eq!(admin.hold("counter", &everything).unwrap_err().kind(), ErrorKind::Invalid);
        engine.resume();
        engine.close_blocking().unwrap();
        assert_eq!(admin.hold("counter", &everything).unwrap_err().kind(), ErrorKind::Invalid);
        admin.release("counter").unwrap();
        assert!(admin.consumers().unwrap().is_empty());
        assert_eq!(admin.release("counter").unwrap_err().kind(), ErrorKind::Invalid);
    });
}

#[test]
fn a_hold_keeps_what_retention_would_drop() {
    both(|log, clock| {
        let admin = Admin::new(Arc::clone(&log));
        admin.create_topic("clicks", &TopicConfig::default().partitions(2)).unwrap();
        let again = admin.create_topic("clicks", &TopicConfig::default()).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Invalid);
        let producer = millpond::changelog::Producer::new(
            Arc::clone(&log),
            &clicks(),
            Arc::new(ManualClock::new(1_000)),
        )
        .unwrap();
        for key in 0..50_u64 {
            producer.put(&key.to_string(), &key).wait_blocking().unwrap();
        }
        let first = TopicPartition::new("clicks", 0);
        let end = log.offsets(&first).unwrap().end;
        let middle: Position = [(first.clone(), end / 2)].into_iter().collect();
        admin.hold("export", &middle).unwrap();
        admin.set_retention("clicks", Some(Duration::from_millis(1)), None).unwrap();
        assert_eq!(admin.topic("clicks").unwrap().partitions[0].held_from, Some(end / 2));
        assert_eq!(admin.topic("clicks").unwrap().partitions[1].held_from, None);
        // Far enough for the segments to have grown old as a whole.
        clock.advance(10 * 60 * 1000);
        admin.enforce_retention().unwrap();
        let kept = admin.topic("clicks").unwrap();
        assert_eq!(kept.partitions[0].offsets, end / 2..end);
        let exporter = &admin.consumers().unwrap()[0];
        assert_eq!(
            (exporter.name.as_str(), exporter.lag, exporter.running),
            ("export", end - end / 2, false)
        );
        admin.release("export").unwrap();
        admin.enforce_retention().unwrap();
        assert_eq!(admin.topic("clicks").unwrap().partitions[0].offsets, end..end);
        // Wrong calls change nothing.
        let refused = [
            admin.hold("export", &Position::new()).unwrap_err(),
            admin.hold("export", &[(TopicPartition::new("typo", 0), 1)].into_iter().collect()).unwrap_err(),
            admin.hold("late", &middle).unwrap_err(),
            admin.set_retention("typo", None, Some(1)).unwrap_err(),
            admin.topic("typo").unwrap_err(),
            admin.release("typo").unwrap_err(),
        ];
        assert!(refused.iter().all(|error| error.kind() == ErrorKind::Invalid), "{refused:?}");
        assert!(admin.consumers().unwrap().is_empty());
        log.close().unwrap();
        assert_eq!(admin.topics().unwrap_err().kind(), ErrorKind::Closed);
    });
}

/// The entries of a directory, which need not be there.
fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn a_wrong_path_is_not_an_empty_service() {
    let dir = tempfile::tempdir().unwrap();
    let (service, elsewhere) = (dir.path().join("service"), dir.path().join("elsewhere"));
    let existing = |at: &Path| Engine::builder(&counting()).dir(at).open_existing(true).start();
    let refused = existing(&service).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.message().contains(&*service.join("state").to_string_lossy()), "{refused}");
    let options = || EmbeddedOptions::default().open_existing(true);
    let refused = EmbeddedChangelog::open(&elsewhere, options()).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.message().contains("elsewhere"), "{refused}");
    assert_eq!(entries(dir.path()), 0, "something was created");

    Engine::open(&service, &counting()).unwrap().close_blocking().unwrap();
    existing(&service).unwrap().close_blocking().unwrap();
    EmbeddedChangelog::open(service.join("changelog"), options()).unwrap().close().unwrap();
    // One of the two is not enough.
    std::fs::rename(service.join("changelog"), dir.path().join("moved")).unwrap();
    let refused = existing(&service).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.message().contains(&*service.join("changelog").to_string_lossy()), "{refused}");
    assert!(!service.join("changelog").exists());
    // With a changelog that was given, the state alone counts.
    let log = Arc::new(MemoryChangelog::new());
    let empty = Engine::builder(&counting()).changelog(log).state_dir(&elsewhere).open_existing(true);
    assert_eq!(empty.start().unwrap_err().kind(), ErrorKind::Invalid);
    assert!(!elsewhere.exists());
}
