//! What keeps a holder from appending is said: what never goes well stops the engine with `Invalid`, and names what is to be changed; what
//! may pass is tried again, and told where it lasts. And what takes its time, or fails once, is neither.
//!
//! Method: real brokers that refuse one thing each: by an ACL, by the setting of a topic, by what they take of a client, by having no
//! coordinator, by a quota, or by a proxy that cuts connections while they log in.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use millpond::changelog::prelude::*;
use millpond::changelog::{Append, Record, Role};
use millpond::{Engine, ErrorKind, FailurePolicy, Graph, GraphBuilder, Health, Topic};
use millpond_kafka::{Fetch, Kafka};
use millpond_support::broker::Broker;
use millpond_support::expect::refused;
use millpond_support::proxy::{Proxy, api};
use millpond_support::records;
use service::Case;
use std::time::{Duration, Instant};

/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(90);

/// The first answer.
fn until<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < LIMIT, "{what}: it does not come to that");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn start(graph: &Graph, kafka: Kafka) -> Engine {
    Engine::builder(graph).in_memory().changelog(kafka).memory(64 << 20).start().unwrap()
}

fn holds(engine: &Engine) -> Option<()> {
    (engine.stats().role == Some(Role::Holder)).then_some(())
}

/// Why the engine has stopped, once it has.
fn stopped(engine: &Engine, says: &[&str]) {
    let (kind, reason) = until("the engine stops", || match engine.health() {
        Health::Stopped { kind, reason } => Some((kind, reason)),
        _ => None,
    });
    assert_eq!(kind, ErrorKind::Invalid, "{reason}");
    for part in says {
        assert!(reason.contains(part), "`{reason}` does not say `{part}`");
    }
}

fn add(broker: &Broker, input: &Topic<u32, u64>, records: &[(u32, u64)]) {
    let log = Kafka::new("appends").bootstrap(&broker.bootstrap()).open().unwrap();
    let records = records.iter().map(|(key, value)| records::record(input, key, Some(value))).collect();
    let partition = records::partition(input, 0);
    log.append(vec![Append { partition, records }]).wait_blocking().unwrap();
}

/// Who may describe a topic, and not write to it, is told by the coordinator of transactions alone.
#[test]
fn a_topic_that_a_graph_must_not_write_to() {
    let options = Broker::options().sasl().acls().user("app", "secret");
    let Some(broker) = options.start() else { return };
    let allow = |operation: &str, kind: &str, name: &str| {
        let who = ["--add", "--allow-principal", "User:app", "--operation", operation, kind, name];
        broker.tool("acls", &who, "");
    };
    for missing in ["output", "marks", "letters"] {
        let name = broker.topic("not-allowed");
        let case = service::case(&broker, "not-allowed");
        let (marks, letters) = (format!("{name}.epochs"), broker.create_topic("letters", 1, &[]));
        broker.tool("topics", &["--create", "--topic", &marks, "--partitions", "1"], "");
        allow("Read", "--group", &name);
        allow("Write", "--transactional-id", &name);
        for topic in [case.input.name(), &*marks, &*letters] {
            allow("Read", "--topic", topic);
        }
        allow("DescribeConfigs", "--topic", case.input.name());
        let written = [("output", &**case.output.name()), ("marks", &*marks), ("letters", &*letters)];
        for (what, topic) in written {
            allow(if what == missing { "Describe" } else { "Write" }, "--topic", topic);
        }
        let kafka = service::kafka(&broker.sasl_bootstrap(), &name)
            .property("security.protocol", "sasl_plaintext")
            .property("sasl.mechanism", "PLAIN")
            .property("sasl.username", "app")
            .property("sasl.password", "secret");
        let graph = GraphBuilder::new();
        let refusing = |_: &u32, value| if value == 0 { Err("no") } else { Ok((value, value)) };
        graph.stream(&case.input).try_map_values(refusing).to(&case.output);
        let builder = Engine::builder(&graph.build().unwrap()).in_memory().changelog(kafka);
        let letters = FailurePolicy::DeadLetter(letters.as_str().into());
        let engine = builder.memory(64 << 20).on_failure(letters).start().unwrap();
        until("it holds", || holds(&engine));
        add(&broker, &case.input, &[(1, 2), (1, 0)]);
        let topic = written.iter().find(|(what, _)| *what == missing).unwrap().1;
        stopped(&engine, &["must not write", topic, "WRITE", "ACL"]);
        let others = written.iter().filter(|(what, _)| *what != missing);
        let Health::Stopped { reason, .. } = engine.health() else { unreachable!() };
        assert!(others.clone().all(|(_, other)| !reason.contains(*other)), "`{reason}` names {others:?}");
        engine.close_blocking().unwrap_err();
    }
}

#[test]
fn a_timestamp_that_an_output_refuses() {
    let Some(broker) = Broker::shared() else { return };
    let input = broker.create_topic("old-in", 1, &[]);
    let output = broker.create_topic("old-out", 3, &[("message.timestamp.before.max.ms", "3600000")]);
    let case = service::case_of(&input, &output);
    let engine = service::start(&case, service::kafka(&broker.bootstrap(), &broker.topic("old")));
    let log = service::kafka(&broker.bootstrap(), "by-hand").open().unwrap();
    let partition = records::partition(&case.input, 0);
    let records = vec![records::record(&case.input, &1, Some(&1)).at(1)];
    log.append(vec![Append { partition, records }]).wait_blocking().unwrap();
    stopped(&engine, &["timestamp", &*output, "message.timestamp.before.max.ms"]);
    engine.close_blocking().unwrap_err();
    // So is whoever appends by hand.
    let partition = millpond::TopicPartition::new(&*output, 0);
    let records = vec![Record::new("key", "value").at(1)];
    let appended = log.append(vec![Append { partition, records }]).wait_blocking();
    refused(appended, ErrorKind::Invalid, &["timestamp", &output, "/0"]);
}

#[test]
fn what_brokers_do_not_take_of_a_holder() {
    let Some(broker) = Broker::shared() else { return };
    for (property, value) in [("session.timeout.ms", "100"), ("transaction.timeout.ms", "100000000")] {
        let name = broker.topic("refused");
        let case = service::case(broker, "refused");
        let kafka = service::kafka(&broker.bootstrap(), &name).property("heartbeat.interval.ms", "30");
        let engine = start(&case.graph, kafka.property(property, value));
        stopped(&engine, &[property, &name]);
        engine.close_blocking().unwrap_err();
    }
}

/// Nothing is lost, and it is told.
#[test]
fn brokers_without_a_coordinator() {
    if Broker::shared().is_none() {
        return;
    }
    for (whose, says) in
        [("offsets.topic", "no member of the group"), ("transaction.state.log", "transaction")]
    {
        // There is one broker.
        let options = Broker::options().property(&format!("{whose}.replication.factor"), "3");
        let broker = options.start().unwrap();
        let case = service::case(&broker, "alone");
        let kafka = service::kafka(&broker.bootstrap(), "alone").property("socket.timeout.ms", "1500");
        let engine = start(&case.graph, kafka);
        let trouble = until("it is told", || engine.stats().trouble);
        assert!(trouble.contains(says) && trouble.contains("alone"), "{trouble}");
        assert!(matches!(engine.health(), Health::Waiting { .. }), "{:?}", engine.health());
        engine.close_blocking().unwrap();
    }
}

/// Who follows is a member as well, and whoever holds is not in trouble because nothing is to be appended.
#[test]
fn nothing_where_nothing_is_wrong() {
    let Some(broker) = Broker::shared() else { return };
    let case = service::case(broker, "well");
    let name = broker.topic("well");
    let kafka = || service::kafka(&broker.bootstrap(), &name).property("socket.timeout.ms", "1000");
    let [one, other] = [(); 2].map(|()| start(&case.graph, kafka()));
    until("one of them holds", || holds(&one).or_else(|| holds(&other)));
    // Until then they are no members, and nobody holds.
    until("both are well", || {
        (one.stats().trouble.is_none() && other.stats().trouble.is_none()).then_some(())
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        for engine in [&one, &other] {
            assert_eq!(engine.stats().trouble, None);
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    one.close_blocking().unwrap();
    other.close_blocking().unwrap();
}

/// It was once taken for a refusal, and every engine with a role stopped when a broker was started again.
#[test]
fn a_connection_that_is_lost_while_it_logs_in() {
    let proxy = Proxy::start();
    let login = "org.apache.kafka.common.security.plain.PlainLoginModule required user_app=\"secret\";";
    let options = Broker::options()
        .proxied_by(&proxy)
        .property(
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:SASL_PLAINTEXT",
        )
        .property("listener.name.proxied.sasl.enabled.mechanisms", "PLAIN")
        .property("listener.name.proxied.plain.sasl.jaas.config", login);
    let Some(broker) = options.start() else { return };
    for path in [Fetch::Direct, Fetch::Librdkafka] {
        for request in [api::SASL_HANDSHAKE, api::SASL_AUTHENTICATE] {
            let case = service::case(&broker, "logs-in");
            let kafka = service::kafka(&proxy.bootstrap(), &broker.topic("logs-in"))
                .fetch(path)
                .property("security.protocol", "sasl_plaintext")
                .property("sasl.mechanism", "PLAIN")
                .property("sasl.username", "app")
                .property("sasl.password", "secret");
            let engine = service::start(&case, kafka);
            until("it holds", || holds(&engine));
            proxy.hold_requests(move |key| key == request);
            for _ in 0..3 {
                proxy.cut();
                proxy.wait_until_held();
            }
            proxy.cut();
            proxy.release();
            add(&broker, &case.input, &[(1, 1)]);
            until("it goes on", || (engine.stats().records_out > 0).then_some(()));
            until("it commits", || engine.drain().within(Duration::from_secs(10)).wait_blocking().ok());
            assert_eq!(engine.health(), Health::Running);
            engine.close_blocking().unwrap();
        }
    }
}

/// It was once begun again every few seconds, and never came to its end.
#[test]
fn outputs_for_which_brokers_take_their_time() {
    let Some(broker) = Broker::options().property("quota.window.num", "2").start() else { return };
    let [input, output] = ["slow-in", "slow-out"].map(|name| broker.create_topic(name, 1, &[]));
    let [input, output] = [Topic::<u32, Vec<u8>>::new(&input), Topic::<u32, Vec<u8>>::new(&output)];
    let log = Kafka::new("appends").bootstrap(&broker.bootstrap()).open().unwrap();
    // What cannot be compressed.
    let mut random = millpond_support::random::Random::new(1);
    let count = 160;
    for number in 0..count {
        let value = random.bytes(100_000);
        let records = vec![records::record(&input, &number, Some(&value))];
        let partition = records::partition(&input, 0);
        log.append(vec![Append { partition, records }]).wait_blocking().unwrap();
    }
    let slow = ["--alter", "--entity-type", "clients", "--entity-name", "slow"];
    broker.tool("configs", &[&slow[..], &["--add-config", "producer_byte_rate=1000000"]].concat(), "");
    let graph = GraphBuilder::new();
    graph.stream(&input).to(&output);
    let kafka = service::kafka(&broker.bootstrap(), "slow").property("client.id", "slow");
    let engine = start(&graph.build().unwrap(), kafka);
    let began = Instant::now();
    until("all is folded", || (engine.stats().records_out == u64::from(count)).then_some(()));
    until("all is committed", || engine.drain().within(LIMIT).wait_blocking().ok());
    assert!(began.elapsed() > Duration::from_secs(6), "or it was not slow");
    let there = records::read(&log, &records::partition(&output, 0)).unwrap();
    assert_eq!(there.len(), count as usize);
    engine.close_blocking().unwrap();
}

/// Each commit once took 100 ms, whatever was in it.
#[test]
fn a_commit_takes_no_longer_than_it_has_to() {
    let Some(broker) = Broker::shared() else { return };
    let case: Case = service::case(broker, "fast");
    let engine = service::start(&case, service::kafka(&broker.bootstrap(), &broker.topic("fast")));
    until("it holds", || holds(&engine));
    let mut drains = Vec::new();
    for number in 0..21 {
        let position = engine.append_blocking(&case.input, &1, &number).unwrap();
        engine.wait_for_blocking(&position).unwrap();
        let began = Instant::now();
        engine.drain_blocking().unwrap();
        drains.push(began.elapsed());
    }
    drains.sort();
    // Of a machine that has much else to do as well.
    assert!(drains[10] < Duration::from_millis(80), "half of the drains took {:?} or more", drains[10]);
    engine.close_blocking().unwrap();
}
