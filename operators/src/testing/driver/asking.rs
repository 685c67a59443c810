//! What a driver is asked.

use super::Driver;
use crate::testing::Input;
use crate::testing::changelogs::TypedRecord;
use millpond_engine::changelog::MemoryChangelog;
use millpond_engine::codec::{Key, Value};
use millpond_engine::query::{Snapshot, Stored, View};
use millpond_engine::store::MemoryStore;
use millpond_engine::{Position, Result, Stats, Topic};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Driver {
    /// All rows of `table`.
    ///
    /// # Errors
    /// `Invalid` if the table belongs to another graph, `Unavailable` while it is built for the first time.
    pub fn table<T: Stored<Key: Key, Value: Value>>(&self, table: &T) -> Result<BTreeMap<T::Key, T::Value>> {
        self.view(table)?.scan()?.collect()
    }

    /// The handle with which to ask `table`; it is good until the next restart or crash.
    ///
    /// # Errors
    /// `Invalid` if the table belongs to another graph.
    pub fn view<T: Stored<Key: Key, Value: Value>>(&self, table: &T) -> Result<View<T::Key, T::Value>> {
        self.running()?.view(table)
    }

    /// All tables at one position.
    ///
    /// # Errors
    /// The reason of the stop if the engine has stopped.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.running()?.snapshot()
    }

    /// Which input the tables include.
    ///
    /// # Errors
    /// `Closed` if the engine could not be opened again.
    pub fn position(&self) -> Result<Position> {
        Ok(self.running()?.position())
    }

    /// The records that the tables include: what a reference model is to fold.
    ///
    /// # Errors
    /// As for [`position`](Self::position).
    pub fn input(&self) -> Result<Input> {
        Ok(Input::new(Arc::clone(&self.changelog) as _, self.position()?).of_engine(&self.settings.name))
    }

    /// All records of `topic`, whether folded or not: partition by partition, in offset order. For a derived topic,
    /// what the graph has written.
    ///
    /// # Errors
    /// `Invalid` if there is no such topic, `Corrupt` if a record does not decode.
    pub fn records<K: Key, V: Value>(&self, topic: &Topic<K, V>) -> Result<Vec<TypedRecord<K, V>>> {
        crate::testing::input::read(&*self.changelog, topic)
    }

    /// Whether tables are still being built.
    ///
    /// # Errors
    /// As for [`position`](Self::position).
    pub fn is_building(&self) -> Result<bool> {
        Ok(self.running()?.is_building())
    }

    /// What the engine is doing.
    ///
    /// # Errors
    /// As for [`position`](Self::position).
    pub fn stats(&self) -> Result<Stats> {
        Ok(self.running()?.stats())
    }

    /// The changelog, which survives restarts; a [power cut](Self::power_cut) replaces it.
    #[must_use]
    pub fn changelog(&self) -> &Arc<MemoryChangelog> {
        &self.changelog
    }

    /// The state, which survives restarts.
    #[must_use]
    pub fn store(&self) -> &Arc<MemoryStore> {
        &self.store
    }
}
