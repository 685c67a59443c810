//! What others call: topics as librdkafka describes them, where partitions begin and end, and readers.

use super::context::{Trouble, unanswered};
use super::lane::Lane;
use super::reader::Reader;
use super::state::{Ends, Shared};
use crate::Kafka;
use crate::fetch::errors::{self, out_of_range};
use crate::fetch::{PartitionMetadata, TopicMetadata};
use crate::path::{FetchPath, LASTING};
use crate::properties;
use millpond_engine::changelog::PartitionReader;
use millpond_engine::{Error, Result, TopicPartition};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Offset, TopicPartitionList};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Ends that were heard so long ago are asked for again.
const FRESH: Duration = Duration::from_secs(1);
/// Ends that nobody has asked for in this time are not asked for along with others.
const OF_INTEREST: Duration = Duration::from_secs(60);
/// Whoever has an answer, if an old one, waits no longer than this for a new one.
const PATIENCE: Duration = Duration::from_millis(500);
/// So long it takes until it is asked again who leads a partition.
const LEADERLESS: Duration = Duration::from_millis(50);
/// The most that librdkafka may be told to keep, in KiB.
const MOST_QUEUED_KIB: usize = 2_097_151;
/// About what a message takes in librdkafka beside its key and its value, and how many are there at least and at most before no
/// more are fetched.
const MESSAGE_BYTES: usize = 500;
const LEAST_QUEUED: usize = 10_000;
const MOST_QUEUED: usize = 1_000_000;
/// What a broker is asked for at once, in bytes: at least, and at most. A batch that is larger comes through all the same.
const LEAST_FETCH_BYTES: usize = 16 << 10;
const MOST_FETCH_BYTES: usize = 50 << 20;

/// What may be set, and is set well for reading a log, with the reason in the design of the path.
const DEFAULTS: [(&str, &str); 5] = [
    ("client.id", "millpond"),
    // Fetches go on until enough is there; with the default of a second between them reading takes six times as long.
    ("fetch.queue.backoff.ms", "5"),
    ("metadata.max.age.ms", "30000"),
    // A broker that is back is found soon.
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
];
/// What must be so.
const SETTINGS: [(&str, &str); 9] = [
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    ("enable.partition.eof", "true"),
    ("allow.auto.create.topics", "false"),
    // Of a consumer it is the least that a fetch may ask for, and bounds nothing.
    ("message.max.bytes", "1000"),
    // Nobody is a member of the group, and whoever does not poll has enough.
    ("max.poll.interval.ms", "86400000"),
];

/// librdkafka's consumers, one for each topic that is read.
#[derive(Clone)]
pub(crate) struct Consumers(Arc<Handle>);

impl fmt::Debug for Consumers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumers").finish_non_exhaustive()
    }
}

/// Closes what is shared when neither the path nor a reader is left.
pub(super) struct Handle {
    shared: Arc<Shared>,
    /// Asked for topics and offsets. It reads nothing.
    asked: Mutex<Option<Arc<BaseConsumer<Trouble>>>>,
    /// As `asked`, for offsets of what is not decided; made when it is needed first.
    undecided: Mutex<Option<Arc<BaseConsumer<Trouble>>>>,
    cluster: Option<Arc<str>>,
}

impl Handle {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn close(&self) {
        self.shared.close();
        let asked = [&self.asked, &self.undecided]
            .map(|asked| asked.lock().unwrap_or_else(PoisonError::into_inner).take());
        // librdkafka waits for its threads, which may take a while; nobody else needs to.
        let ends = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(move || drop(asked));
        if let Err(error) = ends {
            tracing::warn!(%error, "a consumer of Kafka was closed in place");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// A consumer that is assigned nothing yet.
pub(super) fn consumer(shared: &Shared) -> Result<BaseConsumer<Trouble>> {
    shared.config.create_with_context(shared.trouble.clone()).map_err(|error| match error {
        KafkaError::ClientConfig(_, reason, name, _) => {
            Error::invalid(format!("the property `{name}` of Kafka: {reason}"))
        }
        error => Error::invalid("a consumer cannot be made of the properties of Kafka").with_source(error),
    })
}

/// Offsets as librdkafka tells them.
pub(super) fn range((start, end): (i64, i64)) -> Option<(u64, u64)> {
    Some((u64::try_from(start).ok()?, u64::try_from(end).ok()?))
}

/// Whether it says that nobody has answered.
fn is_away(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as E;
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(E::OperationTimedOut | E::BrokerTransportFailure | E::AllBrokersDown | E::RequestTimedOut)
    )
}

impl Consumers {
    /// Connects to the first broker that answers. At most `buffer_bytes` are read ahead.
    pub(crate) fn connect(kafka: &Kafka, buffer_bytes: usize) -> Result<Self> {
        let mut config = ClientConfig::new();
        for (name, value) in DEFAULTS {
            config.set(name, value);
        }
        // Half of it in librdkafka's queues, and half where it waits to be polled.
        let queued = (buffer_bytes / 4 / 1024).clamp(1024, MOST_QUEUED_KIB);
        config.set("queued.max.messages.kbytes", queued.to_string());
        // It counts keys and values, and each message takes some hundred bytes beside them.
        let messages = (buffer_bytes / 4 / MESSAGE_BYTES).clamp(LEAST_QUEUED, MOST_QUEUED);
        config.set("queued.min.messages", messages.to_string());
        // What a broker answers comes on top of that, of all partitions at once and decompressed, which may be fifty times as much.
        config.set(
            "fetch.max.bytes",
            (buffer_bytes / 32).clamp(LEAST_FETCH_BYTES, MOST_FETCH_BYTES).to_string(),
        );
        for (name, value) in &kafka.properties {
            config.set(name, value);
        }
        // Without a group it would listen to the wrong queue.
        config.set("group.id", &kafka.service);
        for (name, value) in SETTINGS {
            config.set(name, value);
        }
        let timeout = properties::request_timeout(&kafka.properties);
        let shared = Arc::new(Shared::new(config, timeout, buffer_bytes / 2));
        let asked = consumer(&shared)?;
        let deadline = Instant::now() + timeout;
        let cluster = loop {
            let found = asked.client().fetch_cluster_id(Duration::from_millis(200));
            // What is wrong is told to whoever polls.
            while asked.poll(Duration::ZERO).is_some() {}
            match found {
                Some(cluster) => break cluster,
                None if Instant::now() < deadline => {}
                None => return Err(shared.trouble.away("cannot connect to Kafka")),
            }
        };
        shared.trouble.is_over();
        let (asked, cluster) = (Mutex::new(Some(Arc::new(asked))), Some(Arc::from(cluster)));
        Ok(Self(Arc::new(Handle { shared, asked, undecided: Mutex::default(), cluster })))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    fn asked(&self) -> Result<Arc<BaseConsumer<Trouble>>> {
        let asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = asked.ok_or_else(errors::closed)?;
        while asked.poll(Duration::ZERO).is_some() {}
        Ok(asked)
    }

    /// Asks for ends that transactions which have not ended are below.
    fn undecided(&self) -> Result<Arc<BaseConsumer<Trouble>>> {
        self.shared().check_open()?;
        let mut undecided = self.0.undecided.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = &*undecided {
            while asked.poll(Duration::ZERO).is_some() {}
            return Ok(Arc::clone(asked));
        }
        let mut config = self.shared().config.clone();
        config.set("isolation.level", "read_uncommitted");
        let asked = config.create_with_context(self.shared().trouble.clone()).map_err(|error| {
            Error::unavailable("a consumer cannot be made to ask for offsets").with_source(error)
        })?;
        Ok(Arc::clone(undecided.insert(Arc::new(asked))))
    }

    /// Asks where a partition begins and ends.
    fn ask(&self, id: &TopicPartition, limit: Duration) -> Result<Range<u64>> {
        let (start, end) = self.watermarks(&*self.asked()?, id, limit)?;
        self.shared().trouble.is_over();
        self.shared().lock().ends.insert(id.clone(), Ends { start, end, at: Instant::now() });
        // A reader may stand before an end that it did not know.
        self.shared().notify();
        Ok(start..end)
    }

    /// What `asked` is told of a partition. Who leads it may have changed, or not be known yet of a topic that was just created: that is
    /// asked anew, within `limit`.
    fn watermarks(
        &self,
        asked: &BaseConsumer<Trouble>,
        id: &TopicPartition,
        limit: Duration,
    ) -> Result<(u64, u64)> {
        use RDKafkaErrorCode as E;
        let number = i32::try_from(id.partition).unwrap_or(i32::MAX);
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match asked.fetch_watermarks(&id.topic, number, left) {
                Ok(told) => {
                    let unknown =
                        || Error::unavailable(format!("the broker does not tell the offsets of {id}"));
                    return range(told).ok_or_else(unknown);
                }
                Err(error) => error,
            };
            let is_there = match error.rdkafka_error_code() {
                Some(E::NotLeaderForPartition | E::LeaderNotAvailable) => true,
                Some(E::UnknownPartition | E::UnknownTopic | E::UnknownTopicOrPartition) => {
                    // So it was when it was heard of last, or it must not be seen.
                    let found = self
                        .find_topic(&id.topic)?
                        .ok_or_else(|| errors::unknown(format_args!("topic {}", id.topic)))?;
                    found.partitions.iter().any(|found| found.partition == id.partition)
                }
                _ => false,
            };
            if !is_there || Instant::now() + LEADERLESS >= deadline {
                return Err(unanswered(id, &error, &self.shared().trouble));
            }
            self.shared().check_open()?;
            drop(self.shared().wait(self.shared().lock(), LEADERLESS));
            // Told to all who ask.
            let _ = asked.fetch_metadata(Some(&id.topic), deadline.saturating_duration_since(Instant::now()));
        }
    }

    /// As `ask`, for whoever has an answer, if an old one: along with the other old ones, and not at all if nobody answered a
    /// moment ago.
    fn ask_again(&self, id: &TopicPartition) -> Result<Range<u64>> {
        let shared = self.shared();
        let state = shared.lock();
        if state.unanswered.is_some_and(|at| at.elapsed() < FRESH) {
            return Err(shared.trouble.away("the brokers do not tell offsets"));
        }
        let is_old = |ends: &Ends| (FRESH / 2..OF_INTEREST).contains(&ends.at.elapsed());
        let old =
            state.ends.iter().filter(|(other, ends)| *other != id && is_old(ends)).map(|(other, _)| other);
        let asked: Vec<_> = old.chain([id]).cloned().collect();
        drop(state);
        let answer = self.ask_together(&asked);
        let mut state = shared.lock();
        state.unanswered = answer.is_err().then(Instant::now);
        state.ends.extend(answer?);
        let heard = state.ends.get(id).copied().filter(|ends| ends.at.elapsed() < FRESH);
        drop(state);
        shared.notify();
        match heard {
            Some(ends) => Ok(ends.start..ends.end),
            None => self.ask(id, PATIENCE),
        }
    }

    /// Asks where these partitions begin and end, each leader once for all that are its own. Answers with what was told, which is
    /// nothing if one of the partitions is not there.
    ///
    /// # Errors
    /// `Unavailable` if a leader does not answer.
    fn ask_together(&self, ids: &[TopicPartition]) -> Result<Vec<(TopicPartition, Ends)>> {
        let asked = self.asked()?;
        let deadline = Instant::now() + PATIENCE;
        // In place of timestamps.
        let told = |which: Offset| {
            let mut list = TopicPartitionList::with_capacity(ids.len());
            for id in ids {
                list.add_partition_offset(&id.topic, i32::try_from(id.partition).unwrap_or(i32::MAX), which)?;
            }
            asked.offsets_for_times(list, deadline.saturating_duration_since(Instant::now()))
        };
        let (starts, ends) = match told(Offset::Beginning).and_then(|starts| Ok((starts, told(Offset::End)?)))
        {
            Ok(told) => told,
            Err(error) if is_away(&error) => {
                return Err(self
                    .shared()
                    .trouble
                    .away(&format!("the brokers do not tell offsets ({error})")));
            }
            Err(_) => return Ok(Vec::new()),
        };
        self.shared().trouble.is_over();
        let at = Instant::now();
        let heard = |id: &TopicPartition| {
            let number = i32::try_from(id.partition).ok()?;
            let of = |list: &TopicPartitionList| list.find_partition(&id.topic, number)?.offset().to_raw();
            let (start, end) = range((of(&starts)?, of(&ends)?))?;
            Some((id.clone(), Ends { start, end, at }))
        };
        Ok(ids.iter().filter_map(heard).collect())
    }

    fn describe(topic: &MetadataTopic) -> Result<Option<TopicMetadata>> {
        let name = topic.name();
        match topic.error().map(RDKafkaErrorCode::from) {
            None | Some(RDKafkaErrorCode::LeaderNotAvailable | RDKafkaErrorCode::ReplicaNotAvailable) => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Ok(None);
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => return Err(errors::not_allowed(name)),
            Some(RDKafkaErrorCode::InvalidTopic) => {
                return Err(Error::invalid(format!("`{name}` is no name that a topic of Kafka can have")));
            }
            Some(code) => {
                return Err(Error::unavailable(format!("the brokers cannot describe topic {name}: {code}")));
            }
        }
        let mut partitions: Vec<_> = topic
            .partitions()
            .iter()
            .filter_map(|partition| {
                Some(PartitionMetadata {
                    partition: u32::try_from(partition.id()).ok()?,
                    leader: Some(partition.leader()).filter(|leader| *leader >= 0),
                    leader_epoch: -1,
                })
            })
            .collect();
        partitions.sort_unstable_by_key(|partition| partition.partition);
        let (name, is_internal) = (Arc::from(name), name.starts_with("__"));
        Ok(Some(TopicMetadata { name, id: Uuid::nil(), is_internal, partitions }))
    }

    fn metadata(&self, topic: Option<&str>) -> Result<rdkafka::metadata::Metadata> {
        let answer = self.asked()?.fetch_metadata(topic, self.shared().timeout);
        let described =
            answer.map_err(|_| self.shared().trouble.away("the brokers do not describe topics"))?;
        self.shared().trouble.is_over();
        Ok(described)
    }
}

impl FetchPath for Consumers {
    fn cluster_id(&self) -> Option<Arc<str>> {
        self.0.cluster.clone()
    }

    fn find_topic(&self, name: &str) -> Result<Option<TopicMetadata>> {
        let described = self.metadata(Some(name))?;
        described.topics().first().map_or(Ok(None), Self::describe)
    }

    fn await_topic(&self, name: &str) -> Result<TopicMetadata> {
        let deadline = Instant::now() + self.shared().timeout;
        loop {
            let found = self.find_topic(name)?.filter(|found| !found.partitions.is_empty());
            match found {
                Some(found) => return Ok(found),
                None if Instant::now() < deadline => {
                    self.shared().check_open()?;
                    drop(self.shared().wait(self.shared().lock(), Duration::from_millis(50)));
                }
                None => return Err(Error::unavailable(format!("the brokers do not know topic {name} yet"))),
            }
        }
    }

    fn all_topics(&self) -> Result<Vec<TopicMetadata>> {
        let described = self.metadata(None)?;
        Ok(described.topics().iter().filter_map(|topic| Self::describe(topic).ok().flatten()).collect())
    }

    fn offsets(&self, id: &TopicPartition) -> Result<Range<u64>> {
        self.shared().check_open()?;
        match self.heard_offsets(id) {
            Some((known, at)) if at.elapsed() < FRESH => Ok(known),
            Some((known, _)) => Ok(self.ask_again(id).unwrap_or(known)),
            None => self.ask(id, self.shared().timeout),
        }
    }

    fn heard_offsets(&self, id: &TopicPartition) -> Option<(Range<u64>, Instant)> {
        let heard = self.shared().lock().ends.get(id).copied()?;
        Some((heard.start..heard.end, heard.at))
    }

    fn latest_offsets(&self, id: &TopicPartition) -> Result<Range<u64>> {
        self.ask(id, self.shared().timeout)
    }

    fn high_watermark(&self, id: &TopicPartition) -> Result<u64> {
        Ok(self.watermarks(&*self.undecided()?, id, self.shared().timeout)?.1)
    }

    fn reader(&self, id: &TopicPartition, offset: u64) -> Result<Box<dyn PartitionReader>> {
        let mut known = self.offsets(id)?;
        if offset < known.start || offset > known.end {
            known = self.latest_offsets(id)?;
        }
        if let Some(error) = out_of_range(id, offset, known.start, known.end) {
            return Err(error);
        }
        let mut state = self.shared().lock();
        let (reader, lane, is_new) = state.open(id, offset);
        if is_new {
            let shared = Arc::clone(self.shared());
            drop(state);
            let started = Lane::new(shared, lane, Arc::clone(&id.topic)).and_then(|lane| {
                let thread = std::thread::Builder::new().name(format!("kafka-{}", id.topic));
                thread.spawn(move || lane.run()).map(drop).map_err(|error| {
                    Error::unavailable("no thread can be started to read from Kafka").with_source(error)
                })
            });
            if let Err(error) = started {
                let mut state = self.shared().lock();
                state.lanes.remove(&lane);
                state.readers.remove(&reader);
                return Err(error);
            }
        } else {
            drop(state);
        }
        self.shared().notify();
        Ok(Box::new(Reader::new(Arc::clone(&self.0), reader, offset)))
    }

    fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.shared().watchers.add(waker);
    }

    fn trouble(&self) -> Option<String> {
        self.shared().trouble.told(Duration::ZERO)
    }

    fn lasting_trouble(&self) -> Option<String> {
        self.shared().trouble.told(self.shared().timeout * LASTING)
    }

    fn partitions(&self, name: &str) -> Option<usize> {
        self.shared().lock().partitions.get(name).copied()
    }

    fn close(&self) {
        self.0.close();
    }
}
