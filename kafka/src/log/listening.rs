//! Where partitions end, for whoever must not wait for brokers: what was heard last, and asked for again aside.
//!
//! Statistics are asked for at all times, and every append asks how far the fold is behind. What is read is heard with it, by the
//! direct path; of anything else the answer grows old. So a thread asks again, once a second, for what somebody wanted to know in the
//! last minute, and ends when that is nothing more.

use crate::path::FetchPath;
use millpond_engine::{Error, Result, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What was heard so long ago is asked for again.
const FRESH: Duration = Duration::from_secs(1);

/// So long somebody is taken to be interested who has asked.
const OF_INTEREST: Duration = Duration::from_secs(60);

/// What is known of the ends of partitions. Dropping it ends the thread that asks.
pub(super) struct Listening(Arc<Shared>);

struct Shared {
    fetcher: Arc<dyn FetchPath>,
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Default)]
struct State {
    /// When somebody has last wanted to know of each.
    wanted: BTreeMap<TopicPartition, Instant>,
    /// Whether a thread asks.
    asking: bool,
    closed: bool,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.close();
    }
}

impl Listening {
    pub(super) fn new(fetcher: Arc<dyn FetchPath>) -> Self {
        Self(Arc::new(Shared { fetcher, state: Mutex::default(), closed: Condvar::new() }))
    }

    /// Where `partition` begins and ends, as it was heard last.
    ///
    /// # Errors
    /// `Unavailable` if that was never heard.
    pub(super) fn heard(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        let heard = self.0.fetcher.heard_offsets(partition);
        if heard.as_ref().is_none_or(|(_, at)| at.elapsed() >= FRESH) {
            self.want(partition);
        }
        let unheard = || Error::unavailable(format!("it was not heard yet where {partition} ends"));
        heard.map(|(offsets, _)| offsets).ok_or_else(unheard)
    }

    fn want(&self, partition: &TopicPartition) {
        let mut state = self.0.lock();
        state.wanted.insert(partition.clone(), Instant::now());
        if state.closed || std::mem::replace(&mut state.asking, true) {
            return;
        }
        drop(state);
        let shared = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().name("millpond-kafka-ends".to_owned());
        if let Err(error) = thread.spawn(move || shared.ask()) {
            tracing::warn!(%error, "no thread could be started to ask where partitions end");
            self.0.lock().asking = false;
        }
    }

    pub(super) fn close(&self) {
        self.0.lock().closed = true;
        self.0.closed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks once a second, as long as somebody wants to know.
    fn ask(&self) {
        while let Some(wanted) = self.wanted() {
            for partition in wanted {
                if self.lock().closed {
                    return;
                }
                // It stays what it was, and is asked for again.
                if let Err(error) = self.fetcher.offsets(&partition) {
                    tracing::debug!(%error, %partition, "it is not told where a partition ends");
                }
            }
            let state = self.lock();
            let wait = self.closed.wait_timeout_while(state, FRESH, |state| !state.closed);
            drop(wait.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// What somebody wants to know; none if the thread is to end.
    fn wanted(&self) -> Option<Vec<TopicPartition>> {
        let mut state = self.lock();
        state.wanted.retain(|_, at| at.elapsed() < OF_INTEREST);
        state.asking = !state.wanted.is_empty() && !state.closed;
        state.asking.then(|| state.wanted.keys().cloned().collect())
    }
}
