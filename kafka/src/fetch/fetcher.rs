//! A client of a cluster that reads: what there is, where it begins and ends, and readers of partitions.

use super::cluster::{TopicMetadata, Unfit};
use super::config::FetchConfig;
use super::connection::Backoff;
use super::partition::out_of_range;
use super::reader::FetchReader;
use super::state::Shared;
use millpond_engine::{Error, ErrorKind, Result, TopicPartition};
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A client of a cluster that reads. Clones share everything; connections are closed with the last of them and of the readers,
/// or by [`close`](Self::close).
#[derive(Debug, Clone)]
pub struct Fetcher(Arc<Handle>);

/// Closes what is shared when nobody is left. The threads do not count.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Fetcher {
    /// Connects to the first broker that answers.
    ///
    /// # Errors
    /// `Unavailable` if none answers within the time-out, `Invalid` if the user cannot log in.
    pub fn connect(config: FetchConfig) -> Result<Self> {
        let deadline = Instant::now() + config.request_timeout;
        let fetcher = Self(Arc::new(Handle(Arc::new(Shared::new(config)))));
        fetcher.shared().metadata(Some(&[]), deadline)?;
        Ok(fetcher)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.shared().config.request_timeout
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.shared().config.request_timeout
    }

    /// What the brokers call their cluster, if they have a name for it.
    #[must_use]
    pub fn cluster_id(&self) -> Option<Arc<str>> {
        self.shared().lock().cluster.id.clone()
    }

    /// These topics as the brokers describe them now, in this order. None is created.
    ///
    /// # Errors
    /// `Unavailable` if no broker answers. Of each topic: `Invalid` if it does not exist or must not be read.
    pub fn topics(&self, names: &[&str]) -> Result<Vec<Result<TopicMetadata>>> {
        let names: Vec<Arc<str>> = names.iter().copied().map(Arc::from).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut answers = self.shared().metadata(Some(&names), self.deadline())?;
        Ok(names
            .iter()
            .map(|name| match answers.iter().position(|(answered, _)| answered == name) {
                Some(at) => answers.swap_remove(at).1.map_err(Error::from),
                None => Err(Error::unavailable(format!("the broker has not described topic {name}"))),
            })
            .collect())
    }

    /// The topic of this name as the brokers describe it now; none if there is none.
    ///
    /// # Errors
    /// `Unavailable` if no broker answers, or it cannot be described at the moment; `Invalid` if it must not be read.
    pub fn find_topic(&self, name: &str) -> Result<Option<TopicMetadata>> {
        let mut answers = self.shared().metadata(Some(&[Arc::from(name)]), self.deadline())?;
        match answers.pop().map(|(_, answer)| answer) {
            None => Err(Error::unavailable(format!("the broker has not described topic {name}"))),
            Some(Ok(found)) => Ok(Some(found)),
            Some(Err(Unfit::Missing(_))) => Ok(None),
            Some(Err(unfit)) => Err(unfit.into()),
        }
    }

    /// The topic of this name once the brokers know it, such as one that was just created.
    ///
    /// # Errors
    /// As for `find_topic`; `Unavailable` if it is not there within the time-out.
    pub fn await_topic(&self, name: &str) -> Result<TopicMetadata> {
        let deadline = self.deadline();
        let mut backoff = Backoff::new(self.shared().config.backoff);
        loop {
            let found = self.find_topic(name);
            let left = deadline.saturating_duration_since(Instant::now());
            match found {
                Ok(Some(found)) if !found.partitions.is_empty() => return Ok(found),
                Err(error) if error.kind() != ErrorKind::Unavailable || left.is_zero() => return Err(error),
                _ if left.is_zero() => {
                    return Err(Error::unavailable(format!("the brokers do not know topic {name} yet")));
                }
                _ => self.shared().pause(backoff.delay().min(left))?,
            }
        }
    }

    /// How many partitions the topic `name` has, as it was heard last; none if nothing was. Those of topics that are read are asked
    /// for [every so often](FetchConfig::metadata_age), and whoever [watches](Self::watch) is woken then.
    #[must_use]
    pub fn partitions(&self, name: &str) -> Option<usize> {
        self.shared().lock().cluster.topic(name).map(|topic| topic.partitions.len())
    }

    /// What tells the topic `name` from another one of that name, as it was heard last, or is heard now. None if it does not exist,
    /// or the broker is too old to tell.
    ///
    /// # Errors
    /// `Unavailable` if no broker answers.
    pub fn topic_id(&self, name: &str) -> Result<Option<Uuid>> {
        let id = |id: Uuid| Some(id).filter(|id| !id.is_nil());
        if let Some(topic) = self.shared().lock().cluster.topic(name) {
            return Ok(id(topic.id));
        }
        match self.topics(&[name])?.pop() {
            Some(Ok(topic)) => Ok(id(topic.id)),
            Some(Err(error)) if error.kind() == ErrorKind::Unavailable => Err(error),
            Some(Err(_)) | None => Ok(None),
        }
    }

    /// All topics that the user may see. Those that cannot be described are left out.
    ///
    /// # Errors
    /// `Unavailable` if no broker answers.
    pub fn all_topics(&self) -> Result<Vec<TopicMetadata>> {
        let answers = self.shared().metadata(None, self.deadline())?;
        Ok(answers.into_iter().filter_map(|(_, answer)| answer.ok()).collect())
    }

    /// The offsets that can be read: from the first that is kept to the last stable offset, behind which transactions are
    /// undecided. They are at most a second old, unless the partition's leader is away: then they are the last ones heard.
    ///
    /// # Errors
    /// `Invalid` for a partition that does not exist or must not be read; `Unavailable` if no offsets were ever heard and no
    /// broker answers.
    pub fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.shared().offsets(partition)
    }

    /// The same as they were heard last, and when that was: with the last fetch of the partition, or when they were asked for. None
    /// if they were never heard. Nobody is asked.
    pub(crate) fn heard_offsets(&self, partition: &TopicPartition) -> Option<(Range<u64>, Instant)> {
        let heard = self.shared().lock().ends.get(partition).copied()?;
        Some((heard.start..heard.end, heard.at))
    }

    /// The same, asked of the leader now.
    ///
    /// # Errors
    /// As for `offsets`; `Unavailable` also if the leader is away.
    pub fn latest_offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.shared().ask_offsets(partition, self.deadline(), false)
    }

    /// Where `partition` ends, with what belongs to transactions that have not ended; asked of the leader now.
    ///
    /// # Errors
    /// As for `latest_offsets`.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Result<u64> {
        Ok(self.shared().all_offsets(partition)?.end)
    }

    /// The offset of the first record whose timestamp is `timestamp_ms` or later; none if there is no such record.
    ///
    /// # Errors
    /// As for `latest_offsets`.
    pub fn offset_for_time(&self, partition: &TopicPartition, timestamp_ms: i64) -> Result<Option<u64>> {
        self.shared().offset_for_time(partition, timestamp_ms)
    }

    /// Begins to read `partition` from `offset` on.
    ///
    /// # Errors
    /// `Invalid` for a partition that does not exist or must not be read, `BehindChangelog` if what is at `offset` was deleted,
    /// `AheadOfChangelog` if it is past the end, `Unavailable` if no broker answers.
    pub fn reader(&self, partition: &TopicPartition, offset: u64) -> Result<FetchReader> {
        let shared = self.shared();
        let known = shared.offsets(partition)?;
        if offset < known.start || offset > known.end {
            // The last stable offset lags behind acknowledgements, and what is cached behind that: only what was asked now counts.
            let now = shared.all_offsets(partition)?;
            if let Some(error) = out_of_range(partition, offset, now.start, now.end) {
                return Err(error);
            }
        }
        FetchReader::open(self.clone(), shared, partition, offset)
    }

    /// Calls `waker` whenever records may have come, a partition's end has moved, something has failed, and on close. It must be
    /// quick and must not call back.
    pub fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.shared().watch(waker);
    }

    /// What is wrong at the moment: brokers that are away, partitions that nobody leads, since when and why. None if nothing
    /// is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble_since(Duration::ZERO)
    }

    /// As [`trouble`](Self::trouble), of what has lasted for `at_least`.
    #[must_use]
    pub fn trouble_since(&self, at_least: Duration) -> Option<String> {
        let now = Instant::now();
        let mut troubles = self.shared().control.trouble(now, at_least);
        for partition in self.shared().lock().readers.values() {
            troubles.extend(partition.trouble(now, at_least));
        }
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }

    /// Ends all connections. Every later call and every reader answers `Closed`; closing again does nothing.
    pub fn close(&self) {
        self.shared().close();
    }
}
