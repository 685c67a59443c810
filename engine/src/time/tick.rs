//! Ticks: how the clock, or a hand, takes partitions on in time that show no records.
//!
//! A tick is a record of the engine's own topic `<engine>.time`: from an offset on, this partition has come at least so far in time.
//! It is appended in one step with the mark of the epoch that takes it, so that whatever it closes is as final as the tick itself, and
//! whoever folds the log again finds it where it was. Ticks are numbered from 0, and a position says how many of them were taken.
//!
//! A stream of periods is known by the name of a topic that there is not, of one partition, which shows a record where a tick takes it
//! on. Such a tick names all partitions that are read, most of them only for the offset: so it has a place among all records.
//!
//! Invariant: no record at or behind the offset that a tick names is folded before the tick.

use super::NEVER;
use crate::{Error, Result, TopicPartition};
use serde::{Deserialize, Serialize};

/// Names of streams of periods begin with this.
const PERIODS: &str = "ticks:";

/// What one partition is taken on to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reach {
    topic: String,
    partition: u32,
    /// Where the records begin that come after it.
    pub(crate) offset: u64,
    /// [`NEVER`] where it is only named.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    pub(crate) time_ms: i64,
}

const fn never() -> i64 {
    NEVER
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
const fn is_never(time_ms: &i64) -> bool {
    *time_ms == NEVER
}

impl Reach {
    pub(crate) fn new(id: &TopicPartition, offset: u64, time_ms: i64) -> Self {
        Self { topic: id.topic.to_string(), partition: id.partition, offset, time_ms }
    }

    pub(crate) fn id(&self) -> TopicPartition {
        TopicPartition::new(&*self.topic, self.partition)
    }
}

/// A record of `<engine>.time`, as JSON, of which later releases may add fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tick {
    /// How many came before it.
    pub(crate) number: u64,
    pub(crate) partitions: Vec<Reach>,
}

impl Tick {
    /// Where the ticks of the engine `name` are.
    pub(crate) fn partition_of(name: &str) -> TopicPartition {
        TopicPartition::new(format!("{name}.time"), 0)
    }

    /// What stands for the partition of a stream of periods.
    pub(crate) fn stream(name: &str) -> TopicPartition {
        TopicPartition::new(format!("{PERIODS}{name}"), 0)
    }

    /// The name of the stream of periods for which `id` stands.
    pub(crate) fn name(id: &TopicPartition) -> &str {
        id.topic.strip_prefix(PERIODS).unwrap_or(&id.topic)
    }

    /// Whether `id` stands for a stream of periods, and is no partition of the log.
    pub(crate) fn is_stream(id: &TopicPartition) -> bool {
        id.topic.starts_with(PERIODS)
    }

    /// Whether a record comes of it: then nothing else is taken with it, so that what stands before it and behind it is the same for all.
    pub(crate) fn begins_period(&self) -> bool {
        self.partitions.iter().any(|reach| reach.topic.starts_with(PERIODS))
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::internal("a tick has no JSON").with_source(error))
    }

    /// # Errors
    /// `Corrupt` if it is none.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|error| Error::corrupt("a tick of the engine does not decode").with_source(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_tick_is_golden() {
        let golden =
            r#"{"number":3,"partitions":[{"topic":"clicks","partition":1,"offset":12,"time_ms":-7}]}"#;
        let tick =
            Tick { number: 3, partitions: vec![Reach::new(&TopicPartition::new("clicks", 1), 12, -7)] };
        assert_eq!(tick.encode().unwrap(), golden.as_bytes());
        assert_eq!(Tick::decode(golden.as_bytes()).unwrap(), tick);
        assert_eq!(Tick::decode(golden.replacen('{', r#"{"more":1,"#, 1).as_bytes()).unwrap(), tick);
        assert!(Tick::decode(b"{}").is_err());
        let golden = r#"{"number":4,"partitions":[{"topic":"clicks","partition":1,"offset":12},{"topic":"ticks:daily","partition":0,"offset":0,"time_ms":86400000}]}"#;
        let named = Reach::new(&TopicPartition::new("clicks", 1), 12, NEVER);
        let begins = Reach::new(&Tick::stream("daily"), 0, 86_400_000);
        let begins = Tick { number: 4, partitions: vec![named, begins] };
        assert_eq!(begins.encode().unwrap(), golden.as_bytes());
        assert_eq!(Tick::decode(golden.as_bytes()).unwrap(), begins);
        assert!(begins.begins_period() && !tick.begins_period());
    }
}
