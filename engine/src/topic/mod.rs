//! Typed topics: a name in the changelog together with what its keys and values are.

mod records;

use crate::changelog::{TopicConfig, TopicType};
use crate::codec::{Bincode, CheckedCodec, Key, Ordered, Value, ValueCodec};
use crate::time::Idle;
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Makes the key of a record that has none.
type MakeKey<K, V> = dyn Fn(&V) -> K + Send + Sync;

/// So far ahead of the clock may a record be dated, unless its topic says otherwise.
const MAX_AHEAD: Duration = Duration::from_secs(3_600);

/// Says when a record happened.
type Timestamp<K, V> = dyn Fn(&K, &V) -> i64 + Send + Sync;

/// A topic of the changelog with the types of its keys and values.
///
/// Keys are encoded by their [`KeyCodec`](crate::codec::KeyCodec), unless the topic has [another codec](Self::keys) for them;
/// values by the topic's [`ValueCodec`], which is [`Bincode`] unless another is chosen.
///
/// # One type for each topic
/// A changelog remembers what a topic holds: the codecs and the shapes of its keys and values, as they were
/// first declared by an engine or a producer. Whoever comes with others is refused (`Invalid`), and so is a graph that uses
/// one topic in two ways, or a type that its codec cannot hold. What may change:
/// - Names of types, and newtypes around the same: they are no part of a [shape](crate::codec::Shape).
/// - In [`Json`](crate::codec::Json), fields that may be left out (`Option`, `#[serde(default)]`) come and go, enums gain
///   variants, and a value becomes optional; in [`Bincode`], enums gain variants behind those they have. The changelog then
///   remembers both shapes. A program that does not know a variant yet is refused from there on.
/// - Anything else with a raised [`revision`](Self::revision): whoever raises it says that the records which are there can
///   be read all the same, or are not needed any more.
///
/// Values that are raw bytes ([`Raw`](crate::codec::Raw) with `Vec<u8>` or `Bytes`) may be read from and appended to any
/// topic, as tools do, and so may `serde_json::Value` where values are kept in `Json`; the keys must fit, unless they are raw
/// bytes as well (`keys(Raw)`). A topic of dead letters holds records of many topics, and is read as any of them.
///
/// # Examples
/// ```
/// use millpond::Topic;
/// use millpond::changelog::TopicConfig;
/// use millpond::codec::Json;
/// use std::time::Duration;
///
/// let orders = Topic::<u64, String>::new("orders").partitions(8);
/// assert_eq!(orders.topic_config().partitions, Some(8));
///
/// let week = Duration::from_secs(7 * 24 * 3600);
/// let clicks = Topic::<String, Vec<u32>>::with_codec("clicks", Json)
///     .config(TopicConfig::default().partitions(4).retention_age(week));
/// assert_eq!((&**clicks.name(), clicks.codec().id()), ("clicks", "json"));
/// ```
pub struct Topic<K, V> {
    name: Arc<str>,
    config: TopicConfig,
    /// `None` if keys are [`Ordered`], for which nobody is to be asked.
    key_codec: Option<Arc<dyn ValueCodec<K>>>,
    /// Whether the codec of the keys is one in which a key has one form.
    has_one_form: bool,
    codec: Arc<dyn ValueCodec<V>>,
    made_key: Option<Arc<MakeKey<K, V>>>,
    timestamp: Option<Arc<Timestamp<K, V>>>,
    idle: Option<Idle>,
    max_ahead: Option<Duration>,
    revision: u32,
    latest_only: bool,
    declared: Arc<OnceLock<Result<TopicType>>>,
}

impl<K, V> fmt::Debug for Topic<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, config, .. } = self;
        f.debug_struct("Topic").field("name", name).field("config", config).finish_non_exhaustive()
    }
}

impl<K, V> Clone for Topic<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            config: self.config.clone(),
            key_codec: self.key_codec.clone(),
            has_one_form: self.has_one_form,
            codec: Arc::clone(&self.codec),
            made_key: self.made_key.clone(),
            timestamp: self.timestamp.clone(),
            idle: self.idle,
            max_ahead: self.max_ahead,
            revision: self.revision,
            latest_only: self.latest_only,
            declared: Arc::clone(&self.declared),
        }
    }
}

/// The bounds stand on the functions: the compiler then says what a type lacks to be a key, and what to do about it.
impl<K, V> Topic<K, V> {
    /// The topic `name`, its values in [`Bincode`].
    #[must_use]
    pub fn new(name: &str) -> Self
    where
        K: Key,
        V: Value + Serialize + DeserializeOwned,
    {
        Self::with_codec(name, Bincode)
    }

    /// The topic `name` with a codec for its values.
    #[must_use]
    pub fn with_codec(name: &str, codec: impl ValueCodec<V>) -> Self
    where
        K: Key,
        V: Value,
    {
        Self {
            name: name.into(),
            config: TopicConfig::default(),
            key_codec: None,
            has_one_form: true,
            codec: Arc::new(CheckedCodec::new::<V>(codec)),
            made_key: None,
            timestamp: None,
            idle: None,
            max_ahead: Some(MAX_AHEAD),
            revision: 0,
            latest_only: false,
            declared: Arc::default(),
        }
    }
}

impl<K: Key, V: Value> Topic<K, V> {
    /// How the topic is created if it does not exist; without retention, and with as many partitions as
    /// [usual](TopicConfig#structfield.partitions) unless set. An engine whose graph has
    /// the topic gives a topic that exists the retention that is set here, whoever else uses it: records that no engine by
    /// name still has to read are dropped by it. Without one the topic keeps what it has.
    #[must_use]
    pub fn config(mut self, config: TopicConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the number of partitions with which the topic is created, and which it must have if it is there. Without it the topic
    /// is taken as it is found, and records are placed by the number of partitions that it really has.
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::{MemoryChangelog, Producer};
    /// use millpond::{ErrorKind, SystemClock, Topic};
    /// use std::sync::Arc;
    ///
    /// let log = Arc::new(MemoryChangelog::new());
    /// let producer = |topic: &Topic<u8, u64>| Producer::new(log.clone(), topic, Arc::new(SystemClock));
    /// producer(&Topic::new("orders").partitions(8))?;
    /// producer(&Topic::new("orders"))?;
    /// let refused = producer(&Topic::new("orders").partitions(4)).err().expect("there are 8");
    /// assert_eq!(refused.kind(), ErrorKind::Invalid);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.config.partitions = Some(partitions);
        self
    }

    /// The revision of the topic's types; 0 unless set. A greater one than the changelog remembers replaces what it
    /// remembers of the topic: raise it when keys, values or codec change on purpose.
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::{MemoryChangelog, Producer};
    /// use millpond::{ErrorKind, SystemClock, Topic};
    /// use std::sync::Arc;
    ///
    /// let log = Arc::new(MemoryChangelog::new());
    /// let producer = |topic: &Topic<u8, u64>| Producer::new(log.clone(), topic, Arc::new(SystemClock));
    /// Producer::new(log.clone(), &Topic::<u8, u32>::new("sums"), Arc::new(SystemClock))?;
    /// let refused = producer(&Topic::new("sums")).err().expect("the topic holds other values");
    /// assert_eq!(refused.kind(), ErrorKind::Invalid);
    /// producer(&Topic::new("sums").revision(1))?;
    /// producer(&Topic::new("sums"))?;
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn revision(mut self, revision: u32) -> Self {
        self.revision = revision;
        self.declared = Arc::default();
        self
    }

    /// Says that nothing counts of the topic but the last record of each key, so that it may be compacted (as topics of Kafka are
    /// whose `cleanup.policy` is `compact`).
    ///
    /// Of a compacted topic a stream has other records whenever it is read again: a count of them would differ after a rebuild.
    /// So an engine refuses to read one as a stream, unless this was said of it; as a
    /// [table](https://docs.rs/millpond/latest/millpond/struct.GraphBuilder.html#method.table) it can be read without.
    ///
    /// # Examples
    /// ```
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let prices = Topic::<String, u64>::new("prices").latest_only();
    /// let graph = GraphBuilder::new();
    /// // Whichever records of a product there were before, its last price decides.
    /// graph.stream(&prices).filter(|_, cents| *cents > 0).to_table("prices");
    /// graph.build()?;
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn latest_only(mut self) -> Self {
        self.latest_only = true;
        self
    }

    /// Whether [`latest_only`](Self::latest_only) was said of it.
    #[must_use]
    pub fn is_latest_only(&self) -> bool {
        self.latest_only
    }

    /// What it holds, for a changelog to remember.
    ///
    /// # Errors
    /// `Invalid` if the codec cannot hold the type.
    pub(crate) fn declared(&self) -> Result<&TopicType> {
        let declare = || {
            let refuse = |error| Error::invalid(format!("topic `{}` cannot be declared: {error}", self.name));
            let key = match &self.key_codec {
                None => (Ordered::ID, K::key_shape()),
                Some(codec) => (codec.id(), codec.shape().map_err(refuse)?.to_text()),
            };
            let shape = self.codec.shape().map_err(refuse)?;
            Ok(TopicType::new(self.revision, key, (self.codec.id(), &shape)))
        };
        self.declared.get_or_init(declare).as_ref().map_err(Error::summary)
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
