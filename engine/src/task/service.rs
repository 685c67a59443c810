//! The service: one engine, as everything in it knows it. Queries, statistics, threads and administration ask through it.

use super::awaiting::AllAwaiting;
use super::setting::Setting;
use super::tasks::Tasks;
use crate::changelog::Lease;
use crate::flow::TableIndex;
use crate::query::{ServedTable, Serving, Snapshot, Stored, View, view_of};
use crate::state::{AnyTable, Status};
use crate::{Position, Result, TopicPartition};
use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Whoever did not close it, as it was never started, does not keep others of its name from holding.
impl Drop for Service {
    fn drop(&mut self) {
        self.leave();
    }
}

/// One engine: what it was opened with, its tasks, and the places where its tables are found.
pub(crate) struct Service {
    setting: Arc<Setting>,
    pub(crate) tasks: Tasks,
    /// By the number of the table in the graph.
    pub(crate) served: Box<[Arc<ServedTable>]>,
    /// The engine's name is its own as long as anything is appended or held under it.
    lease: Mutex<Option<Lease>>,
    /// Whether no further epoch is to begin for now.
    pub(crate) paused: AtomicBool,
    /// What is being fetched so that epochs can be decoded.
    pub(crate) awaiting: AllAwaiting,
    /// Partitions that it reads and its holder does not.
    unled: RwLock<Arc<BTreeSet<TopicPartition>>>,
}

impl Deref for Service {
    type Target = Setting;

    fn deref(&self) -> &Setting {
        &self.setting
    }
}

impl Service {
    pub(super) fn new(setting: Arc<Setting>, tasks: Tasks, lease: Lease) -> Self {
        let served = ServedTable::of(&setting.graph);
        let (lease, awaiting) = (Mutex::new(Some(lease)), AllAwaiting::default());
        let unled = RwLock::default();
        Self { setting, tasks, served, lease, paused: AtomicBool::new(false), awaiting, unled }
    }

    pub(crate) fn setting(&self) -> &Arc<Setting> {
        &self.setting
    }

    /// Lets `tables` answer.
    pub(super) fn serve(&self, tables: &[Option<Arc<dyn AnyTable>>]) {
        for (index, (served, table)) in self.served.iter().zip(tables).enumerate() {
            if let Some(table) = table {
                table.shared().know(TableIndex { graph: self.graph.id, index }, table);
                served.serve(Serving::Live(Arc::clone(table)));
            }
        }
    }

    /// The handle with which to ask `table`.
    ///
    /// # Errors
    /// `Invalid` if the table belongs to another graph.
    pub(crate) fn view<T: Stored>(&self, table: &T) -> Result<View<T::Key, T::Value>> {
        view_of(table, self.graph.id, &self.served, self.router)
    }

    /// All tables at one position.
    ///
    /// # Errors
    /// As for [`TaskState::ask`](crate::state::TaskState::ask).
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        self.tasks.snapshot()
    }

    /// Whether every table answers with its own rows, up to date.
    pub(crate) fn is_ready(&self) -> bool {
        !self.tasks.is_behind() && !self.served.iter().any(|table| table.is_building())
    }

    /// The partitions that it reads and its holder does not, as that runs an older graph.
    pub(crate) fn unled(&self) -> Arc<BTreeSet<TopicPartition>> {
        Arc::clone(&self.unled.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_unled(&self, partitions: BTreeSet<TopicPartition>) {
        if *self.unled() == partitions {
            return;
        }
        let named = || partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if !partitions.is_empty() {
            tracing::warn!(
                partitions = named(),
                "the engine that appends for this service runs a graph that does not read these partitions: they are folded \
                 once one of this graph appends"
            );
        }
        *self.unled.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(partitions);
        self.host.signal();
    }

    /// How many records of each partition that the graph reads lie beyond `position`, as far as it was heard. It asks nobody.
    pub(crate) fn lag<'p>(
        &'p self,
        position: &'p Position,
    ) -> impl Iterator<Item = Result<(TopicPartition, u64)>> + 'p {
        let read = position.iter().filter(|(id, _)| self.graph.reads(&id.topic));
        read.map(|(id, next)| Ok((id.clone(), self.changelog.heard_offsets(id)?.end.saturating_sub(next))))
    }

    /// Ends queries first and subscriptions afterwards: whoever subscribes in between is ended too, and whoever was
    /// waiting finds the reason.
    pub(crate) fn end(&self, status: &Status) {
        self.tasks.end(status);
        for table in &self.served {
            table.end(status);
        }
    }

    /// Lets go of the store, so that views which are still held do not keep its directory locked.
    pub(crate) fn let_go(&self) {
        self.tasks.release_stores();
        self.served.iter().for_each(|table| table.release_store());
    }

    /// Takes no part any more in appending epochs.
    pub(crate) fn leave(&self) {
        if self.shares_epochs() {
            self.changelog.leave(&self.name);
        }
    }

    /// Gives up the engine's name.
    pub(crate) fn release_name(&self) {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
