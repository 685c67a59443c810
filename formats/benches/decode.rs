//! Decoding a small record in every format, beside JSON and the default codec.
//!
//! Ways take turns, round after round, and each reports its best, so that all of them meet the same machine. The record is one of
//! an order: a number, two texts, a float, an optional text. `avro` reads it in its own schema; `avro_older` what was written
//! in a schema with fewer and narrower fields.

use millpond::codec::{Bincode, Json, ValueCodec};
use millpond_formats::avro::{Avro, AvroSchema, AvroValue};
use millpond_formats::debezium::{DebeziumJson, Envelope};
use millpond_formats::protobuf::Protobuf;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::time::Instant;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema)]
struct Order {
    id: i64,
    item: String,
    city: String,
    price: f64,
    note: Option<String>,
}

const OLDER: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "id", "type": "int"}, {"name": "item", "type": "string"}, {"name": "city", "type": "string"},
    {"name": "price", "type": "float"}]}"#;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn order() -> Order {
    Order {
        id: 123_456,
        item: "a pound of tea".to_owned(),
        city: "Lisbon".to_owned(),
        price: 4.5,
        note: Some("soon".to_owned()),
    }
}

const ROUNDS: usize = 7;

/// A way, with its best time so far, in nanoseconds.
struct Way<'w> {
    name: &'static str,
    bytes: usize,
    run: Box<dyn Fn(usize) + 'w>,
    best_ns: f64,
}

fn decoding<'w, V: 'w>(name: &'static str, codec: &'w impl ValueCodec<V>, bytes: Vec<u8>) -> Way<'w> {
    let length = bytes.len();
    let run = move |count| {
        for _ in 0..count {
            _ = black_box(codec.decode(black_box(&bytes)));
        }
    };
    Way { name, bytes: length, run: Box::new(run), best_ns: f64::MAX }
}

fn encoded<V>(codec: &impl ValueCodec<V>, value: &V) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes)?;
    codec.decode(&bytes)?;
    Ok(bytes)
}

fn main() -> Outcome<()> {
    let count = if std::env::args().any(|arg| arg == "--short") { 10_000 } else { 500_000 };
    let tea = order();
    let avro = Avro::<Order>::new()?;
    let of_older = avro.clone().written_as(OLDER)?;
    let generic = AvroValue::with_schema(avro.schema())?;
    let text = Protobuf::<String>::named("google.protobuf.StringValue");
    let debezium = DebeziumJson::<Order>::new();
    let avro_bytes = encoded(&avro, &tea)?;
    // The note is gone, the number is as it was, and the price is a float.
    let price = avro_bytes.len() - 8 - 6;
    let mut older_bytes = avro_bytes.get(..price).unwrap_or_default().to_vec();
    older_bytes.extend(4.5_f32.to_le_bytes());
    of_older.decode(&older_bytes)?;
    let mut ways = [
        decoding::<Order>("bincode", &Bincode, encoded(&Bincode, &tea)?),
        decoding::<Order>("json", &Json, encoded(&Json, &tea)?),
        decoding("avro", &avro, avro_bytes.clone()),
        decoding("avro_older", &of_older, older_bytes),
        decoding("avro_value", &generic, avro_bytes),
        decoding("protobuf_text", &text, encoded(&text, &tea.item)?),
        decoding("debezium_json", &debezium, encoded(&debezium, &Envelope::put(tea.clone()))?),
    ];
    for _ in 0..ROUNDS {
        for way in &mut ways {
            let begun = Instant::now();
            (way.run)(count);
            #[expect(clippy::cast_precision_loss, reason = "a time needs no more than 52 bits")]
            let each = begun.elapsed().as_nanos() as f64 / count as f64;
            way.best_ns = way.best_ns.min(each);
        }
    }
    let [bincode, json, ..] = &ways;
    let [bincode, json] = [bincode.best_ns, json.best_ns];
    let mut figures = Map::new();
    for Way { name, bytes, best_ns, .. } in &ways {
        let rounded = |number: f64| (number * 100.0).round() / 100.0;
        let figure: Value = json!({
            "bytes": bytes,
            "decode_ns": rounded(*best_ns),
            "vs_bincode": rounded(best_ns / bincode),
            "vs_json": rounded(best_ns / json),
        });
        figures.insert((*name).to_owned(), figure);
    }
    println!("{}", Value::Object(figures));
    Ok(())
}
