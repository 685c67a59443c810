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

/// Names a node of a graph, whatever it puts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId {
    pub(crate) graph: GraphId,
    pub(crate) index: usize,
}

/// Names a node of a graph together with what it puts out on each shard, such as `Vec<Event<K, V>>` for a stream and
/// `Changes<K, V>` for a table: a node that is wired to one which puts out something else does not compile.
///
/// # Examples
/// ```compile_fail,E0308
/// use millpond::{GraphBuilder, Stream, Topic};
///
/// let names = Topic::<u32, String>::new("names");
/// let graph = GraphBuilder::new();
/// let node = graph.stream(&names).node();
/// let numbers = Stream::<u32, u64>::from_node(graph.nodes(), node, true);
/// ```
pub struct NodeRef<T> {
    id: NodeId,
    output: PhantomData<fn() -> T>,
}

impl<T> NodeRef<T> {
    pub(crate) fn new(id: NodeId) -> Self {
        Self { id, output: PhantomData }
    }

    pub(crate) fn id(self) -> NodeId {
        self.id
    }

    /// Its number among the nodes of its graph, as [`Graph::describe`](crate::graph::Graph::describe) has it.
    #[must_use]
    pub fn number(self) -> usize {
        self.id.index
    }
}

impl<T> fmt::Debug for NodeRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeRef").field(&self.id.index).finish()
    }
}

impl<T> Clone for NodeRef<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for NodeRef<T> {}

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
