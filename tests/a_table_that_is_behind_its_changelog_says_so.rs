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

use millpond::{Engine, ErrorKind, Graph, GraphBuilder, Health, StoredTable, Topic, View};
use millpond_support::in_memory::InMemory;
use millpond_support::waiting::Weir;

const RECORDS: u64 = 3000;

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
    kept: InMemory,
    weir: Weir,
}

impl Service {
    /// A changelog with records of which the durable state has the first.
    fn folded(first: u64) -> Self {
        let service = Self { kept: InMemory::new(), weir: Weir::default() };
        let open = Weir::default();
        open.open();
        service.append(0..first);
        service.kept.fold(&sums(&open).0, 1000).unwrap();
        service.append(first..RECORDS);
        service
    }

    fn append(&self, keys: std::ops::Range<u64>) {
        let keys: Vec<u64> = keys.collect();
        self.kept
            .producer(&events())
            .unwrap()
            .send(keys.iter().map(|key| (key, Some(&7), 0)))
            .wait_blocking()
            .unwrap();
    }

    fn start(&self, stale: bool) -> (Engine, View<u64, u64>) {
        let (graph, table) = sums(&self.weir);
        let engine = self.kept.engine(&graph).epoch_records(100).stale_reads(stale).start().unwrap();
        let view = engine.view(&table).unwrap();
        (engine, view)
    }
}

fn every_call_is_refused(engine: &Engine, view: &View<u64, u64>, left: u64) {
    let answers = [
        ("get", view.get(&1).map(drop)),
        ("contains", view.contains(&1).map(drop)),
        ("multi_get", view.multi_get(&[1, 2]).map(drop)),
        ("multi_get of nothing", view.multi_get(&[0; 0]).map(drop)),
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
        let _opens = service.weir.opens_at_the_end();
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
    let _opens = service.weir.opens_at_the_end();
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
    let _opens = service.weir.opens_at_the_end();
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
    let kept = InMemory::new();
    kept.producer(&events()).unwrap().put(&1, &0).wait_blocking().unwrap();
    let graph = GraphBuilder::new();
    let shares = graph.stream(&events()).map_values(|_, people| 100 / people).to_table("shares");
    let engine = kept.engine(&graph.build().unwrap()).start().unwrap();
    let view = engine.view(&shares).unwrap();
    assert_eq!(engine.ready_blocking().unwrap_err().kind(), ErrorKind::User);
    assert_eq!(view.get(&1).unwrap_err().kind(), ErrorKind::User);
}
