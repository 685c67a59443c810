//! When a piece of a topic has outlived its use. Pure rules, shared by the implementations.

use super::TopicConfig;
use crate::{Position, Result, TopicPartition};
use std::collections::BTreeMap;

/// Retention: what is dropped, and who still needs what.
pub trait RetentionLog: Send + Sync {
    /// Declares that `consumer` has durably folded everything below `position` and may read again from there:
    /// retention stops there. A partition that `position` does not name is not held (name it at offset 0 to hold
    /// all of it, at `u64::MAX` where nothing of it will be read again), and an empty position gives the hold up. Marks of the same producer name that end at or before
    /// it are forgotten, but for the last one.
    ///
    /// # Errors
    /// If the hold could not be stored; the old one stays.
    fn hold(&self, consumer: &str, position: &Position) -> Result<()>;

    /// Drops what retention allows and no hold needs, and reckons age and size for each topic. Without any hold
    /// nothing but the topic's retention keeps a record. The space may be freed later, since an implementation may
    /// drop large pieces only. Returns the stored bytes freed.
    ///
    /// # Errors
    /// If the medium failed; nothing that is needed was dropped.
    fn enforce_retention(&self) -> Result<u64>;
}

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
