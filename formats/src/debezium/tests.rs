//! Envelopes are read as connectors write them, and what is no envelope says what it is.

use super::*;
use millpond_engine::codec::ValueCodec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    id: u64,
    name: String,
    #[serde(default)]
    note: Option<String>,
}

fn row(id: u64, name: &str) -> Row {
    Row { id, name: name.to_owned(), note: None }
}

fn read(json: &str) -> Result<Envelope<Row>, CodecError> {
    DebeziumJson::new().decode(json.as_bytes())
}

fn key<K: Serialize + serde::de::DeserializeOwned + 'static>(bytes: &[u8]) -> Result<K, CodecError> {
    DebeziumKey.decode(bytes)
}

fn envelopes() -> impl Strategy<Value = Envelope<(u64, String, Option<i32>)>> {
    let row = || any::<(u64, String, Option<i32>)>();
    let op = prop_oneof![Just(Op::Create), Just(Op::Read), Just(Op::Update), Just(Op::Delete)];
    (proptest::option::of(row()), row(), op, any::<Option<i64>>()).prop_map(|(before, after, op, ts_ms)| {
        let after = (op != Op::Delete).then_some(after);
        Envelope { before, after, op, ts_ms }
    })
}

proptest! {
    #[test]
    fn envelopes_round_trip(envelope in envelopes()) {
        let codec = DebeziumJson::new().with_before();
        let mut bytes = Vec::new();
        codec.encode(&envelope, &mut bytes).unwrap();
        prop_assert_eq!(codec.decode(&bytes).unwrap(), envelope.clone());
        let wrapped = format!(r#"{{"schema": {{"type": "struct"}}, "payload": {}}}"#, String::from_utf8(bytes).unwrap());
        prop_assert_eq!(codec.decode(wrapped.as_bytes()).unwrap(), envelope);
    }

    #[test]
    fn any_text_is_refused_or_read(text in ".*") {
        _ = read(&text);
        _ = key::<u64>(text.as_bytes());
    }
}

/// As the connector of a database writes it, shortened.
const UPDATE: &str = r#"{
    "schema": {"type": "struct", "fields": [], "optional": false, "name": "shop.public.rows.Envelope"},
    "payload": {
        "before": {"id": 7, "name": null, "note": null},
        "after": {"id": 7, "name": "Ada", "note": "new", "column_of_later": 1},
        "source": {"version": "2.5", "connector": "postgresql", "ts_ms": 1, "lsn": 24023128, "payload": 1},
        "transaction": null,
        "op": "u",
        "ts_ms": 1465584025523
    }
}"#;

#[test]
fn what_a_connector_writes_is_read() {
    let update = read(UPDATE).unwrap();
    let after = Row { note: Some("new".into()), ..row(7, "Ada") };
    assert_eq!(
        update,
        Envelope { before: None, after: Some(after), op: Op::Update, ts_ms: Some(1_465_584_025_523) }
    );
    // A `before` that is no row, since the source sends the key alone.
    let update = DebeziumJson::<Row>::new().with_before().decode(UPDATE.as_bytes()).unwrap();
    assert_eq!(update.before, None);
    let delete = read(r#"{"before": {"id": 7}, "after": null, "op": "d", "ts_ms": 2}"#).unwrap();
    assert_eq!(delete.into_upsert(), Some(Upsert::Delete));
    let snapshot = read(r#"{"after": {"id": 1, "name": "Bo"}, "op": "r"}"#).unwrap();
    assert_eq!(snapshot.into_upsert(), Some(Upsert::Put(row(1, "Bo"))));
}

#[test]
fn what_says_nothing_of_a_row_is_told_or_passed_over() {
    let truncate = r#"{"source": {}, "op": "t", "ts_ms": 2}"#;
    let error = read(truncate).unwrap_err().to_string();
    assert!(error.contains("was truncated") && error.contains("Truncates::Ignore"), "{error}");
    let ignoring = DebeziumJson::<Row>::new().truncates(Truncates::Ignore);
    assert_eq!(ignoring.decode(truncate.as_bytes()).unwrap().into_upsert(), None);
    let message = r#"{"op": "m", "message": {"prefix": "p", "content": "cA=="}}"#;
    assert_eq!(read(message).unwrap().into_upsert(), None);
}

#[test]
fn what_is_no_envelope_says_what_it_is() {
    for (json, told) in [
        (r#"{"id": 7, "name": "Ada"}"#, "ExtractNewRecordState"),
        (r#"{"schema": {}, "payload": null}"#, "no `op`"),
        (r#"{"op": "x"}"#, "`x` is no operation"),
        (r#"{"op": "u", "before": {"id": 7}}"#, "no row in `after`"),
        (r#"{"op": "c", "after": {"id": "seven"}}"#, "bad JSON of Debezium"),
        ("7", "bad JSON of Debezium"),
    ] {
        let error = read(json).unwrap_err().to_string();
        assert!(error.contains(told), "{json}: {error}");
    }
}

#[test]
fn a_row_that_would_not_be_read_back_is_not_written() {
    let mut bytes = b"before".to_vec();
    assert!(DebeziumJson::new().encode(&Envelope::put(f64::NAN), &mut bytes).is_err());
    assert!(DebeziumJson::new().encode(&Envelope::put(None::<u8>), &mut bytes).is_err());
    assert_eq!(bytes, b"before");
}

#[test]
fn keys_are_structs_or_their_only_column() {
    let wrapped = br#"{"schema": {"type": "struct"}, "payload": {"id": 7}}"#;
    assert_eq!(key::<u64>(wrapped).unwrap(), 7);
    assert_eq!(key::<String>(br#"{"code": "a"}"#).unwrap(), "a");
    assert_eq!(key::<u64>(b"7").unwrap(), 7);
    // A table may have a column of that name.
    assert_eq!(key::<u64>(br#"{"payload": 3}"#).unwrap(), 3);
    assert!(key::<u64>(br#"{"a": 1, "b": 2}"#).is_err());
    assert!(key::<u64>(b"null").unwrap_err().to_string().contains("another one"));
    let mut bytes = Vec::new();
    DebeziumKey.encode(&row(1, "a"), &mut bytes).unwrap();
    assert_eq!(key::<Row>(&bytes).unwrap(), row(1, "a"));
}

#[cfg(feature = "avro")]
mod in_avro {
    use super::*;
    use crate::avro::AvroSchema;
    use crate::debezium::avro::DebeziumAvro;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema)]
    struct Customer {
        id: i64,
        name: String,
        email: Option<String>,
    }

    /// As a connector registers it, shortened.
    const WRITER: &str = r#"{
        "type": "record", "name": "Envelope", "namespace": "shop.public.customers", "fields": [
            {"name": "before", "type": ["null", {"type": "record", "name": "Value", "fields": [
                {"name": "id", "type": "int"},
                {"name": "name", "type": "string"},
                {"name": "email", "type": ["null", "string"], "default": null}
            ], "connect.name": "shop.public.customers.Value"}], "default": null},
            {"name": "after", "type": ["null", "Value"], "default": null},
            {"name": "source", "type": {"type": "record", "name": "Source", "namespace": "io.debezium", "fields": [
                {"name": "db", "type": "string"},
                {"name": "snapshot", "type": [{"type": "string", "connect.parameters": {"allowed": "true,false"}}, "null"]}
            ]}},
            {"name": "transaction", "type": ["null", {"type": "record", "name": "block", "namespace": "event", "fields": [
                {"name": "id", "type": "string"}
            ]}], "default": null},
            {"name": "op", "type": "string"},
            {"name": "ts_ms", "type": ["null", "long"], "default": null}
        ], "connect.name": "shop.public.customers.Envelope"}"#;

    #[test]
    fn what_a_connector_writes_is_read() {
        let codec = DebeziumAvro::<Customer>::new().unwrap().written_as(WRITER).unwrap();
        let update = b"\x00\x02\x0e\x06Ada\x02\x02@\x08shop\x00\x08true\x00\x02u\x02\x0a";
        let ada = Customer { id: 7, name: "Ada".into(), email: Some("@".into()) };
        let read = codec.decode(update).unwrap();
        assert_eq!(read, Envelope { before: None, after: Some(ada.clone()), op: Op::Update, ts_ms: Some(5) });
        let delete = b"\x02\x0e\x06Ada\x02\x02@\x00\x08shop\x02\x02\x02x\x02d\x00";
        let read = codec.decode(delete).unwrap();
        assert_eq!(read, Envelope { before: Some(ada), after: None, op: Op::Delete, ts_ms: None });
    }

    #[test]
    fn envelopes_round_trip() {
        let codec = DebeziumAvro::<Customer>::new().unwrap();
        let ada = Customer { id: 7, name: "Ada".into(), email: None };
        for envelope in [Envelope::put(ada.clone()).at(9), Envelope::delete(), Envelope::put(ada)] {
            let mut bytes = Vec::new();
            codec.encode(&envelope, &mut bytes).unwrap();
            assert_eq!(codec.decode(&bytes).unwrap(), envelope);
        }
    }
}
