//! When a piece of a topic has outlived its use. Pure rules, shared by the implementations.

use super::TopicConfig;
use crate::{Position, TopicPartition};
use std::collections::BTreeMap;

/// The offset of `partition` at and above which some consumer still needs the records. A consumer that does not
/// name the partition does not read it.
pub(super) fn held_from(holds: &BTreeMap<String, Position>, partition: &TopicPartition) -> u64 {
    holds.values().filter_map(|position| position.known(partition)).min().unwrap_or(u64::MAX)
}

/// Whether the oldest piece of a topic may go: its newest record is too old, or the topic holds too much.
pub(super) fn is_over(config: &TopicConfig, newest_ms: i64, now_ms: i64, topic_bytes: u64) -> bool {
    let age_ms =
        i64::try_from(config.retention_age.map_or(u128::MAX, |age| age.as_millis())).unwrap_or(i64::MAX);
    let too_old = config.retention_age.is_some() && now_ms.saturating_sub(newest_ms) > age_ms;
    too_old || config.retention_bytes.is_some_and(|most| topic_bytes > most)
}
