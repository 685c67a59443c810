//! How many partitions topics have, of all that were asked for: those that are read, and those that are written to.
//!
//! Nobody who asks waits for a broker but the first one. What is older than it may be is asked for beside, of all topics at once, so
//! that records are placed by the new number once a topic has got more partitions.

use super::topics::count;
use crate::path::FetchPath;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) struct Found {
    /// How old an answer may be.
    age: Duration,
    counts: Mutex<Counts>,
}

struct Counts {
    of: HashMap<String, u32>,
    /// When they were asked for last.
    asked: Instant,
    /// Whether somebody does so now.
    asking: bool,
}

impl Found {
    pub(super) fn new(age: Duration) -> Self {
        let counts = Counts { of: HashMap::new(), asked: Instant::now(), asking: false };
        Self { age, counts: Mutex::new(counts) }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn partitions(&self, topic: &str) -> Option<u32> {
        self.counts().of.get(topic).copied()
    }

    /// Notes that `topic` has so many; returns them.
    pub(super) fn remember(&self, topic: &str, partitions: u32) -> u32 {
        let mut counts = self.counts();
        match counts.of.get_mut(topic) {
            Some(known) => *known = partitions,
            None => _ = counts.of.insert(topic.to_owned(), partitions),
        }
        partitions
    }

    /// Has all of them asked for beside, if that was long ago.
    pub(super) fn refresh(self: &Arc<Self>, path: &Arc<dyn FetchPath>) {
        let mut counts = self.counts();
        if counts.asking || counts.of.is_empty() || counts.asked.elapsed() < self.age {
            return;
        }
        counts.asking = true;
        let topics: Vec<String> = counts.of.keys().cloned().collect();
        drop(counts);
        let (found, path) = (Arc::clone(self), Arc::clone(path));
        let asks = move || {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            for topic in path.topics(&names) {
                found.remember(&topic.name, count(&topic));
            }
            found.was_asked();
        };
        if let Err(error) = std::thread::Builder::new().name("millpond-kafka-topics".to_owned()).spawn(asks) {
            tracing::warn!(%error, "no thread can be started to ask how many partitions topics have");
            self.was_asked();
        }
    }

    fn was_asked(&self) {
        let mut counts = self.counts();
        (counts.asking, counts.asked) = (false, Instant::now());
    }
}
