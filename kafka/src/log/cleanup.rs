//! Which topic it is, and what the brokers do with its records.

use super::KafkaChangelog;
use super::topics::TELLING;
use millpond_engine::changelog::Compaction;
use millpond_engine::{ErrorKind, Result};
use std::sync::PoisonError;
use std::time::Duration;

/// Whoever knows how it was waits no longer than this for how it is.
const PATIENCE: Duration = Duration::from_secs(1);

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

    /// Whether the topic is compacted; as it was told before if the brokers do not tell now, as it is asked of engines that run, too,
    /// and those go on without brokers.
    pub(super) fn compaction_of(&self, topic: &str) -> Result<Option<Compaction>> {
        self.check_open()?;
        let known = || self.compacted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known().get(topic).copied();
        let limit = if before.is_some() { PATIENCE } else { TELLING };
        match (self.ask_compaction(topic, limit), before) {
            (Err(error), Some(before)) if error.kind() == ErrorKind::Unavailable => {
                tracing::debug!(%error, topic, "whether the topic is compacted is taken to be as it was");
                Ok(before)
            }
            (asked, _) => {
                let compaction = asked?;
                known().insert(topic.to_owned(), compaction);
                Ok(compaction)
            }
        }
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
