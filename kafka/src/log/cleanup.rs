//! Which topic it is, and what the brokers do with its records.

use super::KafkaChangelog;
use super::topics::TELLING;
use millpond_engine::Result;
use millpond_engine::changelog::Compaction;
use std::sync::PoisonError;
use std::time::Duration;

/// How long it may take of a topic of which it was told before.
const PATIENCE: Duration = Duration::from_secs(3);

const POLICY: &str = "cleanup.policy";
const DELETE_RETENTION: &str = "delete.retention.ms";

/// That of Kafka, where a broker does not tell.
const USUAL_DELETE_RETENTION: Duration = Duration::from_secs(24 * 3600);

impl KafkaChangelog {
    /// Kafka's topic ids (KIP-516) tell topics of one name apart.
    pub(super) fn identity_of(&self, topic: &str) -> Result<Option<String>> {
        self.check_open()?;
        self.fetcher.topic_id(topic)
    }

    /// Whether the topic is compacted. It is asked of engines that run, too, which must not stand still for long.
    pub(super) fn compaction_of(&self, topic: &str) -> Result<Option<Compaction>> {
        self.check_open()?;
        let asked = || self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = if asked().contains(topic) { PATIENCE } else { TELLING };
        let compaction = self.ask_compaction(topic, limit)?;
        asked().insert(topic.to_owned());
        Ok(compaction)
    }

    fn ask_compaction(&self, topic: &str, limit: Duration) -> Result<Option<Compaction>> {
        let Some(config) = self.settings_of(topic, &[POLICY, DELETE_RETENTION], limit)? else {
            let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
            if untold.insert(topic.to_owned()) {
                tracing::warn!(
                    topic,
                    "the brokers do not tell whether the topic is compacted, which some graphs must not read: give the user the \
                     operation DESCRIBE_CONFIGS on it (an ACL)"
                );
            }
            return Ok(None);
        };
        let compacts = config
            .get(POLICY)
            .is_some_and(|policy| policy.split(',').any(|policy| policy.trim() == "compact"));
        let stays =
            config.get(DELETE_RETENTION).and_then(|millis| millis.parse().ok()).map(Duration::from_millis);
        Ok(compacts.then(|| Compaction::new(stays.unwrap_or(USUAL_DELETE_RETENTION))))
    }
}
