//! A schema registry is asked once for each schema, at any of its addresses, and what it refuses is told with what to do.
//!
//! Method: a registry of the test's own that counts, refuses, is away, and comes back.
#![cfg(feature = "registry")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod registry_server;

use millpond::ErrorKind;
use millpond_formats::registry::{Reference, Registry, SchemaKind};
use millpond_support::waiting::Weir;
use registry_server::RegistryServer;
use serde_json::json;
use std::time::Duration;

const ORDER: &str = r#"{"type": "record", "name": "Order", "fields": []}"#;

fn refused<T: std::fmt::Debug>(result: millpond::Result<T>, kind: ErrorKind, told: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for told in told {
        assert!(error.to_string().contains(told), "`{told}` is not said: {error}");
    }
}

#[test]
fn a_schema_is_asked_for_once() {
    let server = RegistryServer::start();
    let registry = Registry::new(&server.url).unwrap();
    let id = registry.register("a topic/with signs-value", SchemaKind::Avro, ORDER, &[]).unwrap();
    for _ in 0..3 {
        let registry = registry.clone();
        assert_eq!(registry.register("a topic/with signs-value", SchemaKind::Avro, ORDER, &[]).unwrap(), id);
        assert_eq!(registry.schema(id).unwrap().unwrap().text, ORDER);
    }
    assert_eq!(
        server.requests(),
        [
            "POST /subjects/a%20topic%2Fwith%20signs-value/versions".to_owned(),
            format!("GET /schemas/ids/{id}")
        ]
    );
    assert_eq!(registry.schema(99).unwrap(), None);
    assert_eq!(registry.look_up("a topic/with signs-value", SchemaKind::Avro, ORDER, &[]).unwrap(), id);
    let (latest, _) = registry.latest("a topic/with signs-value").unwrap().unwrap();
    assert_eq!((latest, registry.latest("nothing").unwrap()), (id, None));
}

#[test]
fn what_a_schema_refers_to_comes_with_it() {
    let server = RegistryServer::start();
    server.register("city", "city", &json!({}));
    let to_city = json!({"references": [{"name": "City", "subject": "city", "version": 1}]});
    server.register("address", "address", &to_city);
    let registry = Registry::new(&server.url).unwrap();
    let references = [Reference::new("City", "city", 1), Reference::new("Address", "address", 1)];
    let id = registry.register("person", SchemaKind::Protobuf, "person", &references).unwrap();
    let schema = registry.schema(id).unwrap().unwrap();
    assert_eq!((schema.kind, &*schema.text), (SchemaKind::Protobuf, "person"));
    assert_eq!(schema.referenced, ["city", "address"]);
}

#[test]
fn a_refusal_says_what_the_registry_says() {
    let server = RegistryServer::start();
    let registry = Registry::new(&server.url).unwrap();
    registry.register("orders-value", SchemaKind::Avro, ORDER, &[]).unwrap();
    server.with(|state| state.strict = true);
    let other = registry.register("orders-value", SchemaKind::Avro, r#""int""#, &[]);
    refused(
        other,
        ErrorKind::Invalid,
        &["orders-value", "not compatible", "READER_FIELD_MISSING_DEFAULT_VALUE"],
    );
    refused(registry.register("x", SchemaKind::Avro, "", &[]), ErrorKind::Invalid, &["Invalid schema"]);
    let absent = registry.look_up("orders-value", SchemaKind::Avro, r#""int""#, &[]);
    refused(absent, ErrorKind::Invalid, &["does not have the schema for `orders-value`", "register it"]);
}

#[test]
fn whoever_is_not_let_in_is_told_how() {
    let server = RegistryServer::start();
    server.with(|state| state.authorization = Some("Basic bWlsbDpzZWNyZXQ=".to_owned()));
    let open = || Registry::options(&server.url);
    refused(open().open().unwrap().schema(1), ErrorKind::Invalid, &["`basic_auth` or `bearer`"]);
    refused(
        open().bearer("no").open().unwrap().schema(1),
        ErrorKind::Invalid,
        &["does not allow", "granted"],
    );
    assert_eq!(open().basic_auth("mill", "secret").open().unwrap().schema(1).unwrap(), None);
    server.with(|state| state.authorization = Some("Bearer token".to_owned()));
    assert_eq!(open().bearer("token").open().unwrap().schema(1).unwrap(), None);
    let shown = format!("{:?}", open().basic_auth("mill", "secret").bearer("token"));
    assert!(!shown.contains("secret") && !shown.contains("token"), "{shown}");
}

#[test]
fn the_next_address_is_asked_where_one_is_away() {
    let (away, server) = (RegistryServer::start(), RegistryServer::start());
    away.with(|state| state.away = true);
    server.register("orders", ORDER, &json!({}));
    let registry = Registry::new(&format!("{}, {}/", away.url, server.url)).unwrap();
    assert_eq!(registry.schema(1).unwrap().unwrap().text, ORDER);
    // The one that answered is asked first from now on.
    assert_eq!(registry.schema(2).unwrap_err().kind(), ErrorKind::Unavailable, "the other one might have it");
    away.with(|state| state.away = false);
    assert_eq!(registry.schema(2).unwrap(), None);
    server.with(|state| state.answers = Some((503, "<html>busy</html>".to_owned())));
    away.with(|state| state.answers = Some((200, "<html>welcome</html>".to_owned())));
    let told = [
        "schema 3",
        &away.url,
        &server.url,
        "status 503: <html>busy</html>",
        "not that of a schema registry",
    ];
    refused(registry.schema(3), ErrorKind::Unavailable, &told);
}

#[test]
fn a_slow_answer_is_not_waited_for_beyond_the_limit() {
    let server = RegistryServer::start();
    let weir = Weir::default();
    let _open = weir.opens_at_the_end();
    server.with(|state| state.slow = Some(weir.clone()));
    let registry = Registry::options(&server.url).timeout(Duration::from_millis(50)).open().unwrap();
    refused(registry.schema(1), ErrorKind::Unavailable, &["timeout"]);
}

#[test]
fn what_is_no_address_is_refused() {
    for (urls, told) in [
        ("", "needs an address"),
        ("registry:8081", "no address of a schema registry"),
        ("http://", "no address of a schema registry"),
        ("http://mill:secret@registry", "`basic_auth`"),
    ] {
        let error = Registry::new(urls).unwrap_err();
        assert!(error.to_string().contains(told) && !error.to_string().contains("secret"), "{error}");
    }
    let no_pem = Registry::options("https://registry").root_certificates(b"none").open();
    refused(no_pem, ErrorKind::Invalid, &["no certificate"]);
}
