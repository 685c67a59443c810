//! What an operator sees while it runs: its shard, its tables, its inputs.

use super::{Detail, Failure, Pass, Router, Stamp};
use crate::changelog::{self, Changelog};
use crate::codec::{Key, KeyPrefix, Value};
use crate::flow::TableRef;
use crate::query::{Readable, Snapshot, TableSnapshot};
use crate::state::{AnyTable, TableState};
use crate::{Error, Result};
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

/// A record on its way to a derived topic.
#[derive(Clone)]
pub(crate) struct Sunk {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    pub(crate) stamp: Stamp,
    pub(crate) record: changelog::Record,
}

/// One shard of one epoch, as an operator sees it: a [`Pass`] with the tables of the task.
pub struct Context<'a> {
    pub(crate) pass: Pass<'a>,
    pub(crate) router: Router,
    pub(crate) tables: &'a [Option<Arc<dyn AnyTable>>],
    /// Of each table, whether a node but the one that writes it looks into it.
    pub(crate) looked_into: &'a [bool],
    /// Whether anyone takes the output of the node that runs.
    pub(crate) read: bool,
    pub(crate) detail: Detail,
    /// What is wanted of each outlet of the node that runs.
    pub(crate) outlets: Vec<Option<Detail>>,
    pub(crate) sunk: Vec<Sunk>,
    pub(crate) changelog: &'a dyn Changelog,
    /// How far the node that runs had come in time before this epoch, and how far it has with it.
    pub(crate) time: Range<i64>,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("pass", &self.pass).field("read", &self.read).finish_non_exhaustive()
    }
}

impl<'a> Deref for Context<'a> {
    type Target = Pass<'a>;

    fn deref(&self) -> &Pass<'a> {
        &self.pass
    }
}

impl DerefMut for Context<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.pass
    }
}

impl Context<'_> {
    /// Maps keys to shards.
    #[must_use]
    pub fn router(&self) -> Router {
        self.router
    }

    /// Whether anyone reads the output of this node; if not, `None` will do.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.read
    }

    /// Whether the node that runs is to hand on every update of a table, or only the change of each key: every one where a
    /// node that derives from it [follows](crate::graph::Builder::follows_updates) them, and where code of the user is to be
    /// asked about all of them, as records at which it fails are left out. The same in every epoch.
    #[must_use]
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// What is wanted of the `index`th [outlet](crate::graph::Builder::outlet) of this node, as [`detail`](Self::detail) says it
    /// of a node; `None` if nobody reads it.
    #[must_use]
    pub fn outlet(&self, index: usize) -> Option<Detail> {
        self.outlets.get(index).copied().flatten()
    }

    /// How far this node has come in time with this epoch, in milliseconds since the Unix epoch: no record that comes later has a
    /// stream time below it. What is due up to here is to be closed now, once all records of the epoch are worked on. `i64::MIN`
    /// as long as a partition that feeds the node has shown no record, and unless the node was declared to
    /// [look at time](crate::graph::Builder::looks_at_time).
    #[must_use]
    pub fn watermark(&self) -> i64 {
        self.time.end
    }

    /// As [`watermark`](Self::watermark), before this epoch: what was due up to here is closed.
    #[must_use]
    pub fn watermark_before(&self) -> i64 {
        self.time.start
    }

    /// The table behind `table`.
    ///
    /// # Errors
    /// `Internal` if the operator did not declare the table when the graph was built.
    pub fn table<K: Key, V: Value>(&self, table: &TableRef<K, V>) -> Result<Arc<TableState<K, V>>> {
        let any = self
            .tables
            .get(table.index().index)
            .and_then(Option::as_ref)
            .ok_or_else(|| Error::internal("an operator uses a table that it did not declare"))?;
        Arc::clone(any)
            .as_any()
            .downcast::<TableState<K, V>>()
            .map_err(|_| Error::internal("a table was declared with other types than it is used with"))
    }

    /// Whether any node but the one that writes `table` looks into it, or takes what becomes of it: not if it is there for readers only.
    /// The same in every epoch.
    #[must_use]
    pub fn is_looked_into<K: Key, V: Value>(&self, table: &TableRef<K, V>) -> bool {
        self.looked_into.get(table.index().index).copied().unwrap_or(true)
    }

    /// Whether this task has `table`. A node whose table is written behind it, which may only look at it as it was
    /// [before the epoch](Self::table_before), runs also where the table is built apart.
    #[must_use]
    pub fn has_table<K: Key, V: Value>(&self, table: &TableRef<K, V>) -> bool {
        self.tables.get(table.index().index).is_some_and(Option::is_some)
    }

    /// `table` as it was before this epoch, to be read in order: [`prefix`](TableSnapshot::prefix) and
    /// [`range`](TableSnapshot::range) read a few rows at a time, from either end, so that whoever stops early has read
    /// little. What the running epoch did is not in it: the node that writes the table knows.
    ///
    /// # Errors
    /// An error of the store.
    pub fn table_before<K: Key, V: Value>(&self, table: &TableRef<K, V>) -> Result<TableSnapshot<K, V>> {
        let table = self.table(table)?;
        // Only the folding thread publishes, so what is published now is the state before this epoch.
        Ok(Snapshot::take(table.shared())?.table(Readable::Whole(table)))
    }

    /// The rows that `table` had before this epoch whose keys begin with one of these prefixes, as far as this shard is to read them:
    /// each row is read on one shard, those of the first one stand before those of the next, and all of them are about as many if keys are
    /// spread evenly. For an [exchange](crate::dataflow::Exchange) that sends what has come due to where it is wanted. None if the
    /// task does not have the table.
    ///
    /// # Errors
    /// An error of the store.
    pub fn share_of_rows<K: Key, V: Value, P: KeyPrefix<K>>(
        &self,
        table: &TableRef<K, V>,
        prefixes: Range<P>,
    ) -> Result<impl Iterator<Item = Result<(K, V)>> + use<K, V, P>> {
        let rows = if self.has_table(table) {
            let all = self.table_before(table)?.prefixes(prefixes);
            Some(all.part(self.shard(), self.router.shards())?)
        } else {
            None
        };
        Ok(rows.into_iter().flatten())
    }

    /// Whether `table` had a row before this epoch whose key begins with one of these prefixes; not if the task does not have the
    /// table.
    ///
    /// # Errors
    /// An error of the store.
    pub fn has_rows<K: Key, V: Value, P: KeyPrefix<K>>(
        &self,
        table: &TableRef<K, V>,
        prefixes: Range<P>,
    ) -> Result<bool> {
        if !self.has_table(table) {
            return Ok(false);
        }
        let first = self.table_before(table)?.prefixes(prefixes).next().transpose()?;
        Ok(first.is_some())
    }

    /// How many partitions the derived topic `topic` has, by which records are [placed](changelog::partition_for_key).
    ///
    /// # Errors
    /// `Invalid` if the node did not name the topic; an error of the changelog.
    pub fn partitions(&self, topic: &str) -> Result<u32> {
        let found = self.changelog.partitions(topic)?;
        found.ok_or_else(|| Error::invalid(format!("topic {topic} is not there to be written to")))
    }

    /// Sends a record to a derived topic when the epoch is complete.
    ///
    /// # Errors
    /// The epoch has become too large: hand the error on.
    pub fn emit(
        &mut self,
        topic: Arc<str>,
        partition: u32,
        stamp: Stamp,
        record: changelog::Record,
    ) -> Result<(), Failure> {
        let bytes = record.payload_bytes();
        self.sunk.push(Sunk { topic, partition, stamp, record });
        self.charge_bytes(bytes + size_of::<Sunk>())
    }
}
