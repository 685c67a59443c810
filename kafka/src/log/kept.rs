//! What Kafka keeps for those who read it, and what it does not.

use super::KafkaChangelog;
use super::appending::bytes_of;
use millpond_engine::changelog::{
    Append, Commit, EpochLog, EpochMark, Lease, NameLog, RetentionLog, Role, RoleLog, Term, TermLog,
};
use millpond_engine::{Position, Result};
use std::ops::Range;
use std::time::Duration;

/// What follows the name of an engine in that of the producer of its letters, and of a consumer that builds tables.
const LETTERS: &str = ".letters";
const BUILD: &str = ".build";

impl EpochLog for KafkaChangelog {
    /// Commits it with the next transaction. Letters that no mark speaks of have none: they are sent at once, and a commit of
    /// their engine waits for them.
    fn append_epoch(&self, producer: &str, mark: &EpochMark, appends: Vec<Append>) -> Result<bool> {
        self.check_open()?;
        if let Some(name) = producer.strip_suffix(LETTERS) {
            let (tenure, bytes) = (self.tenure(name)?, bytes_of(&appends));
            tenure.keep_letters(self.appender.append_anyhow(appends)?, bytes);
            return Ok(true);
        }
        self.tenure(producer)?.append(mark, appends)
    }

    fn epochs_after(&self, producer: &str, position: &Position) -> Result<Vec<EpochMark>> {
        self.check_open()?;
        match self.holders.find(producer) {
            Some(tenure) => tenure.epochs_after(position),
            None => self.marks_there(producer, position),
        }
    }
}

impl RoleLog for KafkaChangelog {
    fn join(&self, producer: &str) -> Result<()> {
        self.check_open()?;
        self.join_holders(producer)
    }

    fn role(&self, producer: &str) -> Role {
        self.holders.find(producer).map_or(Role::Follower, |tenure| tenure.role())
    }

    fn follow(&self, producer: &str, told: Role) -> Result<()> {
        self.tenure(producer).map(|tenure| tenure.follow(told))
    }

    fn leave(&self, producer: &str) {
        if let Some(tenure) = self.holders.find(producer) {
            tenure.leave();
        }
    }

    fn has_room(&self, producer: &str) -> bool {
        self.holders.find(producer).is_none_or(|tenure| tenure.has_room())
    }

    fn commit(&self, producer: &str, patience: Duration) -> Result<Commit> {
        self.tenure(producer)?.commit(patience)
    }

    fn committed(&self, producer: &str) -> Range<u64> {
        self.holders.find(producer).map_or(0..0, |tenure| tenure.committed())
    }
}

/// Retention is the broker's: nothing is held against it but the marks of epochs, which are the service's own.
impl RetentionLog for KafkaChangelog {
    fn hold(&self, consumer: &str, position: &Position) -> Result<()> {
        self.check_open()?;
        let (name, builds) = consumer.strip_suffix(BUILD).map_or((consumer, false), |name| (name, true));
        if let Some(tenure) = self.holders.find(name) {
            tenure.hold(builds, position);
        }
        Ok(())
    }

    fn enforce_retention(&self) -> Result<u64> {
        self.check_open()?;
        self.forget_marks();
        Ok(0)
    }
}

/// Processes of one name need not know of each other as long as none of them appends epochs; where one does, they share them.
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
