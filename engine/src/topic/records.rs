//! What a topic says of its records: how keys are written, where a record without one gets its key from, and when it happened.
//!
//! All of it is a function of the record, so that a replay reads what was read before.

use super::Topic;
use crate::changelog::Timestamps;
use crate::clock::millis;
use crate::codec::{AsKey, BigEndian, CheckedCodec, CodecError, Key, Ordered, Raw, Utf8, Value, ValueCodec};
use crate::time::Idle;
use crate::{Error, Result};
use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

impl<K: Key, V: Value> Topic<K, V> {
    /// How keys are written in the records of the topic: where others write or read it, in the codec that they have. Unless set
    /// that is [`Ordered`], the order-preserving encoding that tables have; tables keep it whatever is set here.
    ///
    /// | keys that Java writes with | are |
    /// |---|---|
    /// | `StringSerializer` | `Topic::<String, _>::new(name).keys(Utf8)` |
    /// | `LongSerializer`, `IntegerSerializer`, `ShortSerializer` | `i64`, `i32`, `i16`, or an unsigned one, with `.keys(BigEndian)` |
    /// | `UUIDSerializer` | `Uuid` with `.keys(UuidText)` (feature `uuid`) |
    /// | a serializer of JSON | any key with serde, with `.keys(Json)` |
    /// | `ByteArraySerializer`, `BytesSerializer` | `Vec<u8>`, `Bytes` or `[u8; N]` with `.keys(Raw)` |
    ///
    /// Any other [`ValueCodec`] does as well. The partition of a record is that of Kafka's default partitioner for the bytes
    /// which are written: a key goes where the Java client sends it. In codecs that can write one key in several ways, such as
    /// JSON with white space or fields in another order, others may have placed it elsewhere. It is one key all the same.
    ///
    /// # Examples
    /// ```
    /// use millpond::codec::{BigEndian, Raw, Utf8};
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let clicks = Topic::<String, u64>::new("clicks").keys(Utf8);
    /// let by_page = Topic::<u64, u64>::new("by_page").keys(BigEndian);
    /// let graph = GraphBuilder::new();
    /// graph.stream(&clicks).map(|user, page| (page, user.len() as u64)).to(&by_page);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&clicks, "ada", 7, 0)?;
    /// driver.run()?;
    /// let stored = driver.records(&Topic::<Vec<u8>, u64>::new("by_page").keys(Raw))?;
    /// assert_eq!(stored[0].key, [0, 0, 0, 0, 0, 0, 0, 7]);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "Serdes")]
    pub fn keys<C: ValueCodec<K>>(mut self, codec: C) -> Self {
        let ordered = TypeId::of::<C>() == TypeId::of::<Ordered>();
        let exact = [TypeId::of::<Utf8>(), TypeId::of::<BigEndian>(), TypeId::of::<Raw>()];
        self.has_one_form = ordered || exact.contains(&TypeId::of::<C>());
        self.key_codec =
            (!ordered).then(|| Arc::new(CheckedCodec::new::<K>(codec)) as Arc<dyn ValueCodec<K>>);
        self.declared = Arc::default();
        self
    }

    /// Makes keys for records that have none, from their values. Other systems write such records; without this they are
    /// failures, which the [failure policy](crate::FailurePolicy) handles. A record that has a key keeps it, and whoever wants
    /// other keys for all of them calls `re_key` on the stream. A record with neither a key nor a value deletes nothing that
    /// could be named, and is a failure all the same.
    ///
    /// Records without a key lie in any partition, and so do those that get one key here. They meet all the same, in the order
    /// of the log; one that has no order over its partitions takes a note of the order in which they came, where that matters.
    ///
    /// The closure depends on the value alone, as all of a graph does; where it panics, the record is a failure.
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::Record;
    /// use millpond::codec::{Json, Utf8};
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic, TopicPartition};
    ///
    /// let logins = Topic::<String, (String, u64)>::with_codec("logins", Json)
    ///     .keys(Utf8)
    ///     .keyed_by(|(user, _)| user.clone());
    /// let graph = GraphBuilder::new();
    /// let counts = graph.stream(&logins).group_by_key().count("counts");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// let record = Record::without_key(r#"["ada", 7]"#);
    /// driver.append(TopicPartition::new("logins", 0), vec![record])?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&counts)?, [("ada".to_owned(), 1)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn keyed_by(mut self, key: impl Fn(&V) -> K + Send + Sync + 'static) -> Self {
        self.made_key = Some(Arc::new(key));
        self
    }

    /// Says when a record happened, in milliseconds since the Unix epoch, by its key and value: that is its timestamp, whatever
    /// the record itself says. Producers and graphs write it into the records of this topic, so that retention and others go by
    /// it; and records of whoever writes others are read with it. A tombstone has no value to look at, and keeps its own.
    ///
    /// Without this the timestamp is that of the record: what its producer said, or when the log has appended it; see
    /// [`timestamps`](Self::timestamps).
    ///
    /// Every number is a time, those below 0 are before 1970. Timestamps order nothing: records are taken in the order of the
    /// log. The closure depends on key and value alone; where it panics, the record is a failure.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Latest, Topic};
    ///
    /// // Seconds since 1970, and a reading.
    /// let readings = Topic::<String, (i64, f64)>::new("readings").timestamps_from(|_, (seconds, _)| seconds * 1_000);
    /// let graph = GraphBuilder::new();
    /// let latest = graph.table_by(&readings, "latest", Latest::Timestamp);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&readings, "attic", (20, 31.5), 0)?;
    /// driver.put(&readings, "attic", (10, 30.0), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&latest)?["attic"], (20, 31.5));
    /// assert_eq!(driver.records(&readings)?[0].timestamp_ms, 20_000);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "TimestampExtractor")]
    pub fn timestamps_from(mut self, timestamp_ms: impl Fn(&K, &V) -> i64 + Send + Sync + 'static) -> Self {
        self.timestamp = Some(Arc::new(timestamp_ms));
        self
    }

    /// Says where the timestamps in the records come from: from their producers, or from the log when it appends them. A topic that
    /// is there must be so, and is taken as it is unless this is called; one that is created is made so. In Kafka that is
    /// `message.timestamp.type`. [`timestamps_from`](Self::timestamps_from) has the last word where records are read.
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::Timestamps;
    /// use millpond::{Engine, GraphBuilder, Topic};
    ///
    /// let visits = Topic::<u32, u64>::new("visits").timestamps(Timestamps::Appended);
    /// let graph = GraphBuilder::new();
    /// let times = graph.records(&visits).map_values(|_, visit| visit.timestamp_ms).to_table("times");
    /// let engine = Engine::builder(&graph.build()?).in_memory().start()?;
    /// // Whatever a producer says.
    /// let position = engine.producer(&visits)?.send([(&1, Some(&7), 5)]).wait_blocking()?;
    /// engine.wait_for_blocking(&position)?;
    /// assert!(engine.view(&times)?.get(&1)?.is_some_and(|at| at > 1_700_000_000_000));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "LogAppendTime")]
    pub fn timestamps(mut self, timestamps: Timestamps) -> Self {
        self.config.timestamps = Some(timestamps);
        self
    }

    /// Says what becomes of whatever waits for time, such as the end of a window, where a partition of the topic is silent; see
    /// [`Idle`] for what there is, for what is usual, and for an example. It counts for the engines whose graphs read the topic.
    #[must_use]
    #[doc(alias = "withIdleness")]
    pub fn idle(mut self, idle: Idle) -> Self {
        self.idle = Some(idle);
        self
    }

    /// How far ahead of the clock a record may be dated that is appended to the topic: an hour unless set, `None` for any date. A
    /// [producer](crate::changelog::Producer) refuses one that is dated later, and nothing of its call is appended: a single record of a
    /// device whose clock is wrong would take its partition on in time, and everything honest behind it would be late. What others
    /// append is not looked at, and neither is what a graph writes; Kafka has the same guard for its topics
    /// (`message.timestamp.after.max.ms`, KIP-937).
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::{MemoryChangelog, Producer};
    /// use millpond::{ErrorKind, ManualClock, Topic};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// let (log, clock) = (Arc::new(MemoryChangelog::new()), Arc::new(ManualClock::new(0)));
    /// let readings = Topic::<u8, u64>::new("readings");
    /// let minute = Producer::new(log.clone(), &readings.clone().max_ahead(Duration::from_secs(60)), clock.clone())?;
    /// minute.send([(&1, Some(&7), 60_000)]).wait_blocking()?;
    /// let refused = minute.send([(&1, Some(&7), 60_001)]).wait_blocking().unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::Invalid);
    /// let any = Producer::new(log, &readings.max_ahead(None), clock)?;
    /// any.send([(&1, Some(&7), i64::MAX)]).wait_blocking()?;
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "message.timestamp.after.max.ms")]
    pub fn max_ahead(mut self, max_ahead: impl Into<Option<Duration>>) -> Self {
        self.max_ahead = max_ahead.into();
        self
    }

    /// Refuses a record that is dated too far ahead of the clock.
    ///
    /// # Errors
    /// `Invalid`.
    pub(crate) fn check_ahead(&self, timestamp_ms: i64, now_ms: i64) -> Result<()> {
        // What the log dates itself is of now.
        let Some(max_ahead) = self.max_ahead.filter(|_| self.config.timestamps != Some(Timestamps::Appended))
        else {
            return Ok(());
        };
        if timestamp_ms <= now_ms.saturating_add(millis(max_ahead)) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "a record for topic `{}` is dated {timestamp_ms} ms since 1970, when it is {now_ms}, and no more than {max_ahead:?} ahead \
             is allowed, as whatever its partition gets afterwards with an earlier date may be late for it; mind the unit \
             (milliseconds) and the clock of whoever has dated it, or allow it with `Topic::max_ahead`",
            self.name
        )))
    }

    /// What was said of its silent partitions.
    pub(crate) fn said_of_idle(&self) -> Option<Idle> {
        self.idle
    }

    /// The codec of its keys; `None` if they are [`Ordered`].
    #[must_use]
    pub fn key_codec(&self) -> Option<&Arc<dyn ValueCodec<K>>> {
        self.key_codec.as_ref()
    }

    /// Appends `key`, which may be [borrowed](AsKey), as it is written in the records of the topic.
    ///
    /// # Errors
    /// If the codec of the keys cannot write it. Nothing was appended.
    #[inline]
    pub fn encode_key(&self, key: &(impl AsKey<K> + ?Sized), out: &mut Vec<u8>) -> Result<(), CodecError> {
        match &self.key_codec {
            None => key.encode_as_key(out),
            Some(codec) => codec.encode(&key.as_key(), out)?,
        }
        Ok(())
    }

    /// The key that is written as `bytes` in the records of the topic.
    ///
    /// # Errors
    /// If it is not one of type `K`.
    #[inline]
    pub fn decode_key(&self, bytes: &[u8]) -> Result<K, CodecError> {
        match &self.key_codec {
            None => K::decode_whole_key(bytes),
            Some(codec) => codec.decode(bytes),
        }
    }

    /// Whether records without a key get one: see [`keyed_by`](Self::keyed_by).
    #[must_use]
    pub fn has_made_keys(&self) -> bool {
        self.made_key.is_some()
    }

    /// Whether records of one key may lie in several partitions, because others write the key in several ways, or because
    /// records have none.
    pub(crate) fn may_spread_keys(&self) -> bool {
        // A type of the user may read several texts as one.
        let is_proven = |codec: &Arc<dyn ValueCodec<K>>| codec.shape().is_ok_and(|shape| shape.is_proven());
        self.has_made_keys() || !self.has_one_form || !self.key_codec.as_ref().is_none_or(is_proven)
    }

    /// The key of a record that has none; `None` if the topic does not say how to make one.
    #[must_use]
    #[inline]
    pub fn made_key(&self, value: &V) -> Option<K> {
        self.made_key.as_ref().map(|make| make(value))
    }

    /// The timestamp of a record that says `record_ms` itself.
    #[must_use]
    #[inline]
    pub fn timestamp_ms(&self, key: &K, value: &V, record_ms: i64) -> i64 {
        self.timestamp.as_ref().map_or(record_ms, |timestamp_ms| timestamp_ms(key, value))
    }

    /// Whether the topic itself says [when](Self::timestamps_from) a record happened.
    #[must_use]
    pub fn has_timestamps(&self) -> bool {
        self.timestamp.is_some()
    }
}
