//! Envelopes in Avro, whose schemas are in a registry.

use super::{Envelope, Truncates, envelope};
use crate::avro::{Avro, AvroSchema};
#[cfg(feature = "registry")]
use crate::registry::{Registry, Subject};
use millpond_engine::codec::{CodecError, Shape, ValueCodec};
use millpond_engine::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// Envelopes in Avro, as `AvroConverter` of Kafka Connect writes them.
///
/// What a row looks like is said by the schema of `V`, or one that is given; its name does not matter, as the connector names the
/// rows of each table. What else stands in an envelope is passed over.
///
/// # Examples
/// ```no_run
/// use millpond::{GraphBuilder, Topic};
/// use millpond_formats::avro::AvroSchema;
/// use millpond_formats::debezium::{DebeziumGraph, Envelope, avro::DebeziumAvro};
/// use millpond_formats::registry::Registry;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize, AvroSchema)]
/// struct Customer {
///     name: String,
///     city: Option<String>,
/// }
///
/// let registry = Registry::new("http://registry:8081")?;
/// let codec = DebeziumAvro::<Customer>::new()?.reading(&registry);
/// let events = Topic::<u64, Envelope<Customer>>::with_codec("shop.public.customers", codec);
/// let graph = GraphBuilder::new();
/// let customers = graph.debezium_table(&events, "customers");
/// # Ok::<(), millpond::Error>(())
/// ```
pub struct DebeziumAvro<V> {
    envelopes: Avro<Wire<V>>,
    /// What the schema of the rows is called.
    row: String,
    truncates: Truncates,
}

/// By the name of its record, as the reader wants it.
#[derive(Serialize, Deserialize)]
#[serde(rename = "DebeziumEnvelope")]
struct Wire<V> {
    before: Option<V>,
    after: Option<V>,
    op: String,
    ts_ms: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename = "DebeziumEnvelope")]
struct Written<'v, V> {
    before: Option<&'v V>,
    after: Option<&'v V>,
    op: &'static str,
    ts_ms: Option<i64>,
}

impl<V> Clone for DebeziumAvro<V> {
    fn clone(&self) -> Self {
        Self { envelopes: self.envelopes.clone(), row: self.row.clone(), truncates: self.truncates }
    }
}

impl<V> fmt::Debug for DebeziumAvro<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebeziumAvro").field("truncates", &self.truncates).finish_non_exhaustive()
    }
}

impl<V> DebeziumAvro<V> {
    /// Bare envelopes whose rows have the schema of `V`.
    ///
    /// # Errors
    /// `Invalid` if the schema does not hold together.
    pub fn new() -> Result<Self>
    where
        V: AvroSchema,
    {
        let row = serde_json::to_string(&V::get_schema())
            .map_err(|error| Error::invalid("the Avro schema has no JSON form").with_source(error))?;
        Self::with_schema(&row)
    }

    /// Bare envelopes whose rows have the schema `row`, a record.
    ///
    /// # Errors
    /// `Invalid` if it is no Avro schema, or not that of a record.
    pub fn with_schema(row: &str) -> Result<Self> {
        let row: Value = serde_json::from_str(row)
            .map_err(|error| Error::invalid("the Avro schema is no JSON").with_source(error))?;
        let name =
            match (row.get("namespace").and_then(Value::as_str), row.get("name").and_then(Value::as_str)) {
                (Some(space), Some(name)) if !name.contains('.') => format!("{space}.{name}"),
                (_, Some(name)) => name.to_owned(),
                (_, None) => return Err(Error::invalid("a row of Debezium is a record, with a name")),
            };
        let envelope = json!({"type": "record", "name": "DebeziumEnvelope", "fields": [
            {"name": "before", "type": ["null", row], "default": null},
            {"name": "after", "type": ["null", &name], "default": null},
            {"name": "op", "type": "string"},
            {"name": "ts_ms", "type": ["null", "long"], "default": null},
        ]});
        let envelopes = Avro::with_schema(&envelope.to_string())?.any_names();
        Ok(Self { envelopes, row: name, truncates: Truncates::default() })
    }

    /// What to do where a table was truncated.
    #[must_use]
    pub fn truncates(self, truncates: Truncates) -> Self {
        Self { truncates, ..self }
    }

    /// Reads bare envelopes that were written in the schema `writer`.
    ///
    /// # Errors
    /// `Invalid` if it is no Avro schema.
    pub fn written_as(self, writer: &str) -> Result<Self> {
        Ok(Self { envelopes: self.envelopes.written_as(writer)?, ..self })
    }

    /// Reads envelopes that begin with the id of their schema.
    #[must_use]
    #[cfg(feature = "registry")]
    pub fn reading(self, registry: &Registry) -> Self {
        Self { envelopes: self.envelopes.reading(registry), ..self }
    }

    /// Reads them, and writes them in the codec's own schema, which is registered under `subject` now.
    ///
    /// # Errors
    /// As for [`Avro::registered`].
    #[cfg(feature = "registry")]
    pub fn registered(self, registry: &Registry, subject: &Subject) -> Result<Self> {
        Ok(Self { envelopes: self.envelopes.registered(registry, subject)?, ..self })
    }
}

impl<V: Serialize + DeserializeOwned + 'static> ValueCodec<Envelope<V>> for DebeziumAvro<V> {
    fn id(&self) -> &'static str {
        if self.envelopes.awaits_schemas() { "debezium-avro-by-id" } else { "debezium-avro" }
    }

    fn encode(&self, envelope: &Envelope<V>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let Envelope { before, after, op, ts_ms } = envelope;
        let written =
            Written { before: before.as_ref(), after: after.as_ref(), op: op.letter(), ts_ms: *ts_ms };
        self.envelopes.encode_as(&written, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Envelope<V>, CodecError> {
        let Wire { before, after, op, ts_ms } = self.envelopes.decode(bytes)?;
        envelope(before, after, &op, ts_ms, self.truncates)
    }

    fn awaits(&self) -> bool {
        self.envelopes.awaits_schemas()
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        if self.envelopes.awaits_schemas() {
            return Ok(Shape::named(&format!("debezium avro {}", self.row)));
        }
        self.envelopes.shape()
    }
}
