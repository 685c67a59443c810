//! A record as producers and streams write it: with all that it may carry.

use super::{Header, Headers};
use crate::codec::{CodecError, ValueCodec};
use bytes::Bytes;

/// What is to be written of a record beside its key: by [`Producer::send_records`](super::Producer::send_records), or by the
/// `to_records` of a stream.
///
/// # Examples
/// ```
/// use millpond::testing::Driver;
/// use millpond::stream::ProducerRecord;
/// use millpond::{GraphBuilder, Topic};
///
/// let (orders, labels) = (Topic::<u32, u64>::new("orders"), Topic::<u32, String>::new("labels"));
/// let graph = GraphBuilder::new();
/// // The headers of an order travel on; one of no cents deletes its label.
/// graph.records(&orders).to_records(&labels, |_, order| match order.value {
///     Some(cents) if cents > 0 => {
///         ProducerRecord::new(format!("{cents} cents")).with_headers(order.headers).with_header("unit", "cent")
///     }
///     _ => ProducerRecord::tombstone().at(order.timestamp_ms + 1),
/// });
/// let mut driver = Driver::new(&graph.build()?)?;
/// driver.put(&orders, 1, 450, 7)?;
/// driver.put(&orders, 2, 0, 7)?;
/// driver.run()?;
/// let written = driver.records(&labels)?;
/// assert_eq!(written[0].value.as_deref(), Some("450 cents"));
/// assert_eq!((written[1].value.as_deref(), written[1].timestamp_ms), (None, 8));
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRecord<V> {
    /// `None` is a tombstone.
    value: Option<V>,
    timestamp_ms: Option<i64>,
    headers: Headers,
}

impl<V> ProducerRecord<V> {
    /// A value without headers, with the timestamp of the record that it was made from; or of now, if it was made from none.
    #[must_use]
    pub fn new(value: V) -> Self {
        Self { value: Some(value), timestamp_ms: None, headers: Headers::new() }
    }

    /// The deletion of the key, otherwise as [`new`](Self::new).
    #[must_use]
    pub fn tombstone() -> Self {
        Self { value: None, timestamp_ms: None, headers: Headers::new() }
    }

    /// The same record stamped `timestamp_ms`, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn at(self, timestamp_ms: i64) -> Self {
        Self { timestamp_ms: Some(timestamp_ms), ..self }
    }

    /// The same record with one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }

    /// The same record with one more header, its value as `codec` writes it.
    ///
    /// # Errors
    /// If the codec cannot write it.
    ///
    /// # Examples
    /// A step that may fail reads a header and writes the next one: where the header is no number the record fails.
    /// ```
    /// use millpond::codec::{BigEndian, CodecError};
    /// use millpond::stream::{ConsumerRecord, ProducerRecord};
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let (orders, again) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("again"));
    /// let graph = GraphBuilder::new();
    /// let tried = |_: &u32, order: ConsumerRecord<u64>| -> Result<_, CodecError> {
    ///     let attempt: i32 = order.headers.read("attempt", &BigEndian)?.unwrap_or(1);
    ///     ProducerRecord::new(order.value.unwrap_or(0)).with_typed_header("attempt", &BigEndian, &(attempt + 1))
    /// };
    /// graph.records(&orders).try_map_values(tried).to_records(&again, |_, record| record);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&orders, 7, 450, 0)?;
    /// driver.run()?;
    /// let written = driver.records(&again)?;
    /// assert_eq!(written[0].headers.read("attempt", &BigEndian), Ok(Some(2_i32)));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn with_typed_header<T>(
        mut self,
        name: impl Into<String>,
        codec: &(impl ValueCodec<T> + ?Sized),
        value: &T,
    ) -> Result<Self, CodecError> {
        self.headers.push(Header::typed(name, codec, value)?);
        Ok(self)
    }

    /// The same record with more headers.
    #[must_use]
    pub fn with_headers(mut self, headers: impl IntoIterator<Item = Header>) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Its value, its timestamp if it has one of its own, and its headers.
    #[must_use]
    pub fn into_parts(self) -> (Option<V>, Option<i64>, Headers) {
        (self.value, self.timestamp_ms, self.headers)
    }
}
