//! A record as producers and streams write it: with all that it may carry.

use super::Header;
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
    headers: Vec<Header>,
}

impl<V> ProducerRecord<V> {
    /// A value without headers, with the timestamp of the record that it was made from; or of now, if it was made from none.
    #[must_use]
    pub fn new(value: V) -> Self {
        Self { value: Some(value), timestamp_ms: None, headers: Vec::new() }
    }

    /// The deletion of the key, otherwise as [`new`](Self::new).
    #[must_use]
    pub fn tombstone() -> Self {
        Self { value: None, timestamp_ms: None, headers: Vec::new() }
    }

    /// The same record stamped `timestamp_ms`, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn at(self, timestamp_ms: i64) -> Self {
        Self { timestamp_ms: Some(timestamp_ms), ..self }
    }

    /// The same record with one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into() });
        self
    }

    /// The same record with more headers.
    #[must_use]
    pub fn with_headers(mut self, headers: impl IntoIterator<Item = Header>) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Its value, its timestamp if it has one of its own, and its headers.
    #[must_use]
    pub fn into_parts(self) -> (Option<V>, Option<i64>, Vec<Header>) {
        (self.value, self.timestamp_ms, self.headers)
    }
}
