//! What is written is read back, older and newer schemas are read by Avro's rules, and hostile bytes are refused.

use super::*;
use apache_avro::Schema;
use apache_avro::types::Value;
use millpond_support::random::Random;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema)]
enum Color {
    Red,
    Green,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema)]
struct Inner0 {
    text: String,
    number: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema)]
struct Everything {
    flag: bool,
    int: i32,
    long: i64,
    float: f32,
    double: f64,
    text: String,
    #[avro(with)]
    #[serde(with = "apache_avro::serde::bytes")]
    bytes: Vec<u8>,
    list: Vec<i64>,
    map: HashMap<String, i32>,
    maybe: Option<String>,
    inner: Inner0,
    many: Vec<Inner0>,
    color: Color,
}

fn everything() -> impl Strategy<Value = Everything> {
    let inner = || (".*", any::<Option<i32>>()).prop_map(|(text, number)| Inner0 { text, number });
    let numbers = (any::<bool>(), any::<i32>(), any::<i64>(), -1e9..1e9_f32, -1e9..1e9_f64);
    let rest = (
        ".*",
        any::<Vec<u8>>(),
        any::<Vec<i64>>(),
        proptest::collection::hash_map(".*", any::<i32>(), 0..4),
        proptest::option::of(".*"),
        inner(),
        proptest::collection::vec(inner(), 0..4),
        prop_oneof![Just(Color::Red), Just(Color::Green)],
    );
    (numbers, rest).prop_map(|((flag, int, long, float, double), rest)| {
        let (text, bytes, list, map, maybe, inner, many, color) = rest;
        Everything { flag, int, long, float, double, text, bytes, list, map, maybe, inner, many, color }
    })
}

proptest! {
    #[test]
    fn values_round_trip(value in everything()) {
        let codec = Avro::<Everything>::new().unwrap();
        let mut bytes = b"before".to_vec();
        codec.encode(&value, &mut bytes).unwrap();
        prop_assert_eq!(codec.decode(&bytes[6..]).unwrap(), value.clone());
        prop_assert!(codec.decode(&[&bytes[6..], &[0]].concat()).is_err(), "trailing bytes");
        prop_assert!(codec.decode(&bytes[6..bytes.len() - 1]).is_err(), "cut short");
        // The same by way of another schema, whose fields stand in the order of their names and which has one more.
        let mut schema: Json = serde_json::from_str(codec.schema()).unwrap();
        let fields = schema["fields"].as_array_mut().unwrap();
        fields.sort_by_key(|field| field["name"].to_string());
        fields.insert(3, json!({"name": "later", "type": "string", "default": ""}));
        hoist(&mut schema);
        let later = AvroValue::with_schema(&schema.to_string()).unwrap();
        let Value::Record(mut known) = codec_value(&codec, &bytes[6..]) else { panic!("a record") };
        known.push(("later".to_owned(), Value::String("new".to_owned())));
        let order = |name: &str| fields_of(&schema).iter().position(|known| known == name);
        known.sort_by_key(|(name, _)| order(name));
        let mut written = Vec::new();
        later.encode(&Value::Record(known), &mut written).unwrap();
        let read = codec.clone().written_as(&schema.to_string()).unwrap().decode(&written).unwrap();
        prop_assert_eq!(read, value);
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in any::<Vec<u8>>(), value in everything(), at in any::<usize>(), to in any::<u8>()) {
        let codec = Avro::<Everything>::new().unwrap();
        _ = codec.decode(&bytes);
        let mut damaged = Vec::new();
        codec.encode(&value, &mut damaged).unwrap();
        let at = at % damaged.len();
        damaged[at] = to;
        _ = codec.decode(&damaged);
        for (writer, reader) in [(LIST, LIST), (PEOPLE, NEWER_PEOPLE)] {
            let codec = AvroValue::with_schema(reader).unwrap().written_as(writer).unwrap();
            _ = codec.decode(&bytes);
            _ = codec.decode(&damaged);
        }
    }

    /// Schemas and values made up together with what should come of them.
    #[test]
    fn older_values_are_read_as_newer_schemas_have_it(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let Case { writer, reader, written, read } = Maker { random: &mut random, names: 0 }.case(4);
        let schema = Schema::parse_str(&writer.to_string()).unwrap();
        let mut bytes = Vec::new();
        AvroValue::with_schema(&writer.to_string()).unwrap().encode(&written, &mut bytes).unwrap();
        let codec = AvroValue::with_schema(&reader.to_string()).unwrap().written_as(&writer.to_string()).unwrap();
        let result = codec.decode(&bytes);
        prop_assert_eq!(result.map_err(|error| error.to_string()), Ok(read), "{} as {}", writer, reader);
        Plan::identity(&schema).check(&bytes).unwrap();
    }
}

/// Named types are defined where they are met first.
fn hoist(schema: &mut Json) {
    let inner = r#"{"type": "record", "name": "Inner0", "fields": [
        {"name": "text", "type": "string"}, {"name": "number", "type": ["null", "int"]}]}"#;
    let inner: Json = serde_json::from_str(inner).unwrap();
    for field in schema["fields"].as_array_mut().unwrap() {
        match field["name"].as_str().unwrap() {
            "inner" => field["type"] = inner.clone(),
            "many" => field["type"] = json!({"type": "array", "items": "Inner0"}),
            _ => {}
        }
    }
}

fn fields_of(schema: &Json) -> Vec<String> {
    schema["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["name"].as_str().unwrap().to_owned())
        .collect()
}

fn codec_value(codec: &Avro<Everything>, bytes: &[u8]) -> Value {
    AvroValue::with_schema(codec.schema()).unwrap().decode(bytes).unwrap()
}

const LIST: &str = r#"{"type": "record", "name": "List", "fields": [
    {"name": "next", "type": ["null", "List"]}, {"name": "nothing", "type": {"type": "array", "items": "null"}}]}"#;
const PEOPLE: &str = r#"{"type": "array", "items": {"type": "record", "name": "Person", "fields": [
    {"name": "age", "type": "int"}, {"name": "name", "type": "string"}]}}"#;
const NEWER_PEOPLE: &str = r#"{"type": "array", "items": {"type": "record", "name": "Person", "fields": [
    {"name": "name", "type": "bytes"}, {"name": "age", "type": "double"},
    {"name": "note", "type": "string", "default": "none so far"}]}}"#;

/// A value as it was written, and as it should be read.
struct Case {
    writer: Json,
    reader: Json,
    written: Value,
    read: Value,
}

struct Maker<'r> {
    random: &'r mut Random,
    names: u32,
}

impl Maker<'_> {
    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    fn case(&mut self, deep: u32) -> Case {
        let kinds = if deep == 0 { 2 } else { 6 };
        match self.random.below(kinds) {
            0 => self.leaf(),
            1 => self.symbol(),
            2 => self.record(deep - 1),
            3 => self.list(deep - 1),
            4 => self.map(deep - 1),
            _ => self.union(deep - 1),
        }
    }

    fn leaf(&mut self) -> Case {
        let small = i16::try_from(self.random.below(2_000)).unwrap() - 1_000;
        let int = i32::from(small);
        let text = ["", "tea", "ü"][self.random.index(3)].to_owned();
        let bytes = || text.clone().into_bytes();
        let (writer, reader, written, read) = match self.random.below(12) {
            0 => ("null", "null", Value::Null, Value::Null),
            1 => ("boolean", "boolean", Value::Boolean(int > 0), Value::Boolean(int > 0)),
            2 => ("int", "int", Value::Int(int), Value::Int(int)),
            3 => ("int", "long", Value::Int(int), Value::Long(int.into())),
            4 => ("int", "float", Value::Int(int), Value::Float(small.into())),
            5 => ("int", "double", Value::Int(int), Value::Double(int.into())),
            6 => ("long", "double", Value::Long(int.into()), Value::Double(int.into())),
            7 => ("long", "float", Value::Long(int.into()), Value::Float(small.into())),
            8 => ("float", "double", Value::Float(small.into()), Value::Double(int.into())),
            9 => ("string", "bytes", Value::String(text.clone()), Value::Bytes(bytes())),
            10 => ("bytes", "string", Value::Bytes(bytes()), Value::String(text.clone())),
            _ => ("string", "string", Value::String(text.clone()), Value::String(text.clone())),
        };
        Case { writer: json!(writer), reader: json!(reader), written, read }
    }

    fn symbol(&mut self) -> Case {
        let name = self.name("Enum");
        let number = self.random.index(3);
        let symbol = ["A", "B", "C"][number];
        let written = Value::Enum(u32::try_from(number).unwrap(), symbol.to_owned());
        // The reader has them in another order and does not know C.
        let read = match symbol {
            "A" => Value::Enum(2, "A".to_owned()),
            "B" => Value::Enum(1, "B".to_owned()),
            _ => Value::Enum(0, "other".to_owned()),
        };
        Case {
            writer: json!({"type": "enum", "name": name, "symbols": ["A", "B", "C"]}),
            reader: json!({"type": "enum", "name": name, "symbols": ["other", "B", "A"], "default": "other"}),
            written,
            read,
        }
    }

    fn record(&mut self, deep: u32) -> Case {
        let name = self.name("Record");
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        let (mut written, mut read) = (Vec::new(), Vec::new());
        for number in 0..self.random.below(4) {
            let field = format!("f{number}");
            let case = self.case(deep);
            match self.random.below(5) {
                // Not read.
                0 => {}
                1 => {
                    readers.push(
                        json!({"name": format!("new{number}"), "aliases": [field], "type": case.reader}),
                    );
                    read.push((format!("new{number}"), case.read));
                }
                _ => {
                    readers.push(json!({"name": field, "type": case.reader}));
                    read.push((field.clone(), case.read));
                }
            }
            writers.push(json!({"name": field, "type": case.writer}));
            written.push((field, case.written));
        }
        if self.random.below(2) == 0 {
            let at = self.random.index(readers.len() + 1);
            readers.insert(at, json!({"name": "later", "type": ["null", "int"], "default": null}));
            read.insert(at, ("later".to_owned(), Value::Union(0, Box::new(Value::Null))));
        }
        // What defines a name has to come first, so the order is changed where nothing is named.
        let flat = !readers
            .iter()
            .any(|field| field.to_string().contains("\"name\":\"Rec") || field.to_string().contains("Enum"));
        if flat && self.random.below(2) == 0 {
            readers.reverse();
            read.reverse();
        }
        Case {
            writer: json!({"type": "record", "name": name, "fields": writers}),
            reader: json!({"type": "record", "name": name, "fields": readers}),
            written: Value::Record(written),
            read: Value::Record(read),
        }
    }

    fn list(&mut self, deep: u32) -> Case {
        let Case { writer, reader, written, read } = self.case(deep);
        let count = self.random.index(3);
        Case {
            writer: json!({"type": "array", "items": writer}),
            reader: json!({"type": "array", "items": reader}),
            written: Value::Array(vec![written; count]),
            read: Value::Array(vec![read; count]),
        }
    }

    fn map(&mut self, deep: u32) -> Case {
        let Case { writer, reader, written, read } = self.case(deep);
        let keys = ["a", "b"].iter().take(self.random.index(3));
        let of =
            |value: &Value| Value::Map(keys.clone().map(|key| ((*key).to_owned(), value.clone())).collect());
        Case {
            writer: json!({"type": "map", "values": writer}),
            reader: json!({"type": "map", "values": reader}),
            written: of(&written),
            read: of(&read),
        }
    }

    /// A value that becomes optional, or was and stays so.
    fn union(&mut self, deep: u32) -> Case {
        let case = self.case(deep);
        let is = |schema: &Json, what: &str| schema == what || schema.is_array();
        if is(&case.writer, "null") || is(&case.reader, "null") {
            return case;
        }
        let some = |at: u32, value: &Value| Value::Union(at, Box::new(value.clone()));
        let Case { writer, reader, written, read } = case;
        match self.random.below(3) {
            0 => Case { reader: json!(["null", reader]), read: some(1, &read), writer, written },
            1 => Case {
                // As it was there, it can be read as what is always there.
                writer: json!(["null", writer]),
                written: some(1, &written),
                reader,
                read,
            },
            _ => Case {
                writer: json!(["null", writer]),
                reader: json!([reader, "null"]),
                written: some(1, &written),
                read: some(0, &read),
            },
        }
    }
}

fn read_as(writer: &str, written: &Value, reader: &str) -> Result<Value, String> {
    let mut bytes = Vec::new();
    AvroValue::with_schema(writer).unwrap().encode(written, &mut bytes).unwrap();
    let codec = AvroValue::with_schema(reader).unwrap().written_as(writer).unwrap();
    codec.decode(&bytes).map_err(|error| error.to_string())
}

fn record(name: &str, fields: &str) -> String {
    format!(r#"{{"type": "record", "name": "{name}", "fields": [{fields}]}}"#)
}

fn of(fields: &[(&str, Value)]) -> Value {
    Value::Record(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

#[test]
fn what_does_not_resolve_is_refused_with_the_reason() {
    let cases = [
        (r#""long""#, Value::Long(1), r#""int""#, "written as long and cannot be read as int"),
        (r#""string""#, Value::String("1".into()), r#""long""#, "cannot be read as long"),
        (r#""double""#, Value::Double(1.0), r#""float""#, "cannot be read as float"),
        (r#"["null", "string"]"#, Value::Union(0, Box::new(Value::Null)), r#""string""#, "written as null"),
    ];
    for (writer, value, reader, told) in cases {
        let error = read_as(writer, &value, reader).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
    let [old, new] = [r#"{"name": "a", "type": "int"}"#, r#"{"name": "b", "type": "int"}"#]
        .map(|field| record("R", field));
    let error = read_as(&old, &of(&[("a", Value::Int(1))]), &new).unwrap_err();
    assert!(error.contains("field `b` of `R` was not written, and has no default"), "{error}");
    let error = read_as(&old, &of(&[("a", Value::Int(1))]), &record("Other", "")).unwrap_err();
    assert!(error.contains("record `R` and cannot be read as record `Other`"), "{error}");
    let symbols = |symbols: &str| format!(r#"{{"type": "enum", "name": "E", "symbols": [{symbols}]}}"#);
    let error =
        read_as(&symbols(r#""A", "B""#), &Value::Enum(1, "B".into()), &symbols(r#""A""#)).unwrap_err();
    assert!(error.contains("`B` is no symbol of enum `E`"), "{error}");
    let decimal =
        |scale| format!(r#"{{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": {scale}}}"#);
    let cents = Value::Decimal(apache_avro::Decimal::from(vec![1, 0]));
    assert!(read_as(&decimal(2), &cents, &decimal(3)).is_err());
    assert_eq!(read_as(&decimal(2), &cents, &decimal(2)), Ok(cents));
    // Of a branch that cannot be read only those values fail that are of it.
    let union = r#"["string", "int"]"#;
    assert_eq!(read_as(union, &Value::Union(1, Box::new(Value::Int(3))), r#""long""#), Ok(Value::Long(3)));
    assert!(read_as(union, &Value::Union(0, Box::new(Value::String("3".into()))), r#""long""#).is_err());
}

#[test]
fn a_branch_is_known_by_what_was_written_and_not_by_what_it_looks_like() {
    let field = r#"{"name": "x", "type": "int"}"#;
    let [a, b] = [record("A", field), record("B", field)];
    let more = r#"{"name": "x", "type": "long"}, {"name": "y", "type": "int", "default": 0}"#;
    let [newer_a, newer_b] = [record("A", more), record("B", more)];
    let written = Value::Union(1, Box::new(of(&[("x", Value::Int(5))])));
    let read = read_as(&format!("[{a}, {b}]"), &written, &format!("[{newer_a}, {newer_b}]"));
    assert_eq!(read, Ok(Value::Union(1, Box::new(of(&[("x", Value::Long(5)), ("y", Value::Int(0))])))));
    let swapped = read_as(&format!("[{a}, {b}]"), &written, &format!("[{newer_b}, {newer_a}]"));
    assert_eq!(swapped, Ok(Value::Union(0, Box::new(of(&[("x", Value::Long(5)), ("y", Value::Int(0))])))));
}

#[test]
fn a_type_that_is_defined_in_what_is_no_longer_read_is_known() {
    let point = r#"{"type": "record", "name": "Point", "fields": [{"name": "x", "type": "int"}]}"#;
    let writer =
        record("Line", &format!(r#"{{"name": "from", "type": {point}}}, {{"name": "to", "type": "Point"}}"#));
    let reader = record("Line", &format!(r#"{{"name": "to", "type": {point}}}"#));
    let [from, to] = [1, 2].map(|x| of(&[("x", Value::Int(x))]));
    let read = read_as(&writer, &of(&[("from", from), ("to", to.clone())]), &reader);
    assert_eq!(read, Ok(of(&[("to", to)])));
}

#[test]
fn names_matter_without_their_namespaces_or_not_at_all() {
    let field = r#"{"name": "x", "type": "int"}"#;
    let value = of(&[("x", Value::Int(1))]);
    assert_eq!(
        read_as(&record("com.acme.R", field), &value, &record("org.other.R", field)),
        Ok(value.clone())
    );
    let aliased =
        format!(r#"{{"type": "record", "name": "S", "aliases": ["com.acme.R"], "fields": [{field}]}}"#);
    assert_eq!(read_as(&record("com.acme.R", field), &value, &aliased), Ok(value.clone()));
    let codec = AvroValue::with_schema(&record("S", field)).unwrap().any_names();
    assert_eq!(codec.written_as(&record("R", field)).unwrap().decode(&[2]), Ok(value));
}

#[test]
fn defaults_of_every_type_are_read() {
    let fields = r#"
        {"name": "flag", "type": "boolean", "default": true},
        {"name": "int", "type": "int", "default": -3},
        {"name": "double", "type": "double", "default": 1},
        {"name": "bytes", "type": "bytes", "default": "\u00ff\u0000"},
        {"name": "fixed", "type": {"type": "fixed", "name": "Two", "size": 2}, "default": "ab"},
        {"name": "list", "type": {"type": "array", "items": "long"}, "default": [1, 2]},
        {"name": "map", "type": {"type": "map", "values": "string"}, "default": {"a": "b"}},
        {"name": "symbol", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}, "default": "B"},
        {"name": "union", "type": ["long", "null"], "default": 7},
        {"name": "inner", "type": {"type": "record", "name": "In", "fields": [
            {"name": "x", "type": "int", "default": 9}, {"name": "y", "type": "int"}]}, "default": {"y": 1}}
    "#;
    let read = read_as(&record("R", ""), &of(&[]), &record("R", fields)).unwrap();
    let map = HashMap::from([("a".to_owned(), Value::String("b".into()))]);
    let expected = of(&[
        ("flag", Value::Boolean(true)),
        ("int", Value::Int(-3)),
        ("double", Value::Double(1.0)),
        ("bytes", Value::Bytes(vec![255, 0])),
        ("fixed", Value::Fixed(2, b"ab".to_vec())),
        ("list", Value::Array(vec![Value::Long(1), Value::Long(2)])),
        ("map", Value::Map(map)),
        ("symbol", Value::Enum(1, "B".into())),
        ("union", Value::Union(0, Box::new(Value::Long(7)))),
        ("inner", of(&[("x", Value::Int(9)), ("y", Value::Int(1))])),
    ]);
    assert_eq!(read, expected);
}

#[test]
fn logical_types_are_read() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Event {
        id: String,
        at: i64,
        day: i32,
    }
    let fields = r#"
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}}"#;
    let codec = Avro::<Event>::with_schema(&record("Event", fields)).unwrap();
    let event =
        Event { id: "00000000-0000-0000-0000-000000000007".into(), at: 1_700_000_000_000, day: 19_000 };
    let mut bytes = Vec::new();
    codec.encode(&event, &mut bytes).unwrap();
    assert_eq!(codec.decode(&bytes).unwrap(), event);
}

#[test]
fn lengths_that_lie_and_nesting_without_end_are_refused() {
    let list = AvroValue::with_schema(LIST).unwrap();
    // Nested as deep as there are bytes.
    let error = list.decode(&vec![2; 1_000_000]).unwrap_err().to_string();
    assert!(error.contains("nested deeper"), "{error}");
    // So many nothings as a number can say.
    let nothings = [0, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 0];
    let error = list.decode(&nothings).unwrap_err().to_string();
    assert!(error.contains("longer than what is left"), "{error}");
    let text = Avro::<String>::with_schema(r#""string""#).unwrap();
    let error = text.decode(&[0xFE, 0xFF, 0xFF, 0xFF, 0x0F, b'a']).unwrap_err().to_string();
    assert!(error.contains("ends too early"), "{error}");
    assert!(text.decode(&[1]).is_err(), "a negative length");
    assert!(text.decode(&[0xFF; 11]).is_err(), "a number without end");
    // Defaults without end: many records of no bytes, each with a large default.
    let large = "x".repeat(10_000);
    let newer = format!(
        r#"{{"type": "array", "items": {{"type": "record", "name": "R", "fields": [
            {{"name": "x", "type": "string", "default": "{large}"}}]}}}}"#
    );
    let older = format!(r#"{{"type": "array", "items": {}}}"#, record("R", ""));
    let codec = AvroValue::with_schema(&newer).unwrap().written_as(&older).unwrap();
    let mut bomb = Vec::new();
    transcode::put_long(60_000, &mut bomb);
    bomb.push(0);
    assert!(codec.decode(&bomb).unwrap_err().to_string().contains("becomes larger"));
}

#[test]
fn what_topics_and_tables_remember_tells_types_apart() {
    let shape = |schema: &str| AvroValue::with_schema(schema).unwrap().shape().unwrap();
    let one = record("R", r#"{"name": "a", "type": "int"}"#);
    let documented = record("R", r#"{"name": "a", "type": "int", "doc": "a number"}"#);
    assert_eq!(shape(&one), shape(&documented));
    assert_ne!(shape(&one), shape(&record("R", r#"{"name": "a", "type": "long"}"#)));
    assert_ne!(shape(&one), shape(&record("S", r#"{"name": "a", "type": "int"}"#)));
    let decimal =
        |scale| format!(r#"{{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": {scale}}}"#);
    assert_ne!(shape(&decimal(2)), shape(&decimal(3)));
    assert_eq!(
        ValueCodec::<Value>::shape(&AvroValue::with_schema(&one).unwrap()).unwrap().to_string(),
        "avro R 22f35f0f38155bd3"
    );
}

#[test]
fn a_value_that_is_not_of_the_schema_is_not_written() {
    let codec =
        Avro::<BTreeMap<String, String>>::with_schema(&record("R", r#"{"name": "a", "type": "int"}"#))
            .unwrap();
    let mut bytes = b"before".to_vec();
    assert!(codec.encode(&BTreeMap::from([("a".into(), "no int".into())]), &mut bytes).is_err());
    assert_eq!(bytes, b"before");
    assert!(Avro::<u8>::with_schema("{").unwrap_err().to_string().contains("Avro schema"));
}
