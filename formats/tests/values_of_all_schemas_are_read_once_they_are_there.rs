//! Values in every version of a schema are read, each version once its schema was fetched, and nothing is lost meanwhile.
//!
//! Property: a graph over a topic whose records were written with several versions of a schema folds all of them, in order,
//! whatever the registry does; the registry is asked once for each; a record whose schema is nowhere is one that does not decode.
//!
//! Method: engines and drivers, with a registry of the test's own that goes away and comes back.
#![cfg(all(feature = "avro", feature = "registry"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod registry_server;

use millpond::changelog::{Append, MemoryChangelog, Record, TopicConfig, prelude::*};
use millpond::codec::ValueCodec;
use millpond::testing::Driver;
use millpond::{
    Engine, ErrorKind, FailurePolicy, GraphBuilder, Health, Position, StoredTable, TableOptions, Topic,
    TopicPartition,
};
use millpond_formats::avro::{Avro, AvroSchema};
use millpond_formats::registry::{Registry, Subject};
use registry_server::RegistryServer;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema)]
struct Order {
    item: String,
    #[avro(default = "1")]
    count: i64,
}

const FIRST: &str = r#"{"type": "record", "name": "Order", "fields": [{"name": "item", "type": "string"}]}"#;
const SECOND: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "count", "type": "int"}, {"name": "item", "type": "string"}, {"name": "note", "type": "string"}]}"#;

fn order(item: &str, count: i64) -> Order {
    Order { item: item.to_owned(), count }
}

fn append(log: &MemoryChangelog, key: u8, id: u32, value: &[u8]) -> Position {
    log.create_topic("orders", &TopicConfig::default()).unwrap();
    let value = [&[0], &id.to_be_bytes()[..], value].concat();
    let append =
        Append { partition: TopicPartition::new("orders", 0), records: vec![Record::new(vec![key], value)] };
    log.append(vec![append]).wait_blocking().unwrap()
}

fn latest(codec: Avro<Order>) -> (GraphBuilder, StoredTable<u8, Order>, Topic<u8, Order>) {
    let orders = Topic::with_codec("orders", codec);
    let graph = GraphBuilder::new();
    let rows = TableOptions::with_codec("latest", Avro::new().unwrap());
    let latest = graph.table(&orders, rows);
    (graph, latest, orders)
}

#[test]
fn a_registry_that_is_away_is_waited_for() {
    let server = RegistryServer::start();
    let registry = Registry::new(&server.url).unwrap();
    let (first, second) = (server.register("o", FIRST, &json!({})), server.register("o", SECOND, &json!({})));
    let log = Arc::new(MemoryChangelog::new());
    let (graph, latest, _) = latest(Avro::new().unwrap().reading(&registry));
    let builder = Engine::builder(&graph.build().unwrap()).in_memory().changelog(log.clone());
    let engine = builder.on_failure(FailurePolicy::DeadLetter("dead".into())).start().unwrap();
    append(&log, 1, first, b"\x06tea");
    engine.catch_up_blocking().unwrap();
    assert_eq!(engine.view(&latest).unwrap().get(&1).unwrap(), Some(order("tea", 1)));

    server.with(|state| state.away = true);
    append(&log, 2, first, b"\x06jam");
    engine.catch_up_blocking().unwrap();
    append(&log, 1, second, b"\x0a\x06tea\x02n");
    append(&log, 3, first, b"\x06bun");
    let waits = || match engine.health() {
        Health::Waiting { reason } => reason.contains("schema 2 of http") && reason.contains("tried again"),
        _ => false,
    };
    while !waits() {
        std::thread::yield_now();
    }
    assert_eq!(engine.view(&latest).unwrap().get(&1).unwrap(), Some(order("tea", 1)));
    server.with(|state| state.away = false);
    engine.catch_up_blocking().unwrap();
    assert_eq!(engine.view(&latest).unwrap().get(&1).unwrap(), Some(order("tea", 5)));
    assert_eq!(engine.view(&latest).unwrap().get(&3).unwrap(), Some(order("bun", 1)));

    // There is no such schema: that is the fault of the record.
    append(&log, 1, 77, b"\x06pie");
    append(&log, 4, first, b"\x06pie");
    engine.catch_up_blocking().unwrap();
    assert_eq!(engine.view(&latest).unwrap().get(&4).unwrap(), Some(order("pie", 1)));
    assert_eq!(engine.stats().dead_letters, 1);
    let asked = |id: u32| {
        server.requests().iter().filter(|asked| **asked == format!("GET /schemas/ids/{id}")).count()
    };
    assert_eq!((asked(first), asked(77)), (1, 1));
    engine.close_blocking().unwrap();
}

#[test]
fn what_is_written_asks_nobody_and_is_read_by_others() {
    let server = RegistryServer::start();
    let registry = Registry::new(&server.url).unwrap();
    let codec = Avro::<Order>::new().unwrap().registered(&registry, &Subject::value_of("orders")).unwrap();
    server.with(|state| state.away = true);
    let (graph, latest, orders) = latest(codec);
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    driver.put(&orders, 1, order("tea", 2), 0).unwrap();
    driver.run().unwrap();
    assert_eq!(driver.table(&latest).unwrap()[&1], order("tea", 2));
    assert_eq!(server.requests().len(), 1);
    let stored =
        driver.changelog().reader(&TopicPartition::new("orders", 0), 0).unwrap().poll(1 << 20).unwrap();
    let stored = stored[0].decode().unwrap().iter().next().unwrap().to_record();
    assert_eq!(stored.value.unwrap(), &b"\0\0\0\0\x01\x06tea\x04"[..]);
}

#[test]
fn a_driver_says_what_keeps_it_and_goes_on() {
    let server = RegistryServer::start();
    let registry = Registry::new(&server.url).unwrap();
    let (graph, latest, _) = latest(Avro::new().unwrap().reading(&registry));
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    let id = server.register("o", FIRST, &json!({}));
    append(driver.changelog(), 1, id, b"\x06tea");
    server.with(|state| state.away = true);
    let error = driver.run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("schema 1 of http"), "{error}");
    server.with(|state| state.away = false);
    driver.run().unwrap();
    assert_eq!(driver.table(&latest).unwrap()[&1], order("tea", 1));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Item {
    Jam,
    Tea,
}
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Order")]
struct Kinds {
    kind: Item,
    count: i64,
}

#[test]
fn what_a_schema_refers_to_is_resolved_with_it() {
    let server = RegistryServer::start();
    let registry = Registry::new(&server.url).unwrap();
    server.register(
        "item",
        r#"{"type": "enum", "name": "com.acme.Item", "symbols": ["tea", "jam"]}"#,
        &json!({}),
    );
    let schema =
        r#"{"type": "record", "name": "Order", "fields": [{"name": "kind", "type": "com.acme.Item"}]}"#;
    let references = json!({"references": [{"name": "com.acme.Item", "subject": "item", "version": 1}]});
    let id = server.register("orders", schema, &references);
    let reader = r#"{"type": "record", "name": "Order", "fields": [
        {"name": "kind", "type": {"type": "enum", "name": "Item", "symbols": ["jam", "tea"]}},
        {"name": "count", "type": "long", "default": 3}]}"#;
    let codec = Avro::<Kinds>::with_schema(reader).unwrap().reading(&registry);
    let bytes = [&[0], &id.to_be_bytes()[..], &[0]].concat();
    let awaited = codec.decode(&bytes).unwrap_err().awaited().unwrap().clone();
    assert_eq!(awaited.to_string(), format!("schema {id} of {}", server.url));
    awaited.fetch().unwrap();
    assert_eq!(codec.decode(&bytes).unwrap(), Kinds { kind: Item::Tea, count: 3 });
}

#[test]
fn a_topic_takes_newer_schemas_of_a_record_and_no_other_record() {
    let server = RegistryServer::start();
    let registry = Registry::new(&server.url).unwrap();
    let shape = |schema: &str| {
        let codec = Avro::<Order>::with_schema(schema).unwrap().reading(&registry);
        ValueCodec::<Order>::shape(&codec).unwrap()
    };
    assert_eq!(shape(FIRST), shape(SECOND));
    assert_ne!(shape(FIRST), shape(&FIRST.replace("Order", "Offer")));
    // Rows have no id by which the schema that they were written in would be known.
    let orders = Topic::<u8, Order>::with_codec("orders", Avro::new().unwrap().reading(&registry));
    let graph = GraphBuilder::new();
    let codec = Avro::<Order>::new().unwrap().reading(&registry);
    let _latest = graph.table(&orders, TableOptions::with_codec("latest", codec));
    let error = graph.build().unwrap_err();
    assert!(error.to_string().contains("table `latest` cannot be kept in `avro-by-id`"), "{error}");
}

#[test]
fn a_schema_of_another_language_fails_the_record() {
    let server = RegistryServer::start();
    let registry = Registry::new(&server.url).unwrap();
    let proto = server.register("o", "syntax = \"proto3\";", &json!({"schemaType": "PROTOBUF"}));
    let broken = server.register("o", r#"{"type": "recor"}"#, &json!({}));
    let codec = Avro::<Order>::new().unwrap().reading(&registry);
    for (id, told) in [(proto, "one of PROTOBUF, not of Avro"), (broken, "is no Avro schema")] {
        let bytes = [&[0], &id.to_be_bytes()[..], &[0]].concat();
        codec.decode(&bytes).unwrap_err().awaited().unwrap().fetch().unwrap();
        let error = codec.decode(&bytes).unwrap_err();
        assert!(error.awaited().is_none() && error.to_string().contains(told), "{error}");
    }
    // Wrong credentials are nothing that waiting helps against.
    server.with(|state| state.authorization = Some("Bearer token".to_owned()));
    let bytes = [0, 0, 0, 0, 9, 0];
    let error = codec.decode(&bytes).unwrap_err().awaited().unwrap().fetch().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
