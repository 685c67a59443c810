//! Tables: keyed state and its changes.
//!
//! A table emits at most one change per key and epoch, from the value at its start to the value at its end. Some tables
//! are stored (sources, folds, foreign-key joins, and whatever is [`materialize`](Table::materialize)d) and can be
//! asked through a view: [`StoredTable`]. `filter`, `map_values` and primary-key joins are computed on the fly.
//!
//! | file | what it has |
//! |---|---|
//! | `source` | tables of topics, streams and computed tables, stored row by row |
//! | `map`, `join` | computed tables |
//! | `foreign`, `re_key` | tables under keys that rows name; `link` sends rows there |
//! | `regroup`, `group`, `extreme`, `distinct` | rows on their way to groups, folded groups, and those with a row for each value; `first` reads the ends of these |
//! | `fallible` | the same where a closure may fail |
//! | `to_stream` | the changes as a stream |
//! | `versioned` | tables that keep what their rows were; a join as of a time is one of `stream` |
//! | `expire`, `valid`, `settle` | tables whose rows go, come and change at times of their own |
//! | `access`, `history` | how an operator looks into tables, and what an epoch did to their rows |

pub(crate) mod access;
pub(crate) mod distinct;
mod expire;
mod extreme;
mod fallible;
mod first;
mod foreign;
mod group;
pub(crate) mod history;
mod join;
mod link;
mod map;
mod re_key;
mod regroup;
mod settle;
pub(crate) mod source;
mod stored;
mod to_stream;
mod valid;
pub(crate) mod versioned;

pub use foreign::ForeignStore;
pub use group::GroupedTable;
pub use stored::StoredTable;
pub use versioned::{AsOf, Version, VersionKey, VersionRow, VersionStore, VersionedTable, Versions};

use crate::stream::Stream;
use crate::upsert::Upsert;
use access::Access;
use join::Asked;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::Changes;
use millpond_engine::graph::{Builder, NodeRef, TableOptions};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

/// A table with keys of type `K` and values of type `V`.
///
/// Nothing happens when a method is called: it adds a node to the graph. Tables are handles, cheap to clone; one table can
/// feed many. Those that are computed on the fly take no room; [`materialize`](Table::materialize) them to ask them. A
/// [`StoredTable`] is a table too: it has all methods of this type, and `&StoredTable` goes wherever `&Table` does.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let (stock, price) = (Topic::<String, u32>::new("stock"), Topic::<String, f64>::new("price"));
/// let graph = GraphBuilder::new();
/// let stock_table = graph.table(&stock, "stock");
/// let price_table = graph.table(&price, "price");
/// let worth = stock_table
///     .filter(|_, pieces| *pieces > 0)
///     .join(&price_table, |_, pieces, price| f64::from(*pieces) * price)
///     .materialize("worth");
/// let unpriced = stock_table
///     .left_join(&price_table, |_, _, price| price.is_none())
///     .filter(|_, unpriced| *unpriced)
///     .materialize("unpriced");
/// let known = stock_table.outer_join(&price_table, |_, pieces, price| (pieces.is_some(), price.is_some())).materialize("known");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// let [apples, pears, plums] = ["apples", "pears", "plums"].map(str::to_owned);
/// engine.producer(&stock)?.send([(&apples, Some(&3), 0), (&pears, Some(&5), 0), (&plums, Some(&0), 0)]).wait_blocking()?;
/// engine.producer(&price)?.send([(&apples, Some(&0.5), 0), (&plums, Some(&0.2), 0)]).wait_blocking()?;
/// engine.catch_up_blocking()?;
///
/// assert_eq!(engine.view(&worth)?.get(&apples)?, Some(1.5));
/// assert_eq!(engine.view(&unpriced)?.scan()?.collect::<Result<Vec<_>, _>>()?, [(pears.clone(), true)]);
/// assert_eq!(engine.view(&known)?.get(&pears)?, Some((true, false)));
/// engine.delete(&stock, &apples).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&worth)?.get(&apples)?, None);
/// # Ok::<(), millpond::Error>(())
/// ```
/// Orders and their customers, joined by foreign key, and what changes of it as a stream:
/// ```
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let orders = Topic::<u64, (u32, u32)>::new("orders");
/// let customers = Topic::<u32, String>::new("customers");
/// let labels = Topic::<u64, String>::new("labels");
/// let graph = GraphBuilder::new();
/// let customers_table = graph.table(&customers, "customers");
/// let named = graph.table(&orders, "orders").foreign_join(
///     &customers_table,
///     "named",
///     |_, (customer, _)| *customer,
///     |_, (_, amount), name| format!("{name}: {amount}"),
/// );
/// named.to_stream().to_upserts(&labels);
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// engine.append(&orders, &1, &(7, 120)).wait_blocking()?;
/// engine.append(&customers, &7, &"Ada".to_owned()).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&named)?.get(&1)?, Some("Ada: 120".to_owned()));
/// engine.append(&customers, &7, &"Ada L.".to_owned()).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&named)?.get(&1)?, Some("Ada L.: 120".to_owned()));
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "KTable")]
pub struct Table<K, V> {
    pub(crate) builder: Builder,
    pub(crate) node: NodeRef<Changes<K, V>>,
    pub(crate) access: Arc<dyn Access<K, V>>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self { builder: self.builder.clone(), node: self.node, access: Arc::clone(&self.access) }
    }
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("node", &self.node).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> Table<K, V> {
    /// A table that `node` puts out and `access` looks into.
    fn new(builder: &Builder, node: NodeRef<Changes<K, V>>, access: impl Access<K, V>) -> Self {
        Self { builder: builder.clone(), node, access: Arc::new(access) }
    }

    /// The rows for which `keep` is true.
    ///
    /// A row that it keeps no more goes, and one that it keeps now and did not before comes; a deleted row goes. The closure
    /// is asked about the old row and the new one, so it may be called more than once for the same row. Rows are as old as
    /// those below: timestamps play no part. A table stored below keeps what another closure has let through: see [when the
    /// meaning changes](TableOptions#when-the-meaning-changes).
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let stock = Topic::<String, u32>::new("stock");
    /// let graph = GraphBuilder::new();
    /// let there = graph.table(&stock, "stock").filter(|_, pieces| *pieces > 0).materialize("there");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&stock, "tea".to_owned(), 3, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&there)?, [("tea".to_owned(), 3)].into());
    /// driver.put(&stock, "tea".to_owned(), 0, 0)?;
    /// driver.run()?;
    /// assert!(driver.table(&there)?.is_empty());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        map::map("filter", self, move |key, value: V| Ok::<_, Infallible>(keep(key, &value).then_some(value)))
    }

    /// The rows with another value each, under the same keys. A deleted row is a deletion of the result. The closure is
    /// asked about the old row and the new one, so it may be called more than once for the same row.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let names = Topic::<u32, String>::new("names");
    /// let graph = GraphBuilder::new();
    /// let lengths = graph.table(&names, "names").map_values(|_, name| name.len()).materialize("lengths");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&names, 1, "ada".to_owned(), 0)?;
    /// driver.put(&names, 2, "bo".to_owned(), 0)?;
    /// driver.delete(&names, 2, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&lengths)?, [(1, 3)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "mapValues")]
    pub fn map_values<W: Value>(&self, map: impl Fn(&K, V) -> W + Send + Sync + 'static) -> Table<K, W> {
        map::map("map_values", self, move |key, value| Ok::<_, Infallible>(Some(map(key, value))))
    }

    /// Groups the rows by another key, with another value each. What is folded over the groups must be able to
    /// [retract](crate::aggregate::Retract): when a row changes, its group forgets the old one. A row that names another
    /// group leaves the old one and joins the new one, in one epoch; a deleted row only leaves. See [`GroupedTable`] for an
    /// example.
    #[must_use]
    pub fn group_by<L: Key, W: Value>(
        &self,
        group: impl Fn(&K, &V) -> (L, W) + Send + Sync + 'static,
    ) -> GroupedTable<L, W> {
        regroup::group_by("group_by", self, move |key, value| Ok::<_, Infallible>(group(key, value)))
    }

    /// The keys that both tables have, with what `join` makes of the two rows.
    ///
    /// A row that changes or is deleted on either side changes or deletes the result, at once and in one step, in whatever
    /// order the two sides come. Timestamps play no part. Nothing is stored: [`materialize`](Self::materialize) it to
    /// ask it. See [`Table`] for an example.
    #[must_use]
    pub fn join<T: Value, W: Value>(
        &self,
        other: &Table<K, T>,
        join: impl Fn(&K, &V, &T) -> W + Send + Sync + 'static,
    ) -> Table<K, W> {
        self.join_by("join", other, move |key, left, right| {
            left.zip(right).map(|(left, right)| join(key, left, right))
        })
    }

    /// The keys of this table, with what `join` makes of the row and that of `other`: `None` if it is deleted or was never
    /// there. A row deleted here deletes the result. Otherwise as [`join`](Self::join).
    #[must_use]
    pub fn left_join<T: Value, W: Value>(
        &self,
        other: &Table<K, T>,
        join: impl Fn(&K, &V, Option<&T>) -> W + Send + Sync + 'static,
    ) -> Table<K, W> {
        self.join_by("left_join", other, move |key, left, right| left.map(|left| join(key, left, right)))
    }

    /// The keys of either table, with what `join` makes of the two rows, of which at least one is there; the result goes with
    /// the last of them. Otherwise as [`join`](Self::join).
    #[must_use]
    #[doc(alias = "outerJoin")]
    pub fn outer_join<T: Value, W: Value>(
        &self,
        other: &Table<K, T>,
        join: impl Fn(&K, Option<&V>, Option<&T>) -> W + Send + Sync + 'static,
    ) -> Table<K, W> {
        self.join_by("outer_join", other, move |key, left, right| {
            (left.is_some() || right.is_some()).then(|| join(key, left, right))
        })
    }

    fn join_by<T: Value, W: Value>(
        &self,
        label: &str,
        other: &Table<K, T>,
        join: impl Fn(&K, Option<&V>, Option<&T>) -> Option<W> + Send + Sync + 'static,
    ) -> Table<K, W> {
        let join =
            move |key: &K, left: Option<&V>, right: Option<&T>| Ok::<_, Infallible>(join(key, left, right));
        join::join(label, Asked::AsWanted, self, other, join)
    }

    /// The changes of the table as a stream: of each changed key and epoch its new value, or its deletion
    /// ([`Upsert::Delete`]). The timestamp is that of the record which caused the change, late or not. See [`Table`] for an
    /// example.
    ///
    /// Where the stream is folded, joined with a table, or stored, every update of the table comes through, each with the
    /// place of the record that caused it: what becomes of them does not depend on where epochs were cut.
    ///
    /// NOTE: where it is only sent to topics, and the engine has no dead letters, several updates of a key within one epoch
    /// come out as one, so how many there are depends on the cuts; the last value of each key does not.
    #[must_use]
    #[doc(alias = "toStream")]
    pub fn to_stream(&self) -> Stream<K, Upsert<V>> {
        to_stream::to_stream(self)
    }

    /// Stores the table under a name, so that it can be asked: a row for each row of the table, deleted when that goes. See
    /// [`Table`] for an example.
    ///
    /// IMPORTANT: when a step before it means something else, rows that nothing has changed since stay as they were, unless
    /// the table's [version](TableOptions::version) is raised: see
    /// [when the meaning changes](TableOptions#when-the-meaning-changes).
    #[must_use]
    pub fn materialize(&self, store: impl Into<TableOptions<V>>) -> StoredTable<K, V> {
        source::materialize(self, store.into())
    }
}
