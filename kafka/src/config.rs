//! How a service reaches Kafka: a name, brokers, and whatever else librdkafka can be told.

use crate::fetch::{FetchConfig, Fetcher};
use crate::librdkafka::Consumers;
use crate::log::KafkaChangelog;
use crate::path::Fetch;
use crate::{properties, security};
use millpond_engine::Result;
use millpond_engine::changelog::{ChangelogOptions, IntoChangelog, OpenedChangelog};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How often outputs are committed.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

/// For how long marks are kept.
const MARKS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is fetched ahead where no engine says how much memory there is.
const BUFFER_BYTES: usize = 64 << 20;

/// Kafka as a changelog: for [`EngineBuilder::changelog`](millpond_engine::EngineBuilder::changelog), or [opened](Self::open) for a
/// [`Producer`](millpond_engine::changelog::Producer) alone.
///
/// # Examples
/// ```no_run
/// use millpond::{Engine, GraphBuilder, Topic};
/// use millpond_kafka::Kafka;
///
/// let payments = Topic::<String, u64>::new("payments");
/// let graph = GraphBuilder::new();
/// let counts = graph.stream(&payments).group_by_key().count("counts");
/// let kafka = Kafka::new("payments-by-customer").bootstrap("b1:9092,b2:9092");
/// let engine = Engine::builder(&graph.build()?).dir("state").changelog(kafka).start()?;
/// engine.ready_blocking()?;
/// println!("{:?}", engine.view(&counts)?.get("alice")?);
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Kafka {
    pub(crate) service: String,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) replication: Option<i32>,
    pub(crate) commit_interval: Duration,
    pub(crate) marks_kept: Duration,
    pub(crate) at_least_once: BTreeSet<String>,
    path: Fetch,
}

/// Without what must not be known.
impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if properties::is_secret(name) { "***".to_owned() } else { value.clone() })
        };
        let properties: BTreeMap<String, String> = self.properties.iter().map(shown).collect();
        f.debug_struct("Kafka")
            .field("service", &self.service)
            .field("properties", &properties)
            .field("fetch", &self.path)
            .finish_non_exhaustive()
    }
}

impl Kafka {
    /// Kafka as the service of this name reads it and writes to it. It names what belongs to the service at the brokers, and
    /// the engine, unless that is given another name.
    #[doc(alias = "application.id")]
    pub fn new(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            properties: BTreeMap::new(),
            replication: None,
            commit_interval: COMMIT_INTERVAL,
            marks_kept: MARKS_KEPT,
            at_least_once: BTreeSet::new(),
            path: Fetch::Direct,
        }
    }

    /// The brokers to ask for all others, as `host:port`, several apart by commas.
    #[doc(alias = "bootstrap.servers")]
    pub fn bootstrap(self, brokers: &str) -> Self {
        self.property("bootstrap.servers", brokers)
    }

    /// Sets a property of librdkafka, such as `security.protocol`, `sasl.username` or `linger.ms`. Those that would break what
    /// millpond promises are refused when the changelog is opened.
    pub fn property(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        let name = properties::canonical(name);
        self.properties.insert(name.to_owned(), value);
        self
    }

    /// Creates topics that are missing, with so many replicas of each partition and the number of partitions of their
    /// [`Topic`](millpond_engine::Topic). Unless it is called, a topic that is missing is an error: most topics belong to somebody
    /// else.
    pub fn create_topics(mut self, replication: i32) -> Self {
        self.replication = Some(replication);
        self
    }

    /// Outputs, and the marks of the epochs that they come from, are committed after about this long, or as soon as a drain needs
    /// it; 100 ms unless set. It is how far other processes of the service, and whoever reads its outputs, are behind.
    #[doc(alias = "commit.interval.ms")]
    pub fn commit_interval(mut self, interval: Duration) -> Self {
        self.commit_interval = interval;
        self
    }

    /// For how long marks of epochs are kept at least; 7 days unless set, as Kafka keeps records unless told otherwise. A process
    /// whose state is older goes on all the same; but where the order of records of several partitions matters to a fold, it
    /// may come to another one for the time before, and so may a table that is built anew: take a checkpoint of another
    /// process instead.
    pub fn keep_marks(mut self, at_least: Duration) -> Self {
        self.marks_kept = at_least;
        self
    }

    /// Sends what the graph appends to `topic` at once and without a transaction, for readers who do not wait for commits, or
    /// cannot: each record is there at least once. It is there again where a process ends, or is fenced, between that and the
    /// commit of its epoch, and then it may be another one if the order of partitions matters to the graph. May be called for
    /// several topics.
    #[doc(alias = "processing.guarantee")]
    pub fn at_least_once(mut self, topic: &str) -> Self {
        self.at_least_once.insert(topic.to_owned());
        self
    }

    /// By which path records are read: the direct one, unless this says otherwise. Everything is read the same by either.
    pub fn fetch(mut self, path: Fetch) -> Self {
        self.path = path;
        self
    }

    /// Connects to the brokers.
    ///
    /// # Errors
    /// `Invalid` for a property that is unknown, or would break what millpond promises, and if the user cannot log in;
    /// `Unavailable` if no broker answers.
    pub fn open(&self) -> Result<KafkaChangelog> {
        self.open_with(BUFFER_BYTES)
    }

    fn open_with(&self, buffer_bytes: usize) -> Result<KafkaChangelog> {
        properties::check(&self.properties)?;
        match self.path {
            Fetch::Direct => {
                let mut fetch = FetchConfig::new(&properties::brokers(&self.properties)?.join(","));
                security::apply(&self.properties, &mut fetch)?;
                fetch.buffer_bytes = buffer_bytes;
                KafkaChangelog::open(self, || Ok(Arc::new(Fetcher::connect(fetch)?)))
            }
            Fetch::Librdkafka => {
                KafkaChangelog::open(self, || Ok(Arc::new(Consumers::connect(self, buffer_bytes)?)))
            }
        }
    }
}

impl IntoChangelog for Kafka {
    fn service(&self) -> Option<String> {
        Some(self.service.clone())
    }

    fn into_changelog(self, options: &ChangelogOptions) -> Result<OpenedChangelog> {
        Ok(OpenedChangelog::owned(self.open_with(options.read_ahead_bytes)?))
    }
}
