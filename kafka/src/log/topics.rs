//! Topics: found as they are, and created only where that was asked for.

use super::KafkaChangelog;
use crate::fetch::TopicMetadata;
use millpond_engine::changelog::block_on;
use millpond_engine::changelog::{Compaction, Timestamps, TopicConfig, TopicLog};
use millpond_engine::{Error, Result};
use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a broker may take to create a topic.
const CREATION: Duration = Duration::from_secs(30);

/// How long it may take to tell its settings.
pub(super) const TELLING: Duration = Duration::from_secs(30);

/// The setting of a topic that says where timestamps come from, and what it says if that is the broker.
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
const LOG_APPEND_TIME: &str = "LogAppendTime";
const CREATE_TIME: &str = "CreateTime";

impl KafkaChangelog {
    fn find_or_create(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.check_open()?;
        config.check(topic)?;
        let partitions = match (self.partitions(topic)?, self.replication) {
            (Some(partitions), _) => partitions,
            (None, None) => {
                let advice = "topics are not created unless that is asked for with `Kafka::create_topics`";
                return Err(Error::invalid(format!(
                    "topic {topic} does not exist: create it, or correct its name; {advice}"
                )));
            }
            (None, Some(replication)) => {
                self.create(topic, config, replication)?;
                // The brokers tell each other of it, and who reads at once may ask one that has not heard yet.
                self.found.remember(topic, count(&self.fetcher.await_topic(topic)?))
            }
        };
        config.check_found(topic, partitions)?;
        match config.timestamps {
            Some(_) => config.check_timestamps(topic, self.timestamps(topic)?),
            None => Ok(()),
        }
    }

    /// Where the timestamps of a topic that is there come from.
    fn timestamps(&self, topic: &str) -> Result<Timestamps> {
        if let Some(&timestamps) = self.dated().get(topic) {
            return Ok(timestamps);
        }
        let Some(described) = self.settings_of(topic, &[TIMESTAMP_TYPE], TELLING)? else {
            return Err(Error::invalid(format!(
                "where the timestamps of topic {topic} come from cannot be made sure: give the user the operation \
                 DESCRIBE_CONFIGS on resource TOPIC {topic} (an ACL), or leave `timestamps` out"
            )));
        };
        let value = described.get(TIMESTAMP_TYPE).map(String::as_str);
        let timestamps =
            if value == Some(LOG_APPEND_TIME) { Timestamps::Appended } else { Timestamps::Created };
        self.dated().insert(topic.to_owned(), timestamps);
        Ok(timestamps)
    }

    /// The settings `names` of a topic, as Kafka names them; none if the user must not see them (it takes an ACL that allows
    /// `DESCRIBE_CONFIGS` on the topic).
    ///
    /// # Errors
    /// `Unavailable` if the brokers do not tell within `limit`.
    pub(super) fn settings_of(
        &self,
        topic: &str,
        names: &[&str],
        limit: Duration,
    ) -> Result<Option<BTreeMap<String, String>>> {
        let options = AdminOptions::new().request_timeout(Some(limit));
        let asked = [ResourceSpecifier::Topic(topic)];
        let answer = block_on(self.appender.admin()?.describe_configs(&asked, &options));
        let away = |code: String| {
            Error::unavailable(format!("the broker does not tell the settings of topic {topic}: {code}"))
        };
        let described = answer.map_err(|error| away(error.to_string()))?.pop();
        match described.ok_or_else(|| away("no answer".to_owned()))? {
            // Whoever must not ask gets an answer without any setting.
            Ok(described) if described.entries.is_empty() => Ok(None),
            Ok(described) => {
                let value = |name: &&str| Some(((*name).to_owned(), described.get(name)?.value.clone()?));
                Ok(Some(names.iter().filter_map(value).collect()))
            }
            Err(
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
            ) => Ok(None),
            Err(code) => Err(away(code.to_string())),
        }
    }

    fn dated(&self) -> MutexGuard<'_, HashMap<String, Timestamps>> {
        self.dated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create(&self, topic: &str, config: &TopicConfig, replication: i32) -> Result<()> {
        // -1 leaves it to the broker (`num.partitions`).
        let partitions = config.partitions.map_or(-1, |count| i32::try_from(count).unwrap_or(i32::MAX));
        let age = config.retention_age.map(|age| age.as_millis().to_string());
        let bytes = config.retention_bytes.map(|bytes| bytes.to_string());
        let dated = config.timestamps.map(|timestamps| match timestamps {
            Timestamps::Appended => LOG_APPEND_TIME.to_owned(),
            _ => CREATE_TIME.to_owned(),
        });
        let settings = [("retention.ms", &age), ("retention.bytes", &bytes), (TIMESTAMP_TYPE, &dated)];
        let settings = settings.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        self.create_with(topic, partitions, replication, &settings.collect::<Vec<_>>())
    }

    /// Creates the topic of the marks of a service, unless it is there.
    pub(super) fn create_marks(&self, topic: &str) -> Result<()> {
        if self.found.partitions(topic).is_some() {
            return Err(Error::invalid(format!(
                "the graph reads topic {topic}, or writes to it, where the marks of the service are that runs it: give the service \
                 another name, or that topic"
            )));
        }
        if let Some(found) = self.fetcher.find_topic(topic)? {
            if count(&found) > 1 {
                tracing::warn!(
                    topic,
                    partitions = count(&found),
                    "the topic of marks has partitions of which nothing is used but the first"
                );
            }
            return Ok(());
        }
        // Marks go when nobody needs them, and not by age.
        self.create_own(topic)
    }

    /// Creates a topic that services use for themselves, whose records no broker drops. The brokers know how many replicas there
    /// should be.
    fn create_own(&self, topic: &str) -> Result<()> {
        let settings = [("retention.ms", "-1"), ("retention.bytes", "-1"), ("cleanup.policy", "delete")];
        self.create_with(topic, 1, self.replication.unwrap_or(-1), &settings)?;
        self.fetcher.await_topic(topic).map(drop)
    }

    fn create_with(
        &self,
        topic: &str,
        partitions: i32,
        replication: i32,
        settings: &[(&str, &str)],
    ) -> Result<()> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replication));
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        let options = AdminOptions::new().operation_timeout(Some(CREATION)).request_timeout(Some(CREATION));
        let created = block_on(self.appender.admin()?.create_topics([&new], &options));
        let unfit = |why: String| {
            Error::invalid(format!("topic {topic} is missing and cannot be created as it is wanted: {why}"))
        };
        let failed = |code: String| {
            Error::unavailable(format!("topic {topic} is missing and could not be created: {code}"))
        };
        let created = created.map_err(|error| match error {
            KafkaError::AdminOpCreation(why) => unfit(why),
            error => failed(error.to_string()),
        })?;
        for created in created {
            match created {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((
                    _,
                    RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
                )) => {
                    return Err(Error::invalid(format!(
                        "topic {topic} is missing, and the user must not create it: give it the operation CREATE on resource \
                         TOPIC {topic} or on resource CLUSTER (an ACL), or have somebody else create it"
                    )));
                }
                Err((_, RDKafkaErrorCode::InvalidTopic)) => {
                    let taken = "the broker takes no topic of this name; is there one that differs in `.` and `_` alone?";
                    return Err(unfit(taken.to_owned()));
                }
                Err((
                    _,
                    code @ (RDKafkaErrorCode::InvalidReplicationFactor
                    | RDKafkaErrorCode::InvalidPartitions
                    | RDKafkaErrorCode::InvalidConfig
                    | RDKafkaErrorCode::PolicyViolation),
                )) => return Err(unfit(code.to_string())),
                Err((_, code)) => return Err(failed(code.to_string())),
            }
        }
        tracing::info!(topic, partitions, replication, "created a topic");
        Ok(())
    }
}

impl TopicLog for KafkaChangelog {
    /// Retention of a topic that is there is left to whoever owns it.
    fn create_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.find_or_create(topic, config)
    }

    fn ensure_topic(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.find_or_create(topic, config)
    }

    fn ensure_own_topic(&self, topic: &str) -> Result<()> {
        self.check_open()?;
        if self.fetcher.find_topic(topic)?.is_none() {
            self.create_own(topic)?;
        }
        self.find_or_create(topic, &TopicConfig::default().partitions(1))
    }

    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>> {
        self.check_open()?;
        let topics = self.fetcher.all_topics()?.into_iter();
        let mut topics: Vec<_> = topics.map(|topic| (Arc::clone(&topic.name), count(&topic))).collect();
        topics.sort();
        Ok(topics)
    }

    /// As it was heard last: whoever appends asks each time, and must not wait for a broker each time.
    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        self.check_open()?;
        self.found.refresh(&self.fetcher);
        if let Some(partitions) = self.fetcher.partitions(topic).and_then(|count| u32::try_from(count).ok()) {
            return Ok(Some(self.found.remember(topic, partitions)));
        }
        if let Some(partitions) = self.found.partitions(topic) {
            return Ok(Some(partitions));
        }
        let found = self.fetcher.find_topic(topic)?;
        Ok(found.map(|found| self.found.remember(topic, count(&found))))
    }

    fn topic_identity(&self, topic: &str) -> Result<Option<String>> {
        self.identity_of(topic)
    }

    fn compaction(&self, topic: &str) -> Result<Option<Compaction>> {
        self.compaction_of(topic)
    }
}

pub(super) fn count(topic: &TopicMetadata) -> u32 {
    u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX)
}
