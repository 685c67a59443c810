//! A table that has not folded what was in the changelog when its engine was opened says so: "not there yet" is never
//! answered as "absent".
//!
//! Property: until the engine has folded what was there, every read is `Unavailable` and says how much is left, views
//! are not live, and `ready` does not return; afterwards no read is refused, whatever comes in. Whoever has waited for a
//! position is answered. An engine that was told to give stale answers gives them meanwhile, and tells by `is_live`.
//!
//! Method: a changelog with records in it, and states that are missing, a little behind, or complete; a fold that
//! stands still until the test lets it go on. Once `ready` returned at once, and `get` said `None` of every key of a state
//! that had been deleted, as messages advise, until all of it was folded.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog, Producer};
use millpond::store::MemoryStore;
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, Health, ManualClock, StoredTable, Topic, View};
use std::sync::{Arc, Condvar, Mutex};

const RECORDS: u64 = 3000;

/// Stands in the way until it is opened.
#[derive(Clone, Default)]
struct Weir(Arc<(Mutex<Waters>, Condvar)>);

#[derive(Default)]
struct Waters {
    open: bool,
    waiting: bool,
}

impl Weir {
    fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut waters = self.0.0.lock().unwrap();
        waters.waiting = true;
        self.0.1.notify_all();
        while !waters.open {
            waters = self.0.1.wait(waters).unwrap();
        }
    }

    fn wait_for_someone(&self) {
        let mut waters = self.0.0.lock().unwrap();
        while !waters.waiting {
            waters = self.0.1.wait(waters).unwrap();
        }
    }
}

/// Opens the weir when the test ends, so that one which fails does not hang in closing its engine.
struct OpensAtTheEnd(Weir);

impl Drop for OpensAtTheEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn events() -> Topic<u64, u64> {
    Topic::new("events").partitions(3)
}

fn sums(weir: &Weir) -> (Graph, StoredTable<u64, u64>) {
    let weir = weir.clone();
    let graph = GraphBuilder::new();
    let sums = graph.stream(&events()).group_by_key().fold(
        "sums",
        || 0_u64,
        move |sum, _, value| {
            weir.pass();
            *sum += value;
        },
    );
    (graph.build().unwrap(), sums)
}

struct Service {
    log: Arc<MemoryChangelog>,
    store: Arc<MemoryStore>,
    weir: Weir,
}

impl Service {
    /// A changelog with records of which the durable state has the first.
    fn folded(first: u64) -> Self {
        let service = Self {
            log: Arc::new(MemoryChangelog::new()),
            store: Arc::new(MemoryStore::new()),
            weir: Weir::default(),
        };
        let open = Weir::default();
        open.open();
        service.append(0..first);
        let builder = Engine::builder(&sums(&open).0).changelog(service.log.clone());
        let mut stepper = builder.store(service.store.clone()).stepper().unwrap();
        while stepper.epoch(1000).unwrap() {}
        stepper.drain().unwrap();
        drop(stepper);
        service.append(first..RECORDS);
        service
    }

    fn append(&self, keys: std::ops::Range<u64>) {
        let producer =
            Producer::new(self.log.clone() as Arc<dyn Changelog>, &events(), Arc::new(ManualClock::new(0)));
        let keys: Vec<u64> = keys.collect();
        producer.unwrap().send(keys.iter().map(|key| (key, Some(&7), 0))).wait_blocking().unwrap();
    }

    fn start(&self, stale: bool) -> (Engine, View<u64, u64>) {
        let (graph, table) = sums(&self.weir);
        let builder = Engine::builder(&graph).changelog(self.log.clone()).store(self.store.clone());
        let engine = builder.epoch_records(100).stale_reads(stale).start().unwrap();
        let view = engine.view(&table).unwrap();
        (engine, view)
    }
}

fn every_call_is_refused(engine: &Engine, view: &View<u64, u64>, left: u64) {
    let answers = [
        ("get", view.get(&1).map(drop)),
        ("contains", view.contains(&1).map(drop)),
        ("multi_get", view.multi_get(&[1, 2]).map(drop)),
        ("multi_get of nothing", view.multi_get(&[]).map(drop)),
        ("range", view.range(1..3).map(drop)),
        ("scan", view.scan().map(drop)),
        ("count", view.count().map(drop)),
        ("snapshot", view.snapshot().map(drop)),
        ("changes", view.changes().map(drop)),
        ("subscribe", view.subscribe(&1).map(drop)),
        ("Engine::snapshot", engine.snapshot().map(drop)),
    ];
    for (call, answer) in answers {
        let error = answer.expect_err(call);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{call}: {error}");
        assert!(error.message().contains(&format!(": {left} records")), "{call}: {error}");
        assert!(error.message().contains("Engine::ready"), "it says what to do: {error}");
    }
    assert!(view.get(&1).unwrap_err().message().contains("table `sums`"));
    assert!(!view.is_live() && !view.is_former());
}

#[test]
fn a_state_that_was_deleted_and_one_that_is_a_little_behind() {
    for folded in [0, 1, RECORDS - 1] {
        let service = Service::folded(folded);
        let (engine, view) = service.start(false);
        let _opens = OpensAtTheEnd(service.weir.clone());
        let left = RECORDS - folded;
        every_call_is_refused(&engine, &view, left);
        assert_eq!(engine.health(), Health::CatchingUp { records_left: left });
        assert_eq!(engine.stats().health, engine.health());
        // What comes later need not be waited for.
        service.append(RECORDS..RECORDS + 1);
        every_call_is_refused(&engine, &view, left);

        service.weir.open();
        engine.ready_blocking().unwrap();
        assert_eq!(view.get(&(RECORDS - 1)).unwrap(), Some(7));
        assert!(view.count().unwrap() >= RECORDS && view.is_live());
        assert_eq!((engine.health(), view.get(&(RECORDS + 9)).unwrap()), (Health::Running, None));
    }
}

#[test]
fn ready_means_that_everything_is_there() {
    let service = Service::folded(0);
    service.weir.open();
    let (engine, view) = service.start(false);
    engine.ready_blocking().unwrap();
    let missing = (0..RECORDS).filter(|key| view.get(key).unwrap().is_none()).count();
    assert_eq!(missing, 0, "keys that the table does not have yet");
}

#[test]
fn whoever_waited_for_an_append_is_answered() {
    let service = Service::folded(0);
    service.weir.open();
    let (engine, view) = service.start(false);
    // The append is in one partition; the others may be behind when it is folded.
    let position = engine.append(&events(), &1, &1).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    assert_eq!(view.get(&1).unwrap(), Some(8));
}

#[test]
fn a_state_that_is_complete_answers_at_once() {
    let service = Service::folded(RECORDS);
    let (engine, view) = service.start(false);
    let _opens = OpensAtTheEnd(service.weir.clone());
    // Though the fold stands still with what came after.
    service.append(0..1);
    assert_eq!((view.snapshot().unwrap().get(&0).unwrap(), view.count().unwrap()), (Some(7), RECORDS));
    assert!(view.is_live());
    engine.ready_blocking().unwrap();
}

#[test]
fn stale_answers_are_given_to_whoever_asks_for_them() {
    let service = Service::folded(RECORDS - 1);
    let (engine, view) = service.start(true);
    let _opens = OpensAtTheEnd(service.weir.clone());
    // Nobody waits for a fold that stands still, not even with the very row that it is at.
    service.weir.wait_for_someone();
    assert_eq!((view.get(&0).unwrap(), view.get(&(RECORDS - 1)).unwrap()), (Some(7), None));
    assert_eq!(view.multi_get(&[0, RECORDS - 1]).unwrap(), [Some(7), None]);
    assert!(engine.stats().tables["sums"].hot_entries > 0);
    assert_eq!(engine.snapshot().unwrap().of(&view).unwrap().count(), RECORDS - 1);
    assert!(!view.is_live(), "it can be told from one that is up to date");
    assert_eq!(engine.health(), Health::CatchingUp { records_left: 1 });
    service.weir.open();
    engine.ready_blocking().unwrap();
    assert!(view.is_live());
    assert_eq!(view.get(&(RECORDS - 1)).unwrap(), Some(7));
}

#[test]
fn a_failure_on_the_way_is_told_instead() {
    let log = Arc::new(MemoryChangelog::new());
    let producer = Producer::new(log.clone(), &events(), Arc::new(ManualClock::new(0))).unwrap();
    producer.put(&1, &0).wait_blocking().unwrap();
    let graph = GraphBuilder::new();
    let shares = graph.stream(&events()).map_values(|_, people| 100 / people).to_table("shares");
    let engine = Engine::builder(&graph.build().unwrap()).changelog(log).in_memory().start().unwrap();
    let view = engine.view(&shares).unwrap();
    assert_eq!(engine.ready_blocking().unwrap_err().kind(), ErrorKind::User);
    assert_eq!(view.get(&1).unwrap_err().kind(), ErrorKind::User);
}
