//! Writing a stream to a derived topic.
//!
//! A value of `None` becomes a tombstone. Repeated keys are all written, in the order of their stamps; the partition is
//! chosen by the key as producers do. The timestamp is that of the record which caused it, however late. Empty input
//! writes nothing. A key or value that does not encode, or is too large for the changelog, is a failure of the record it
//! was made from, for the failure policy to handle. The engine appends the records of an epoch together with its mark, so that a replay does not write
//! them again.

use bytes::Bytes;
use millpond_engine::changelog::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Record, partition_for_key};
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Inputs, Operator, Output};
use millpond_engine::{Error, Result, Topic};
use std::marker::PhantomData;
use std::sync::Arc;

/// Encodes events as records.
pub(super) struct Sink<K, V, W, F> {
    topic: Topic<K, W>,
    value: F,
    types: PhantomData<fn() -> V>,
}

impl<K: Key, V, W: Value, F: Fn(&V) -> Option<W>> Sink<K, V, W, F> {
    pub(super) fn new(topic: &Topic<K, W>, value: F) -> Self {
        Self { topic: topic.clone(), value, types: PhantomData }
    }

    /// Refuses what the changelog would refuse, which does not know the record it was made from.
    fn check(&self, what: &str, bytes: usize, most: usize) -> Result<()> {
        if bytes <= most {
            return Ok(());
        }
        Err(Error::user(format!(
            "a {what} for topic `{}` takes {bytes} bytes, more than the {most} that a record may have; write less, or \
             filter such records out",
            self.topic.name()
        )))
    }
}

impl<K, V, W, F> Operator for Sink<K, V, W, F>
where
    K: Key,
    V: Value,
    W: Value,
    F: Fn(&V) -> Option<W> + Send + Sync + 'static,
{
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        let events: Vec<Event<K, V>> = inputs.take(0)?;
        for event in events {
            context.at(&event.stamp);
            let mut bytes = Vec::with_capacity(32);
            event.key.encode_key(&mut bytes);
            let split = bytes.len();
            let partition = partition_for_key(&bytes, self.topic.topic_config().partitions);
            let value = (self.value)(&event.value);
            if let Some(value) = &value {
                self.topic.codec().encode(value, &mut bytes).map_err(|error| {
                    Error::user(format!("a value for topic `{}` does not encode: {error}", self.topic.name()))
                })?;
            }
            self.check("key", split, MAX_KEY_BYTES)?;
            self.check("value", bytes.len() - split, MAX_VALUE_BYTES)?;
            bytes.shrink_to_fit();
            let mut key = Bytes::from(bytes);
            let encoded = key.split_off(split);
            let record = Record {
                key,
                value: value.map(|_| encoded),
                timestamp_ms: event.stamp.timestamp_ms,
                headers: Vec::new(),
            };
            context.emit(Arc::clone(self.topic.name()), partition, event.stamp, record)?;
        }
        Ok(Output::Nothing)
    }
}
