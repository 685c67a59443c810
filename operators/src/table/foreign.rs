//! Joining a table with another by foreign key: each row meets the row whose key it names.
//!
//! The rows of the left table are kept a second time, indexed by (foreign key, key) on the shard of the foreign key.
//! There they meet changes of the right table; the results travel back to the shard of the key and are stored.
//!
//! If every update of the result counts, every step of both sides is carried through; otherwise only what became of them.
//!
//! A deleted left row deletes its result. A deleted or absent right row leaves the result out (inner) or makes it a join
//! with `None` (left). A left row without a foreign key has no partner; it is in no index. A left row whose foreign key changes leaves the old partner and meets the new one, in one change.
//! Repeated keys on either side arrive as one change per epoch. Timestamps play no part, late or not. Empty input on one
//! side: changes of the other meet the rows that are there.

use super::access::Access;
use super::history::{self, Numbering, Starts};
use super::link::{self, Linked, Parted};
use super::{StoredTable, Table};
use millpond_engine::Result;
use millpond_engine::codec::{Bincode, Key, Value};
use millpond_engine::dataflow::{
    Batch, Change, Changes, Context, Event, Failure, Inputs, Operator, Output, Stamp, Update,
};
use millpond_engine::graph::{TableOptions, TableRef};
use millpond_engine::state::Detail;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Where a foreign-key join keeps its result, and its index: the rows of the left table once more, by foreign key. Where
/// [`Table::re_key`] keeps its own, too.
///
/// A plain `&str` or [`TableOptions`] says where the result is kept; the index is then named `<name>.index`, has the
/// same version and [`Bincode`] values. A pair of [`TableOptions`], the result's and the index's, says both: for rows that
/// need another codec.
///
/// # Examples
/// ```
/// use millpond::codec::Json;
/// use millpond::TableOptions;
/// use millpond::ForeignStore;
///
/// let by_name: ForeignStore<u64, String> = "orders_with_customers".into();
/// assert_eq!(by_name.index().name(), "orders_with_customers.index");
/// let with_version: ForeignStore<u64, String> = TableOptions::named("joined").version(2).into();
/// assert_eq!(with_version.index().table_version(), 2);
/// let both: ForeignStore<u64, String> =
///     (TableOptions::named("joined"), TableOptions::with_codec("by_customer", Json)).into();
/// assert_eq!(both.index().name(), "by_customer");
/// ```
pub struct ForeignStore<V, W> {
    result: TableOptions<W>,
    index: TableOptions<V>,
}

impl<V: 'static, W: 'static> fmt::Debug for ForeignStore<V, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { result, index } = self;
        f.debug_struct("ForeignStore").field("result", result).field("index", index).finish()
    }
}

impl<V, W> ForeignStore<V, W> {
    /// Where the result is kept.
    #[must_use]
    pub fn result(&self) -> &TableOptions<W> {
        &self.result
    }

    pub(super) fn into_parts(self) -> (TableOptions<W>, TableOptions<V>) {
        (self.result, self.index)
    }

    /// Where the index is kept.
    #[must_use]
    pub fn index(&self) -> &TableOptions<V> {
        &self.index
    }
}

impl<V: Value + Serialize + DeserializeOwned, W: Value> From<TableOptions<W>> for ForeignStore<V, W> {
    fn from(result: TableOptions<W>) -> Self {
        let index = TableOptions::with_codec(&format!("{}.index", result.name()), Bincode);
        Self { index: index.version(result.table_version()), result }
    }
}

impl<V, W> From<&str> for ForeignStore<V, W>
where
    V: Value + Serialize + DeserializeOwned,
    W: Value + Serialize + DeserializeOwned,
{
    fn from(name: &str) -> Self {
        TableOptions::named(name).into()
    }
}

impl<V, W> From<(TableOptions<W>, TableOptions<V>)> for ForeignStore<V, W> {
    fn from((result, index): (TableOptions<W>, TableOptions<V>)) -> Self {
        Self { result, index }
    }
}

/// Whether rows without a partner have a result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Inner,
    Left,
}

pub(super) fn join<K, V, F, T, W, G, J>(
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
    G: Fn(&K, &V) -> Option<F> + Send + Sync + 'static,
    J: Fn(&K, &V, Option<&T>) -> Option<W> + Send + Sync + 'static,
{
    let builder = &left.builder;
    let index: TableRef<(F, K), V> = builder.table("index", store.index);
    let table: TableRef<K, W> = builder.table("foreign_join", store.result);
    let links = link::link(left, foreign, kind == Kind::Left);
    let meet = Meet { index, right: Arc::clone(&right.access), join };
    // The index is written by the node that meets, and its results are then exchanged by the next.
    let results =
        builder.operator("meet", &[links, right.node], &[index.index()], &right.access.reads(), meet);
    let send = SendBack(PhantomData::<fn() -> (K, W)>);
    let back = builder.exchange::<Event<K, Option<W>>>("send_back", &[results], &[], send);
    let keep = Keep { table };
    let node = builder.operator("foreign_join", &[back], &[table.index()], &[], keep);
    StoredTable::from_node(builder, node, table)
}

/// Keeps the index, and joins what changed on either side.
struct Meet<K, V, F, T, J> {
    index: TableRef<(F, K), V>,
    right: Arc<dyn Access<F, T>>,
    join: J,
}

impl<K, V, F, T, W, J> Operator for Meet<K, V, F, T, J>
where
    K: Key,
    V: Value,
    F: Key,
    T: Value,
    W: Value,
    J: Fn(&K, &V, Option<&T>) -> Option<W> + Send + Sync + 'static,
{
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output, Failure> {
        let Parted { named: links, unnamed } = link::part(inputs.take(0)?);
        let changes: Changes<F, T> = inputs.take(1)?;
        let mut results = if context.detail() == Detail::Updates {
            self.meet_step_by_step(context, &links, &changes)?
        } else {
            self.meet(context, &links, &changes.changes)?
        };
        for Event { key, value: new, stamp } in unnamed {
            context.at(&stamp);
            let value = new.and_then(|row| (self.join)(&key, &row, None));
            results.push(Event { key, value, stamp });
        }
        let rows = links
            .into_iter()
            .map(|Event { key, value, stamp }| Event { key: (key, value.key), value: value.new, stamp })
            .collect();
        context.table(&self.index)?.fold(context, rows, Detail::Changes, |_, row, new| *row = new)?;
        Ok(Output::Local(Batch::new(results)))
    }
}

impl<K, V, F, T, J> Meet<K, V, F, T, J>
where
    K: Key,
    V: Value,
    F: Key,
    T: Value,
{
    /// The results at the end of the epoch.
    fn meet<W>(
        &self,
        context: &mut Context<'_>,
        links: &[Event<F, Linked<K, V>>],
        changes: &[Change<F, T>],
    ) -> Result<Vec<Event<K, Option<W>>>, Failure>
    where
        J: Fn(&K, &V, Option<&T>) -> Option<W>,
    {
        let partners: HashMap<&F, Option<&T>> =
            changes.iter().map(|change| (&change.key, change.new.as_ref())).collect();
        let unchanged: Vec<&F> =
            links.iter().map(|link| &link.key).filter(|key| !partners.contains_key(key)).collect();
        let mut rows = self.right.look_up(context, &unchanged)?.into_iter();
        let mut results: Vec<Event<K, Option<W>>> = Vec::with_capacity(links.len());
        let mut touched: BTreeSet<(&F, &K)> = BTreeSet::new();
        for Event { key: named, value: linked, stamp } in links {
            context.at(stamp);
            touched.insert((named, &linked.key));
            let looked_up;
            let partner = if let Some(partner) = partners.get(named) {
                *partner
            } else {
                looked_up = rows.next().flatten();
                looked_up.as_ref()
            };
            let result = linked.new.as_ref().and_then(|row| (self.join)(&linked.key, row, partner));
            results.push(Event { key: linked.key.clone(), value: result, stamp: *stamp });
        }
        let mut encoded = Vec::new();
        if changes.is_empty() {
            return Ok(results);
        }
        let before = context.table_before(&self.index)?;
        for Change { key: named, new, stamp, .. } in changes {
            context.at(stamp);
            let rows = before.prefix(&(named.clone(),)).collect::<Result<Vec<_>>>()?;
            context.charge::<((F, K), V)>(rows.len())?;
            for ((_, key), row) in rows {
                if touched.contains(&(named, &key)) {
                    continue;
                }
                let stamp = history::of_key(*stamp, &key, &mut encoded);
                let value = (self.join)(&key, &row, new.as_ref());
                results.push(Event { key, value, stamp });
            }
        }
        Ok(results)
    }

    /// The results after every link and every update of the right table.
    fn meet_step_by_step<W>(
        &self,
        context: &mut Context<'_>,
        links: &[Event<F, Linked<K, V>>],
        changes: &Changes<F, T>,
    ) -> Result<Vec<Event<K, Option<W>>>, Failure>
    where
        J: Fn(&K, &V, Option<&T>) -> Option<W>,
    {
        let named =
            links.iter().map(|link| &link.key).chain(changes.updates.iter().map(|update| &update.key));
        let starts = Starts::with(context, &*self.right, changes, named.clone())?;
        let mut pairs: BTreeMap<(F, K), Pair<'_, V>> = BTreeMap::new();
        if links.is_empty() && changes.updates.is_empty() {
            return Ok(Vec::new());
        }
        let before = context.table_before(&self.index)?;
        for named in named.collect::<BTreeSet<&F>>() {
            let rows = before.prefix(&(named.clone(),)).collect::<Result<Vec<_>>>()?;
            context.charge::<((F, K), V)>(rows.len())?;
            for (pair, row) in rows {
                pairs.insert(pair, Pair { row: Some(row), links: Vec::new() });
            }
        }
        for Event { key: named, value: linked, stamp } in links {
            let pair = pairs.entry((named.clone(), linked.key.clone())).or_default();
            pair.links.push((*stamp, linked.new.as_ref()));
        }
        let mut by_partner: HashMap<&F, Vec<&Update<F, T>>> = HashMap::new();
        for update in &changes.updates {
            by_partner.entry(&update.key).or_default().push(update);
        }
        let mut results = Vec::new();
        for ((named, key), pair) in &pairs {
            let updates = by_partner.get(named).map_or(&[][..], Vec::as_slice);
            self.replay(context, key, pair, starts.row(named), updates, &mut results)?;
        }
        Ok(results)
    }

    /// The results of one left row and one partner, in the order of their stamps.
    fn replay<W>(
        &self,
        context: &mut Context<'_>,
        key: &K,
        pair: &Pair<'_, V>,
        start: Option<&T>,
        updates: &[&Update<F, T>],
        results: &mut Vec<Event<K, Option<W>>>,
    ) -> Result<(), Failure>
    where
        J: Fn(&K, &V, Option<&T>) -> Option<W>,
    {
        let mut encoded = Vec::new();
        let mut moves: Vec<(Stamp, Move<'_, V, T>)> = Vec::with_capacity(pair.links.len() + updates.len());
        moves.extend(pair.links.iter().map(|(stamp, row)| (*stamp, Move::Row(*row))));
        let mut numbering = Numbering::default();
        moves.extend(updates.iter().map(|update| {
            let stamp = numbering.next(update.stamp, key, &mut encoded);
            (stamp, Move::Partner(update.value.as_ref()))
        }));
        moves.sort_by_key(|(stamp, _)| *stamp);
        let (mut row, mut partner) = (pair.row.as_ref(), start);
        // A partner that many rows name and that moves many times has the product of them.
        context.charge::<Event<K, Option<W>>>(moves.len())?;
        for (stamp, moved) in moves {
            context.at(&stamp);
            match moved {
                Move::Row(now) => row = now,
                Move::Partner(now) => partner = now,
            }
            // Whoever does not name the partner any more has a result elsewhere.
            if row.is_some() || matches!(moved, Move::Row(_)) {
                let value = row.and_then(|row| (self.join)(key, row, partner));
                results.push(Event { key: key.clone(), value, stamp });
            }
        }
        Ok(())
    }
}

/// A left row at one foreign key: what it was when the epoch began, and what became of it.
struct Pair<'l, V> {
    row: Option<V>,
    links: Vec<(Stamp, Option<&'l V>)>,
}

impl<V> Default for Pair<'_, V> {
    fn default() -> Self {
        Self { row: None, links: Vec::new() }
    }
}

/// One side of a pair moves.
enum Move<'m, V, T> {
    Row(Option<&'m V>),
    Partner(Option<&'m T>),
}

/// Sends results to the shards of their keys.
struct SendBack<Types>(PhantomData<Types>);

impl<K: Key, W: Value> Operator for SendBack<fn() -> (K, W)> {
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output, Failure> {
        let results: Vec<Event<K, Option<W>>> = inputs.take(0)?;
        let parts = context.router().split(results, |result| &result.key);
        Ok(Output::Routed(parts.into_iter().map(Batch::new).collect()))
    }
}

/// Stores the results.
struct Keep<K, W> {
    table: TableRef<K, W>,
}

impl<K: Key, W: Value> Operator for Keep<K, W> {
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output, Failure> {
        // A row that left one partner for another comes twice: the stamps put the leaving first.
        let results: Vec<Event<K, Option<W>>> = inputs.take(0)?;
        let table = context.table(&self.table)?;
        let record = context.detail();
        let updates = table.fold(context, results, record, |_, row, result| *row = result)?;
        if !context.is_read() {
            return Ok(Output::Nothing);
        }
        Ok(Output::Local(Batch::new(table.changes(context, updates)?)))
    }
}
