//! A table over the change events of Debezium has the rows that the database has.
//!
//! Property: whatever was created, updated and deleted, read by a snapshot once more, with or without tombstones, with messages and
//! ignored truncations in between, the table equals the rows at the source, wherever epochs are cut and whenever the process
//! is killed; in JSON, with and without a schema beside it, and in Avro, in the schema of a connector.
//!
//! Method: random changes to a map, written as a connector writes them, and a driver that is moved at random.
#![cfg(all(feature = "avro", feature = "debezium", feature = "registry"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod registry_server;

use millpond::changelog::Record;
use millpond::codec::ValueCodec;
use millpond::testing::{Driver, Settings};
use millpond::{ErrorKind, FailurePolicy, GraphBuilder, StoredTable, Topic, TopicPartition};
use millpond_formats::avro::{AvroSchema, AvroValue, apache_avro::types::Value};
use millpond_formats::debezium::avro::DebeziumAvro;
use millpond_formats::debezium::{DebeziumGraph, DebeziumJson, Envelope, Truncates};
use millpond_formats::registry::{Registry, Subject};
use millpond_support::random::Random;
use registry_server::RegistryServer;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema)]
struct Customer {
    id: i64,
    name: String,
    city: Option<String>,
}

/// As a connector registers it, shortened.
const ENVELOPE: &str = r#"{"type": "record", "name": "Envelope", "namespace": "shop.customers", "fields": [
    {"name": "before", "type": ["null", {"type": "record", "name": "Value", "fields": [
        {"name": "id", "type": "int"}, {"name": "name", "type": "string"},
        {"name": "city", "type": ["null", "string"], "default": null}]}], "default": null},
    {"name": "after", "type": ["null", "Value"], "default": null},
    {"name": "source", "type": {"type": "record", "name": "Source", "namespace": "io.debezium.connector", "fields": [
        {"name": "db", "type": "string"}, {"name": "lsn", "type": ["null", "long"], "default": null}]}},
    {"name": "op", "type": "string"},
    {"name": "ts_ms", "type": ["null", "long"], "default": null}]}"#;

/// A change as it stands in the database's log.
struct Event {
    key: u8,
    op: &'static str,
    before: Option<Customer>,
    after: Option<Customer>,
}

fn in_json(event: &Event, wrapped: bool) -> Vec<u8> {
    let Event { op, before, after, .. } = event;
    let envelope = json!({
        "before": before, "after": after, "op": op, "ts_ms": 5, "source": {"db": "shop"}, "transaction": null,
    });
    let whole = if wrapped { json!({"schema": {"type": "struct"}, "payload": envelope}) } else { envelope };
    whole.to_string().into_bytes()
}

fn in_avro(event: &Event, id: u32) -> Vec<u8> {
    let some = |value| Value::Union(1, Box::new(value));
    let none = || Value::Union(0, Box::new(Value::Null));
    let field = |name: &str, value| (name.to_owned(), value);
    let row = |row: &Option<Customer>| {
        row.as_ref().map_or_else(none, |Customer { id, name, city }| {
            let city = city.clone().map_or_else(none, |city| some(Value::String(city)));
            let id = Value::Int(i32::try_from(*id).unwrap());
            some(Value::Record(vec![
                field("id", id),
                field("name", Value::String(name.clone())),
                field("city", city),
            ]))
        })
    };
    let source = vec![field("db", Value::String("shop".into())), field("lsn", some(Value::Long(7)))];
    let envelope = Value::Record(vec![
        field("before", row(&event.before)),
        field("after", row(&event.after)),
        field("source", Value::Record(source)),
        field("op", Value::String(event.op.to_owned())),
        field("ts_ms", some(Value::Long(5))),
    ]);
    let mut bytes = [&[0], &id.to_be_bytes()[..]].concat();
    AvroValue::with_schema(ENVELOPE).unwrap().encode(&envelope, &mut bytes).unwrap();
    bytes
}

/// Changes the rows of the source at random.
fn change(random: &mut Random, rows: &mut BTreeMap<u8, Customer>) -> Event {
    let key = u8::try_from(random.below(5)).unwrap();
    let before = rows.get(&key).cloned();
    let city = (random.below(2) == 0).then(|| random.pick(&["Lisbon", "Porto"]).to_owned());
    let new = Customer { id: key.into(), name: format!("customer {}", random.below(9)), city };
    match (random.below(8), before) {
        (0, before) => Event { key, op: "m", before, after: None },
        (1, _) => Event { key, op: "t", before: None, after: None },
        (2, Some(before)) => Event { key, op: "r", after: Some(before), before: None },
        (3 | 4, Some(before)) => {
            rows.remove(&key);
            Event { key, op: "d", before: Some(before), after: None }
        }
        (_, before) => {
            rows.insert(key, new.clone());
            Event { key, op: if before.is_some() { "u" } else { "c" }, before, after: Some(new) }
        }
    }
}

fn follow(
    random: &mut Random,
    events: &Topic<u8, Envelope<Customer>>,
    write: impl Fn(&mut Random, &Event) -> Vec<u8>,
) {
    let graph = GraphBuilder::new();
    let customers = graph.debezium_table(events, "customers");
    let shards = 1 + random.index(3);
    let mut driver =
        Driver::with_settings(&graph.build().unwrap(), Settings { shards, ..Settings::default() }).unwrap();
    let partition = TopicPartition::new(events.name().clone(), 0);
    let mut rows = BTreeMap::new();
    for _ in 0..random.below(60) {
        let event = change(random, &mut rows);
        let value = write(random, &event);
        driver.append(partition.clone(), vec![Record::new(vec![event.key], value)]).unwrap();
        if event.op == "d" && random.below(2) == 0 {
            driver.append(partition.clone(), vec![Record::tombstone(vec![event.key])]).unwrap();
        }
        match random.below(6) {
            0 => _ = driver.epoch(1 + random.index(4)).unwrap(),
            1 => driver.crash().unwrap(),
            2 => _ = driver.drain().unwrap(),
            _ => {}
        }
    }
    driver.run().unwrap();
    assert_eq!(driver.table(&customers).unwrap(), rows);
}

#[test]
fn changes_in_json_become_rows() {
    let mut random = Random::new(millpond_support::environment::seed());
    for _ in 0..40 {
        let codec = DebeziumJson::new().truncates(Truncates::Ignore);
        let events = Topic::with_codec("customers", codec);
        follow(&mut random, &events, |random, event| in_json(event, random.below(2) == 0));
    }
}

#[test]
fn changes_in_avro_become_rows() {
    let mut random = Random::new(millpond_support::environment::seed());
    let server = RegistryServer::start();
    let registry = Registry::new(&server.url).unwrap();
    let id = server.register("customers-value", ENVELOPE, &json!({}));
    for _ in 0..40 {
        let codec = DebeziumAvro::new().unwrap().reading(&registry).truncates(Truncates::Ignore);
        follow(&mut random, &Topic::with_codec("customers", codec), |_, event| in_avro(event, id));
    }
    let asked = format!("GET /schemas/ids/{id}");
    assert_eq!(server.requests().iter().filter(|request| **request == asked).count(), 1);
}

#[test]
fn a_truncation_is_the_failure_of_its_record_unless_it_is_ignored() {
    let events = Topic::<u8, Envelope<Customer>>::with_codec("customers", DebeziumJson::new());
    let graph = GraphBuilder::new();
    let customers: StoredTable<u8, Customer> = graph.debezium_table(&events, "customers");
    let graph = graph.build().unwrap();
    let mut driver = Driver::new(&graph).unwrap();
    let truncated = Event { key: 1, op: "t", before: None, after: None };
    let partition = TopicPartition::new("customers", 0);
    driver.append(partition, vec![Record::new(vec![1], in_json(&truncated, false))]).unwrap();
    let ada = Customer { id: 1, name: "Ada".into(), city: None };
    driver.put(&events, 1, Envelope::put(ada.clone()), 0).unwrap();
    let error = driver.run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    assert!(
        error.to_string().contains("customers/0 offset 0") && error.to_string().contains("was truncated"),
        "{error}"
    );
    let letters = Settings { policy: FailurePolicy::DeadLetter("letters".into()), ..Settings::default() };
    driver.restart_with(letters).unwrap();
    driver.run().unwrap();
    assert_eq!(driver.table(&customers).unwrap(), [(1, ada)].into());
}

#[test]
fn envelopes_are_written_for_others_too() {
    let server = RegistryServer::start();
    let registry = Registry::new(&server.url).unwrap();
    let codec = DebeziumAvro::new().unwrap().registered(&registry, &Subject::value_of("copies")).unwrap();
    let events = Topic::<u8, Envelope<Customer>>::with_codec("customers", DebeziumJson::new());
    let copies = Topic::with_codec("copies", codec);
    let graph = GraphBuilder::new();
    graph.upserts(&events).to_upserts(&copies);
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    let ada = Customer { id: 1, name: "Ada".into(), city: Some("Porto".into()) };
    driver.put(&events, 1, Envelope::put(ada.clone()).at(9), 0).unwrap();
    driver.put(&events, 1, Envelope::delete(), 0).unwrap();
    driver.run().unwrap();
    let written: Vec<_> =
        driver.records(&copies).unwrap().into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(written, [Envelope::put(ada).at(9), Envelope::delete()]);
}
