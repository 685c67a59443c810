//! What tables forget: rows whose keys begin with times that are long past.
//!
//! Which rows are forgotten is a function of how far the node that writes the table has come in time, and of nothing else. That never
//! goes back, and neither does what is forgotten.

use super::{Builder, Graph, NodeRef, TableRef};
use crate::codec::{Key, KeyPrefix};
use crate::time::{NEVER, StreamTimes, Watermarks};

/// With what the keys of the first rows begin that a table keeps whose node has come so far in time, encoded.
pub(crate) type FirstKept = dyn Fn(i64) -> Vec<u8> + Send + Sync;

impl Builder {
    /// Declares that `table` forgets rows: those that stand before all keys which begin with what `first_kept` says of the watermark
    /// of the node that writes the table. It must never say less of a later one. Nobody is told of rows that are forgotten; whoever
    /// asks does not find them.
    ///
    /// The node must write no such row any more. Other nodes are refused that read the table, unless they
    /// [say](Self::reads_kept_rows) that they do not look for such rows either: what they would find would depend on how epochs are
    /// cut.
    pub fn forgets<K: Key, V, P: KeyPrefix<K>>(
        &self,
        table: &TableRef<K, V>,
        first_kept: impl Fn(i64) -> P + Send + Sync + 'static,
    ) {
        let first_kept = move |watermark_ms| {
            let mut encoded = Vec::new();
            first_kept(watermark_ms).encode_prefix(&mut encoded);
            encoded
        };
        self.change_table(table.index(), |spec| spec.first_kept = Some(Box::new(first_kept)));
    }

    /// Declares that `node` looks for no rows that a table which it reads has [forgotten](Self::forgets) before the epoch.
    pub fn reads_kept_rows<T>(&self, node: NodeRef<T>) {
        self.change(node, |node| node.time.reads_kept = true);
    }
}

impl Graph {
    /// With what the keys of the first rows begin that are kept where partitions have come as far as `times`: of each table that
    /// forgets any, with its number.
    pub(crate) fn first_kept(&self, times: &StreamTimes) -> Vec<(usize, Vec<u8>)> {
        let forgetful = || self.tables.iter().enumerate().filter(|(_, spec)| spec.first_kept.is_some());
        if forgetful().next().is_none() {
            return Vec::new();
        }
        let watermarks = Watermarks::at(self, times);
        let first = forgetful().filter_map(|(table, spec)| {
            let writer = self.nodes.iter().position(|node| node.writes.contains(&table))?;
            let watermark = watermarks.of(writer);
            let first_kept = spec.first_kept.as_ref().filter(|_| watermark > NEVER)?;
            Some((table, first_kept(watermark)))
        });
        first.collect()
    }
}
