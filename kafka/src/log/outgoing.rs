//! A record as librdkafka is to send it.

use millpond_engine::TopicPartition;
use millpond_engine::changelog::Record;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;

/// `record`, for `partition`; `opaque` comes back with the report of its delivery.
pub(super) fn outgoing<'a, D: IntoOpaque>(
    partition: &'a TopicPartition,
    record: &'a Record,
    opaque: D,
) -> BaseRecord<'a, [u8], [u8], D> {
    let mut sent = BaseRecord::with_opaque_to(&partition.topic, opaque)
        .partition(i32::try_from(partition.partition).unwrap_or(i32::MAX))
        .timestamp(record.timestamp_ms);
    if let Some(key) = &record.key {
        sent = sent.key(&**key);
    }
    if let Some(value) = &record.value {
        sent = sent.payload(&**value);
    }
    if !record.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        sent = sent.headers(record.headers.iter().fold(headers, |headers, header| {
            headers.insert(Header { key: &header.name, value: header.value.as_deref() })
        }));
    }
    sent
}
