//! What Kafka keeps for those who read it, and what it does not.

use super::KafkaChangelog;
use millpond_engine::changelog::{
    Append, EpochLog, EpochMark, Lease, NameLog, RetentionLog, RoleLog, Term, TermLog,
};
use millpond_engine::{Error, Position, Result};

impl EpochLog for KafkaChangelog {
    fn append_epoch(&self, producer: &str, _: &EpochMark, _: Vec<Append>) -> Result<bool> {
        Err(Error::invalid(format!(
            "{producer} cannot append epochs to Kafka: it has not the ability `atomic_epochs`"
        )))
    }

    fn epochs_after(&self, _: &str, _: &Position) -> Result<Vec<EpochMark>> {
        Ok(Vec::new())
    }
}

/// As long as no epoch is appended to Kafka there is nothing to share.
impl RoleLog for KafkaChangelog {}

/// Retention is the broker's: nothing is held against it.
impl RetentionLog for KafkaChangelog {
    fn hold(&self, _: &str, _: &Position) -> Result<()> {
        self.check_open()
    }

    fn enforce_retention(&self) -> Result<u64> {
        self.check_open().map(|()| 0)
    }
}

/// Processes of one name need not know of each other as long as none of them appends epochs.
impl NameLog for KafkaChangelog {
    fn lease(&self, name: &str) -> Result<Lease> {
        self.check_open()?;
        self.leases.take(name)
    }
}

/// A state knows the cluster that it was folded from.
impl TermLog for KafkaChangelog {
    fn terms(&self) -> Result<Vec<Term>> {
        self.check_open()?;
        let cluster = self.fetcher.cluster_id();
        Ok(cluster.map(|id| Term::new(0, format!("kafka:{id}"), Position::new())).into_iter().collect())
    }
}
