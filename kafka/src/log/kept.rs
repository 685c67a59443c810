//! What Kafka keeps for those who read it, and what it does not.

use super::KafkaChangelog;
use millpond_engine::changelog::{Append, EpochLog, EpochMark, Lease, NameLog, RetentionLog, Term, TermLog};
use millpond_engine::{Error, Position, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

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

/// Retention is the broker's: nothing is held against it.
impl RetentionLog for KafkaChangelog {
    fn hold(&self, _: &str, _: &Position) -> Result<()> {
        self.check_open()
    }

    fn enforce_retention(&self) -> Result<u64> {
        self.check_open().map(|()| 0)
    }
}

/// The names that are used on this connection.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<BTreeSet<String>>);

impl Names {
    fn taken(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that is taken, until it is dropped.
struct Taken(String, Arc<Names>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.1.taken().remove(&self.0);
    }
}

/// Processes of one name need not know of each other as long as none of them appends epochs.
impl NameLog for KafkaChangelog {
    fn lease(&self, name: &str) -> Result<Lease> {
        self.check_open()?;
        if !self.names.taken().insert(name.to_owned()) {
            return Err(Error::unavailable(format!(
                "an engine named `{name}` runs on this connection to Kafka already; give each a name with \
                 `EngineBuilder::name`, or close the other one first"
            )));
        }
        Ok(Lease::guarded(Taken(name.to_owned(), Arc::clone(&self.names))))
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
