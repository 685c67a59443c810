//! Folding the groups of a table into another table.
//!
//! For a changed row, the old one is retracted from its group and the new one folded into its own. A deleted row is only
//! retracted; a group that loses its last member is deleted, whatever its accumulator says, so a row count of zero is
//! never to be seen. Repeated keys arrive as one change per epoch. Late timestamps play no part. Empty input changes
//! nothing. Retractions and additions of one epoch are ordered by the stamps of the rows' changes, which makes even
//! inexact folds come out the same for every number of shards.

use super::{Recorder, Table};
use crate::aggregate::{Fold, Retract, count};
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Batch, Change, Changes, Context, Event, Inputs, Operator, Output};
use millpond_engine::graph::{Builder, NodeId, StoreOptions};
use millpond_engine::state::TableRef;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::ops::Deref;

/// The accumulator of a group of rows, and how many rows are in it: at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grouped<A> {
    /// How many rows.
    pub members: u64,
    /// What they were folded into.
    pub value: A,
}

impl<A> Deref for Grouped<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.value
    }
}

/// A table whose rows are grouped by another key, ready to be folded.
pub struct GroupedTable<K, V> {
    builder: Builder,
    node: NodeId,
    types: PhantomData<fn() -> (K, V)>,
}

/// A row that joins or leaves a group.
#[derive(Clone)]
enum Delta<V> {
    Leave(V),
    Join(V),
}

pub(super) fn group_by<K: Key, V: Value, L: Key, W: Value>(
    table: &Table<K, V>,
    group: impl Fn(&K, &V) -> (L, W) + Send + Sync + 'static,
) -> GroupedTable<L, W> {
    let send = Regroup { group, types: PhantomData::<fn() -> (K, V)> };
    let node = table.builder.exchange::<Event<L, Delta<W>>>("group_by", &[table.node], &[], send);
    GroupedTable { builder: table.builder.clone(), node, types: PhantomData }
}

impl<K: Key, V: Value> GroupedTable<K, V> {
    /// Folds each group with `aggregate` into the table `store`.
    pub fn aggregate<A: Retract<K, V>>(
        &self,
        store: impl Into<StoreOptions<Grouped<A::Acc>>>,
        aggregate: A,
    ) -> Table<K, Grouped<A::Acc>> {
        let table: TableRef<K, Grouped<A::Acc>> = self.builder.table("group", store.into());
        let recorder = Recorder::default();
        let operator = FoldTable { table, aggregate, recorder: recorder.clone(), value: PhantomData };
        let node = self.builder.operator("fold", &[self.node], &[table.index()], &[], operator);
        Table::stored(&self.builder, node, table, recorder)
    }

    /// Folds each group with a closure and its inverse, beginning with `init()`.
    pub fn fold<A: Value>(
        &self,
        store: impl Into<StoreOptions<Grouped<A>>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
        retract: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> Table<K, Grouped<A>> {
        self.aggregate(store, Fold::new(init, fold).with_retract(retract))
    }

    /// Counts the rows of each group.
    pub fn count(&self, store: impl Into<StoreOptions<Grouped<u64>>>) -> Table<K, Grouped<u64>> {
        self.aggregate(store, count())
    }

    /// Combines the values of each group with `add`, and takes them out again with `subtract`.
    pub fn reduce(
        &self,
        store: impl Into<StoreOptions<Grouped<Option<V>>>>,
        add: impl Fn(V, V) -> V + Send + Sync + 'static,
        subtract: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> Table<K, Grouped<Option<V>>> {
        self.fold(
            store,
            || None,
            move |acc, _, value| {
                *acc = Some(match acc.take() {
                    Some(sum) => add(sum, value),
                    None => value,
                });
            },
            move |acc, _, value| *acc = acc.take().map(|sum| subtract(sum, value)),
        )
    }
}

/// Sends the old row of each change to the group it leaves and the new one to the group it joins.
struct Regroup<F, T> {
    group: F,
    types: PhantomData<T>,
}

impl<K, V, L, W, F> Operator for Regroup<F, fn() -> (K, V)>
where
    K: Key,
    V: Value,
    L: Key,
    W: Value,
    F: Fn(&K, &V) -> (L, W) + Send + Sync + 'static,
{
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        let Changes { changes, .. } = inputs.take::<Changes<K, V>>(0)?;
        let mut deltas: Vec<Event<L, Delta<W>>> = Vec::with_capacity(changes.len() * 2);
        let mut encoded = Vec::new();
        for Change { key, old, new, stamp } in &changes {
            context.at(stamp);
            encoded.clear();
            key.encode_key(&mut encoded);
            let stamp = stamp.branch_by_key(&encoded);
            if let Some(old) = old {
                let (group, value) = (self.group)(key, old);
                deltas.push(Event { key: group, value: Delta::Leave(value), stamp: stamp.branch(0) });
            }
            if let Some(new) = new {
                let (group, value) = (self.group)(key, new);
                deltas.push(Event { key: group, value: Delta::Join(value), stamp: stamp.branch(1) });
            }
        }
        let parts = context.router().split(deltas, |delta| &delta.key);
        Ok(Output::Routed(parts.into_iter().map(Batch::new).collect()))
    }
}

struct FoldTable<K, V, A: Retract<K, V>> {
    table: TableRef<K, Grouped<A::Acc>>,
    aggregate: A,
    recorder: Recorder,
    value: PhantomData<fn() -> V>,
}

impl<K: Key, V: Value, A: Retract<K, V>> Operator for FoldTable<K, V, A> {
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        let deltas: Vec<Event<K, Delta<V>>> = inputs.take(0)?;
        let table = context.table(&self.table)?;
        let updates =
            table.fold(context, deltas, self.recorder.record(), |key, group, delta| match delta {
                Delta::Join(value) => {
                    let group =
                        group.get_or_insert_with(|| Grouped { members: 0, value: self.aggregate.init() });
                    group.members += 1;
                    self.aggregate.fold(&mut group.value, key, value);
                }
                Delta::Leave(value) => {
                    let Some(members) = group else { return };
                    members.members -= 1;
                    self.aggregate.retract(&mut members.value, key, value);
                    if members.members == 0 {
                        *group = None;
                    }
                }
            })?;
        if !context.is_read() {
            return Ok(Output::Nothing);
        }
        Ok(Output::Local(Batch::new(table.changes(context, updates)?)))
    }
}
