//! Values of any schema, as Avro knows them.

use super::Inner;
use apache_avro::types::Value;
use millpond_engine::codec::{CodecError, Shape, ValueCodec};

/// Generic values in Avro: for programs that know the schema only when they run.
///
/// It is made and used as [`Avro`](super::Avro) is; its values are those of the crate `apache-avro`.
///
/// # Examples
/// ```
/// use millpond::codec::ValueCodec;
/// use millpond_formats::avro::AvroValue;
/// use millpond_formats::avro::apache_avro::types::Value;
///
/// let codec = AvroValue::with_schema(
///     r#"{"type": "record", "name": "Order", "fields": [{"name": "count", "type": "long"}]}"#,
/// )?;
/// let order = codec.decode(&[84])?;
/// assert_eq!(order, Value::Record(vec![("count".to_owned(), Value::Long(42))]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct AvroValue {
    pub(super) inner: Inner,
}

impl AvroValue {
    pub(super) fn of(inner: Inner) -> Self {
        Self { inner }
    }
}

impl ValueCodec<Value> for AvroValue {
    fn id(&self) -> &'static str {
        self.inner.id()
    }

    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.inner.encode(out, |coding, out| coding.writer().write_value_ref(out, value))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Value, CodecError> {
        self.inner.decode(bytes, |coding, bytes| coding.reader().read_value(bytes))
    }

    fn awaits(&self) -> bool {
        self.inner.awaits()
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        Ok(self.inner.shape())
    }
}
