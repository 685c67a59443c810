//! Access: how an operator looks into a table that another one keeps.
//!
//! A stored table reads its rows; a computed one asks the tables it is made from and computes. Both answer with the
//! state of the running epoch, on the shard that runs. Code of the user may run for that, and panic: whoever looks says for each
//! key on whose behalf. A row at which a computing step returns an error is absent.

use millpond_engine::Result;
use millpond_engine::codec::{Alarmed, Grouped, Key, Value};
use millpond_engine::dataflow::{Context, Failure, Stamp};
use millpond_engine::graph::{TableIndex, TableRef};

/// A key that is looked up, and the value that wants its row.
pub(crate) type Wanted<'k, K> = (&'k K, &'k Stamp);

/// Looks up rows by key.
pub(crate) trait Access<K, V>: Send + Sync + 'static {
    /// The current row of each key.
    fn look_up(&self, context: &mut Context<'_>, keys: &[Wanted<'_, K>]) -> Result<Vec<Option<V>>, Failure>;

    /// The stored tables that are read.
    fn reads(&self) -> Vec<TableIndex>;
}

/// Reads a stored table.
pub(crate) struct StoredAccess<K, V> {
    pub(crate) table: TableRef<K, V>,
}

impl<K: Key, V: Value> Access<K, V> for StoredAccess<K, V> {
    fn look_up(&self, context: &mut Context<'_>, keys: &[Wanted<'_, K>]) -> Result<Vec<Option<V>>, Failure> {
        context.table(&self.table)?.look_up(context, &plain(keys))
    }

    fn reads(&self) -> Vec<TableIndex> {
        vec![self.table.index()]
    }
}

/// Reads a stored table of groups, and shows their values.
pub(crate) struct GroupAccess<K, V> {
    pub(crate) table: TableRef<K, Grouped<V>>,
}

impl<K: Key, V: Value> Access<K, V> for GroupAccess<K, V> {
    fn look_up(&self, context: &mut Context<'_>, keys: &[Wanted<'_, K>]) -> Result<Vec<Option<V>>, Failure> {
        let rows = context.table(&self.table)?.look_up(context, &plain(keys))?;
        Ok(rows.into_iter().map(|row| row.map(|row| row.value)).collect())
    }

    fn reads(&self) -> Vec<TableIndex> {
        vec![self.table.index()]
    }
}

/// Reads a stored table of rows with alarms, and shows their values.
pub(crate) struct AlarmedAccess<K, V> {
    pub(crate) table: TableRef<K, Alarmed<V>>,
}

impl<K: Key, V: Value> Access<K, V> for AlarmedAccess<K, V> {
    fn look_up(&self, context: &mut Context<'_>, keys: &[Wanted<'_, K>]) -> Result<Vec<Option<V>>, Failure> {
        let rows = context.table(&self.table)?.look_up(context, &plain(keys))?;
        Ok(rows.into_iter().map(|row| row.map(|row| row.value)).collect())
    }

    fn reads(&self) -> Vec<TableIndex> {
        vec![self.table.index()]
    }
}

fn plain<'k, K>(keys: &[Wanted<'k, K>]) -> Vec<&'k K> {
    keys.iter().map(|(key, _)| *key).collect()
}
