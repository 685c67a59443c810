//! Joining a table with another by foreign key: each row meets the row whose key it names.
//!
//! The rows of the left table are kept a second time, indexed by (foreign key, key) on the shard of the foreign key.
//! There they meet changes of the right table; the results travel back to the shard of the key and are stored.
//!
//! If every update of the result counts, every step of both sides is carried through; otherwise only what became of them.
//!
//! A deleted left row deletes its result. A deleted or absent right row leaves the result out (inner) or makes it a join
//! with `None` (left). A left row without a foreign key has no partner; it is in no index. A left row whose foreign key changes
//! leaves the old partner and meets the new one, in one change.
//! Repeated keys on either side arrive as one change per epoch. Timestamps play no part, late or not. Empty input on one
//! side: changes of the other meet the rows that are there. An error of a
//! closure is the failure of the record that made the row, or its partner, what it is.

mod meet;
mod store;

pub use store::ForeignStore;

use super::{StoredTable, Table, link};
use meet::Meet;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Changes, Context, Event, Exchange, Failure, Operator};
use millpond_engine::graph::{Interleaving, TableRef};
use std::convert::Infallible;
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

impl<K: Key, V: Value> Table<K, V> {
    /// Joins each row with the row of `other` whose key `foreign` takes from it; rows without one are left out. `foreign`
    /// answers with a key of `other`, or with an `Option` of one where a row may name nobody. The
    /// result is stored in the table `store`, the rows of this table once more, by foreign key, in the table
    /// `<store>.index`; see [`ForeignStore`].
    ///
    /// A deleted row deletes its result, and so does a deleted row of `other` for all that name it. A row that names another
    /// key than before leaves the old partner and meets the new one, in one change. Timestamps play no part, and either side
    /// may come first. See [`Table`] for an example. What the closures and steps before them do is
    /// [part of the meaning](millpond_engine::graph::TableOptions#when-the-meaning-changes) of the stored result.
    ///
    /// Source: KIP-213 and KIP-1104, without the round trip: the index holds the rows themselves.
    #[doc(alias = "KTable foreign key join")]
    pub fn foreign_join<F: Key, I: Into<Option<F>>, T: Value, W: Value>(
        &self,
        other: &Table<F, T>,
        store: impl Into<ForeignStore<V, W>>,
        foreign: impl Fn(&K, &V) -> I + Send + Sync + 'static,
        join: impl Fn(&K, &V, &T) -> W + Send + Sync + 'static,
    ) -> StoredTable<K, W> {
        let join = move |key: &K, row: &V, other: Option<&T>| Ok(other.map(|other| join(key, row, other)));
        let named = move |key: &K, row: &V| Ok::<_, Infallible>(foreign(key, row).into());
        self::join(self, other, store.into(), Kind::Inner, named, join)
    }

    /// As [`foreign_join`](Self::foreign_join), but keeps rows without a partner, and those that name nobody: the closure is
    /// given `None` where the row of `other` is deleted or was never there.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Task -> who is on it, if anybody
    /// let tasks = Topic::<u32, Option<u64>>::new("tasks");
    /// let people = Topic::<u64, String>::new("people");
    /// let graph = GraphBuilder::new();
    /// let people_table = graph.table(&people, "people");
    /// let on_it = graph.table(&tasks, "tasks").foreign_left_join(
    ///     &people_table,
    ///     "on_it",
    ///     |_, person| *person,
    ///     |_, _, name| name.cloned().unwrap_or_else(|| "nobody".to_owned()),
    /// );
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&people, 7, "Ada".to_owned(), 0)?;
    /// driver.put(&tasks, 1, Some(7), 0)?;
    /// driver.put(&tasks, 2, None, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&on_it)?, [(1, "Ada".to_owned()), (2, "nobody".to_owned())].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn foreign_left_join<F: Key, I: Into<Option<F>>, T: Value, W: Value>(
        &self,
        other: &Table<F, T>,
        store: impl Into<ForeignStore<V, W>>,
        foreign: impl Fn(&K, &V) -> I + Send + Sync + 'static,
        join: impl Fn(&K, &V, Option<&T>) -> W + Send + Sync + 'static,
    ) -> StoredTable<K, W> {
        let join = move |key: &K, row: &V, other: Option<&T>| Ok(Some(join(key, row, other)));
        let named = move |key: &K, row: &V| Ok::<_, Infallible>(foreign(key, row).into());
        self::join(self, other, store.into(), Kind::Left, named, join)
    }
}

/// Whether rows without a partner have a result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Inner,
    Left,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Inner => "foreign_join",
            Self::Left => "foreign_left_join",
        }
    }
}

pub(super) fn join<K, V, F, T, W, G, J, E>(
    left: &Table<K, V>,
    right: &Table<F, T>,
    store: ForeignStore<V, W>,
    kind: Kind,
    foreign: G,
    join: J,
) -> StoredTable<K, W>
where
    K: Key,
    V: Value,
    F: Key,
    T: Value,
    W: Value,
    G: Fn(&K, &V) -> Result<Option<F>, E> + Send + Sync + 'static,
    J: Fn(&K, &V, Option<&T>) -> Result<Option<W>, E> + Send + Sync + 'static,
    E: Display + 'static,
{
    let builder = &left.builder;
    let (label, (result, index)) = (kind.label(), store.into_parts());
    let index: TableRef<(F, K), V> = builder.table("index", index);
    let table: TableRef<K, W> = builder.table("foreign_join", result.written_by(label));
    let links = link::link(label, left, foreign, kind == Kind::Left);
    let meet = Meet { index, right: Arc::clone(&right.access), join, reason: PhantomData };
    // The index is written by the node that meets, and its results are then exchanged by the next.
    let results = builder.operator(label, (links, right.node), &[index.index()], &right.access.reads(), meet);
    builder.interleaving(results, Interleaving::Commutes);
    let send = SendBack(PhantomData::<fn() -> (K, W)>);
    let back = builder.exchange("send_back", results, &[], send);
    let keep = Keep { table };
    let node = builder.operator(label, back, &[table.index()], &[], keep);
    builder.interleaving(node, Interleaving::Commutes);
    StoredTable::from_node(builder, node, table)
}

/// Sends results to the shards of their keys.
struct SendBack<Types>(PhantomData<Types>);

impl<K: Key, W: Value> Exchange for SendBack<fn() -> (K, W)> {
    type Input = (Vec<Event<K, Option<W>>>,);
    type Item = Event<K, Option<W>>;

    fn route(
        &self,
        context: &mut Context<'_>,
        (results,): Self::Input,
    ) -> Result<Vec<Vec<Self::Item>>, Failure> {
        let parts = context.router().split(results, |result| &result.key);
        Ok(parts)
    }
}

/// Stores the results.
struct Keep<K, W> {
    table: TableRef<K, W>,
}

impl<K: Key, W: Value> Operator for Keep<K, W> {
    type Input = (Vec<Event<K, Option<W>>>,);
    type Output = Changes<K, W>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (results,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        // A row that left one partner for another comes twice: the stamps put the leaving first.
        let table = context.table(&self.table)?;
        let record = context.detail();
        let updates = table.fold(context, results, record, |_, row, result| *row = result)?;
        if !context.is_read() {
            return Ok(None);
        }
        Ok(Some(table.changes(context, updates)?))
    }
}
