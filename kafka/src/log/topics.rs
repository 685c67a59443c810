//! Topics: found as they are, and created only where that was asked for.

use super::KafkaChangelog;
use millpond_engine::changelog::{TopicConfig, TopicLog};
use millpond_engine::{Error, Result};
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::types::RDKafkaErrorCode;
use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a broker may take to create a topic.
const CREATION: Duration = Duration::from_secs(30);

impl KafkaChangelog {
    fn find_or_create(&self, topic: &str, config: &TopicConfig) -> Result<()> {
        self.check_open()?;
        // Whoever appends asks each time, and must not wait for a broker each time.
        if self.found().contains(topic) {
            return Ok(());
        }
        let found = self.fetcher.topics(&[topic])?.pop();
        match (found, self.replication) {
            (Some(Ok(_)) | None, _) => {}
            (Some(Err(error)), None) => {
                let advice = "topics are not created unless that is asked for with `Kafka::create_topics`";
                return Err(error.context(advice));
            }
            (Some(Err(_)), Some(replication)) => self.create(topic, config, replication)?,
        }
        self.found().insert(topic.to_owned());
        Ok(())
    }

    fn found(&self) -> MutexGuard<'_, HashSet<String>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create(&self, topic: &str, config: &TopicConfig, replication: i32) -> Result<()> {
        let partitions = i32::try_from(config.partitions).unwrap_or(i32::MAX);
        let age = config.retention_age.map(|age| age.as_millis().to_string());
        let bytes = config.retention_bytes.map(|bytes| bytes.to_string());
        let settings = [("retention.ms", &age), ("retention.bytes", &bytes)];
        let settings = settings.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        self.create_with(topic, partitions, replication, &settings.collect::<Vec<_>>())
    }

    /// Creates the topic of the marks of a service, unless it is there.
    pub(super) fn create_marks(&self, topic: &str) -> Result<()> {
        if let Some(Ok(_)) = self.fetcher.topics(&[topic])?.pop() {
            return Ok(());
        }
        // Marks go when nobody needs them, and not by age. The brokers know how many replicas there should be.
        let settings = [("retention.ms", "-1"), ("retention.bytes", "-1"), ("cleanup.policy", "delete")];
        self.create_with(topic, 1, self.replication.unwrap_or(-1), &settings)?;
        let deadline = Instant::now() + CREATION;
        loop {
            match self.fetcher.topics(&[topic])?.pop() {
                Some(Err(error)) if Instant::now() > deadline => return Err(error),
                Some(Err(_)) => std::thread::sleep(Duration::from_millis(20)),
                Some(Ok(_)) | None => return Ok(()),
            }
        }
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
        let created = futures_executor::block_on(self.appender.admin()?.create_topics([&new], &options));
        let failed = |code: String| {
            Error::unavailable(format!("topic {topic} is missing and could not be created: {code}"))
        };
        for created in created.map_err(|error| failed(error.to_string()))? {
            match created {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
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

    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>> {
        self.check_open()?;
        let count = |partitions: usize| u32::try_from(partitions).unwrap_or(u32::MAX);
        let topics = self.fetcher.all_topics()?;
        let mut topics: Vec<_> =
            topics.into_iter().map(|topic| (topic.name, count(topic.partitions.len()))).collect();
        topics.sort();
        Ok(topics)
    }
}
