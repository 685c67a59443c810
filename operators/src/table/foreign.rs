//! Joining a table with another by foreign key: each row meets the row whose key it names.
//!
//! The rows of the left table are kept a second time, indexed by (foreign key, key) on the shard of the foreign key.
//! There they meet changes of the right table; the results travel back to the shard of the key and are stored.
//!
//! A deleted left row deletes its result. A deleted or absent right row leaves the result out (inner) or makes it a join
//! with `None` (left). A left row whose foreign key changes leaves the old partner and meets the new one, in one change.
//! Repeated keys on either side arrive as one change per epoch. Timestamps play no part, late or not. Empty input on one
//! side: changes of the other meet the rows that are there.

use super::access::Access;
use super::{Recorder, Table};
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Batch, Change, Changes, Context, Event, Inputs, Operator, Output};
use millpond_engine::graph::StoreOptions;
use millpond_engine::state::{Record, TableRef};
use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;
use std::sync::Arc;

pub(super) fn join<K, V, F, T, W, G, J>(
    left: &Table<K, V>,
    right: &Table<F, T>,
    store: StoreOptions<W>,
    index: StoreOptions<V>,
    foreign: G,
    join: J,
) -> Table<K, W>
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
    let index: TableRef<(F, K), V> = builder.table("index", index);
    let table: TableRef<K, W> = builder.table("foreign_join", store);
    let link = Link { foreign, types: PhantomData::<fn() -> (K, V, F)> };
    let links = builder.exchange::<Event<F, Linked<K, V>>>("link", &[left.node], &[], link);
    let meet = Meet { index, right: Arc::clone(&right.access), join };
    // The index is written by the node that meets, and its results are then exchanged by the next.
    let results =
        builder.operator("meet", &[links, right.node], &[index.index()], &right.access.reads(), meet);
    let send = SendBack(PhantomData::<fn() -> (K, W)>);
    let back = builder.exchange::<Event<K, Option<W>>>("send_back", &[results], &[], send);
    let recorder = Recorder::default();
    let keep = Keep { table, recorder: recorder.clone() };
    let node = builder.operator("foreign_join", &[back], &[table.index()], &[], keep);
    Table::stored(builder, node, table, recorder)
}

/// A left row at the shard of a foreign key: what it was while it named this key, and what it is now.
#[derive(Clone)]
struct Linked<K, V> {
    key: K,
    old: Option<V>,
    new: Option<V>,
}

/// Sends left changes to the shards of the foreign keys they name.
struct Link<G, Types> {
    foreign: G,
    types: PhantomData<Types>,
}

impl<K, V, F, G> Operator for Link<G, fn() -> (K, V, F)>
where
    K: Key,
    V: Value,
    F: Key,
    G: Fn(&K, &V) -> F + Send + Sync + 'static,
{
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        let Changes { changes, .. } = inputs.take::<Changes<K, V>>(0)?;
        let mut links: Vec<Event<F, Linked<K, V>>> = Vec::with_capacity(changes.len());
        let mut encoded = Vec::new();
        for Change { key, old, new, stamp } in changes {
            context.at(&stamp);
            encoded.clear();
            key.encode_key(&mut encoded);
            let stamp = stamp.branch_by_key(&encoded);
            let named_before = old.as_ref().map(|row| (self.foreign)(&key, row));
            let named_now = new.as_ref().map(|row| (self.foreign)(&key, row));
            if named_before == named_now {
                links.extend(named_now.map(|named| Event {
                    key: named,
                    value: Linked { key, old, new },
                    stamp,
                }));
                continue;
            }
            if let Some(named) = named_before {
                let linked = Linked { key: key.clone(), old, new: None };
                links.push(Event { key: named, value: linked, stamp: stamp.branch(0) });
            }
            if let Some(named) = named_now {
                links.push(Event {
                    key: named,
                    value: Linked { key, old: None, new },
                    stamp: stamp.branch(1),
                });
            }
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
        let Changes { changes, .. } = inputs.take::<Changes<F, T>>(1)?;
        let changed: HashMap<&F, Option<&T>> =
            changes.iter().map(|change| (&change.key, change.new.as_ref())).collect();
        let unchanged: Vec<&F> =
            links.iter().map(|link| &link.key).filter(|key| !changed.contains_key(key)).collect();
        let mut rows = self.right.look_up(context, &unchanged)?.into_iter();
        let mut results: Vec<Event<K, Option<W>>> = Vec::with_capacity(links.len());
        let mut touched: BTreeSet<(&F, &K)> = BTreeSet::new();
        for Event { key: named, value: linked, stamp } in &links {
            context.at(stamp);
            touched.insert((named, &linked.key));
            let looked_up;
            let partner = match changed.get(named) {
                Some(partner) => *partner,
                None => {
                    looked_up = rows.next().flatten();
                    looked_up.as_ref()
                }
            };
            let result = linked.new.as_ref().and_then(|row| (self.join)(&linked.key, row, partner));
            results.push(Event { key: linked.key.clone(), value: result, stamp: *stamp });
        }
        let mut encoded = Vec::new();
        for Change { key: named, new, stamp, .. } in &changes {
            context.at(stamp);
            for ((_, key), row) in context.rows_before(&self.index, &(named.clone(),))? {
                if touched.contains(&(named, &key)) {
                    continue;
                }
                encoded.clear();
                key.encode_key(&mut encoded);
                let value = (self.join)(&key, &row, new.as_ref());
                results.push(Event { key, value, stamp: stamp.branch_by_key(&encoded) });
            }
        }
        drop(touched);
        let rows = links
            .into_iter()
            .map(|Event { key, value, stamp }| Event { key: (key, value.key), value: value.new, stamp })
            .collect();
        context.table(&self.index)?.fold(context, rows, Record::Changes, |_, row, new| *row = new)?;
        Ok(Output::Local(Batch::new(results)))
    }
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
    recorder: Recorder,
}

impl<K: Key, W: Value> Operator for Keep<K, W> {
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        // A row that left one partner for another comes twice: the stamps put the leaving first.
        let results: Vec<Event<K, Option<W>>> = inputs.take(0)?;
        let table = context.table(&self.table)?;
        let updates = table.fold(context, results, self.recorder.record(), |_, row, result| *row = result)?;
        if !context.is_read() {
            return Ok(Output::Nothing);
        }
        Ok(Output::Local(Batch::new(table.changes(context, updates)?)))
    }
}
