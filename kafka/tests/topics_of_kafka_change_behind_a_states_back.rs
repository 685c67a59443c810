//! What becomes of topics of Kafka while an engine runs, and while it does not: deleted and made anew, compacted, given more
//! partitions, and out of reach.
//!
//! Method: a real broker, its admin calls and its death. That a topic was made anew was found only if the new one was shorter
//! than the old one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use futures_executor::block_on;
use millpond::changelog::backend::{Append, IntoChangelog};
use millpond::changelog::prelude::*;
use millpond::{Engine, Error, ErrorKind, Graph, GraphBuilder, Health, StoredTable, Topic, TopicPartition};
use millpond_kafka::{Fetch, Kafka};
use millpond_support::broker::Broker;
use millpond_support::records;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn kafka(broker: &Broker) -> Kafka {
    Kafka::new("test").bootstrap(&broker.bootstrap())
}

fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap()
}

fn sums(topic: &Topic<u32, u64>) -> (Graph, StoredTable<u32, u64>) {
    let graph = GraphBuilder::new();
    let sums = graph.stream(topic).group_by_key().fold("sums", || 0_u64, |sum, _, number| *sum += number);
    (graph.build().unwrap(), sums)
}

fn open(graph: &Graph, dir: &Path, kafka: impl IntoChangelog + 'static) -> Result<Engine, Error> {
    let engine = Engine::builder(graph).state_dir(dir).changelog(kafka).memory(64 << 20).start()?;
    engine.ready_blocking()?;
    Ok(engine)
}

/// Appends `numbers` with this key to a partition.
fn append(
    log: &dyn millpond::changelog::Changelog,
    topic: &Topic<u32, u64>,
    partition: u32,
    key: u32,
    numbers: &[u64],
) {
    let records = numbers.iter().map(|number| records::record(topic, &key, Some(number))).collect();
    let partition = TopicPartition::new(Arc::clone(topic.name()), partition);
    log.append(vec![Append { partition, records }]).wait_blocking().unwrap();
}

/// Waits until it is so, which it must be within a minute.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn one_that_was_made_anew_is_found_however_long_it_is() {
    let Some(broker) = Broker::shared() else { return };
    let topic = Topic::new(&broker.create_topic("anew", 1, &[]));
    let (graph, table) = sums(&topic);
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&graph, dir.path(), kafka(broker)).unwrap();
    append(&**engine.changelog(), &topic, 0, 1, &[1, 2, 3]);
    engine.catch_up_blocking().unwrap();
    engine.close_blocking().unwrap();
    open(&graph, dir.path(), kafka(broker)).unwrap().close_blocking().unwrap();

    let admin = admin(broker);
    let deleted = block_on(admin.delete_topics(&[topic.name()], &AdminOptions::new())).unwrap();
    assert!(deleted[0].is_ok(), "{deleted:?}");
    let again = NewTopic::new(topic.name(), 1, TopicReplication::Fixed(1));
    let made = block_on(admin.create_topics([&again], &AdminOptions::new())).unwrap();
    assert!(made[0].is_ok(), "{made:?}");
    let log = kafka(broker).open().unwrap();
    append(&log, &topic, 0, 1, &[10, 20, 30, 40, 50]);
    log.close().unwrap();

    let error = open(&graph, dir.path(), kafka(broker)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AheadOfChangelog, "{error}");
    assert!(
        error.to_string().contains(&**topic.name()) && error.to_string().contains("made anew"),
        "{error}"
    );
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&graph, dir.path(), kafka(broker)).unwrap();
    assert_eq!(engine.view(&table).unwrap().get(&1).unwrap(), Some(150));
    engine.close_blocking().unwrap();
}

#[test]
fn a_compacted_one_is_read_as_a_table() {
    let Some(broker) = Broker::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    for policy in ["compact", "compact,delete", "delete"] {
        let settings = [("cleanup.policy", policy), ("delete.retention.ms", "60000")];
        let topic = Topic::new(&broker.create_topic("compacted", 1, &settings));
        let (graph, _) = sums(&topic);
        let opened = open(&graph, &dir.path().join(policy), kafka(broker));
        if policy == "delete" {
            opened.unwrap().close_blocking().unwrap();
            continue;
        }
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("latest_only"), "{error}");
        let graph = GraphBuilder::new();
        let last = graph.table(&topic, "last");
        let engine = open(&graph.build().unwrap(), &dir.path().join(policy), kafka(broker)).unwrap();
        append(&**engine.changelog(), &topic, 0, 1, &[1, 2]);
        engine.catch_up_blocking().unwrap();
        assert_eq!(engine.view(&last).unwrap().get(&1).unwrap(), Some(2));
        engine.close_blocking().unwrap();
    }
}

#[test]
fn partitions_that_are_added_are_read() {
    partitions_are_added(Fetch::Direct);
}

#[test]
fn partitions_that_are_added_are_read_through_librdkafka() {
    partitions_are_added(Fetch::Librdkafka);
}

fn partitions_are_added(path: Fetch) {
    let Some(broker) = Broker::shared() else { return };
    let topic = Topic::new(&broker.create_topic("grown", 1, &[]));
    let (graph, table) = sums(&topic);
    let dir = tempfile::tempdir().unwrap();
    let kafka = || kafka(broker).fetch(path).property("topic.metadata.refresh.interval.ms", "200");
    let engine = open(&graph, dir.path(), kafka()).unwrap();
    append(&**engine.changelog(), &topic, 0, 0, &[1]);
    for count in 2..4 {
        let more = NewPartitions::new(topic.name(), count);
        let added = block_on(admin(broker).create_partitions([&more], &AdminOptions::new())).unwrap();
        assert!(added[0].is_ok(), "{added:?}");
        let partition = u32::try_from(count).unwrap() - 1;
        // Before anybody has heard of it.
        let other = kafka().open().unwrap();
        append(&other, &topic, partition, partition, &[10, 20]);
        other.close().unwrap();
        let view = engine.view(&table).unwrap();
        until("a partition that was added is not read", || view.get(&partition).unwrap() == Some(30));
        let id = TopicPartition::new(Arc::clone(topic.name()), partition);
        assert_eq!(engine.stats().position.offset(&id), 2);
    }
    engine.close_blocking().unwrap();
    let engine = open(&graph, dir.path(), kafka()).unwrap();
    let rows: Vec<_> = engine.view(&table).unwrap().scan().unwrap().map(Result::unwrap).collect();
    assert_eq!(rows, [(0, 1), (1, 30), (2, 30)]);
    engine.close_blocking().unwrap();
}

#[test]
fn a_broker_that_is_away_for_long_is_told_while_answers_go_on() {
    let Some(_) = Broker::shared() else { return };
    let broker = Broker::options().start().unwrap();
    let topic = Topic::new(&broker.create_topic("away", 1, &[]));
    let (graph, table) = sums(&topic);
    let dir = tempfile::tempdir().unwrap();
    let kafka = kafka(&broker).property("socket.timeout.ms", "1000");
    let engine = open(&graph, dir.path(), kafka).unwrap();
    append(&**engine.changelog(), &topic, 0, 1, &[1]);
    engine.catch_up_blocking().unwrap();
    assert_eq!((engine.health(), engine.stats().trouble), (Health::Running, None));
    broker.kill();
    until("it is not told that the broker is away", || matches!(engine.health(), Health::Waiting { .. }));
    let trouble = engine.stats().trouble.unwrap();
    assert!(trouble.contains(&broker.bootstrap()), "{trouble}");
    assert_eq!(engine.view(&table).unwrap().get(&1).unwrap(), Some(1));
    broker.restart();
    until("it is told for ever", || engine.health() == Health::Running && engine.stats().trouble.is_none());
    append(&**engine.changelog(), &topic, 0, 1, &[5]);
    engine.catch_up_blocking().unwrap();
    assert_eq!(engine.view(&table).unwrap().get(&1).unwrap(), Some(6));
    engine.close_blocking().unwrap();
}

/// They were written to as they had been when they were first asked for.
#[test]
fn partitions_that_are_added_to_an_output_are_written_to() {
    let Some(broker) = Broker::shared() else { return };
    for path in [Fetch::Direct, Fetch::Librdkafka] {
        let topic = Topic::<u32, u64>::new(&broker.create_topic("grown-output", 1, &[]));
        let kafka = kafka(broker).fetch(path).property("topic.metadata.refresh.interval.ms", "200");
        let log: Arc<dyn Changelog> = Arc::new(kafka.open().unwrap());
        let producer = records::producer(Arc::clone(&log), &topic).unwrap();
        producer.send([(&1, Some(&1), 1)]).wait_blocking().unwrap();
        let more = [NewPartitions::new(topic.name(), 4)];
        block_on(admin(broker).create_partitions(&more, &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
        let mut written = std::collections::BTreeSet::new();
        until("the new partitions are written to", || {
            for key in 0..20 {
                // Brokers hear of them one after the other.
                let sent = producer.send([(&key, Some(&1), 1)]).wait_blocking().unwrap_or_default();
                written.extend(sent.iter().map(|(id, _)| id.partition));
            }
            written.len() == 4
        });
        log.close().unwrap();
    }
}

/// Whoever produced to it had the broker create another one.
#[test]
fn an_output_that_was_deleted_is_not_made_anew_by_who_writes_to_it() {
    let Some(broker) = Broker::options().property("auto.create.topics.enable", "true").start() else {
        return;
    };
    let topic = Topic::<u32, u64>::new(&broker.create_topic("deleted-output", 1, &[]));
    let kafka = kafka(&broker).property("topic.metadata.refresh.interval.ms", "200");
    let log: Arc<dyn Changelog> = Arc::new(kafka.property("message.timeout.ms", "5000").open().unwrap());
    let producer = records::producer(Arc::clone(&log), &topic).unwrap();
    producer.send([(&1, Some(&1), 1)]).wait_blocking().unwrap();
    block_on(admin(&broker).delete_topics(&[topic.name()], &AdminOptions::new())).unwrap()[0]
        .as_ref()
        .unwrap();
    let is_there = || log.topics().unwrap().iter().any(|(name, _)| name == topic.name());
    until("the topic is deleted", || !is_there());
    until("appends to it fail", || producer.send([(&1, Some(&1), 1)]).wait_blocking().is_err());
    for _ in 0..5 {
        assert!(producer.send([(&1, Some(&1), 1)]).wait_blocking().is_err());
        assert!(!is_there());
    }
}
