//! Between a holder and the brokers anything may happen: commits that come late, answers that are lost, a broker that is killed,
//! records that no broker takes, permissions that are missing. Outputs are there once all the same, or the engine says why not.
//!
//! Method: a real broker, and a proxy before it that holds back the ends of transactions and cuts connections meanwhile, so that
//! a request arrives when its client has long begun another transaction (KAFKA-17754); outputs read as strangers read them.
//! `MILLPOND_KILLS` says how often the broker is killed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use millpond::changelog::prelude::*;
use millpond::{Engine, ErrorKind, FailurePolicy, GraphBuilder, Health, Position, Topic, TopicPartition};
use millpond_support::broker::Broker;
use millpond_support::proxy::{Proxy, api};
use service::{Case, case, check, kafka, rows, start};
use std::collections::BTreeMap;
use std::time::Duration;

/// Appends one record after the other, and keeps what was appended by key.
#[derive(Default)]
struct Appending {
    number: u64,
    appended: BTreeMap<u32, Vec<u64>>,
    position: Position,
}

impl Appending {
    fn some(&mut self, engine: &Engine, case: &Case, count: u64) {
        let acks: Vec<_> = (0..count)
            .map(|_| {
                self.number += 1;
                let key = u32::try_from(self.number % 7).unwrap();
                self.appended.entry(key).or_default().push(self.number);
                engine.append(&case.input, &key, &self.number)
            })
            .collect();
        for ack in acks {
            self.position.advance_to(&ack.wait_blocking().unwrap());
        }
    }
}

#[test]
fn a_commit_that_comes_late_ends_no_other_transaction() {
    let Some(_) = Broker::shared() else { return };
    let proxy = Proxy::start();
    let broker = Broker::options().proxied_by(&proxy).start().unwrap();
    let case = case(&broker, "late");
    let engine = start(&case, kafka(&proxy.bootstrap(), "late"));
    let mut appending = Appending::default();
    for round in 0..6 {
        match round % 3 {
            // It arrives when its client has given it up.
            0 => proxy.hold_requests(|key| key == api::END_TXN),
            // It has happened, and nobody hears of it.
            1 => proxy.hold_replies(|key| key == api::END_TXN),
            _ => {}
        }
        appending.some(&engine, &case, 10);
        engine.wait_for_blocking(&appending.position).unwrap();
        match round % 3 {
            0 => {
                proxy.wait_until_held();
                proxy.cut_clients();
            }
            1 => {
                proxy.wait_until_held();
                proxy.cut();
            }
            _ => proxy.cut(),
        }
        proxy.release();
        appending.some(&engine, &case, 10);
        engine.wait_for_blocking(&appending.position).unwrap();
        engine.drain_blocking().unwrap();
    }
    let log = kafka(&broker.bootstrap(), "outside").open().unwrap();
    check(&case, &log, &appending.appended);
    assert_eq!(engine.health(), Health::Running);
    engine.close_blocking().unwrap();
}

#[test]
fn a_broker_that_is_killed_costs_nothing_but_time() {
    let Some(_) = Broker::shared() else { return };
    let kills = std::env::var("MILLPOND_KILLS").map_or(2, |kills| kills.parse().unwrap());
    let broker = Broker::options().start().unwrap();
    let case = case(&broker, "broker");
    let first = start(&case, kafka(&broker.bootstrap(), "broker"));
    let second = start(&case, kafka(&broker.bootstrap(), "broker"));
    let mut appending = Appending::default();
    for round in 0..kills {
        let engine = if round % 2 == 0 { &first } else { &second };
        appending.some(engine, &case, 50);
        broker.kill();
        // Answers go on.
        assert!(rows(&case, engine).values().sum::<u64>() <= appending.number);
        broker.restart();
    }
    appending.some(&first, &case, 50);
    for engine in [&first, &second] {
        engine.wait_for_blocking(&appending.position).unwrap();
    }
    assert_eq!(rows(&case, &first), rows(&case, &second));
    let log = kafka(&broker.bootstrap(), "outside").open().unwrap();
    check(&case, &log, &appending.appended);
    first.close_blocking().unwrap();
    second.close_blocking().unwrap();
}

#[test]
fn a_record_that_no_broker_takes_stops_the_engine_and_loses_nothing() {
    let Some(broker) = Broker::shared() else { return };
    let input: Topic<u32, u64> = Topic::new(&broker.create_topic("large-in", 1, &[]));
    let output: Topic<u32, Vec<u8>> = Topic::new(&broker.create_topic("large-out", 1, &[]));
    let graph = GraphBuilder::new();
    graph.stream(&input).map_values(|_, bytes| vec![7; usize::try_from(bytes).unwrap()]).to(&output);
    let graph = graph.build().unwrap();
    let start = || Engine::builder(&graph).in_memory().changelog(kafka(&broker.bootstrap(), "large")).start();
    let engine = start().unwrap();
    engine.ready_blocking().unwrap();
    let position = engine.append_blocking(&input, &1, &100).unwrap();
    engine.wait_for_blocking(&position).unwrap();
    engine.drain_blocking().unwrap();
    engine.append_blocking(&input, &1, &(20 << 20)).unwrap();
    let error = loop {
        if let Err(error) = engine.drain_blocking() {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let told = error.to_string();
    let bytes = (20 << 20).to_string();
    assert!(told.contains(&**output.name()) && told.contains("message.max.bytes"), "{told}");
    assert!(told.contains(&bytes[..4]), "{told}");
    assert!(matches!(engine.health(), Health::Stopped { .. }));
    drop(engine);
}

#[test]
fn a_record_that_fails_has_one_letter() {
    let Some(broker) = Broker::shared() else { return };
    let input: Topic<u32, u64> = Topic::new(&broker.create_topic("failing-in", 2, &[]));
    let output: Topic<u32, u64> = Topic::new(&broker.create_topic("failing-out", 1, &[]));
    let letters = broker.create_topic("failing-letters", 1, &[]);
    let graph = GraphBuilder::new();
    graph
        .stream(&input)
        .try_map_values(|_, number| if number % 5 == 2 { Err("bad luck") } else { Ok(number) })
        .to(&output);
    let graph = graph.build().unwrap();
    let start = || {
        let builder = Engine::builder(&graph).in_memory().changelog(kafka(&broker.bootstrap(), "failing"));
        let engine = builder.on_failure(FailurePolicy::DeadLetter((&*letters).into())).start().unwrap();
        engine.ready_blocking().unwrap();
        engine
    };
    let (first, second) = (start(), start());
    let mut position = Position::new();
    let append = |engine: &Engine, position: &mut Position| {
        for number in 0..20 {
            position.advance_to(
                &engine.append_blocking(&input, &u32::try_from(number).unwrap(), &number).unwrap(),
            );
        }
        engine.wait_for_blocking(position).unwrap();
    };
    append(&first, &mut position);
    first.close_blocking().unwrap();
    append(&second, &mut position);
    second.close_blocking().unwrap();
    let third = start();
    append(&third, &mut position);
    third.drain_blocking().unwrap();
    let log = kafka(&broker.bootstrap(), "outside").open().unwrap();
    let count = |topic: &str, wanted: u64| {
        let mut reader = log.reader(&TopicPartition::new(topic, 0), 0).unwrap();
        let mut count = 0;
        while count < wanted {
            count += reader.poll(1 << 20).unwrap().iter().map(|batch| batch.records()).sum::<u64>();
            reader.wait(Duration::from_millis(50)).unwrap();
        }
        count
    };
    assert_eq!((count(&letters, 12), count(output.name(), 48)), (12, 48));
    third.close_blocking().unwrap();
}

#[test]
fn permissions_that_are_missing_are_named() {
    let Some(_) = Broker::shared() else { return };
    let broker = Broker::options().sasl().acls().user("app", "secret").start().unwrap();
    let case = case(&broker, "permitted");
    let (input, output) = (case.input.name().to_string(), case.output.name().to_string());
    let allow = |what: &[&str]| {
        let fixed = ["--add", "--allow-principal", "User:app"];
        broker.tool("acls", &[&fixed[..], what].concat(), "");
    };
    let secured = || {
        let kafka =
            kafka(&broker.sasl_bootstrap(), "permitted").property("security.protocol", "sasl_plaintext");
        kafka
            .property("sasl.mechanism", "PLAIN")
            .property("sasl.username", "app")
            .property("sasl.password", "secret")
    };
    // What is missing is told one after the other, as it is given.
    let stopped = || {
        let engine = match Engine::builder(&case.graph).in_memory().changelog(secured()).start() {
            Ok(engine) => engine,
            Err(error) => return error,
        };
        let told = loop {
            match engine.health() {
                Health::Stopped { .. } => break engine.ready_blocking().unwrap_err(),
                _ => std::thread::park_timeout(Duration::from_millis(20)),
            }
        };
        drop(engine);
        told
    };
    let told = |words: &[&str]| {
        let error = stopped();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(!text.contains("secret"), "{text}");
    };
    told(&[&input]);
    for topic in [&input, &output] {
        allow(&["--operation", "READ", "--operation", "WRITE", "--operation", "DESCRIBE", "--topic", topic]);
    }
    told(&["permitted.epochs", "DESCRIBE"]);
    allow(&["--operation", "ALL", "--topic", "permitted.epochs"]);
    told(&["group `permitted`", "READ"]);
    allow(&["--operation", "READ", "--group", "permitted"]);
    told(&["transactional id", "WRITE"]);
    allow(&["--operation", "WRITE", "--operation", "DESCRIBE", "--transactional-id", "permitted"]);
    let engine = start(&case, secured());
    let mut appending = Appending::default();
    appending.some(&engine, &case, 10);
    engine.wait_for_blocking(&appending.position).unwrap();
    engine.drain_blocking().unwrap();
    check(&case, &kafka(&broker.bootstrap(), "outside").open().unwrap(), &appending.appended);
    engine.close_blocking().unwrap();
}
