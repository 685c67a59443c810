//! Records with all that they carry: what is read of a topic beside the value, and what an upsert writes.

use crate::upsert::Upsert;
use millpond_engine::changelog::{Headers, ProducerRecord};

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
    /// Milliseconds since the Unix epoch, as the record says, or [the topic](millpond_engine::Topic::timestamps_from) of it.
    pub timestamp_ms: i64,
    /// The annotations, in the order they were given.
    pub headers: Headers,
    /// The partition it was read from.
    pub partition: u32,
    /// Its offset in the partition.
    pub offset: u64,
}

impl<V> ConsumerRecord<V> {
    /// The value of the last header of this name, as bytes; [`Headers::read`] has it as what a codec makes of them.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.bytes(name)
    }
}

impl<V> From<Upsert<V>> for ProducerRecord<V> {
    fn from(upsert: Upsert<V>) -> Self {
        match upsert {
            Upsert::Put(value) => Self::new(value),
            Upsert::Delete => Self::tombstone(),
        }
    }
}
