//! Typed topics: a name in the changelog together with what its keys and values are.

use crate::changelog::TopicConfig;
use crate::codec::{Bincode, Key, Value, ValueCodec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;

/// A topic of the changelog with the types of its keys and values.
///
/// Keys are encoded by their [`KeyCodec`](crate::codec::KeyCodec), values by the topic's [`ValueCodec`], which is
/// [`Bincode`] unless another is chosen.
/// # Examples
/// ```
/// use millpond::Topic;
/// use millpond::changelog::TopicConfig;
/// use millpond::codec::Json;
/// use std::time::Duration;
///
/// let orders = Topic::<u64, String>::new("orders").partitions(8);
/// assert_eq!(orders.topic_config().partitions, 8);
///
/// let week = Duration::from_secs(7 * 24 * 3600);
/// let clicks = Topic::<String, Vec<u32>>::with_codec("clicks", Json)
///     .config(TopicConfig { partitions: 4, retention_age: Some(week), ..TopicConfig::default() });
/// assert_eq!((&**clicks.name(), clicks.codec().id()), ("clicks", "json"));
/// ```
pub struct Topic<K, V> {
    name: Arc<str>,
    config: TopicConfig,
    codec: Arc<dyn ValueCodec<V>>,
    key: PhantomData<fn() -> K>,
}

impl<K, V> Clone for Topic<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            config: self.config.clone(),
            codec: Arc::clone(&self.codec),
            key: PhantomData,
        }
    }
}

impl<K: Key, V: Value> Topic<K, V> {
    /// The topic `name`, its values in [`Bincode`].
    #[must_use]
    pub fn new(name: &str) -> Self
    where
        V: Serialize + DeserializeOwned,
    {
        Self::with_codec(name, Bincode)
    }

    /// The topic `name` with a codec for its values.
    #[must_use]
    pub fn with_codec(name: &str, codec: impl ValueCodec<V>) -> Self {
        Self { name: name.into(), config: TopicConfig::default(), codec: Arc::new(codec), key: PhantomData }
    }

    /// How the topic is created if it does not exist; one partition without retention unless set.
    #[must_use]
    pub fn config(mut self, config: TopicConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the number of partitions with which the topic is created.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.config.partitions = partitions;
        self
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How it is created.
    #[must_use]
    pub fn topic_config(&self) -> &TopicConfig {
        &self.config
    }

    /// The codec of its values.
    #[must_use]
    pub fn codec(&self) -> &Arc<dyn ValueCodec<V>> {
        &self.codec
    }
}
