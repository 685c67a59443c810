//! Stored tables: those whose rows are kept, so that they can be asked.
//!
//! What is stored is what is shown, but for groups, which keep the number of their members beside the value, and for rows with alarms.

use super::Table;
use super::access::{AlarmedAccess, GroupAccess, StoredAccess};
use millpond_engine::codec::{Alarmed, Grouped, Key, Value};
use millpond_engine::dataflow::Changes;
use millpond_engine::graph::{Builder, Interleaving, NodeRef, TableRef};
use millpond_engine::query::{Stored, StoredRef};
use std::fmt;
use std::ops::Deref;

/// A [`Table`] whose rows are kept under a name: what [`Engine::view`](millpond_engine::Engine::view) can ask.
///
/// Sources, folds and foreign-key joins are stored, and whatever is [`materialize`](Table::materialize)d. It is a table
/// like any other: it has all the methods of [`Table`], and `&StoredTable` goes wherever `&Table` does.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, StoredTable, Table, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let prices = Topic::<u8, u32>::new("prices");
/// let graph = GraphBuilder::new();
/// let all: StoredTable<u8, u32> = graph.table(&prices, "prices");
/// let high: Table<u8, u32> = all.filter(|_, price| *price > 100);
/// let both = all.left_join(&high, |_, price, high| (*price, high.is_some())).materialize("both");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// engine.append_blocking(&prices, &1, &120)?;
/// engine.append_blocking(&prices, &2, &80)?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&both)?.multi_get(&[1, 2])?, [Some((120, true)), Some((80, false))]);
/// # Ok::<(), millpond::Error>(())
/// ```
/// A table that is computed on the fly cannot be asked, which the compiler says:
/// ```compile_fail,E0277
/// use millpond::{Engine, GraphBuilder, Topic};
///
/// let prices = Topic::<u8, u32>::new("prices");
/// let graph = GraphBuilder::new();
/// let high = graph.table(&prices, "prices").filter(|_, price| *price > 100);
/// let engine = Engine::builder(&graph.build()?).in_memory().start()?;
/// engine.view(&high)?;
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "KTable")]
pub struct StoredTable<K, V> {
    table: Table<K, V>,
    stored: StoredRef<K, V>,
}

impl<K, V> Clone for StoredTable<K, V> {
    fn clone(&self) -> Self {
        Self { table: self.table.clone(), stored: self.stored }
    }
}

impl<K, V> fmt::Debug for StoredTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredTable")
            .field("node", &self.table.node)
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

impl<K, V> Deref for StoredTable<K, V> {
    type Target = Table<K, V>;

    fn deref(&self) -> &Table<K, V> {
        &self.table
    }
}

impl<K: Key, V: Value> StoredTable<K, V> {
    /// The same table, which does not depend on how the values that it is made of follow each other.
    pub(crate) fn commuting(self) -> Self {
        self.builder.interleaving(self.node, Interleaving::Commutes);
        self
    }

    /// A table from a node of one's own, which keeps its rows in `table` and puts out what becomes of them, each row on the shard
    /// of its key.
    ///
    /// What derives from the table is told nothing else: [`Changes::changes`] must have each key once that is not what it was
    /// when the epoch began, and [`Changes::updates`] every single update where [`Context::detail`] says
    /// [`Detail::Updates`]. Whoever folds them with [`TableState::fold`], told that detail, and puts out
    /// [`TableState::changes`], has both.
    ///
    /// [`Context::detail`]: millpond_engine::dataflow::Context::detail
    /// [`Detail::Updates`]: millpond_engine::dataflow::Detail::Updates
    /// [`TableState::fold`]: millpond_engine::state::TableState::fold
    /// [`TableState::changes`]: millpond_engine::state::TableState::changes
    ///
    /// # Examples
    /// ```
    /// use millpond::dataflow::{Changes, Context, Event, Failure, Operator, TableRef};
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Result, StoredTable, Topic};
    ///
    /// /// Keeps the first value of each key.
    /// struct First(TableRef<u32, String>);
    ///
    /// impl Operator for First {
    ///     type Input = (Vec<Event<u32, String>>,);
    ///     type Output = Changes<u32, String>;
    ///
    ///     fn run(&self, context: &mut Context<'_>, (events,): Self::Input) -> Result<Option<Self::Output>, Failure> {
    ///         let (table, detail) = (context.table(&self.0)?, context.detail());
    ///         let updates = table.fold(context, events, detail, |_, row, value| {
    ///             row.get_or_insert(value);
    ///         })?;
    ///         Ok(Some(table.changes(context, updates)?))
    ///     }
    /// }
    ///
    /// let names = Topic::<u32, String>::new("names");
    /// let graph = GraphBuilder::new();
    /// let table = graph.nodes().table("first", "first".into());
    /// let node = graph.nodes().operator("first", graph.stream(&names).node(), &[table.index()], &[], First(table));
    /// // It keeps a state of what it is told, and so wants to be told everything.
    /// graph.nodes().follows_updates(node);
    /// let first = StoredTable::from_node(graph.nodes(), node, table);
    /// let lengths = first.map_values(|_, name| name.len()).materialize("lengths");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for name in ["ada", "beatrice"] {
    ///     driver.put(&names, 1, name.to_owned(), 0)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&first)?, [(1, "ada".to_owned())].into());
    /// assert_eq!(driver.table(&lengths)?, [(1, 3)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn from_node(builder: &Builder, node: NodeRef<Changes<K, V>>, table: TableRef<K, V>) -> Self {
        Self { table: Table::new(builder, node, StoredAccess { table }), stored: table.into() }
    }

    /// A table whose rows are in `table`, and whose node puts out what they show.
    pub(super) fn of_groups(
        builder: &Builder,
        node: NodeRef<Changes<K, V>>,
        table: TableRef<K, Grouped<V>>,
    ) -> Self {
        Self { table: Table::new(builder, node, GroupAccess { table }), stored: StoredRef::of_groups(table) }
    }

    /// A table whose rows are in `table`, with alarms, and whose node puts out what they show.
    pub(crate) fn of_alarmed(
        builder: &Builder,
        node: NodeRef<Changes<K, V>>,
        table: TableRef<K, Alarmed<V>>,
    ) -> Self {
        Self {
            table: Table::new(builder, node, AlarmedAccess { table }),
            stored: StoredRef::of_alarmed(table),
        }
    }
}

impl<K, V> From<StoredTable<K, V>> for Table<K, V> {
    /// The same table, for those that need not know that it is stored.
    fn from(stored: StoredTable<K, V>) -> Self {
        stored.table
    }
}

impl<K, V> millpond_engine::query::sealed::Sealed for StoredTable<K, V> {}

impl<K: Key, V: Value> Stored for StoredTable<K, V> {
    type Key = K;
    type Value = V;

    fn stored(&self) -> StoredRef<K, V> {
        self.stored
    }
}
