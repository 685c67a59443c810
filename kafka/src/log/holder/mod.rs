//! Holding: one process of a service appends what epochs produce, with a mark for each, in transactions; the others follow the
//! marks, and one of them takes over where it stops.
//!
//! The marks stand in the topic `<name>.epochs`, of one partition. Who tries to hold is decided by a group of consumers of that
//! topic (`member`); who holds, by the transactional producer of that name (`writer`), as its beginning fences every other.
//! Outputs and the marks of their epochs are committed together, so that each is there exactly if the other is.

mod mark;
mod marks;
mod member;
mod retried;
mod state;
mod tenure;
#[cfg(test)]
mod tests;
mod transactions;
mod writer;

use super::{KafkaChangelog, clients};
use crate::Kafka;
use crate::fetch::Watchers;
use crate::path::LASTING;
use crate::properties::{millis, request_timeout};
use marks::MarkLog;
use millpond_engine::changelog::EpochMark;
use millpond_engine::changelog::block_on;
use millpond_engine::{Clock, Error, ErrorKind, Position, Result, SystemClock, TopicPartition};
use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};
use state::Stage;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tenure::{Setup, Tenure};
use transactions::OfLibrdkafka;
use writer::Writer;

/// How long brokers may take to delete marks.
const DELETION: Duration = Duration::from_secs(10);

/// Between two attempts at what did not go well.
const BACK_OFF: Duration = Duration::from_millis(200);

/// What this process holds or follows, by the name.
pub(super) struct Holders {
    kafka: Kafka,
    joined: Mutex<BTreeMap<String, Joined>>,
    watchers: Arc<Watchers>,
}

struct Joined {
    tenure: Arc<Tenure>,
    /// Ends when the threads of the tenure have ended.
    threads: Receiver<Never>,
}

/// What no thread ever says.
enum Never {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Holders {
    pub(super) fn new(kafka: &Kafka) -> Self {
        Self { kafka: kafka.clone(), joined: Mutex::default(), watchers: Arc::default() }
    }

    pub(super) fn watch(&self, waker: Weak<dyn Fn() + Send + Sync>) {
        self.watchers.add(waker);
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Tenure>> {
        lock(&self.joined).get(name).map(|joined| Arc::clone(&joined.tenure))
    }

    /// What has gone on not to go well for so long that somebody should be told.
    pub(super) fn lasting_trouble(&self) -> Vec<String> {
        let at_least = request_timeout(&self.kafka.properties) * LASTING;
        let joined = lock(&self.joined);
        joined
            .values()
            .flat_map(|joined| joined.tenure.state().troubles(at_least).collect::<Vec<_>>())
            .collect()
    }

    /// Ends all tenures, and waits for that until `deadline`. One that takes longer ends by itself: what it has not committed is in no
    /// state, and is folded again.
    pub(super) fn close(&self, deadline: Instant) {
        let joined = std::mem::take(&mut *lock(&self.joined));
        for joined in joined.values() {
            joined.tenure.leave();
        }
        for (name, Joined { tenure, threads }) in joined {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(RecvTimeoutError::Timeout) = threads.recv_timeout(left) {
                let committed = tenure.committed();
                let epochs = committed.end - committed.start;
                tracing::warn!(
                    name,
                    epochs,
                    "brokers do not answer: what these epochs appended is not waited for any more, and the group is not left"
                );
            }
        }
    }
}

/// Whoever did not close it does not keep other processes from holding.
impl Drop for Holders {
    fn drop(&mut self) {
        for joined in lock(&self.joined).values() {
            joined.tenure.leave();
        }
    }
}

fn marks_of(name: &str) -> TopicPartition {
    TopicPartition::new(format!("{name}.epochs"), 0)
}

/// What no other process has.
fn new_identity() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness two would differ by what time it is.
    if getrandom::fill(&mut bytes).is_err() {
        let now = u64::from_be_bytes(SystemClock.now_ms().to_be_bytes());
        bytes = (u128::from(std::process::id()) << 64 | u128::from(now)).to_be_bytes();
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl KafkaChangelog {
    /// The tenure of `name`.
    ///
    /// # Errors
    /// `Closed` if the connection is; `Invalid` if the name has not joined.
    pub(super) fn tenure(&self, name: &str) -> Result<Arc<Tenure>> {
        let found = self.holders.find(name);
        // Only now, as they are gone once it is closed.
        self.check_open()?;
        found.ok_or_else(|| {
            Error::invalid(format!(
                "`{name}` has not joined those who append its epochs: call `RoleLog::join` first"
            ))
        })
    }

    /// Becomes one of those who append the epochs of `name`, or follow them.
    pub(super) fn join_holders(&self, name: &str) -> Result<()> {
        let topic = marks_of(name);
        self.create_marks(&topic.topic)?;
        let end = self.fetcher.latest_offsets(&topic)?.end;
        let Holders { kafka, joined, watchers } = &self.holders;
        let mut joined = lock(joined);
        if let Some(joined) = joined.get(name) {
            let state = joined.tenure.state();
            if state.leaving.is_none() && state.failed.is_none() {
                return Ok(());
            }
            drop(state);
            joined.tenure.leave();
        }
        let watchers = Arc::clone(watchers);
        // The other half is for what has to be sent yet, and for the commit.
        let longest = millis(&kafka.properties, "transaction.timeout.ms").unwrap_or(clients::TRANSACTION) / 2;
        let setup = Setup {
            name: name.to_owned(),
            fetcher: self.fetcher.clone(),
            topic,
            producers: Box::new(OfLibrdkafka {
                config: clients::transactional(kafka, name),
                id: name.to_owned(),
                most_bytes: clients::most_bytes(kafka),
            }),
            // A transaction that is open for longer is aborted.
            commit_every: if kafka.at_least_once.is_empty() {
                kafka.commit_interval.min(longest)
            } else {
                kafka.commit_interval
            },
            back_off: BACK_OFF,
            loose: kafka.at_least_once.clone(),
            appender: self.appender.clone(),
            wake: Box::new(move || watchers.wake()),
        };
        let tenure = Arc::new(Tenure::new(setup, end));
        let group = clients::member(kafka, name);
        let ours = Arc::clone(&tenure);
        let (runs, threads) = channel();
        let writes = runs.clone();
        spawn("millpond-kafka-write", &tenure, writes, move || Writer::new(ours).run())?;
        let ours = Arc::clone(&tenure);
        spawn("millpond-kafka-group", &tenure, runs, move || member::take_part(&ours, &group))?;
        joined.insert(name.to_owned(), Joined { tenure, threads });
        Ok(())
    }

    /// The marks of a name that this process has not joined.
    pub(super) fn marks_there(&self, name: &str, position: &Position) -> Result<Vec<EpochMark>> {
        let topic = marks_of(name);
        match self.fetcher.find_topic(&topic.topic) {
            Ok(Some(_)) => {}
            Err(error) if error.kind() != ErrorKind::Invalid => return Err(error),
            Err(_) | Ok(None) => return Ok(Vec::new()),
        }
        let end = self.fetcher.latest_offsets(&topic)?.end;
        let mut log = MarkLog::new(self.fetcher.clone(), topic);
        let (mut marks, mut position) = (Vec::new(), position.clone());
        loop {
            let more = log.after(&position, end, u64::MAX)?;
            let Some(last) = more.last() else { return Ok(marks) };
            position.advance_to(&last.to);
            marks.extend(more);
        }
    }

    /// Deletes marks that are older than they have to be kept, of what this process holds. To fail loses nothing.
    pub(super) fn forget_marks(&self) {
        let kept = self.holders.kafka.marks_kept;
        let kept_ms = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        let before_ms = SystemClock.now_ms().saturating_sub(kept_ms);
        let tenures: Vec<_> =
            lock(&self.holders.joined).values().map(|joined| Arc::clone(&joined.tenure)).collect();
        for tenure in tenures.into_iter().filter(|tenure| tenure.state().stage == Stage::Holding) {
            let Ok(Some(old)) = self.fetcher.offset_for_time(&tenure.topic, before_ms) else { continue };
            let Ok(kept) = self.fetcher.offsets(&tenure.topic) else { continue };
            if kept.start >= old {
                continue;
            }
            let offset = match tenure.forgettable(old) {
                Ok(offset) if offset > kept.start => offset,
                Ok(_) => continue,
                Err(error) => {
                    tracing::debug!(%error, name = tenure.name, "marks of old epochs are kept for now");
                    continue;
                }
            };
            let mut list = TopicPartitionList::new();
            let before = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
            let deleted = list.add_partition_offset(&tenure.topic.topic, 0, before).and_then(|()| {
                let options =
                    AdminOptions::new().operation_timeout(Some(DELETION)).request_timeout(Some(DELETION));
                let admin = self.appender.admin().map_err(|_| rdkafka::error::KafkaError::Canceled)?;
                block_on(admin.delete_records(&list, &options))
            });
            match deleted {
                Ok(_) => tracing::debug!(name = tenure.name, offset, "marks of old epochs were deleted"),
                Err(error) => {
                    tracing::warn!(%error, name = tenure.name, "marks of old epochs cannot be deleted");
                }
            }
        }
    }
}

/// Drops a client of librdkafka, which may take its time, or for ever: nobody waits for it.
pub(super) fn drop_aside(client: impl Send + 'static) {
    let dropping = std::thread::Builder::new().name("millpond-kafka-drop".to_owned());
    if let Err(error) = dropping.spawn(move || drop(client)) {
        tracing::warn!(%error, "no thread could be started to drop a client of Kafka");
    }
}

/// A thread of a tenure, which has `runs` until it ends. If it panics the tenure has failed; when the writer ends, the group can let
/// the process go.
fn spawn(
    name: &str,
    tenure: &Arc<Tenure>,
    runs: Sender<Never>,
    body: impl FnOnce() + Send + 'static,
) -> Result<()> {
    let (tenure, ends_writing) = (Arc::clone(tenure), name.ends_with("write"));
    let guarded = move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        let mut state = tenure.state();
        if outcome.is_err() {
            state.failed = Some(Error::internal("a thread of Kafka panicked, which is a defect of millpond"));
        }
        state.done |= ends_writing;
        drop(state);
        tenure.tell();
        drop(runs);
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(guarded)
        .map(drop)
        .map_err(|error| Error::unavailable("cannot start a thread for Kafka").with_source(error))
}
