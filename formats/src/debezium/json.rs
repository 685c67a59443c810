//! Envelopes in JSON, with and without the `schema` that Kafka Connect puts beside them.

use super::{Envelope, Truncates, envelope};
use millpond_engine::codec::{CodecError, Json, Shape, ValueCodec};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::marker::PhantomData;

/// Envelopes in JSON, as `JsonConverter` of Kafka Connect writes them: with the wrapper `{"schema": .., "payload": ..}`
/// (`schemas.enable`) or without it, record by record. They are written without it.
///
/// See [the module](super) for an example.
pub struct DebeziumJson<V> {
    truncates: Truncates,
    with_before: bool,
    rows: PhantomData<fn() -> V>,
}

impl<V> Clone for DebeziumJson<V> {
    fn clone(&self) -> Self {
        Self { rows: PhantomData, ..*self }
    }
}

impl<V> Default for DebeziumJson<V> {
    fn default() -> Self {
        Self { truncates: Truncates::default(), with_before: false, rows: PhantomData }
    }
}

impl<V> fmt::Debug for DebeziumJson<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebeziumJson")
            .field("truncates", &self.truncates)
            .field("with_before", &self.with_before)
            .finish()
    }
}

impl<V> DebeziumJson<V> {
    /// Envelopes whose rows are read as `V` by serde. `before` is passed over.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do where a table was truncated.
    #[must_use]
    pub fn truncates(self, truncates: Truncates) -> Self {
        Self { truncates, ..self }
    }

    /// Reads `before`, too. It is `None` where it is no `V`: many sources send no more of it than the key.
    #[must_use]
    pub fn with_before(self) -> Self {
        Self { with_before: true, ..self }
    }
}

/// An envelope, or what holds one.
#[derive(Deserialize)]
#[serde(bound = "V: DeserializeOwned, B: DeserializeOwned")]
struct Wire<B, V> {
    #[serde(default = "none")]
    payload: Option<Payload<B, V>>,
    #[serde(default = "none")]
    before: Option<B>,
    #[serde(default = "none")]
    after: Option<V>,
    op: Option<String>,
    ts_ms: Option<i64>,
}

#[derive(Deserialize)]
#[serde(bound = "V: DeserializeOwned, B: DeserializeOwned")]
struct Payload<B, V> {
    #[serde(default = "none")]
    before: Option<B>,
    #[serde(default = "none")]
    after: Option<V>,
    op: Option<String>,
    ts_ms: Option<i64>,
}

fn none<T>() -> Option<T> {
    None
}

impl<V: DeserializeOwned> DebeziumJson<V> {
    fn read<B: DeserializeOwned>(
        &self,
        bytes: &[u8],
        row: impl FnOnce(B) -> Option<V>,
    ) -> Result<Envelope<V>, CodecError> {
        let wire: Wire<B, V> = serde_json::from_slice(bytes)
            .map_err(|error| CodecError::new(format!("bad JSON of Debezium: {error}")))?;
        let payload = match wire {
            Wire { payload: Some(payload), op: None, .. } => payload,
            Wire { before, after, op, ts_ms, .. } => Payload { before, after, op, ts_ms },
        };
        let Payload { before, after, op, ts_ms } = payload;
        let op = op.ok_or_else(|| {
            CodecError::new(
                "it is no envelope of Debezium, as it has no `op`; was it flattened (`ExtractNewRecordState`)? then read its \
                 topic in `Json`",
            )
        })?;
        envelope(before.and_then(row), after, &op, ts_ms, self.truncates)
    }
}

impl<V: Serialize + DeserializeOwned + 'static> ValueCodec<Envelope<V>> for DebeziumJson<V> {
    fn id(&self) -> &'static str {
        "debezium-json"
    }

    fn encode(&self, envelope: &Envelope<V>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = out.len();
        write(envelope, out).inspect_err(|_| out.truncate(start))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Envelope<V>, CodecError> {
        if self.with_before {
            self.read::<Value>(bytes, |before| serde_json::from_value(before).ok())
        } else {
            self.read::<IgnoredAny>(bytes, |_| None)
        }
    }

    /// That of the rows, as JSON has them.
    fn shape(&self) -> Result<Shape, CodecError> {
        ValueCodec::<V>::shape(&Json)
    }
}

fn write<V: Serialize + DeserializeOwned>(
    envelope: &Envelope<V>,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let Envelope { before, after, op, ts_ms } = envelope;
    for (name, row) in [(&b"{\"before\":"[..], before), (b",\"after\":", after)] {
        out.extend(name);
        let start = out.len();
        match row {
            Some(row) => Json.encode(row, out)?,
            None => out.extend(b"null"),
        }
        if row.is_some() && out.get(start..) == Some(b"null") {
            return Err(CodecError::new(
                "a row that is there is written as `null`, and would be read as none",
            ));
        }
    }
    let ts_ms = ts_ms.map_or_else(|| "null".to_owned(), |ts_ms| ts_ms.to_string());
    out.extend(format!(",\"op\":\"{}\",\"ts_ms\":{ts_ms}}}", op.letter()).bytes());
    Ok(())
}
