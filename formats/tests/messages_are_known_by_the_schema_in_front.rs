//! Messages of Protobuf with a registry: what is written has the id of its schema, and is read without asking anybody.
//!
//! Method: a graph that copies messages from one topic to another, with a registry of the test's own that is away by then.
#![cfg(all(feature = "protobuf", feature = "registry"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod registry_server;

use millpond::codec::{Raw, ValueCodec};
use millpond::testing::Driver;
use millpond::{ErrorKind, GraphBuilder, TableOptions, Topic};
use millpond_formats::protobuf::Protobuf;
use millpond_formats::registry::{Registry, Subject};
use registry_server::RegistryServer;

const PROTO: &str = "syntax = \"proto3\"; message Word { string value = 1; }";

fn word() -> Protobuf<String> {
    Protobuf::named("acme.Word")
}

#[test]
fn messages_are_known_by_the_schema_in_front() {
    let server = RegistryServer::start();
    let registry = Registry::new(&server.url).unwrap();
    let registered = word().registered(&registry, &Subject::Record, PROTO, &[], &[0]).unwrap();
    assert_eq!(server.requests(), ["POST /subjects/acme.Word/versions"]);
    let known = word().looked_up(&registry, &Subject::Record, PROTO, &[], &[0]).unwrap();
    let absent = word().looked_up(&registry, &Subject::record_of("words"), PROTO, &[], &[0]);
    assert_eq!(absent.unwrap_err().kind(), ErrorKind::Invalid);
    server.with(|state| state.away = true);

    let words = Topic::<u8, String>::with_codec("words", registered);
    let copies = Topic::with_codec("copies", known);
    let graph = GraphBuilder::new();
    let stream = graph.stream(&words);
    stream.to(&copies);
    // What needs no schema to be read may be kept in a table.
    let latest = stream.to_table(TableOptions::with_codec("latest", word()));
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    driver.put(&words, 1, "tea".to_owned(), 0).unwrap();
    driver.run().unwrap();
    assert_eq!(driver.table(&latest).unwrap()[&1], "tea");
    let raw = driver.records(&Topic::<u8, Vec<u8>>::with_codec("copies", Raw)).unwrap();
    assert_eq!(raw[0].value.as_deref(), Some(&b"\0\0\0\0\x01\0\x0a\x03tea"[..]));
    assert_eq!(word().reading(&[0]).decode(b"\0\0\0\0\x63\0\x0a\x03tea").unwrap(), "tea");
}
