//! Records with all that they carry: what is read of a topic beside the value, and what may be written.

use crate::upsert::Upsert;
use bytes::Bytes;
use millpond_engine::changelog::Header;

/// The value of a record as it was read, with all that is known of it; see
/// [`GraphBuilder::records`](crate::GraphBuilder::records).
///
/// # Examples
/// ```
/// use millpond::changelog::Record;
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Topic, TopicPartition};
///
/// let orders = Topic::<u8, u64>::new("orders");
/// let graph = GraphBuilder::new();
/// let traced = graph.records(&orders).filter(|_, order| order.header("trace").is_some());
/// let offsets = traced.map_values(|_, order| (order.partition, order.offset)).to_table("offsets");
/// let mut driver = Driver::new(&graph.build()?)?;
/// driver.put(&orders, 1, 450, 0)?;
/// // Key 2 is deleted, with a header.
/// let record = Record::tombstone(vec![2]).with_header("trace", "4bf9");
/// driver.append(TopicPartition::new("orders", 0), vec![record])?;
/// driver.run()?;
/// assert_eq!(driver.table(&offsets)?, [(2, (0, 1))].into());
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerRecord<V> {
    /// The value; `None` is a tombstone.
    pub value: Option<V>,
    /// Milliseconds since the Unix epoch, as the producer stamped it.
    pub timestamp_ms: i64,
    /// The annotations, in the order they were given.
    pub headers: Vec<Header>,
    /// The partition it was read from.
    pub partition: u32,
    /// Its offset in the partition.
    pub offset: u64,
}

impl<V> ConsumerRecord<V> {
    /// The value of the last header of this name.
    #[must_use]
    #[doc(alias = "lastHeader")]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let header = self.headers.iter().rev().find(|header| header.name == name)?;
        Some(&header.value)
    }
}

/// What is to be written of a record beside its key; see [`Stream::to_records`](crate::Stream::to_records).
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
    pub(super) value: Option<V>,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) headers: Vec<Header>,
}

impl<V> ProducerRecord<V> {
    /// A value, with the timestamp of the record that it was made from and without headers.
    #[must_use]
    pub fn new(value: V) -> Self {
        Upsert::Put(value).into()
    }

    /// The deletion of the key, with the timestamp of the record that it was made from and without headers.
    #[must_use]
    pub fn tombstone() -> Self {
        Upsert::Delete.into()
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
}

impl<V> From<Upsert<V>> for ProducerRecord<V> {
    fn from(upsert: Upsert<V>) -> Self {
        Self { value: upsert.into_option(), timestamp_ms: None, headers: Vec::new() }
    }
}
