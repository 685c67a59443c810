//! The producer that appends, and the one that takes its place.
//!
//! librdkafka's idempotent producer may fail for good: a broker says that records are missing before those it was sent, say, or that
//! the user may write nothing at all. It then refuses all that comes. What it had taken is reported as failed; what comes next is
//! for another producer.

use super::appending::Reports;
use super::holder::drop_aside;
use millpond_engine::{Error, Result};
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::ThreadedProducer;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So long a producer that was made anew is kept at least: making one takes threads and connections.
const KEPT_FOR: Duration = Duration::from_secs(1);

pub(super) type Appends = ThreadedProducer<Reports>;

/// The producer that is in use.
pub(super) struct Producing {
    config: ClientConfig,
    reports: Box<dyn Fn() -> Reports + Send + Sync>,
    in_use: Mutex<InUse>,
}

struct InUse {
    producer: Arc<Appends>,
    /// When it took the place of another one; none if it is the first.
    since: Option<Instant>,
}

impl Producing {
    /// `reports` says who hears what becomes of the records of each producer.
    pub(super) fn open(
        config: ClientConfig,
        reports: impl Fn() -> Reports + Send + Sync + 'static,
    ) -> Result<Self> {
        let producer = config.create_with_context(reports()).map_err(|error| match error {
            KafkaError::ClientConfig(_, reason, name, _) => {
                Error::invalid(format!("the property `{name}` of Kafka: {reason}"))
            }
            error => Error::invalid("the properties of Kafka do not go together").with_source(error),
        })?;
        let in_use = Mutex::new(InUse { producer: Arc::new(producer), since: None });
        Ok(Self { config, reports: Box::new(reports), in_use })
    }

    fn in_use(&self) -> MutexGuard<'_, InUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn producer(&self) -> Arc<Appends> {
        Arc::clone(&self.in_use().producer)
    }

    /// Another one than `failed`, which has failed for good; none if it is too early for one, or none can be made.
    pub(super) fn instead_of(&self, failed: &Arc<Appends>) -> Option<Arc<Appends>> {
        let mut in_use = self.in_use();
        if !Arc::ptr_eq(&in_use.producer, failed) {
            return Some(Arc::clone(&in_use.producer));
        }
        if in_use.since.is_some_and(|since| since.elapsed() < KEPT_FOR) {
            return None;
        }
        tracing::warn!("a producer of Kafka has failed, and another one takes its place");
        let producer = Arc::new(self.config.create_with_context((self.reports)()).ok()?);
        let before = std::mem::replace(
            &mut *in_use,
            InUse { producer: Arc::clone(&producer), since: Some(Instant::now()) },
        );
        drop_aside(before.producer);
        Some(producer)
    }
}
