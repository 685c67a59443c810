//! Two services of one name on one changelog never take each other's records for their own.
//!
//! Property: while an engine runs, a second one of its name on the same changelog is refused; once it is closed, a
//! service that appends elsewhere is refused under its name, with nothing changed, and appends all it produces under a
//! name of its own or once the name was released. The same service goes on under its name, also when its state was
//! deleted, and repeats nothing. It holds on disk and in memory, for engines and for steppers.
//!
//! Method: each case on both changelogs; what was appended is counted.
//!
//! Once, the output of the second service was dropped without a word: 0 of 100 records, every call `Ok`.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use millpond::changelog::{Changelog, EmbeddedChangelog, EmbeddedOptions, MemoryChangelog, Producer};
use millpond::{Engine, EngineBuilder, ErrorKind, Graph, GraphBuilder, ManualClock, Topic, TopicPartition};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const RECORDS: u64 = 100;

fn clicks() -> Topic<u64, u64> {
    Topic::new("clicks")
}

/// A service that counts clicks and passes them on to `output`.
fn service(table: &str, outputs: &[&'static str]) -> Graph {
    let graph = GraphBuilder::new();
    let stream = graph.stream(&clicks());
    stream.clone().group_by_key().count(table);
    for output in outputs {
        stream.clone().map_values(|_, value| value + 1).to(&Topic::<u64, u64>::new(output));
    }
    graph.build().unwrap()
}

/// A changelog with clicks in it, on disk and in memory.
fn logs() -> [(Arc<dyn Changelog>, Option<TempDir>); 2] {
    let dir = tempfile::tempdir().unwrap();
    let embedded = EmbeddedChangelog::open(dir.path(), EmbeddedOptions::default()).unwrap();
    let logs: [(Arc<dyn Changelog>, _); 2] =
        [(Arc::new(embedded), Some(dir)), (Arc::new(MemoryChangelog::new()), None)];
    for (log, _) in &logs {
        let producer = Producer::new(Arc::clone(log), &clicks(), Arc::new(ManualClock::new(7))).unwrap();
        for key in 0..RECORDS {
            producer.put(&(key % 10), &key).wait_blocking().unwrap();
        }
    }
    logs
}

fn on(log: &Arc<dyn Changelog>, graph: &Graph, dir: &Path) -> EngineBuilder {
    Engine::builder(graph).state_dir(dir).changelog(Arc::clone(log))
}

fn run(builder: EngineBuilder) {
    let engine = builder.start().unwrap();
    engine.catch_up_blocking().unwrap();
    engine.close_blocking().unwrap();
}

/// How many records were appended to `topic`; `None` if there is none of that name.
fn appended(log: &Arc<dyn Changelog>, topic: &'static str) -> Option<u64> {
    let there = log.topics().unwrap().iter().any(|(name, _)| &**name == topic);
    there.then(|| log.offsets(&TopicPartition::new(topic, 0)).unwrap().end)
}

#[test]
fn a_second_engine_is_refused_while_the_first_one_runs() {
    for (log, _dir) in logs() {
        let (graph, dirs) = (service("counts", &["out"]), [(); 3].map(|()| tempfile::tempdir().unwrap()));
        let first = on(&log, &graph, dirs[0].path()).start().unwrap();
        let other = service("sums", &["elsewhere"]);
        for refused in
            [on(&log, &other, dirs[1].path()).start().err(), on(&log, &graph, dirs[1].path()).stepper().err()]
        {
            let refused = refused.expect("two engines of one name run on one changelog");
            assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
            assert!(refused.message().contains("EngineBuilder::name"), "{refused}");
        }
        assert_eq!(appended(&log, "elsewhere"), None);
        // A name of its own, and it runs beside the first one.
        run(on(&log, &other, dirs[2].path()).name("second"));
        assert_eq!(appended(&log, "elsewhere"), Some(RECORDS));
        first.catch_up_blocking().unwrap();
        assert_eq!(appended(&log, "out"), Some(RECORDS));
        assert!(log.release("millpond").is_err_and(|error| error.kind() == ErrorKind::Unavailable));
        first.close_blocking().unwrap();
        // Closed, or dropped as by a crash, an engine leaves its name.
        drop(on(&log, &graph, dirs[0].path()).stepper().unwrap());
        run(on(&log, &graph, dirs[0].path()));
        assert_eq!(appended(&log, "out"), Some(RECORDS));
    }
}

#[test]
fn another_service_under_a_used_name_is_refused_and_changes_nothing() {
    for (log, _dir) in logs() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        run(on(&log, &service("counts", &["out"]), dirs[0].path()));
        let before = log.names().unwrap();
        let other = service("sums", &["elsewhere"]);
        for _ in 0..2 {
            let refused = on(&log, &other, dirs[1].path()).start().expect_err("it was accepted");
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
            for told in ["`millpond`", "elsewhere", "out", "EngineBuilder::name", "release"] {
                assert!(refused.message().contains(told), "{refused}");
            }
        }
        assert_eq!(appended(&log, "elsewhere"), None);
        assert_eq!(log.names().unwrap(), before);
        log.release("millpond").unwrap();
        assert!(log.names().unwrap().is_empty());
        run(on(&log, &other, dirs[1].path()));
        assert_eq!(appended(&log, "elsewhere"), Some(RECORDS));
    }
}

#[test]
fn the_same_service_goes_on_also_when_its_state_was_deleted() {
    for (log, _dir) in logs() {
        let graph = service("counts", &["out"]);
        let dir = tempfile::tempdir().unwrap();
        run(on(&log, &graph, dir.path()));
        for _ in 0..2 {
            let rebuilt = tempfile::tempdir().unwrap();
            run(on(&log, &graph, rebuilt.path()));
            assert_eq!(appended(&log, "out"), Some(RECORDS));
        }
        // The state knows itself, whatever its service has become meanwhile.
        run(on(&log, &service("counts", &["out", "more"]), dir.path()));
        let producer = Producer::new(Arc::clone(&log), &clicks(), Arc::new(ManualClock::new(8))).unwrap();
        producer.put(&1, &1).wait_blocking().unwrap();
        run(on(&log, &service("counts", &["out", "more"]), dir.path()));
        assert_eq!((appended(&log, "out"), appended(&log, "more")), (Some(RECORDS + 1), Some(1)));
    }
}

/// Who produces nothing cannot lose anything: the graph of an engine may change from one start to the next.
#[test]
fn services_that_only_answer_follow_each_other_under_one_name() {
    for (log, _dir) in logs() {
        for table in ["counts", "sums"] {
            let engine = Engine::builder(&service(table, &[]))
                .in_memory()
                .changelog(Arc::clone(&log))
                .start()
                .unwrap();
            engine.catch_up_blocking().unwrap();
            engine.close_blocking().unwrap();
        }
    }
}

#[test]
fn reserved_names_are_refused() {
    for name in ["x.build", "x.letters", ".build"] {
        let builder =
            Engine::builder(&service("counts", &[])).in_memory().changelog(Arc::new(MemoryChangelog::new()));
        let refused = builder.name(name).start().expect_err("it was accepted");
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
        assert!(refused.message().contains(name), "{refused}");
    }
}

#[test]
fn names_are_listed_and_survive_a_restart_of_the_changelog() {
    let dir = tempfile::tempdir().unwrap();
    let open = || -> Arc<dyn Changelog> {
        Arc::new(EmbeddedChangelog::open(dir.path(), EmbeddedOptions::default()).unwrap())
    };
    let [(log, log_dir), _] = logs();
    drop((log, log_dir));
    let log = open();
    let producer = Producer::new(Arc::clone(&log), &clicks(), Arc::new(ManualClock::new(7))).unwrap();
    producer.put(&1, &1).wait_blocking().unwrap();
    drop(producer);
    let state = tempfile::tempdir().unwrap();
    let engine = on(&log, &service("counts", &["out"]), state.path()).name("shop").start().unwrap();
    engine.catch_up_blocking().unwrap();
    assert!(log.names().unwrap().iter().any(|name| name.name == "shop" && name.leased));
    engine.close_blocking().unwrap();
    let before = log.names().unwrap();
    let shop = before.iter().find(|name| name.name == "shop").unwrap();
    assert!(shop.hold.is_some() && shop.marks > 0 && !shop.leased);
    assert!(shop.owner.as_ref().unwrap().contains("counts"), "{shop:?}");
    log.close().unwrap();
    drop(log);
    let log = open();
    assert_eq!(log.names().unwrap(), before);
    log.release("shop").unwrap();
    log.close().unwrap();
    drop(log);
    assert!(open().names().unwrap().is_empty());
}
