//! Keys: a row's key as a struct of its columns, with and without a `schema` beside it.

use millpond_engine::codec::{CodecError, Json, Shape, ValueCodec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Keys of Debezium in JSON: `{"id": 7}`, or `{"schema": .., "payload": {"id": 7}}`.
///
/// A key type is a struct with the names of the columns; where the key is one column, it is also the type of that, which is
/// then written by itself. It is a codec for the keys of a topic. Keys in Avro need none of their own: they are structs
/// in [`Avro`](crate::avro::Avro), whose record the connector has named ([`any_names`](crate::avro::Avro::any_names)).
///
/// # Examples
/// ```
/// use millpond::codec::ValueCodec;
/// use millpond_formats::debezium::DebeziumKey;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Line {
///     order: u64,
///     line: u32,
/// }
///
/// let key: u64 = DebeziumKey.decode(br#"{"id": 7}"#)?;
/// assert_eq!(key, 7);
/// let key: Line = DebeziumKey.decode(br#"{"schema": {"type": "struct"}, "payload": {"order": 7, "line": 2}}"#)?;
/// assert_eq!(key, Line { order: 7, line: 2 });
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DebeziumKey;

impl<K: Serialize + DeserializeOwned + 'static> ValueCodec<K> for DebeziumKey {
    fn id(&self) -> &'static str {
        "debezium-key"
    }

    fn encode(&self, key: &K, out: &mut Vec<u8>) -> Result<(), CodecError> {
        Json.encode(key, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<K, CodecError> {
        let key: Value = serde_json::from_slice(bytes)
            .map_err(|error| CodecError::new(format!("the key is no JSON: {error}")))?;
        let key = match key {
            Value::Object(mut parts) if parts.contains_key("schema") && parts.contains_key("payload") => {
                parts.remove("payload").unwrap_or_default()
            }
            key => key,
        };
        let refuse = |error: serde_json::Error| CodecError::new(format!("the key is another one: {error}"));
        let column = match &key {
            Value::Object(columns) if columns.len() == 1 => columns.values().next().cloned(),
            _ => None,
        };
        match (K::deserialize(&key), column) {
            (Ok(key), _) => Ok(key),
            (Err(error), Some(column)) => serde_json::from_value(column).map_err(|_| refuse(error)),
            (Err(error), None) => Err(refuse(error)),
        }
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        ValueCodec::<K>::shape(&Json)
    }
}
