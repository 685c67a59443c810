//! Producers: typed appends to one topic, partitioned by key.

use super::{Ack, Append, Changelog, Headers, ProducerRecord, Record, partition_for_key};
use crate::codec::{AsKey, Key, Value};
use crate::folding::EngineId;
use crate::wait::block_on;
use crate::{Clock, Error, Position, Result, Topic, TopicPartition};
use bytes::Bytes;
use std::borrow::Borrow;
use std::fmt;
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// Holds up acknowledgements while a fold is too far behind.
///
/// Whoever awaits its appends is slowed down to the speed of the fold; the order of appends is that of the calls all
/// the same, and nothing that was appended waits to be durable.
pub(crate) struct Gate {
    most_lag: u64,
    /// Whether more than so many records are appended and not folded. Asked at every append: a fold that is stuck cannot
    /// tell.
    is_beyond: Box<dyn Fn(u64) -> bool + Send + Sync>,
    engine: EngineId,
    /// Why the engine reads no more.
    ended: OnceLock<Error>,
    moved: Notify,
}

impl Gate {
    pub(crate) fn new(
        engine: EngineId,
        most_lag: u64,
        is_beyond: impl Fn(u64) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            most_lag,
            is_beyond: Box::new(is_beyond),
            engine,
            ended: OnceLock::new(),
            moved: Notify::new(),
        }
    }

    /// Whether records can be appended through the engine.
    ///
    /// # Errors
    /// Why the engine has ended. Nothing was appended.
    pub(crate) fn check(&self) -> Result<()> {
        match self.ended.get() {
            Some(reason) => Err(reason.summary()),
            None => Ok(()),
        }
    }

    /// Lets whoever waits through, if the fold has come near enough.
    pub(crate) fn moved(&self) {
        if self.is_open() {
            self.moved.notify_waiters();
        }
    }

    /// The engine ends: whoever waits is let through, since what was appended is in the changelog, and whoever comes
    /// later learns why. The first reason stays.
    pub(crate) fn end(&self, reason: &Error) {
        let _ = self.ended.set(reason.summary().context("nothing was appended through this engine"));
        self.moved.notify_waiters();
    }

    fn is_open(&self) -> bool {
        // The code of the graph itself would wait for what it holds up.
        self.ended.get().is_some() || self.engine.is_folding() || !(self.is_beyond)(self.most_lag)
    }

    /// The same promise, kept back while the fold is too far behind.
    pub(crate) fn hold_up(self: &Arc<Self>, ack: Ack) -> Ack {
        if self.is_open() {
            return ack;
        }
        let gate = Arc::clone(self);
        ack.after(async move { gate.pass().await })
    }

    async fn pass(&self) {
        loop {
            let moved = self.moved.notified();
            if self.is_open() {
                return;
            }
            moved.await;
        }
    }
}

/// Appends typed records to one topic. The partition of a record is chosen by its key, as Kafka does.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let readings = Topic::<u32, f64>::new("readings").partitions(2);
/// let graph = GraphBuilder::new();
/// let latest = graph.table(&readings, "latest");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
///
/// let producer = engine.producer(&readings)?;
/// producer.put(&1, &20.5).wait_blocking()?;
/// producer.delete(&2).wait_blocking()?;
/// // Many at once, with timestamps of their own: all of them or none.
/// producer.ready_blocking();
/// let position = producer.send([(&1, Some(&21.0), 1_000), (&3, None, 1_001)]).wait_blocking()?;
/// engine.wait_for_blocking(&position)?;
/// assert_eq!(engine.view(&latest)?.get(&1)?, Some(21.0));
/// # Ok::<(), millpond::Error>(())
/// ```
pub struct Producer<K, V> {
    changelog: Arc<dyn Changelog>,
    topic: Topic<K, V>,
    /// As they were when it was made.
    partitions: u32,
    clock: Arc<dyn Clock>,
    gate: Option<Arc<Gate>>,
}

/// A record to be appended.
struct Outgoing<'r, Q: ?Sized, V> {
    key: &'r Q,
    value: Option<V>,
    timestamp_ms: i64,
    headers: Headers,
}

impl<K, V> fmt::Debug for Producer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl<K, V> Clone for Producer<K, V> {
    fn clone(&self) -> Self {
        Self {
            changelog: Arc::clone(&self.changelog),
            topic: self.topic.clone(),
            partitions: self.partitions,
            clock: Arc::clone(&self.clock),
            gate: self.gate.clone(),
        }
    }
}

impl<K: Key, V: Value> Producer<K, V> {
    /// A producer for `topic`, which is created if it does not exist. The retention of a topic that is there stays as it
    /// is, whatever the handle says.
    ///
    /// # Errors
    /// `Invalid` if the topic exists with another number of partitions, or holds other keys or values (see [`Topic`]), or if
    /// its codec cannot hold the type.
    pub fn new(changelog: Arc<dyn Changelog>, topic: &Topic<K, V>, clock: Arc<dyn Clock>) -> Result<Self> {
        let declared = topic.declared()?;
        changelog.ensure_topic(topic.name(), topic.topic_config())?;
        changelog.declare_type(topic.name(), declared)?;
        let partitions = changelog.partitions(topic.name())?;
        let partitions = partitions.unwrap_or_else(|| topic.topic_config().partitions_or_default());
        Ok(Self { changelog, topic: topic.clone(), partitions, clock, gate: None })
    }

    /// The same producer, held up by `gate`.
    pub(crate) fn gated(mut self, gate: Arc<Gate>) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Resolves once the changelog has room for an append and the engine that made the producer has come near enough
    /// to the end of what it reads.
    pub async fn ready(&self) {
        if let Some(gate) = &self.gate {
            gate.pass().await;
        }
        self.changelog.room().await;
    }

    /// As [`ready`](Self::ready), for threads that may block.
    pub fn ready_blocking(&self) {
        block_on(self.ready());
    }

    /// Appends `key`, which may be [borrowed](AsKey), with `value`, stamped with the time of the clock.
    pub fn put(&self, key: &(impl AsKey<K> + ?Sized), value: &V) -> Ack {
        self.send(std::iter::once((key, Some(value), self.clock.now_ms())))
    }

    /// As [`put`](Self::put), for threads that may block.
    ///
    /// # Errors
    /// As for [`Ack::wait_blocking`].
    pub fn put_blocking(&self, key: &(impl AsKey<K> + ?Sized), value: &V) -> Result<Position> {
        self.put(key, value).wait_blocking()
    }

    /// Appends a tombstone for `key`.
    pub fn delete(&self, key: &(impl AsKey<K> + ?Sized)) -> Ack {
        self.send(std::iter::once((key, None, self.clock.now_ms())))
    }

    /// As [`delete`](Self::delete), for threads that may block.
    ///
    /// # Errors
    /// As for [`Ack::wait_blocking`].
    pub fn delete_blocking(&self, key: &(impl AsKey<K> + ?Sized)) -> Result<Position> {
        self.delete(key).wait_blocking()
    }

    /// Appends many records, each a key, a value (`None` is a tombstone) and a timestamp in milliseconds, in one
    /// step: all of them or none, in the order given.
    ///
    /// The acknowledgement comes when the records are durable and, if an engine made the producer, not before that
    /// engine is within its [`max_lag`](crate::EngineBuilder::max_lag): awaiting appends is all the back-pressure there
    /// is to handle. A caller that does not await them is refused with `Unavailable` once the changelog's queue is full.
    /// Through an engine that has stopped or was closed nothing is appended: the acknowledgement is an error with the
    /// reason. A producer of one's own ([`Producer::new`]) on the same changelog goes on. On a changelog without
    /// [atomic appends](super::Abilities::atomic_appends) records of several partitions are refused with `Invalid`: send those of one
    /// partition at a time. So are records that are dated [too far ahead](Topic::max_ahead) of the clock.
    pub fn send<'r, Q: AsKey<K> + ?Sized + 'r>(
        &self,
        records: impl IntoIterator<Item = (&'r Q, Option<&'r V>, i64)>,
    ) -> Ack {
        let plain =
            |(key, value, timestamp_ms)| Outgoing { key, value, timestamp_ms, headers: Headers::new() };
        self.append(records.into_iter().map(plain))
    }

    /// As [`send`](Self::send), for threads that may block.
    ///
    /// # Errors
    /// As for [`Ack::wait_blocking`].
    pub fn send_blocking<'r, Q: AsKey<K> + ?Sized + 'r>(
        &self,
        records: impl IntoIterator<Item = (&'r Q, Option<&'r V>, i64)>,
    ) -> Result<Position> {
        self.send(records).wait_blocking()
    }

    /// As [`send`](Self::send), where records may have headers: each is a key and what is to be written of it. One without a
    /// timestamp is stamped with the time of the clock.
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::ProducerRecord;
    /// use millpond::{Engine, GraphBuilder, Topic};
    ///
    /// let orders = Topic::<u32, u64>::new("orders");
    /// let graph = GraphBuilder::new();
    /// let traced = graph.records(&orders).filter(|_, order| order.header("trace").is_some());
    /// let counts = traced.group_by_key().count("counts");
    /// let engine = Engine::builder(&graph.build()?).in_memory().start()?;
    /// let order = ProducerRecord::new(450).with_header("trace", "4bf9");
    /// let position = engine.producer(&orders)?.send_records([(&7, order), (&8, ProducerRecord::tombstone())]).wait_blocking()?;
    /// engine.wait_for_blocking(&position)?;
    /// assert_eq!(engine.view(&counts)?.multi_get(&[7, 8])?, [Some(1), None]);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn send_records<'r, Q: AsKey<K> + ?Sized + 'r>(
        &self,
        records: impl IntoIterator<Item = (&'r Q, ProducerRecord<V>)>,
    ) -> Ack {
        let now = self.clock.now_ms();
        let parts = records.into_iter().map(|(key, record)| (key, record.into_parts()));
        self.append(parts.map(|(key, (value, timestamp_ms, headers))| Outgoing {
            key,
            value,
            timestamp_ms: timestamp_ms.unwrap_or(now),
            headers,
        }))
    }

    /// As [`send_records`](Self::send_records), for threads that may block.
    ///
    /// # Errors
    /// As for [`Ack::wait_blocking`].
    pub fn send_records_blocking<'r, Q: AsKey<K> + ?Sized + 'r>(
        &self,
        records: impl IntoIterator<Item = (&'r Q, ProducerRecord<V>)>,
    ) -> Result<Position> {
        self.send_records(records).wait_blocking()
    }

    fn append<'r, Q: AsKey<K> + ?Sized + 'r, W: Borrow<V>>(
        &self,
        records: impl IntoIterator<Item = Outgoing<'r, Q, W>>,
    ) -> Ack {
        let checked = self.gate.as_ref().map_or(Ok(()), |gate| gate.check());
        match checked.and_then(|()| self.one_step(self.encode(records)?)) {
            Ok(appends) => self.held_up(self.changelog.append(appends)),
            Err(error) => Ack::ready(Err(error)),
        }
    }

    /// Refuses what the changelog cannot append in one step.
    fn one_step(&self, appends: Vec<Append>) -> Result<Vec<Append>> {
        // There is more than one only if they are for several partitions.
        if appends.len() < 2 || self.changelog.abilities().atomic_appends {
            return Ok(appends);
        }
        Err(Error::invalid(format!(
            "topic `{}`: records of several partitions are to be appended in one step, for which the changelog {} lacks the \
             ability `atomic_appends`: send those of one partition at a time, or one after the other with `put`",
            self.topic.name(),
            self.changelog.description()
        )))
    }

    fn held_up(&self, ack: Ack) -> Ack {
        match &self.gate {
            Some(gate) => gate.hold_up(ack),
            None => ack,
        }
    }

    /// How many partitions the topic has: in a log that is one sequence as many as ever.
    fn partitions(&self) -> u32 {
        if self.changelog.abilities().one_sequence {
            return self.partitions;
        }
        // Whatever is wrong, the append that follows tells it.
        self.changelog.partitions(self.topic.name()).ok().flatten().unwrap_or(self.partitions)
    }

    fn encode<'r, Q: AsKey<K> + ?Sized + 'r, W: Borrow<V>>(
        &self,
        records: impl IntoIterator<Item = Outgoing<'r, Q, W>>,
    ) -> Result<Vec<Append>> {
        // Neighbours of one partition go together, and no further: the order given is the order in the log.
        let mut appends: Vec<Append> = Vec::new();
        let (partitions, now_ms) = (self.partitions(), self.clock.now_ms());
        for Outgoing { key, value, timestamp_ms, headers } in records {
            let mut bytes = Vec::with_capacity(32);
            self.topic.encode_key(key, &mut bytes).map_err(|error| {
                Error::user(format!("topic `{}`: a key does not encode", self.topic.name()))
                    .with_source(error)
            })?;
            let split = bytes.len();
            let partition = partition_for_key(&bytes, partitions);
            let mut timestamp_ms = timestamp_ms;
            if let Some(value) = &value {
                self.topic.codec().encode(value.borrow(), &mut bytes).map_err(|error| {
                    Error::user(format!("topic `{}`: a value does not encode", self.topic.name()))
                        .with_source(error)
                })?;
                if self.topic.has_timestamps() {
                    timestamp_ms = self.topic.timestamp_ms(&key.as_key(), value.borrow(), timestamp_ms);
                }
            }
            self.topic.check_ahead(timestamp_ms, now_ms)?;
            // Key and value share one allocation.
            let mut key = Bytes::from(bytes);
            let encoded = key.split_off(split);
            let record = Record { key: Some(key), value: value.map(|_| encoded), timestamp_ms, headers };
            match appends.last_mut() {
                Some(append) if append.partition.partition == partition => append.records.push(record),
                _ => appends.push(Append {
                    partition: TopicPartition::new(Arc::clone(self.topic.name()), partition),
                    records: vec![record],
                }),
            }
        }
        Ok(appends)
    }
}
