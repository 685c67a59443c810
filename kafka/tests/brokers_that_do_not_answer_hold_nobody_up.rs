//! Brokers that do not answer hold nobody up: statistics and appends return at once, whoever awaits with a limit of time is told when
//! it has passed.
//!
//! Method: a real broker that is halted, by either path of reading, and engines on topics of many partitions. The limits are far
//! above what is promised, for machines that do much beside, and far below what it once took: 15 s for an append and 30 s for
//! statistics, as each partition was asked for by itself; 10 s for `catch_up`, whatever its limit; 30 s to close an engine with an
//! append on its way, and 65 s to close a holder.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::Changelog;
use millpond::{Engine, ErrorKind, GraphBuilder, Topic};
use millpond_kafka::{Fetch, Kafka};
use millpond_support::broker::Broker;
use millpond_support::records;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATHS: [Fetch; 2] = [Fetch::Direct, Fetch::Librdkafka];

/// What is promised to return at once.
const AT_ONCE: Duration = Duration::from_secs(4);

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
        acks.into_iter().for_each(|ack| drop(ack.wait_blocking().unwrap()));
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
        acks.into_iter().for_each(|ack| drop(ack.wait_blocking().unwrap()));
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
