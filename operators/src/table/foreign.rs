//! Joining a table with another by foreign key: each row meets the row whose key it names.
//!
//! The rows of the left table are kept a second time, indexed by (foreign key, key) on the shard of the foreign key.
//! There they meet changes of the right table; the results travel back to the shard of the key and are stored.
//!
//! If every update of the result counts, every step of both sides is carried through; otherwise only what became of them.
//!
//! A deleted left row deletes its result. A deleted or absent right row leaves the result out (inner) or makes it a join
//! with `None` (left). A left row whose foreign key changes leaves the old partner and meets the new one, in one change.
//! Repeated keys on either side arrive as one change per epoch. Timestamps play no part, late or not. Empty input on one
//! side: changes of the other meet the rows that are there.

use super::access::Access;
use super::history::{self, Numbering, Starts, Step};
use super::{StoredTable, Table};
use millpond_engine::Result;
use millpond_engine::codec::{Bincode, Key, Value};
use millpond_engine::dataflow::{
    Batch, Change, Changes, Context, Event, Inputs, Operator, Output, Stamp, Update,
};
use millpond_engine::graph::{StoreOptions, TableRef};
use millpond_engine::state::Record;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Where a foreign-key join keeps its result, and its index: the rows of the left table once more, by foreign key.
///
/// A plain `&str` or [`StoreOptions`] says where the result is kept; the index is then named `<name>.index`, has the
/// same version and [`Bincode`] values. A pair of [`StoreOptions`], the result's and the index's, says both: for rows that
/// need another codec.
///
/// # Examples
/// ```
/// use millpond_engine::codec::Json;
/// use millpond_engine::graph::StoreOptions;
/// use millpond_operators::table::ForeignStore;
///
/// let by_name: ForeignStore<u64, String> = "orders_with_customers".into();
/// assert_eq!(by_name.index().name(), "orders_with_customers.index");
/// let with_version: ForeignStore<u64, String> = StoreOptions::named("joined").version(2).into();
/// assert_eq!(with_version.index().table_version(), 2);
/// let both: ForeignStore<u64, String> =
///     (StoreOptions::named("joined"), StoreOptions::with_codec("by_customer", Json)).into();
/// assert_eq!(both.index().name(), "by_customer");
/// ```
pub struct ForeignStore<V, W> {
    result: StoreOptions<W>,
    index: StoreOptions<V>,
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
    pub fn result(&self) -> &StoreOptions<W> {
        &self.result
    }

    /// Where the index is kept.
    #[must_use]
    pub fn index(&self) -> &StoreOptions<V> {
        &self.index
    }
}

impl<V: Value + Serialize + DeserializeOwned, W: Value> From<StoreOptions<W>> for ForeignStore<V, W> {
    fn from(result: StoreOptions<W>) -> Self {
        let index = StoreOptions::with_codec(&format!("{}.index", result.name()), Bincode);
        Self { index: index.version(result.table_version()), result }
    }
}

impl<V, W> From<&str> for ForeignStore<V, W>
where
    V: Value + Serialize + DeserializeOwned,
    W: Value + Serialize + DeserializeOwned,
{
    fn from(name: &str) -> Self {
        StoreOptions::named(name).into()
    }
}

impl<V, W> From<(StoreOptions<W>, StoreOptions<V>)> for ForeignStore<V, W> {
    fn from((result, index): (StoreOptions<W>, StoreOptions<V>)) -> Self {
        Self { result, index }
    }
}

pub(super) fn join<K, V, F, T, W, G, J>(
    left: &Table<K, V>,
    right: &Table<F, T>,
    store: ForeignStore<V, W>,
    foreign: G,
    join: J,
) -> StoredTable<K, W>
where
    K: Key,
    V: Value,
    F: Key,
    T: Value,
    W: Value,
    G: Fn(&K, &V) -> F + Send + Sync + 'static,
    J: Fn(&K, &V, Option<&T>) -> Option<W> + Send + Sync + 'static,
{
    let builder = &left.builder;
    let index: TableRef<(F, K), V> = builder.table("index", store.index);
    let table: TableRef<K, W> = builder.table("foreign_join", store.result);
    let link = Link { access: Arc::clone(&left.access), foreign };
    let links = builder.exchange::<Event<F, Linked<K, V>>>("link", &[left.node], &left.access.reads(), link);
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

/// A left row at the shard of a foreign key: what it is now, while it names this key.
#[derive(Clone)]
struct Linked<K, V> {
    key: K,
    new: Option<V>,
}

/// Sends left changes to the shards of the foreign keys they name.
struct Link<K, V, G> {
    access: Arc<dyn Access<K, V>>,
    foreign: G,
}

impl<K, V, F, G> Operator for Link<K, V, G>
where
    K: Key,
    V: Value,
    F: Key,
    G: Fn(&K, &V) -> F + Send + Sync + 'static,
{
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        let changes: Changes<K, V> = inputs.take(0)?;
        let starts;
        let steps = if context.record() == Record::Updates {
            starts = Starts::of(context, &*self.access, &changes)?;
            history::updates(&changes, &starts)
        } else {
            history::changes(&changes)
        };
        let mut links: Vec<Event<F, Linked<K, V>>> = Vec::with_capacity(steps.len());
        for Step { key, old, new, stamp } in steps {
            context.at(&stamp);
            let named_before = old.map(|row| (self.foreign)(key, row));
            let named_now = new.map(|row| (self.foreign)(key, row));
            let link = |named, new: Option<&V>, stamp| Event {
                key: named,
                value: Linked { key: key.clone(), new: new.cloned() },
                stamp,
            };
            if named_before != named_now {
                links.extend(named_before.map(|named| link(named, None, stamp.branch(0))));
            }
            links.extend(named_now.map(|named| link(named, new, stamp.branch(1))));
        }
        let parts = context.router().split(links, |link| &link.key);
        Ok(Output::Routed(parts.into_iter().map(Batch::new).collect()))
    }
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
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        let links: Vec<Event<F, Linked<K, V>>> = inputs.take(0)?;
        let changes: Changes<F, T> = inputs.take(1)?;
        let results = if context.record() == Record::Updates {
            self.meet_step_by_step(context, &links, &changes)?
        } else {
            self.meet(context, &links, &changes.changes)?
        };
        let rows = links
            .into_iter()
            .map(|Event { key, value, stamp }| Event { key: (key, value.key), value: value.new, stamp })
            .collect();
        context.table(&self.index)?.fold(context, rows, Record::Changes, |_, row, new| *row = new)?;
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
    ) -> Result<Vec<Event<K, Option<W>>>>
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
        for Change { key: named, new, stamp, .. } in changes {
            context.at(stamp);
            let rows = context.rows_before(&self.index, &(named.clone(),))?;
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
    ) -> Result<Vec<Event<K, Option<W>>>>
    where
        J: Fn(&K, &V, Option<&T>) -> Option<W>,
    {
        let named =
            links.iter().map(|link| &link.key).chain(changes.updates.iter().map(|update| &update.key));
        let starts = Starts::with(context, &*self.right, changes, named.clone())?;
        let mut pairs: BTreeMap<(F, K), Pair<'_, V>> = BTreeMap::new();
        for named in named.collect::<BTreeSet<&F>>() {
            let rows = context.rows_before(&self.index, &(named.clone(),))?;
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
            self.replay(context, key, pair, starts.row(named), updates, &mut results);
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
    ) where
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
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
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
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        // A row that left one partner for another comes twice: the stamps put the leaving first.
        let results: Vec<Event<K, Option<W>>> = inputs.take(0)?;
        let table = context.table(&self.table)?;
        let record = context.record();
        let updates = table.fold(context, results, record, |_, row, result| *row = result)?;
        if !context.is_read() {
            return Ok(Output::Nothing);
        }
        Ok(Output::Local(Batch::new(table.changes(context, updates)?)))
    }
}
