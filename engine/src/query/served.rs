//! The place where a table is found, and what answers for it.

use super::StoredRef;
use super::readable::Readable;
use crate::codec::{Key, Value};
use crate::graph::{Feeds, Graph};
use crate::state::{AnyTable, Status};
use crate::{Error, Result};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// What a table answers with.
pub(crate) enum Serving {
    /// The table, kept up to date.
    Live(Arc<dyn AnyTable>),
    /// The rows of an older version of the table, while the new one is built.
    Former(Arc<dyn AnyTable>),
    /// Nothing, of which a reader of the state knows this.
    #[cfg_attr(not(feature = "rocks"), expect(dead_code, reason = "only a directory has readers"))]
    Absent(String),
    /// Nothing yet: the table is being built for the first time.
    Building,
}

/// The place where a table is found; what stands in it changes when a build is complete.
pub(crate) struct ServedTable {
    pub(crate) name: Arc<str>,
    /// What takes the node on in time that writes it.
    pub(crate) feeds: Feeds,
    pub(crate) serving: RwLock<Serving>,
    /// Why the engine has ended; it may have before the table was built.
    pub(crate) ended: OnceLock<Status>,
}

impl ServedTable {
    /// A table of which nothing answers yet.
    fn new(name: &Arc<str>, feeds: Feeds) -> Self {
        let (serving, ended) = (RwLock::new(Serving::Building), OnceLock::new());
        Self { name: Arc::clone(name), feeds, serving, ended }
    }

    /// Those of `graph`, by their number.
    pub(crate) fn of(graph: &Graph) -> Box<[Arc<Self>]> {
        let tables = graph.tables.iter().enumerate();
        tables.map(|(index, spec)| Arc::new(Self::new(&spec.name, graph.feeds_of_table(index)))).collect()
    }

    pub(crate) fn serve(&self, serving: Serving) {
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = serving;
    }

    /// Ends the queries of the table with `status`, and its subscriptions after them, so that they find the reason.
    pub(crate) fn end(&self, status: &Status) {
        let _ = self.ended.set(status.again());
        self.answering(|table| {
            table.shared().end(status);
            table.close();
        });
    }

    /// Lets go of the store, so that views that are still held do not keep its directory locked.
    pub(crate) fn release_store(&self) {
        self.answering(|table| table.shared().release_store());
    }

    /// Acts on the table that answers. The lock is let go before: it may be asked for again meanwhile, and a reader
    /// that holds it would wait behind a writer that waits for that very reader.
    fn answering(&self, act: impl FnOnce(&Arc<dyn AnyTable>)) {
        let table = match &*self.serving.read().unwrap_or_else(PoisonError::into_inner) {
            Serving::Live(table) | Serving::Former(table) => Arc::clone(table),
            Serving::Building | Serving::Absent(_) => return,
        };
        act(&table);
    }

    pub(crate) fn is_building(&self) -> bool {
        !matches!(*self.serving.read().unwrap_or_else(PoisonError::into_inner), Serving::Live(_))
    }

    pub(crate) fn table<K: Key, V: Value>(&self, stored: StoredRef<K, V>) -> Result<Readable<K, V>> {
        let table = match &*self.serving.read().unwrap_or_else(PoisonError::into_inner) {
            Serving::Live(table) | Serving::Former(table) => Arc::clone(table),
            Serving::Absent(why) => return Err(Error::unavailable(why.clone())),
            Serving::Building => {
                self.ended.get().map_or(Ok(()), Status::check)?;
                return Err(Error::unavailable(format!(
                    "table `{}` is being built from the start of its changelog; wait with `Engine::ready`",
                    self.name
                )));
            }
        };
        Readable::of(table, stored, &self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Bincode, CheckedCodec};
    use crate::state::{Host, TaskState};
    use crate::store::MemoryStore;
    use crate::store::layout::TableId;
    use crate::{state::TableState, time::Reached};

    /// Three once waited in a circle: one that ended the table held its place and waited for the publishing lock; one that
    /// waited for the table held that and asked for the place; and between them stood one who was to put a newer table
    /// in it, behind whom the lock lets no further reader in.
    #[test]
    fn ending_a_table_does_not_hold_its_place() {
        let store = Arc::new(MemoryStore::new());
        let shared = Arc::new(TaskState::new(Host::new(0), store, Reached::default(), Arc::default()));
        let table: TableState<u32, u64> = TableState::new(
            TableId::FIRST,
            "table".into(),
            Arc::new(CheckedCodec::new::<u64>(Bincode)),
            1,
            Arc::clone(&shared),
        );
        let serving = RwLock::new(Serving::Live(Arc::new(table)));
        let feeds = Feeds::default();
        let table = ServedTable { name: "table".into(), feeds, serving, ended: OnceLock::new() };
        std::thread::scope(|scope| {
            let held = shared.hold_publishing();
            scope.spawn(|| table.end(&Status::Closed));
            while shared.check().is_ok() {
                std::thread::yield_now();
            }
            // The end is known; what is left is to wake whoever waits, for which it needs the lock that is held.
            let free = (0..1000).all(|_| {
                std::thread::yield_now();
                table.serving.try_write().is_ok()
            });
            drop(held);
            assert!(free, "whoever comes with a newer table has to wait");
        });
    }
}
