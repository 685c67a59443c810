//! Brokers that do not answer hold nobody up: statistics and appends return at once, whoever awaits with a limit of time is told when
//! it has passed, and an engine is closed within moments. Nothing that was acknowledged or durable is lost by that.
//!
//! Method: a real broker that is halted, by either path of reading, and engines on topics of many partitions. The limits are far
//! above what is promised, for machines that do much beside, and far below what it once took: 15 s for an append and 30 s for
//! statistics, as each partition was asked for by itself; 10 s for `catch_up`, whatever its limit; 30 s to close an engine with an
//! append on its way, and 65 s to close a holder.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use millpond::changelog::{Changelog, Role};
use millpond::{Engine, ErrorKind, GraphBuilder, Position, Topic};
use millpond_kafka::{Fetch, Kafka};
use millpond_support::broker::Broker;
use millpond_support::records;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATHS: [Fetch; 2] = [Fetch::Direct, Fetch::Librdkafka];

/// What is promised to return at once.
const AT_ONCE: Duration = Duration::from_secs(4);

/// What an end may take that is promised within some 15 seconds.
const CLOSED: Duration = Duration::from_secs(22);

fn taking<T>(limit: Duration, what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    assert!(began.elapsed() < limit, "{what} took {:?}", began.elapsed());
    done
}

fn within_a_minute(is: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        if is() {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    false
}

#[test]
fn whoever_asks_or_appends_is_answered_at_once() {
    let Some(_) = Broker::shared() else { return };
    let broker = Broker::options().start().unwrap();
    for path in PATHS {
        let topic = Topic::<u32, u64>::new(&broker.create_topic("many", 30, &[]));
        let graph = GraphBuilder::new();
        let counts = graph.stream(&topic).group_by_key().count("counts");
        let kafka = || Kafka::new("many").bootstrap(&broker.bootstrap()).fetch(path);
        let builder = Engine::builder(&graph.build().unwrap()).in_memory().memory(64 << 20);
        let engine = builder.changelog(kafka()).start().unwrap();
        engine.ready_blocking().unwrap();
        let acks: Vec<_> = (0..100).map(|key| engine.append(&topic, &key, &1)).collect();
        for ack in acks {
            ack.wait_blocking().unwrap();
        }
        engine.catch_up_blocking().unwrap();

        broker.pause();
        let mut acks = Vec::new();
        for round in 0..3 {
            acks.push(taking(AT_ONCE, "an append", || engine.append(&topic, &round, &1)));
            let stats = taking(AT_ONCE, "statistics", || engine.stats());
            assert_eq!((stats.lag.len(), stats.records_in), (30, 100));
            let limited = taking(AT_ONCE, "the call", || engine.catch_up().within(Duration::from_secs(1)));
            let error = taking(AT_ONCE, "its limit", || limited.wait_blocking().unwrap_err());
            assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Unavailable), "{error}");
        }
        broker.resume();
        for ack in acks {
            ack.wait_blocking().unwrap();
        }
        engine.catch_up_blocking().unwrap();
        assert_eq!(engine.view(&counts).unwrap().get(&1).unwrap(), Some(2));

        // What others append is heard of also where nothing is read.
        engine.pause();
        let log: Arc<dyn Changelog> = Arc::new(kafka().open().unwrap());
        let others = records::producer(Arc::clone(&log), &topic).unwrap();
        (0..50).for_each(|key| drop(others.put(&key, &1).wait_blocking().unwrap()));
        log.close().unwrap();
        let lag = || engine.stats().lag.values().sum::<u64>();
        assert!(within_a_minute(|| lag() == 50), "{path:?}: {}", lag());
        engine.resume();
        engine.catch_up_blocking().unwrap();
        assert_eq!(lag(), 0);
        engine.close_blocking().unwrap();
    }
}

#[test]
fn an_engine_with_an_append_on_its_way_is_closed() {
    let Some(_) = Broker::shared() else { return };
    let broker = Broker::options().start().unwrap();
    for path in PATHS {
        let topic = Topic::<u32, u64>::new(&broker.create_topic("plain", 2, &[]));
        let graph = GraphBuilder::new();
        let counts = graph.stream(&topic).group_by_key().count("counts");
        let graph = graph.build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let start = || {
            let kafka = Kafka::new("plain").bootstrap(&broker.bootstrap()).fetch(path);
            Engine::builder(&graph).state_dir(dir.path()).changelog(kafka).memory(64 << 20).start().unwrap()
        };
        let engine = start();
        engine.ready_blocking().unwrap();
        (0..20).for_each(|key| drop(engine.append_blocking(&topic, &key, &1).unwrap()));
        let folded = engine.catch_up_blocking().unwrap();
        broker.pause();
        let pending = engine.append(&topic, &1, &1);
        taking(CLOSED, "to close", || engine.close_blocking().unwrap());
        let error = taking(AT_ONCE, "the acknowledgement", || pending.wait_blocking().unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        taking(AT_ONCE, "to drop", || drop(engine));
        broker.resume();
        let engine = start();
        assert!(engine.position().includes(&folded), "what was folded was not made durable");
        engine.ready_blocking().unwrap();
        let count = engine.view(&counts).unwrap().get(&1).unwrap().unwrap();
        assert!((1..=2).contains(&count), "{count}");
        engine.close_blocking().unwrap();
    }
}

#[test]
fn a_holder_with_epochs_that_are_not_committed_is_closed() {
    let Some(_) = Broker::shared() else { return };
    let broker = Broker::options().start().unwrap();
    for (path, is_late) in [(Fetch::Direct, false), (Fetch::Librdkafka, false), (Fetch::Direct, true)] {
        let case = service::case(&broker, "holder");
        let dir = tempfile::tempdir().unwrap();
        let name = broker.topic("holder");
        let start = || {
            let kafka = service::kafka(&broker.bootstrap(), &name).fetch(path);
            // One that is closed at once is the holder until then.
            let session = if is_late { "2000" } else { "9000" };
            let kafka = kafka.commit_interval(Duration::from_secs(3)).property("session.timeout.ms", session);
            let builder = Engine::builder(&case.graph).state_dir(dir.path()).changelog(kafka);
            let engine = builder.memory(64 << 20).start().unwrap();
            engine.ready_blocking().unwrap();
            engine
        };
        let engine = start();
        assert!(within_a_minute(|| engine.stats().role == Some(Role::Holder)));
        let mut appended = BTreeMap::new();
        let some = |appended: &mut BTreeMap<u32, Vec<u64>>, engine: &Engine| {
            let mut position = Position::new();
            for value in 0..20 {
                let key = u32::try_from(value % 7).unwrap();
                appended.entry(key).or_default().push(value);
                position.advance_to(&engine.append_blocking(&case.input, &key, &value).unwrap());
            }
            engine.wait_for_blocking(&position).unwrap();
        };
        some(&mut appended, &engine);
        let durable = engine.drain_blocking().unwrap();
        // Folded, and in a transaction that is not committed yet.
        some(&mut appended, &engine);
        broker.pause();
        if is_late {
            // Its session has ended, for all it knows: another process may hold. It is to take back what is not committed, and
            // answers until it can be folded again.
            assert!(within_a_minute(|| engine.stats().role != Some(Role::Holder)));
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(5) {
                assert_eq!(service::rows(&case, &engine).values().sum::<u64>(), 40);
                std::thread::park_timeout(Duration::from_millis(100));
            }
            taking(CLOSED, "to close", || engine.close_blocking().unwrap());
        } else {
            let error = taking(CLOSED, "to close", || engine.close_blocking().unwrap_err());
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("nothing of it is lost"), "{error}");
        }
        taking(AT_ONCE, "to drop", || drop(engine));
        broker.resume();
        let engine = start();
        assert!(engine.position().includes(&durable), "what was durable was lost");
        engine.catch_up_blocking().unwrap();
        assert_eq!(service::rows(&case, &engine).values().sum::<u64>(), 40);
        assert!(within_a_minute(|| engine.stats().role == Some(Role::Holder)));
        some(&mut appended, &engine);
        engine.drain_blocking().unwrap();
        let log = service::kafka(&broker.bootstrap(), "outside").open().unwrap();
        service::check(&case, &log, &appended);
        engine.close_blocking().unwrap();
    }
}
