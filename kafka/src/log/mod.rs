//! The changelog that Kafka is: each part of one, on the two paths to the brokers.

mod appending;
mod cleanup;
mod clients;
mod found;
mod holder;
mod kept;
mod listening;
mod outgoing;
mod producing;
mod reading;
mod refusals;
mod topics;

use crate::path::FetchPath;
use crate::{Kafka, properties};
use appending::Appender;
use found::Found;
use holder::Holders;
use listening::Listening;
use millpond_engine::changelog::{Abilities, Changelog, Leases, Timestamps};
use millpond_engine::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long brokers may take to commit and to acknowledge what is on its way when the connection is closed, and to let go of it. An
/// engine says so, too.
const CLOSING: Duration = Duration::from_secs(8);

/// Kafka, connected: a [`Changelog`] whose topics others may share.
///
/// Its partitions have nothing to do with each other, offsets have gaps, and records are dropped as the broker is told to: see
/// its [`abilities`](Changelog::abilities).
pub struct KafkaChangelog {
    brokers: String,
    /// By which records are read, and topics are found.
    fetcher: Arc<dyn FetchPath>,
    /// Where partitions end, for whoever must not wait.
    listening: Listening,
    appender: Arc<Appender>,
    /// Topics that are missing are created with so many replicas.
    replication: Option<i32>,
    /// How many partitions the topics have that were asked for.
    found: Arc<Found>,
    /// Where the timestamps of topics come from, of those that were asked for it.
    dated: Mutex<HashMap<String, Timestamps>>,
    /// Topics of which it was told whether they are compacted.
    asked: Mutex<HashSet<String>>,
    /// Topics of which it was warned that their settings must not be seen.
    untold: Mutex<HashSet<String>>,
    leases: Arc<Leases>,
    holders: Holders,
    closed: AtomicBool,
}

impl fmt::Debug for KafkaChangelog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaChangelog").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl KafkaChangelog {
    /// `connect` opens the path by which records are read.
    pub(crate) fn open(kafka: &Kafka, connect: impl FnOnce() -> Result<Arc<dyn FetchPath>>) -> Result<Self> {
        let brokers = kafka.properties.get("bootstrap.servers").cloned().unwrap_or_default();
        let appender = Arc::new(Appender::open(kafka)?);
        let fetcher = connect()?;
        tracing::info!(
            brokers,
            service = kafka.service,
            cluster = fetcher.cluster_id().as_deref(),
            "connected to Kafka"
        );
        Ok(Self {
            brokers,
            listening: Listening::new(Arc::clone(&fetcher)),
            fetcher,
            appender,
            replication: kafka.replication,
            found: Arc::new(Found::new(properties::metadata_age(&kafka.properties)?)),
            dated: Mutex::default(),
            asked: Mutex::default(),
            untold: Mutex::default(),
            leases: Arc::default(),
            holders: Holders::new(kafka),
            closed: AtomicBool::new(false),
        })
    }

    /// What is wrong with the brokers at the moment, since when and why; `None` if nothing is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.fetcher.trouble()
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::closed("the connection to Kafka was closed; open it again"));
        }
        Ok(())
    }
}

impl Changelog for KafkaChangelog {
    fn abilities(&self) -> Abilities {
        let mut abilities = Abilities::all();
        abilities.one_sequence = false;
        abilities.atomic_appends = false;
        abilities.dense_offsets = false;
        abilities.exclusive_names = false;
        abilities.keeps_holds = false;
        abilities.sets_retention = false;
        abilities.knows_ends = false;
        abilities
    }

    fn description(&self) -> String {
        format!("Kafka at {}", self.brokers)
    }

    /// What was appended is committed and acknowledged first, if it can be within 8 seconds. What is not was told to nobody, and
    /// is given up.
    fn close(&self) -> Result<()> {
        if !self.closed.swap(true, Ordering::AcqRel) {
            let deadline = Instant::now() + CLOSING;
            self.listening.close();
            self.holders.close(deadline);
            self.appender.close(deadline);
            self.fetcher.close();
        }
        Ok(())
    }
}
