//! The admin handle: what can be looked at and changed of a changelog by hand.
//!
//! It knows the trait [`Changelog`] only, so that it works on every implementation; what one does not tell is `None` here.
//! It changes nothing that an engine relies on: names of engines are held by these alone, and released only while none of them
//! runs.

use super::{Changelog, NameInUse, TopicConfig, TopicType};
use crate::{Error, Position, Result, TopicPartition};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The administration of a changelog: topics and their retention, consumers and what they hold. It can be used while engines
/// run on the changelog.
///
/// # Examples
/// ```
/// use millpond::changelog::{Admin, Changelog, MemoryChangelog, TopicConfig};
/// use millpond::{Position, TopicPartition};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// let changelog: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
/// let admin = Admin::new(changelog);
/// admin.create_topic("orders", &TopicConfig::default().partitions(2))?;
/// admin.set_retention("orders", Some(Duration::from_secs(3600)), None)?;
/// let orders = admin.topic("orders")?;
/// assert_eq!(orders.partitions.len(), 2);
/// assert_eq!(orders.retention_age, Some(Duration::from_secs(3600)));
///
/// // Something outside of any engine needs what comes from here on, whatever the retention.
/// let from: Position = [(TopicPartition::new("orders", 0), 0)].into_iter().collect();
/// admin.hold("nightly-export", &from)?;
/// let consumers = admin.consumers()?;
/// assert_eq!((consumers[0].name.as_str(), consumers[0].lag), ("nightly-export", 0));
/// admin.release("nightly-export")?;
/// assert!(admin.consumers()?.is_empty());
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Clone)]
pub struct Admin {
    changelog: Arc<dyn Changelog>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("topics", &self.changelog.topics()).finish_non_exhaustive()
    }
}

/// A topic as [`Admin::topics`] tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its partitions, in their order.
    pub partitions: Vec<PartitionDescription>,
    /// Records older than this may be dropped; see [`TopicConfig::retention_age`].
    pub retention_age: Option<Duration>,
    /// The oldest records may be dropped once there are more stored bytes than this.
    pub retention_bytes: Option<u64>,
    /// What it was declared to hold, if it was and the changelog tells.
    pub holds: Option<TopicType>,
    /// What its records take where they are stored, in bytes; `None` if the changelog does not tell.
    pub stored_bytes: Option<u64>,
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// Its number.
    pub partition: u32,
    /// The offsets that can be read: from the oldest record kept to the next one to be appended.
    pub offsets: Range<u64>,
    /// Retention drops nothing at or above this offset, as a consumer holds it; `None` if none does.
    pub held_from: Option<u64>,
}

/// Someone under whose name a changelog keeps something: an engine, or what it does beside its work (`.build`, `.letters`
/// behind its name), or whoever was given a [hold](Admin::hold).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConsumerDescription {
    /// The name.
    pub name: String,
    /// What retention must leave for it, if it holds anything.
    pub hold: Option<Position>,
    /// How many records lie at or above its hold, over all partitions that it holds. An engine holds what is not durable yet:
    /// one that has folded everything is behind by what it has not drained.
    pub lag: u64,
    /// The same by partition.
    pub lag_by_partition: BTreeMap<TopicPartition, u64>,
    /// How many epochs are remembered that were appended under the name.
    pub marks: u64,
    /// Which engine used the name last, in JSON; `None` for a name that no engine has used.
    pub owner: Option<String>,
    /// Whether an engine of this process runs under it.
    pub running: bool,
}

impl Admin {
    /// The administration of `changelog`; [`Engine::admin`](crate::Engine::admin) is that of the engine's own.
    #[must_use]
    pub fn new(changelog: Arc<dyn Changelog>) -> Self {
        Self { changelog }
    }

    /// The changelog.
    #[must_use]
    pub fn changelog(&self) -> &Arc<dyn Changelog> {
        &self.changelog
    }

    /// All topics, ordered by name.
    ///
    /// # Errors
    /// `Closed` once the changelog is closed.
    pub fn topics(&self) -> Result<Vec<TopicDescription>> {
        let holds = self.holds()?;
        let topics = self.changelog.topics()?;
        topics.iter().map(|(name, partitions)| self.describe(name, *partitions, &holds)).collect()
    }

    /// The topic `name`.
    ///
    /// # Errors
    /// `Invalid` if it is not there; `Closed`.
    pub fn topic(&self, name: &str) -> Result<TopicDescription> {
        self.describe(name, self.partitions(name)?, &self.holds()?)
    }

    fn describe(&self, name: &str, partitions: u32, holds: &[Position]) -> Result<TopicDescription> {
        let config = self.changelog.topic_config(name)?.unwrap_or_default();
        let topic: Arc<str> = name.into();
        let partitions = (0..partitions).map(|partition| {
            let id = TopicPartition::new(Arc::clone(&topic), partition);
            // At the greatest offset nothing of the partition is needed any more.
            let held = holds.iter().filter_map(|hold| hold.known(&id)).filter(|offset| *offset < u64::MAX);
            Ok(PartitionDescription {
                partition,
                offsets: self.changelog.offsets(&id)?,
                held_from: held.min(),
            })
        });
        Ok(TopicDescription {
            name: name.to_owned(),
            partitions: partitions.collect::<Result<_>>()?,
            retention_age: config.retention_age,
            retention_bytes: config.retention_bytes,
            holds: self.changelog.topic_type(name)?,
            stored_bytes: self.changelog.topic_bytes(name)?,
        })
    }

    fn partitions(&self, topic: &str) -> Result<u32> {
        self.changelog.partitions(topic)?.ok_or_else(|| {
            Error::invalid(format!("there is no topic `{topic}`: see `Admin::topics` for those there are"))
        })
    }

    fn holds(&self) -> Result<Vec<Position>> {
        Ok(self.changelog.names()?.into_iter().filter_map(|name| name.hold).collect())
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// `Invalid` if it is there already, or cannot be created with this name or number of partitions.
    pub fn create_topic(&self, name: &str, config: &TopicConfig) -> Result<()> {
        if self.partitions(name).is_ok() {
            return Err(Error::invalid(format!(
                "there is a topic `{name}` already: change its retention with `Admin::set_retention`"
            )));
        }
        self.changelog.create_topic(name, config)
    }

    /// Changes how long the records of a topic are kept: no longer than `age`, and no more than `bytes` of them; without
    /// either, for ever. Records are dropped at the next [`enforce_retention`](Self::enforce_retention), which engines do by
    /// themselves. A graph whose [`Topic`](crate::Topic) handle has a retention of its own sets that when it is opened.
    ///
    /// # Errors
    /// `Invalid` if the topic is not there, or the log does not take it (it lacks the ability `sets_retention`).
    pub fn set_retention(&self, topic: &str, age: Option<Duration>, bytes: Option<u64>) -> Result<()> {
        if !self.changelog.abilities().sets_retention {
            return Err(Error::invalid(format!(
                "how long records of topic `{topic}` are kept is not decided here: set it where the topic is looked after, in {} (in \
                 Kafka, its `retention.ms` and `retention.bytes`, by `kafka-configs.sh`)",
                self.changelog.description()
            )));
        }
        let partitions = self.partitions(topic)?;
        let config = TopicConfig::default().partitions(partitions).retention_age(age).retention_bytes(bytes);
        self.changelog.create_topic(topic, &config)
    }

    /// Drops what retention allows and nobody holds; returns the stored bytes freed.
    ///
    /// # Errors
    /// If the medium failed; nothing that is needed was dropped.
    pub fn enforce_retention(&self) -> Result<u64> {
        self.changelog.enforce_retention()
    }

    /// Everyone under whose name something is kept, ordered by name; empty if the changelog does not tell.
    ///
    /// # Errors
    /// `Closed` once the changelog is closed.
    pub fn consumers(&self) -> Result<Vec<ConsumerDescription>> {
        self.changelog.names()?.into_iter().map(|name| self.consumer(name)).collect()
    }

    fn consumer(&self, name: NameInUse) -> Result<ConsumerDescription> {
        let mut lag_by_partition = BTreeMap::new();
        for (id, offset) in name.hold.iter().flat_map(Position::iter) {
            let end = self.changelog.offsets(id)?.end;
            lag_by_partition.insert(id.clone(), end.saturating_sub(offset));
        }
        let NameInUse { name, hold, marks, owner, leased: running } = name;
        let lag = lag_by_partition.values().sum();
        Ok(ConsumerDescription { name, hold, lag, lag_by_partition, marks, owner, running })
    }

    /// Keeps retention from dropping anything at or above `position`, until the name is [released](Self::release): for a
    /// backup or an export, which are no engines. Holding once more takes the place of the former hold.
    ///
    /// # Errors
    /// `Invalid` for the name of an engine, which holds what it needs itself; for an empty position, or one that names
    /// a partition which is not there, or an offset before the first one that is kept; and where the log keeps no holds (it lacks
    /// the ability `keeps_holds`).
    pub fn hold(&self, name: &str, position: &Position) -> Result<()> {
        if !self.changelog.abilities().keeps_holds {
            return Err(Error::invalid(format!(
                "nothing is held for `{name}`: {} drops records by its own rules, whoever still needs them. See that the retention of \
                 the topics reaches back far enough, or make a checkpoint of the state (`Engine::checkpoint`), which needs only \
                 what comes after it",
                self.changelog.description()
            )));
        }
        let beside_an_engine = super::SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
        let mut names = self.changelog.names()?.into_iter();
        if beside_an_engine
            || names.any(|used| used.name == name && (used.leased || used.owner.is_some() || used.marks > 0))
        {
            return Err(Error::invalid(format!(
                "`{name}` is the name of an engine, which holds what it needs by itself: hold under another name"
            )));
        }
        if position.partitions() == 0 {
            return Err(Error::invalid(format!(
                "`{name}` would hold nothing: name partitions and offsets, or give the hold up with `Admin::release`"
            )));
        }
        for (id, offset) in position.iter() {
            check_is_kept(name, id, offset, self.changelog.offsets(id)?.start)?;
        }
        self.changelog.hold(name, position)?;
        // Retention may have been quicker than this.
        for (id, offset) in position.iter() {
            check_is_kept(name, id, offset, self.changelog.offsets(id)?.start)?;
        }
        Ok(())
    }

    /// Forgets all that is kept under a name: its hold, and for that of an engine also what it has appended. An engine that is
    /// given the name afterwards is a new one, and appends everything that it produces.
    ///
    /// # Errors
    /// `Unavailable` while an engine runs under the name; `Invalid` if nothing is kept under it.
    pub fn release(&self, name: &str) -> Result<()> {
        let engine = super::SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
        if let Some(engine) = engine
            && self.changelog.names()?.iter().any(|used| used.name == engine && used.leased)
        {
            return Err(Error::unavailable(format!(
                "`{name}` is kept by the engine `{engine}`, which runs: close it first, and release `{engine}`"
            )));
        }
        let kept = |used: &NameInUse| {
            used.name
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || super::SUFFIXES.contains(&rest))
        };
        if !self.changelog.names()?.iter().any(kept) {
            return Err(Error::invalid(format!(
                "nothing is kept under the name `{name}`: see `Admin::consumers` for the names there are"
            )));
        }
        self.changelog.release(name)
    }

    /// What the records of all topics take where they are stored, in bytes; `None` if the changelog does not tell.
    ///
    /// # Errors
    /// `Closed` once the changelog is closed.
    pub fn stored_bytes(&self) -> Result<Option<u64>> {
        self.changelog.stored_bytes()
    }

    /// What the changelog takes on disk, in bytes, with what is not freed yet; `None` if it does not tell.
    ///
    /// # Errors
    /// As for [`ReadLog::disk_bytes`](super::ReadLog::disk_bytes).
    pub fn disk_bytes(&self) -> Result<Option<u64>> {
        self.changelog.disk_bytes()
    }
}

/// Refuses to hold what is gone.
fn check_is_kept(name: &str, id: &TopicPartition, offset: u64, begin: u64) -> Result<()> {
    if offset >= begin {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{id} begins at offset {begin}, and what lies before cannot be held any more: `{name}` asks for {offset}; what an engine \
         needs is held with `Engine::hold`"
    )))
}
