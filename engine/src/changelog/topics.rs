//! Topics: which there are, what they hold, and what they were created with.

use super::TopicType;
use crate::{Error, Result};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a topic is created with: no retention and as many partitions as usual, and what is to be otherwise.
///
/// # Examples
/// ```
/// use millpond::Topic;
/// use millpond::changelog::TopicConfig;
/// use std::time::Duration;
///
/// let week = Duration::from_secs(7 * 24 * 3600);
/// let config = TopicConfig::default().partitions(8).retention_age(week).retention_bytes(10 << 30);
/// let clicks = Topic::<String, u64>::new("clicks").config(config);
/// assert_eq!(clicks.topic_config().retention_age, Some(week));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicConfig {
    /// How many partitions. Without a number a topic that is there is taken as it is found, and one that is created gets
    /// [one](Self::partitions_or_default), or, in Kafka, as many as the broker gives it. A number is what there must be.
    pub partitions: Option<u32>,
    /// Records may be dropped once they are older than this, by record timestamp against the clock; one that is dated
    /// later than it was appended counts as being of that time. Nothing younger is dropped, and an embedded changelog
    /// drops what is older by an eighth, or by a minute.
    pub retention_age: Option<Duration>,
    /// The oldest records may be dropped once the topic holds more stored bytes than this.
    pub retention_bytes: Option<u64>,
    /// Where the timestamps of records come from. Unless it is said, a topic that is there is taken as it is found, and one
    /// that is created keeps what its producers say.
    pub timestamps: Option<Timestamps>,
}

/// Where the timestamps of a topic's records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "message.timestamp.type")]
pub enum Timestamps {
    /// From whoever appends them.
    #[doc(alias = "CreateTime")]
    Created,
    /// From the log, when it appends them, whatever their producer says: by the clock of the changelog or of the broker. It is
    /// kept with the record, and a replay reads what was read before.
    #[doc(alias = "LogAppendTime")]
    Appended,
}

impl fmt::Display for Timestamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "when its producer says",
            Self::Appended => "when they are appended",
        })
    }
}

/// The longest name of a topic, in bytes; that of Kafka.
const MAX_TOPIC_BYTES: usize = 249;

/// The most partitions a topic may have.
const MAX_PARTITIONS: u32 = 1 << 16;

impl TopicConfig {
    /// The same with another [`partitions`](Self#structfield.partitions).
    #[must_use]
    pub fn partitions(mut self, partitions: impl Into<Option<u32>>) -> Self {
        self.partitions = partitions.into();
        self
    }

    /// The same with another [`timestamps`](Self#structfield.timestamps).
    #[must_use]
    pub fn timestamps(mut self, timestamps: impl Into<Option<Timestamps>>) -> Self {
        self.timestamps = timestamps.into();
        self
    }

    /// How many partitions a topic is created with where nobody else decides: one, unless a number is given.
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::TopicConfig;
    ///
    /// let config = TopicConfig::default();
    /// assert_eq!((config.partitions, config.partitions_or_default()), (None, 1));
    /// assert_eq!(config.partitions(8).partitions_or_default(), 8);
    /// ```
    #[must_use]
    pub fn partitions_or_default(&self) -> u32 {
        self.partitions.unwrap_or(1)
    }

    /// The same with what it has where it is created, or is `there` already, of what may be left unsaid.
    #[must_use]
    pub(crate) fn settled(&self, there: Option<&Self>) -> Self {
        let found = there.map_or_else(|| self.partitions_or_default(), Self::partitions_or_default);
        let timestamps = self.timestamps.or(there.and_then(|there| there.timestamps));
        Self {
            partitions: Some(self.partitions.unwrap_or(found)),
            timestamps: Some(timestamps.unwrap_or(Timestamps::Created)),
            ..self.clone()
        }
    }

    /// Whether records are dated when they are appended.
    pub(crate) fn dates_records(&self) -> bool {
        self.timestamps == Some(Timestamps::Appended)
    }

    /// The same with another [`retention_age`](Self#structfield.retention_age).
    #[must_use]
    pub fn retention_age(mut self, retention_age: impl Into<Option<Duration>>) -> Self {
        self.retention_age = retention_age.into();
        self
    }

    /// The same with another [`retention_bytes`](Self#structfield.retention_bytes).
    #[must_use]
    pub fn retention_bytes(mut self, retention_bytes: impl Into<Option<u64>>) -> Self {
        self.retention_bytes = retention_bytes.into();
        self
    }

    /// Refuses a topic that cannot be created with this name and number of partitions. A changelog of one's own calls it.
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::TopicConfig;
    ///
    /// TopicConfig::default().check("clicks")?;
    /// assert!(TopicConfig::default().check("").is_err());
    /// assert!(TopicConfig::default().partitions(0).check("clicks").is_err());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self, topic: &str) -> Result<()> {
        if topic.is_empty() || topic.len() > MAX_TOPIC_BYTES {
            let length = topic.len();
            return Err(Error::invalid(format!(
                "a topic's name takes 1 to {MAX_TOPIC_BYTES} bytes, not {length}"
            )));
        }
        if let Some(partitions) = self.partitions.filter(|count| !(1..=MAX_PARTITIONS).contains(count)) {
            return Err(Error::invalid(format!(
                "topic {topic}: 1 to {MAX_PARTITIONS} partitions, not {partitions}"
            )));
        }
        Ok(())
    }

    /// Refuses a topic that was found with `found` partitions where another number is wanted. A changelog of one's own calls it.
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::TopicConfig;
    ///
    /// TopicConfig::default().check_found("clicks", 3)?;
    /// let error = TopicConfig::default().partitions(2).check_found("clicks", 3).unwrap_err();
    /// assert!(error.message().contains("has 3 partitions, not 2"));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid`, with both numbers.
    pub fn check_found(&self, topic: &str, found: u32) -> Result<()> {
        match self.partitions {
            Some(wanted) if wanted != found => Err(Error::invalid(format!(
                "topic {topic} has {found} partitions, not {wanted}: give it the number it has, or none at all to take it as it is \
                 found, or create another topic"
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses a topic that was found with other timestamps than are wanted. A changelog of one's own calls it.
    ///
    /// # Errors
    /// `Invalid`, with both.
    pub fn check_timestamps(&self, topic: &str, found: Timestamps) -> Result<()> {
        match self.timestamps {
            Some(wanted) if wanted != found => Err(Error::invalid(format!(
                "the records of topic {topic} are dated {found}, not {wanted}: leave `timestamps` out to take them as they are, or \
                 change the topic (`message.timestamp.type` in Kafka) or use another one"
            ))),
            _ => Ok(()),
        }
    }
}

/// That a topic is compacted: of each key the last record is sure to stay, and those before it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compaction {
    /// How long a tombstone stays at the least after what it deletes was compacted away.
    pub delete_retention: Duration,
}

impl Compaction {
    /// One that keeps tombstones for `delete_retention`.
    #[must_use]
    pub fn new(delete_retention: Duration) -> Self {
        Self { delete_retention }
    }
}

/// Topics: which there are, what they hold, and how long their records are kept.
pub trait TopicLog: Send + Sync {
    /// Creates a topic, or gives the one that is there the retention of `config`; writes nothing if it has that
    /// already. Whoever decides how long records are kept calls this: an engine for the topics of its graph, or an
    /// administrator.
    ///
    /// # Errors
    /// `Invalid` if it is there with another number of partitions, or the name is empty or too long.
    fn create_topic(&self, topic: &str, config: &TopicConfig) -> Result<()>;

    /// Creates a topic unless it is there, in which case its retention stays as it is and nothing is written. Whoever
    /// only appends calls this: a [`Producer`](super::Producer) does not know what was decided for the topic.
    ///
    /// # Errors
    /// As for [`create_topic`](Self::create_topic).
    fn ensure_topic(&self, topic: &str, config: &TopicConfig) -> Result<()>;

    /// Creates a topic of the engine's own if it is not there: with one partition, of which no record is ever dropped. Whoever administers
    /// the log need not have made it.
    ///
    /// # Errors
    /// As for [`create_topic`](Self::create_topic).
    fn ensure_own_topic(&self, topic: &str) -> Result<()> {
        self.ensure_topic(topic, &TopicConfig::default().partitions(1))
    }

    /// The topics and their number of partitions, ordered by name.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close).
    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>>;

    /// How many partitions `topic` has, as it was heard last; `None` if it is not there. Asked before each epoch, and by whoever
    /// appends records, who places them by it, so it must cost nothing. A log in which topics get more partitions while they are
    /// read wakes whoever [watches](super::ReadLog::watch) it then.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close).
    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        Ok(self.topics()?.into_iter().find(|(name, _)| **name == *topic).map(|(_, partitions)| partitions))
    }

    /// What tells `topic` from one of the same name that is made after it was deleted. `None` if it is not there, or the log
    /// cannot tell; in a log whose topics are never deleted there is nothing to tell. Asked at each drain, so it should cost
    /// nothing.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close); `Unavailable` if the log cannot be reached.
    fn topic_identity(&self, topic: &str) -> Result<Option<String>> {
        let _ = topic;
        Ok(None)
    }

    /// How `topic` is compacted; `None` if it is not, or the log does not tell.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close); `Unavailable` if the log cannot be reached.
    fn compaction(&self, topic: &str) -> Result<Option<Compaction>> {
        let _ = topic;
        Ok(None)
    }

    /// What `topic` is kept with; `None` if it is not there, or the implementation does not tell.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close).
    fn topic_config(&self, topic: &str) -> Result<Option<TopicConfig>> {
        let _ = topic;
        Ok(None)
    }

    /// How many bytes the records of `topic` take where they are stored; `None` if it is not there, or the implementation
    /// cannot tell without effort.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close).
    fn topic_bytes(&self, topic: &str) -> Result<Option<u64>> {
        let _ = topic;
        Ok(None)
    }

    /// What `topic` was declared to hold. An implementation that does not remember it answers `None`, and topics are then
    /// checked within one graph only.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close).
    fn topic_type(&self, topic: &str) -> Result<Option<TopicType>> {
        let _ = topic;
        Ok(None)
    }

    /// Declares what a topic that is there holds, and remembers it durably as [`TopicType::declare`] says. Nothing is
    /// written if it is remembered already.
    ///
    /// # Errors
    /// `Invalid` if the topic is not there, or holds something else.
    fn declare_type(&self, topic: &str, declared: &TopicType) -> Result<()> {
        let _ = (topic, declared);
        Ok(())
    }
}
