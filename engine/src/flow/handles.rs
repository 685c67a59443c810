//! Handles: how the nodes and tables of a graph are named while it is built.
//!
//! Every handle knows the graph it belongs to, so that one of another graph is refused instead of standing for
//! whatever has the same number there.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// One graph of this process. The number decides nothing but whether two handles belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct GraphId(u64);

impl Default for GraphId {
    /// A number that no other graph has.
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Names a node of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId {
    pub(crate) graph: GraphId,
    pub(crate) index: usize,
}

impl NodeId {
    /// Its number among the nodes of its graph, as [`Graph::describe`](crate::graph::Graph::describe) has it.
    #[must_use]
    pub fn number(self) -> usize {
        self.index
    }
}

/// Names a table of a graph, whatever its types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableIndex {
    pub(crate) graph: GraphId,
    pub(crate) index: usize,
}

impl fmt::Display for TableIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index.fmt(f)
    }
}

/// Names a table of a graph together with its types.
pub struct TableRef<K, V> {
    index: TableIndex,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> fmt::Debug for TableRef<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TableRef").field(&self.index.index).finish()
    }
}

impl<K, V> Clone for TableRef<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for TableRef<K, V> {}

impl<K, V> TableRef<K, V> {
    pub(crate) fn new(index: TableIndex) -> Self {
        Self { index, types: PhantomData }
    }

    /// The table without its types.
    #[must_use]
    pub fn index(&self) -> TableIndex {
        self.index
    }
}
