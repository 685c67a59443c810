//! Keys: a row's key as a struct of its columns, with and without a `schema` beside it.

use millpond_engine::codec::CodecError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Keys of Debezium in JSON: `{"id": 7}`, or `{"schema": .., "payload": {"id": 7}}`.
///
/// A key type is a struct with the names of the columns; where the key is one column, it is also the type of that.
///
/// # Examples
/// ```
/// use millpond_formats::debezium::DebeziumKey;
/// use serde::Deserialize;
///
/// #[derive(Debug, PartialEq, Deserialize)]
/// struct Line {
///     order: u64,
///     line: u32,
/// }
///
/// assert_eq!(DebeziumKey::decode_json::<u64>(br#"{"id": 7}"#)?, 7);
/// let wrapped = br#"{"schema": {"type": "struct"}, "payload": {"order": 7, "line": 2}}"#;
/// assert_eq!(DebeziumKey::decode_json::<Line>(wrapped)?, Line { order: 7, line: 2 });
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DebeziumKey;

impl DebeziumKey {
    /// The key in `bytes`.
    ///
    /// # Errors
    /// If it is no JSON, or no `K`.
    pub fn decode_json<K: DeserializeOwned>(bytes: &[u8]) -> Result<K, CodecError> {
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

    /// Appends `key`, a struct of columns, as `JsonConverter` writes it without a schema.
    ///
    /// # Errors
    /// If it has no JSON form.
    pub fn encode_json<K: Serialize>(key: &K, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = out.len();
        serde_json::to_writer(&mut *out, key).map_err(|error| {
            out.truncate(start);
            CodecError::new(format!("the key has no JSON form: {error}"))
        })
    }
}
