//! A store on disk or in memory, for tests that are to hold on either.

use crate::random::Random;
use millpond::changelog::Changelog;
use millpond::store::{MemoryStore, RocksOptions, RocksStore, StateStore};
use millpond::{Engine, Graph, Stepper};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// Where the rows of a state are kept; on disk with its directory.
#[allow(missing_debug_implementations, reason = "a store has none")]
pub struct AnyStore {
    /// The rows.
    pub store: Arc<dyn StateStore>,
    /// Where they are, if they are on disk.
    pub dir: Option<TempDir>,
}

impl AnyStore {
    /// An empty one.
    pub fn new(on_disk: bool) -> Self {
        if !on_disk {
            return Self { store: Arc::new(MemoryStore::new()), dir: None };
        }
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(RocksStore::open(dir.path(), &RocksOptions::default()).unwrap());
        Self { store, dir: Some(dir) }
    }

    /// An empty one of either kind.
    pub fn any(random: &mut Random) -> Self {
        Self::new(random.below(2) == 0)
    }

    /// Has the drains so far compacted.
    pub fn compact(&self) {
        self.store.settle();
        let settled =
            || self.store.stats().level_zero_files == 0 && self.store.stats().running_compactions == 0;
        for _ in 0..1_000_000 {
            if settled() {
                break;
            }
            std::thread::yield_now();
        }
    }

    /// Whoever folds `graph` into it.
    pub fn stepper(&self, graph: &Graph, log: &Arc<dyn Changelog>, shards: usize) -> Stepper {
        let builder = Engine::builder(graph).store(self.store.clone()).changelog(log.clone());
        builder.shards(shards).stepper().unwrap()
    }

    /// How many bytes the files with rows have; none in memory.
    pub fn file_bytes(&self) -> u64 {
        self.dir.as_ref().map_or(0, |dir| file_bytes(dir.path()))
    }
}

fn file_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let tables = files.filter(|file| file.extension().is_some_and(|extension| extension == "sst"));
    tables.map(|file| file.metadata().unwrap().len()).sum()
}
