//! The same graph on Kafka: folded from topics that others write, durable, caught up with, and taken up again.
//!
//! Method: a real broker, whose topics are written by engines, by a producer of the test's own with transactions that are
//! committed and aborted, and trimmed by Kafka's own tool; tables beside what was written.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::backend::IntoChangelog;
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, Health, StoredTable, Topic};
use millpond_kafka::Kafka;
use millpond_support::broker::Broker;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

fn kafka(broker: &Broker) -> Kafka {
    Kafka::new("test").bootstrap(&broker.bootstrap())
}

fn numbers(name: &str) -> Topic<u32, u64> {
    Topic::new(name).partitions(2)
}

fn sums(topic: &Topic<u32, u64>) -> (Graph, StoredTable<u32, u64>) {
    let graph = GraphBuilder::new();
    let sums = graph.stream(topic).group_by_key().fold("sums", || 0_u64, |sum, _, number| *sum += number);
    (graph.build().unwrap(), sums)
}

fn start(graph: &Graph, dir: &Path, kafka: impl IntoChangelog + 'static) -> Engine {
    let engine = Engine::builder(graph).state_dir(dir).changelog(kafka).memory(64 << 20).start().unwrap();
    engine.ready_blocking().unwrap();
    engine
}

fn rows(engine: &Engine, table: &StoredTable<u32, u64>) -> BTreeMap<u32, u64> {
    engine.view(table).unwrap().scan().unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_state_is_folded_from_a_topic_and_taken_up_again() {
    let Some(broker) = Broker::shared() else { return };
    let topic = numbers(&broker.create_topic("numbers", 2, &[]));
    let (graph, sums) = sums(&topic);
    let dir = tempfile::tempdir().unwrap();
    let mut expected = BTreeMap::new();
    for round in 0..3_u64 {
        let engine = start(&graph, dir.path(), kafka(broker));
        assert_eq!(rows(&engine, &sums), expected);
        let mut acks = Vec::new();
        for key in 0..50 {
            acks.push(engine.append(&topic, &key, &round));
            *expected.entry(key).or_default() += round;
        }
        for ack in acks {
            ack.wait_blocking().unwrap();
        }
        // Of whatever partition, and although nobody was told where they end.
        engine.catch_up_blocking().unwrap();
        assert_eq!(rows(&engine, &sums), expected);
        let stats = engine.stats();
        assert_eq!((stats.lag.values().sum::<u64>(), stats.records_in), (0, 50));
        assert_eq!(stats.health, Health::Running);
        engine.close_blocking().unwrap();
    }
}

/// A producer with transactions of its own.
fn transactional(broker: &Broker, id: &str) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap()).set("transactional.id", id);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer
}

fn encoded(topic: &Topic<u32, u64>, key: u32, value: u64) -> (Vec<u8>, Vec<u8>) {
    (millpond_support::records::key_bytes(&key), millpond_support::records::value_bytes(topic, &value))
}

#[test]
fn what_was_aborted_is_not_there_and_ends_of_transactions_are_not_waited_for() {
    let Some(broker) = Broker::shared() else { return };
    let topic = numbers(&broker.create_topic("transactions", 2, &[]));
    let (graph, sums) = sums(&topic);
    let dir = tempfile::tempdir().unwrap();
    let producer = transactional(broker, "transactions");
    let mut expected = BTreeMap::new();
    let engine = start(&graph, dir.path(), kafka(broker));
    for round in 0..20_u64 {
        producer.begin_transaction().unwrap();
        for key in 0..4 {
            let (key_bytes, value) = encoded(&topic, key, round);
            let record = BaseRecord::to(topic.name()).partition(i32::try_from(key % 2).unwrap());
            producer.send(record.key(&key_bytes).payload(&value)).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
        if round % 3 == 0 {
            producer.abort_transaction(Duration::from_secs(30)).unwrap();
        } else {
            producer.commit_transaction(Duration::from_secs(30)).unwrap();
            (0..4).for_each(|key| *expected.entry(key).or_default() += round);
        }
    }
    // The ends are asked for at most once a second.
    let ends = engine.append(&topic, &7, &1).wait_blocking().unwrap();
    engine.wait_for_blocking(&ends).unwrap();
    engine.catch_up_blocking().unwrap();
    expected.insert(7, 1);
    producer.begin_transaction().unwrap();
    let (key, value) = encoded(&topic, 0, 1000);
    let record = BaseRecord::to(topic.name()).partition(0).key(&key).payload(&value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    *expected.get_mut(&0).unwrap() += 1000;
    engine.close_blocking().unwrap();

    // A state of its own, which begins behind all of it: the last that there is, is the end of a transaction.
    let dir = tempfile::tempdir().unwrap();
    let engine = start(&graph, dir.path(), kafka(broker));
    engine.catch_up_blocking().unwrap();
    assert_eq!(rows(&engine, &sums), expected);
    assert_eq!(engine.stats().lag.values().sum::<u64>(), 0);
    engine.close_blocking().unwrap();
}

#[test]
fn a_broker_that_goes_away_and_comes_back_costs_nothing_but_time() {
    let Some(_) = Broker::shared() else { return };
    let broker = Broker::options().start().unwrap();
    let topic = numbers(&broker.create_topic("numbers", 2, &[]));
    let (graph, sums) = sums(&topic);
    let dir = tempfile::tempdir().unwrap();
    let engine = start(&graph, dir.path(), kafka(&broker));
    let position = engine.append(&topic, &1, &1).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    broker.kill();
    // Answers go on.
    assert_eq!(rows(&engine, &sums)[&1], 1);
    let appended = engine.append(&topic, &1, &2);
    broker.restart();
    let position = appended.wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    assert_eq!(rows(&engine, &sums)[&1], 3);
    engine.close_blocking().unwrap();
}

/// Whoever knows the number of partitions says so, and whoever does not takes what is there.
#[test]
fn a_topic_has_the_partitions_that_the_broker_says() {
    let Some(broker) = Broker::shared() else { return };
    let name = broker.create_topic("found", 3, &[]);
    let topic = Topic::<u32, u64>::new(&name);
    let (graph, sums) = sums(&topic);
    let dir = tempfile::tempdir().unwrap();
    let engine = start(&graph, dir.path(), kafka(broker));
    for key in 0..50 {
        engine.append(&topic, &key, &1).wait_blocking().unwrap();
    }
    engine.catch_up_blocking().unwrap();
    assert_eq!(rows(&engine, &sums), (0..50).map(|key| (key, 1)).collect());
    let log = engine.changelog();
    assert_eq!(log.partitions(&name).unwrap(), Some(3));
    for number in 0..3 {
        let partition = millpond_support::records::partition(&topic, number);
        let found = millpond_support::records::read(&**log, &partition).unwrap();
        assert!(!found.is_empty());
        let placed = millpond_support::records::partition_of(&topic.clone().partitions(3), &0);
        let key = millpond_support::records::key_bytes_of(&topic, &0);
        assert_eq!(found.iter().any(|record| record.key.as_deref() == Some(&*key)), placed == partition);
    }
    engine.close_blocking().unwrap();

    let (graph, _) = self::sums(&topic.partitions(2));
    let open = |graph, kafka| Engine::builder(graph).state_dir(dir.path()).changelog(kafka).start();
    let error = open(&graph, kafka(broker)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("has 3 partitions, not 2"), "{error}");

    // One that is created without a number gets as many as the broker gives it, and is read from the first record on.
    let topic = Topic::<u32, u64>::new(&broker.topic("created"));
    let (graph, sums) = self::sums(&topic);
    let dir = tempfile::tempdir().unwrap();
    let engine = start(&graph, dir.path(), kafka(broker).create_topics(1));
    engine.append(&topic, &7, &1).wait_blocking().unwrap();
    engine.catch_up_blocking().unwrap();
    assert_eq!(rows(&engine, &sums), [(7, 1)].into());
    engine.close_blocking().unwrap();
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    let Some(broker) = Broker::shared() else { return };
    let topic = numbers(&broker.topic("missing"));
    let (graph, _) = sums(&topic);
    let dir = tempfile::tempdir().unwrap();
    let open = |kafka: Kafka| Engine::builder(&graph).state_dir(dir.path()).changelog(kafka).start();
    let error = open(kafka(broker)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let text = error.to_string();
    assert!(text.contains(&**topic.name()) && text.contains("create_topics"), "{text}");
    open(kafka(broker).create_topics(1)).unwrap().close_blocking().unwrap();
    open(kafka(broker)).unwrap().close_blocking().unwrap();
}

#[test]
fn what_retention_has_dropped_is_where_a_new_state_begins_and_an_error_for_one_that_needs_it() {
    let Some(broker) = Broker::shared() else { return };
    let topic = numbers(&broker.create_topic("trimmed", 2, &[]));
    let (graph, sums) = sums(&topic);
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = start(&graph, old.path(), kafka(broker));
    engine.append(&topic, &1, &1).wait_blocking().unwrap();
    engine.catch_up_blocking().unwrap();
    engine.close_blocking().unwrap();

    let producer = kafka(broker).open().unwrap();
    let append = |value| {
        let record = millpond_support::records::record(&topic, &1, Some(&value));
        let partition = millpond_support::records::partition_of(&topic, &1);
        millpond_support::records::append(&producer, partition, vec![record]).unwrap()
    };
    append(10);
    let partition = millpond_support::records::partition_of(&topic, &1);
    let trimmed = append(100).offset(&partition) - 1;
    let json = format!(
        r#"{{"partitions":[{{"topic":"{}","partition":{},"offset":{trimmed}}}],"version":1}}"#,
        partition.topic, partition.partition
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json).unwrap();
    broker.tool("delete-records", &["--offset-json-file", file.path().to_str().unwrap()], "");

    let open = Engine::builder(&graph).state_dir(old.path()).changelog(kafka(broker)).start();
    let error = open.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BehindChangelog, "{error}");
    assert!(error.to_string().contains(&partition.to_string()), "{error}");
    let engine = start(&graph, new.path(), kafka(broker));
    assert_eq!(rows(&engine, &sums), [(1, 100)].into());
    engine.close_blocking().unwrap();
}

/// It panicked where it asked for the settings of topics.
#[test]
fn an_engine_is_started_by_code_that_runs_within_an_executor() {
    let Some(broker) = Broker::shared() else { return };
    let topic = numbers(&broker.create_topic("within", 2, &[]));
    let made = numbers(&broker.topic("within-made"));
    let graph = GraphBuilder::new();
    graph.stream(&topic).to(&made);
    let graph = graph.build().unwrap();
    futures_executor::block_on(async {
        let engine = Engine::builder(&graph).in_memory().memory(64 << 20);
        let engine = engine.changelog(kafka(broker).create_topics(1)).start().unwrap();
        engine.append(&topic, &1, &1).await.unwrap();
        engine.catch_up().await.unwrap();
        engine.close().await.unwrap();
    });
}
