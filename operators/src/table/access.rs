//! Access: how an operator looks into a table that another one keeps.
//!
//! A stored table reads its rows; a computed one asks the tables it is made from and computes. Both answer with the
//! state of the running epoch, on the shard that runs.

use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::Context;
use millpond_engine::graph::{TableIndex, TableRef};
use millpond_engine::state::Record;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Looks up rows by key.
pub(crate) trait Access<K, V>: Send + Sync + 'static {
    /// The current row of each key.
    fn look_up(&self, context: &mut Context<'_>, keys: &[&K]) -> Result<Vec<Option<V>>>;

    /// Asks the stored tables below to emit every single update.
    fn record_updates(&self);

    /// The stored tables that are read.
    fn reads(&self) -> Vec<TableIndex>;
}

/// Whether a stored table records every single update; set while the graph is built.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    asked: Arc<AtomicBool>,
    below: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Recorder {
    /// The recorder of a table that derives from others: `below` asks those for their updates.
    pub(crate) fn over(below: impl Fn() + Send + Sync + 'static) -> Self {
        Self { asked: Arc::default(), below: Some(Arc::new(below)) }
    }

    pub(crate) fn record(&self) -> Record {
        if self.is_asked() { Record::Updates } else { Record::Changes }
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
        if let Some(below) = &self.below {
            below();
        }
    }
}

/// Reads a stored table.
pub(crate) struct StoredAccess<K, V> {
    pub(crate) table: TableRef<K, V>,
    pub(crate) recorder: Recorder,
}

impl<K: Key, V: Value> Access<K, V> for StoredAccess<K, V> {
    fn look_up(&self, context: &mut Context<'_>, keys: &[&K]) -> Result<Vec<Option<V>>> {
        context.table(&self.table)?.look_up(context, keys)
    }

    fn record_updates(&self) {
        self.recorder.ask();
    }

    fn reads(&self) -> Vec<TableIndex> {
        vec![self.table.index()]
    }
}
