//! A changelog and a store in memory, which outlive the engines and steppers that are opened on them one after the other.

use crate::records;
use millpond::changelog::{Changelog, MemoryChangelog, Producer};
use millpond::codec::{Key, Value};
use millpond::store::{Direction, MemoryStore, StateStore};
use millpond::{Engine, EngineBuilder, Graph, Result, Stepper, Topic};
use std::sync::Arc;

/// What a service leaves when it ends.
#[derive(Debug, Clone, Default)]
pub struct InMemory {
    /// The changelog.
    pub log: Arc<MemoryChangelog>,
    /// The state.
    pub store: Arc<MemoryStore>,
}

impl InMemory {
    /// Neither has anything in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// An engine for `graph` on it.
    pub fn engine(&self, graph: &Graph) -> EngineBuilder {
        Engine::builder(graph).changelog(self.changelog()).store(self.store.clone())
    }

    /// A stepper for `graph` on it, over two shards.
    pub fn stepper(&self, graph: &Graph) -> Result<Stepper> {
        self.engine(graph).shards(2).stepper()
    }

    /// Opens `graph`, folds everything in epochs of so many records, makes it durable and ends.
    pub fn fold(&self, graph: &Graph, records: usize) -> Result<()> {
        catch_up(&mut self.stepper(graph)?, records)
    }

    /// The changelog, whichever it is.
    pub fn changelog(&self) -> Arc<dyn Changelog> {
        self.log.clone()
    }

    /// A producer whose clock stands still at 0.
    pub fn producer<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Result<Producer<K, V>> {
        records::producer(self.changelog(), topic)
    }

    /// Every row of the store with its key, those of the engine itself among them.
    pub fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        let visit = &mut |key: &[u8], value: &[u8]| {
            rows.push((key.to_vec(), value.to_vec()));
            true
        };
        self.store.snapshot().unwrap().scan(&[]..&[255; 8], Direction::Forward, visit).unwrap();
        rows
    }
}

/// Folds everything that is there in epochs of so many records, and makes it durable.
pub fn catch_up(stepper: &mut Stepper, records: usize) -> Result<()> {
    while stepper.epoch(records)? {}
    stepper.drain().map(drop)
}
